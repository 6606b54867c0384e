"""What a run of a recipe would do, and what it would cost: `scoder run RECIPE --dry-run`.

In: a recipe. Out: one `Step` per stage, in the order of the flow, with its rows, model calls,
tokens and dollars, and its work on GPUs. No model and no data are loaded; only the samples of a
file are counted. The token numbers are estimates: they follow from the constants of `step`.
`planned` adds what the machine needs for each step.

    for step in plan(files.load("tiny")):
        print(step.stage, step.what, step.rows)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path

from builders.engines.settings import EngineSettings
from builders.pairs.corruptions import CORRUPTIONS, TAUGHT_PER_COPY
from builders.recipe import Recipe, Teacher, coder_steps
from builders.recipe.checking import checked_by, cpu_hours
from builders.recipe.step import (
    ASPECT_TOKENS,
    JUDGE_TOKENS,
    PAIR_TOKENS,
    QUESTION_TOKENS,
    RUBRICS_TOKENS,
    SNIPPET_TOKENS,
    Step,
    pair_tokens,
    short,
    taught_tokens,
    times,
)
from builders.recipe.unnamed import unnamed
from builders.recipe.work import Asking, Gradients, Training
from builders.teacher import importing
from store import ASPECTS
from store.errors import InputError
from training.errors import TrainingError
from training.settings import LoraSettings


def plan(recipe: Recipe) -> list[Step]:
    """The steps of the whole run, in their order.

    They end before the first stage that needs a model which the recipe does not name.
    """
    recipe = recipe.model_copy(update={"teacher": _with_samples_there(recipe.teacher)})
    parts: dict[str, Callable[[], list[Step]]] = {
        "pool": lambda: _pool(recipe),
        "teacher": lambda: [_teacher(recipe)],
        "scorer": lambda: _scorer(recipe),
        "bootstrap": lambda: _bootstrap(recipe),
        **{f"iteration-{t}": partial(_iteration, recipe, t) for t in range(1, recipe.iterations + 1)},
        "instructions": lambda: _final(recipe),
        "coder": lambda: [coder_steps.coder(recipe)],
        "evaluation": lambda: [coder_steps.evaluation(recipe)],
    }
    lacking = unnamed(recipe)
    planned = takewhile(lambda stage: stage not in lacking, parts)
    return [step for stage in planned for step in parts[stage]()]


def _pool(recipe: Recipe) -> list[Step]:
    sources = ", ".join(s.name for s in recipe.sources)
    benchmarks = ", ".join(b.name for b in recipe.benchmarks) or "no benchmark"
    what = f"extract from {sources}; check; decontaminate against {benchmarks}{checked_by(recipe)}"
    return [Step("pool", what, None, cpu_hours=cpu_hours(recipe, None)), *_judge(recipe)]


def _with_samples_there(teacher: Teacher) -> Teacher:
    """The teacher with as many snippets as its file has, if that is fewer.

    A file that cannot be used is told by the check before a run.
    """
    if teacher.path is None:
        return teacher
    try:
        there = {importing.keys(triple) for triple in importing.triples(teacher.path)}
    except (InputError, TrainingError):
        return teacher
    return teacher.model_copy(update={"num_snippets": min(teacher.num_snippets, len(there))})


def _judge(recipe: Recipe) -> list[Step]:
    judge = recipe.docstring_judge
    if judge is None:
        return []
    what = (
        f"judge docstrings with {short(judge.model)}, one call of {JUDGE_TOKENS} tokens per snippet that passes all "
        "other checks (their number is known then)"
    )
    work = Asking("docstring_judge.engine", judge.model, judge.revision, judge.engine, 0, 0, None, None, judge.prompt)
    return [Step("pool", what, None, None, None, work=work)]


def _teacher(recipe: Recipe) -> Step:
    teacher, num = recipe.teacher, recipe.teacher.num_snippets
    checking = cpu_hours(recipe, num)
    if teacher.engine == "docstring":
        return Step("teacher", "problems and solutions from docstrings and bodies, offline", num, cpu_hours=checking)
    if teacher.path is not None:
        what = f"samples of {Path(teacher.path).name}, offline: as many as it has, these at most"
        return Step("teacher", what, num, cpu_hours=checking)
    engine, prompt = teacher.engine_settings(), num * SNIPPET_TOKENS
    completion = num * min(PAIR_TOKENS, teacher.max_tokens)
    work = Asking(
        "teacher.engine",
        teacher.model,
        None,
        engine,
        0,
        0,
        prompt,
        completion,
        teacher.prompt,
        teacher.max_tokens,
        "teacher.max_tokens",
    )
    what = f"ask {teacher.model} for (problem, solution)"
    return Step("teacher", what, num, num, prompt + completion, engine.cost(prompt, completion), work, checking)


def _scorer(recipe: Recipe) -> list[Step]:
    scorer, samples = recipe.scorer, _samples(recipe)
    scoring = _score(recipe, "scorer", samples, "score held-out pairs and the teacher's samples:")
    if scorer.training is None:
        return [Step("scorer", f"judge {short(_scorer_model(recipe)[0])} as it is", None, None, None), scoring]
    by_teacher = scorer.labels == "teacher"
    source = f"the scores of {recipe.teacher.model}" if by_teacher else "corruptions"
    per_copy = len(ASPECTS) if by_teacher else TAUGHT_PER_COPY
    pairs = round(_train_rows(recipe) * recipe.teacher.scorer_share)
    rows = round(pairs * (len(ASPECTS) + _copies(recipe) * per_copy))
    tokens = int(rows * min(QUESTION_TOKENS, scorer.training.max_tokens) * scorer.training.epochs)
    work = Training("scorer.training", *_scorer_model(recipe), scorer.training, tokens, prompt=scorer.prompt)
    tuned = Step("scorer", f"fine-tune on labels from {source}", rows, 0, tokens, work=work)
    return [*([_labels(recipe, pairs)] if by_teacher else []), tuned, scoring]


def _scorer_model(recipe: Recipe) -> tuple[str, str | None]:
    """The model and the revision that the scorer is, or is trained from."""
    if recipe.scorer.model is None:
        return recipe.synthesizer.base, recipe.synthesizer.revision
    return recipe.scorer.model, recipe.scorer.revision


def _samples(recipe: Recipe) -> int:
    """Pairs that the scorer is measured by, with their spoiled copies, and those of the contrast.

    The contrast are the teacher's samples that the scorer was not trained on.
    """
    measured = round(recipe.teacher.num_snippets * recipe.teacher.validation_share)
    contrast = _train_rows(recipe) - round(_train_rows(recipe) * recipe.teacher.scorer_share)
    return measured * (1 + _copies(recipe)) + contrast


def _labels(recipe: Recipe, pairs: int) -> Step:
    teacher, engine = recipe.teacher, recipe.teacher.engine_settings()
    measured = round(teacher.num_snippets * teacher.validation_share)
    calls = (pairs + measured) * (1 + _copies(recipe)) * len(ASPECTS)
    reads = calls * QUESTION_TOKENS
    work = Asking("teacher.engine", teacher.model, None, engine, 0, 0, reads, calls, recipe.scorer.prompt)
    what = f"ask {teacher.model} for the digits that the scorer learns and is measured by"
    return Step("teacher", what, calls, calls, reads + calls, engine.cost(reads, calls), work)


def _copies(recipe: Recipe) -> int:
    return min(recipe.scorer.corruptions_per_sample, len(CORRUPTIONS))


def _train_rows(recipe: Recipe) -> int:
    held_out = recipe.teacher.reference_share + recipe.teacher.validation_share
    return round(recipe.teacher.num_snippets * (1 - held_out))


def _bootstrap(recipe: Recipe) -> list[Step]:
    base, rows = recipe.synthesizer, recipe.sampling.base_snippets
    sampled = _sample(recipe, "bootstrap", "sample from the untrained base", rows, 0)
    trained = _training(recipe, 0, "bootstrap", f"train G0 from {short(base.base)}")
    return [*([sampled] if rows else []), trained]


def _training(recipe: Recipe, iteration: int, stage: str, what: str) -> Step:
    base = recipe.synthesizer
    kept = int(recipe.sampling.snippets_per_iteration * recipe.selection.top_share)
    iterations = iteration if base.accumulate else min(iteration, 1)
    rows, longest = _train_rows(recipe) + kept * iterations, base.training.max_tokens
    once = _train_rows(recipe) * min(taught_tokens(recipe), longest)
    once += kept * iterations * min(SNIPPET_TOKENS + pair_tokens(recipe), longest)
    tokens = int(once * base.training.epochs)
    is_read = recipe.influence.gradients.optimizer_map == "adam"
    work = Training("synthesizer.training", base.base, base.revision, base.training, tokens, is_read, base.prompt)
    return Step(stage, what, rows, 0, tokens, work=work)


def _sample(recipe: Recipe, stage: str, what: str, rows: int | None, num_adapters: int) -> Step:
    """Candidates are written. Those of the untrained base are not compared with benchmarks."""
    base, lora = recipe.synthesizer, recipe.synthesizer.training.lora
    reads, writes = times(rows, SNIPPET_TOKENS), times(rows, pair_tokens(recipe))
    adapters, rank = (num_adapters, lora.r) if lora else (0, 0)
    work = Asking(
        "synthesizer.engine",
        base.base,
        base.revision,
        base.engine,
        adapters,
        rank,
        reads,
        writes,
        base.prompt,
        recipe.sampling.max_tokens,
        "sampling.max_tokens",
    )
    cost = None if rows is None else base.engine.cost(reads or 0, writes or 0)
    tokens = times(rows, SNIPPET_TOKENS + pair_tokens(recipe))
    checking = 0.0 if stage == "bootstrap" else cpu_hours(recipe, rows)
    return Step(stage, what, rows, rows, tokens, cost, work, checking)


def _iteration(recipe: Recipe, iteration: int) -> list[Step]:
    sampling, stage = recipe.sampling, f"iteration-{iteration}"
    rows = sampling.snippets_per_iteration * sampling.checkpoints * sampling.samples_per_checkpoint
    what = f"{sampling.checkpoints} checkpoints x {sampling.samples_per_checkpoint} samples x {sampling.snippets_per_iteration:,} snippets"
    return [
        _sample(recipe, stage, f"sample: {what}", rows, sampling.checkpoints),
        _score(recipe, stage, rows),
        _gradients(recipe, stage),
        _training(recipe, iteration, stage, f"select and train G{iteration}"),
    ]


def _gradients(recipe: Recipe, stage: str) -> Step:
    sampling, base = recipe.sampling, recipe.synthesizer
    graded = int(recipe.influence.margin * sampling.snippets_per_iteration)
    references = int(recipe.teacher.num_snippets * recipe.teacher.reference_share)
    rows, longest = (graded + references) * sampling.checkpoints, recipe.influence.gradients.max_tokens
    once = graded * min(SNIPPET_TOKENS + pair_tokens(recipe), longest) + references * min(
        taught_tokens(recipe), longest
    )
    tokens = once * sampling.checkpoints
    work = Gradients(
        "influence.gradients",
        base.base,
        base.revision,
        recipe.influence.gradients,
        base.training.lora or LoraSettings(),
        base.training.dtype,
        rows,
        tokens,
        recipe.influence.workers,
        base.prompt,
    )
    return Step(stage, "influence: per-sample gradients", rows, 0, tokens, work=work)


def _score(recipe: Recipe, stage: str, rows: int | None, what: str = "score") -> Step:
    """Every aspect of so many items. An endpoint reads, and is paid for, each question whole.

    An engine in this process computes what an item's questions share only once.
    """
    scorer, training, calls = recipe.scorer, recipe.scorer.training, times(rows, len(ASPECTS))
    engine: EngineSettings = scorer.engine
    pair = taught_tokens(recipe) - SNIPPET_TOKENS if stage == "scorer" else pair_tokens(recipe)
    each = SNIPPET_TOKENS + pair + len(ASPECTS) * ASPECT_TOKENS
    whole = RUBRICS_TOKENS + SNIPPET_TOKENS + pair + ASPECT_TOKENS
    reads = times(calls, whole) if engine.is_endpoint else times(rows, each)
    rank = training.lora.r if training is not None and training.lora is not None else 0
    work = Asking("scorer.engine", *_scorer_model(recipe), engine, int(rank > 0), rank, reads, calls, scorer.prompt)
    cost = None if calls is None else engine.cost(reads or 0, calls)
    tokens = None if reads is None or calls is None else reads + (calls if engine.is_endpoint else 0)
    return Step(stage, f"{what} {len(ASPECTS)} aspects", calls, calls, tokens, cost, work)


def _final(recipe: Recipe) -> list[Step]:
    final = recipe.final
    rows = None if final.max_snippets is None else final.max_snippets * final.samples
    whole = "" if rows is not None else " (the whole pool: its size is known after stage pool)"
    return [
        _sample(recipe, "instructions", f"final generation{whole}", rows, 1),
        _score(recipe, "instructions", rows),
    ]
