"""The GPUs that this process may use: their names and their memory. CUDA is not initialised here.

In: the environment, nvidia-smi, torch. Out: a `Gpu` each, in their order.

    [gpu.name for gpu in visible()]         # ["0", "1"]
    [gpu.memory_gb for gpu in visible()]    # [85.5, 85.5]; None where unknown
    [gpu.used_gb for gpu in in_use()]       # [61.2, 0.0]

A process that has begun to use a GPU keeps some of its memory, and cannot be forked any more. So
other programs are asked: nvidia-smi, or where it is missing or fails a process with torch, which
does not know the memory. Where both fail, that is an error: GPUs that are there are never left out
in silence. For tests, `SCODER_SIMULATED_GPUS` says what is seen: `8`, or `8x80` for eight of
80 GB. What runs on them runs on the CPU. So it is refused on a machine that has GPUs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.errors import TrainingError

SIMULATED = "SCODER_SIMULATED_GPUS"
SMI = "nvidia-smi"
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Where Linux has a GPU for torch, it has one of these: NVIDIA's, that of WSL, or AMD's."""
BYTES_PER_MIB, BYTES_PER_GB = 2**20, 1e9
SMI_S = 20
"""Seconds that nvidia-smi may take. With eight GPUs and no daemon it takes several."""
NO_DEVICES = 6
"""The exit code of nvidia-smi where the driver is there and no GPU."""
COUNT_S = 300.0


@dataclass(frozen=True)
class Gpu:
    """A GPU. `name` is what `CUDA_VISIBLE_DEVICES` takes, `memory_gb` are 10^9 bytes."""

    name: str
    memory_gb: float | None


@dataclass(frozen=True)
class Use:
    """How a GPU of this machine is used, as its driver sees it. What it does not know is 0."""

    index: int
    name: str
    used_gb: float
    total_gb: float
    busy_percent: float

    def text(self) -> str:
        """For people: `GPU 0 (NVIDIA H100): 61.2 of 80.0 GB, 97% busy`."""
        return f"GPU {self.index} ({self.name}): {self.used_gb:.1f} of {self.total_gb:.1f} GB, {self.busy_percent:.0f}% busy"


def in_use() -> list[Use]:
    """All GPUs of this machine, whoever uses them. Empty where nvidia-smi finds none."""
    lines, _ = _said("index,name,memory.used,memory.total,utilization.gpu")
    return [_use(line) for line in lines if line.count(",") >= 4]


def visible() -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves. Empty without one.

    TrainingError for a SCODER_SIMULATED_GPUS that cannot be read, or beside GPUs that are there.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if is_simulated():
        given = os.environ[SIMULATED]
        memories = simulated(given)
        if there := len(_there(None)):
            raise TrainingError(
                f"{SIMULATED} is {given!r}, but this machine has {there} {'GPU' if there == 1 else 'GPUs'}: what runs on "
                f"simulated GPUs runs on the CPU. Unset {SIMULATED}; to plan for another machine, set machine.gpus and "
                "machine.gpu_memory_gb"
            )
        names = map(str, range(len(memories))) if chosen is None else _names(chosen)
        return [Gpu(name, memory) for name, memory in zip(names, memories, strict=False)]
    return _there(chosen)


def is_simulated() -> bool:
    """Whether the GPUs that are seen are those of SCODER_SIMULATED_GPUS."""
    return bool(os.environ.get(SIMULATED))


def _there(chosen: str | None) -> list[Gpu]:
    """The GPUs that are really there."""
    failed = ""
    if shutil.which(SMI):
        lines, failed = _said("uuid,memory.total")
        if not failed:
            return chosen_of(parsed(lines), chosen)
    number = _counted(chosen)
    if failed and not number and _drivers() and _wants_some(chosen):
        raise TrainingError(
            f"{failed}, and torch sees no GPU, though this machine has {' and '.join(_drivers())}: mend the driver, or set "
            "CUDA_VISIBLE_DEVICES to nothing to go on without GPUs"
        )
    names = map(str, range(number)) if chosen is None else _names(chosen)[:number]
    return [Gpu(name, None) for name in names]


