"""Labelled examples for a scorer: teacher pairs and corrupted copies of them, with digits by rule.

In: teacher pairs with their snippets. Out: `Labelled` pairs, each with {aspect: digit}. No model is
asked. We know which aspects a corruption spoils: a solution swapped with another is not consistent
with its problem, a truncated one is not complete, and a scrambled problem is not clear.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from builders.checks.structure import num_tokens
from store.errors import InputError

CORRUPTIONS = ("swapped_solution", "truncated_solution", "swapped_pair", "scrambled_problem", "mangled_solution")

GOOD = {"consistency": 9, "correctness": 9, "completeness": 9, "clarity": 9, "relevance": 9}
_SPOILS = {
    "swapped_solution": {"consistency": 0, "correctness": 1, "completeness": 1},
    "truncated_solution": {"consistency": 4, "correctness": 0, "completeness": 2},
    "swapped_pair": {"relevance": 0},
    "scrambled_problem": {"clarity": 0, "consistency": 3},
    "mangled_solution": {"correctness": 0, "consistency": 5},
}
"""Which aspects a corruption lowers, and to which digit. The digits are our choice."""
TAUGHT_PER_COPY = 1 + sum(map(len, _SPOILS.values())) / len(_SPOILS)
"""How many labels of a corrupted copy are trained on, on average. See `taught`."""


@dataclass(frozen=True)
class Labelled:
    """A pair with the digits that it deserves."""

    code: str
    problem: str
    solution: str
    corruption: str
    labels: dict[str, int]


def labelled(pairs: list[dict[str, Any]], per_pair: int, seed: int) -> list[Labelled]:
    """Every pair as it is, and up to `per_pair` corrupted copies that differ from it.

    InputError for fewer than two pairs, as a corruption swaps a part with another pair.
    """
    if len(pairs) < 2:
        raise InputError(
            f"at least 2 teacher pairs are needed to train a scorer, got {len(pairs)}: raise teacher.num_snippets"
        )
    rng = random.Random(seed)
    examples = []
    for number, pair in enumerate(pairs):
        examples.append(_example(pair, pair["problem"], pair["solution"], "none"))
        for kind in rng.sample(CORRUPTIONS, min(per_pair, len(CORRUPTIONS))):
            other = pairs[(number + rng.randrange(1, len(pairs))) % len(pairs)]
            example = _corrupted(pair, other, kind, rng)
            if _is_spoilt(example, pair, other):
                examples.append(example)
    return examples


def _is_spoilt(example: Labelled, pair: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the corruption changed the text. A short text can come out as it was."""
    if example.corruption == "swapped_pair" and other["code"] == pair["code"]:
        return False
    before, after = (pair["problem"], pair["solution"]), (example.problem, example.solution)
    return any(a.split() != b.split() for a, b in zip(before, after, strict=True))


def taught(example: Labelled, rng: random.Random) -> dict[str, int]:
    """The labels of an example that are trained on.

    Of a whole pair these are all. Of a corrupted one these are the lowered ones and one other. So
    there are about as many low as high digits. With all labels nine in ten would be 9, and a scorer
    would learn to say 9.
    """
    spoilt = _SPOILS.get(example.corruption)
    if spoilt is None:
        return example.labels
    other = rng.choice([a for a in example.labels if a not in spoilt])
    return {a: digit for a, digit in example.labels.items() if a in spoilt or a == other}


def _corrupted(pair: dict[str, Any], other: dict[str, Any], kind: str, rng: random.Random) -> Labelled:
    problem, solution = pair["problem"], pair["solution"]
    if kind == "swapped_solution":
        solution = other["solution"]
    elif kind == "swapped_pair":
        problem, solution = other["problem"], other["solution"]
    elif kind == "truncated_solution":
        solution = solution[: max(10, int(len(solution) * rng.uniform(0.3, 0.8)))]
    elif kind == "scrambled_problem":
        words = problem.split()
        rng.shuffle(words)
        problem = " ".join(words)
    else:
        solution = _mangled(solution, rng)
    return _example(pair, problem, solution, kind)


def _mangled(solution: str, rng: random.Random) -> str:
    """A solution with two of its lines dropped or doubled."""
    lines = solution.split("\n")
    for _ in range(2):
        at = rng.randrange(len(lines))
        lines[at : at + 1] = [] if rng.random() < 0.5 and len(lines) > 2 else [lines[at], lines[at]]
    return "\n".join(lines)


def _example(pair: dict[str, Any], problem: str, solution: str, kind: str) -> Labelled:
    labels = GOOD | _SPOILS.get(kind, {}) | {"difficulty": difficulty(solution)}
    return Labelled(pair["code"], problem, solution, kind, labels)


def difficulty(solution: str) -> int:
    """A digit from the length of the solution: 0 up to 12 tokens, then one more per factor of 1.6.

    From 516 tokens on it is 9.
    """
    size = num_tokens(solution) or len(solution.split())
    return next((digit for digit in range(9) if size <= 12 * 1.6**digit), 9)
