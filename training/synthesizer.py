"""Training of a synthesizer G_t: from a snippet to a problem and its solution (method.md, 1 and
2.4).

In: the published training set of an iteration. For G_0 it is the teacher's train split alone, for
G_t it also has the selection of iteration t. The user's turn is the prompt around the snippet, the
assistant's turn is the problem and the solution. Out: the M checkpoints that the next iteration
samples from. They are evenly spaced so that they differ.
"""

from typing import Any

from training import launch
from training.reports import TrainingReport
from training.settings import SftSettings

EXPECTS = "a snippet's prompt in the user's turn, problem and solution in the assistant's"


def train(dataset: str, base: str, output: str, settings: SftSettings | None = None, **options: Any) -> TrainingReport:
    """Train and return the report: `launch.train` for a synthesizer.

    `options` are the keyword arguments of `launch.train`.
    """
    return launch.train(dataset, base, output, settings or SftSettings(), expects=EXPECTS, **options)
