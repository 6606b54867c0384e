"""Refuse, before any work, a number of GPUs that vLLM cannot share a model among.

In: a recipe, and the stages of a run. Out: nothing, or a SettingError that names the numbers that
work. vLLM says the same when it starts, after much else is paid.

    check(recipe, ["bootstrap"], most=8)    # synthesizer.engine.tensor_parallel is 3, but …
"""

from __future__ import annotations

from collections.abc import Iterable

from builders.engines.settings import VllmSettings
from builders.recipe import Recipe, estimate
from builders.recipe.model_shapes import model_shape
from builders.recipe.work import Asking
from store.errors import SettingError
from training.model_shape import ModelShape

PADDING = 64
"""vLLM pads a vocabulary to a multiple of it (DEFAULT_VOCAB_PADDING_SIZE)."""


def check(recipe: Recipe, stages: Iterable[str], most: int = 8) -> None:
    """SettingError for each `tensor_parallel` that does not divide its model.

    Numbers up to `most` GPUs are offered.
    """
    wanted, said = set(stages), dict[str, str]()
    for step in estimate.plan(recipe):
        work = step.work
        if step.stage not in wanted or not isinstance(work, Asking) or not isinstance(work.engine, VllmSettings):
            continue
        shape, field = model_shape(work.model, work.revision), f"{work.field}.tensor_parallel"
        if shape is not None and not can_share(shape, work.engine.tensor_parallel):
            said[field] = _refusal(field, work.engine.tensor_parallel, work.model, shape, most)
    if said:
        raise SettingError("\n".join(said.values()))


def can_share(shape: ModelShape, number: int) -> bool:
    """Whether vLLM shares a model of this shape among so many GPUs.

    Each has as many attention heads, columns of the MLP and rows of the padded vocabulary. With
    fewer key-value heads than GPUs, as many GPUs have each of them.
    """
    keys, vocabulary = shape.num_kv_heads, -(-shape.vocabulary // PADDING) * PADDING
    is_even = not any(size % number for size in (shape.num_heads, shape.intermediate, vocabulary))
    return is_even and (keys % number == 0 or number % keys == 0)


def _refusal(field: str, number: int, model: str, shape: ModelShape, most: int) -> str:
    fitting = ", ".join(str(n) for n in range(1, max(1, most) + 1) if can_share(shape, n))
    return (
        f"{field} is {number}, but vLLM cannot share {model} among {number} GPUs evenly ({shape.num_heads} attention heads, "
        f"{shape.num_kv_heads} key-value heads, {shape.intermediate:,} columns of the MLP, a vocabulary of "
        f"{shape.vocabulary:,}): set it to one of {fitting}"
    )
