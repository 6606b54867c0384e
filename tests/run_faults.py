"""Faults in a run of the smoke recipe: its processes are killed or stopped at random moments.

In: the folder of a store, the kind of each fault, a seed. Out: what happened, and a finished store.

    with FaultyRun(store, seed=0) as run:
        faults = [run.suffer(kind) for kind in drawn(4, seed=0)]
        run.finish()

    coordinator         kill -9 of the process that a user started; it is started again at once
    training            kill -9 of a process that trains, while it does
    stopped training    SIGSTOP of one
    replica             kill -9 of one of several processes that answer for an engine
    stopped replica     SIGSTOP of one
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.smoke_run import RECIPE, ROOT, command
from training.gpus import SIMULATED

KINDS = ("coordinator", "training", "stopped training", "replica", "stopped replica")
COMMANDS = {
    "training": "-m training.worker",
    "stopped training": "-m training.worker",
    "replica": "builders.engines.replica",
    "stopped replica": "builders.engines.replica",
}
"""What stands in the command line of a process that a fault can meet."""
MARK = "RUN_WITH_FAULTS"
"""An environment variable that all processes of a run inherit. Its value is the store."""
LONGEST_END_S = 30.0
"""Seconds in which what was hit, or what it left behind, has to be gone."""
LONGEST_RETURN_S = 60.0
LONGEST_BEGIN_S = 120.0
SHARE_OF_WORK = 0.75
"""Share of the trainings that are hit after their first step. The others may be loading."""
TICK_S = 0.1


@dataclass(frozen=True)
class Fault:
    """A fault. `at_s` counts from the first start of the run.

    `ended_s`: seconds until the process that was hit is gone; for a coordinator, until all that it
    had started are. None if they stayed. `again_s`: seconds until there is another one in its
    place. None if there was none. `said`: what the run said about it.
    """

    kind: str
    at_s: float
    victim: str = "none: the run was over before"
    is_met: bool = False
    ended_s: float | None = None
    again_s: float | None = None
    said: str = ""

    def text(self) -> str:
        """A line for people."""
        if not self.is_met:
            return f"{self.at_s:6.0f} s  {self.kind:17} {self.victim}"
        ended = f"ended after {self.ended_s:.1f} s" if self.ended_s is not None else "NOT ENDED"
        again = f"there again after {self.again_s:.1f} s" if self.again_s is not None else "not started again"
        return f"{self.at_s:6.0f} s  {self.kind:17} {self.victim}: {ended}, {again}{self.said and f'; {self.said}'}"


@dataclass(frozen=True)
class Process:
    """A process of a run."""

    pid: int
    command: str

    @property
    def name(self) -> str:
        """What it is, for people: the training's folder, or the module."""
        if COMMANDS["training"] in self.command:
            return self._job.parent.name.removeprefix(".").removesuffix(".run")
        return f"process {self.pid}"

    @property
    def _job(self) -> Path:
        """The file of a training's job: `python -P -m training.worker JOB RANK`."""
        return Path(self.command.split()[-2])

    @property
    def has_begun(self) -> bool:
        """Whether it has made a step, if it is a training. Of others nobody can tell: True."""
        if COMMANDS["training"] not in self.command:
            return True
        log = self._job.parent.with_name(f".{self.name}.partial") / "train_log.jsonl"
        return log.is_file() and log.stat().st_size > 0


