"""The rows of a dataset folder, or of a dataset of the Hub.

In: a folder or an id, and perhaps the names of a config and a split. Out: rows in their order.

How: `datasets` reads them in its streaming mode, which keeps no cache that could be old. What its
`save_to_disk` wrote is read in `saved_folders.py`.

    for row in folder_rows("my-data", config="a", split="train"): print(row)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from builders.datasets import folder_files
from builders.datasets.places import Place
from builders.datasets.saved_folders import is_saved, saved_rows, saved_split
from builders.datasets.splits import config_of, say, split_of
from builders.datasets.tables import Row
from store.errors import InputError, MissingError, UserError
from training import hub
from training.errors import TrainingError, loading
from training.tool_calls import without_filled

_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError, ImportError, pa.ArrowException)
"""What `datasets` raises for files that it cannot read, or a folder with a script."""


def folder_rows(
    place: str, *, config: str | None = None, split: str | None = None, revision: str | None = None, usual: str = "test"
) -> Iterator[Row]:
    """The rows of one split: see `chosen`."""
    return saved_rows(Path(place), split, usual) if is_saved(place) else _rows(place, config, split, revision, usual)


def chosen(
    place: str, *, config: str | None = None, split: str | None = None, revision: str | None = None, usual: str = "test"
) -> Place:
    """The config and the split that are read: those that are named, else the usual ones, else the
    only ones.

    InputError lists the configs or the splits where none can be chosen. Where there are others, and
    none was named, standard error says which one is read.
    """
    if is_saved(place):
        return Place(place, None, saved_split(Path(place), split, usual))
    with _reading(place, revision):
        return _chosen(place, config, split, revision, usual)


def _chosen(place: str, config: str | None, split: str | None, revision: str | None, usual: str) -> Place:
    import datasets

    names = datasets.get_dataset_config_names(place, revision=revision)
    own = datasets.get_dataset_default_config_name(place, revision=revision) if len(names) > 1 else None
    config = config_of(place, names, config, own)
    left = _left(place, config, is_named=split is not None)
    splits = datasets.get_dataset_split_names(place, config, revision=revision)
    return Place(place, config, split_of(place, splits, split, usual), left)


def _left(place: str, config: str | None, *, is_named: bool) -> tuple[str, ...]:
    """The files of a folder that `datasets` takes for no split: it goes by their names.

    InputError where they seem to hold rows of the dataset, unless the user has named the split.
    """
    import datasets

    files = folder_files.data_files(place)
    if len(files) < 2:
        return ()
    found = datasets.load_dataset_builder(place, config).config.data_files or {}
    left = folder_files.left(files, [path for paths in found.values() for path in paths])
    names = [str(path.relative_to(place)) for path in left]
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    if not is_named and folder_files.are_alike(files, left):
        raise InputError(
            f"{place}: `datasets` takes only some files for splits, by their names, and not {', '.join(names[:3])}{more}. "
            "Name one file, or one split, or move the others away."
        )
    if names:
        say(f"{place}: not read, for they belong to no split: {', '.join(names[:3])}{more}")
    return tuple(names)


def _rows(place: str, config: str | None, split: str | None, revision: str | None, usual: str) -> Iterator[Row]:
    import datasets

    with _reading(place, revision):
        found = _chosen(place, config, split, revision, usual)
        with loading(f"the dataset {place} (split {found.split})"):
            rows = datasets.load_dataset(place, found.config, revision=revision, split=found.split, streaming=True)
        folder_files.require_read(place, rows.info.builder_name)
        # JSON has the nulls that it has
        yield from rows if rows.info.builder_name == "json" else map(without_filled, rows)


@contextmanager
def _reading(place: str, revision: str | None) -> Iterator[None]:
    """What `datasets` raises becomes an error that names the place, and if it can the row."""
    import datasets

    hub.require("dataset", place, revision)
    files = folder_files.data_files(place)
    folder_files.require_one_form(place, files)
    if texts := folder_files.texts_beside(place, files):
        more = f" and {len(texts) - 3:,} more" if len(texts) > 3 else ""
        say(f"{place}: passed over, beside files of rows: {', '.join(texts[:3])}{more}")
    try:
        yield
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
        folder_files.say_place(files)
        raise InputError(f"{place} cannot be read as a dataset: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """What an error says, with what led to it: that may name the file."""
    said = [" ".join(str(found).split()) for found in (error, error.__cause__) if found is not None and str(found)]
    return ": ".join(said)[:500]
