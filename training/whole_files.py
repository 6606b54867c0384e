"""Files that appear whole or not at all, also after a kill or a loss of power.

write_whole(Path("out/plan.json"), text)
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file, or replace it. Until then the old one stays."""
    half = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(half, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def open_like_folder(folder: Path) -> None:
    """Let those read the files of a folder who may read the folder.

    The safetensors library writes weights that only their owner can read, whatever the umask says.
    """
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)
