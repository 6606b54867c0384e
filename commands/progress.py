"""How far a build is: one live line on a terminal, a line a minute in a log.

In: how many steps there are, and how many are done. Out: on a terminal, a line per build that runs,
with its rate and the time that is left. Where there is no terminal, such as in the log of a Slurm
job, a line like this, first after a minute and then once a minute:

    candidates/iteration-1: 120 of 400 shards, 34/min, 8 min left

A training says more, of its last step. It has the name of the checkpoints that it makes, and one
line, which stands in the place of the one that counts their shards:

    checkpoints/role-coder: 40 of 366 steps, 12/min, 27 min left, loss 0.831, 5,230 tokens/s, on 4
    GPUs, 41.2 GB each

A build that ends within a minute writes no line to a log. Builds may run in several threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from training.train_log import StepRecord

EVERY_S = 60.0
"""Seconds between two lines of a log."""
STEPS, NO_STEP = "steps", "no step yet"
"""The unit of a training, and what is said of it while its model is loaded."""


@dataclass
class Pace:
    """How fast something goes: `done` of `total` steps, `total` None if nobody knows.

    The first step often loads a model or starts processes. So the rate is that of the steps after
    the first, as soon as there are any.
    """

    total: int | None
    begun: float
    unit: str = "shards"
    done: int = 0
    first: tuple[float, int] | None = None
    last: float = field(default=0.0)
    note: str = ""
    earlier: int = 0

    def advance(self, done: int, now: float, note: str = "") -> None:
        """Say that so many steps are done, and what else there is to say of the last one."""
        self.note = note
        if done > self.done:
            self.done, self.last = done, now
            self.first = self.first or (now, done)

    def resume(self, done: int, now: float) -> None:
        """Say that so many steps were done before, by a run that was killed."""
        self.done = self.earlier = done
        self.begun, self.first = now, None

    def rate(self, now: float) -> float | None:
        """Steps per second; None before the first one.

        Of a training, None before the second: to load its model takes longer than a step.
        """
        if self.first is None:
            return None
        then, done = self.first
        if self.done > done and self.last > then:
            return (self.done - done) / (self.last - then)
        return None if self.unit == STEPS else (self.done - self.earlier) / max(now - self.begun, 1e-9)

    def text(self, now: float) -> str:
        """For people: `1,200 of 40,000 rows, 85/s, 8 min left`."""
        if self.unit == STEPS and self.done == 0:
            return self._noted(f"{NO_STEP} after {duration(now - self.begun)}")
        said = f"{self.done:,}{'' if self.total is None else f' of {self.total:,}'} {self.unit}"
        rate = self.rate(now)
        if rate is None:
            return self._noted(f"{said} after {duration(now - self.begun)}")
        said += f", {_speed(rate)}"
        if self.total is not None and self.total > self.done:
            said += f", {duration((self.total - self.done) / rate)} left"
        return self._noted(said)

    def _noted(self, said: str) -> str:
        return f"{said}, {self.note}" if self.note else said


def _speed(rate: float) -> str:
    for unit, seconds in (("s", 1), ("min", 60)):
        if rate * seconds >= 1:
            return f"{rate * seconds:,.3g}/{unit}" if rate * seconds < 100 else f"{rate * seconds:,.0f}/{unit}"
    return f"{rate * 3600:.3g}/h"


def duration(seconds: float) -> str:
    """A time for people: `40 s`, `8 min`, `2 h 5 min`, `3 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


class Reporter:
    """Says of all that runs how far it is. `every` is the time between two lines of a log."""

    def __init__(self, console: Console, every: float = EVERY_S):
        self._console, self._every = console, every
        self._lock = threading.RLock()
        self._running: dict[object, tuple[str, Pace]] = {}
        self._live: Any = None
        self._wake: threading.Event | None = None

    @contextmanager
    def of(self, total: int | None, label: str, unit: str) -> Iterator[Callable[[int], None]]:
        """Report on one build: call what this gives with the number of steps that are done."""
        with self._on(Pace(total, time.monotonic(), unit), label) as pace:
            yield lambda done: pace.advance(done, time.monotonic())

    @contextmanager
    def _on(self, pace: Pace, label: str) -> Iterator[Pace]:
        """The line of a pace is shown inside this block."""
        key = object()
        with self._lock:
            self._running[key] = label, pace
            if len(self._running) == 1:
                self._begin()
        try:
            yield pace
        finally:
            with self._lock:
                del self._running[key]
                if not self._running:
                    self._end()

    @contextmanager
    def training(self, label: str) -> Iterator[Callable[[StepRecord], None]]:
        """Report on a training: call what this gives with every step, also with earlier ones."""
        with self._on(Pace(None, time.monotonic(), STEPS), label) as pace:

            def note(record: StepRecord) -> None:
                now = time.monotonic()
                if pace.total is None and record.step > 1:
                    pace.resume(record.step - 1, now)
                pace.total = record.num_steps
                pace.advance(record.step, now, record.text())

            yield note

    def track(self, items: Sequence[int], label: str) -> Iterable[int]:
        """The items, which are shards. One is done when the next one is asked for."""
        if not items:
            return
        with self.of(len(items), label, "shards") as advance:
            for number, item in enumerate(items, 1):
                yield item
                advance(number)

    def lines(self) -> list[str]:
        """A line for each build that runs: of two with one name, for the one that began last."""
        now = time.monotonic()
        return [f"{label}: {pace.text(now)}" for label, pace in dict(list(self._running.values())).items()]

    def _begin(self) -> None:
        if self._console.is_terminal:
            from rich.live import Live
            from rich.text import Text

            self._live = Live(
                get_renderable=lambda: Text("\n".join(self.lines()), style="cyan", no_wrap=True, overflow="ellipsis"),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self._wake = threading.Event()
            threading.Thread(target=self._log, args=(self._wake,), daemon=True).start()

    def _log(self, ended: threading.Event) -> None:
        while not ended.wait(self._every):
            for line in self.lines():
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._wake is not None:
            self._wake.set()
            self._wake = None
