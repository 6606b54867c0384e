"""One step of a plan, and the numbers of tokens that plans are made of.

In: a recipe. Out: tokens of a snippet, of a pair and of questions. They are estimates of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from builders.recipe import Recipe
from builders.recipe.work import Work

SNIPPET_TOKENS = 300
"""Tokens of a snippet in a prompt: our estimate for functions of The Stack that pass the checks."""
PAIR_TOKENS = 600
"""Tokens of a problem and its solution; our estimate."""
RUBRICS_TOKENS = 200
"""Tokens of the rubrics before every item. An engine in this process computes them only once."""
ASPECT_TOKENS = 10
"""Tokens of the last line, which names the aspect."""
QUESTION_TOKENS = RUBRICS_TOKENS + SNIPPET_TOKENS + PAIR_TOKENS + ASPECT_TOKENS
PROMPT_TOKENS = 120
"""Tokens of the words around a snippet, in the prompts that ask for a pair."""
DOCSTRING_TOKENS = 80
"""Tokens of a docstring alone, which the judge of docstrings reads a second time."""
JUDGE_TOKENS = PROMPT_TOKENS + SNIPPET_TOKENS + DOCSTRING_TOKENS + 1
"""Tokens of a question to the judge of docstrings, with its answer."""


@dataclass(frozen=True)
class Step:
    """One line of the plan.

    `rows`, `model_calls` and `tokens` are None where nobody can know them before, and `cost_usd`
    too where there is no price, or no bill. `work` is what it does on GPUs; None if nothing.
    `cpu_hours` are those of decontamination by execution and by meaning only; None where the number
    of texts is unknown.
    """

    stage: str
    what: str
    rows: int | None
    model_calls: int | None = 0
    tokens: int | None = 0
    cost_usd: float | None = None
    work: Work | None = None
    cpu_hours: float | None = 0.0


def pair_tokens(recipe: Recipe) -> int:
    """Tokens of a problem and its solution that the synthesizer writes: no more than it may."""
    return min(PAIR_TOKENS, recipe.sampling.max_tokens)


def taught_tokens(recipe: Recipe) -> int:
    """Tokens of a snippet and a pair of the teacher, as the synthesizer learns them.

    An offline teacher writes as many as it has.
    """
    pair = PAIR_TOKENS if recipe.teacher.is_offline else min(PAIR_TOKENS, recipe.teacher.max_tokens)
    return SNIPPET_TOKENS + pair


def times(number: int | None, factor: int) -> int | None:
    """The product; None where the number is unknown."""
    return None if number is None else number * factor


def short(model: str) -> str:
    """The name of a model; of a folder, the last part."""
    return model.rsplit("/", 1)[-1] if model.startswith("/") else model
