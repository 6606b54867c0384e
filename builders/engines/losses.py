"""What attempts cost that gave no answer, on disk, so that the budget of the next run counts it.

In: the file of a journal, and what an attempt cost. Out: the sum of all that was written. An answer
has its cost in its own line of the journal. A time-out, a cut answer or an answer that broke off
has none, but the provider may bill it. It is written down when it happens, so it also stays when
the run ends or is killed.

    add(folder / FILE, 582, 0.01)
    total(folder / FILE)    # (582, 0.01)
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from store.files import private

FILE = "lost.jsonl"


def add(path: Path, tokens: int, usd: float) -> None:
    """Write down what an attempt cost.

    It goes in one write, after a line break of its own: a line that was cut by a kill spoils no
    other one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"tokens": tokens, "usd": usd})
    with open(path, "ab", buffering=0, opener=private) as handle:
        handle.write(f"\n{line}\n".encode())
        os.fsync(handle.fileno())


def total(path: Path) -> tuple[int, float]:
    """The tokens and dollars of a file, 0 where there is none."""
    tokens, usd = 0, 0.0
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            said = json.loads(line)
            tokens, usd = tokens + int(said["tokens"]), usd + float(said["usd"])
        except (ValueError, TypeError, KeyError):
            continue  # blank, or cut by a kill
    return tokens, usd
