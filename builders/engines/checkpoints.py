"""Which weights a row of the table `checkpoints` stands for, and an engine opened over them.

In: a store and a role. Out: checkpoint rows, and the arguments with which an engine or a training
function loads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import queries
from builders.engines.budget import Spent
from builders.engines.in_turn import EnginesInTurn
from builders.engines.opening import open_engine
from builders.engines.settings import EngineSettings
from builders.engines.types import Engine
from store import Store
from store.catalog import connect
from store.errors import InputError

if TYPE_CHECKING:
    from builders.executors.gpu_tasks import Cluster
    from training.chat_templates import Arguments


def last_checkpoints(store: Store, role: str, iteration: int | None, num: int) -> list[dict[str, Any]]:
    """The last checkpoints of a training, in the order of their steps. InputError for too few."""
    given = checkpoint_input(store, role, iteration)
    found = queries.rows(connect(store, given), "checkpoints_of", {"role": role, "iteration": iteration})
    if len(found) < num:
        raise InputError(
            f"the {role} of iteration {iteration} has {len(found)} checkpoints, but {num} are needed: lower "
            "sampling.checkpoints, or train again with more num_checkpoints"
        )
    return found[-num:]


def last_checkpoint(store: Store, role: str, iteration: int | None = None) -> dict[str, Any]:
    """The last checkpoint of a training."""
    return last_checkpoints(store, role, iteration, 1)[0]


def checkpoint_input(store: Store, role: str, iteration: int | None = None) -> dict[str, str]:
    """The checkpoints of a training as an input of a plan.

    Whatever a model wrote, scored or measured names the model so. Then it is stale as soon as the
    model is trained again and comes out otherwise.
    """
    return store.input("checkpoints", role=role, **({} if iteration is None else {"iteration": iteration}))


def input_of(store: Store, checkpoint: dict[str, Any]) -> dict[str, str]:
    """The same for a row of `checkpoints`."""
    return checkpoint_input(store, checkpoint["role"], checkpoint["iteration"])


def weights(store: Store, checkpoint: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """(model, adapter or None, revision or None) of a checkpoint. Local paths are absolute."""
    location = checkpoint["location"] and f"{store.root}/{checkpoint['location']}"
    if checkpoint["is_adapter"]:
        return checkpoint["base_model"], location, checkpoint["base_revision"]
    return location or checkpoint["base_model"], None, None if location else checkpoint["base_revision"]


def share_an_engine(settings: EngineSettings, used: Sequence[dict[str, Any]]) -> bool:
    """Whether one engine answers for several checkpoints at once.

    It does for adapters of one base, and for whatever an endpoint serves.
    """
    return settings.is_endpoint or all(c["is_adapter"] for c in used)


def open_checkpoints(
    store: Store,
    settings: EngineSettings,
    used: Sequence[dict[str, Any]],
    *,
    template_arguments: Arguments | None = None,
    spent: Spent | None = None,
    state: Path | None = None,
    cluster: Cluster | None = None,
) -> Engine:
    """An engine whose requests name their checkpoint, by its id, as `adapter`.

    Full weights are loaded when they are asked for, one after the other.
    """
    opened = partial(open_engine, template_arguments=template_arguments, spent=spent, state=state, cluster=cluster)
    found = {c["checkpoint_id"]: weights(store, c) for c in used}
    if share_an_engine(settings, used):
        model, _, revision = found[used[0]["checkpoint_id"]]
        served = {name: adapter or full for name, (full, adapter, _) in found.items()}
        # whoever started an endpoint decided which commit it serves
        revision = None if settings.is_endpoint else revision
        return opened(settings, model, served, revision)

    def open_one(name: str | None) -> Engine:
        model, adapter, revision = found[str(name)]
        assert adapter is None, f"{name} is an adapter among full weights: a training run saves one or the other"
        return opened(settings, model, {}, revision)

    return EnginesInTurn(open_one)
