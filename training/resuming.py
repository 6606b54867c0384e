"""From where a killed training goes on.

In: the folder of a training that is under way. Out: its newest state. That is one folder with all
that the next process needs: weights, the optimizer's state, the random numbers, the place in the
data. It is replaced whole, and removed when the training ends. While it is replaced there are two.

    newest(partial_of(Path("out")))    # .out.partial/state/checkpoint-40
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

STATE = "state"
_LAST = "trainer_state.json"
"""The file that the trainer writes last."""
_PARTS = ("optimizer*", "scheduler.pt", "rng_state*")
"""What else a state has beside the weights. Without one, a training would begin that part anew."""


def partial_of(output: Path) -> Path:
    """Where a training is until it is whole."""
    return output.with_name(f".{output.name}.partial")


def newest(partial: Path) -> Path | None:
    """The newest whole state of a training that is under way, or None."""
    return max(filter(_is_whole, (partial / STATE).glob("checkpoint-*")), key=step_of, default=None)


def _is_whole(folder: Path) -> bool:
    """Whether all parts of a state are there, and the last one is not cut, as by a full disk."""
    try:
        json.loads((folder / _LAST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return all(any(folder.glob(part)) for part in _PARTS)


def left_by(output: Path) -> str:
    """What a training that ended too early leaves, and how it goes on. Empty if it has no state."""
    partial = partial_of(output)
    state = newest(partial)
    if state is None:
        return ""
    return (
        f"Its state after step {step_of(state)} is kept in {partial}: the same command goes on from there. To give it "
        "up, remove that folder"
    )


def remove(path: Path) -> None:
    """Remove a file or a folder, of a state the mark that it is whole first: a kill may come before
    the rest is gone.
    """
    if path.is_dir():
        for mark in (path / _LAST, *path.glob(f"*/{_LAST}")):
            mark.unlink(missing_ok=True)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def step_of(folder: Path) -> int:
    """The step after which a folder was saved."""
    return int(folder.name.rpartition("-")[2])
