"""How long the GPUs work for a step, at the throughputs that `machine` states.

In: the work of a step, the section `machine`, and the GPUs. Out: GPU-hours; None where tokens or
the model's sizes are unknown, or no throughput is stated. How: a matrix product costs 2 operations
per weight and token. So reading costs 2, a training 6 (forward 2, backward 4) as in Kaplan et al.
2020, section 2.1. An adapter's training leaves out the base's weight gradients: 4. Gradient
checkpointing computes forward twice: 2 more. So do gradients of rows whose activations do not fit
the GPU, here where a row of mean length does not. A smaller batch costs nothing: its tokens are the
same. Writing is bound by memory, so it has a rate of its own.

    gpu_hours(work, Machine(), gpus_of(Machine(), [80.0]))
"""

from __future__ import annotations

from builders.engines.settings import TransformersSettings
from builders.recipe.machine import Machine
from builders.recipe.model_shapes import model_shape
from builders.recipe.needs import Gpus, longest_kept
from builders.recipe.work import Asking, Gradients, Work

READING, TRAINING, TRAINING_ADAPTER, AGAIN = 2, 6, 4, 2
"""Operations per weight and token."""
RATED_WEIGHTS = 7e9
"""The size of the model that `machine.decoded_tokens_per_second` is stated for."""
SECONDS = 3600


def gpu_hours(work: Work | None, machine: Machine, gpus: Gpus) -> float | None:
    """Hours that GPUs work, added up. 0 for a step that uses none."""
    if work is None or (isinstance(work, Asking) and work.engine.is_endpoint):
        return 0.0
    shape = model_shape(work.model, work.revision)
    if shape is None or (isinstance(work, Asking) and isinstance(work.engine, TransformersSettings)):
        return None
    if isinstance(work, Asking):
        return _asking(work, shape.num_parameters, machine)
    if work.tokens is None:
        return None
    if isinstance(work, Gradients):
        operations = TRAINING_ADAPTER + (AGAIN if _is_recomputed(work, gpus) else 0)
        return _computing(work.tokens, operations * shape.num_parameters, machine.gradients_use, machine)
    operations = TRAINING if work.settings.lora is None else TRAINING_ADAPTER
    operations += AGAIN if work.settings.gradient_checkpointing else 0
    return _computing(work.tokens, operations * shape.num_parameters, machine.training_use, machine)


def _is_recomputed(work: Gradients, gpus: Gpus) -> bool:
    """Whether activations of a row of mean length do not fit. Not where that is unknown."""
    kept = longest_kept(work, gpus)
    return bool(kept is not None and work.rows and work.tokens and work.tokens / work.rows > kept)


def _asking(work: Asking, num_parameters: int, machine: Machine) -> float | None:
    if work.reads is None or work.writes is None:
        return None
    reading = _computing(work.reads, READING * num_parameters, machine.reading_use, machine)
    rate = machine.decoded_tokens_per_second * RATED_WEIGHTS / num_parameters
    return reading + work.writes / rate / SECONDS


def _computing(tokens: int, operations: float, use: float, machine: Machine) -> float:
    return tokens * operations / (machine.peak_tflops * 1e12 * use) / SECONDS
