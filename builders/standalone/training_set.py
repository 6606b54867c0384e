"""What `scoder train` trains on: a dataset folder, made of any dataset where it is none yet.

In: a published folder (a card beside Parquet files alone) or Hub id, which are taken as they are;
or a file, any other folder, one config or split of several, or columns that the user names. Out: a
folder with `messages`, beside the output of the training. A killed training that goes on makes it
again.

    prepared("answers.jsonl.gz", "my-coder", {}, announce)    # my-coder.dataset
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from builders.datasets import mixes
from builders.datasets.places import Place, parted
from builders.publishing import card, folder, sets
from builders.recipe import Mix
from store.counts import counted
from training.conversations import check_turns

SCHEMA = pa.schema([("messages", mixes.MESSAGES), ("license", pa.string())])


@dataclass(frozen=True)
class TrainingSet:
    """The folder or Hub id to train on, and why rows of the dataset are not in it."""

    place: str
    left_out: Counter[str]


def prepared(dataset: str, output: str, columns: Mapping[str, str], announce: Callable[[str], None]) -> TrainingSet:
    """The dataset itself if it can be trained on as it is, else `OUTPUT.dataset`.

    InputError for a dataset without conversations, or that cannot be read; it lists the columns.
    TrainingError for named columns that make no conversation.
    """
    check_turns(columns)
    found = parted(dataset)
    if _is_ready(found, columns):
        return TrainingSet(dataset, Counter())
    left_out: Counter[str] = Counter()
    target = f"{output.rstrip('/')}.dataset"
    about = card.Card("Training set", "Conversations, read from another dataset.", columns={})
    mix = Mix(dataset=found.path, config=found.config, split=found.split or "train", columns=dict(columns))
    rows = sets.batches(_rows(mix, left_out), SCHEMA)
    # An absolute path: OWNER/NAME would be an address of the Hub.
    counts = folder.write_dataset(str(Path(target).absolute()), {"train": (SCHEMA, rows)}, about)
    announce(f"{dataset}: {counted(counts['train'], 'row')} in {target}")
    for reason, num_rows in left_out.most_common(3):
        announce(f"{dataset}: {counted(num_rows, 'row')} left out: {reason}")
    return TrainingSet(target, left_out)


def _is_ready(found: Place, columns: Mapping[str, str]) -> bool:
    is_whole = found.config is None and found.split is None and not columns
    return is_whole and (not Path(found.path).exists() or _is_published(Path(found.path)))


def _is_published(place: Path) -> bool:
    """Whether a folder is as `scoder publish` writes it: a card, and Parquet files in `data`."""
    if not (place / "README.md").is_file():
        return False
    files = [file for file in place.rglob("*") if file.is_file() and not file.name.startswith(".")]
    data = [file for file in files if file != place / "README.md"]
    is_data = all(file.suffix == ".parquet" and file.parent == place / "data" for file in data)
    return is_data and any(file.name.startswith("train-") for file in data)


def _rows(mix: Mix, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    for row in mixes.conversations(mix, left_out):
        yield row | {"messages": mixes.stored(row["messages"])}
