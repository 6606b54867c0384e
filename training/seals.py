"""A state of a training is believed only if it is whole: it is sealed when it has been saved.

In: the folder of a state. Out: a list of its files in it, `whole.json`, written last, when all is
on the disk. The checkpoints that were there count, too: the training ends with them.

    seal(state, processes=2)
    damage(state)    # "" or "state/checkpoint-4/optimizer.pt has 3 bytes, and was saved with 88"

A file is known by its size, and by a checksum of its first and last part.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training import train_log
from training.whole_files import write_whole

MARK = "whole.json"
PART = 65_536
"""Bytes at each end of a file that its checksum is of."""


class Seal(BaseModel):
    """The files of a state and of the checkpoints beside it: path, size, checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int
    files: dict[str, tuple[int, int]]


def seal(state: Path, processes: int) -> None:
    """Bring a state, the checkpoints and the log to the disk, then say that the state is whole."""
    partial = state.parent.parent
    missing = [name for name in _demanded(processes) if not any(state.glob(name))]
    assert not missing, f"the trainer saved no {', '.join(missing)} into {state}"
    files = [path for folder in (state, *partial.glob("checkpoint-*")) for path in _files(folder)]
    for path in files:
        to_disk(path)
    if (partial / train_log.LOG).exists():
        to_disk(partial / train_log.LOG)
    for folder in {path.parent for path in files} | {state.parent, partial}:
        to_disk(folder)
    found = Seal(processes=processes, files={str(path.relative_to(partial)): _looks(path) for path in files})
    write_whole(state / MARK, found.model_dump_json())
    to_disk(state)


def damage(state: Path) -> str:
    """What is wrong with a sealed state, or with what it needs beside it. Empty if nothing is."""
    partial = state.parent.parent
    try:
        found = Seal.model_validate_json((state / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{state / MARK} cannot be read"
    for name, (size, checksum) in found.files.items():
        path = partial / name
        try:
            looks = _looks(path)
        except FileNotFoundError:
            return f"{path} is missing"
        if looks[0] != size:
            return f"{path} has {looks[0]:,} bytes, and was saved with {size:,}"
        if looks[1] != checksum:
            return f"{path} is not what was saved"
    step = int(state.name.rpartition("-")[2])
    steps = [record.step for record in train_log.read(partial, step)]
    if steps != list(range(1, step + 1)):
        return f"{partial / train_log.LOG} has {len(steps)} of the first {step} steps"
    return ""


def to_disk(path: Path) -> None:
    """Return when a file or a folder is on the disk, and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _demanded(processes: int) -> list[str]:
    """What a state has beside the weights. Without one, a training would begin that part anew."""
    ranks = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    return ["trainer_state.json", "optimizer*", "scheduler.pt", *ranks]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MARK)


def _looks(path: Path) -> tuple[int, int]:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        checksum = zlib.crc32(file.read(PART))
        file.seek(max(size - PART, 0))
        return size, zlib.crc32(file.read(PART), checksum)
