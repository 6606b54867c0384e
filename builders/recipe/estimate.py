"""What a run of a recipe would do, and what it would cost: `scoder run RECIPE --dry-run`.

In: a recipe. Out: one `Step` per stage, in the order of the flow, with its rows, model calls,
tokens and dollars. No model and no data are loaded; only the samples of a file are counted. The
token numbers are estimates: they follow from the constants below.

    for step in plan(files.load("tiny")):
        print(step.stage, step.what, step.rows)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builders.pairs.corruptions import CORRUPTIONS, TAUGHT_PER_COPY
from builders.recipe import Recipe, Teacher
from builders.teacher import importing
from store import ASPECTS
from store.errors import InputError
from training.errors import TrainingError

SNIPPET_TOKENS = 300
"""Tokens of a snippet in a prompt: our estimate for functions of The Stack that pass the checks."""
PAIR_TOKENS = 600
"""Tokens of a problem and its solution; our estimate."""
RUBRICS_TOKENS = 200
"""Tokens of the rubrics before every item. An engine in this process computes them only once."""
ASPECT_TOKENS = 10
"""Tokens of the last line, which names the aspect."""
QUESTION_TOKENS = RUBRICS_TOKENS + SNIPPET_TOKENS + PAIR_TOKENS + ASPECT_TOKENS


@dataclass(frozen=True)
class Step:
    """One line of the plan. `rows` and `cost_usd` are None where nobody can know them before."""

    stage: str
    what: str
    rows: int | None
    model_calls: int = 0
    tokens: int = 0
    cost_usd: float | None = None


def plan(recipe: Recipe) -> list[Step]:
    """The steps of the whole run, in their order."""
    recipe = recipe.model_copy(update={"teacher": _with_samples_there(recipe.teacher)})
    sources = ", ".join(s.name for s in recipe.sources)
    benchmarks = ", ".join(b.name for b in recipe.benchmarks) or "no benchmark"
    steps = [
        Step("pool", f"extract from {sources}; check; decontaminate against {benchmarks}", None),
        *_judge(recipe),
        _teacher(recipe),
        *_scorer(recipe),
        Step("bootstrap", f"train G0 from {_short(recipe.synthesizer.model)}", *_training(recipe, 0)),
    ]
    for iteration in range(1, recipe.iterations + 1):
        steps += _iteration(recipe, iteration)
    return steps + _rest(recipe)


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
    if recipe.docstring_judge is None:
        return []
    model = _short(recipe.docstring_judge.model)
    return [
        Step(
            "pool",
            f"judge docstrings with {model}, one call per snippet that passes all other checks (their number is known then)",
            None,
        )
    ]


def _teacher(recipe: Recipe) -> Step:
    teacher = recipe.teacher
    if teacher.engine == "docstring":
        return Step("teacher", "problems and solutions from docstrings and bodies, offline", teacher.num_snippets)
    if teacher.path is not None:
        what = f"samples of {Path(teacher.path).name}, offline: as many as it has, these at most"
        return Step("teacher", what, teacher.num_snippets)
    prompt, completion = teacher.num_snippets * SNIPPET_TOKENS, teacher.num_snippets * PAIR_TOKENS
    cost = teacher.engine_settings().cost(prompt, completion)
    what = f"ask {teacher.model} for (problem, solution)"
    return Step("teacher", what, teacher.num_snippets, teacher.num_snippets, prompt + completion, cost)


def _scorer(recipe: Recipe) -> list[Step]:
    scorer = recipe.scorer
    if scorer.training is None:
        return [Step("scorer", f"judge {_short(scorer.model or recipe.synthesizer.model)} as it is", None)]
    by_teacher = scorer.labels == "teacher"
    source = f"the scores of {recipe.teacher.model}" if by_teacher else "corruptions"
    per_copy = len(ASPECTS) if by_teacher else TAUGHT_PER_COPY
    pairs = round(_train_rows(recipe) * recipe.teacher.scorer_share)
    rows = round(pairs * (len(ASPECTS) + _copies(recipe) * per_copy))
    tokens = int(rows * QUESTION_TOKENS * scorer.training.epochs)
    tuned = Step("scorer", f"fine-tune on labels from {source}", rows, 0, tokens)
    return [_labels(recipe, pairs), tuned] if by_teacher else [tuned]


def _labels(recipe: Recipe, pairs: int) -> Step:
    teacher = recipe.teacher
    measured = round(teacher.num_snippets * teacher.validation_share)
    calls = (pairs + measured) * (1 + _copies(recipe)) * len(ASPECTS)
    cost = teacher.engine_settings().cost(calls * QUESTION_TOKENS, calls)
    what = f"ask {teacher.model} for the digits that the scorer learns and is measured by"
    return Step("teacher", what, calls, calls, calls * (QUESTION_TOKENS + 1), cost)


def _copies(recipe: Recipe) -> int:
    return min(recipe.scorer.corruptions_per_sample, len(CORRUPTIONS))


def _train_rows(recipe: Recipe) -> int:
    held_out = recipe.teacher.reference_share + recipe.teacher.validation_share
    return round(recipe.teacher.num_snippets * (1 - held_out))


def _training(recipe: Recipe, iteration: int) -> tuple[int, int, int]:
    kept = int(recipe.sampling.snippets_per_iteration * recipe.selection.top_share)
    iterations = iteration if recipe.synthesizer.accumulate else min(iteration, 1)
    rows = _train_rows(recipe) + kept * iterations
    return rows, 0, int(rows * (SNIPPET_TOKENS + PAIR_TOKENS) * recipe.synthesizer.training.epochs)


def _iteration(recipe: Recipe, iteration: int) -> list[Step]:
    sampling, stage = recipe.sampling, f"iteration-{iteration}"
    rows = sampling.snippets_per_iteration * sampling.checkpoints * sampling.samples_per_checkpoint
    graded = int(recipe.influence.margin * sampling.snippets_per_iteration)
    references = int(recipe.teacher.num_snippets * recipe.teacher.reference_share)
    backward = (graded + references) * sampling.checkpoints
    what = f"{sampling.checkpoints} checkpoints x {sampling.samples_per_checkpoint} samples x {sampling.snippets_per_iteration:,} snippets"
    return [
        Step(stage, f"sample: {what}", rows, rows, rows * (SNIPPET_TOKENS + PAIR_TOKENS)),
        _score(recipe, stage, rows),
        Step(stage, "influence: per-sample gradients", backward, 0, backward * (SNIPPET_TOKENS + PAIR_TOKENS)),
        Step(stage, f"select and train G{iteration}", *_training(recipe, iteration)),
    ]


def _score(recipe: Recipe, stage: str, rows: int) -> Step:
    calls = rows * len(ASPECTS)
    if recipe.scorer.engine.engine == "openai":  # each question is read, and paid for, whole
        cost = recipe.scorer.engine.cost(calls * QUESTION_TOKENS, calls)
        return Step(stage, f"score {len(ASPECTS)} aspects", calls, calls, calls * (QUESTION_TOKENS + 1), cost)
    tokens = rows * (SNIPPET_TOKENS + PAIR_TOKENS + len(ASPECTS) * ASPECT_TOKENS)
    return Step(stage, f"score {len(ASPECTS)} aspects", calls, calls, tokens)


def _rest(recipe: Recipe) -> list[Step]:
    rows = None if recipe.final.max_snippets is None else recipe.final.max_snippets * recipe.final.samples
    final = rows or 0
    tasks = ", ".join(b.name for b in recipe.benchmarks if b.evaluate) or "nothing"
    whole = "" if rows is not None else " (the whole pool: its size is known after stage pool)"
    return [
        Step("instructions", f"final generation{whole}", rows, final, final * (SNIPPET_TOKENS + PAIR_TOKENS)),
        _score(recipe, "instructions", final),
        Step("coder", f"fine-tune {_short(recipe.coder.model)} on the instructions", rows),
        Step("evaluation", f"pass@1 on {tasks}", None),
    ]


def _short(model: str) -> str:
    return model.rsplit("/", 1)[-1] if model.startswith("/") else model
