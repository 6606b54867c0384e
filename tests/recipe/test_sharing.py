"""vLLM shares a model among so many GPUs as divide it, and the refusal names these numbers."""

from __future__ import annotations

import math

import pytest

import scoder
from builders.recipe import files, sharing
from builders.recipe.model_shapes import model_shape
from store import Store
from store.errors import SettingError
from training.model_shape import ModelShape

SEVEN, CODER = "Qwen/Qwen2.5-Coder-7B-Instruct", "deepseek-ai/deepseek-coder-6.7b-base"


@pytest.mark.parametrize(
    ("model", "fitting"),
    [
        (SEVEN, [1, 2, 4]),  # 28 heads, 4 of keys, 18,944 = 2^9 x 37, 152,064 = 2^9 x 27 x 11
        ("Qwen/Qwen2.5-Coder-0.5B", [1, 2]),  # 14 heads, 2 of keys: 7 and 14 do not divide 4,864
        ("meta-llama/Llama-3.1-8B", [1, 2, 4, 8, 16, 32]),  # 32 heads, 8 of keys: each twice on 16
        (CODER, [1, 2, 4, 8, 16, 32]),
    ],
)
def test_numbers_of_gpus_that_share_a_model(model: str, fitting: list[int]) -> None:
    shape = model_shape(model)
    assert shape is not None
    assert [n for n in range(1, 33) if sharing.can_share(shape, n)] == fitting
    assert all(math.gcd(shape.num_heads, n) == n for n in fitting)


@pytest.mark.parametrize("number", [3, 7, 8])
def test_a_refusal_is_one_of_its_own_and_offers_what_the_node_has(number: int) -> None:
    made = files.load("qwen2.5-coder-7b", [f"synthesizer.engine.tensor_parallel={number}"])
    with pytest.raises(SettingError, match=f"synthesizer.engine.tensor_parallel is {number}") as raised:
        sharing.check(made, scoder.stages(made), most=8)
    said = str(raised.value)
    assert said.endswith("set it to one of 1, 2, 4") and "fit" not in said and "machine.check" not in said
    sharing.check(made, ["pool"], most=8)
    sharing.check(files.load("qwen2.5-coder-7b", ["synthesizer.engine.tensor_parallel=4"]), scoder.stages(made))


def test_a_run_is_refused_with_as_many_as_there_are_gpus(tmp_path) -> None:
    made = files.load("qwen2.5-coder-7b", ["synthesizer.engine.tensor_parallel=3"])
    said = [str(error) for error in scoder.refusals(Store(tmp_path), made, None, [80.0] * 2)]
    assert any(line.endswith("set it to one of 1, 2") for line in said)


def test_key_value_heads_are_divided_or_doubled() -> None:
    """4 of them: two groups of 3 GPUs would share none evenly, and 8 GPUs have each one twice."""
    shape = ModelShape(2048, 6144, 4, 24, 4, 64, 384, False)
    assert [n for n in range(1, 13) if sharing.can_share(shape, n)] == [1, 2, 4, 8, 12]
