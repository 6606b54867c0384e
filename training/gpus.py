"""What this machine has for trainings: GPUs and cores. No GPU's memory is touched by asking.

num_gpus()    # 8
"""

from __future__ import annotations

import os

SIMULATED = "SCODER_SIMULATED_GPUS"
"""For tests: a number of GPUs to believe in. What runs on them runs on the CPU."""


def num_gpus() -> int:
    """GPUs that this process may use. CUDA_VISIBLE_DEVICES narrows them."""
    if SIMULATED in os.environ:
        return int(os.environ[SIMULATED].partition("x")[0])
    import torch

    return torch.cuda.device_count()


def usable_cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
