"""A model that is shared out is loaded once, and no process has it whole where its GPU would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from tests.tiny_models import tiny_qwen
from training import pretrained
from training.sharded_loading import is_by_parts

ROOT = Path(__file__).parents[2]


def larger(folder: Path) -> tuple[str, int, int]:
    """A model in bfloat16, its bytes in float32, and those of its largest weight."""
    base = tiny_qwen(folder)
    config = Qwen2Config.from_pretrained(base)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 512, 1536, 6
    config.num_attention_heads = config.num_key_value_heads = 8
    config.layer_types, config.head_dim = None, 64
    model = AutoModelForCausalLM.from_config(Qwen2Config(**{**config.to_dict(), "layer_types": None}))
    model.to(torch.bfloat16).save_pretrained(base)
    sizes = [weight.numel() * 4 for weight in model.parameters()]
    return base, sum(sizes), max(sizes)


@pytest.mark.drill
def test_the_host_holds_a_model_once_and_a_device_its_part_and_one_weight(tmp_path: Path) -> None:
    base, whole, largest = larger(tmp_path / "base")
    command = [sys.executable, "-m", "tests.loading_worker", base, str(tmp_path / "meeting")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    errors = [child.communicate(timeout=300)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["loaded"] > 0.8 * whole, "it has the weights, and in float32: a file could not give them back"
    assert second["loaded"] < 0.2 * whole
    for found in (first, second):
        assert found["part"] == pytest.approx(whole / 2, rel=0.01)
        # A tied embedding is sent twice, and one weight is whole for a moment, beside its part.
        assert found["peak"] < found["part"] + 3 * largest < 0.9 * whole


def test_a_model_that_saves_more_than_weights_is_loaded_by_all() -> None:
    model = pretrained.read_shape("recipes/tiny-base", torch.float32)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    assert is_by_parts(model)
    model.register_buffer("scale", torch.ones(2))
    assert not is_by_parts(model)
