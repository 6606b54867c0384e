"""`scoder status --watch`: what a run that is under way does right now, looked at from outside.

In: a store that another process builds, here or on another machine of the same file system. Out: a
`Look` every few seconds: for each partition that is being built, how much of it is done, how fast,
and how long it still takes; for a training its last step; and the memory of this machine's GPUs.

    look = Watcher("store-data").look()
    look.lines()    # ["checkpoints/role-coder: 40 of 366 steps, 12/min, 27 min left, loss 0.83"]
    watch("store-data", every=2.0, as_json=False)    # until nobody builds in it any more
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commands.progress import NO_STEP, STEPS, Pace
from commands.terminal import console
from store import Record, Store, segments
from store.lock import coordinator_alive
from training import train_log
from training.gpus import Use, in_use


@dataclass(frozen=True)
class Build:
    """A partition that is being built. `rate` is per second; None is what nobody can know yet.

    `training` is the last step of the training that makes it, if one does.
    """

    partition: str
    done: int
    total: int | None
    unit: str
    rate: float | None
    seconds_left: float | None
    training: dict[str, Any] | None
    text: str


@dataclass(frozen=True)
class Look:
    """What was seen at one time."""

    is_running: bool
    builds: tuple[Build, ...]
    gpus: tuple[Use, ...]

    def lines(self) -> list[str]:
        """A line per build and per GPU, for people."""
        if self.is_running:
            builds = [build.text for build in self.builds] or ["between two builds"]
        else:
            builds = ["no run is under way in this store"]
            builds += [f"{build.text}; it is not finished: run the same command to go on" for build in self.builds]
        return [*builds, *(gpu.text() for gpu in self.gpus)]

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return asdict(self)


class Watcher:
    """Looks at a store again and again. Rates come from the looks before."""

    def __init__(self, root: str) -> None:
        self._store = Store(root)
        self._paces: dict[str, Pace] = {}

    def look(self) -> Look:
        """What is there now."""
        now, is_running = time.time(), coordinator_alive(self._store.root)
        building = [record for record in self._store.records() if record.status == "building"]
        builds = [self._build(record, now, is_running) for record in building]
        return Look(is_running, tuple(builds), tuple(in_use()))

    def _build(self, record: Record, now: float, is_running: bool) -> Build:
        where = segments(record.plan.table, record.plan.partition)
        step = self._last_step(record)
        total, done, unit = self._amount(record) if step is None else (step.num_steps, step.step, STEPS)
        pace = self._paces.get(where)
        if pace is None:
            pace = self._paces[where] = Pace(total, now, unit)
            pace.resume(done, now)
            if done:
                pace.first, pace.last = (now, done), now  # seen, not begun
        pace.total, pace.unit = total, unit
        pace.advance(done, now, step.text() if step else "")
        rate = pace.rate(now) if is_running and pace.first else None
        left = (total - done) / rate if rate and total is not None else None
        text = pace.text(now) if rate else _without_rate(done, total, unit, pace.note)
        return Build(where, done, total, unit, rate, left, step.model_dump() if step else None, f"{where}: {text}")

    def _last_step(self, record: Record) -> train_log.StepRecord | None:
        """The last step of the training that makes a partition, if one does."""
        models, name = Path(self._store.root, "_models"), f"*-{record.plan.fingerprint[:8]}"
        found = [*models.glob(f".{name}.partial"), *models.glob(name)]
        steps = [record for folder in found for record in train_log.read(folder)[-1:]]
        return steps[0] if steps else None

    def _amount(self, record: Record) -> tuple[int | None, int, str]:
        """How much there is to do, how much is done, and in what unit: answers where a model is
        asked, else shards.

        Shards have the same number of answers but for the last one. So the first that is whole says
        how many there will be, about.
        """
        if record.plan.table == "checkpoints":
            return None, 0, STEPS  # of a training without a step: its rows come last
        plan, shards = record.plan, Path(self._store.work_folder(record.plan))
        done = len(list(shards.glob("*.parquet"))) if shards.is_dir() else 0
        answers = [_num_lines(path) for path in self._journals(plan.fingerprint)]
        if not answers:
            return plan.num_shards, done, "shards"
        total = plan.num_shards * max(answers) if done and plan.num_shards else None
        return total, sum(answers), "answers"

    def _journals(self, fingerprint: str) -> Iterator[Path]:
        for folder in Path(self._store.scratch("")).glob(f"journal-*-{fingerprint}"):
            yield from folder.glob("shard-*.jsonl")


def _without_rate(done: int, total: int | None, unit: str, note: str) -> str:
    if unit == STEPS and done == 0:
        return NO_STEP
    said = f"{done:,}{'' if total is None else f' of {total:,}'} {unit}"
    return f"{said}, {note}" if note else said


def _num_lines(path: Path) -> int:
    """Whole lines of a file that may be growing."""
    try:
        with open(path, "rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return 0


def watch(root: str, every: float, as_json: bool) -> None:
    """Look at a store every few seconds until nobody builds in it, and print what is seen."""
    watcher = Watcher(root)
    look = watcher.look()
    if as_json or not console.is_terminal:
        while True:
            print(json.dumps(look.as_json()) if as_json else "\n".join(look.lines()), flush=True)
            if not look.is_running:
                return
            time.sleep(every)
            look = watcher.look()
    from rich.live import Live
    from rich.text import Text

    with Live(Text("\n".join(look.lines())), console=console, auto_refresh=False) as live:
        while look.is_running:
            time.sleep(every)
            look = watcher.look()
            live.update(Text("\n".join(look.lines())), refresh=True)
