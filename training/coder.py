"""Training of SCoder: from a problem to its solution (method.md, section 3).

In: the published instruction dataset. The user's turn is the problem, the assistant's turn is the
solution. The snippet is not shown, because a user of the model has none. Out: one checkpoint, the
final one: all weights, or an adapter.
"""

from typing import Any

from training import launch
from training.reports import TrainingReport
from training.settings import SftSettings

EXPECTS = "a problem in the user's turn, its solution in the assistant's"


def train(dataset: str, base: str, output: str, settings: SftSettings | None = None, **options: Any) -> TrainingReport:
    """Train and return the report: `launch.train` for a coder.

    `options` are the keyword arguments of `launch.train`.
    """
    return launch.train(dataset, base, output, settings or SftSettings(), expects=EXPECTS, **options)
