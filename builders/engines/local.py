"""A local engine, opened in this process: what a replica does, and a small run without a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from builders.engines.settings import LocalSettings, TransformersSettings
from builders.engines.types import Engine

if TYPE_CHECKING:
    from training.chat_templates import Arguments


def open_local(
    settings: LocalSettings,
    model: str,
    adapters: Mapping[str, str],
    revision: str | None,
    template_arguments: Arguments | None,
) -> Engine:
    """The engine that `settings.engine` names, with `model` loaded."""
    # torch and vLLM are loaded only when they are used.
    if isinstance(settings, TransformersSettings):
        from builders.engines.transformers import TransformersEngine

        return TransformersEngine(settings, model, adapters, revision, template_arguments)
    from builders.engines.vllm import VllmEngine

    return VllmEngine(settings, model, adapters, revision, template_arguments)
