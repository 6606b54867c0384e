"""Which weights a row of `checkpoints` stands for.

In: a store and a role. Out: checkpoint rows, and the arguments under which an engine or a training function loads them.
"""

from __future__ import annotations

from typing import Any

import queries
from store import Store
from store.catalog import connect


def checkpoints(store: Store, role: str, iteration: int | None, last: int) -> list[dict[str, Any]]:
    """The last checkpoints of a run, in the order of their steps; too few are a ValueError."""
    found = queries.rows(connect(store), "checkpoints_of", {"role": role, "iteration": iteration})
    if len(found) < last:
        raise ValueError(f"{role} of iteration {iteration} has {len(found)} checkpoints, {last} are needed")
    return found[-last:]


def weights(store: Store, checkpoint: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """(model, adapter or None, revision or None) of a checkpoint, as absolute paths where they are local."""
    location = checkpoint["location"] and f"{store.root}/{checkpoint['location']}"
    if checkpoint["is_adapter"]:
        return checkpoint["base_model"], location, checkpoint["base_revision"]
    return location or checkpoint["base_model"], None, None if location else checkpoint["base_revision"]


def engine_weights(store: Store, used: list[dict[str, Any]]) -> tuple[str, dict[str, str], str | None]:
    """(model, {checkpoint_id: adapter}, revision) for one engine that serves several checkpoints of one base."""
    model, _, revision = weights(store, used[0])
    if len(used) > 1 and not all(c["is_adapter"] for c in used):
        raise ValueError(
            f"{len(used)} full-weight checkpoints cannot share one engine; train LoRA adapters "
            "(synthesizer.training.lora), or set sampling.checkpoints to 1"
        )
    adapters = {c["checkpoint_id"]: a for c in used for _, a, _ in [weights(store, c)] if a}
    return model, adapters, revision


def adapter_name(checkpoint: dict[str, Any]) -> str | None:
    """The name under which `engine_weights` serves a checkpoint; None for the model itself."""
    return checkpoint["checkpoint_id"] if checkpoint["is_adapter"] else None
