"""The fullest batch of gradients, against the batches that the gradients really make."""

from __future__ import annotations

import random

import pytest

from builders.recipe import files, planned
from builders.recipe.batches import fullest, longest_kept
from builders.recipe.machine import Machine
from builders.recipe.needs import gpus_of, need_of
from builders.recipe.work import Gradients
from training.gradient_batches import Bound
from training.gradient_memory import GradientMemory
from training.model_shape import read_shape
from training.settings import GradientSettings, LoraSettings

SHAPE = read_shape(str(files.SHIPPED / "tiny-base"))
assert SHAPE is not None
MEMORY = GradientMemory(SHAPE, 16, "float32")


def batch_bytes(settings: GradientSettings, room: float, lengths: list[int]) -> float:
    """The bytes of the first batch that gradients make of these rows."""
    count, is_recomputed = Bound.of(settings, MEMORY, room).first(sorted(lengths))
    return MEMORY.peak(count, sorted(lengths)[count - 1], is_recomputed)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 1.5, 9.0])
@pytest.mark.parametrize("bounds", [(8, 16_384), (8, 300), (1, 16_384), (16, 900)])
def test_the_fullest_batch_is_that_of_the_worst_length(share: float, bounds: tuple[int, int]) -> None:
    rows, tokens = bounds
    settings = GradientSettings(max_tokens=400, batch_size=rows, batch_tokens=tokens)
    room = share * MEMORY.peak(1, 400)
    worst = max(batch_bytes(settings, room, [length] * rows) for length in range(1, 401))
    assert fullest(MEMORY, settings, room) == pytest.approx(worst, rel=0.01)
    mixed = random.Random(7)
    for _ in range(100):
        drawn = [mixed.randint(1, 400) for _ in range(rows)]
        assert batch_bytes(settings, room, drawn) <= fullest(MEMORY, settings, room)


def test_rows_that_have_no_room_are_not_kept() -> None:
    settings = GradientSettings(max_tokens=400)
    kept = longest_kept(MEMORY, settings, MEMORY.peak(1, 123))
    assert kept == 123 and longest_kept(MEMORY, settings, 0) == 0


@pytest.mark.parametrize("name", ["qwen2.5-coder-7b", "qwen2.5-coder-14b", "llama-3.1-8b"])
def test_a_smaller_gpu_is_never_said_to_hold_a_much_smaller_batch(name: str) -> None:
    """The batch fills four fifths of what is free, until a single row is more."""
    made, before = files.load(name), 0.0
    for gb in range(30, 140, 2):
        row = next(r for r in planned.rows(made, [float(gb)]) if r["field"] == "influence.gradients")
        free = gb - row["weights_gb"] - row["states_gb"] - 1.5
        batch = row["activations_gb"] - 1.5
        row_alone = row["least_gb"] - row["weights_gb"] - row["states_gb"] - 1.5
        assert batch >= before - 0.01, gb
        assert batch <= max(0.8 * free, row_alone) + 0.01, gb
        if gb <= 80:
            assert batch == pytest.approx(max(0.8 * free, row_alone), rel=0.03), gb
        before = batch


def work(**settings: object) -> Gradients:
    made = GradientSettings.model_validate({"max_tokens": 4096, "batch_size": 8, "optimizer_map": "adam"} | settings)
    lora = LoraSettings(r=64)
    return Gradients("influence.gradients", "Qwen/Qwen2.5-Coder-7B", None, made, lora, "bfloat16", 1, 900)


def test_a_bound_that_is_larger_than_the_gpu_is_close_and_one_that_follows_it_fits() -> None:
    gpus = gpus_of(Machine(gpus=1, gpu_memory_gb=60.0), [])
    follows, named = need_of(work(), gpus), need_of(work(memory_gb=70.0), gpus)
    assert follows.fits(gpus) is True and not follows.is_tight(gpus)
    assert named.fits(gpus) is True and named.is_tight(gpus), "it would run out, and then be halved"
    bound = need_of(work(memory_gb=20.0), gpus).total
    assert bound == pytest.approx((15.9 + 2.1 + 1.5 + 20) * 1e9, rel=0.02)
