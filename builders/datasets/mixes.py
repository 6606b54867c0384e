"""Public instruction sets that the coder is trained on, besides the store's own instructions.

In: a `Mix` of the recipe: a Hub dataset, a dataset folder, or a file in any form that
`builders/datasets/rows.py` reads. Out: conversations with their licence, in the order of the
source. `training/conversations.py` tells which columns make a conversation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import pyarrow as pa

from builders.datasets.rows import rows
from builders.recipe import Mix
from store.errors import InputError
from training import conversations as layouts
from training.errors import UnusableRowError
from training.json_text import parsed
from training.tool_calls import is_given

MESSAGES = pa.list_(
    pa.struct([(name, pa.string()) for name in ("role", "content", "tool_calls", "tool_call_id", "name")])
)
"""What `stored` turns are."""


def conversations(mix: Mix, left_out: Counter[str] | None = None) -> Iterator[dict[str, Any]]:
    """`{"messages", "license"}` of up to `max_rows` rows; `left_out` counts why others have none.

    InputError, with the columns, for a set in which no row has a conversation.
    """
    left_out = Counter() if left_out is None else left_out
    where: dict[str, Any] = {"config": mix.config, "split": mix.split, "revision": mix.revision}
    num_usable, first = 0, ""
    for number, row in enumerate(islice(rows(mix.dataset, **where, usual_split="train"), mix.max_rows), 1):
        try:
            found = layouts.turns(row, mix.columns)
        except UnusableRowError as error:
            first = first or f"row {number}: {error}; its columns are {_columns(row)}"
            left_out[str(error)] += 1
            continue
        num_usable += 1
        yield {"messages": found, "license": _license(row.get("license"), mix.license)}
    if not num_usable:
        raise InputError(
            f"the mix {mix.dataset} has no row with a conversation ({first or 'it has no rows'}). Rows have "
            f"{layouts.LAYOUTS}. Name others with `columns: {{problem: …, solution: …}}`."
        )


def _license(given: Any, own: str) -> str | None:
    """What a row says about its licence, as SPDX writes it; the mix's own where it says nothing.

    All licences of a list apply, as in sources: nobody says that one may choose. None for what is
    no licence, such as an object: it is not the mix's own either.
    """
    if isinstance(given, str) and given.lstrip().startswith("["):
        with suppress(ValueError):
            given = parsed(given)
    if isinstance(given, list | tuple):
        given = [name for name in given if is_given(name)]
        if not all(isinstance(name, str) for name in given):
            return None
        given = " AND ".join(_bracketed(name) for name in given) if len(given) > 1 else "".join(given)
    if not is_given(given):
        return own
    return given if isinstance(given, str) else None


def _bracketed(name: str) -> str:
    return f"({name})" if " OR " in name.upper() else name


def _columns(row: Any) -> str:
    return ", ".join(map(str, row)) if isinstance(row, Mapping) else "(none)"


def stored(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turns as they stand in a table: the calls of tools are JSON text, for their keys differ."""
    return [
        {**turn, "tool_calls": json.dumps(turn["tool_calls"], ensure_ascii=False)} if "tool_calls" in turn else turn
        for turn in messages
    ]
