"""`coder`: the code model that is fine-tuned on the final dataset, and the mix it is trained on."""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.settings import Settings, named
from training.conversations import check_turns
from training.settings import SftSettings, TemplateArguments


class Mix(Settings):
    """A public instruction set that the coder is trained on too, besides the run's own pairs."""

    dataset: str = Field(
        description="Hub id, dataset folder, or a file: JSON(L), CSV, TSV, Parquet or Arrow, also packed"
    )
    config: str | None = Field(None, description="configuration of the dataset; null: its default")
    revision: str | None = Field(None, description="commit of the Hub dataset; null: the newest one")
    split: str = Field("train", description="split of the dataset")
    max_rows: int | None = Field(None, ge=1, description="rows to take, from the first on; null: all rows")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="columns of the rows, such as {problem: ask, solution: code}, or {messages: chat}; empty: found "
        "by their names",
    )
    license: str = Field("unknown", description="licence of the rows that name none")

    @model_validator(mode="after")
    def _columns_make_a_conversation(self) -> Mix:
        check_turns(self.columns)
        return self


class Coder(Settings):
    """Which code model is fine-tuned on the final dataset, and how.

    Its score on the benchmarks says what the data is worth.
    """

    model: str | None = Field(
        None,
        description="model folder or Hub id of the base model; null: none, which is enough up to the stage instructions",
    )
    revision: str | None = Field(None, description="commit of the Hub model; null: the newest one")
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="arguments of the model's chat template, such as {enable_thinking: false}; empty: none",
    )
    mix: tuple[Mix, ...] = Field(
        (), description="public instruction sets to train on too; empty: only the run's own pairs"
    )
    training: SftSettings = Field(SftSettings(), description="how the coder is trained")

    @property
    def base(self) -> str:
        """The base model. SettingError if the recipe names none."""
        return named(self.model, "coder.model")
