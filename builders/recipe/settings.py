"""What all sections of a recipe share: they are frozen, and an unknown key is an error."""

from __future__ import annotations

from pydantic import AfterValidator, BaseModel, ConfigDict

from builders.engines import prompts
from store import ASPECTS, CODE_ASPECTS


class Settings(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_aspects(weights: dict[str, float], where: str) -> None:
    unknown = [a for a in weights if a not in ASPECTS + CODE_ASPECTS]
    if unknown:
        raise ValueError(f"{where}: unknown aspects {unknown}; there are {', '.join(ASPECTS + CODE_ASPECTS)}")
    if weights and (min(weights.values()) < 0 or sum(weights.values()) <= 0):
        raise ValueError(f"{where}: weights must be non-negative with a positive sum, got {weights}")


def filled_as(default: str) -> AfterValidator:
    """A prompt that takes what the default one of its field takes."""

    def check(name: str) -> str:
        if prompts.slots(name) != prompts.slots(default):
            wanted, has = sorted(prompts.slots(default)), sorted(prompts.slots(name))
            raise ValueError(f"prompt {name!r} has slots {has}, here it needs {wanted}, as {default!r} has")
        return name

    return AfterValidator(check)
