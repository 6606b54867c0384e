"""A training in processes of its own, one per GPU, watched by this one.

In: what `training/sft.py` takes. Out: the same report, and the same folder. The memory of the GPUs
is free again when this returns, because the processes that held it are gone.

    report = train("data", "base", "out", SftSettings(num_checkpoints=4))

What can happen while it runs:

    a process dies or is stopped      the others are ended; it goes on from the last state, but not
                                      twice from the same one
    the memory of a GPU runs out      it goes on from the last state, with fewer rows per forward
                                      pass, then with gradient checkpointing
    the machine's memory runs out     the same without GPUs; with them as for a death
    no step for a long time           the same as for a death; loading and saving may take longer
    processes that do not meet        it is raised after 2 minutes, as NCCL may need a setting
    a disk is full                    it is raised, and not tried again
    a state that is damaged           the state before is taken; if there is none, it is raised
    an error that you can mend        it is raised here, as the process raised it
    SIGTERM, SIGUSR1, SIGHUP, Ctrl-C  the step is finished and a state saved, within 25 s; a second
                                      one ends it at once (`training/stopping.py`)
    this process ends or is killed    the processes end within seconds; the same call goes on later

Files: `.out.partial/` is the training itself (`training/under_way.py`). If it fails, this stays if
it has a state, and the message names it. `.out.run/` holds the job and a log per process; it stays
only where a message sends you to the logs.

On another machine (`training/elsewhere.py`) it is started by `python -m training.launch JOB.json`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from training import elsewhere
from training.alone import Held, alone
from training.attempt import STALLED_S, Announce, Attempt, Watch
from training.elsewhere import Node
from training.errors import DivergedError, TrainingError
from training.gpus import visible
from training.layout import num_processes
from training.reports import REPORT, TrainingReport
from training.resuming import is_begun, left_by, partial_of, remove, usable
from training.settings import SftSettings
from training.smaller import in_words, smaller, too_large
from training.tail import saved_step
from training.train_log import StepRecord
from training.watchdog import end_with
from training.worker import Job

NOTHING_LEFT = "No state was saved yet: the same command begins anew"


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
    with alone(folder) as held:
        job_here = Job(
            dataset=dataset,
            base=base,
            output=str(folder),
            settings=settings,
            options=options,
            processes=num_processes(settings, len(visible())),
            launcher=os.getpid(),
        )
        try:
            return _until_done(job_here, held, watch, announce, stalled_s)
        finally:
            _forget_without_state(folder)


def _until_done(job: Job, held: Held, watch: Watch, announce: Announce, stalled_s: float) -> TrainingReport:
    """Attempt a job until it is done, or cannot be."""
    folder = Path(job.output)
    lost_at, watch = -1, _telling(watch, announce)
    while True:
        _tell_damage(folder, announce)
        attempt = Attempt(job, held, stalled_s)
        try:
            end = attempt.run(watch, announce)
        except (KeyboardInterrupt, SystemExit):  # a second signal
            announce(left_by(folder) or NOTHING_LEFT)
            raise
        if end is None:
            attempt.asked.deliver()
            return TrainingReport.model_validate_json((folder / REPORT).read_text(encoding="utf-8"))
        if end.failure is not None and end.failure.kind == DivergedError.__name__:
            _forget(folder)
        if attempt.asked.signal is not None:
            how = f" ({end.text()})" if end.text() else ""
            announce(f"stopped by {attempt.asked.signal.name}{how}. {left_by(folder) or NOTHING_LEFT}")
            attempt.asked.deliver()
        if end.is_memory:
            told = end.failure.message.splitlines()[0] if end.failure else end.reason
            less = smaller(job.settings, job.processes)
            if less is None:
                raise TrainingError(f"{too_large(job.settings, told)}. {left_by(folder)}".rstrip(". "))
            job = job.model_copy(update={"settings": less})
            why = "the training ran out of memory" if end.failure else end.reason
            announce(f"{why}: it goes on with {in_words(job.settings, job.processes)}")
        elif end.may_pass and (step := saved_step(folder)) > lost_at:
            lost_at = step
            announce(f"{end.reason}; the training goes on after step {step}, from its last state")
        else:
            held.keeps_logs = end.needs_logs
            raise end.error(held.run, left_by(folder))


def _forget_without_state(output: Path) -> None:
    """Remove a training that has ended without a state: nothing could go on from it.

    If it is whole but for its name, as after a kill, it stays.
    """
    partial = partial_of(output)
    if not is_begun(partial) and not (partial / REPORT).exists():
        remove(partial)


def _forget(output: Path) -> None:
    """Remove a training that is of no use, after its processes are gone."""
    remove(partial_of(output))


def _tell_damage(output: Path, announce: Announce) -> None:
    """Say where a training goes on from the state before, as the last one is damaged.

    OtherStateError if there is none. A training that lacks only its name needs no state.
    """
    partial = partial_of(output)
    if not (partial / REPORT).exists() and (found := usable(partial)[1]):
        announce(found)


def _telling(watch: Watch, announce: Announce) -> Watch:
    """The same, and it is said once if a training goes on that was killed before."""
    told: list[int] = []

    def first(record: StepRecord) -> None:
        if not told and record.step > 1:
            announce(f"it was begun before, and goes on after step {record.step - 1} of {record.num_steps}")
        told.append(record.step)
        watch(record)

    return first


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
