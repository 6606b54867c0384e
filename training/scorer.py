"""Training of a scorer: from an item and an aspect to one digit (method.md, section 2.2).

In: labelled pairs as published rows, labelled by the teacher or in code. The user's turn is the
scoring prompt with the item and one aspect, the assistant's turn is the integer 0-9. Out: one
checkpoint, the final one, because nothing is sampled from a scorer.
"""

from typing import Any

from training import launch
from training.reports import TrainingReport
from training.settings import SftSettings

# The loss is on a digit and the end of its turn, so batches are large. The values are ours, not the
# paper's.
DEFAULT = SftSettings(epochs=2, learning_rate=1e-4, batch_size=8, gradient_accumulation=8, max_tokens=4096)
DIGITS = tuple("0123456789")
EXPECTS = "the scoring prompt of one aspect in the user's turn, one digit in the assistant's"


def train(dataset: str, base: str, output: str, settings: SftSettings = DEFAULT, **options: Any) -> TrainingReport:
    """Train and return the report: `launch.train` with the defaults of a scorer.

    `options` are the keyword arguments of `launch.train`.
    """
    return launch.train(dataset, base, output, settings, expects=EXPECTS, choices=DIGITS, **options)
