"""The rows of folders that `save_to_disk` of `datasets` wrote, file by file.

In: a folder, and perhaps a split. Out: which split is read, and rows in their order. `datasets`
itself can only load such a folder whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builders.datasets.json_rows import json_object
from builders.datasets.splits import split_of
from builders.datasets.tables import Row, arrow_rows
from store.errors import InputError

_OF_ONE, _OF_SEVERAL = "state.json", "dataset_dict.json"
"""The files by which `save_to_disk` marks a dataset, and a folder of splits."""
_AGAIN = "Save the dataset again."


def is_saved(place: str | Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any(Path(place, name).is_file() for name in (_OF_ONE, _OF_SEVERAL))


def saved_split(folder: Path, split: str | None, usual: str) -> str | None:
    """The split that is read. None for rows that were saved without the name of one."""
    if (folder / _OF_SEVERAL).is_file():
        names = [str(name) for name in json_object(folder / _OF_SEVERAL, _AGAIN).get("splits") or ()]
        return split_of(str(folder), names, split, usual)
    own: str | None = json_object(folder / _OF_ONE, _AGAIN).get("_split")
    if split is not None and own != split and (own or split != usual):
        told = f"the split {own}" if own else "rows without the name of a split"
        raise InputError(f"{folder} has {told}, and no split {split}: name {own + ', or none' if own else 'none'}")
    return own


def saved_rows(folder: Path, split: str | None, usual: str) -> Iterator[Row]:
    """The rows of that split."""
    name = saved_split(folder, split, usual)
    if (folder / _OF_SEVERAL).is_file():
        folder = folder / str(name)
    state = json_object(folder / _OF_ONE, _AGAIN)
    if state.get("_indices_data_files"):
        raise InputError(f"{folder} was saved with an order of its own: load it with `datasets` and save it again")
    try:
        files = [folder / file["filename"] for file in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / _OF_ONE} does not name its data files. {_AGAIN}") from error
    for path in files:
        yield from arrow_rows(path)
