"""Indexes on disk: making one takes longer than reading it back.

In: tasks and settings, as for `detectors.index`. Out: the same index. It is read from the folder if
an index of these tasks, of these settings and of this very code was made before, and else made and
written there.

    index = kept.index(tasks, settings, kept.own_folder())

The folder of a user is `$XDG_CACHE_HOME/scoder/contamination` (`~/.cache/scoder/contamination`). It
may be deleted at any time, and holds the MOST indexes that were used last.

How: a file has the digest of all that the index depends on as its name, and gets its name only when
it is whole. So several processes may write at once. A file that is damaged fails its checksums and
is made anew. A folder that cannot be written is no error.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from builders.code import lexer, tokens
from builders.decontamination.detectors import Index, background, rules, units
from builders.decontamination.detectors import index as made
from builders.decontamination.detectors.postings import Postings
from builders.decontamination.detectors.prose import Statements
from builders.decontamination.detectors.strings import Strings
from builders.decontamination.detectors.units import Task, View
from builders.recipe import Decontamination

MOST = 16
"""Indexes that a folder keeps. One of four benchmarks has about 10 MB."""

Arrays = Mapping[str, np.ndarray]


def index(tasks: Sequence[Task], settings: Decontamination, folder: Path | None) -> Index:
    """The index over the tasks, from the folder if it is there. None: it is made."""
    if folder is None:
        return made(tasks, settings)
    path = folder / f"{_digest(tasks, settings)}.npz"
    try:
        found = _read(path)
        os.utime(path)
        return found
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        found = made(tasks, settings)
    _write(path, found)
    return found


def own_folder() -> Path | None:
    """The cache of this user; None if it is not to be had, or somebody else can write into it."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "scoder" / "contamination"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        about = place.stat()
    except (OSError, RuntimeError):
        return None
    is_ours = about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return place if is_ours else None


def _digest(tasks: Sequence[Task], settings: Decontamination) -> str:
    """40 hex digits of all that an index depends on."""
    found = hashlib.sha256()
    about = [settings.model_dump(mode="json", exclude={"min_strength"}), rules(), _code(), len(tasks)]
    found.update(json.dumps(about, sort_keys=True).encode())
    for task in tasks:
        parts = (task["benchmark"], task["task_id"], task["prompt"], task["solution"], units.tests_of(task))
        for part in parts:
            text = b"\0" if part is None else str(part).encode("utf-8", "surrogatepass")
            found.update(len(text).to_bytes(8, "little") + text)
    return found.hexdigest()[:40]


@cache
def _code() -> str:
    """The modules that make an index. Another version of them makes another one."""
    files = [Path(lexer.__file__), Path(tokens.__file__), *sorted(Path(background.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _write(path: Path, found: Index) -> None:
    """Keep the index if that is possible, and of the folder's others the youngest."""
    arrays: dict[str, np.ndarray] = {}
    about = {
        "benchmarks": found.benchmarks,
        "task_ids": found.task_ids,
        "ngram": found.ngram,
        "originals": found.patterns.originals,
        "tasks": found.patterns.tasks,
        "views": list(found.views),
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    arrays["patterns"] = np.frombuffer(b"".join(found.patterns.patterns), np.uint8)
    arrays["pattern_sizes"] = np.array([len(pattern) for pattern in found.patterns.patterns], np.int64)
    for name, view in found.views.items():
        arrays |= {f"{name} {field}": array for field, array in vars(view.postings).items()}
        arrays[f"{name} owners"] = view.tasks
        if view.said is not None:
            arrays |= {f"{name} said {k}": a for k, a in enumerate([*view.said.singles, *view.said.pairs])}
    temporary = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
        for old in sorted(path.parent.glob("*"), key=lambda file: -file.stat().st_mtime)[MOST:]:
            old.unlink(missing_ok=True)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path) -> Index:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    about = json.loads(arrays["about"].tobytes())
    ends = np.cumsum(arrays["pattern_sizes"])
    data = arrays["patterns"].tobytes()
    patterns = [
        data[end - size : end] for end, size in zip(ends.tolist(), arrays["pattern_sizes"].tolist(), strict=True)
    ]
    return Index(
        about["benchmarks"],
        about["task_ids"],
        about["ngram"],
        Strings(patterns, about["originals"], about["tasks"]),
        {name: _view(name, arrays) for name in about["views"]},
    )


def _view(name: str, arrays: Arrays) -> View:
    postings = Postings(**{field: arrays[f"{name} {field}"] for field in Postings.__dataclass_fields__})
    said = [arrays[f"{name} said {k}"] for k in range(6)] if f"{name} said 0" in arrays else None
    statements = Statements((said[0], said[1], said[2]), (said[3], said[4], said[5])) if said else None
    return View(postings, arrays[f"{name} owners"], statements)
