"""The texts of a dataset's rows, in batches.

In: rows as dictionaries. Out: `Batch`es of ids and texts.

A row's item_id is its own `id`, as text, if it has one. Otherwise it is the content id of its text.
Both can repeat. So each row also has `row`, its place in the dataset counted from 0.

The text of a row is taken from the columns that the user names. Otherwise from all of its columns
with a known name: those of `training/conversations.py`, of ASKED_TOO and of ANSWERED_TOO; and, if
no answer is in these, from one of the columns in SINGLE. A column of SHAPED counts where it holds
turns. `text_columns` chooses a layout by the
first rows: a row without text where the others have their answer counts as one without text, and
so does one whose answer is no text, such as bytes. NULL, NaN and white space count as no text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from store import content_id
from store.errors import InputError
from training.conversations import ANSWERS, FIELDS, QUESTIONS, SHAPED, SYSTEM, TURNS, has, value_of
from training.said import said
from training.tool_calls import is_given
from training.turns import are_turns

ASKED_TOO = ("input", "context", "starter_code", "history")
ANSWERED_TOO = ("chosen", "rejected", "solutions")
"""Columns of preferences (DPO), of APPS and of CodeContests."""
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
    *ANSWERED_TOO,
)
_ASKED = {*SYSTEM, *QUESTIONS, *ASKED_TOO}
_KNOWN = (*SYSTEM, *TURNS, *SHAPED, *QUESTIONS, *ASKED_TOO, *ANSWERS, *ANSWERED_TOO)
DATASET_ITEMS = pa.schema(
    [pa.field("item_id", pa.string()), pa.field("row", pa.int64()), pa.field("has_text", pa.bool_())]
)


@dataclass(frozen=True)
class Batch:
    """Some rows: their ids and texts, and `answers`, the part without the question that may hold
    functions. `reasons` are those why rows have no text. `read` are the columns in which there was
    text, and `not_read` those with text that nobody looked at.
    """

    items: pa.Table
    texts: pa.Array
    answers: pa.Array
    reasons: Counter[str]
    read: dict[str, None]
    not_read: dict[str, None]


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
    if unknown := [c for c in named if not any(has(row, c) for row in rows)]:
        inside = dict.fromkeys(name for c in unknown for row in rows for name in _inside(row, c))
        raise InputError(
            f"no column {', '.join(unknown)}: the dataset has {', '.join([*known, *inside]) or 'no columns'}"
        )
    layouts = [tuple(named)] if named else _layouts([c for c in known if any(_may_count(row, c) for row in rows)])
    if not layouts:
        raise InputError(
            f"which column holds the text? The dataset has {', '.join(known) or 'no columns'}. Name one with --text. "
            f"Without --text we look for {', '.join((*TURNS, *SHAPED))}, for a question and an answer, or for one of "
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
    question, answer = (
        next((c for c in names if c in known), None) for names in (QUESTIONS, (*ANSWERS, *ANSWERED_TOO))
    )
    if question and answer:
        more = ("input",) if "input" in known and question == "instruction" else ()
        found.append((*system, question, *more, answer))
    found += [(*system, turns) for turns in SHAPED if turns in known]
    return found + [(name,) for name in SINGLE if name in known]


def _may_count(row: Mapping[str, Any], column: str) -> bool:
    """Whether a column with a known name is read in a row: one of SHAPED must hold turns."""
    return column not in SHAPED or are_turns(row.get(column))


def _require_text(rows: Sequence[Any], columns: Sequence[str]) -> None:
    """InputError if none of the rows has text, and a value is of another kind: a wrong column."""
    if any(_said(value_of(row, column)) for row in rows for column in columns):
        return
    for number, row in enumerate(rows, 1):
        if reason := next((f for c in columns if (f := _fault(value_of(row, c), c))), None):
            raise InputError(f"row {number}: {reason}. Name another with --text.")


def _inside(row: Mapping[str, Any], column: str) -> Iterator[str]:
    first, sign, _ = column.partition(".")
    inside = row.get(first)
    if sign and isinstance(inside, Mapping):
        yield from (f"{first}.{name}" for name in inside)


def batches(rows: Iterable[Any], columns: Sequence[str], size: int, *, are_named: bool = False) -> Iterator[Batch]:
    """The rows in batches of `size`, in order. InputError names a row that is no object.

    Other columns than these are read, too, unless the user named them.
    """
    rows, start = iter(rows), 0
    while part := list(islice(rows, size)):
        yield _batch(part, start, columns, are_named)
        start += len(part)


def _batch(rows: Sequence[Any], start: int, columns: Sequence[str], are_named: bool) -> Batch:
    ids, texts, answers, has_text = [], [], [], []
    reasons: Counter[str] = Counter()
    read: dict[str, None] = {}
    not_read: dict[str, None] = {}
    for number, row in enumerate(rows, start):
        _require_object(row, number + 1)
        parts = _parts(row, columns, are_named)
        text = "\n\n".join(part for part in parts.values() if part)
        given = row.get("id")
        ids.append(_printable(str(given)) if given is not None else content_id(text))
        texts.append(text if text.strip() else None)
        answers.append(_answer(parts, columns, are_named) or None)
        reason = _reason(row, parts, columns, are_named)
        has_text.append(reason is None)
        reasons.update([reason] if reason else [])
        read |= dict.fromkeys(name for name, part in parts.items() if part.strip())
        not_read |= dict.fromkeys(_left(row, parts, not_read))
    items = pa.table([ids, list(range(start, start + len(rows))), has_text], schema=DATASET_ITEMS)
    return Batch(items, pa.array(texts, pa.string()), pa.array(answers, pa.string()), reasons, read, not_read)


def _parts(row: Mapping[str, Any], columns: Sequence[str], are_named: bool) -> dict[str, str]:
    """Column -> its text, for all columns of a row that are read."""
    known = (name for name in _KNOWN if name in columns or (name in row and _may_count(row, name)))
    names = columns if are_named else tuple(known)
    found = {name: _said(value_of(row, name)) for name in dict.fromkeys([*names, *columns])}
    if not are_named and not any(found[name].strip() for name in _answering(found) if name not in SHAPED):
        others = ((name, _said(row[name])) for name in SINGLE if name in row and name not in found)
        found |= dict([next(((name, text) for name, text in others if text.strip()), ("", ""))])
    found.pop("", None)
    return found


def _answering(names: Iterable[str]) -> list[str]:
    return [name for name in names if name not in _ASKED]


def _answer(parts: Mapping[str, str], columns: Sequence[str], are_named: bool) -> str:
    """The texts of a row that may hold functions, each once."""
    found = dict.fromkeys(parts[name] for name in _answering(parts) if parts[name].strip())
    return parts[columns[-1]] if are_named or not found else "\n\n".join(found)


def _left(row: Mapping[str, Any], parts: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """The columns of a row that have text, and that are not read."""
    read = {"id", *parts, *(name.split(".")[0] for name in parts)}
    for name, value in row.items():
        if name not in read and name not in known and not isinstance(value, int | float) and _said(value).strip():
            yield name


def unread(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, are_named: bool) -> list[str]:
    """The columns of the first rows that have text, and that are not read in any of them."""
    parts = [_parts(row, columns, are_named) for row in rows]
    return list(dict.fromkeys(name for row, part in zip(rows, parts, strict=True) for name in _left(row, part, ())))


def wanted(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, are_named: bool) -> list[str]:
    """The columns that must be read from a table: those with known names, and all those that are
    empty in the first rows, for they may hold text later.
    """
    known = {"id", *columns, *(c.split(".")[0] for c in columns), *(() if are_named else (*_KNOWN, *SINGLE))}
    return [name for name in rows[0] if name in known or not any(is_given(row.get(name)) for row in rows)]


def _said(value: Any) -> str:
    return _printable(said(value, holds_turns=True))


def _reason(row: Mapping[str, Any], parts: Mapping[str, str], columns: Sequence[str], are_named: bool) -> str | None:
    """Why a row counts as one without text: it has none, or its answer cannot be read."""
    if not any(part.strip() for part in parts.values()):
        faults = (_fault(value_of(row, column), column) for column in columns)
        return next((fault for fault in faults if fault), f"no text in {', '.join(columns)}")
    answers = list(parts) if are_named else _answering(parts)
    values = {name: value_of(row, name) for name in answers}
    faults = (_fault(value, name) for name, value in values.items() if not isinstance(value, int | float))
    if fault := next((fault for fault in faults if fault), None):
        return fault
    is_answered = are_named or columns[-1] in _ASKED or any(is_given(value) for value in values.values())
    return None if is_answered else f"no text in {columns[-1]}"


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
