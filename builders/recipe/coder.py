"""`coder`: the code model that is fine-tuned on the final dataset, and the mix it is trained on."""

from __future__ import annotations

from pydantic import Field

from builders.recipe.settings import Settings
from training.settings import SftSettings, TemplateArguments


class Mix(Settings):
    """A public instruction set that the coder is trained on too, besides the run's own pairs."""

    dataset: str = Field(description="Hub id, dataset folder, or a JSON(L) or Parquet file")
    revision: str | None = Field(None, description="commit of the Hub dataset; null: the newest one")
    split: str = Field("train", description="split of the dataset")
    max_rows: int | None = Field(None, ge=1, description="rows to take, from the first on; null: all rows")
    license: str = Field("unknown", description="licence of the rows that name none")


class Coder(Settings):
    """Which code model is fine-tuned on the final dataset, and how.

    Its score on the benchmarks says what the data is worth.
    """

    model: str = Field(description="model folder or Hub id of the base model")
    revision: str | None = Field(None, description="commit of the Hub model; null: the newest one")
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="arguments of the model's chat template, such as {enable_thinking: false}; empty: none",
    )
    mix: tuple[Mix, ...] = Field(
        (), description="public instruction sets to train on too; empty: only the run's own pairs"
    )
    training: SftSettings = Field(SftSettings(), description="how the coder is trained")
