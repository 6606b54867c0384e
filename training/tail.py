"""The log of a training, read while it is written: by its launcher, or by another machine.

In: the folder that a training will leave. Out: a record for each step, as it appears.

    tail = Tail(Path("out"))
    tail.new()     # the steps since the last call
    tail.last()    # the same when the training is finished
"""

from __future__ import annotations

import time
from pathlib import Path

from training import signs, train_log
from training.resuming import newest, partial_of, step_of
from training.train_log import StepRecord


def saved_step(output: Path) -> int:
    """The step from which a training would go on. 0 is its beginning."""
    state = newest(partial_of(output))
    return step_of(state) if state else 0


class Tail:
    """The steps that an attempt makes, as they appear in the log of its training.

    An attempt begins with a new file, which holds the steps up to the state that it goes on from.
    """

    def __init__(self, output: Path) -> None:
        self._output, self._folder = output, partial_of(output)
        self._file = self._known()[:1]
        # Held open, so that no new file gets the same number.
        self._held = open(self._folder / train_log.LOG, "rb") if self._file else None  # noqa: SIM115, closed with this object
        self._size: tuple[int, ...] = ()
        self._step: int | None = None
        self.silence_s = self.longest_s = self.saving_s = 0.0

    def wait(self, seconds: float) -> None:
        """Sleep. `silence_s` sums this up since the last step, or since the beginning; `saving_s`
        does, since it began, while something is saved.

        Time in which this process was stopped itself, as by Ctrl-Z, does not count.
        """
        time.sleep(seconds)
        if (self._folder / signs.SAVING).exists():
            self.saving_s += seconds
        else:
            self.silence_s, self.saving_s = self.silence_s + seconds, 0.0

    def new(self) -> list[StepRecord]:
        """The steps since the last call."""
        known = self._known()
        if known == self._size or (self._step is None and known[:1] == self._file):
            return []
        self._size = known
        if self._step is None:
            self._step = saved_step(self._output)
        records = [record for record in train_log.read(self._folder) if record.step > self._step]
        if records:
            self.longest_s = max(self.longest_s, min(self.silence_s, max(r.seconds for r in records)), 1e-3)
            self._step, self.silence_s = records[-1].step, 0.0
        return records

    def last(self) -> list[StepRecord]:
        """The same when the training is finished, and its folder has its own name."""
        self._folder, self._size, self._file = self._output, (), ()
        return self.new()

    def _known(self) -> tuple[int, ...]:
        """What tells one state of the log from another: the file, its size."""
        try:
            found = (self._folder / train_log.LOG).stat()
        except FileNotFoundError:
            return ()
        return found.st_ino, found.st_size
