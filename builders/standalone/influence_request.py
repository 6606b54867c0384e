"""What `scoder influence` is asked for.

In: what the command line gives: datasets with names, a model, adapters and settings. Out: a frozen
`Request`, and the names of its reference sets as they stand in columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from builders.datasets.conversations import Dataset
from builders.datasets.places import parted
from store.errors import InputError
from training.conversations import check_turns
from training.settings import DtypeName, GradientSettings, TemplateArguments, WarmupSettings


class Choices(BaseModel):
    """The settings of the gradients, and of the adapter that a model without one is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gradients: GradientSettings = GradientSettings()
    warmup: WarmupSettings = WarmupSettings()
    dtype: DtypeName = "auto"
    template_arguments: TemplateArguments = {}


@dataclass(frozen=True)
class Request:
    """What is asked for.

    `learning_rates` are the weights of the checkpoints, in their order. Without them we take what
    the adapters' folders say. `gradients` is the folder that keeps the gradients; without it, a
    folder beside the output.
    """

    dataset: Dataset
    references: Sequence[Dataset]
    model: str
    output: str
    adapters: Sequence[str] = ()
    learning_rates: Sequence[float] = ()
    gradients: str | None = None
    revision: str | None = None
    choices: Choices = field(default_factory=Choices)
    workers: int | None = None


def named(
    given: str,
    split: str | None,
    id_column: str,
    group_column: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """A dataset as given on the command line: NAME=DATASET, or a DATASET named after its file.

    A DATASET is a file, or a folder or Hub id with `:CONFIG` and `@SPLIT`. The same columns are
    named for all datasets. One without them is read by its own layout. TrainingError for columns
    that make no conversation.
    """
    check_turns(columns or {})
    name, sign, place = given.partition("=")
    if not sign or not re.fullmatch(r"[\w-]+", name):
        name, place = Path(given).name.split(".")[0], given
    found = parted(place)
    return Dataset(
        name,
        found.path,
        split=found.split or split,
        id_column=id_column,
        group_column=group_column,
        config=found.config,
        columns=tuple((columns or {}).items()),
        may_differ=True,
    )


def columns_of(references: Sequence[Dataset]) -> list[str]:
    """The names of the reference sets as they stand in columns. ValueError where two are alike."""
    names = [slug(r.name) for r in references]
    twice = sorted({n for n in names if names.count(n) > 1 or n == "max" or n.startswith("max_")})
    if twice or not names:
        raise InputError(f"the reference sets cannot be called {twice}. Give each another name: NAME=DATASET.")
    return names


def slug(name: str) -> str:
    """A name as part of a column name."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "reference"
