"""`influence`: the gradients of candidates, and what they are compared with."""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.settings import Settings
from store import check_name
from training.settings import GradientSettings


class Influence(Settings):
    """Gradient-based influence."""

    gradients: GradientSettings = GradientSettings()
    reference: str = Field(
        "teacher",
        description="the reference set that selections rank by: teacher, its whole reference split, or a name below",
    )
    reference_sets: dict[str, str] = Field(
        default_factory=dict,
        description="further reference sets by name: SQL conditions on teacher_samples within its reference split; "
        "all are computed in one pass over stored gradients",
    )
    margin: float = Field(
        2.0, ge=1.0, description="gradients for this many times the candidates that the selection ranks"
    )
    workers: int | None = Field(
        None, ge=1, description="processes that compute gradients; null: one per GPU, one on a machine without"
    )

    @model_validator(mode="after")
    def _references_have_names(self) -> Influence:
        for name in (self.reference, *self.reference_sets):
            check_name(name, "reference")
        if "teacher" in self.reference_sets:
            raise ValueError("influence.reference_sets: teacher is the whole reference split; take another name")
        if self.reference not in ("teacher", *self.reference_sets):
            known = ", ".join(["teacher", *self.reference_sets])
            raise ValueError(f"influence.reference: no reference {self.reference!r}; there are {known}")
        return self
