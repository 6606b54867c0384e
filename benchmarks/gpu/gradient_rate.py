"""Samples per second of the gradients, beside the backward pass that they need, and their memory.

In: a size of a model, the shape of a batch. Out: figures.

How: the project's `GradientModel` is given a model of random weights instead of a folder, and rows
of random tokens. The floor is a plain forward and backward pass of the same batches for LoRA
training, with the head on supervised positions only, as in `benchmarks/influence/speed.py`. Both
take turns, and medians are compared. The floor keeps twice as much per token as the gradients do.
So a batch is as large as the floor allows, and in the end the gradients alone take batches as large
as they choose themselves.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from peft import PeftModel
from torch.nn import functional

from benchmarks.gpu.shapes import random_examples, random_model
from benchmarks.gpu.training_rate import TOKENIZER
from training import gradients
from training.adapters import add_lora, lora_matrices
from training.completion_loss import Batch, causal_model, hidden_states, pad
from training.examples import Example, device
from training.gradient_batches import Bound, in_batches
from training.gradients import GradientModel
from training.precision import torch_dtype
from training.settings import GradientSettings, LoraSettings

ROUNDS = 5


def gradient_rate(size: str, rank: int, rows: int, length: int, num_batches: int) -> dict[str, Any]:
    """The figures of the part. The loss is on the second half of every row."""
    model, where = gradient_model(size, rank, length), device()
    examples = random_examples(size, rows * num_batches, length, length // 2)
    batches = [pad(examples[i : i + rows], 0, where) for i in range(0, len(examples), rows)]
    weights = torch.cuda.memory_allocated() if where.type == "cuda" else 0
    figures = {**_rates(model, batches), "rows": rows, "length": length}
    assert model.memory is not None, size
    with_tables = weights + model.memory.tables()
    figures |= _memory(model, batches[0], with_tables + model.memory.peak(rows, length))
    return figures | _own_batches(model, examples, with_tables)


def gradient_model(size: str, rank: int, length: int) -> GradientModel:
    """The project's own, over random weights. B is not zero, or the gradients of A would be."""
    model = add_lora(random_model(size, torch_dtype("auto")), LoraSettings(r=rank, alpha=2 * rank))
    for _, matrix in lora_matrices(model):
        torch.nn.init.normal_(matrix.weight, std=0.02)
    model.eval().requires_grad_(False)
    with patch.object(gradients, "load_gradient_model", lambda *_: model):
        return GradientModel(TOKENIZER, None, GradientSettings(max_tokens=length), "auto")


def floor(model: PeftModel, batch: Batch) -> None:
    """One forward and backward pass for LoRA training."""
    logits = causal_model(model).get_output_embeddings()(hidden_states(model, batch)).float()
    nll = functional.cross_entropy(logits, batch.targets_S, reduction="none")
    (nll / batch.num_tokens_N[batch.samples_S]).sum().backward()


def _rates(model: GradientModel, batches: list[Batch]) -> dict[str, Any]:
    def base() -> None:
        for _, matrix in lora_matrices(model.model):
            matrix.weight.requires_grad_(True)
            matrix.weight.grad = None
        for batch in batches:
            floor(model.model, batch)
        for _, matrix in lora_matrices(model.model):
            matrix.weight.grad = None
        model.model.requires_grad_(False)

    def ours() -> None:
        for batch in batches:
            model._features(batch, False)

    times = [(_seconds(base), _seconds(ours)) for _ in range(ROUNDS + 1)][1:]
    base_s, ours_s = np.median(np.array(times), axis=0).tolist()
    samples = sum(len(batch.ids_NL) for batch in batches)
    return {
        "samples_per_s": samples / ours_s,
        "floor_samples_per_s": samples / base_s,
        "share_of_floor": float(np.median([base / ours for base, ours in times])),
    }


def _seconds(call: Callable[[], None]) -> float:
    _wait()
    start = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _memory(model: GradientModel, batch: Batch, predicted: float) -> dict[str, Any]:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model._features(batch, False)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {
        "peak_gb": peak / 1e9 if peak else None,
        "predicted_gb": predicted / 1e9,
        "peak_to_predicted": peak / predicted if peak else None,
    }


def _own_batches(model: GradientModel, examples: list[Example], with_tables: float) -> dict[str, Any]:
    """The rate in batches that the project chooses for the memory that there is."""
    bound = Bound.of(model.settings, model.memory, model.num_bytes)

    def compute(places: list[int], is_recomputed: bool) -> None:
        model._features(pad([examples[place] for place in places], 0, model.model.device), is_recomputed)

    sizes: list[int] = []

    def all_batches() -> None:
        sizes[:] = [len(places) for places, _ in in_batches(dict(enumerate(examples)), bound, compute)]

    seconds = min(_seconds(all_batches) for _ in range(2))
    return {"own_rows": max(sizes), "own_samples_per_s": len(examples) / seconds}
