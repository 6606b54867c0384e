"""What a program may use, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["passed", "failed", "timeout", "memory", "output", "error"]


@dataclass(frozen=True)
class SandboxLimits:
    """What one program may use.

    `cpu_s` holds for each process; None follows the wall time. `memory_mb` bounds the address space
    of each process, and the resident memory of all processes together. Tests that run apart are not
    among them, and may take more. `file_mb` bounds each file and all of /tmp. `output_bytes` is how
    much of each stream is kept, and `given_bytes` how much a checker may give back.
    """

    wall_s: float = 10
    cpu_s: int | None = None
    memory_mb: int = 1024
    processes: int = 16
    output_bytes: int = 65536
    file_mb: int = 16
    given_bytes: int = 1 << 26

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and value <= 0:
                raise ValueError(f"SandboxLimits.{name} is {value}: give a number above 0")


@dataclass(frozen=True)
class SandboxResult:
    """How one program ended. The status `error` means that the sandbox did not work.

    `exit_code` is negative for a signal. `given` is what the tests of a trial gave back. `waited_s`
    is how long its threads together were ready to run, and had no CPU. None if the kernel does not
    say.
    """

    status: Status
    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    output_truncated: bool
    wall_s: float
    given: bytes = b""
    waited_s: float | None = None

    @property
    def seconds(self) -> float:
        """The wall time."""
        return self.wall_s


DEFAULT_LIMITS = SandboxLimits()
