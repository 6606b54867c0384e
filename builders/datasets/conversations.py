"""The rows of any dataset as conversations with ids.

In: a file, dataset folder or Hub id, and perhaps the columns that the user names. Out: an `Index`
of all rows: ids, content ids and groups, but no text. A second read gives the texts that are
wanted. `training/conversations.py` tells which columns make a conversation.

    index = read_index(Dataset("mine", "rows.jsonl"))
    for text_id, turns in texts(Dataset("mine", "rows.jsonl"), set(index.texts)): ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from builders.datasets import rows as dataset_rows
from builders.datasets.places import Place
from store import content_id
from store.counts import counted
from store.errors import InputError
from training import conversations
from training.errors import TrainingError, UnusableRowError

Conversation = list[conversations.Turn]


@dataclass(frozen=True)
class Dataset:
    """Where rows come from, and which of their columns are the id and the group.

    `columns` are pairs of a field and its column, as `training.conversations.mapping` gives them.
    With `may_differ` a row without these columns is read by its own layout.
    """

    name: str
    place: str
    split: str | None = None
    revision: str | None = None
    id_column: str = "id"
    group_column: str | None = None
    config: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    may_differ: bool = False

    def rows(self) -> Iterator[Any]:
        """The rows as they are. ValueError and FileNotFoundError name the place."""
        return dataset_rows.rows(self.place, **self._where())

    def chosen(self) -> Place:
        """The config and the split that are read."""
        return dataset_rows.chosen(self.place, **self._where())

    def _where(self) -> dict[str, Any]:
        named = {"config": self.config, "split": self.split, "revision": self.revision}
        return {**named, "usual_split": "train"}

    def conversation(self, row: Any) -> Conversation:
        """The turns of a row. UnusableRowError says why it has none."""
        return conversations.turns(row, dict(self.columns) if self.is_named(row) or not self.may_differ else None)

    def is_named(self, row: Any) -> bool:
        """Whether a row has one of the columns that the user names."""
        return isinstance(row, Mapping) and any(conversations.has(row, column) for _, column in self.columns)


def conversation(row: Any) -> Conversation | None:
    """The turns of a row in one of the known layouts; None if it has none."""
    try:
        return conversations.turns(row)
    except UnusableRowError:
        return None


@dataclass
class Index:
    """A dataset without its texts.

    Row i has `ids[i]`, `text_ids[i]` and `groups[i]`. `text_ids[i]` is None for a row without a
    conversation; `reasons[i]` says why. `num_named` rows have a column that the user names.
    """

    ids: list[str] = field(default_factory=list)
    text_ids: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    reasons: dict[int, str] = field(default_factory=dict)
    num_named: int = 0

    @property
    def texts(self) -> list[str]:
        """Distinct content ids, in the order of their first rows."""
        return list(dict.fromkeys(t for t in self.text_ids if t is not None))


def read_index(dataset: Dataset) -> Index:
    """Read a dataset once. InputError where no row has a conversation."""
    index = Index()
    for number, row in enumerate(dataset.rows()):
        text_id: str | None = None
        index.num_named += dataset.is_named(row)
        try:
            text_id = text_id_of(dataset.conversation(row))
        except UnusableRowError as error:
            index.reasons[number] = str(error)
            index.columns.update(map(_printable, row) if isinstance(row, Mapping) else ())
        own = row.get(dataset.id_column) if isinstance(row, Mapping) else None
        index.ids.append(_printable(str(own)) if own is not None else text_id or f"row-{number}")
        index.text_ids.append(text_id)
        group = row.get(dataset.group_column) if dataset.group_column and isinstance(row, Mapping) else None
        index.groups.append(None if group is None else _printable(str(group)))
    if not index.texts:
        raise _nothing(dataset, index)
    if dataset.group_column and not any(index.groups):
        raise InputError(
            f"{dataset.place}: no row has a value in the group column {dataset.group_column!r}. Name another column."
        )
    return index


def _nothing(dataset: Dataset, index: Index) -> InputError:
    """The error for a dataset without any conversation: what it has, and what was looked for."""
    try:
        conversations.require(sorted(index.columns), dict(dataset.columns), dataset.place)
    except TrainingError as error:
        return InputError(str(error))
    named = [f"{name} (as {kind})" for kind, name in dataset.columns]
    others = {reason for reason in index.reasons.values() if reason != conversations.NOTHING}
    first = f" The first of the reasons: {min(others)}." if others else ""
    return InputError(
        f"{dataset.place}: none of {counted(len(index.ids), 'row')} has text in "
        f"{' and '.join(named) or conversations.LAYOUTS}. Its columns are "
        f"{', '.join(sorted(index.columns)) or '(none)'}.{first} Name them with --columns problem=…,solution=…, or "
        "give another dataset."
    )


def texts(dataset: Dataset, wanted: set[str]) -> Iterator[tuple[str, Conversation]]:
    """Content id and conversation of the wanted texts, each once, in the order of the rows."""
    left = set(wanted)
    for row in dataset.rows():
        try:
            turns = dataset.conversation(row)
        except UnusableRowError:
            continue
        if (text_id := text_id_of(turns)) in left:
            left.remove(text_id)
            yield text_id, turns
    if left:
        raise InputError(
            f"{dataset.place} changed while it was read: {len(left):,} texts are gone. Start the command again."
        )


def text_id_of(turns: Conversation) -> str:
    """The id of a conversation's content."""
    return content_id(*(part for turn in turns for part in _identity(turn)))


def _identity(turn: conversations.Turn) -> list[str]:
    more = {key: turn[key] for key in turn if key not in ("role", "content")}
    called = [json.dumps(more, ensure_ascii=False, sort_keys=True)] if more else []
    return [turn["role"], turn["content"], *called]


def _printable(text: str) -> str:
    """Text that a table can hold: escapes of JSON that are no characters are kept as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
