"""SCoder: from raw source code to an instruction dataset and a code model, as a store of Parquet tables.

The flow stands first, top to bottom: each line builds one table from others, and building what is built is a no-op. The
command line over it is `commands`; `python -m commands --help` and `scoder --help` are the same.

    pool -> teacher -> scorer -> bootstrap (G0) -> iteration-1..T (sample, score, influence, select, train G_t)
         -> instructions -> coder -> evaluation
"""

from __future__ import annotations

from collections.abc import Callable

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
)
from builders.engines.checkpoints import last_checkpoint
from builders.publishing import sets
from builders.recipe import Recipe
from store import Store
from store.errors import InputError

Stage = Callable[[Store, Recipe], None]


def stages(recipe: Recipe) -> dict[str, Stage]:
    """The stages of a run by name, in their order."""
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
    """Run the stages in order, up to and with `until`."""
    planned = stages(recipe)
    if until is not None and until not in planned:
        raise InputError(f"no stage {until!r}; this recipe has {', '.join(planned)}")
    check(recipe)
    for name, build in planned.items():
        store.announce(f"[{name}]")
        build(store, recipe)
        if name == until:
            return


def check(recipe: Recipe) -> None:
    """What a user can get wrong, before any work: the executor and benchmark files."""
    executors.check(recipe.executor)
    for benchmark in recipe.benchmarks:
        benchmarks.check(benchmark)


def build_pool(store: Store, recipe: Recipe) -> None:
    """Clean pool: extract, check, find duplicates and benchmark leakage, decide."""
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
        checkpoints.build_base(store, recipe.docstring_judge.model, recipe.docstring_judge.revision, "docstring-judge")
        aspect_scores.build_snippets(store, recipe, last_checkpoint(store, "docstring-judge"))
    pool.build(store, recipe)


def build_teacher(store: Store, recipe: Recipe) -> None:
    """Superior samples, checked for leakage too, and the teacher's scores of some where the scorer learns from them."""
    teacher_samples.build(store, recipe.teacher, recipe.seed)
    if teacher_samples.is_asked(store):
        asked = {"num_snippets": recipe.teacher.num_snippets}
        rejects.build(store, "teacher", store.input("pool") | store.input("teacher_samples"), asked)
    for benchmark in recipe.benchmarks:
        contamination.build(store, recipe.decontamination, recipe.executor, "teacher", benchmark)
    if recipe.scorer.labels == "teacher":
        aspect_scores.build_labels(store, recipe.scorer, recipe.teacher, recipe.seed)


def build_scorer(store: Store, recipe: Recipe) -> None:
    """The model that scores aspects, how well it does on held-out pairs, and its scores of unseen teacher samples."""
    checkpoints.build_scorer(store, recipe.scorer, recipe.synthesizer, recipe.seed)
    scorer = last_checkpoint(store, "scorer")
    metrics.build_scorer_auc(store, recipe.scorer, recipe.seed, scorer)
    aspect_scores.build(store, recipe.scorer, scorer)


def build_bootstrap(store: Store, recipe: Recipe) -> None:
    """G0 from the teacher's samples; what the untrained base writes, for comparison."""
    checkpoints.build_base(store, recipe.synthesizer.model, recipe.synthesizer.revision)
    if recipe.sampling.base_snippets:
        sample(store, recipe, 0, "base")
    checkpoints.build_synthesizer(store, recipe, 0)
    metrics.build_heldout_nll(store, recipe.synthesizer.training, 0)


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
        metrics.build_heldout_nll(store, recipe.synthesizer.training, t)

    return build


def sample(store: Store, recipe: Recipe, t: int, subject: str) -> None:
    """Candidates of an iteration, their rejects and their parse rate."""
    candidates.build(store, recipe, t)
    made = store.input("candidates", iteration=t)
    rejects.build(store, "candidates", made, {"iteration": t}, iteration=t)
    metrics.build_query(store, "parse_rate", t, made, subject=subject)
    if t > 0:
        candidates.require_parsed(store, t)


def score(store: Store, recipe: Recipe, t: int, subject: str) -> None:
    """Contamination, aspect scores, weights and the score of an iteration's candidates."""
    for benchmark in recipe.benchmarks:
        contamination.build(store, recipe.decontamination, recipe.executor, "candidate", benchmark, t)
    aspect_scores.build(store, recipe.scorer, last_checkpoint(store, "scorer"), t)
    aspect_weights.build(store, recipe.scoring, t)
    scored.build(store, t)
    made = store.input("candidates", iteration=t) | store.input("scored", iteration=t)
    rejects.build(store, "scored", made, {"iteration": t}, iteration=t)
    metrics.build_query(store, "mean_score", t, store.input("scored", iteration=t), subject=subject)


def select(store: Store, recipe: Recipe, t: int, name: str) -> None:
    """A named selection, its rejects and its overlap with the iteration before. Never calls a model."""
    selected.build(store, recipe, t, name)
    selected.build_rejects(store, recipe, t, name)
    if t > 1 and name == recipe.selection_name:
        both = store.input("selected", iteration=t, selection=name)
        both |= store.input("selected", iteration=t - 1, selection=name)
        metrics.build_query(store, "selection_overlap", t, both, subject=name)


def fill(store: Store, recipe: Recipe, t: int, name: str) -> int:
    """Gradients and influence of the candidates that a selection admits but that have none; then the selection again."""
    absent = selected.missing(store, recipe, t, name)
    if absent:
        gradients.build(store, recipe, t, "candidate", batch=name, chosen=absent)
        influence.build(store, recipe, t, batch=name)
        again = Store(store.root, store.announce, store.track, force=True)
        select(again, recipe, t, name)
    return len(absent)


def build_instructions(store: Store, recipe: Recipe) -> None:
    """The final generation by G_T over the pool, decontaminated, scored, selected and published to the store."""
    final = recipe.iterations + 1
    sample(store, recipe, final, f"G{recipe.iterations}")
    score(store, recipe, final, f"G{recipe.iterations}")
    instructions.build(store, recipe)
    instructions.build_rejects(store, recipe)
    sets.instructions(store, recipe.name, f"{store.root}/_datasets/instructions")


def build_coder(store: Store, recipe: Recipe) -> None:
    """SCoder: the coder's base fine-tuned on the published instructions."""
    checkpoints.build_base(store, recipe.coder.model, recipe.coder.revision, role="coder-base")
    checkpoints.build_coder(store, recipe.coder)


def build_evaluation(store: Store, recipe: Recipe) -> None:
    """pass@1 of the coder and of its base on the benchmarks that the recipe evaluates."""
    wanted = [b for b in recipe.benchmarks if b.evaluate]
    if wanted and not sandbox.is_available():
        store.announce(
            "evaluation skipped: no sandbox; install bubblewrap (`apt-get install bubblewrap`) and run again"
        )
        return
    for role in ("coder-base", "coder"):
        checkpoint = last_checkpoint(store, role)
        for benchmark in wanted:
            evaluations.build(
                store, recipe.evaluation, checkpoint, benchmark, recipe.seed, is_base=role == "coder-base"
            )
            metrics.build_pass_at_1(store, checkpoint, role, benchmark)
