"""How many bytes the gradients of a batch take, by arithmetic over the sizes of the model.

In: the shape of a model, the rank of its adapter and its number format. Out: bytes, beside those of
the weights. No weights and no heavy library are needed.

    memory = GradientMemory(read_shape("Qwen2.5-Coder-7B"), rank=64, dtype="bfloat16")
    memory.held_per_token()        # 4.9 million bytes of a token, from forward to backward pass
    memory.peak(rows=8, length=900)

What is held: autograd keeps what each operation needs for its own gradient, and the hooks keep one
input per group of matrices that share it. All weights are frozen, so autograd keeps no input of a
linear layer. `benchmarks/influence/memory.py` counts the bytes of real layers; they are equal to
these up to 2%.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.model_shape import ModelShape

POSITIONS_AT_ONCE = 1024
"""Positions whose logits exist at once. With a vocabulary of 152k, they are 0.6 GB of float32."""

FLOAT = 4
"""Bytes of a float32: PEFT keeps adapters in it, and the norms compute in it."""

COPIES = 6
"""Copies of a sample's gradient of one matrix: itself, Adam's map of it, and the sketch's parts."""


@dataclass(frozen=True)
class GradientMemory:
    """The bytes of one model's gradients. `dtype` is the format of the frozen weights.

    With eager attention the probabilities of all pairs of tokens are kept as well.
    """

    shape: ModelShape
    rank: int
    dtype: Literal["float32", "bfloat16", "float16"]
    is_eager: bool = False

    @property
    def _width(self) -> int:
        return 4 if self.dtype == "float32" else 2

    def held_per_token(self, length: int = 0, is_recomputed: bool = False) -> float:
        """Bytes of one token that are alive between the forward and the backward pass.

        `length` is that of the padded rows, and counts for eager attention only. If activations
        are recomputed, only the input of each layer is held.
        """
        hidden = self._width * self.shape.hidden
        # What the head is given: the completion, say half of the tokens.
        supervised = hidden / 2
        if is_recomputed:
            return self.shape.num_layers * hidden + FLOAT * self.shape.hidden + supervised
        # The last norm's float32 copy stands for that of the first one, which needs no gradient.
        return self.shape.num_layers * self._layer(length) + supervised

    def _layer(self, length: int) -> float:
        shape, width = self.shape, self._width
        queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
        norms = 2 * FLOAT * shape.hidden
        # one tensor for q, k and v, one for gate and up; o's is the attention's output
        inputs = 2 * width * shape.hidden + FLOAT * self.rank * len(shape.linear_layers)
        attention = width * (2 * queries + 2 * keys) + FLOAT * shape.num_heads
        if self.is_eager:
            attention = width * 4 * queries + shape.num_heads * length * (FLOAT + 2 * width)
        # with a gate: gate, its activation, and up, whose product down's input is; else two
        mlp = width * shape.num_mlp_matrices * shape.intermediate
        return norms + inputs + attention + mlp

    def peak(self, rows: int, length: int, is_recomputed: bool = False) -> float:
        """The most bytes at one time, in a batch of `rows` rows that are padded to `length`."""
        tokens, shape = rows * length, self.shape
        working = tokens * self._working_per_token() + rows * self._gradient()
        if is_recomputed:
            working += tokens * self._layer(length)
        # logits, their logarithms, and the gradients of both
        head = min(tokens, POSITIONS_AT_ONCE) * shape.vocabulary * 4 * FLOAT
        return tokens * self.held_per_token(length, is_recomputed) + max(working, head)

    def _working_per_token(self) -> float:
        """Bytes of a token in the backward pass of the widest matrix, which has an adapter."""
        widest = max(outputs for _, outputs in self.shape.linear_layers)
        return (FLOAT + 2 * self._width) * widest + 6 * self.shape.hidden

    def _gradient(self) -> float:
        """Bytes of a row while the gradient of the widest matrix is sketched."""
        return COPIES * FLOAT * self.rank * max(max(sizes) for sizes in self.shape.linear_layers)

    def tables(self) -> float:
        """Bytes that stay after the first batch: the places where the sketch adds each number."""
        return 5.0 * self.shape.num_lora_parameters(self.rank)
