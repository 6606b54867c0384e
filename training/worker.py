"""One process of a training, started by `training/launch.py`: `python -m training.worker JOB RANK`.

In: a `Job`, written as JSON. Out: what `training/sft.py` leaves, and an exit code. What ended this
process with an error stands in `error-RANK.json` beside the job. A file `stop` beside it asks the
processes to end after their step.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from training import errors
from training.library_notes import hush
from training.settings import SftSettings
from training.stopping import deaf
from training.watchdog import end_with

FAILED = 1
OUT_OF_MEMORY = 76
"""Exit code of a process whose GPU's memory did not suffice."""
STOPPED = 77
"""Exit code of a process that ended because it was asked to."""


class Job(BaseModel):
    """A training, as its processes are told of it. `options` are arguments of `sft.train`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    base: str
    output: str
    settings: SftSettings
    options: dict[str, Any]
    processes: int
    launcher: int
    """The process that started this one."""


class Failure(BaseModel):
    """What ended a process: the name of the exception, its message, the traceback."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    is_ours_to_mend: bool
    """Whether it is none of the exceptions of `training/errors.py`."""
    message: str
    trace: str
    errno: int | None = None
    """Of what the system refused, such as a full disk."""

    @property
    def is_bug(self) -> bool:
        """Whether neither the user nor the system is at fault."""
        return self.is_ours_to_mend and self.errno is None

    def error(self, where: str) -> Exception:
        """What is raised for it where the training was asked for."""
        if not self.is_ours_to_mend:
            return getattr(errors, self.kind, errors.TrainingError)(self.message)
        if self.errno is not None:
            return OSError(self.errno, self.message)
        bug = RuntimeError(f"{self.kind} in {where}: {self.message}")
        bug.add_note(self.trace)
        return bug


def failure_of(error: Exception) -> Failure:
    """An exception that is being handled, in words."""
    return Failure(
        kind=type(error).__name__,
        is_ours_to_mend=not isinstance(error, errors.TrainingError),
        message=str(error),
        trace=traceback.format_exc(),
        errno=error.errno if isinstance(error, OSError) else None,
    )


def error_file(job: Path, rank: int) -> Path:
    """Where a process writes its `Failure`."""
    return job.with_name(f"error-{rank}.json")


def stop_file(job: Path) -> Path:
    """Where the launcher asks the processes to end. The file says until when, on the clock that all
    processes of a machine share (`time.monotonic`)."""
    return job.with_name("stop")


def main(path: str, rank: int) -> int:
    """Train; return the exit code."""
    job = Job.model_validate_json(Path(path).read_text(encoding="utf-8"))
    end_with(job.launcher, dies_with=True)
    deaf()
    try:
        hush()
        # torch and the libraries over it
        from training import processes, sft

        with processes.joined(str(Path(path).with_name("meeting")), rank, job.processes):
            sft.train(job.dataset, job.base, job.output, job.settings, stop=stop_file(Path(path)), **job.options)
    except errors.StoppedError:
        return STOPPED
    except Exception as error:
        return _failed(Path(path), rank, error)
    return 0


def _failed(job: Path, rank: int, error: Exception) -> int:
    failure = failure_of(error)
    traceback.print_exc()
    error_file(job, rank).write_text(failure.model_dump_json(), encoding="utf-8")
    return OUT_OF_MEMORY if failure.kind in ("OutOfMemoryError", "AcceleratorError") and _is_memory(error) else FAILED


def _is_memory(error: Exception) -> bool:
    return "out of memory" in str(error).lower()


if __name__ == "__main__":
    code = main(sys.argv[1], int(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by the interpreter's own end: threads of the libraries may hold it up.
    os._exit(code)
