"""The marker of a folder: the SHA-256 of each of its files, and the plan it was made under.

    <folder>/.scoder.json    {"written_by": "scoder", "plan": "1a2b…", "files": {"README.md": …}}

In: a folder that is written and will not change. Out: its marker. With it `publish` replaces only
what it wrote itself, a run sees that a dataset is up to date, and `verify` sees a damaged model.

    mark(Path("store-data/_models/coder-1a2b3c4d"), plan.fingerprint)
    changes(Path("store-data/_models/coder-1a2b3c4d"))    # [] while nobody touched it
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from store import files
from store.runs import Record

MARKER = ".scoder.json"


@dataclass(frozen=True)
class Marker:
    """What a marker says: `{file: SHA-256}`, and the fingerprint of the plan, '' without one."""

    files: dict[str, str]
    plan: str


def mark(folder: Path, plan: str = "") -> None:
    """Write the marker of a folder, once all its other files are written. It syncs them to disk."""
    written = {str(p.relative_to(folder)): _sync_and_hash(p) for p in _files_of(folder)}
    for inside in {Path(folder, name).parent for name in written}:
        files.sync_directory(str(inside))
    said = {"written_by": "scoder", "plan": plan, "files": written}
    files.write_text(folder / MARKER, json.dumps(said, indent=1) + "\n")


def mark_new(folder: Path, plan: str) -> None:
    """Write the marker of a folder that has none.

    A folder that was found finished keeps the marker of the day when it was written. Another one
    would call its damage right.
    """
    if read(folder) is None:
        mark(folder, plan)


def read(folder: Path) -> Marker | None:
    """The marker of a folder; None without one, or if it names no files."""
    try:
        said = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return None
    written = said.get("files") if isinstance(said, dict) else None
    if not isinstance(written, dict) or not written:
        return None
    return Marker({str(k): str(v) for k, v in written.items()}, str(said.get("plan", "")))


def is_up_to_date(folder: Path, plan: str) -> bool:
    """Whether a folder was written under this plan, and has the files of its marker and no others.

    Their contents are not read: that is for `verify`.
    """
    marker = read(folder)
    return marker is not None and marker.plan == plan and not _added_or_missing(folder, marker.files)


def changes(folder: Path) -> list[str] | None:
    """What differs from what we wrote, in words; None if the folder has no marker.

    An empty folder or a link counts, too. All files are read.
    """
    marker = read(folder)
    if marker is None:
        return None
    found = _added_or_missing(folder, marker.files)
    for name, expected in sorted(marker.files.items()):
        path = folder / name
        if path.is_symlink():
            found.append(f"{name} is a link")
        elif path.exists() and (not path.is_file() or sha256(path) != expected):
            found.append(f"{name} was changed")
    return found


def folders_of(record: Record) -> list[str]:
    """The models and datasets that belong to a partition, such as `_models/coder-1a2b3c4d`."""
    table, part = record.plan.table, record.plan.partition
    if table == "instructions":
        return ["_datasets/instructions"]
    if table != "checkpoints":
        return []
    name = "-".join([str(part["role"]), *([str(part["iteration"])] if "iteration" in part else [])])
    return [f"{room}/{name}-{record.plan.fingerprint[:8]}" for room in ("_models", "_datasets")]


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MARKER)


def _added_or_missing(folder: Path, written: dict[str, str]) -> list[str]:
    parents = {str(above) for name in written for above in Path(name).parents}
    expected = {MARKER, *written, *parents} - {"."}
    found = {str(p.relative_to(folder)) for p in folder.rglob("*")}
    missing = [n for n in sorted(expected - found) if not os.path.lexists(folder / n)]
    return [f"{n} was added" for n in sorted(found - expected)] + [f"{n} is missing" for n in missing]


def _sync_and_hash(path: Path) -> str:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
