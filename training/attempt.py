"""The processes of a training, from their start to their end.

In: a job, and a folder for it. Out: None if they all ended well, or else how it ended. No process
is left behind.

    attempt = Attempt(job, held, stalled_s=900)
    end = attempt.run(watch, announce)

The processes read `job.json`. Each writes `rank-0.log`, and `error-0.json` if an error ended it. A
file `stop` asks them to end after the step (`training/state_keeper.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.alone import Held
from training.errors import LostTrainingError, TrainingError
from training.gpus import visible
from training.host_memory import HostMemory
from training.resuming import newest, partial_of
from training.stopping import BOUND_S, MARGIN_S, Asked, stopping
from training.tail import Tail
from training.train_log import StepRecord
from training.watchdog import PATIENCE_S, is_stopped
from training.whole_files import write_whole
from training.worker import OUT_OF_MEMORY, STOPPED, Failure, Job, error_file, stop_file

Watch = Callable[[StepRecord], None]
Announce = Callable[[str], None]

BEGIN_S = 3600.0
"""Seconds without a first step after which a training is ended. Loading a model may take long."""
STALLED_S = 900.0
"""Seconds after a step without another one, at least: a state may be saved in between."""
STEPS_OF_SILENCE = 20
"""A training is ended after the time of so many of its steps, if that is longer."""
WORKER = "training.worker"
TICK_S = 0.2
END_S = 3.0
"""Seconds that processes have to say what was wrong with them, when another one has died."""
TAIL = 30


@dataclass(frozen=True)
class End:
    """How an attempt ended, if not well."""

    reason: str
    failure: Failure | None = None
    is_memory: bool = False
    """Whether fewer rows at once may help."""
    was_asked: bool = False
    """Whether a signal asked for it."""

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may go well: nothing was wrong with the job itself."""
        return self.failure is None

    @property
    def needs_logs(self) -> bool:
        """Whether the message alone may not do to find out what was wrong."""
        return self.failure is None or self.failure.is_bug

    def error(self, run: Path, left: str) -> Exception:
        """What is raised for it. `left` says what the training leaves, and how it goes on."""
        logs = f". The logs of the processes are in {run}" if self.needs_logs else ""
        left = f". {left}" if left else ""
        if self.failure is None:
            again = left or ". No state was saved yet: the same command begins anew"
            return LostTrainingError(f"{self.reason}, for the second time{again}{logs}")
        message = f"{self.failure.message.rstrip('.')}{left}{logs}"
        return self.failure.model_copy(update={"message": message}).error(self.reason)


