"""The texts of a dataset's rows, in batches.

In: rows as dictionaries. Out: `Batch`es of ids and texts.

A row's item_id is its own `id`, as text, if it has one. Otherwise it is the content id of its text.
Both can repeat. So each row also has `row`, its place in the dataset counted from 0.

The text of a row is taken from the columns that the user names. Otherwise from the first layout of
`training/conversations.py` that has text in the first rows: turns, with all that tools are called
with; a question (with Alpaca's `input`) and its answer; one of the columns in SINGLE. A row without
text there is read by its own layout. NULL, NaN and white space count as no text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from store import content_id
from store.errors import InputError
from training.conversations import ANSWERS, FIELDS, QUESTIONS, SYSTEM, TURNS, value_of
from training.said import said
from training.tool_calls import is_given

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
    functions. `reasons` are those why rows have no text.
    """

    items: pa.Table
    texts: pa.Array
    answers: pa.Array
    reasons: Counter[str]


def in_order(columns: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that the fields of a layout are in, the answer last."""
    return tuple(columns[field] for field in FIELDS if field in columns)


def text_columns(rows: Sequence[Any], named: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns whose text is checked, the answer last. InputError lists the dataset's columns.

    `rows` are the first rows of the dataset.
    """
    for number, row in enumerate(rows, 1):
        _require_object(row, number)
    known = list(dict.fromkeys(column for row in rows for column in row))
    if unknown := [c for c in named if c not in known and c.split(".")[0] not in known]:
        raise InputError(f"no column {', '.join(unknown)}: the dataset has {', '.join(known) or 'no columns'}")
    layouts = [tuple(named)] if named else _layouts(known)
    if not layouts:
        raise InputError(
            f"which column holds the text? The dataset has {', '.join(known) or 'no columns'}. Name one with --text. "
            f"Without --text we look for {', '.join(TURNS)}, for a question and an answer, or for one of "
            f"{', '.join(SINGLE)}."
        )
    with_text = (columns for columns in layouts if any(_said(value_of(row, columns[-1])) for row in rows))
    chosen = next(with_text, layouts[0])
    _require_text(rows, chosen)
    return chosen


def _layouts(known: Sequence[str]) -> list[tuple[str, ...]]:
    """The layouts that a dataset, or one row, has the columns of."""
    system = tuple(name for name in SYSTEM if name in known)
    found = [(*system, turns) for turns in TURNS if turns in known]
    question, answer = (next((c for c in names if c in known), None) for names in (QUESTIONS, ANSWERS))
    if question and answer:
        more = ("input",) if "input" in known and question == "instruction" else ()
        found.append((*system, question, *more, answer))
    return found + [(name,) for name in SINGLE if name in known]


def _require_text(rows: Sequence[Any], columns: Sequence[str]) -> None:
    """InputError if none of the rows has text, and a value is of another kind: a wrong column."""
    if any(_said(value_of(row, column)) for row in rows for column in columns):
        return
    for number, row in enumerate(rows, 1):
        if reason := next((f for c in columns if (f := _fault(value_of(row, c), c))), None):
            raise InputError(f"row {number}: {reason}. Name another with --text.")


def batches(rows: Iterable[Any], columns: Sequence[str], size: int, *, are_named: bool = False) -> Iterator[Batch]:
    """The rows in batches of `size`, in order. InputError names a row that is no object.

    A row without text in the columns is read by its own layout, unless the user named the columns.
    """
    rows, start = iter(rows), 0
    while part := list(islice(rows, size)):
        yield _batch(part, start, columns, are_named)
        start += len(part)


def _batch(rows: Sequence[Any], start: int, columns: Sequence[str], are_named: bool) -> Batch:
    ids, texts, answers = [], [], []
    reasons: Counter[str] = Counter()
    for number, row in enumerate(rows, start):
        _require_object(row, number + 1)
        parts = _parts(row, columns, are_named)
        text = "\n\n".join(part for part in parts if part)
        given = row.get("id")
        ids.append(_printable(str(given)) if given is not None else content_id(text))
        texts.append(text if text.strip() else None)
        answers.append(parts[-1] or None)
        if not text.strip():
            reasons[_reason(row, columns)] += 1
    has_text = [text is not None for text in texts]
    items = pa.table([ids, list(range(start, start + len(rows))), has_text], schema=DATASET_ITEMS)
    return Batch(items, pa.array(texts, pa.string()), pa.array(answers, pa.string()), reasons)


def _parts(row: Mapping[str, Any], columns: Sequence[str], are_named: bool) -> list[str]:
    parts = [_said(value_of(row, column)) for column in columns]
    if are_named or any(part.strip() for part in parts):
        return parts
    others = ([_said(row.get(column)) for column in layout] for layout in _layouts(list(row)))
    return next((found for found in others if any(part.strip() for part in found)), parts)


def _said(value: Any) -> str:
    return _printable(said(value, holds_turns=not isinstance(value, list) or _holds_objects(value)))


def _holds_objects(value: Sequence[Any]) -> bool:
    return any(isinstance(turn, Mapping) for turn in value)


def _reason(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    faults = (_fault(value_of(row, column), column) for column in columns)
    return next((fault for fault in faults if fault), f"no text in {', '.join(columns)}")


def _fault(value: Any, column: str) -> str | None:
    """Why a value that is there is no text."""
    if not is_given(value) or _said(value).strip():
        return None
    return f"the column {column} holds {type(value).__name__}, not text"


def _require_object(row: Any, number: int) -> None:
    if not isinstance(row, Mapping):
        raise InputError(f"row {number} is a {type(row).__name__}: every row must be a JSON object")


def _printable(text: str) -> str:
    """Text that a table can hold: escapes of JSON that are no characters are kept as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
