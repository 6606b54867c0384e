"""From where a killed training goes on.

In: the folder of a training that is under way. Out: its newest state. That is one folder with all
that the next process needs: weights, the optimizer's state, the random numbers, the place in the
data. It is replaced whole, and removed when the training ends. While it is replaced there are two.

    newest(partial_of(Path("out")))    # .out.partial/state/checkpoint-40

What was not saved to its end is nothing. What was, and is not whole any more, is damaged.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from training.errors import OtherStateError
from training.seals import MARK, damage

STATE = "state"


def partial_of(output: Path) -> Path:
    """Where a training is until it is whole."""
    return output.with_name(f".{output.name}.partial")


def newest(partial: Path) -> Path | None:
    """The newest whole state of a training that is under way, or None."""
    return next((state for state in _saved(partial) if not damage(state)), None)


def is_begun(partial: Path) -> bool:
    """Whether there is a state, whole or damaged."""
    return any(True for _ in _saved(partial))


def usable(partial: Path) -> tuple[Path | None, str]:
    """The newest whole state, and what is said of a newer one that is damaged.

    OtherStateError if all are damaged.
    """
    found = ""
    for state in _saved(partial):
        wrong = damage(state)
        if not wrong:
            return state, found and f"{found}; the state before is whole"
        found = found or wrong
    if found:
        raise OtherStateError(
            f"the state of a killed training is damaged: {found}. Put the file back, or remove {partial} to begin again"
        )
    return None, ""


def _saved(partial: Path) -> Iterator[Path]:
    """The states that were saved to their end, the newest first."""
    found = [state for state in (partial / STATE).glob("checkpoint-*") if (state / MARK).exists()]
    yield from sorted(found, key=step_of, reverse=True)


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
        for mark in list(path.rglob(MARK)):
            mark.unlink(missing_ok=True)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def step_of(folder: Path) -> int:
    """The step after which a folder was saved."""
    return int(folder.name.rpartition("-")[2])
