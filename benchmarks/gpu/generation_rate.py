"""Tokens per second of generation, through the project's engine.

In: a size of a model. Out: figures, or why there are none.

How: random weights are saved with a tokenizer, since vLLM loads a folder. Every request has its own
prompt, and is answered to nearly the last token that it may have: an end token is as rare as any.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from string import ascii_letters
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from benchmarks.gpu.shapes import SIZES, random_model
from benchmarks.gpu.training_rate import TOKENIZER
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
            list(engine.generate(requests(8, num_prompt, 8, "warm")))
            begun = time.perf_counter()
            answers = list(engine.generate(requests(num_requests, num_prompt, max_tokens, "run")))
            seconds = time.perf_counter() - begun
    num_tokens = sum(answer.num_completion_tokens for answer in answers)
    return {
        "engine": settings.engine,
        "rows": num_requests,
        "num_prompt_tokens": sum(answer.num_prompt_tokens for answer in answers),
        "num_completion_tokens": num_tokens,
        "length": num_prompt + max_tokens,
        "tokens_per_s": num_tokens / seconds,
        "requests_per_s": num_requests / seconds,
        "start_s": begun - start,
    }


def _place(size: str) -> str | None:
    """Memory instead of a disk, if there is enough of it."""
    if size == "tiny" or not SHM.is_dir():
        return None
    free = os.statvfs(SHM).f_bavail * os.statvfs(SHM).f_frsize
    return str(SHM) if free > 4 * 10**9 + BYTES_KEPT_FREE else None


def save(size: str, folder: Path) -> None:
    """The folder of a model with the tokenizer of `recipes/tiny-base`, which gets as many tokens as
    the model has. No text is made of the new ones.
    """
    random_model(size, torch_dtype("auto", "engine")).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(TOKENIZER, name), folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    known = {*vocabulary.values(), *(token["id"] for token in tokenizer["added_tokens"])}
    vocabulary |= {f"<{n}>": n for n in range(SIZES[size]["vocab_size"]) if n not in known}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def requests(number: int, num_prompt: int, max_tokens: int, name: str) -> Iterable[Request]:
    """Prompts of random letters, each at most a token."""
    random = np.random.default_rng(len(name))
    for n in range(number):
        text = "".join(random.choice(list(ascii_letters), num_prompt))
        yield Request(f"{name}-{n}", prompt=text, seed=n, max_tokens=max_tokens)
