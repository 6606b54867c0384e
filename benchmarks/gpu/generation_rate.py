"""Tokens per second of generation, through the project's engine.

In: a size of a model. Out: figures, or why there are none.

How: random weights are saved with a tokenizer of as many words as the model knows, since vLLM loads
a folder. Every request has its own prompt and is answered to the last token that it may have.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.gpu.shapes import SIZES, random_model
from builders.engines import Request, TransformersSettings, VllmSettings, open_engine
from training.precision import torch_dtype

SHM = Path("/dev/shm")
BYTES_KEPT_FREE = 2 * 10**9


def generation_rate(size: str, num_requests: int, num_prompt: int, max_tokens: int) -> dict[str, Any]:
    """The figures of the part. On the tiny model the transformers engine stands in for vLLM."""
    has_vllm = importlib.util.find_spec("vllm") is not None
    if not has_vllm and size != "tiny":
        return {"status": "skipped", "error": "vLLM is not installed: pip install -e '.[vllm]'"}
    length = num_prompt + max_tokens + 8
    settings: Any = (
        VllmSettings(dtype="auto", max_model_tokens=length, replicas=1)
        if has_vllm
        else TransformersSettings(max_model_tokens=length, micro_batch=num_requests, num_threads=1)
    )
    with tempfile.TemporaryDirectory(prefix="gpu-day-", dir=_place(size)) as folder:
        save(size, Path(folder))
        start = time.perf_counter()
        with open_engine(settings, folder) as engine:
            list(engine.generate(requests(size, 8, num_prompt, 8, "warm")))
            begun = time.perf_counter()
            answers = list(engine.generate(requests(size, num_requests, num_prompt, max_tokens, "run")))
            seconds = time.perf_counter() - begun
    num_tokens = sum(answer.num_completion_tokens for answer in answers)
    return {
        "engine": settings.engine,
        "rows": num_requests,
        "length": num_prompt + max_tokens,
        "tokens_per_s": num_tokens / seconds,
        "requests_per_s": num_requests / seconds,
        "start_s": begun - start,
    }


def _place(size: str) -> str | None:
    """Memory instead of a disk, if there is enough of it."""
    import os

    if size == "tiny" or not SHM.is_dir():
        return None
    free = os.statvfs(SHM).f_bavail * os.statvfs(SHM).f_frsize
    return str(SHM) if free > 4 * 10**9 + BYTES_KEPT_FREE else None


def save(size: str, folder: Path) -> None:
    """The folder of a model with a tokenizer whose words are `w0`, `w1`, …"""
    random_model(size, torch_dtype("auto", "engine")).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(SIZES[size]["vocab_size"])}, unk_token="w1"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.decoder = decoders.WordPiece()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w0", pad_token="w2").save_pretrained(folder)


def requests(size: str, number: int, num_prompt: int, max_tokens: int, name: str) -> Iterable[Request]:
    """Prompts of random words."""
    random = np.random.default_rng(len(name))
    for n in range(number):
        words = random.integers(10, SIZES[size]["vocab_size"], num_prompt).tolist()
        text = " ".join(f"w{word}" for word in words)
        yield Request(f"{name}-{n}", prompt=text, seed=n, max_tokens=max_tokens)
