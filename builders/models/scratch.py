"""A scratch folder beside a target, and the end of those that killed runs left.

In: the path of a folder that is to be written. Out: an empty folder beside it, for a while. Its
process holds a lock in it, and a lock ends with the process that holds it, however that ends.

    with beside(Path("smollm2"), print) as scratch:
        scratch.path                              # .smollm2.k3j9x_2a
        subprocess.run(command, pass_fds=scratch.held)    # as long as this runs, it is alive, too
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from store import Announce
from store.held_folders import HeldFolder, removed_if_dead


@dataclass(frozen=True)
class Scratch:
    """A scratch folder. A process that is given `held` keeps it alive."""

    path: Path
    held: tuple[int, ...]


@contextmanager
def beside(target: Path, announce: Announce) -> Iterator[Scratch]:
    """A scratch folder of the target, which is removed at the end with all that is in it."""
    remove_dead(target, announce)
    folder = HeldFolder(target.absolute().parent, f".{target.name}.")
    try:
        yield Scratch(folder.path, (folder.descriptor,))
    finally:
        folder.close()


def remove_dead(target: Path, announce: Announce) -> None:
    """Remove the scratch folders of a target whose processes have ended, and say so."""
    own = re.compile(re.escape(f".{target.name}.") + r"[^.]{8}")
    folder = target.absolute().parent
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if own.fullmatch(path.name) and removed_if_dead(path):
            announce(f"{path.name}, which a killed run had left beside {target}, is removed")
