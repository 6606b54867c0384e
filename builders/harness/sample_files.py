"""Files of answers that other harnesses write and read.

- EvalPlus: JSON lines of `{"task_id", "solution"}`, where a solution is a whole program, or of
  `{"task_id", "completion"}`, which continues the prompt. Several lines of a task are its samples.
- EvalPlus's folders: `HumanEval_0/0.py`, `HumanEval_0/1.py` and so on.
- bigcode-evaluation-harness: `generations.json`, a list per task, in the order of the benchmark.

Both harnesses run these programs as they are, so we do the same: what is read is not searched for
code. Answers of a model with prose or fences must go through `evalplus.sanitize` first, and
`not_python` counts those that did not. What we write is the program that was judged, so that
another harness can run it.

A program does not say how its model was asked. Our own files have the form in their names, such as
`humaneval-chat.jsonl`. A completion continued the prompt. All others get the form `samples`.

    read(Path("samples.jsonl"), {"humaneval": tasks})["humaneval", "HumanEval/0"]    # [Sample(…)]
    write(Path("samples"), rows)    # samples/humaneval-chat.jsonl and .generations.json
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, cast

from builders.code.syntax import parses
from builders.harness.rows import Row
from builders.harness.tasks import Task
from builders.sources import packing
from store.errors import InputError, MissingError
from store.files import write_text

SampleForm = Literal["chat", "completion", "samples"]
"""How the model was asked; `samples` where nobody knows."""
_OUR_NAME = re.compile(r".+-(chat|completion|samples)\.(?:jsonl|generations\.json)")
_FENCE = re.compile(r"\s*(?:```|~~~)")


@dataclass(frozen=True)
class Sample:
    """One program of a file, and how its model was asked."""

    code: str
    form: SampleForm


Samples = dict[tuple[str, str], list[Sample]]
"""By benchmark and task, in the order of the file."""


def read(path: Path, tasks: Mapping[str, Sequence[Task]]) -> Samples:
    """The samples of a file or folder. InputError for a task that no benchmark has, or two have."""
    if path.is_dir():
        return _of_folders(path, tasks)
    if not path.is_file():
        raise MissingError(f"no file or folder {path}")
    try:
        packing.require_content(path)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error})") from None
    if text.lstrip().startswith("["):
        return _generations(path, text, tasks)
    found: Samples = defaultdict(list)
    task_of = _finder(tasks)
    # not splitlines(), which also ends a line at U+2028 and U+0085: JSON may hold these in a string
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            name, text, is_whole = _of_line(line, f"{path}, line {number}")
            benchmark, task = task_of(name, f"{path}, line {number}")
            form = _form_of(path) or ("samples" if is_whole else "completion")
            sample = Sample(text if is_whole else _continued(task, text), form)
            found[benchmark, task.task_id].append(sample)
    if not found:
        raise InputError(
            f"{path} has no samples: give JSON lines of task_id and solution, or of task_id and completion"
        )
    return dict(found)


def of_rows(rows: Iterable[Row], tasks: Mapping[str, Sequence[Task]], where: str) -> Samples:
    """The samples that rows of `grade -o` were made of. InputError as above."""
    there = {(name, task.task_id) for name, part in tasks.items() for task in part}
    task_of = _finder(tasks)
    found: Samples = defaultdict(list)
    for row in rows:
        key = row["benchmark"], row["task_id"]
        if key not in there:
            benchmark, task = task_of(row["task_id"], where)
            key = benchmark, task.task_id
        if row["finish_reason"]:
            found[key].append(Sample(row["completion"], row["form"]))
    return dict(found)


def not_python(samples: Iterable[Sample]) -> tuple[int, int]:
    """How many samples are no Python because of a fence: those that begin with it, and all.

    not_python([Sample("```python\\nx = 1\\n```", "samples")])    # (1, 1)
    """
    fenced = [s.code for s in samples if ("```" in s.code or "~~~" in s.code) and not parses(s.code)]
    return sum(_FENCE.match(code) is not None for code in fenced), len(fenced)


def write(folder: Path, rows: Iterable[Row]) -> None:
    """Write both kinds of files for each benchmark and form. What has no answer is left out."""

    def key(row: Row) -> tuple[str, str]:
        return row["benchmark"], row["form"]

    for (benchmark, form), part in groupby(sorted(rows, key=key), key):
        by_task: dict[str, list[str]] = {}
        for row in part:
            codes = by_task.setdefault(row["task_id"], [])
            if row["status"] not in ("unanswered", "ungradable"):
                codes.append(row["extracted"])
        lines = [
            json.dumps({"task_id": task_id, "solution": code}) + "\n"
            for task_id, codes in by_task.items()
            for code in codes
        ]
        write_text(folder / f"{benchmark}-{form}.jsonl", "".join(lines))
        write_text(folder / f"{benchmark}-{form}.generations.json", json.dumps(list(by_task.values())) + "\n")


def _continued(task: Task, text: str) -> str:
    """The program that a completion makes of the prompt.

    Where the prompt is prose, it continues what a model continues in the form `completion`.
    """
    code = task.prompt + text
    return code if parses(code) or not task.completion else task.completion + text


def _form_of(path: Path) -> SampleForm | None:
    """The form that the name of one of our own files says."""
    found = _OUR_NAME.fullmatch(path.name)
    return cast(SampleForm, found.group(1)) if found else None


def _of_line(line: str, where: str) -> tuple[str, str, bool]:
    """The name of a task, a text, and whether that is a whole program."""
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error})") from None
    for field in ("solution", "completion"):
        if isinstance(row, dict) and _is_name(row.get("task_id")) and isinstance(row.get(field), str):
            return str(row["task_id"]), row[field], field == "solution"
    fields = sorted(row) if isinstance(row, dict) else type(row).__name__
    raise InputError(f"{where} needs a text task_id and a text solution or completion, but has {fields}")


def _is_name(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _finder(tasks: Mapping[str, Sequence[Task]]) -> Callable[[str, str], tuple[str, Task]]:
    """A function that finds the benchmark and the task of a name, or of a number.

    The Hub's MBPP+ calls Mbpp/2 just 2. InputError if there is none, or more than one.
    """
    whole: dict[str, list[tuple[str, Task]]] = defaultdict(list)
    short: dict[str, list[tuple[str, Task]]] = defaultdict(list)
    for benchmark, part in tasks.items():
        for task in part:
            whole[task.task_id].append((benchmark, task))
            short[task.task_id.rpartition("/")[2]].append((benchmark, task))

    def task_of(name: str, where: str) -> tuple[str, Task]:
        found = whole.get(name) or short.get(name, [])
        if len(found) == 1:
            return found[0]
        both = " and in ".join(benchmark for benchmark, _ in found)
        what = f"is in {both}: give one of them" if found else f"is in none of {', '.join(tasks)}"
        raise InputError(f"{where}: the task {name!r} {what}")

    return task_of


def _generations(path: Path, text: str, tasks: Mapping[str, Sequence[Task]]) -> Samples:
    try:
        lists: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})") from None
    if len(tasks) != 1:
        raise InputError(f"{path} names no tasks, so that one benchmark is needed, and {len(tasks)} are given")
    ((benchmark, part),) = tasks.items()
    is_right = isinstance(lists, list) and all(isinstance(one, list) for one in lists)
    if not is_right or not all(isinstance(code, str) for one in lists for code in one):
        raise InputError(f"{path} must be a list of lists of texts: the answers to each task of {benchmark}")
    if not any(lists):
        raise InputError(f"{path} has no samples: give a list of texts for each task of {benchmark}")
    if len(lists) != len(part):
        raise InputError(
            f"{path} has answers to {len(lists)} tasks, and {benchmark} has {len(part)}: they are told apart by their "
            "order alone, so the numbers must be equal"
        )
    return {
        (benchmark, task.task_id): [Sample(code, _form_of(path) or "samples") for code in one]
        for task, one in zip(part, lists, strict=True)
    }


def _of_folders(folder: Path, tasks: Mapping[str, Sequence[Task]]) -> Samples:
    names = {task.task_id.replace("/", "_"): task.task_id for part in tasks.values() for task in part}
    task_of = _finder(tasks)
    found: Samples = {}
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        if below.name not in names:
            raise InputError(f"{below}: no task of {', '.join(tasks)} has this name")
        benchmark, task = task_of(names[below.name], str(below))
        files = sorted(below.glob("*.py"), key=lambda path: (len(path.stem), path.stem))
        found[benchmark, task.task_id] = [Sample(path.read_text(encoding="utf-8"), "samples") for path in files]
    if not any(found.values()):
        raise InputError(f"{folder} holds neither an evaluation nor folders such as HumanEval_0/0.py")
    return found
