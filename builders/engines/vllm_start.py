"""What vLLM is told when it starts: number format, tokenizer, and the folder of its sockets.

In: settings, and the tokenizer that we use. Out: options of `vllm.LLM`.
"""

import os
from pathlib import Path
from typing import Any

from vllm.platforms import current_platform

from builders.engines.settings import VllmSettings
from store.held_folders import HeldFolder, temporary_folder
from training.precision import choice
from training.tokenizer_files import place_for_others

SHORT_FOLDER, LONGEST_SOCKET_FOLDER = "/tmp", 60


def dtype(settings: VllmSettings) -> str:
    """The number format. vLLM's platform is asked, as torch itself would begin to use the GPU."""
    import torch

    has_bfloat16 = torch.bfloat16 in current_platform.supported_dtypes
    return choice(settings.dtype, "engine", not current_platform.is_cpu(), has_bfloat16)


def tokenizer_options(model: str, revision: str | None, tokenizer: Any, scratch: Path) -> dict[str, Any]:
    """The tokenizer with which vLLM writes the texts of answers: ours, if it would load another."""
    place = place_for_others(tokenizer, model, revision, scratch / "tokenizer")
    return {"tokenizer_revision": revision} if place == model else {"tokenizer": place}


def folder_of_sockets(scratch: HeldFolder) -> HeldFolder:
    """Where vLLM has the sockets of its processes, which it leaves there when it is killed.

    The path of a socket has 107 bytes at most, and a name of its own at the end.
    """
    is_short = len(os.fsencode(scratch.path)) <= LONGEST_SOCKET_FOLDER
    folder = scratch if is_short else temporary_folder("vllm", SHORT_FOLDER)
    os.environ["VLLM_RPC_BASE_PATH"] = str(folder.path)
    return folder


def num_cores() -> int:
    """CPU cores of this process, or of the machine where the system does not tell (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
