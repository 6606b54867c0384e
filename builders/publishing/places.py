"""Places of this machine, taken out of rows that leave it.

In: the rows of a table. Out: the same rows without absolute paths in the columns that we fill.

    base_model   /home/ada/models/tiny-base           -> tiny-base
    path         /home/somebody/x.py (from a source)  -> home/somebody/x.py
    error        the folder /home/ada/store/x is gone -> the folder STORE/x is gone

A model that is a folder has its name in the rows, as one from the Hub has its id. Texts of
problems, code and answers stay as they are: there a path is what somebody wrote.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pyarrow as pa

NAMES = ("model", "base_model", "scorer")
"""Columns with the id of a model at the Hub, or with its folder."""
PATHS = ("path",)
MESSAGES = ("error", "reason", "ungradable")
"""Columns that hold what went wrong, in our words or in those of a library."""


def without_places(rows: pa.RecordBatch, store: str) -> pa.RecordBatch:
    """The rows, with names of models and relative paths where these were absolute."""
    changes: dict[str, Callable[[str], str]] = dict.fromkeys(NAMES, _name)
    changes |= dict.fromkeys(PATHS, lambda path: path.lstrip("/"))
    known = {os.path.abspath(store): "STORE", os.getcwd(): ".", str(Path.home()): "~"}
    changes |= dict.fromkeys(MESSAGES, lambda text: _masked(text, known))
    for number, name in enumerate(rows.schema.names):
        if name in changes:
            texts = rows.column(number).to_pylist()
            if any(text and "/" in text for text in texts):
                made = pa.array([text and changes[name](text) for text in texts], rows.schema.field(number).type)
                rows = rows.set_column(number, rows.schema.field(number), made)
    return rows


def _name(model: str) -> str:
    return PurePosixPath(model).name if os.path.isabs(model) or model.startswith(("~", "file:")) else model


def _masked(text: str, known: dict[str, str]) -> str:
    for place in sorted(known, key=len, reverse=True):
        if place != "/":
            text = text.replace(f"{place}/", f"{known[place]}/").replace(place, known[place])
    return text
