"""The processes of a training, from their start to their end.

In: a job, and a folder for it. Out: None if they all ended well, or else how it ended. No process
is left behind.

    attempt = Attempt(job, held, stalled_s=900)
    end = attempt.run(watch, announce)

The processes read `job.json`. Each writes `rank-0.log`, and `error-0.json` if an error ended it. A
file `stop` asks them to end after the step (`training/state_keeper.py`).
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training import signs
from training.alone import Held
from training.children import code_of, kill_groups
from training.errors import LostTrainingError, TrainingError
from training.gpus import visible
from training.host_memory import HostMemory
from training.resuming import newest, partial_of
from training.stopping import BOUND_S, MARGIN_S, Asked, stopping
from training.tail import Tail
from training.train_log import StepRecord
from training.watchdog import PATIENCE_S, is_stopped
from training.whole_files import write_whole
from training.worker import DISK_FULL, OUT_OF_MEMORY, STOPPED, Failure, Job, error_file, full_disk_of, stop_file

Watch = Callable[[StepRecord], None]
Announce = Callable[[str], None]

BEGIN_S = 3600.0
"""Seconds without a first step after which a training is ended. Loading a model may take long."""
STALLED_S = 900.0
"""Seconds after a step without another one, at least: a state may be saved in between."""
STEPS_OF_SILENCE = 20
"""A training is ended after the time of so many of its steps, if that is longer."""
MEET_S = 120.0
"""Seconds in which processes that have loaded their libraries must hear of each other."""
WORKER = "training.worker"
TICK_S = 0.2
END_S = 3.0
"""Seconds that processes have to say what was wrong with them, when another one has died."""
TAIL = 30
ECHOES = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""Words of what the others see when a process ends."""


