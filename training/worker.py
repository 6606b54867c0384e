"""One process of a training, started by `training/launch.py`: `python -m training.worker JOB RANK`.

In: a `Job`, written as JSON. Out: what `training/sft.py` leaves, and an exit code. What ended this
process with an error stands in `error-RANK.json` beside the job. A file `stop` beside it asks the
processes to end after their step.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from training import errors, full_disk
from training.library_notes import hush
from training.out_of_memory import is_out_of_memory
from training.settings import SftSettings
from training.stopping import deaf
from training.watchdog import end_with

FAILED = 1
OUT_OF_MEMORY = 76
"""Exit code of a process whose GPU's memory did not suffice."""
STOPPED = 77
"""Exit code of a process that ended because it was asked to."""
DISK_FULL = 78
"""Exit code of a process that had no room on a disk: then it may not be able to write more."""


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
            return OSError(self.errno, self.message.removeprefix(f"[Errno {self.errno}] "))
        bug = RuntimeError(f"{self.kind} in {where}: {self.message}")
        bug.add_note(self.trace)
        return bug


def failure_of(error: BaseException) -> Failure:
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
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # torch's error of a state that it cannot save, too
        return _failed(Path(path), rank, error, Path(job.output))
    return 0


def full_disk_of(output: Path, trace: str = "") -> Failure:
    """What is told of a process that had no room on the disk of the output."""
    return Failure(
        kind="OSError", is_ours_to_mend=True, message=full_disk.told(output), trace=trace, errno=errno.ENOSPC
    )


def _failed(job: Path, rank: int, error: BaseException, output: Path) -> int:
    failure, code = failure_of(error), FAILED
    if full_disk.is_full_disk(error, output):
        failure, code = full_disk_of(output, failure.trace), DISK_FULL
    elif is_out_of_memory(error):
        code = OUT_OF_MEMORY
    # Where there is no room, neither the log nor the file may be written. The code is told anyway.
    with suppress(OSError):
        error_file(job, rank).write_text(failure.model_dump_json(), encoding="utf-8")
    with suppress(OSError):
        traceback.print_exc()
    return code


if __name__ == "__main__":
    code = main(sys.argv[1], int(sys.argv[2]))
    with suppress(OSError):  # a full disk
        sys.stdout.flush()
        sys.stderr.flush()
    # Not by the interpreter's own end: threads of the libraries may hold it up.
    os._exit(code)
