"""A folder that keeps an evaluation, so that it can be resumed, and judged again without a model.

    settings.json      what was asked of which model; the same command resumes, another is refused
    answers/           every answer as it came: JSON lines that only grow
    rows.parquet       one row per answer, with its verdict: the columns of the table evaluations
    summary.json       what came of it, per benchmark and form
    samples/           the extracted code, in the forms that EvalPlus and bigcode's harness read

A folder of `grade -o` has no answers: its rows hold the samples, and its settings.json says what
they are verdicts on. There the column `form` may also be `samples`: nobody knows how the models of
these were asked.

The rows are Parquet under the contract of the table, so that one query reads a store and a folder:

    with opened("my-evaluation", plan, about) as answers:
        ...
    duckdb.sql("SELECT status, count(*) FROM 'my-evaluation/rows.parquet' GROUP BY status")
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.harness import sample_files, statistics
from builders.harness.rows import Row
from builders.harness.statistics import Counts
from builders.harness.summary import Summary
from builders.harness.tasks import Task
from store import CONTRACTS, Plan
from store.errors import InputError, JobError, MissingError
from store.files import check_folder, make_folder, write_text

SETTINGS, ANSWERS, ROWS, SUMMARY, SAMPLES = "settings.json", "answers", "rows.parquet", "summary.json", "samples"
JUDGED = "judged"
"""In the settings: the tests and the limits of the verdicts, where these are not the first."""
SAMPLES_OF = "samples"
"""In the settings: the file whose samples were judged. An evaluation has none."""


@contextmanager
def opened(folder: Path, plan: Plan, about: dict[str, Any]) -> Iterator[Path]:
    """The folder of the answers of a run. It is locked meanwhile.

    `plan` identifies the run; `about` is kept beside it, for whoever reads the folder. InputError
    if the folder holds another run, or other files. JobError if another process works in it.
    """
    _check(folder, plan)
    make_folder(folder)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise JobError(f"another process works in {folder}: wait for it, or give another folder") from None
        write_text(folder / SETTINGS, json.dumps(about | {"plan": plan.model_dump(mode="json")}, indent=1) + "\n")
        yield folder / ANSWERS


def add(folder: Path, about: dict[str, Any]) -> None:
    """Keep more about a run that is opened."""
    write_text(folder / SETTINGS, json.dumps(settings_of(folder) | about, indent=1) + "\n")


def settings_of(folder: Path) -> dict[str, Any]:
    """What `opened` has kept of a run, with its `plan`."""
    path = folder / SETTINGS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(
            f"{folder} holds no evaluation: it has no {SETTINGS}. `scoder evaluate -o` makes one"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): restore it, or evaluate into another folder") from None


def task_counts(folder: Path) -> dict[tuple[str, str], Counts]:
    """How many answers of each task were graded and passed, by benchmark and form.

    Only where there is a number. MissingError without results, or where no group has a number.

    Example:
        task_counts(Path("my-base"))["humaneval", "chat"]["HumanEval/0"]    # (1, 1)
    """
    try:
        told = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        rows = _table(folder, ["benchmark", "form", "task_id", "status", "is_passed"])
    except FileNotFoundError:
        raise MissingError(
            f"{folder} holds no finished evaluation: `scoder evaluate … -o {folder}` makes one"
        ) from None
    whole = {(one["benchmark"], one["form"]) for one in told if one["pass@1"] is not None}
    if not whole:
        raise MissingError(f"{folder} holds no number: `scoder grade {folder}` says why")
    parts = {key: [row for row in rows if (row["benchmark"], row["form"]) == key] for key in sorted(whole)}
    return {key: statistics.task_counts(part) for key, part in parts.items()}


def answered_before(folder: Path) -> set[tuple[str, str, str, int]]:
    """Benchmark, form, task and number of the answers that the kept rows are about."""
    names = ["benchmark", "form", "task_id", "sample_index", "finish_reason"]
    found = _table(folder, names) if (folder / ROWS).exists() else []
    return {
        (row["benchmark"], row["form"], row["task_id"], row["sample_index"])
        for row in found
        if row["finish_reason"] in ("stop", "length")
    }


def _table(folder: Path, columns: list[str] | None = None) -> list[Row]:
    try:
        return list(pq.read_table(folder / ROWS, columns=columns).to_pylist())
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(
            f"{folder / ROWS} cannot be read ({str(error).splitlines()[0]}): restore it, or remove it, and "
            f"`scoder grade {folder}` makes it anew"
        ) from None


def open_for_results(folder: Path) -> None:
    """Make a folder for results without answers. InputError if it holds anything else."""
    check_folder(folder)
    others = {path.name for path in folder.iterdir()} - {ROWS, SUMMARY, SAMPLES} if folder.exists() else set()
    if SETTINGS in others and is_of_samples(settings_of(folder)):
        others.discard(SETTINGS)
    if others:
        raise InputError(f"{folder} holds {min(others)}, and no results of `scoder grade -o`: give a new folder")
    make_folder(folder)


def is_of_samples(kept: Mapping[str, Any]) -> bool:
    """Whether these settings are those of `grade -o`."""
    return SAMPLES_OF in kept


def holds_verdicts_alone(folder: Path) -> bool:
    """Whether a path is a folder of `grade -o`, also one that an older version made."""
    return (folder / ROWS).is_file() and not (folder / ANSWERS).exists()


def samples(folder: Path, tasks: Mapping[str, Sequence[Task]]) -> sample_files.Samples:
    """The samples that a folder of `grade -o` holds verdicts on. InputError for other tasks."""
    names = ["benchmark", "form", "task_id", "sample_index", "completion", "finish_reason"]
    found = _table(folder, names)
    if not (folder / SETTINGS).exists():
        # Older versions called the form `chat` where nobody knew it.
        found = [row | {"form": "samples" if row["form"] == "chat" else row["form"]} for row in found]
    return sample_files.of_rows(found, tasks, str(folder / ROWS))


def write_verdicts(
    folder: Path, path: Path, about: dict[str, Any], rows: Sequence[Row], summaries: Sequence[Summary]
) -> None:
    """Write the verdicts on the samples of a file, and what they come from, so that `grade` can
    judge the samples again. `path` may be the folder itself.
    """
    there = folder / SETTINGS
    kept = settings_of(folder) if path.resolve() == folder.resolve() and there.exists() else {}
    model = kept.get("model", path.name)
    write_results(folder, model, rows, summaries)
    plan = Plan(table="evaluations", fields={"samples": model, "benchmarks": about[JUDGED]["benchmarks"]})
    said = {"model": model, SAMPLES_OF: kept.get(SAMPLES_OF, str(path.absolute()))}
    write_text(there, json.dumps(said | about | {"plan": plan.model_dump(mode="json")}, indent=1) + "\n")


def write_results(folder: Path, model: str, rows: Sequence[Row], summaries: Sequence[Summary]) -> None:
    """Write rows, samples and summary, each whole or not at all."""
    table = pa.Table.from_pylist(
        [{"checkpoint_id": model, **row} for row in rows], schema=CONTRACTS["evaluations"].schema
    )
    temporary = folder / f"{ROWS}.tmp"
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, folder / ROWS)
    sample_files.write(folder / SAMPLES, rows)
    write_summary(folder, summaries)


def write_summary(folder: Path, summaries: Sequence[Summary]) -> None:
    """Write the summary alone, for a run that was broken off."""
    write_text(folder / SUMMARY, json.dumps([summary.as_json() for summary in summaries], indent=1) + "\n")


def _check(folder: Path, plan: Plan) -> None:
    check_folder(folder)
    if not (folder / SETTINGS).exists():
        if folder.exists() and any(path.name != ".lock" for path in folder.iterdir()):
            raise InputError(f"{folder} holds other files, and no evaluation: give a new folder")
        return
    kept = Plan.model_validate(settings_of(folder)["plan"])
    if kept.fingerprint != plan.fingerprint:
        lines = "\n".join(f"  {line.removeprefix('fields.')}" for line in kept.differences(plan))
        raise InputError(
            f"{folder} holds the answers of another run. What differs (there -> now):\n{lines}\n"
            "Nothing was changed. Give the old values again, or another folder"
        )
