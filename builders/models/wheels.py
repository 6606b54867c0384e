"""Wheels of exact versions from the package index, by pip and its settings.

In: a pinned wheel. Out: its file, whose checksum is the expected one. Nothing is installed.

    path = fetch(Wheel("gguf", "0.19.0", sha256="70bcd10e…"), Path("downloads"))
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from store.errors import InputError, MissingLibraryError, UnreachableError

DOWNLOAD_S = 1800
"""Seconds that a download may take."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a full disk, and of a user who may not fill it any more."""


@dataclass(frozen=True)
class Wheel:
    """A package, its version, and the SHA-256 of its wheel."""

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"


def fetch(wheel: Wheel, folder: Path, held: tuple[int, ...] = ()) -> Path:
    """Download the wheel into the folder, without what it depends on.

    `held` are open files that pip holds, too. UnreachableError if the index does not give it,
    InputError if it gives another file, OSError where the disk is full.
    """
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), "--quiet", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *options, wheel.requirement]
    try:
        done = subprocess.run(
            command, pass_fds=held, capture_output=True, text=True, timeout=DOWNLOAD_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise UnreachableError(
            f"{wheel.requirement} took longer than {DOWNLOAD_S} s: try again on a faster line"
        ) from None
    if done.returncode != 0:
        require_space(done.stderr)
        raise failure(wheel, done.stderr)
    (path,) = folder.glob(f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl")
    check(path, wheel)
    return path


def check(path: Path, wheel: Wheel) -> None:
    """InputError if the file is not the wheel that is expected."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wheel.sha256:
        raise InputError(
            f"{path.name} has the SHA-256 {found}, but that of {wheel.requirement} is {wheel.sha256}. It is not "
            "used. Look at which package index pip asks (`pip config list`)."
        )


def require_space(said: str) -> None:
    """OSError if another process says that the disk is full."""
    for number in NO_SPACE:
        if os.strerror(number) in said:
            raise OSError(number, os.strerror(number))


def failure(wheel: Wheel, said: str) -> Exception:
    """What it means that pip failed, by what it said.

    An index that cannot be reached is for pip one that has no version of anything.
    """
    if "No module named pip" in said:
        return MissingLibraryError(
            f"pip is missing here, and it downloads {wheel.requirement}: install it with {sys.executable} -m ensurepip"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip().startswith("ERROR")] or [said.strip()]
    reason = f"pip says: {lines[-1].removeprefix('ERROR: ').removesuffix('.')}"
    if "from versions: none" in said:
        reason = f"it found no version of {wheel.name} at all. Most likely it cannot reach the package index"
    return UnreachableError(
        f"pip cannot download {wheel.requirement}: {reason}. Look at the connection, and at which package index pip "
        "asks (`pip config list`), and run the same command again"
    )
