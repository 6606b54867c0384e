"""A dataset as it is named on the command line: PLACE[:CONFIG][@SPLIT].

In: a text. Out: the file, folder or Hub id, with the config and the split if they are named.

    parted("google-research-datasets/mbpp:full@test")    # Place("google-…/mbpp", "full", "test")
    parted("my-data@validation")                         # Place("my-data", None, "validation")
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAMED = re.compile(r"(?P<path>.+?)(?::(?P<config>[\w.-]+))?(?:@(?P<split>[\w.\[\]:%+-]+))?\Z", re.DOTALL)
_HUB = re.compile(r"(?P<path>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<split>[\w.-]+))?\Z")


@dataclass(frozen=True)
class Place:
    """A file, folder or Hub id, and what is read of it.

    `files_not_read` are the files of a folder that belong to none of its splits.
    """

    path: str
    config: str | None = None
    split: str | None = None
    files_not_read: tuple[str, ...] = ()


def parted(text: str) -> Place:
    """The parts of a name. What exists under the whole name is that; then folders, then the Hub."""
    if Path(text).exists():
        return Place(text)
    found = _NAMED.match(text)
    if found is None or not Path(found["path"]).exists():
        found = _HUB.match(text)
    return Place(found["path"], found["config"], found["split"]) if found else Place(text)
