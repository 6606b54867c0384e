"""The GPUs that this process may use, and the memory of each. CUDA is not initialised here.

In: the environment and nvidia-smi. Out: gigabytes per GPU, in their order; None where unknown.

    visible_gpus()    # [85.5, 85.5], or [] on a machine without

A process that has begun to use a GPU keeps some of its memory, and cannot be forked any more. So
another program is asked. For tests, `SCODER_SIMULATED_GPUS` says what is seen: `8`, or `8x80` for
eight of 80 GB.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from store.errors import InputError

SIMULATED = "SCODER_SIMULATED_GPUS"
BYTES_PER_MIB, BYTES_PER_GB = 2**20, 1e9
SECONDS = 20
"""How long nvidia-smi may take. With eight GPUs and no daemon it takes several seconds."""


def visible_gpus() -> list[float | None]:
    """Gigabytes (10^9 bytes) of each GPU that CUDA_VISIBLE_DEVICES leaves; None where unknown.

    Empty without a GPU. InputError for a SCODER_SIMULATED_GPUS that cannot be read.
    """
    given = os.environ.get(SIMULATED)
    if given:
        return simulated(given)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return chosen_of(_asked(), chosen)


def simulated(given: str) -> list[float | None]:
    """`8` is eight GPUs of unknown memory, `8x80` eight of 80 GB."""
    count, _, size = given.partition("x")
    try:
        number, memory = int(count), float(size) if size else None
        if number < 0 or (memory is not None and not memory > 0):
            raise ValueError
    except ValueError:
        raise InputError(f"{SIMULATED} is {given!r}: give a number of GPUs as 8, or with their GB as 8x80") from None
    return [memory] * number


def chosen_of(found: list[tuple[str, float]], chosen: str | None) -> list[float | None]:
    """The memory of those GPUs that are chosen, by their number or by their UUID.

    As CUDA does, the list ends at the first that is not there.
    """
    if chosen is None:
        return [memory for _, memory in found]
    kept: list[float | None] = []
    for name in filter(None, map(str.strip, chosen.split(","))):
        if name.startswith("MIG-"):
            kept.append(None)
            continue
        by_number = [found[int(name)]] if name.isdecimal() and int(name) < len(found) else []
        named = by_number or [gpu for gpu in found if not name.isdecimal() and gpu[0].startswith(name)]
        if not named:
            break
        kept.append(named[0][1])
    return kept


def _asked() -> list[tuple[str, float]]:
    """(UUID, gigabytes) of all GPUs, as nvidia-smi tells. None without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parsed(said.stdout) if said.returncode == 0 else []


def parsed(text: str) -> list[tuple[str, float]]:
    """The lines of nvidia-smi: `GPU-5e…, 81559` is a GPU of 85.5 GB."""
    rows = [line.split(",") for line in text.splitlines() if line.count(",") == 1]
    return [(uuid.strip(), float(mib) * BYTES_PER_MIB / BYTES_PER_GB) for uuid, mib in rows if mib.strip().isdecimal()]