def simulated(given: str) -> list[float | None]:
    """`8` is eight GPUs of unknown memory, `8x80` eight of 80 GB."""
    count, _, size = given.partition("x")
    try:
        number, memory = int(count), float(size) if size else None
        if number < 0 or (memory is not None and not memory > 0):
            raise ValueError
    except ValueError:
        raise TrainingError(f"{SIMULATED} is {given!r}: give a number of GPUs as 8, or with their GB as 8x80") from None
    return [memory] * number


def chosen_of(found: list[tuple[str, float | None]], chosen: str | None) -> list[Gpu]:
    """Those GPUs that are chosen, by their number or by their UUID.

    As CUDA does, the list ends at the first that is not there.
    """
    if chosen is None:
        return [Gpu(str(number), memory) for number, (_, memory) in enumerate(found)]
    kept: list[Gpu] = []
    for name in _names(chosen):
        if name.startswith("MIG-"):
            kept.append(Gpu(name, None))
            continue
        by_number = [found[int(name)]] if name.isdecimal() and int(name) < len(found) else []
        named = by_number or [gpu for gpu in found if not name.isdecimal() and gpu[0].startswith(name)]
        if not named:
            break
        kept.append(Gpu(name, named[0][1]))
    return kept


def _names(chosen: str) -> list[str]:
    return [name.strip() for name in chosen.split(",") if name.strip()]


def _drivers() -> list[str]:
    """Signs that this machine has a GPU for torch. In a container without GPUs there are none."""
    return [driver for driver in DRIVERS if Path(driver).exists()]


def _wants_some(chosen: str | None) -> bool:
    """Whether GPUs are chosen at all. `-1` is none, as is what Slurm writes: `NoDevFiles`."""
    return chosen is None or chosen.strip()[:1].isdecimal() or chosen.strip().startswith(("GPU-", "MIG-"))


def _said(fields: str) -> tuple[list[str], str]:
    """What nvidia-smi says, a line for each GPU; and why it says nothing, where it fails."""
    command = [SMI, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=SMI_S, check=False)
    except subprocess.TimeoutExpired:
        return [], f"{SMI} said nothing for {SMI_S} s"
    except OSError as error:
        return [], f"{SMI} cannot be run ({error})"
    if said.returncode in (0, NO_DEVICES):
        return said.stdout.splitlines(), ""
    told = " ".join((said.stdout + said.stderr).split())
    return [], f"{SMI} ended with exit code {said.returncode} ({told or 'it said nothing'})"


def _use(line: str) -> Use:
    index, name, used, total, busy = (part.strip() for part in line.rsplit(",", 4))
    gb = BYTES_PER_MIB / BYTES_PER_GB
    return Use(int(index), name, _number(used) * gb, _number(total) * gb, _number(busy))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def parsed(lines: list[str]) -> list[tuple[str, float | None]]:
    """(UUID, gigabytes) of lines of nvidia-smi: `GPU-5e…, 81559` is a GPU of 85.5 GB.

    None where it does not know them: a GPU that shares the memory of the machine is `[N/A]`.
    """
    rows = [line.split(",") for line in lines if line.count(",") == 1]
    return [
        (uuid.strip(), float(mib) * BYTES_PER_MIB / BYTES_PER_GB if mib.strip().isdecimal() else None)
        for uuid, mib in rows
    ]


@cache
def _counted(chosen: str | None) -> int:
    """What torch sees in another process. `chosen` is there so that each value is counted once."""
    if chosen == "" or not _drivers():
        return 0
    code = "import torch; print(torch.cuda.device_count())"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=COUNT_S, check=True)
        return int(done.stdout.split()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        said = getattr(error, "stderr", None) or error
        raise TrainingError(f"the GPUs of this machine could not be counted by `{code}`: {said}") from error
