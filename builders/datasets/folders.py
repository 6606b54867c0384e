"""The rows of a dataset folder, or of a dataset of the Hub.

In: a folder or an id, and perhaps the names of a config and a split. Out: rows in their order.

How: `datasets` reads them in its streaming mode, which keeps no cache that could be old. What its
`save_to_disk` wrote, it can only load whole: such folders are read here, file by file.

    for row in folder_rows("my-data", config="a", split="train"): print(row)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa

from builders.datasets.json_rows import json_object, json_rows
from builders.datasets.tables import Row, arrow_rows
from builders.sources import packing
from store.errors import InputError, MissingError, UserError
from training import hub
from training.errors import TrainingError, loading

_OF_ONE, _OF_SEVERAL = "state.json", "dataset_dict.json"
"""The files by which `save_to_disk` marks a dataset, and a folder of splits."""
_AGAIN = "Save the dataset again."
_FORMS = {".jsonl": ".json", ".ndjson": ".json"} | {
    form: form for form in (".json", ".csv", ".tsv", ".parquet", ".arrow")
}
_ABOUT = ("config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files beside the data, which hold no rows."""


def is_saved(place: str | Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any(Path(place, name).is_file() for name in (_OF_ONE, _OF_SEVERAL))


def folder_rows(
    place: str, *, config: str | None = None, split: str | None = None, revision: str | None = None, usual: str = "test"
) -> Iterator[Row]:
    """The rows of one split: that which is named, else the usual one, else the only one.

    InputError lists the configs or the splits where none can be chosen. Where there are other
    splits, and none was named, standard error says which one is read.
    """
    return _saved_rows(Path(place), split, usual) if is_saved(place) else _rows(place, config, split, revision, usual)


# -- save_to_disk ----------------------------------------------------------------------------------


def _saved_rows(folder: Path, split: str | None, usual: str) -> Iterator[Row]:
    if (folder / _OF_SEVERAL).is_file():
        names = [str(name) for name in json_object(folder / _OF_SEVERAL, _AGAIN).get("splits") or ()]
        folder = folder / _split(str(folder), names, split, usual)
    elif (
        split is not None
        and (own := json_object(folder / _OF_ONE, _AGAIN).get("_split")) != split
        and (own or split != usual)
    ):
        told = f"the split {own}" if own else "rows without the name of a split"
        raise InputError(f"{folder} has {told}, and no split {split}: name {own + ', or none' if own else 'none'}")
    state = json_object(folder / _OF_ONE, _AGAIN)
    if state.get("_indices_data_files"):
        raise InputError(f"{folder} was saved with an order of its own: load it with `datasets` and save it again")
    try:
        files = [folder / file["filename"] for file in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / _OF_ONE} does not name its data files. {_AGAIN}") from error
    for path in files:
        yield from arrow_rows(path)


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError, pa.ArrowException)
"""What `datasets` raises for files that it cannot read, or a folder with a script."""

# -- folders of files, and the Hub -----------------------------------------------------------------


def _rows(place: str, config: str | None, split: str | None, revision: str | None, usual: str) -> Iterator[Row]:
    import datasets

    hub.require("dataset", place, revision)
    files = _data_files(place)
    _require_one_form(place, files)
    try:
        config = _config(place, datasets.get_dataset_config_names(place, revision=revision), config)
        chosen = _split(place, datasets.get_dataset_split_names(place, config, revision=revision), split, usual)
        with loading(f"the dataset {place} (split {chosen})"):
            rows = datasets.load_dataset(place, config, revision=revision, split=chosen, streaming=True)
        yield from rows
    except (FileNotFoundError, ConnectionError) as error:
        if Path(place).is_dir():
            raise MissingError(f"the folder {place} holds no file of rows that can be read: {_told(error)}") from error
        raise MissingError(
            f"{place} is no file and no dataset folder, and the Hub gives no dataset of this name ({error}). "
            "Check the name and the network."
        ) from error
    except (*_UNREADABLE, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, UserError | TrainingError):
            raise
        _say_place(files)
        raise InputError(f"{place} cannot be read as a dataset: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """What an error says, with what led to it: that may name the file."""
    said = [" ".join(str(found).split()) for found in (error, error.__cause__) if found is not None and str(found)]
    return ": ".join(said)[:500]


def _data_files(place: str) -> list[Path]:
    """The files of rows in a folder, in order; none where its README.md says which they are."""
    card = Path(place, "README.md")
    if not Path(place).is_dir() or (card.is_file() and b"data_files:" in card.read_bytes()):
        return []
    found = []
    for folder, names, files in os.walk(place, followlinks=True):
        names[:] = [name for name in names if not name.startswith((".", "__"))]
        found += [Path(folder, name) for name in files if not name.startswith(".") and name not in _ABOUT]
    return sorted(path for path in found if _form(path))


def _form(path: Path) -> str | None:
    name = path.name.lower()
    suffix = next((end for end in packing.SUFFIXES if name.endswith(end)), "")
    return _FORMS.get(Path(name.removesuffix(suffix)).suffix)


def _require_one_form(place: str, files: Sequence[Path]) -> None:
    """InputError for a folder of which `datasets` would read only some files, or none."""
    forms = {_form(path): path for path in reversed(files)}
    if len(forms) > 1:
        named = ", ".join(str(path.relative_to(place)) for path in forms.values())
        raise InputError(f"{place} has files of several kinds, such as {named}: name one file, or move the others away")
    for path in files:
        if path.suffix.lower() == ".zst":
            raise InputError(f"{path}: files in Zstandard are not read in folders. Name the file itself, or unpack it.")


def _say_place(files: Sequence[Path]) -> None:
    """InputError with the file and the row of a fault, where our own readers find it."""
    known: dict[str, None] = {}
    for path in files:
        if _form(path) != ".json":
            return
        for number, row in enumerate(json_rows(path), 1):
            if not isinstance(row, dict):
                raise InputError(f"{path}, row {number}: it is a {type(row).__name__}, not an object")
            if path != files[0] and (new := row.keys() - known.keys()):
                raise InputError(
                    f"{path}, row {number}: it has the columns {', '.join(sorted(map(repr, new)))}, which {files[0]} "
                    "has not. Give all files of a folder the same columns."
                )
            known |= dict.fromkeys(row)


def _config(place: str, names: Sequence[str], config: str | None) -> str | None:
    if config is not None and config not in names:
        raise InputError(
            f"{place} has no config {config}. Its configs are {', '.join(names)}: name one, as {place}:CONFIG"
        )
    if config is None and len(names) > 1 and "default" not in names:
        raise InputError(f"{place} has the configs {', '.join(names)}: name one of them, as {place}:{names[0]}")
    return config


def _split(place: str, names: Sequence[str], split: str | None, usual: str) -> str:
    wanted = split or (names[0] if len(names) == 1 else usual)
    # datasets also takes parts of splits, such as train[:10]
    if wanted.partition("[")[0] in names:
        if split is None and len(names) > 1:
            _say(f"{place}: the split {wanted} is read, and not {', '.join(n for n in names if n != wanted)}")
        return wanted
    told = f"{place} has the splits {', '.join(names) or '(none)'}: name one of them"
    raise InputError(f"{place} has no split {split}. {told}" if split else told)


@cache
def _say(told: str) -> None:
    """Said once: the first rows of a dataset are often read before all of them."""
    print(told, file=sys.stderr, flush=True)
