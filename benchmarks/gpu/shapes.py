"""Models of random weights in the sizes of real ones, made where they are used. Nothing is loaded.

In: a name. Out: a model on the device, and rows of random tokens.

    model = random_model("7b", torch.bfloat16)
    rows = random_examples("7b", num_rows=8, length=1024, num_prompt=16)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

from training.examples import Example, device
from training.model_config import attention
from training.model_shape import ModelShape, shape_of

SIZES: dict[str, dict[str, Any]] = {
    "1.5b": {
        "vocab_size": 151_936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "7b": {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
    "tiny": {
        "vocab_size": 4096,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
}
"""Qwen2.5-1.5B and Qwen2.5-7B as their config.json has them, and one for a CPU."""


def config_of(size: str) -> Qwen2Config:
    """The configuration, with the attention that the project chooses for it."""
    config = Qwen2Config(max_position_embeddings=32_768, **SIZES[size])
    config._attn_implementation = attention(config)
    return config


def model_shape(size: str) -> ModelShape:
    """The sizes that memory is predicted from."""
    found = shape_of(config_of(size).to_dict())
    assert found is not None, size
    return found


def random_model(size: str, dtype: torch.dtype, seed: int = 0) -> PreTrainedModel:
    """The model on the GPU, or on the CPU where there is none."""
    torch.manual_seed(seed)
    config = config_of(size)
    with device():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=config._attn_implementation)
    assert isinstance(model, PreTrainedModel), type(model)
    return model


def random_examples(size: str, num_rows: int, length: int, num_prompt: int, seed: int = 1) -> list[Example]:
    """Rows of one length. The loss is on all but the first `num_prompt` tokens."""
    random = np.random.default_rng(seed)
    ids = random.integers(10, SIZES[size]["vocab_size"], (num_rows, length)).tolist()
    return [Example(row[:num_prompt], row[num_prompt:]) for row in ids]
