"""How much memory of a GPU a step needs, how much disk it leaves, and whether it fits.

In: the work of a step, and the GPUs. Out: a `Need` in bytes, a `Disk`, and for what does not fit
the field of the recipe to change, with a value that fits.

    gpus = gpus_of(recipe.machine, [80.0])
    need_of(work, gpus).total

A model whose sizes are not known has no need that could be told, and is never refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from builders.engines.settings import TransformersSettings, VllmSettings
from builders.recipe import batches
from builders.recipe.executor import GpuTasks
from builders.recipe.machine import Machine
from builders.recipe.model_shapes import model_shape
from builders.recipe.work import Asking, Gradients, Training, Work
from training import memory
from training.gradient_memory import GradientMemory
from training.layout import num_processes
from training.model_shape import ModelShape
from training.settings import GradientSettings, SftSettings

S = TypeVar("S", SftSettings, GradientSettings)

GB = 1e9
ENGINE_BYTES = 3_000_000_000
"""What an engine needs beside weights and cache: ours, not measured. vLLM computes 16,384 tokens of
prompts at once (the MLP of a 7B makes 1.2 GB of them) and keeps compiled graphs."""
ADAPTERS_AT_ONCE = 8
"""Adapters that vLLM holds on the GPU at most (`builders/engines/vllm.py`)."""
MARGIN = 0.15
"""How far a prediction may be from what a training or gradients take. Bytes that were counted at
the layer sizes of Qwen2.5-7B are within it. Nothing was measured on a GPU yet."""
SHARE = 0.8
"""The share of what is free on a GPU that a batch of gradients may take
(`training/gradient_batches.py`)."""


@dataclass(frozen=True)
class Gpus:
    """The GPUs of a plan. `memory` is that of the smallest in bytes, None where unknown.

    `is_checked` says whether what does not fit them is refused.
    """

    count: int
    memory: float | None
    is_checked: bool

    @property
    def are_there(self) -> bool:
        """Whether there is any. Without one, needs are told for one."""
        return self.count > 0


@dataclass(frozen=True)
class Need:
    """Bytes on each of the `gpus` that hold one model together; None where unknown.

    `least` is what must be free for it to work at all. It may take `share` of a GPU. `fullest` is
    what it takes whatever is free; None: not more than `least`.
    """

    gpus: int
    weights: int | None = None
    states: int | None = None
    activations: int | None = None
    cache: int | None = None
    total: int | None = None
    least: int | None = None
    share: float = 1.0
    fullest: int | None = None

    def fits(self, gpus: Gpus) -> bool | None:
        """Whether the GPUs may have room for it; None where that is unknown.

        False is sure: even a prediction that is too high by `MARGIN` would not fit.
        """
        return self._is_within(gpus, self.least, 1 / (1 + MARGIN))

    def fits_as_predicted(self, gpus: Gpus) -> bool | None:
        """The same, as if the prediction were exact."""
        return self._is_within(gpus, self.most, 1.0)

    def is_tight(self, gpus: Gpus) -> bool:
        """Whether it may fit, but need not: the limit is within `MARGIN` of the prediction."""
        return self.fits(gpus) is True and self._is_within(gpus, self.most, 1 / (1 - MARGIN)) is False

    @property
    def most(self) -> int | None:
        """What it takes whatever is free."""
        return self.least if self.fullest is None else self.fullest

    def _is_within(self, gpus: Gpus, size: int | None, error: float) -> bool | None:
        if gpus.are_there and self.gpus > gpus.count:
            return False
        if size is None or gpus.memory is None:
            return None
        return size * error <= gpus.memory * self.share


@dataclass(frozen=True)
class Disk:
    """Bytes that a step leaves, and those that it needs beside them while it runs."""

    kept: int | None
    passing: int | None


def gpus_of(machine: Machine, visible: Sequence[float | None], node: GpuTasks | None = None) -> Gpus:
    """The GPUs that the recipe names, or else those that are seen; of a cluster those of a node."""
    known = [size for size in visible if size is not None]
    seen = min(known) if known and len(known) == len(visible) else None
    named = machine.gpus is not None or machine.gpu_memory_gb is not None
    count = machine.gpus if machine.gpus is not None else len(visible) or int(named)
    if node is not None:
        count = node.gpus_per_node
    size = machine.gpu_memory_gb if machine.gpu_memory_gb is not None else seen
    return Gpus(count, size * GB if size is not None and count else None, machine.check and count > 0)


def need_of(work: Work, gpus: Gpus) -> Need:
    """What one GPU must hold for this work."""
    shape = model_shape(work.model, work.revision)
    if isinstance(work, Training):
        return _training(replace(work, settings=_within(work.settings, shape)), shape, gpus)
    if isinstance(work, Gradients):
        return _gradients(replace(work, settings=_within(work.settings, shape)), shape, gpus)
    return _asking(work, shape, gpus)


def _within(settings: S, shape: ModelShape | None) -> S:
    """The settings with no longer rows than the model has places for: longer ones are rejected."""
    places = settings.max_tokens if shape is None or shape.positions is None else shape.positions
    return settings.model_copy(update={"max_tokens": min(settings.max_tokens, places)})


def num_devices(work: Training, gpus: Gpus) -> int:
    """Processes that train together. GPUs that cannot share a step evenly are left out."""
    return work.settings.devices or num_processes(work.settings, gpus.count)


def _training(work: Training, shape: ModelShape | None, gpus: Gpus) -> Need:
    devices = num_devices(work, gpus)
    if shape is None:
        return Need(devices)
    found = memory.training_memory(shape, work.settings, devices)
    states = found.gradients + found.states
    activations = max(found.activations, found.step) + memory.RUNTIME_BYTES
    return Need(devices, found.weights, states, activations, 0, found.total, found.total)


def _gradients(work: Gradients, shape: ModelShape | None, gpus: Gpus) -> Need:
    """The fullest batch of all that may run. One row must fit, recomputed if need be.

    A batch fills the GPU as far as it may. So it is unknown where the GPU's memory is unknown. It
    may take a share of what is free then, which no wrong prediction exceeds. But bytes that the
    recipe names may exceed it.
    """
    if shape is None:
        return Need(1)
    found, weights, states = _memory_of(work, shape)
    fixed = weights + states + memory.RUNTIME_BYTES
    least = fixed + int(found.peak(1, work.settings.max_tokens, is_recomputed=True))
    room = gradient_room(work, gpus)
    if room is None:
        return Need(1, weights, states, None, 0, None, least)
    batch = int(batches.fullest(found, work.settings, room)) + memory.RUNTIME_BYTES
    total = weights + states + batch
    fullest = total if work.settings.memory_gb is not None else least
    return Need(1, weights, states, batch, 0, total, least, fullest=fullest)


def _memory_of(work: Gradients, shape: ModelShape) -> tuple[GradientMemory, int, int]:
    """The arithmetic of batches, and the bytes of weights and of states."""
    number = memory.number_bytes(work.dtype)
    found = GradientMemory(shape, work.lora.r, "float32" if number == memory.FLOAT32 else "bfloat16")
    lora = shape.num_lora_parameters(work.lora.r)
    weights = shape.num_parameters * number + lora * memory.FLOAT32
    moments = int(lora * memory.STATE_BYTES["adamw"]) if work.settings.optimizer_map == "adam" else 0
    return found, weights, moments + int(found.tables())


def gradient_room(work: Gradients, gpus: Gpus) -> float | None:
    """Bytes that a batch of gradients may take; None where nobody can know it.

    What `influence.gradients.memory_gb` says counts, as in `training/gradient_batches.py`.
    """
    shape = model_shape(work.model, work.revision)
    if work.settings.memory_gb is not None:
        return work.settings.memory_gb * GB
    if shape is None or gpus.memory is None:
        return None
    _, weights, states = _memory_of(work, shape)
    return (gpus.memory - weights - states - memory.RUNTIME_BYTES) * SHARE


def longest_kept(work: Gradients, gpus: Gpus) -> int | None:
    """Tokens of the longest row whose activations are kept. Longer rows are computed forward twice.

    None where nobody can know it.
    """
    shape, room = model_shape(work.model, work.revision), gradient_room(work, gpus)
    if shape is None or room is None:
        return None
    return batches.longest_kept(_memory_of(work, shape)[0], work.settings, room)


# -- engines ---------------------------------------------------------------------------------------


def cache_bytes_per_token(shape: ModelShape, number: int) -> int:
    """Keys and values of one token in all layers."""
    return 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * number


def _asking(work: Asking, shape: ModelShape | None, gpus: Gpus) -> Need:
    engine = work.engine
    if isinstance(engine, VllmSettings):
        return _vllm(work, engine, shape, gpus)
    if not isinstance(engine, TransformersSettings):
        return Need(0, 0, 0, 0, 0, 0, 0)  # an endpoint needs no GPU here
    if shape is None:
        return Need(1)
    number = memory.number_bytes(engine.dtype)
    weights = shape.num_parameters * number + _adapters(work, shape, number)
    cache = engine.micro_batch * engine.max_model_tokens * cache_bytes_per_token(shape, number)
    total = weights + ENGINE_BYTES + cache
    return Need(1, weights, 0, ENGINE_BYTES, cache, total, total)


def _vllm(work: Asking, engine: VllmSettings, shape: ModelShape | None, gpus: Gpus) -> Need:
    """vLLM takes its share of the GPU whole: what is left beside the weights becomes its cache."""
    together, share = engine.tensor_parallel, engine.gpu_memory_utilization
    if shape is None:
        return Need(together, share=share)
    number = memory.number_bytes(engine.dtype)
    weights = (shape.num_parameters * number + _adapters(work, shape, number)) // together
    one = cache_bytes_per_token(shape, number) * engine.max_model_tokens // together
    least = weights + ENGINE_BYTES + one
    taken = int(gpus.memory * share) if gpus.memory is not None else None
    cache = max(0, taken - weights - ENGINE_BYTES) if taken is not None else None
    return Need(together, weights, 0, ENGINE_BYTES, cache, taken, least, share)


def _adapters(work: Asking, shape: ModelShape, number: int) -> int:
    return min(work.num_adapters, ADAPTERS_AT_ONCE) * shape.num_lora_parameters(work.rank) * number


# -- disk ------------------------------------------------------------------------------------------

FEATURE_BYTES = 2
"""A gradient's features are float16."""


def disk_of(work: Work | None) -> Disk:
    """The checkpoints of a training and what it resumes from, or the features of gradients.

    Tables of texts are left out: 4 kilobytes a row.
    """
    if isinstance(work, Gradients):
        return Disk(None if work.rows is None else work.rows * work.settings.dimension * FEATURE_BYTES, 0)
    if not isinstance(work, Training):
        return Disk(0, 0)
    shape = model_shape(work.model, work.revision)
    if shape is None:
        return Disk(None, None)
    one = memory.checkpoint_bytes(shape, work.settings, has_states=work.keeps_states)
    return Disk(one * work.settings.num_checkpoints, memory.resume_bytes(shape, work.settings))
