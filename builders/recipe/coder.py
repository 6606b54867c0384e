"""`coder`: the code model that is fine-tuned on the instructions."""

from __future__ import annotations

from pydantic import Field

from builders.recipe.settings import Settings
from training.settings import SftSettings


class Mix(Settings):
    """A public instruction set that the coder is trained on too."""

    dataset: str = Field(description="Hub id, dataset folder, or a JSON(L) or Parquet file")
    revision: str | None = None
    split: str = "train"
    max_rows: int | None = Field(None, ge=1)
    license: str = Field("unknown", description="of rows that name none")


class Coder(Settings):
    """The code model that is fine-tuned on the instructions."""

    model: str
    revision: str | None = None
    mix: tuple[Mix, ...] = ()
    training: SftSettings = SftSettings()
