"""Which GPUs this process may give to processes that it starts. In: nothing. Out: their names.

A name is what `CUDA_VISIBLE_DEVICES` takes: a number, or the id of a GPU or of a part of one. Where
that variable is set already, only the GPUs that it names count. This process itself never opens a
GPU, as it would then hold some of its memory: another process counts them.

    visible()    # ["0", "1"]
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from store.errors import JobError

SIMULATED = "SCODER_SIMULATED_GPUS"
"""An environment variable for tests: as many GPUs as it says count as visible, and none is used."""

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Where Linux has a GPU for torch, it has one of these: NVIDIA's, that of WSL, or AMD's."""

COUNT_S = 300.0


def visible() -> list[str]:
    """The names of the GPUs, in their order."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    simulated = os.environ.get(SIMULATED)
    number = int(simulated) if simulated else _counted(chosen)
    names = list(map(str, range(number))) if chosen is None else [n.strip() for n in chosen.split(",") if n.strip()]
    return names[:number]


@cache
def _counted(chosen: str | None) -> int:
    """What torch sees in another process. `chosen` is there so that each value is counted once."""
    if chosen == "" or not any(Path(driver).exists() for driver in DRIVERS):
        return 0
    code = "import torch; print(torch.cuda.device_count())"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=COUNT_S, check=True)
        return int(done.stdout.split()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        said = getattr(error, "stderr", None) or error
        raise JobError(f"the GPUs of this machine could not be counted by `{code}`: {said}") from error
