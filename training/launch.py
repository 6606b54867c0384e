"""A training in processes of its own, one per GPU, watched by this one.

In: what `training/sft.py` takes. Out: the same report, and the same folder. The memory of the GPUs
is free again when this returns, because the processes that held it are gone.

    report = train("data", "base", "out", SftSettings(num_checkpoints=4))

What can happen while it runs:

    a process dies or is stopped      the others are ended; it goes on from the last state, but not
                                      twice from the same one
    the memory of a GPU runs out      it goes on from the last state, with fewer rows per forward
                                      pass, then with gradient checkpointing
    no step for a long time           the same as for a death
    an error that you can mend        it is raised here, as the process raised it
    this process ends or is killed    the processes end within seconds; the same call goes on later

Files: `.out.partial/` is the training itself (`training/sft.py`). `.out.run/` holds the job and a
log per process; it is removed when all went well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training import errors, train_log
from training.errors import LostTrainingError, TrainingError
from training.gpus import visible
from training.layout import layout, num_processes
from training.reports import REPORT, TrainingReport
from training.resuming import newest, partial_of, step_of
from training.settings import SftSettings
from training.train_log import StepRecord
from training.watchdog import PATIENCE_S, is_stopped
from training.worker import OUT_OF_MEMORY, Failure, Job, error_file

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


def train(
    dataset: str,
    base: str,
    output: str,
    settings: SftSettings,
    *,
    watch: Watch = lambda record: None,
    announce: Announce = lambda text: None,
    stalled_s: float = STALLED_S,
    **options: Any,
) -> TrainingReport:
    """Train and return the report; `options` are those of `sft.train`.

    `watch` is called after every step, `announce` when the training goes on after a failure. Raises
    what `sft.train` raises, and LostTrainingError if a process died or stalled twice after
    the same state.
    """
    folder = Path(output).absolute()
    run = folder.with_name(f".{folder.name}.run")
    lost_at = -1
    while True:
        job = Job(
            dataset=dataset,
            base=base,
            output=str(folder),
            settings=settings,
            options=options,
            processes=num_processes(settings, len(visible())),
            launcher=os.getpid(),
        )
        end = _Attempt(job, run, stalled_s).run(watch)
        if end is None:
            shutil.rmtree(run)
            return TrainingReport.model_validate_json((folder / REPORT).read_text(encoding="utf-8"))
        if end.is_memory:
            settings = _smaller(settings, job.processes, end)
            announce(f"the training ran out of memory: it goes on with {_how(settings, job.processes)}")
        elif end.may_pass and (step := _saved(folder)) > lost_at:
            lost_at = step
            announce(f"{end.reason}; the training goes on after step {step}, from its last state")
        else:
            raise end.error(run)


def _saved(output: Path) -> int:
    """The step from which a training would go on. 0 is its beginning."""
    state = newest(partial_of(output))
    return step_of(state) if state else 0


class _End:
    """How an attempt ended, if not well."""

    def __init__(self, reason: str, failure: Failure | None = None, *, is_memory: bool = False) -> None:
        self.reason, self.failure, self.is_memory = reason, failure, is_memory

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may go well: nothing was wrong with the job itself."""
        return self.failure is None

    def error(self, run: Path) -> Exception:
        if self.failure is None:
            return LostTrainingError(
                f"{self.reason}, for the second time. Nothing is lost: run the same command again to go on from the last "
                f"state. The logs of the processes are in {run}"
            )
        if not self.failure.is_ours_to_mend:
            kind = getattr(errors, self.failure.kind, TrainingError)
            return kind(self.failure.message)
        bug = RuntimeError(f"{self.failure.kind} in {self.reason}: {self.failure.message}")
        bug.add_note(self.failure.trace)
        return bug


