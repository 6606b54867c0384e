"""A training whose memory did not suffice, made smaller. The weights that come out are the same.

In: the settings, and the number of processes. Out: the settings with half the rows of a forward
pass; with one row, with gradient checkpointing; None when nothing is left to try.

    settings = smaller(settings, processes=1)
    in_words(settings, 1)    # "micro_batch 2"
"""

from __future__ import annotations

from training.layout import layout
from training.settings import SftSettings


def smaller(settings: SftSettings, processes: int) -> SftSettings | None:
    """The settings of the next attempt, or None if there are none smaller."""
    rows = layout(settings, processes).rows
    if rows > 1:
        return settings.model_copy(update={"micro_batch": rows // 2})
    if not settings.gradient_checkpointing:
        return settings.model_copy(update={"gradient_checkpointing": True})
    return None


def too_large(settings: SftSettings, told: str) -> str:
    """What is said when nothing is left to try. `told` is how the last attempt ended."""
    more, other = "train on a GPU with more memory", "a smaller lora.r"
    if settings.lora is None:
        more += ", or on more GPUs (sharding: fsdp2)"
        other = "lora instead of all weights, optimizer: adamw_8bit_sr"
    return (
        f"the memory does not suffice for one row per forward pass with gradient checkpointing ({told}): {more}. Another "
        f"training would need less: with {other}, or a smaller max_tokens"
    )


def in_words(settings: SftSettings, processes: int) -> str:
    """What a training goes on with: `micro_batch 1 and gradient_checkpointing`."""
    rows = layout(settings, processes).rows
    return f"micro_batch {rows}" + (" and gradient_checkpointing" if settings.gradient_checkpointing else "")
