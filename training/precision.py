"""What `dtype: auto` means, in training, for gradients and in both engines.

In: the name of a number format, and what it is for. Out: the format itself, or a TrainingError
where this machine does not compute it.

    where                               an engine    training and gradients
    on the CPU                          float32      float32
    on a GPU that computes bfloat16     bfloat16     bfloat16
    on an older GPU                     float16      float32

A training has no float16. Its numbers end at 65,504, so small gradients need a scale that is
raised until they overflow, by design. Then a training that diverges looks like one that does not.
Gradients of single samples have no such scale at all.

    resolved("auto")    # "float32" on a machine without a GPU
"""

from __future__ import annotations

from typing import Literal

import torch

from training.errors import TrainingError

Resolved = Literal["float32", "bfloat16", "float16"]
Kind = Literal["training", "engine"]


def resolved(dtype: str, kind: Kind = "training") -> Resolved:
    """The name of the number format that is used on this machine.

    TrainingError for bfloat16 on a GPU that only emulates it.
    """
    has_gpu = torch.cuda.is_available()
    return choice(dtype, kind, has_gpu, has_gpu and torch.cuda.is_bf16_supported(including_emulation=False))


def choice(dtype: str, kind: Kind, has_gpu: bool, has_bfloat16: bool) -> Resolved:
    """The same for a machine of which it is known whether its GPU computes bfloat16."""
    older: Resolved = "float16" if kind == "engine" else "float32"
    if dtype == "auto":
        on_gpu: Resolved = "bfloat16" if has_bfloat16 else older
        return on_gpu if has_gpu else "float32"
    if dtype == "bfloat16" and has_gpu and not has_bfloat16:
        raise TrainingError(f"dtype is bfloat16, but this GPU does not compute it: set dtype to {older}, or to auto")
    assert dtype in ("float32", "bfloat16", "float16"), dtype
    return dtype  # type: ignore[return-value]  # mypy does not narrow a str by `in`


def torch_dtype(dtype: str, kind: Kind = "training") -> torch.dtype:
    """The number format itself."""
    found = getattr(torch, resolved(dtype, kind))
    assert isinstance(found, torch.dtype), found
    return found
