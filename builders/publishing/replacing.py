"""Putting a new folder in the place of one that we published, and never in the place of anything else.

    <folder>/.scoder.json      the SHA-256 of every file that we wrote: our marker
    <folder>.replaced-1a2b3c4d the old folder, while the new one takes its place

In: a target, and the new folder beside it. A target is replaced only if it holds the files that its
marker names, unchanged, and nothing else. Otherwise somebody worked on it, and it is refused. A kill
while folders change places loses neither: the next call takes the old folder back.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from shutil import rmtree

from store.errors import ContractError

MARKER = ".scoder.json"


def mark(folder: Path) -> None:
    """Write the marker of a folder that is written to its end."""
    written = {str(p.relative_to(folder)): _sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    (folder / MARKER).write_text(json.dumps({"written_by": "scoder publish", "files": written}, indent=1) + "\n")


def refuse_foreign(target: Path) -> None:
    """A ContractError if something stands at the target that is not ours to replace."""
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise ContractError(f"{target} exists and is no folder. Nothing was changed; give another target.")
    if not any(target.iterdir()):
        return
    written = _marked(target)
    if written is None:
        raise ContractError(
            f"{target} exists and has no marker of ours ({MARKER}): it was made by somebody else, or by an earlier "
            "version of scoder. Nothing was changed. Give another target, or remove the folder yourself."
        )
    if changes := _changes(target, written):
        raise ContractError(
            f"{target} was changed after it was published: {'; '.join(changes[:5])}. Nothing was changed now. "
            "Give another target, or remove the folder yourself."
        )


def take_back(target: Path) -> None:
    """If a killed replacement left no target, but the old folder beside it: put that back."""
    if os.path.lexists(target) or not target.parent.is_dir():
        return
    aside = [p for p in target.parent.iterdir() if p.name.startswith(f"{target.name}.replaced-")]
    for old in sorted(aside, key=lambda p: p.stat().st_mtime, reverse=True):
        if (written := _marked(old)) is not None and not _changes(old, written):
            old.rename(target)
            return


def replace(target: Path, new: Path) -> None:
    """Move the new folder to the target, and remove the old one; whoever worked on that meanwhile keeps it."""
    refuse_foreign(target)
    if not target.exists():
        new.rename(target)
        return
    old = target.with_name(f"{target.name}.replaced-{uuid.uuid4().hex[:8]}")
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if not os.path.lexists(target):
            old.rename(target)
        raise
    rmtree(old, ignore_errors=True)


def _marked(folder: Path) -> dict[str, str] | None:
    """`{file: SHA-256}` as our marker says, None without one."""
    try:
        said = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return None
    written = said.get("files") if isinstance(said, dict) else None
    return written if isinstance(written, dict) and written else None


def _changes(folder: Path, written: dict[str, str]) -> list[str]:
    """What differs from what we wrote, for people. An empty folder or a link counts as well."""
    expected = {MARKER, *written, *(str(Path(name).parent) for name in written)} - {"."}
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*")}
    changes = [f"{name} was added" for name in sorted(found.keys() - expected)]
    changes += [f"{name} is missing" for name in sorted(expected - found.keys())]
    changes += [f"{name} is a link" for name in sorted(found) if found[name].is_symlink()]
    for name in sorted(written.keys() & found.keys()):
        if not found[name].is_file() or _sha256(found[name]) != written[name]:
            changes.append(f"{name} was changed")
    return changes


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
