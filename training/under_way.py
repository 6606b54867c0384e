"""The folder of a training that is under way, from its first step to its own name.

In: the output, and the plan of the training. Out: `.out.partial/` beside the output, on the same
file system:

    plan.json           what is trained
    layout.json         in how many processes its state was saved
    state/              the state from which it goes on (`training/resuming.py`)
    train_log.jsonl     checkpoint-000012/      as in the output

    partial = begin(Path("out"), plan, shape)    # what a killed training of this plan left stays
    publish(Path("out"))                         # the folder gets its own name

All processes call these; the first one writes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from training import processes, train_log
from training.errors import OtherStateError, TrainingError
from training.layout import Layout
from training.reports import PLAN, REPORT, SHAPE, TrainingPlan, TrainingReport, differences, require_folders
from training.resuming import STATE, is_begun, newest, partial_of, remove, step_of, usable
from training.signs import SAVING
from training.whole_files import write_whole


def require_place(output: Path) -> None:
    """TrainingError for an output that no folder can be renamed to. It is known before the first
    step."""
    if output.is_symlink() or output.is_mount():
        what = "a symbolic link" if output.is_symlink() else "a mount point"
        raise TrainingError(
            f"{output} is {what}, and the training becomes a new folder of this name at its end: give a folder that is "
            f"not there, such as {output / 'model'}"
        )


def whole(partial: Path, plan: TrainingPlan) -> TrainingReport | None:
    """The report of a training that was killed when only its name was left to be changed."""
    try:
        report = TrainingReport.model_validate_json((partial / REPORT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    processes.wait()  # before the first one renames it
    if report.plan != plan:
        return None
    require_folders(partial, report)
    return report


def publish(output: Path) -> None:
    """Give a training that is whole its own name, without what only its processes needed."""
    partial = partial_of(output)
    if processes.is_first():
        for left in (partial / STATE, partial / PLAN, partial / SHAPE):
            remove(left)
        partial.rename(output)
    processes.wait()


def begin(output: Path, plan: TrainingPlan, shape: Layout) -> Path:
    """The folder of a training that is under way, beside the output, on the same file system.

    It keeps what a killed training of the same plan left there, and nothing else: its last state,
    the checkpoints up to there, and the log. OtherStateError for a state of another plan, for one
    that is damaged, and for one that is shared out over another number of processes.
    """
    partial = partial_of(output)
    if processes.is_first():
        _require_same_plan(partial, plan)
        if begun_plan(partial) != plan:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_whole(partial / PLAN, plan.model_dump_json(indent=2) + "\n")
        _forget_after(partial, usable(partial)[0])
        (partial / SAVING).unlink(missing_ok=True)
    processes.wait()
    if newest(partial):
        _require_same_parts(partial, shape)
    processes.wait()
    if processes.is_first():
        write_whole(partial / SHAPE, shape.model_dump_json() + "\n")
    return partial


def begun_plan(partial: Path) -> TrainingPlan | None:
    """The plan of the training that was begun in a folder. None where nobody can tell."""
    try:
        return TrainingPlan.model_validate_json((partial / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _require_same_plan(partial: Path, plan: TrainingPlan) -> None:
    """OtherStateError if another training has saved its state here: that may be hours of work."""
    begun = begun_plan(partial)
    if begun == plan or not is_begun(partial):
        return
    how = "; ".join(differences(begun, plan)) if begun else f"{partial / PLAN} cannot be read"
    raise OtherStateError(
        f"{partial} holds the state of another training that was killed ({how}). Give the same settings and rows again to go "
        "on with it, choose another output, or remove that folder to begin again"
    )


def _require_same_parts(partial: Path, shape: Layout) -> None:
    """OtherStateError if the state cannot be read in this layout: each process has a part of it."""
    try:
        then = Layout.model_validate_json((partial / SHAPE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OtherStateError(
            f"a training of this plan was killed, and {partial / SHAPE}, which says how its state was saved, cannot be read "
            f"({error}). Remove {partial} to begin again"
        ) from None
    parts, own = (found.processes if found.is_sharded else 0 for found in (then, shape))
    if parts != own:
        how = f"its weights shared out over {then.processes} processes" if parts else "the whole model in each process"
        fix = f"devices: {then.processes} and sharding: fsdp2" if parts else "sharding: ddp"
        raise OtherStateError(
            f"a training of this plan was killed, and its state in {partial} was saved with {how}. Go on with {fix}, or "
            "remove that folder to begin again"
        )


def _forget_after(partial: Path, state: Path | None) -> None:
    """Remove what a killed training made after its last state: it is made again."""
    step = step_of(state) if state else 0
    for folder in (*(partial / STATE).glob("*"), *partial.glob("checkpoint-*")):
        if folder != state and (folder.parent.name == STATE or step_of(folder) > step):
            remove(folder)
    train_log.write(partial, train_log.read(partial, step))
