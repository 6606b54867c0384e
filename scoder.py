"""SCoder: from raw source code to an instruction dataset and a code model.

In: a recipe (all choices of a run) and a store (a folder of Parquet tables). Out: the tables of the
store, the final dataset and the trained models, all in the store's folder.

This file is the whole flow, from top to bottom. The stages of a run are
    pool           clean snippets from source code, without what leaks a benchmark
    teacher        superior samples that a strong model writes for some of them
    scorer         the model that scores aspects of a sample
    bootstrap      the first synthesizer, G0
    iteration-t    sample candidates, score them, measure influence, select, train G_t (t = 1 to T)
    instructions   the final generation, and the dataset made of it
    coder          the model that is trained on this dataset
    evaluation     its pass@1 on the benchmarks
Almost every line below builds one table from others. A table that is built already is left alone,
so the same call resumes a run that was killed.

    recipe = files.load("tiny")  # builders.recipe.files
    run(Store("store-data"), recipe, until="pool")

The command line over it is `commands`: `scoder --help`, or `python -m commands --help`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import duckdb
import pyarrow as pa

from builders import (
    aspect_scores,
    aspect_weights,
    benchmarks,
    candidates,
    checkpoints,
    contamination,
    evaluations,
    executors,
    gradients,
    influence,
    instructions,
    metrics,
    near_duplicates,
    pool,
    raw_pool,
    rejects,
    sandbox,
    scored,
    selected,
    snippet_checks,
    snippet_occurrences,
    teacher_samples,
    unusable_answers,
)
from builders.engines import needed as engines_needed
from builders.engines.checkpoints import last_checkpoint
from builders.models import needed
from builders.publishing import sets
from builders.recipe import Recipe, contexts, fitting, sharing, unnamed
from builders.sources import opened
from builders.standalone import opening
from builders.teacher import asked_again
from store import Store
from store.errors import InputError, UserError
from store.preview import Preview, Step
from store.refusals import refused, together
from training.errors import TrainingError

Stage = Callable[[Store, Recipe], None]


def stages(recipe: Recipe) -> dict[str, Stage]:
    """The stages of a run by name, in the order in which they run."""
    loop = {f"iteration-{t}": _iteration(t) for t in range(1, recipe.iterations + 1)}
    return {
        "pool": build_pool,
        "teacher": build_teacher,
        "scorer": build_scorer,
        "bootstrap": build_bootstrap,
        **loop,
        "instructions": build_instructions,
        "coder": build_coder,
        "evaluation": build_evaluation,
    }


def run(store: Store, recipe: Recipe, until: str | None = None) -> None:
    """Run the stages in order: all of them, or those up to `until`, which is included.

    Raises InputError for a stage that the recipe does not have.

    Example:
        recipe = files.load("tiny")  # builders.recipe.files
        run(Store("store-data"), recipe, until="pool")
    """
    planned = stages(recipe)
    check(store, recipe, until)
    for name, build in planned.items():
        store.announce(f"[{name}]")
        build(store, recipe)
        if name == "pool":
            pool.require_snippets(store)
        if name == until:
            return


@dataclass(frozen=True)
class Foresight:
    """What a run would find: `steps` by stage. `ends_in` is the stage where nobody can say more.

    It is None if all stages of the run were looked at.
    """

    steps: dict[str, list[Step]]
    ends_in: str | None


def foresee(store: Store, recipe: Recipe, until: str | None = None) -> Foresight:
    """What a run of a recipe would find in a store. Nothing is built or changed.

    It ends in a stage that needs rows which were never built, or which cannot be read.
    """
    preview, found = Preview(store.root), dict[str, list[Step]]()
    for name, build in stages(recipe).items():
        seen = len(preview.steps)
        try:
            build(preview, recipe)
            is_known = True
        except (UserError, OSError, pa.ArrowException, duckdb.Error):
            is_known = False  # the run itself tells what is wrong
        found[name] = preview.steps[seen:]
        if not is_known:
            return Foresight(found, name)
        if name == until:
            break
    return Foresight(found, None)


def check(store: Store, recipe: Recipe, until: str | None = None) -> None:
    """Check, before any work, what a user can get wrong and what the stages of a run need.

    All that is refused is said in one error. What may not fit the GPUs is announced.
    """
    if found := refusals(store, recipe, until):
        raise together(found)
    for line in fitting.close(recipe, stages_until(recipe, until)):
        store.announce(line)


def refusals(
    store: Store,
    recipe: Recipe,
    until: str | None = None,
    visible: Sequence[float | None] | None = None,
    *,
    opens: bool = False,
) -> list[Exception]:
    """What a run would be refused for: an error for each thing to mend.

    That is the models that it does not name, the executor, the benchmark files, the file of
    samples, the local models, the engines and their keys, the contexts of models, the memory of the
    GPUs, and what trainings need. A plan for other GPUs than those of this machine gives the memory
    of each as `visible`. With `opens`, the first rows of all that the recipe names are read, too.
    """
    wanted = stages_until(recipe, until)
    asks_teacher = teacher_samples.asks_teacher(store)
    checks: list[Callable[[], None]] = [
        partial(executors.check, recipe.executor),
        *(partial(benchmarks.check, benchmark) for benchmark in recipe.benchmarks),
        *(partial(opened.check_content, source) for source in recipe.sources if "pool" in wanted and not opens),
        *([partial(teacher_samples.check, store, recipe.teacher)] if "teacher" in wanted else []),
        partial(unnamed.check, recipe, wanted),
        partial(needed.check, recipe, set(wanted), asks_teacher=asks_teacher),
        *engines_needed.checks(store, recipe, wanted),
        partial(contexts.check, recipe, wanted),
        partial(sharing.check, recipe, wanted, fitting.num_gpus(recipe, visible)),
        partial(fitting.check, recipe, wanted, visible),
        *checkpoints.checks(recipe, wanted),
        *(opening.checks(recipe, wanted) if opens else []),
    ]
    return refused(checks, UserError, TrainingError)


def passed_over(recipe: Recipe, until: str | None = None) -> list[str]:
    """What a run would read, and `refusals` does not open: what the Hub has, and files beyond some
    thousand.
    """
    return opening.passed_over(recipe, stages_until(recipe, until))


def stages_until(recipe: Recipe, until: str | None) -> list[str]:
    """The stages of a run that ends with one of them, or with the last."""
    planned = list(stages(recipe))
    if until is not None and until not in planned:
        raise InputError(f"no stage {until!r}; the stages of this recipe are {', '.join(planned)}")
    return planned[: planned.index(until) + 1] if until else planned


def build_pool(store: Store, recipe: Recipe) -> None:
    """The clean pool: extract functions, measure them, find duplicates and leaks, decide."""
    raw_pool.build(store, recipe.sources, recipe.executor)
    snippet_occurrences.build(store, recipe.sources, recipe.executor)
    raw_pool.build_rejects(store, recipe.sources, recipe.executor)
    raw_pool.clean(store)
    snippet_checks.build(store, recipe.executor)
    near_duplicates.build(store, recipe.near_duplicates)
    for benchmark in recipe.benchmarks:
        benchmarks.build(store, benchmark)
        contamination.build(store, recipe.decontamination, recipe.executor, "snippet", benchmark)
    if recipe.docstring_judge:
        judge = recipe.docstring_judge
        checkpoints.build_base(store, judge.model, judge.revision, "docstring-judge", judge.template_arguments)
        aspect_scores.build_snippets(store, recipe, last_checkpoint(store, "docstring-judge"))
    pool.build(store, recipe)


def build_teacher(store: Store, recipe: Recipe) -> None:
    """Superior samples, checked for leaked benchmarks, too.

    If the scorer learns from the teacher's scores, the teacher also scores what it learns from.
    """
    teacher_samples.build(store, recipe.teacher, recipe.seed, recipe.executor)
    teacher_samples.build_rejects(store, recipe.teacher)
    unusable_answers.require_usable(store)
    for benchmark in recipe.benchmarks:
        contamination.build(store, recipe.decontamination, recipe.executor, "teacher", benchmark)
    if recipe.scorer.labels == "teacher":
        aspect_scores.build_labels(store, recipe)


def ask_again(store: Store, recipe: Recipe, statuses: Sequence[str] = ()) -> dict[str, int]:
    """Ask the teacher again about the snippets whose answers were of no use, and about no other.

    `statuses` are those of `unusable_answers`, such as no_problem; none means all. What came from
    the samples is then stale. Returns how many were asked, and how many of them are samples now.
    """
    found = asked_again.ask_again(store, recipe.teacher, recipe.seed, statuses, recipe.executor)
    teacher_samples.build_rejects(store, recipe.teacher)
    return found


def build_scorer(store: Store, recipe: Recipe) -> None:
    """The model that scores aspects.

    It is measured on held-out pairs, and it scores teacher samples that it was not trained on.
    """
    checkpoints.build_scorer(store, recipe)
    scorer = last_checkpoint(store, "scorer")
    metrics.build_scorer_auc(store, recipe, scorer)
    aspect_scores.build(store, recipe.scorer, scorer, executor=recipe.executor)


def build_bootstrap(store: Store, recipe: Recipe) -> None:
    """G0, trained on the teacher's samples.

    For comparison, the untrained base model writes, too.
    """
    base = recipe.synthesizer
    checkpoints.build_base(store, base.base, base.revision, template_arguments=base.template_arguments)
    if recipe.sampling.base_snippets:
        sample(store, recipe, 0, "base")
    checkpoints.build_synthesizer(store, recipe, 0)
    metrics.build_heldout_nll(store, recipe.synthesizer.training, 0, recipe.executor)


def _iteration(t: int) -> Stage:
    def build(store: Store, recipe: Recipe) -> None:
        """Sample, score, rank by influence, select, train G_t."""
        sample(store, recipe, t, f"G{t - 1}")
        score(store, recipe, t, f"G{t - 1}")
        gradients.build(store, recipe, t, "teacher")
        gradients.build(store, recipe, t, "candidate")
        influence.build(store, recipe, t)
        select(store, recipe, t, recipe.selection_name)
        checkpoints.build_synthesizer(store, recipe, t)
        metrics.build_heldout_nll(store, recipe.synthesizer.training, t, recipe.executor)

    return build


def sample(store: Store, recipe: Recipe, t: int, subject: str) -> None:
    """The candidates of an iteration, their rejects and their parse rate."""
    candidates.build(store, recipe, t)
    made = store.input("candidates", iteration=t)
    rejects.build(store, "candidates", made, {"iteration": t}, iteration=t)
    metrics.build_parse_rate(store, t, subject, _sampled_before(recipe, t))
    if t > 0:
        candidates.require_parsed(store, t)


def _sampled_before(recipe: Recipe, t: int) -> int | None:
    """The iteration that an iteration's candidates are compared with. The first is the base's."""
    return t - 1 if t > 1 or (t == 1 and recipe.sampling.base_snippets) else None


def score(store: Store, recipe: Recipe, t: int, subject: str) -> None:
    """Contamination, aspect scores, weights and the score of an iteration's candidates."""
    for benchmark in recipe.benchmarks:
        contamination.build(store, recipe.decontamination, recipe.executor, "candidate", benchmark, t)
    aspect_scores.build(store, recipe.scorer, last_checkpoint(store, "scorer"), t, recipe.executor)
    aspect_weights.build(store, recipe, t)
    scored.build(store, t)
    made = store.input("candidates", iteration=t) | store.input("scored", iteration=t)
    rejects.build(store, "scored", made, {"iteration": t}, iteration=t)
    metrics.build_mean_score(store, recipe.scoring, t, subject, t - 1 if t > 1 else None)