@dataclass(frozen=True)
class End:
    """How an attempt ended, if not well."""

    reason: str
    failure: Failure | None = None
    is_memory: bool = False
    """Whether fewer rows at once may help."""
    keeps_logs: bool = False
    """Whether the logs may tell more, though the message says what to do."""
    is_of_state: bool = False
    """Whether it went on from a state and failed before its first step: it may do so again."""

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may go well: nothing was wrong with the job itself."""
        return self.failure is None

    @property
    def needs_logs(self) -> bool:
        """Whether the message alone may not do to find out what was wrong."""
        return self.keeps_logs or self.failure is None or self.failure.is_bug

    def text(self) -> str:
        """How it ended, in one line."""
        said = self.failure.message.splitlines()[:1] if self.failure else []
        return ": ".join(filter(None, [self.reason, *said])).rstrip(".")

    def error(self, run: Path, left: str) -> Exception:
        """What is raised for it. `left` says what the training leaves, and how it goes on."""
        logs = f". The logs of the processes are in {run}" if self.needs_logs else ""
        if self.is_of_state or (self.failure is not None and self.failure.kind == "OtherStateError"):
            left = ""  # it may not go on from there, and the message says what to do
        left = f". {left}" if left else ""
        if self.failure is None:
            again = left or ". No state was saved yet: the same command begins anew"
            return LostTrainingError(f"{self.reason}; it is the second end without a newer state{again}{logs}")
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
        self._apart_s: float | None = None if job.processes > 1 else math.inf
        self.asked = Asked()

    def run(self, watch: Watch, announce: Announce) -> End | None:
        """Start the processes and follow them until none is left."""
        environment = environment_of(self._job)
        self._held.empty()
        (partial_of(Path(self._job.output)) / signs.SAVING).unlink(missing_ok=True)
        self._path.write_text(self._job.model_dump_json(), encoding="utf-8")
        try:
            with stopping(self._children) as self.asked:
                self._children += [self._start(rank, environment) for rank in range(self._job.processes)]
                return self._follow(watch, announce)
        finally:
            kill_groups(self._children)

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
            codes = [code_of(child) for child in self._children]
            if all(code == 0 for code in codes):
                for record in self._log.last():
                    watch(record)
                return None
            if self.asked.signal is not None:
                if self._has_stopped(codes, announce):
                    return End("")
            elif any(codes):
                return self._death()
            for rank, child in enumerate(self._children):
                stopped_s[rank] = stopped_s[rank] + TICK_S if is_stopped(child.pid) else 0.0
                if stopped_s[rank] > PATIENCE_S:
                    return End(f"process {rank} of the training was stopped by a signal and did not go on")
            if end := self._stands_still():
                return end
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

    def _stands_still(self) -> End | None:
        """The end of a training that makes no step. Loading and saving may take longer than one."""
        if end := self._is_apart():
            return end
        if self._log.saving_s > signs.SAVING_S:
            return End(f"the training saved for {self._log.saving_s:.0f} s, and did not come to an end")
        if self._log.silence_s <= self._most_silence_s():
            return None
        first = "" if self._log.longest_s else " first"
        return End(f"the training made no{first} step for {self._log.silence_s:.0f} s")

    def _is_apart(self) -> End | None:
        """The end of processes that are all there, and do not hear of each other."""
        if self._apart_s == math.inf:
            return None
        number = self._job.processes
        met = signs.given(self._path, signs.MET, number)
        if len(met) == number:
            self._apart_s = math.inf
        elif self._apart_s is not None:
            self._apart_s += TICK_S
        elif len(signs.given(self._path, signs.HERE, number)) == number:
            self._apart_s = 0.0
        if self._apart_s is None or not MEET_S < self._apart_s < math.inf:
            return None
        late = ", ".join(str(rank) for rank in sorted(set(range(number)) - met))
        fix = (
            "NCCL cannot connect the GPUs of this machine: NCCL_DEBUG=INFO has it say why, NCCL_P2P_DISABLE=1 or "
            "NCCL_SHM_DISABLE=1 may help. Else set devices to 1"
            if visible()
            else "set devices to 1"
        )
        message = f"the {number} processes of the training did not meet within {MEET_S:.0f} s (late: {late}). {fix}"
        failure = Failure(kind="TrainingError", is_ours_to_mend=False, message=message, trace="")
        return End("", failure, keeps_logs=True)

    def _most_silence_s(self) -> float:
        if self._log.longest_s == 0:
            return max(BEGIN_S, self._stalled_s)
        return max(self._stalled_s, STEPS_OF_SILENCE * self._log.longest_s)

    def _death(self) -> End:
        """What ended the training. The others have a moment to say what they saw."""
        until = time.monotonic() + END_S
        while time.monotonic() < until and any(code_of(child) is None for child in self._children):
            time.sleep(TICK_S)
        codes = [code_of(child) for child in self._children]
        found = {rank: failure_in(self._path, rank) for rank, code in enumerate(codes) if code}
        mendable = [failure for failure in found.values() if failure and not failure.is_ours_to_mend]
        if mendable:
            return End("", mendable[0])
        if DISK_FULL in codes:
            # The others only saw that it was gone.
            return End("", found[codes.index(DISK_FULL)] or full_disk_of(Path(self._job.output)))
        if OUT_OF_MEMORY in codes:
            rank = codes.index(OUT_OF_MEMORY)
            return End(f"process {rank} ran out of memory", found[rank], is_memory=True)
        if killed := [rank for rank, code in enumerate(codes) if code and (code < 0 or found[rank] is None)]:
            return self._killed(killed[0], codes[killed[0]] or 0)
        rank = min(found, key=lambda rank: _is_echo(found[rank]))
        said = self._from()
        return End(f"process {rank} of {len(codes)}{said}", found[rank], is_of_state=bool(said))

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
            f" (it went on from {state} and made no step: if that happens again, remove {state.parent.parent} to begin again)"
            if state and not self._log.longest_s
            else ""
        )


def _is_echo(failure: Failure | None) -> bool:
    """Whether a process only saw that another one was gone."""
    return failure is not None and any(words in failure.message for words in ECHOES)


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
