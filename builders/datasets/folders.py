"""The rows of a dataset folder, or of a dataset of the Hub.

In: a folder or an id, and perhaps the names of a config and a split. Out: rows in their order.

How: `datasets` reads them in its streaming mode, which keeps no cache that could be old. What its
`save_to_disk` wrote, it can only load whole: such folders are read here, file by file.

    for row in folder_rows("my-data", config="a", split="train"): print(row)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from builders.datasets.tables import Row, arrow_rows
from store.errors import InputError, MissingError, UserError
from training import hub
from training.errors import TrainingError, loading

_OF_ONE, _OF_SEVERAL = "state.json", "dataset_dict.json"
"""The files by which `save_to_disk` marks a dataset, and a folder of splits."""


def is_saved(place: str | Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any(Path(place, name).is_file() for name in (_OF_ONE, _OF_SEVERAL))


def folder_rows(
    place: str, *, config: str | None = None, split: str | None = None, revision: str | None = None, usual: str = "test"
) -> Iterator[Row]:
    """The rows of one split: that which is named, else the usual one, else the only one.

    InputError lists the configs or the splits where none can be chosen.
    """
    return _saved_rows(Path(place), split, usual) if is_saved(place) else _rows(place, config, split, revision, usual)


# -- save_to_disk ----------------------------------------------------------------------------------


def _saved_rows(folder: Path, split: str | None, usual: str) -> Iterator[Row]:
    if (folder / _OF_SEVERAL).is_file():
        names = _json(folder / _OF_SEVERAL).get("splits", [])
        folder = folder / _split(str(folder), names, split, usual)
    elif split is not None and (own := _json(folder / _OF_ONE).get("_split")) not in (None, split):
        raise InputError(f"{folder} has the split {own}, and no split {split}: name {own}, or none")
    state = _json(folder / _OF_ONE)
    if state.get("_indices_data_files"):
        raise InputError(f"{folder} was saved with an order of its own: load it with `datasets` and save it again")
    for file in state.get("_data_files", []):
        yield from arrow_rows(folder / file["filename"])


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). Save the dataset again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object. Save the dataset again.")
    return found


# -- folders of files, and the Hub -----------------------------------------------------------------


def _rows(place: str, config: str | None, split: str | None, revision: str | None, usual: str) -> Iterator[Row]:
    import datasets

    hub.require("dataset", place, revision)
    try:
        config = _config(place, datasets.get_dataset_config_names(place, revision=revision), config)
        chosen = _split(place, datasets.get_dataset_split_names(place, config, revision=revision), split, usual)
        with loading(f"the dataset {place} (split {chosen})"):
            rows = datasets.load_dataset(place, config, revision=revision, split=chosen, streaming=True)
        yield from rows
    except (FileNotFoundError, ConnectionError) as error:
        raise MissingError(
            f"{place} is no file and no dataset folder, and the Hub gives no dataset of this name ({error}). "
            "Check the name and the network."
        ) from error
    except (ValueError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, UserError | TrainingError):
            raise
        raise InputError(f"{place} cannot be read as a dataset: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """The first line of an error, with that of what led to it: that one names the file."""
    said = [str(found).splitlines()[0] for found in (error, error.__cause__) if found is not None and str(found)]
    return ": ".join(said)[:500]


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
        return wanted
    told = f"{place} has the splits {', '.join(names) or '(none)'}: name one of them"
    raise InputError(f"{place} has no split {split}. {told}" if split else told)
