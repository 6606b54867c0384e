"""The bytes that a training holds on one device, and those that it writes. Nothing is loaded.

In: the shape of a model, the settings of a training, and the number of devices. Out: weights,
gradients, states of the optimizer and activations of the fullest moment, on one device. The numbers
follow from what autograd saves in a decoder layer (each term is named below). A test counts the
same bytes in a real step at the sizes of Qwen2.5-7B.

    shape = read_shape("recipes/tiny-base")
    training_memory(shape, SftSettings(max_tokens=512)).total

What attention saves is what a flash or a memory-efficient kernel saves: queries, keys, values, the
output, and one number per position and head. Keys and values count once per query head, as
transformers repeats them wherever a batch has padding. The mask of such a batch is left out: in
bfloat16 each layer keeps two bytes per pair of tokens, 2% of a layer at 4,096 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.model_shape import ModelShape
from training.settings import SftSettings

FLOAT32, BFLOAT16 = 4, 2
"""Bytes of a number. `auto` counts as bfloat16: all GPUs since Ampere compute it."""
STATE_BYTES = {"adamw": 8.0, "adamw_8bit_sr": 2.05, "adafactor": 0.03}
"""Bytes of the optimizer's states per weight that is trained, as counted of torch, torchao and
transformers. AdamW keeps two float32 numbers."""
LOSS_ROWS, LOSS_COLUMNS = 4096, 32_768
"""TRL's head computes logits in tiles of so many tokens and entries of the vocabulary."""
RUNTIME_BYTES = 1_500_000_000
"""What CUDA, its libraries and the allocator's gaps take beside tensors: ours, not measured.

What tensors take was measured on an H100, of 1.5 and 7 billion weights (`benchmarks/gpu_day.py`):
an adapter 95% of the prediction, all weights 86%, gradients 101%."""
GATHERED_LAYERS = 2
"""FSDP2 gathers one layer while it computes another."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on one device in the fullest moment of a training.

    `step` is what one step of the optimizer needs for a moment, when no activation is there.
    """

    weights: int
    gradients: int
    states: int
    activations: int
    step: int

    @property
    def total(self) -> int:
        """All of it, with what the runtime takes."""
        return self.weights + self.gradients + self.states + max(self.activations, self.step) + RUNTIME_BYTES


def number_bytes(dtype: str) -> int:
    """Bytes of a number of the format that the settings name."""
    return FLOAT32 if dtype == "float32" else BFLOAT16


def weight_bytes(settings: SftSettings) -> int:
    """Bytes in which one weight that is trained is kept."""
    in_format = settings.lora is None and settings.optimizer == "adamw_8bit_sr"
    return number_bytes(settings.dtype) if in_format else FLOAT32


def num_trained(shape: ModelShape, settings: SftSettings) -> int:
    """Weights that are trained: the adapter's, or all."""
    return shape.num_parameters if settings.lora is None else shape.num_lora_parameters(settings.lora.r)


def is_sharded(settings: SftSettings, num_devices: int) -> bool:
    """Whether weights, gradients and states are divided over the devices."""
    if num_devices == 1 or settings.sharding == "ddp":
        return False
    return settings.sharding == "fsdp2" or settings.lora is None


