"""The rows of any dataset as conversations with ids.

In: a file, dataset folder or Hub id. Out: an `Index` of all rows: ids, content ids and groups, but
no text. A second read gives the texts that are wanted.

A row's conversation comes from the first of these columns that it has: `messages`; `problem` and
`solution`; `instruction`, with `input` if there is one, and `output`; `prompt` and `completion`.

    index = read_index(Dataset("mine", "rows.jsonl"))
    for text_id, turns in texts(Dataset("mine", "rows.jsonl"), set(index.texts)): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from builders.datasets import rows as dataset_rows
from store import content_id
from store.counts import counted
from store.errors import InputError

Conversation = list[dict[str, str]]

PAIRS = (("problem", "solution"), ("instruction", "output"), ("prompt", "completion"))


@dataclass(frozen=True)
class Dataset:
    """Where rows come from, and which of their columns are the id and the group."""

    name: str
    place: str
    split: str | None = None
    revision: str | None = None
    id_column: str = "id"
    group_column: str | None = None

    def rows(self) -> Iterator[Any]:
        """The rows as they are. ValueError and FileNotFoundError name the place."""
        return dataset_rows.rows(self.place, split=self.split, revision=self.revision)


@dataclass
class Index:
    """A dataset without its texts.

    Row i has `ids[i]`, `text_ids[i]` and `groups[i]`. `text_ids[i]` is None for a row without a
    conversation.
    """

    ids: list[str] = field(default_factory=list)
    text_ids: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)

    @property
    def texts(self) -> list[str]:
        """Distinct content ids, in the order of their first rows."""
        return list(dict.fromkeys(t for t in self.text_ids if t is not None))


def read_index(dataset: Dataset) -> Index:
    """Read a dataset once. ValueError where no row has a conversation."""
    index = Index()
    for number, row in enumerate(dataset.rows()):
        turns = conversation(row)
        text_id = text_id_of(turns) if turns is not None else None
        own = row.get(dataset.id_column) if isinstance(row, Mapping) else None
        index.ids.append(str(own) if own is not None else text_id or f"row-{number}")
        index.text_ids.append(text_id)
        group = row.get(dataset.group_column) if dataset.group_column and isinstance(row, Mapping) else None
        index.groups.append(None if group is None else str(group))
        if text_id is None and isinstance(row, Mapping):
            index.columns.update(map(str, row))
    if not index.texts:
        wanted = ["messages", *(" and ".join(pair) for pair in PAIRS)]
        raise InputError(
            f"{dataset.place}: none of {counted(len(index.ids), 'row')} has text in {', or '.join(wanted)}. Its columns are "
            f"{', '.join(sorted(index.columns)) or '(none)'}. Rename them, or give another dataset."
        )
    if dataset.group_column and not any(index.groups):
        raise InputError(
            f"{dataset.place}: no row has a value in the group column {dataset.group_column!r}. Name another column."
        )
    return index


def texts(dataset: Dataset, wanted: set[str]) -> Iterator[tuple[str, Conversation]]:
    """Content id and conversation of the wanted texts, each once, in the order of the rows."""
    left = set(wanted)
    for row in dataset.rows():
        turns = conversation(row)
        if turns is not None and (text_id := text_id_of(turns)) in left:
            left.remove(text_id)
            yield text_id, turns
    if left:
        raise InputError(
            f"{dataset.place} changed while it was read: {len(left):,} texts are gone. Start the command again."
        )


def conversation(row: Any) -> Conversation | None:
    """The turns of a row; None if it has no text in any of the known columns."""
    if not isinstance(row, Mapping):
        return None
    turns = row.get("messages")
    if isinstance(turns, list | tuple) and turns:
        return _turns(turns)
    for asked, answered in PAIRS:
        question, answer = row.get(asked), row.get(answered)
        if isinstance(question, str) and isinstance(answer, str):
            more = row.get("input") if asked == "instruction" else None
            if isinstance(more, str) and more.strip():
                question = f"{question}\n\n{more}"
            return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return None


def _turns(turns: list[Any] | tuple[Any, ...]) -> Conversation | None:
    read = []
    for turn in turns:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, Mapping) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            return None
        read.append({"role": role, "content": content})
    return read


def text_id_of(turns: Conversation) -> str:
    """The id of a conversation's content."""
    return content_id(*(part for turn in turns for part in (turn["role"], turn["content"])))
