"""`influence`: the gradients of candidates, and what they are compared with."""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.settings import Settings
from store import check_name
from training.settings import GradientSettings


class Influence(Settings):
    """How the influence of a candidate is measured: its gradient is compared with a reference set.

    The reference set is good data, by default a part of the teacher's samples.
    """

    gradients: GradientSettings = Field(GradientSettings(), description="how the gradient of one candidate is computed")
    reference: str = Field(
        "teacher",
        description="reference set that selections rank by: teacher (its whole reference split) or a "
        "name from reference_sets",
    )
    reference_sets: dict[str, str] = Field(
        default_factory=dict,
        description="further reference sets, by name: each is an SQL condition on the rows of "
        "teacher_samples in the reference split; empty: none",
    )
    margin: float = Field(
        2.0,
        ge=1.0,
        description="candidates with a gradient, per snippet; more than 1 leaves room to change the selection later",
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="processes that compute gradients; null: one per GPU, or one without a GPU",
    )

    @model_validator(mode="after")
    def _references_have_names(self) -> Influence:
        for name in (self.reference, *self.reference_sets):
            check_name(name, "reference")
        if "teacher" in self.reference_sets:
            raise ValueError(
                "influence.reference_sets: the name teacher already means the whole reference split; take another"
            )
        if self.reference not in ("teacher", *self.reference_sets):
            known = ", ".join(["teacher", *self.reference_sets])
            raise ValueError(f"influence.reference: no reference {self.reference!r}; there are {known}")
        return self