def training_memory(shape: ModelShape, settings: SftSettings, num_devices: int = 1) -> TrainingMemory:
    """The bytes of one of `num_devices` that train together."""
    trained, kept = num_trained(shape, settings), weight_bytes(settings)
    weights = trained * kept
    gradients, states = trained * kept, int(trained * STATE_BYTES[settings.optimizer])
    step = _step_bytes(shape, settings, trained)
    if settings.lora is not None:
        weights += shape.num_parameters * number_bytes(settings.dtype)
    if is_sharded(settings, num_devices):
        weights, gradients, states, step = (-(-n // num_devices) for n in (weights, gradients, states, step))
        weights += _gathered(shape, settings)
    elif num_devices > 1:
        gradients *= 2  # DDP sums in buckets of its own
    copies = 0 if is_sharded(settings, num_devices) else autocast_copies(shape, settings)
    tokens = rows_at_once(settings, num_devices) * settings.max_tokens
    return TrainingMemory(weights, gradients, states, copies + activation_bytes(shape, settings, tokens), step)


def rows_at_once(settings: SftSettings, num_devices: int = 1) -> int:
    """Rows of one forward pass of one device.

    Several devices share a batch. What accumulates is shared first, and then the rows.
    """
    passes = settings.gradient_accumulation
    share = max(1, -(-settings.batch_size * passes // num_devices))
    return min(settings.micro_batch or settings.batch_size, settings.batch_size, share)


def _gathered(shape: ModelShape, settings: SftSettings) -> int:
    """The layers that FSDP2 has whole for a moment, and the embedding and the head."""
    whole = GATHERED_LAYERS * shape.num_layer_parameters + shape.vocabulary * shape.hidden * (1 if shape.is_tied else 2)
    return whole * number_bytes(settings.dtype)


def _step_bytes(shape: ModelShape, settings: SftSettings, trained: int) -> int:
    """What a step needs for a moment: torch's AdamW one more number per weight.

    The others go through one tensor after another, in float32.
    """
    if settings.optimizer == "adamw":
        return trained * FLOAT32
    largest = max([shape.vocabulary * shape.hidden, *(i * o for i, o in shape.linear_layers)])
    return 3 * FLOAT32 * (largest if settings.lora is None else settings.lora.r * shape.intermediate)


# -- activations -----------------------------------------------------------------------------------


def has_autocast(settings: SftSettings) -> bool:
    """Whether float32 weights are computed with in bfloat16: all of them, or the adapter's."""
    return weight_bytes(settings) > number_bytes(settings.dtype)


def autocast_copies(shape: ModelShape, settings: SftSettings) -> int:
    """The copies of the linear layers' weights that autocast makes, and keeps for a pass."""
    if not has_autocast(settings):
        return 0
    linear = shape.num_layers * (shape.num_layer_parameters - 2 * shape.hidden)
    return BFLOAT16 * (linear if settings.lora is None else num_trained(shape, settings))


def activation_bytes(shape: ModelShape, settings: SftSettings, tokens: int) -> int:
    """Bytes of one pass over so many tokens, in the fuller of two moments.

    The first is the head's backward pass, when all is saved. The second is that of the last layer.
    """
    saved = shape.num_layers * saved_bytes_per_token(shape, settings)
    layer = layer_bytes_per_token(shape, settings) if settings.gradient_checkpointing else 0
    in_layer = layer + _backward_bytes_per_token(shape, settings)
    return tokens * saved + max(loss_bytes(shape, settings, tokens), tokens * in_layer)


def saved_bytes_per_token(shape: ModelShape, settings: SftSettings) -> int:
    """What one layer saves per token: with gradient checkpointing, its input alone."""
    if settings.gradient_checkpointing:
        return residual_bytes(settings) * shape.hidden
    return layer_bytes_per_token(shape, settings)


def residual_bytes(settings: SftSettings) -> int:
    """Bytes of a number between two layers: those of an embedding."""
    is_float32 = settings.lora is None and has_autocast(settings)
    return FLOAT32 if is_float32 else number_bytes(settings.dtype)


def layer_bytes_per_token(shape: ModelShape, settings: SftSettings) -> int:
    """What autograd saves of one decoder layer, per token."""
    norms = 2 * _norm_bytes(shape, settings)
    return norms + _attention_bytes(shape, settings) + _mlp_bytes(shape, settings) + _linear_bytes(shape, settings)


def _norm_bytes(shape: ModelShape, settings: SftSettings) -> int:
    """The input in float32 and one number; for the weight's own gradient, what it multiplies."""
    own = 0 if settings.lora is not None else residual_bytes(settings) * shape.hidden
    return FLOAT32 * (shape.hidden + 1) + own


def _attention_bytes(shape: ModelShape, settings: SftSettings) -> int:
    """Queries, keys, values and the output, and a float32 number per head."""
    per_head = 4 * shape.head_dim * number_bytes(settings.dtype) + FLOAT32
    return per_head * shape.num_heads


def _mlp_bytes(shape: ModelShape, settings: SftSettings) -> int:
    """Gate, activated gate, and what it is multiplied with. Without a gate there is one less."""
    return shape.num_mlp_matrices * shape.intermediate * number_bytes(settings.dtype)


def _linear_bytes(shape: ModelShape, settings: SftSettings) -> int:
    """The inputs of the linear layers, as each form of training keeps them."""
    number, inputs = number_bytes(settings.dtype), [i for i, _ in shape.linear_layers]
    # The output layer's input is attention's output, which is counted there.
    shared = number * (2 * shape.hidden + shape.intermediate)
    if settings.lora is None:  # under autocast each layer has a copy of its own
        return number * (sum(inputs) - inputs[3]) if has_autocast(settings) else shared
    between = number * len(inputs) * settings.lora.r
    # Dropout gives every A an input of its own, and keeps a mask of one byte.
    return between + ((number + 1) * sum(inputs) if settings.lora.dropout else shared)


def _backward_bytes_per_token(shape: ModelShape, settings: SftSettings) -> int:
    """What the backward pass through one MLP makes: two gradients of its widest values.

    With an adapter and without checkpointing, one takes the place of what was saved.
    """
    wide, number = shape.intermediate + shape.hidden, number_bytes(settings.dtype)
    return (2 if settings.lora is None or settings.gradient_checkpointing else 1) * number * wide


def loss_bytes(shape: ModelShape, settings: SftSettings, tokens: int) -> int:
    """What the head needs: the last norm, the hidden states' gradient, one tile of logits.

    All weights: the head's own gradient is summed in float32.
    """
    last = _norm_bytes(shape, settings) + (FLOAT32 + number_bytes(settings.dtype)) * shape.hidden
    tile = min(tokens, LOSS_ROWS) * LOSS_COLUMNS * number_bytes(settings.dtype)
    head = FLOAT32 * shape.vocabulary * shape.hidden if settings.lora is None else 0
    return tokens * last + tile + head


# -- what is written -------------------------------------------------------------------------------


def checkpoint_bytes(shape: ModelShape, settings: SftSettings, *, has_states: bool) -> int:
    """The files of one checkpoint: the weights that were trained, and perhaps AdamW's states."""
    trained = num_trained(shape, settings)
    return trained * weight_bytes(settings) + (8 * trained if has_states else 0)


def resume_bytes(shape: ModelShape, settings: SftSettings) -> int:
    """The files that a training resumes from. While they are replaced, there are two of them."""
    trained = num_trained(shape, settings)
    return 2 * int(trained * (weight_bytes(settings) + STATE_BYTES[settings.optimizer]))
