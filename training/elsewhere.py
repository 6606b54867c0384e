"""A training on another machine that sees the same files, followed from here.

In: a job, and a `Node`, which can start a command there. Out: the report, and the same folder as
if the training had run here (`training/launch.py`), which it does there: it takes all GPUs that it
sees on its machine.

The files of the job are in `.out.node/`, beside the training's own:

    job.json       what is trained
    said.jsonl     what the launcher there announced, a line each
    result.json    the report
    error.json     what ended it

A task that is lost, or whose time is over, is started again, and the training goes on from its last
state, but not twice from the same one. When this process is interrupted, it ends the task.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from training.errors import LostTrainingError
from training.reports import REPORT, TrainingReport
from training.settings import SftSettings
from training.tail import Tail, saved_step
from training.train_log import StepRecord
from training.whole_files import write_whole
from training.worker import Failure, failure_of

JOB, SAID, RESULT, ERROR = "job.json", "said.jsonl", "result.json", "error.json"
TICK_S = 0.5
LAG_S = 60.0
"""Seconds that files of another machine may stay unseen through a network file system."""


class NodeTask(Protocol):
    """A command that was started on another machine."""

    def has_ended(self) -> bool: ...

    def kill(self) -> None: ...

    def ending(self) -> str: ...


class Node(Protocol):
    """What starts `python ARGUMENTS` on a machine with so many GPUs; None stands for all of one."""

    def __call__(self, arguments: list[str], gpus: int | None) -> NodeTask: ...


class NodeJob(BaseModel):
    """A training, as the other machine is told of it. `options` are those of `sft.train`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    base: str
    output: str
    settings: SftSettings
    options: dict[str, Any]


def train(
    job: NodeJob, node: Node, *, watch: Callable[[StepRecord], None], announce: Callable[[str], None]
) -> TrainingReport:
    """Train on another machine. Raises what the training raised there, and LostTrainingError."""
    output = Path(job.output).absolute()
    folder = output.with_name(f".{output.name}.node")
    lost_at = -1
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_whole(folder / JOB, job.model_copy(update={"output": str(output)}).model_dump_json())
        task = node(["-m", "training.launch", str(folder / JOB)], job.settings.devices)
        try:
            _follow(task, folder, Tail(output), watch, announce)
        finally:
            task.kill()
        if (folder / RESULT).exists():
            report = TrainingReport.model_validate_json((folder / RESULT).read_text(encoding="utf-8"))
            _wait_for(output / REPORT)
            shutil.rmtree(folder)
            return report
        if (folder / ERROR).exists():
            failure = Failure.model_validate_json((folder / ERROR).read_text(encoding="utf-8"))
            shutil.rmtree(folder)
            raise failure.error("a training elsewhere")
        step = saved_step(output)
        if step <= lost_at:
            shutil.rmtree(folder)
            raise LostTrainingError(
                f"the task of the training was lost for the second time after step {step}; {task.ending()}\nNothing is "
                "lost: run the same command again to go on from the last state"
            )
        lost_at = step
        announce(
            f"the task of the training was lost, it goes on after step {step}, from its last state; {task.ending()}"
        )


def _follow(
    task: NodeTask,
    folder: Path,
    tail: Tail,
    watch: Callable[[StepRecord], None],
    announce: Callable[[str], None],
) -> None:
    """Tell what happens until the task has ended."""
    num_said = 0
    while True:
        is_over = (folder / RESULT).exists() or (folder / ERROR).exists() or task.has_ended()
        for record in tail.last() if (folder / RESULT).exists() else tail.new():
            watch(record)
        said = _lines(folder / SAID)
        for line in said[num_said:]:
            announce(json.loads(line))
        num_said = len(said)
        if is_over:
            return
        time.sleep(TICK_S)


def _lines(path: Path) -> list[str]:
    """The whole lines of a file that grows."""
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _wait_for(path: Path) -> None:
    until = time.monotonic() + LAG_S
    while not path.exists():
        if time.monotonic() > until:
            raise LostTrainingError(
                f"the training has ended well elsewhere, but {path} is not seen here: is it shared?"
            )
        time.sleep(TICK_S)


# -- on the other machine --------------------------------------------------------------------------


def read(path: str) -> NodeJob:
    """The job in a file."""
    return NodeJob.model_validate_json(Path(path).read_text(encoding="utf-8"))


class Said:
    """What the training there tells the one that follows it: files beside its job."""

    def __init__(self, job: str) -> None:
        self._folder = Path(job).parent

    def announce(self, text: str) -> None:
        with open(self._folder / SAID, "a", encoding="utf-8") as file:
            file.write(json.dumps(text) + "\n")

    def failed(self, error: Exception) -> None:
        """An error that is being handled."""
        write_whole(self._folder / ERROR, failure_of(error).model_dump_json())

    def done(self, report: TrainingReport) -> None:
        write_whole(self._folder / RESULT, report.model_dump_json())