class Attempt:
    """See the module. `asked` is the signal that came meanwhile."""

    def __init__(self, job: Job, held: Held, stalled_s: float) -> None:
        self._job, self._held, self._stalled_s = job, held, stalled_s
        self._path = held.run / "job.json"
        self._children: list[subprocess.Popen[bytes]] = []
        self._log = Tail(Path(job.output))
        self._memory = HostMemory()
        self._until: float | None = None
        self.asked = Asked()

    def run(self, watch: Watch, announce: Announce) -> End | None:
        """Start the processes and follow them until none is left."""
        environment = environment_of(self._job)
        self._held.empty()
        self._path.write_text(self._job.model_dump_json(), encoding="utf-8")
        try:
            with stopping(self._children) as self.asked:
                self._children += [self._start(rank, environment) for rank in range(self._job.processes)]
                return self._follow(watch, announce)
        finally:
            self._kill()

    def _start(self, rank: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with open(self._held.run / f"rank-{rank}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER, str(self._path), str(rank)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def _follow(self, watch: Watch, announce: Announce) -> End | None:
        stopped_s = [0.0] * len(self._children)
        while True:
            for record in self._log.new():
                watch(record)
            self._memory.look(self._children)
            codes = [child.poll() for child in self._children]
            if all(code == 0 for code in codes):
                for record in self._log.last():
                    watch(record)
                return None
            if self.asked.signal is not None:
                if self._has_stopped(codes, announce):
                    return End(f"stopped by {self.asked.signal.name}", was_asked=True)
            elif any(codes):
                return self._death()
            for rank, child in enumerate(self._children):
                stopped_s[rank] = stopped_s[rank] + TICK_S if is_stopped(child.pid) else 0.0
                if stopped_s[rank] > PATIENCE_S:
                    return End(f"process {rank} of the training was stopped by a signal and did not go on")
            if self._log.silence_s > self._most_silence_s():
                return End(f"the training made no step for {self._log.silence_s:.0f} s")
            self._log.wait(TICK_S)

    def _has_stopped(self, codes: list[int | None], announce: Announce) -> bool:
        """Whether the training ended as asked, or must be ended now. The first call asks it."""
        now = time.monotonic()
        if self._until is None:
            assert self.asked.signal is not None
            self._until = now
            if self._log.longest_s:  # else it has made no step yet, and there is nothing to save
                self._until = now + BOUND_S - MARGIN_S
                write_whole(stop_file(self._path), repr(self._until))
                announce(
                    f"{self.asked.signal.name}: the training ends after this step and saves its state, within {BOUND_S:.0f} s. "
                    "A second signal ends it at once"
                )
        has_died = any(code not in (None, 0, STOPPED) for code in codes)
        return has_died or None not in codes or now >= self._until

    def _most_silence_s(self) -> float:
        if self._log.longest_s == 0:
            return max(BEGIN_S, self._stalled_s)
        return max(self._stalled_s, STEPS_OF_SILENCE * self._log.longest_s)

    def _death(self) -> End:
        """What ended the training. The others have a moment to say what they saw."""
        until = time.monotonic() + END_S
        while time.monotonic() < until and any(child.poll() is None for child in self._children):
            time.sleep(TICK_S)
        codes = [child.poll() for child in self._children]
        found = {rank: failure_in(self._path, rank) for rank, code in enumerate(codes) if code}
        mendable = [failure for failure in found.values() if failure and not failure.is_ours_to_mend]
        if mendable:
            return End("", mendable[0])
        if OUT_OF_MEMORY in codes:
            rank = codes.index(OUT_OF_MEMORY)
            return End(f"process {rank} ran out of memory", found[rank], is_memory=True)
        if killed := [rank for rank, code in enumerate(codes) if code and (code < 0 or found[rank] is None)]:
            return self._killed(killed[0], codes[killed[0]] or 0)
        rank = next(iter(found))
        return End(f"process {rank} of {len(codes)}{self._from()}", found[rank])

    def _killed(self, rank: int, code: int) -> End:
        """The end by a signal. Of SIGKILL it matters whether the kernel sent it for want of memory.

        Fewer rows at once help only where the activations are in this memory, and not on a GPU.
        """
        died = f"process {rank} of the training died (" + (
            f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        )
        if code != -signal.SIGKILL:
            return End(f"{died}){self._last_words(rank)}")
        held = self._memory.told(rank)
        if not self._memory.is_out:
            died += f"; somebody sent it{held and f', and {held}'}"
            return End(f"{died}){self._last_words(rank)}")
        died += f": the kernel ended it, as this machine ran out of memory{held and f'; {held}'})"
        if not visible():
            return End(died, is_memory=True)
        fix = "give the job more host memory, or set devices to fewer"
        return End(f"{died}; fewer rows at once would not help: {fix}")

    def _last_words(self, rank: int) -> str:
        log = self._held.run / f"rank-{rank}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(["; its last words:", *(f"  {line}" for line in lines[-TAIL:])]) if lines else ""

    def _from(self) -> str:
        """The state that an attempt went on from without a step: it may be damaged."""
        state = newest(partial_of(Path(self._job.output)))
        return (
            f" (it went on from {state}: remove that folder to begin again)"
            if state and not self._log.longest_s
            else ""
        )

    def _kill(self) -> None:
        for child in self._children:
            # Also where it has ended: what it started may be there still.
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for child in self._children:
            child.wait()


def failure_in(job: Path, rank: int) -> Failure | None:
    """What a process wrote of its end. None if it wrote nothing, or a full disk cut it."""
    path = error_file(job, rank)
    try:
        return Failure.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def environment_of(job: Job) -> dict[str, str]:
    """What the processes see: the first GPUs, and one core each where there are several."""
    found = dict(os.environ)
    root = Path(__file__).resolve().parent.parent
    if root.name not in ("site-packages", "dist-packages"):
        # a checkout, which Python does not find by itself
        found["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [found.get("PYTHONPATH")])])
    gpus = [gpu.name for gpu in visible()]
    if gpus and len(gpus) < job.processes:
        raise TrainingError(
            f"devices is {job.processes}, but {len(gpus)} GPUs are visible ({', '.join(gpus)}): set devices to "
            f"{len(gpus)}, or leave it out"
        )
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[: job.processes])
    if job.processes > 1:
        found.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does
    found["TOKENIZERS_PARALLELISM"] = "false"
    found.setdefault("TENSORBOARD_LOGGING_DIR", str(partial_of(Path(job.output)) / "tensorboard"))
    return found
