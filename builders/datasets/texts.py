"""The texts of a dataset's rows in batches: which columns they are, and what names a row.

In: rows as dictionaries. Out: `Batch`es of ids and texts. item_id is the row's own `id`, as text, where it has one, else its content
id. Ids may repeat, and content ids do where texts do: `row`, the place in the dataset from 0, tells such rows apart.

The text of a row is that of the columns that are named, else of the turns of `messages` (or `conversations`), else of a question
(and Alpaca's `input`) with its answer, else of the first of SINGLE that the dataset has. NULL and white space are no text.
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
    """Some rows: ids and texts, and apart from the question what may hold functions."""

    items: pa.Table
    texts: pa.Array
    answers: pa.Array


def text_columns(rows: Sequence[Any], named: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns whose text is checked, the answer last; `rows` are the first of the dataset. ValueError lists the columns."""
    broken = next((n for n, row in enumerate(rows, 1) if not isinstance(row, dict)), None)
    if broken is not None:
        raise InputError(f"row {broken}: a row is a JSON object, got {type(rows[broken - 1]).__name__}")
    known = list(dict.fromkeys(column for row in rows for column in row))
    if unknown := [c for c in named if c not in known]:
        raise InputError(f"no column {', '.join(unknown)}; the dataset has {', '.join(known) or 'no columns'}")
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
        f"which column holds the text? The dataset has {', '.join(known) or 'no columns'}; name one with --text "
        f"(without, it is messages, a question and an answer, or one of {', '.join(SINGLE)})"
    )


def batches(rows: Iterable[Any], columns: Sequence[str], size: int) -> Iterator[Batch]:
    """The rows in batches of a size, in their order; ValueError names the row whose column holds no text."""
    rows, start = iter(rows), 0
    while part := list(islice(rows, size)):
        yield _batch(part, start, columns)
        start += len(part)


def _batch(rows: Sequence[Any], start: int, columns: Sequence[str]) -> Batch:
    ids, texts, answers = [], [], []
    for number, row in enumerate(rows, start):
        if not isinstance(row, dict):
            raise InputError(f"row {number + 1}: a row is a JSON object, got {type(row).__name__}")
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
    """The text of a column; of turns, what was said, the last one last."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and column in TURNS:
        said = [turn.get("content", turn.get("value")) for turn in value if isinstance(turn, dict)]
        return "\n\n".join(text for text in said if isinstance(text, str))
    raise InputError(
        f"row {number + 1}: the column {column} holds {type(value).__name__}, not text; name another with --text"
    )


def _printable(text: str) -> str:
    """Text that a table can hold: escapes of JSON that are no characters are written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
