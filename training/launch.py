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

On another machine (`training/elsewhere.py`) it is started by `python -m training.launch JOB.json`.
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

from training import elsewhere
from training.alone import alone
from training.elsewhere import Node
from training.errors import LostTrainingError, TrainingError
from training.gpus import visible
from training.layout import layout, num_processes
from training.reports import REPORT, TrainingReport
from training.resuming import newest, partial_of
from training.settings import SftSettings
from training.tail import Tail, saved_step
from training.train_log import StepRecord
from training.watchdog import PATIENCE_S, end_with, is_stopped
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
    node: Node | None = None,
    **options: Any,
) -> TrainingReport:
    """Train and return the report; `options` are those of `sft.train`.

    With a `node`, the training runs there, and this process only follows it.

    `watch` is called after every step, `announce` when the training goes on after a failure. Raises
    what `sft.train` raises, and LostTrainingError if a process died or stalled twice after
    the same state.
    """
    if node is not None:
        job = elsewhere.NodeJob(dataset=dataset, base=base, output=output, settings=settings, options=options)
        return elsewhere.train(job, node, watch=watch, announce=announce)
    folder = Path(output).absolute()
    with alone(folder):
        return _until_done(
            Job(
                dataset=dataset,
                base=base,
                output=str(folder),
                settings=settings,
                options=options,
                processes=num_processes(settings, len(visible())),
                launcher=os.getpid(),
            ),
            watch,
            announce,
            stalled_s,
        )


def _until_done(job: Job, watch: Watch, announce: Announce, stalled_s: float) -> TrainingReport:
    """Attempt a job until it is done, or cannot be."""
    folder = Path(job.output)
    run = folder.with_name(f".{folder.name}.run")
    lost_at, watch = -1, _telling(watch, announce)
    while True:
        end = _Attempt(job, run, stalled_s).run(watch)
        if end is None:
            shutil.rmtree(run)
            return TrainingReport.model_validate_json((folder / REPORT).read_text(encoding="utf-8"))
        if end.is_memory:
            job = job.model_copy(update={"settings": _smaller(job.settings, job.processes, end)})
            announce(f"the training ran out of memory: it goes on with {_how(job.settings, job.processes)}")
        elif end.may_pass and (step := saved_step(folder)) > lost_at:
            lost_at = step
            announce(f"{end.reason}; the training goes on after step {step}, from its last state")
        else:
            raise end.error(run)


def _telling(watch: Watch, announce: Announce) -> Watch:
    """The same, and it is said once if a training goes on that was killed before."""
    told: list[int] = []

    def first(record: StepRecord) -> None:
        if not told and record.step > 1:
            announce(f"it was begun before, and goes on after step {record.step - 1} of {record.num_steps}")
        told.append(record.step)
        watch(record)

    return first


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
        return self.failure.error(self.reason)


class _Attempt:
    """The processes of a job, from their start to their end."""

    def __init__(self, job: Job, run: Path, stalled_s: float) -> None:
        self._job, self._run, self._stalled_s = job, run, stalled_s
        self._path = run / "job.json"
        self._children: list[subprocess.Popen[bytes]] = []
        self._log = Tail(Path(job.output))

    def run(self, watch: Watch) -> _End | None:
        environment = _environment(self._job)
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(parents=True)
        self._path.write_text(self._job.model_dump_json(), encoding="utf-8")
        try:
            self._children = [self._start(rank, environment) for rank in range(self._job.processes)]
            with _stopping_together(self._children):
                return self._follow(watch)
        finally:
            self._kill()

    def _start(self, rank: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with open(self._run / f"rank-{rank}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER, str(self._path), str(rank)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
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
            self._log.wait(TICK_S)

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
        return _End(f"process {rank} of {len(codes)}{self._from()}", found[rank])

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


def _how_it_died(rank: int, code: int, run: Path) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    hint = ", mostly because memory ran out: then set a smaller micro_batch" if code == -signal.SIGKILL else ""
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
    more, other = "train on a GPU with more memory", "a smaller lora.r"
    if settings.lora is None:
        more += ", or on more GPUs (sharding: fsdp2)"
        other = "lora instead of all weights, optimizer: adamw_8bit_sr"
    raise TrainingError(
        f"the memory does not suffice for one row per forward pass with gradient checkpointing ({told}). Nothing is lost: "
        f"{more}. Another training would need less: with {other}, or a smaller max_tokens"
    )


def _how(settings: SftSettings, processes: int) -> str:
    rows = layout(settings, processes).rows
    return f"micro_batch {rows}" + (" and gradient_checkpointing" if settings.gradient_checkpointing else "")


def _environment(job: Job) -> dict[str, str]:
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


def main(path: str) -> int:
    """The training of a `NodeJob`, on the node where it runs; returns the exit code.

    It ends when the process that started it is gone.
    """
    job, said = elsewhere.read(path), elsewhere.Said(path)
    end_with(os.getppid())
    try:
        report = train(job.dataset, job.base, job.output, job.settings, announce=said.announce, **job.options)
    except Exception as error:
        said.failed(error)
        return 1
    said.done(report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
