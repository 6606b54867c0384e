"""What all sections of a recipe share: they are frozen, and an unknown key is an error."""

from __future__ import annotations

import math
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator

from builders.engines import prompts
from builders.engines.any_engine import AnyEngine
from builders.engines.endpoint_settings import OpenAISettings
from store import ASPECTS, CODE_ASPECTS
from store.errors import SettingError


class Settings(BaseModel):
    """A section of a recipe. It cannot be changed once it is made, and it refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _is_a_number(cls, value: Any) -> Any:
        """NaN is no number: whatever is compared with it, the answer is no."""
        numbers = [v for v in (value.values() if isinstance(value, dict) else [value]) if isinstance(v, float)]
        if any(math.isnan(number) for number in numbers):
            raise ValueError("must be a number, not NaN")
        if any(math.isinf(number) for number in numbers):
            raise ValueError("must be a finite number")
        return value


def named(model: str | None, field: str) -> str:
    """The model that a section names. SettingError, which names the field, if it names none."""
    if model is None:
        raise SettingError(f"{field} is not set, and this needs it: set it to a model folder or a Hub id")
    return model


def check_aspects(weights: dict[str, float], where: str) -> None:
    """ValueError for weights of unknown aspects, and for weights that cannot sum to 1."""
    unknown = [a for a in weights if a not in ASPECTS + CODE_ASPECTS]
    if unknown:
        raise ValueError(f"{where}: unknown aspects {unknown}; there are {', '.join(ASPECTS + CODE_ASPECTS)}")
    if weights and (min(weights.values()) < 0 or not 0 < sum(weights.values()) < math.inf):
        raise ValueError(f"{where}: no weight may be below 0, and one must be above 0; got {weights}")


def check_arguments(engine: Any, arguments: dict[str, Any], where: str) -> None:
    """ValueError for arguments of a chat template that nobody would read.

    OpenAI's own service has no such thing. A server of one's own takes them.
    """
    if arguments and isinstance(engine, OpenAISettings) and engine.base_url is None:
        raise ValueError(
            f"{where}: https://api.openai.com/v1 takes no arguments of a chat template ({', '.join(arguments)}): leave "
            "them out, or set base_url to the server that renders the template"
        )


def check_sampling(engine: Any, sampling: Any, where: str) -> None:
    """ValueError for a sampling parameter of null where no endpoint has one of its own."""
    is_local = isinstance(engine, AnyEngine) and not engine.is_endpoint
    left_out = [name for name in ("temperature", "top_p") if getattr(sampling, name, 0) is None]
    if is_local and left_out:
        raise ValueError(f"{where}{left_out[0]} is null, which leaves it to an endpoint: set it here")


def filled_as(default: str) -> AfterValidator:
    """A check that a prompt template has the same slots as the default template of its field."""

    def check(name: str) -> str:
        if prompts.slots(name) != prompts.slots(default):
            wanted, has = sorted(prompts.slots(default)), sorted(prompts.slots(name))
            raise ValueError(f"prompt {name!r} has slots {has}; here it needs those of {default!r}: {wanted}")
        return name

    return AfterValidator(check)