def drawn(number: int, seed: int, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """So many kinds of faults in a random order. None comes again before all others came."""
    rng, found = random.Random(seed), list[str]()
    while len(found) < number:
        found += rng.sample(kinds, len(kinds))
    return found[:number]


def processes_of(store: Path) -> list[Process]:
    """The processes of runs into this store, by what /proc says about them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            is_marked = f"{MARK}={store}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if is_alive(int(folder.name)) and (is_marked or str(store) in words):
                found.append(Process(int(folder.name), words))
    return sorted(found, key=lambda process: process.pid)


def is_alive(pid: int) -> bool:
    """Whether there is such a process. One that is dead, and that nobody has asked for, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class FaultyRun:
    """A run of the smoke recipe that is begun again until it is through."""

    def __init__(
        self, store: Path, seed: int, options: tuple[str, ...] = (), *, longest_s: float = 30.0, gpus: int = 0
    ) -> None:
        """`longest_s` is the most that a coordinator works before it is killed.

        With `gpus`, so many are simulated: a process of each training and of each engine for each.
        """
        self.store, self.log = store, store.with_name(f"{store.name}.log")
        self._simulated = {SIMULATED: str(gpus)} if gpus else {}
        self._options, self._longest_s, self._rng = options, longest_s, random.Random(seed)
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = time.monotonic()
        self.failures: list[str] = []
        """What runs said that ended by themselves, but not well."""

    def __enter__(self) -> FaultyRun:
        self._start()
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def suffer(self, kind: str) -> Fault:
        """Wait for a random moment, and for what a fault of this kind can meet. Then do it."""
        return self._kill_coordinator() if kind == "coordinator" else self._hit(kind)

    def finish(self) -> int:
        """Let the run come to its end; start it once more if it ended with an error. Exit code."""
        assert self._process is not None
        if self._process.wait() != 0:
            self._note_failure()
            self._start()
        return self._process.wait()

    def left(self) -> list[Process]:
        """Processes that are still there some seconds after the end of the run."""
        _until(lambda: not processes_of(self.store), LONGEST_END_S)
        return processes_of(self.store)

    def _start(self) -> None:
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                # States of trainings are saved each second, so that there is one to go on from.
                [*command()[:2], "tests.eager_states", "run", str(RECIPE), "--store", str(self.store), *self._options],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **self._simulated, MARK: str(self.store)},
            )

    def _is_running(self) -> bool:
        """Whether the run goes on. One that ended with an error is started again."""
        assert self._process is not None
        if self._process.poll() in (None, 0):
            return self._process.returncode is None
        self._note_failure()
        self._start()
        return True

    def _note_failure(self) -> None:
        assert self._process is not None
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = " ".join([line.strip() for line in lines if line.strip()][-2:])
        self.failures.append(f"exit code {self._process.returncode}: {said[-500:]}")

    def _kill_coordinator(self) -> Fault:
        until = time.monotonic() + self._rng.uniform(3.0, self._longest_s)
        while self._is_running() and time.monotonic() < until:
            time.sleep(TICK_S)
        at_s = time.monotonic() - self._begun
        if not self._is_running():
            return Fault("coordinator", at_s)
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        killed, left = time.monotonic(), processes_of(self.store)
        self._start()
        again_s = time.monotonic() - killed
        ended_s = _until(lambda: not any(is_alive(process.pid) for process in left), LONGEST_END_S)
        return Fault("coordinator", at_s, f"and {len(left)} others", True, ended_s, again_s)

    def _hit(self, kind: str) -> Fault:
        victim = self._victim(COMMANDS[kind])
        at_s = time.monotonic() - self._begun
        if victim is None:
            return Fault(kind, at_s)
        known, said = {process.pid for process in processes_of(self.store)}, self.log.stat().st_size
        os.kill(victim.pid, signal.SIGSTOP if kind.startswith("stopped") else signal.SIGKILL)
        hit = time.monotonic()
        ended_s = _until(lambda: not is_alive(victim.pid), LONGEST_END_S)

        def is_there_again() -> bool:
            others = [process for process in processes_of(self.store) if process.pid not in known]
            return any(process.command == victim.command for process in others)

        again = _until(lambda: is_there_again() or not self._is_running(), LONGEST_RETURN_S)
        again_s = time.monotonic() - hit if again is not None and self._is_running() else None
        return Fault(kind, at_s, victim.name, True, ended_s, again_s, self._said(said))

    def _victim(self, words: str) -> Process | None:
        """A process of the run with these words in its command line, some moments after it began.

        None if the run is over.
        """
        while self._is_running():
            if found := [process for process in processes_of(self.store) if words in process.command]:
                chosen = self._rng.choice(found)
                if self._rng.random() < SHARE_OF_WORK:
                    _until(lambda chosen=chosen: chosen.has_begun or not is_alive(chosen.pid), LONGEST_BEGIN_S)
                time.sleep(self._rng.uniform(0.5, 6.0))
                if is_alive(chosen.pid):
                    return chosen
            time.sleep(TICK_S)
        return None

    def _said(self, since: int) -> str:
        """What the run said about a training that goes on, in the part of its log from there."""
        text = self.log.read_bytes()[since:].decode(errors="replace")
        return next((line.strip() for line in text.splitlines() if "the training goes on" in line), "")


def _until(is_so: Callable[[], bool], longest_s: float) -> float | None:
    """Wait until something is so; how many seconds it took, or None if it took too long."""
    start = time.monotonic()
    while time.monotonic() - start < longest_s:
        if is_so():
            return time.monotonic() - start
        time.sleep(TICK_S)
    return None
