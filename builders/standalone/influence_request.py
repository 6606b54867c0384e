"""What `scoder influence` is asked for: datasets with names, a model and adapters, and what can be set about gradients.

In: what the command line gives. Out: a frozen `Request`, and the names of its reference sets as columns have them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from builders.datasets.conversations import Dataset
from store.errors import InputError
from training.settings import DtypeName, GradientSettings, WarmupSettings


class Choices(BaseModel):
    """What can be set about the gradients, and about the adapter of a model that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gradients: GradientSettings = GradientSettings()
    warmup: WarmupSettings = WarmupSettings()
    dtype: DtypeName = "auto"


@dataclass(frozen=True)
class Request:
    """What is asked for; `learning_rates` weigh the checkpoints, in their order, where nothing beside them tells.

    `gradients` is the folder that keeps them, beside the output where none is given.
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


def named(given: str, split: str, id_column: str, group_column: str | None = None) -> Dataset:
    """A dataset as the command line gives it: NAME=DATASET, or a DATASET whose name is that of its file."""
    name, sign, place = given.partition("=")
    if not sign or not re.fullmatch(r"[\w-]+", name):
        name, place = Path(given).name.split(".")[0], given
    return Dataset(name, place, split=split, id_column=id_column, group_column=group_column)


def columns_of(references: Sequence[Dataset]) -> list[str]:
    """The names of the reference sets as they stand in columns. ValueError where two are alike."""
    names = [slug(r.name) for r in references]
    twice = sorted({n for n in names if names.count(n) > 1 or n == "max" or n.startswith("max_")})
    if twice or not names:
        raise InputError(f"reference sets need names of their own, not {twice}: give them as NAME=DATASET")
    return names


def slug(name: str) -> str:
    """A name as part of a column name."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "reference"
