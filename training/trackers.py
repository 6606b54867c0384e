"""The trackers that may follow a training: `report_to`.

In: their names. Out: nothing, or a TrainingError for one that is not known or not installed. So a
misspelt name ends a run before it begins, and not at its last training.

    require(("tensorboard",))
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from training.errors import TrainingError

PACKAGES: dict[str, tuple[str, ...]] = {
    "clearml": ("clearml",),
    "comet_ml": ("comet_ml",),
    "dvclive": ("dvclive",),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "none": (),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""The names that transformers knows for them, and the modules of which one must be there."""


def require(names: Iterable[str]) -> None:
    """TrainingError for a tracker that is not known, or whose package is not installed."""
    for name in names:
        if name not in PACKAGES:
            raise TrainingError(f"report_to: there is no tracker {name!r}; there are {', '.join(sorted(PACKAGES))}")
        modules = PACKAGES[name]
        if modules and not any(importlib.util.find_spec(module) for module in modules):
            raise TrainingError(
                f"report_to names {name}, but its package is not installed: run `pip install {modules[0]}`, or leave it out"
            )
