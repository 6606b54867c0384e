"""Opening the engine that a block of settings names.

with open_engine(settings, model, adapters={"step-100": "checkpoints/step-100"}) as engine:
    for completion in engine.generate(requests):
        ...
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from builders.engines.settings import INSTALL_VLLM, EngineSettings, LocalSettings, TransformersSettings, VllmSettings
from builders.engines.types import Engine
from store.errors import InputError, MissingLibraryError
from training import hub

if TYPE_CHECKING:
    from builders.engines.budget import Spent
    from builders.executors.gpu_tasks import Cluster
    from training.chat_templates import Arguments


def open_engine(
    settings: EngineSettings,
    model: str,
    adapters: Mapping[str, str] | None = None,
    revision: str | None = None,
    *,
    template_arguments: Arguments | None = None,
    spent: Spent | None = None,
    state: Path | None = None,
    cluster: Cluster | None = None,
) -> Engine:
    """The engine that `settings.engine` names, with `model` loaded or reachable.

    `adapters` maps a name to the folder of a LoRA adapter. For the openai engine it maps to the
    model name under which the endpoint serves the adapter. `template_arguments` are those of the
    model's chat template. Only the openai engine uses `spent`, what was spent of its budget before,
    and `state`, the file in which it keeps the batches that it submitted. With a `cluster`, a local
    engine runs on its nodes.

        with open_engine(TransformersSettings(), "recipes/tiny-base") as engine:
            print(next(engine.generate([Request("1", prompt="def add(a, b):")])).text)
    """
    # Each engine pulls in torch, vllm or aiohttp: they are loaded only when they are used.
    if isinstance(settings, TransformersSettings | VllmSettings):
        return _open_local(settings, model, dict(adapters or {}), revision, template_arguments, cluster)
    from builders.engines.budget import Spent

    if revision is not None:
        raise InputError(
            f"revision {revision!r} is set, but an endpoint decides itself which commit it serves: leave it out for "
            "engine 'openai'"
        )
    if settings.batch:
        from builders.engines.batch_api import BatchEngine

        return BatchEngine(settings, model, adapters or {}, spent or Spent(), state, template_arguments)
    from builders.engines.openai import OpenAIEngine

    return OpenAIEngine(settings, model, adapters or {}, spent or Spent(), template_arguments)


def _open_local(
    settings: LocalSettings,
    model: str,
    adapters: dict[str, str],
    revision: str | None,
    template_arguments: Arguments | None,
    cluster: Cluster | None,
) -> Engine:
    """An engine whose model is on this machine.

    vLLM and everything that uses a GPU runs in processes of its own. So this process never holds a
    GPU, and all memory is given back when the engine is closed. With a cluster, they run on its
    nodes.
    """
    from builders.engines.local import open_local
    from builders.engines.messages import Job
    from builders.engines.places import Place, on_nodes, places
    from builders.engines.pooled import PooledEngine

    if cluster is None and isinstance(settings, VllmSettings) and importlib.util.find_spec("vllm") is None:
        raise MissingLibraryError(f"engine 'vllm' needs vLLM, which is not installed: {INSTALL_VLLM}")
    require_weights(model, adapters, revision)
    job = Job(settings, model, adapters, revision, template_arguments)
    if cluster is not None:
        from builders.engines.replica_tasks import OnNodes

        return PooledEngine(job, on_nodes(settings, cluster.gpu), ground=OnNodes(cluster))
    found = places(settings)
    if isinstance(settings, TransformersSettings) and found == [Place()]:
        return open_local(settings, model, adapters, revision, template_arguments)
    compiles = isinstance(settings, VllmSettings) and not settings.enforce_eager
    return PooledEngine(job, found, starts_alone=compiles)


def require_weights(model: str, adapters: Mapping[str, str], revision: str | None) -> None:
    """TrainingError if a model or an adapter is no folder, and cannot be had from the Hub."""
    hub.require("model", model, revision)
    for folder in adapters.values():
        hub.require("adapter", folder)
