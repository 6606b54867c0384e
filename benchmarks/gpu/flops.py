"""How many operations a token of a training needs, and how many a GPU can do.

In: the shape of a model, the settings of a training, the length of the rows. Out: floating point
operations, a multiplication and an addition each counted as one.

    all weights    6 N + 6 l L h
    an adapter     4 N + 6 n + 6 l L h

N weights of the linear layers and the head (the embedding is looked up, not multiplied), n of the
adapter, l layers, L length, h the width of all heads of queries. A weight needs 2 operations in the
forward pass and 4 in the backward pass: 2 for the gradient of its input, 2 for its own. The frozen
weights beside an adapter need no gradient of their own. Attention multiplies each query with half
of the keys and of the values (it is causal): 2 L h in the forward pass, twice that in the backward
pass. What gradient checkpointing computes again is not counted, so its price is seen.

MFU (model FLOPs utilisation, Chowdhery et al. 2022, PaLM, appendix B) is the rate of these
operations divided by what the GPU's maker promises for dense bfloat16.
"""

from __future__ import annotations

from training.model_shape import ModelShape
from training.settings import SftSettings

PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "A10G": 70.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}
"""Dense bfloat16 with float32 sums, of the makers' data sheets. The first name that fits counts."""


def peak_tflops(gpu: str) -> float | None:
    """What a GPU of this name can do. None if it is not known."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in gpu), None)


def flops_per_token(shape: ModelShape, settings: SftSettings, length: int) -> float:
    """Operations of one token of a row of this length."""
    weights = shape.num_layers * sum(i * o for i, o in shape.linear_layers) + shape.vocabulary * shape.hidden
    attention = 6.0 * shape.num_layers * length * shape.num_heads * shape.head_dim
    if settings.lora is None:
        return 6.0 * weights + attention
    return 4.0 * weights + 6.0 * shape.num_lora_parameters(settings.lora.r) + attention