def select(store: Store, recipe: Recipe, t: int, name: str, batches: list[str] | None = None) -> None:
    """A named selection, its rejects, and its overlap with the iteration before.

    No model is called. `batches` are the batches of influence that it reads; without them, those
    that it has read so far.
    """
    selected.build(store, recipe, t, name, batches)
    if t > 1 and name == recipe.selection_name:
        metrics.build_selection_overlap(store, t, name)


def fill(store: Store, recipe: Recipe, t: int, name: str) -> int:
    """Compute the influence that a selection lacks, and select again. It may be killed at any time.

    Only the candidates that the selection admits, and that have no influence in any batch, get
    gradients. Returns how many of the candidates that it lacked have influence now. Raises
    InputError for a selection that a model was trained on: it is replaced only in a store that is
    opened with `force`.
    """
    batches = selected.own_batches(store, recipe, t, name)
    lacking = selected.missing(store, recipe, t, batches)
    if not store.force and (lacking or not selected.is_built(store, recipe, t, name, batches)):
        selected.require_untrained(store, t, name)
    if lacking:
        for batch in selected.batches_without_influence(store, recipe, t):
            influence.build(store, recipe, t, batch=batch)
        batches = selected.known_batches(store, recipe, t)
        absent = selected.missing(store, recipe, t, batches)
        if absent:
            batch = selected.new_batch(recipe, absent)
            gradients.build(store, recipe, t, "candidate", batch=batch, chosen=absent)
            influence.build(store, recipe, t, batch=batch)
            batches.append(batch)
    select(Store(store.root, store.announce, store.track, force=True), recipe, t, name, batches)
    left = set(selected.missing(store, recipe, t, batches)) if lacking else set()
    return len(set(lacking) - left)


