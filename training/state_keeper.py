"""When the state of a training is saved, from which it can go on after a kill.

In: a running trainer. Out: the folder that `training/resuming.py` finds again.
"""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from training.processes import agreed

EVERY_S = 120.0
"""Seconds of training that a kill may cost."""
SHARE = 0.05
"""Share of the time that saving may take. It is saved less often where it takes longer."""


class StateKeeper(TrainerCallback):
    """Has the trainer save its state every `every_s` seconds, at the same step in all processes. 0:
    after every step.

    The trainer keeps the newest one (save_total_limit=1).
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s, self._saved = every_s, time.monotonic()
        self._asked: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The end of the training is near: what comes next is the result itself.
        is_due = time.monotonic() - self._saved >= self._every_s
        # Each process has its own clock. Saving takes all of them, so the first one decides.
        if state.global_step < state.max_steps and agreed(float(is_due)):
            control.should_save = True
            self._asked = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()
        if self._asked is not None:
            if self._every_s:
                self._every_s = max(self._every_s, (self._saved - self._asked) / SHARE)
            self._asked = None
