"""Training of SCoder: from a problem to its solution (method.md, section 3).

In: the published instruction dataset. The user's turn is the problem, the assistant's turn is the
solution. The snippet is not shown, because a user of the model has none. Out: one checkpoint, the
final one, with full weights.
"""

from typing import Any

from training import launch
from training.reports import TrainingReport
from training.settings import SftSettings

# For all weights of DeepSeek-Coder-6.7B-Base and some 60k rows. The values are ours, not the
# paper's.
DEFAULT = SftSettings(
    epochs=2,
    learning_rate=1e-5,
    batch_size=4,
    gradient_accumulation=16,
    max_tokens=4096,
    lora=None,
    gradient_checkpointing=True,
)
EXPECTS = "a problem in the user's turn, its solution in the assistant's"


def train(dataset: str, base: str, output: str, settings: SftSettings = DEFAULT, **options: Any) -> TrainingReport:
    """Train and return the report: `launch.train` with the defaults of a coder.

    `options` are the keyword arguments of `launch.train`.
    """
    return launch.train(dataset, base, output, settings, expects=EXPECTS, **options)