def build_instructions(store: Store, recipe: Recipe) -> None:
    """The final dataset: G_T writes for the rest of the pool; the best clean pairs are published.

    The dataset folder is `_datasets/instructions` in the store.
    """
    final = recipe.iterations + 1
    sample(store, recipe, final, f"G{recipe.iterations}")
    score(store, recipe, final, f"G{recipe.iterations}")
    instructions.build(store, recipe)
    sets.keep_instructions(store, recipe.name)


def build_coder(store: Store, recipe: Recipe) -> None:
    """SCoder: the coder's base fine-tuned on the published instructions."""
    base = recipe.coder
    checkpoints.build_base(store, base.base, base.revision, "coder-base", base.template_arguments)
    checkpoints.build_coder(store, recipe.coder, recipe.executor)


def build_evaluation(store: Store, recipe: Recipe) -> None:
    """pass@1 of the coder and of its base on the benchmarks that the recipe evaluates.

    Both are asked in the same forms: a number of one form says nothing about one of another.
    """
    wanted = [b for b in recipe.benchmarks if b.evaluate]
    if wanted and not sandbox.is_available():
        store.announce(
            "evaluation is skipped: there is no sandbox to run generated code in. Install bubblewrap "
            "(`apt-get install bubblewrap`) and run again"
        )
        return
    settings = recipe.evaluation.model_copy(update={"template_arguments": recipe.coder.template_arguments})
    for role in ("coder-base", "coder"):
        checkpoint = last_checkpoint(store, role)
        evaluations.build(store, settings, checkpoint, wanted, recipe.seed, recipe.executor)
        for benchmark in wanted:
            metrics.build_pass_at_1(store, checkpoint, role, benchmark)
