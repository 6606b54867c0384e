"""Tokens per second of a training, and its peak memory beside the prediction.

In: a size of a model, and how it is trained. Out: figures.

How: the model is made on the device. Then it is trained by the project's own loop
(`training/sft.py`), with its trainer, optimizer and log. Nothing is saved. The rate is that of the
steps after the first ones, in which memory is allocated and kernels are compiled.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from transformers import set_seed

from benchmarks.gpu.flops import flops_per_token
from benchmarks.gpu.shapes import model_shape, random_examples, random_model
from training import optimizers
from training.adapters import add_lora
from training.checkpoints import Recorder
from training.examples import device, load_tokenizer
from training.fitting import Fit, fit
from training.layout import layout
from training.memory import RUNTIME_BYTES, training_memory
from training.precision import torch_dtype
from training.settings import SftSettings

WARM_UP_STEPS = 3
NUM_PROMPT = 4
"""Nearly all tokens have a loss, so that the head works on nearly all."""
TOKENIZER = str(Path(__file__).parents[2] / "recipes" / "tiny-base")
"""The trainer needs one. The rows are tokens already."""
NEVER_S = 1e9


def fitting_rows(size: str, settings: SftSettings) -> int:
    """The rows of a batch, halved until the prediction fits the GPU."""
    if device().type == "cpu":
        return settings.batch_size
    total, rows = torch.cuda.get_device_properties(0).total_memory, settings.batch_size
    while rows > 1 and training_memory(model_shape(size), _with_rows(settings, rows)).total > total:
        rows //= 2
    return rows


def _with_rows(settings: SftSettings, rows: int) -> SftSettings:
    return settings.model_copy(update={"batch_size": rows})


def training_rate(size: str, settings: SftSettings, num_steps: int, peak_tflops: float | None) -> dict[str, Any]:
    """Train for some steps; the figures of the part. Rows have `settings.max_tokens` tokens."""
    optimizers.require(settings)
    settings = _with_rows(settings, fitting_rows(size, settings))
    num_rows = settings.batch_size * (WARM_UP_STEPS + num_steps)
    set_seed(settings.seed)
    model: Any = random_model(size, torch_dtype(optimizers.weights_dtype(settings)))
    if settings.lora is not None:
        model = add_lora(model, settings.lora)
    examples = random_examples(size, num_rows, settings.max_tokens, NUM_PROMPT)
    tokenizer = load_tokenizer(TOKENIZER)
    if has_gpu := device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory(prefix="gpu-day-") as folder:
        recorder = Recorder(Path(folder), [], tokenizer, None, keeps_optimizer=False)
        shape, steps = layout(settings, 1, has_gpu), WARM_UP_STEPS + num_steps
        job = Fit(examples, list(range(num_rows)), steps, settings, shape, Path(folder), None, NEVER_S)
        fit(model, tokenizer, job, recorder)
    seconds = float(np.median([record.seconds for record in recorder.records[WARM_UP_STEPS:]]))
    rate = settings.batch_size * settings.max_tokens / seconds
    flops = rate * flops_per_token(model_shape(size), settings, settings.max_tokens)
    predicted = training_memory(model_shape(size), settings).total - RUNTIME_BYTES
    peak = torch.cuda.max_memory_allocated() if has_gpu else None
    return {
        "rows": settings.batch_size,
        "length": settings.max_tokens,
        "tokens_per_s": rate,
        "seconds_per_step": seconds,
        "tflops": flops / 1e12,
        "mfu": flops / 1e12 / peak_tflops if peak_tflops else None,
        "peak_gb": peak / 1e9 if peak else None,
        "predicted_gb": predicted / 1e9,
        "peak_to_predicted": peak / predicted if peak else None,
        "last_loss": recorder.records[-1].loss,
    }
