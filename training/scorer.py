"""Training of a scorer: from an item and an aspect to one digit (method.md, section 2.2).

In: labelled pairs as published rows, labelled by the teacher or in code. The user's turn is the
scoring prompt with the item and one aspect, the assistant's turn is the integer 0-9. Out: one
checkpoint, the final one, because nothing is sampled from a scorer.
"""

from typing import Any

from training import launch
from training.reports import TrainingReport
from training.settings import SftSettings

DIGITS = tuple("0123456789")
EXPECTS = "the scoring prompt of one aspect in the user's turn, one digit in the assistant's"


def train(dataset: str, base: str, output: str, settings: SftSettings | None = None, **options: Any) -> TrainingReport:
    """Train and return the report: `launch.train` for a scorer, whose answers are digits.

    `options` are the keyword arguments of `launch.train`.
    """
    return launch.train(dataset, base, output, settings or SftSettings(), expects=EXPECTS, choices=DIGITS, **options)
