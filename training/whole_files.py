"""Files that appear whole or not at all, also after a kill or a loss of power.

write_whole(Path("out/plan.json"), text)
"""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file, or replace it. Until then the old one stays."""
    half = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with open(half, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
