"""The texts of a dataset's rows, in batches.

In: rows as dictionaries. Out: `Batch`es of ids and texts.

A row's item_id is its own `id`, as text, if it has one. Otherwise it is the content id of its text.
Both can repeat. So each row also has `row`, its place in the dataset counted from 0.

The text of a row is taken from the columns that the user names. Otherwise from the first of these
that the dataset has: the turns of `messages` (or `conversations`); a question (with Alpaca's
`input`) and its answer; one of the columns in SINGLE. NULL and white space count as no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from store import content_id
from store.errors import InputError

QUESTIONS = ("problem", "instruction", "prompt", "question", "query")
ANSWERS = ("solution", "output", "completion", "response", "answer", "code")
TURNS = ("messages", "conversations")
SINGLE = (
    "code",
    "text",
    "solution",
    "content",
    "completion",
    "response",
    "output",
    "answer",
    "problem",
    "instruction",
    "prompt",
)
DATASET_ITEMS = pa.schema(
    [pa.field("item_id", pa.string()), pa.field("row", pa.int64()), pa.field("has_text", pa.bool_())]
)


@dataclass(frozen=True)
class Batch:
    """Some rows: their ids and texts, and `answers`, the part without the question that may hold
    functions.
    """

    items: pa.Table
    texts: pa.Array
    answers: pa.Array


def text_columns(rows: Sequence[Any], named: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns whose text is checked, the answer last. ValueError lists the dataset's columns.

    `rows` are the first rows of the dataset.
    """
    broken = next((n for n, row in enumerate(rows, 1) if not isinstance(row, dict)), None)
    if broken is not None:
        raise InputError(f"row {broken} is a {type(rows[broken - 1]).__name__}: every row must be a JSON object")
    known = list(dict.fromkeys(column for row in rows for column in row))
    if unknown := [c for c in named if c not in known]:
        raise InputError(f"no column {', '.join(unknown)}: the dataset has {', '.join(known) or 'no columns'}")
    if named:
        return tuple(named)
    question, answer = (next((c for c in names if c in known), None) for names in (QUESTIONS, ANSWERS))
    if turns := [c for c in TURNS if c in known]:
        return (turns[0],)
    if question and answer:
        return (question, *(["input"] if "input" in known and question == "instruction" else []), answer)
    if single := [c for c in SINGLE if c in known]:
        return (single[0],)
    raise InputError(
        f"which column holds the text? The dataset has {', '.join(known) or 'no columns'}. Name one with --text. "
        f"Without --text we look for messages, for a question and an answer, or for one of {', '.join(SINGLE)}."
    )


def batches(rows: Iterable[Any], columns: Sequence[str], size: int) -> Iterator[Batch]:
    """The rows in batches of `size`, in order. ValueError names a row without text in a column."""
    rows, start = iter(rows), 0
    while part := list(islice(rows, size)):
        yield _batch(part, start, columns)
        start += len(part)


def _batch(rows: Sequence[Any], start: int, columns: Sequence[str]) -> Batch:
    ids, texts, answers = [], [], []
    for number, row in enumerate(rows, start):
        if not isinstance(row, dict):
            raise InputError(f"row {number + 1} is a {type(row).__name__}: every row must be a JSON object")
        parts = [_printable(_text(row.get(column), column, number)) for column in columns]
        text = "\n\n".join(part for part in parts if part)
        given = row.get("id")
        ids.append(_printable(str(given)) if given is not None else content_id(text))
        texts.append(text if text.strip() else None)
        answers.append(parts[-1] or None)
    has_text = [text is not None for text in texts]
    items = pa.table([ids, list(range(start, start + len(rows))), has_text], schema=DATASET_ITEMS)
    return Batch(items, pa.array(texts, pa.string()), pa.array(answers, pa.string()))


def _text(value: Any, column: str, number: int) -> str:
    """The text of a column. For turns, everything that was said, in order."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and column in TURNS:
        said = [turn.get("content", turn.get("value")) for turn in value if isinstance(turn, dict)]
        return "\n\n".join(text for text in said if isinstance(text, str))
    raise InputError(
        f"row {number + 1}: the column {column} holds {type(value).__name__}, not text. Name another with --text."
    )


def _printable(text: str) -> str:
    """Text that a table can hold: escapes of JSON that are no characters are kept as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
