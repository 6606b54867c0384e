"""The condition of a model folder: whether its files are there, whole and readable.

In: a folder, and the sizes that its files had when it was made. Out: a sentence for each damage.
The weights are not read, only their header: it says how long the file must be.

    sizes = listed(Path("smollm2", "README.md").read_text())
    damages(Path("smollm2"), sizes)    # ['tokenizer.json is missing']
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

_LINE = re.compile(r"^\| (\S+) \| (\d+) \|$", re.MULTILINE)


def listing(folder: Path) -> str:
    """A table of the files of a folder and their sizes, in Markdown."""
    rows = [f"| {path.name} | {path.stat().st_size} |" for path in sorted(folder.iterdir())]
    return "\n".join(["| file | bytes |", "|---|---|", *rows]) + "\n"


def listed(text: str) -> dict[str, int]:
    """The sizes in such a table, by the names of the files.

    listed("| LICENSE | 11357 |")    # {'LICENSE': 11357}
    """
    return {name: int(size) for name, size in _LINE.findall(text)}


def damages(folder: Path, sizes: Mapping[str, int | None]) -> list[str]:
    """What is wrong with the files that are named. A size of None is not compared."""
    return [found for name, size in sizes.items() if (found := _damage(folder / name, size))]


def _damage(path: Path, size: int | None) -> str | None:
    if not path.is_file():
        return f"{path.name} is missing"
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{path.name} has {found:,} bytes instead of {size:,}"
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy"):
                pass
    except (ValueError, SafetensorError) as error:
        return f"{path.name} cannot be read ({error})"
    return None