class _Attempt:
    """The processes of a job, from their start to their end."""

    def __init__(self, job: Job, run: Path, stalled_s: float) -> None:
        self._job, self._run, self._stalled_s = job, run, stalled_s
        self._path = run / "job.json"
        self._children: list[subprocess.Popen[bytes]] = []
        self._log = _Tail(Path(job.output))

    def run(self, watch: Watch) -> _End | None:
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(parents=True)
        self._path.write_text(self._job.model_dump_json(), encoding="utf-8")
        try:
            self._children = [self._start(rank) for rank in range(self._job.processes)]
            with _stopping_together(self._children):
                return self._follow(watch)
        finally:
            self._kill()

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        with open(self._run / f"rank-{rank}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", WORKER, str(self._path), str(rank)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self._job),
                start_new_session=True,
            )

    def _follow(self, watch: Watch) -> _End | None:
        stopped_s = [0.0] * len(self._children)
        while True:
            for record in self._log.new():
                watch(record)
            codes = [child.poll() for child in self._children]
            if any(codes):
                return self._death()
            if all(code == 0 for code in codes):
                for record in self._log.last():
                    watch(record)
                return None
            for rank, child in enumerate(self._children):
                stopped_s[rank] = stopped_s[rank] + TICK_S if is_stopped(child.pid) else 0.0
                if stopped_s[rank] > PATIENCE_S:
                    return _End(f"process {rank} of the training was stopped by a signal and did not go on")
            if self._log.silence_s > self._most_silence_s():
                return _End(f"the training made no step for {self._log.silence_s:.0f} s")
            time.sleep(TICK_S)

    def _most_silence_s(self) -> float:
        if self._log.longest_s == 0:
            return max(BEGIN_S, self._stalled_s)
        return max(self._stalled_s, STEPS_OF_SILENCE * self._log.longest_s)

    def _death(self) -> _End:
        """What ended the training. The others have a moment to say what they saw."""
        until = time.monotonic() + END_S
        while time.monotonic() < until and any(child.poll() is None for child in self._children):
            time.sleep(TICK_S)
        codes = [child.poll() for child in self._children]
        found = {rank: _failure(self._path, rank) for rank, code in enumerate(codes) if code}
        mendable = [failure for failure in found.values() if failure and not failure.is_ours_to_mend]
        if mendable:
            return _End("", mendable[0])
        if OUT_OF_MEMORY in codes:
            rank = codes.index(OUT_OF_MEMORY)
            return _End(f"process {rank} ran out of memory", found[rank], is_memory=True)
        if killed := [rank for rank, code in enumerate(codes) if code and (code < 0 or found[rank] is None)]:
            return _End(_how_it_died(killed[0], codes[killed[0]] or 0, self._run))
        rank = next(iter(found))
        return _End(f"process {rank} of {len(codes)}", found[rank])

    def _kill(self) -> None:
        for child in self._children:
            # Also where it has ended: what it started may be there still.
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for child in self._children:
            child.wait()


def _how_it_died(rank: int, code: int, run: Path) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    hint = ", mostly because memory ran out" if code == -signal.SIGKILL else ""
    lines = (run / f"rank-{rank}.log").read_text(encoding="utf-8", errors="replace").splitlines()
    tail = "\n".join(["; its last words:", *(f"  {line}" for line in lines[-TAIL:])]) if lines else ""
    return f"process {rank} of the training died ({how}{hint}){tail}"


def _failure(job: Path, rank: int) -> Failure | None:
    """What a process wrote of its end. None if it wrote nothing, or a full disk cut it."""
    path = error_file(job, rank)
    try:
        return Failure.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _smaller(settings: SftSettings, processes: int, end: _End) -> SftSettings:
    """The settings with half the rows of a forward pass; with one row, with checkpointing."""
    rows = layout(settings, processes).rows
    if rows > 1:
        return settings.model_copy(update={"micro_batch": rows // 2})
    if not settings.gradient_checkpointing:
        return settings.model_copy(update={"gradient_checkpointing": True})
    told = end.failure.message.splitlines()[0] if end.failure else ""
    raise TrainingError(
        f"the memory does not suffice for one row per forward pass with gradient checkpointing ({told}). Nothing is lost: "
        "train on GPUs with more memory or on more of them (devices, sharding: fsdp2). Another training would need less: "
        "with lora instead of all weights, optimizer: adamw_8bit_sr, or a smaller max_tokens"
    )


def _how(settings: SftSettings, processes: int) -> str:
    rows = layout(settings, processes).rows
    return f"micro_batch {rows}" + (" and gradient_checkpointing" if settings.gradient_checkpointing else "")


def _environment(job: Job) -> dict[str, str]:
    """What the processes see: the first GPUs, and one core each where there are several."""
    found = dict(os.environ)
    root = str(Path(__file__).resolve().parent.parent)
    found["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [found.get("PYTHONPATH")])])
    visible = found.get("CUDA_VISIBLE_DEVICES")
    # Empty is a choice, too: no GPU.
    gpus = [str(n) for n in range(job.processes)] if visible is None else visible.split(",")
    found["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[: job.processes])
    if job.processes > 1:
        found.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does
    found["TOKENIZERS_PARALLELISM"] = "false"
    found.setdefault("TENSORBOARD_LOGGING_DIR", str(partial_of(Path(job.output)) / "tensorboard"))
    return found


@contextmanager
def _stopping_together(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Inside this block, Ctrl-Z stops the processes as well, and `fg` lets them go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        _signal(children, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        _signal(children, signal.SIGCONT)  # this line runs after SIGCONT

    before = signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def _signal(children: list[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, number)


class _Tail:
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
        self._seen = time.monotonic()
        self.longest_s = 0.0

    @property
    def silence_s(self) -> float:
        """Seconds since the last step, or since the beginning."""
        return time.monotonic() - self._seen

    def new(self) -> list[StepRecord]:
        """The steps since the last call."""
        known = self._known()
        if known == self._size or (self._step is None and known[:1] == self._file):
            return []
        self._size = known
        if self._step is None:
            self._step = _saved(self._output)
        records = [record for record in train_log.read(self._folder) if record.step > self._step]
        if records:
            self._step, self._seen = records[-1].step, time.monotonic()
            self.longest_s = max([self.longest_s, *(record.seconds for record in records)])
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
