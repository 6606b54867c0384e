"""The generation seam: a stream of requests in, a stream of completions out, over three engines.

    with open_engine(settings, model, adapters={"step-100": "checkpoints/step-100"}) as engine:
        for completion in engine.generate(requests):
            ...

`answers` asks an engine for the answers of a plan without paying twice, `checkpoints` opens an
engine over rows of the table of that name, `forms` says whether a model can be asked in a chat,
`needed` whether the engines of a run can be opened, `prompts` are the texts that models read, and
`thinking` is what reasoning models write before they answer.
"""

from builders.engines.any_engine import AnyEngine
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.opening import open_engine, require_weights
from builders.engines.settings import EngineSettings, TransformersSettings, VllmSettings, engine_settings
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, FinishReason, Form, Request

__all__ = [
    "AnyEngine",
    "ChoiceCompletion",
    "ChoiceRequest",
    "Completion",
    "Engine",
    "EngineSettings",
    "FinishReason",
    "Form",
    "OpenAISettings",
    "Request",
    "TransformersSettings",
    "VllmSettings",
    "answers",
    "any_engine",
    "checkpoints",
    "endpoint_settings",
    "engine_settings",
    "forms",
    "needed",
    "open_engine",
    "prompts",
    "require_weights",
    "settings",
    "thinking",
]
