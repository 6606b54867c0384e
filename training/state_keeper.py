"""When the state of a training is saved, from which it can go on after a kill.

In: a running trainer. Out: the folder that `training/resuming.py` finds again.

A file `stop` asks the training to end. Then it ends after the step, with a state of that step, if
there is time to save it: the file says until when.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from training.processes import agreed

EVERY_S = 120.0
"""Seconds of training that a kill may cost."""
SHARE = 0.05
"""Share of the time that saving may take. It is saved less often where it takes longer."""
NOTHING, SAVE, SAVE_AND_END, END = 0.0, 1.0, 2.0, 3.0
"""What the first process decides after a step, for all."""


class StateKeeper(TrainerCallback):
    """Has the trainer save its state every `every_s` seconds, at the same step in all processes. 0:
    after every step.

    The trainer keeps the newest one (`training/fitting.py`). `has_stopped` is whether the training
    was asked to end, and did.
    """

    def __init__(self, every_s: float = EVERY_S, stop: Path | None = None) -> None:
        self._every_s, self._stop, self._saved = every_s, stop, time.monotonic()
        self._asked: float | None = None
        self._last_s = 0.0
        self.has_stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The end of the training is near: what comes next is the result itself.
        if state.global_step >= state.max_steps:
            return
        # Each process has its own clock. Saving takes all of them, so the first one decides.
        decided = agreed(self._decided())
        if decided in (SAVE, SAVE_AND_END):
            control.should_save = True
            self._asked = time.monotonic()
        if decided in (SAVE_AND_END, END):
            control.should_training_stop = self.has_stopped = True

    def _decided(self) -> float:
        until = _asked_until(self._stop)
        if until is not None:
            return SAVE_AND_END if time.monotonic() + self._last_s < until else END
        return SAVE if time.monotonic() - self._saved >= self._every_s else NOTHING

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()
        if self._asked is not None:
            self._last_s = self._saved - self._asked
            if self._every_s:
                self._every_s = max(self._every_s, self._last_s / SHARE)
            self._asked = None


def _asked_until(stop: Path | None) -> float | None:
    """Until when the training is asked to end. None if it is not."""
    try:
        return None if stop is None else float(stop.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
