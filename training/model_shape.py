"""The sizes of a causal language model that its memory follows from.

In: the `config.json` of a model. Out: a `ModelShape`, or None for an architecture whose sizes we do
not know, such as one with experts. No weights and no heavy library are needed.

    shape = read_shape("recipes/tiny-base")
    shape.num_parameters
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAIN = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "starcoder2", "phi3", "smollm3", "olmo2")
"""Model types whose layers are attention (q, k, v, o) and an MLP, without experts."""
WITHOUT_GATE = ("starcoder2",)
"""Those of them whose MLP has two matrices instead of three."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder: `num_layers` equal layers between an embedding and a head."""

    hidden: int
    intermediate: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocabulary: int
    is_tied: bool
    num_mlp_matrices: int = 3
    positions: int | None = None
    """Tokens that the model has places for; None where it is not said."""

    @property
    def linear_layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the linear layers of a decoder layer: q, k, v, o, the MLP's."""
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        attention = ((self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden))
        up = ((self.hidden, self.intermediate),) * (self.num_mlp_matrices - 1)
        return (*attention, *up, (self.intermediate, self.hidden))

    @property
    def num_layer_parameters(self) -> int:
        """Weights of one decoder layer. Biases are left out: they are a thousandth of it."""
        return sum(i * o for i, o in self.linear_layers) + 2 * self.hidden

    @property
    def num_parameters(self) -> int:
        """Weights of the whole model."""
        embedding = self.vocabulary * self.hidden
        return self.num_layers * self.num_layer_parameters + embedding * (1 if self.is_tied else 2) + self.hidden

    def num_lora_parameters(self, rank: int) -> int:
        """Weights of an adapter of this rank on all linear layers but the head."""
        return self.num_layers * sum(rank * (i + o) for i, o in self.linear_layers)


def shape_of(config: Mapping[str, Any]) -> ModelShape | None:
    """The shape that a `config.json` describes, or None where it is not of a plain architecture."""
    config = {**config, **(config.get("text_config") or {})}
    kind = str(config.get("model_type", "")).removesuffix("_text")
    try:
        heads = int(config["num_attention_heads"])
        return (
            ModelShape(
                hidden=int(config["hidden_size"]),
                intermediate=int(config["intermediate_size"]),
                num_layers=int(config["num_hidden_layers"]),
                num_heads=heads,
                num_kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or config["hidden_size"] // heads),
                vocabulary=int(config["vocab_size"]),
                is_tied=bool(config.get("tie_word_embeddings", kind.startswith("gemma"))),
                num_mlp_matrices=2 if kind in WITHOUT_GATE else 3,
                positions=_positions(config),
            )
            if kind in PLAIN
            else None
        )
    except (KeyError, TypeError, ValueError):
        return None


def _positions(config: Mapping[str, Any]) -> int | None:
    """Tokens that the model has places for. YaRN stretches those that it was trained with."""
    places = config.get("max_position_embeddings")
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if rope.get("rope_type", rope.get("type")) == "yarn" and "factor" in rope:
        own = rope.get("original_max_position_embeddings") or places or 0
        return max(int(places or 0), int(own * rope["factor"])) or None
    return int(places) if places else None


def read_shape(folder: str) -> ModelShape | None:
    """The shape of a local model folder. None if its `config.json` is not there or not known.

    What is no JSON object has no sizes either; whoever loads the model says what is wrong with it.
    """
    path = Path(folder, "config.json")
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_of(config) if isinstance(config, dict) else None
