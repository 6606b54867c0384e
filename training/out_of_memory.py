"""Whether an error means that memory ran out, of a GPU or of the machine.

In: an error. Out: whether fewer rows at once may help. Only one form of it has a class of its own.

    is_out_of_memory(RuntimeError("CUDA error: out of memory"))    # True

This module loads no torch, as the launcher of a training reads it.
"""

from __future__ import annotations

WORDS = (
    "out of memory",  # torch, CUDA, NCCL, Triton
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. The errors of torch and NCCL are RuntimeErrors."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words.lower() in str(error).lower() for words in WORDS)
