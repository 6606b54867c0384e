"""Each task's own solution runs once, and its outputs and times are kept to judge answers by.

In: tasks. Out: for each a `Ready`: what its answers are compared with and how long they may take,
or the reason why no answer to it can be judged here.

    ready = prepare(tasks, Grading(), print)
    ready["HumanEval/0"].ungradable    # None

The task's own solution is run like any answer, in the sandbox. Tests that it does not pass with the
solution in a process of its own are run with both in one process (`is_apart` is false then), as
tests that replace parts of the solution need. If it passes neither way, the task is ungradable.

What was found is kept by a hash of the task, of the code that compares, and of the names of what is
installed in the environment, in `$XDG_CACHE_HOME/scoder/references`
(`~/.cache/scoder/references`). It may be deleted at any time. Nothing is kept of a task that is
ungradable, because a library may be installed later.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from builders import sandbox
from builders.executors.cpus import usable_cpus
from builders.harness import checker, literals, programs
from builders.harness.extraction import imports
from builders.harness.libraries import missing_library
from builders.harness.stored_cases import Below, Block, cases_hash, data_of
from builders.harness.tasks import Task
from builders.recipe import Grading
from store import Announce, content_id
from store.counts import counted
from store.errors import JobError
from store.held_folders import temporary_folder

GIVEN_BYTES = 1 << 30
"""What the cases of one task may take. Those of Mbpp/255 take 360 MB, with one output of 261 MB."""
REFERENCE_S = 300.0
"""Seconds that a task's own solution may take for all of its cases."""
LIBRARY_THREADS = 256
"""Processes and threads of a program with libraries. tensorflow ends if it cannot start its own."""
_FRAME = re.compile(r'  File "')
_MOCKS = re.compile(r"\b(?:mock|patch|MagicMock)\b")


@dataclass(frozen=True)
class Ready:
    """What is known of a task before its answers are judged.

    `seconds` is how long its own solution takes for all tests. `kept` is the file with the cases.
    `missing` names the libraries that the sandbox lacks.
    """

    is_apart: bool = True
    seconds: float = 0.0
    kept: Path | None = None
    ungradable: str | None = None
    missing: tuple[str, ...] = ()

    def data(self, head: bytes) -> bytes | Below:
        """A head, and below it the cases as the checker reads them."""
        if self.kept is None:
            return head
        with open(self.kept, "rb") as file:
            start = len(file.readline())
            return Below(head, Block(self.kept, start, file.seek(0, os.SEEK_END) - start))


def prepare(tasks: Sequence[Task], settings: Grading, announce: Announce) -> dict[str, Ready]:
    """What is known of each task, by its id. JobError where no sandbox works here."""
    sandbox.require()
    folder = own_folder()
    ready = {task.task_id: Ready(ungradable=task.ungradable) for task in tasks if task.ungradable}
    open_tasks = []
    for task in tasks:
        if task.task_id in ready:
            continue
        found = _kept(folder / _key(task, settings))
        if found is None:
            open_tasks.append(task)
        else:
            ready[task.task_id] = found
    if open_tasks:
        announce(f"grading: the own solutions of {counted(len(open_tasks), 'task')} run once, in the sandbox")
    ready |= _run([task for task in open_tasks if not _has_mocks(task)], settings, folder, is_apart=True)
    ready |= _run([task for task in open_tasks if _needs_one_process(task, ready)], settings, folder, is_apart=False)
    return {task.task_id: ready[task.task_id] for task in tasks}


def _has_mocks(task: Task) -> bool:
    """Whether the tests replace what the solution uses. A mock does not reach another process."""
    return task.comparison == "asserts" and _MOCKS.search(task.tests) is not None


def _needs_one_process(task: Task, ready: dict[str, Ready]) -> bool:
    if task.task_id not in ready:
        return True
    known = ready[task.task_id]
    return known.ungradable is not None and not known.missing and task.comparison == "asserts"


def _run(tasks: Sequence[Task], settings: Grading, folder: Path, *, is_apart: bool) -> dict[str, Ready]:
    by_id = {task.task_id: task for task in tasks}
    trials = ((task.task_id, _trial(task, is_apart)) for task in tasks if _has_something_to_run(task))
    found = {task.task_id: _without_running(task, is_apart) for task in tasks if not _has_something_to_run(task)}
    for task_id, result in run(trials, settings, given_bytes=GIVEN_BYTES):
        task = by_id[task_id]
        if result.status == "passed":
            found[task_id] = _keep(folder / _key(task, settings), result, is_apart)
        else:
            found[task_id] = _ungradable(task, result, settings)
    return found


def run(
    trials: Iterable[tuple[str, sandbox.Trial]],
    settings: Grading,
    workers: int | None = None,
    given_bytes: int = 1 << 10,
) -> Iterator[tuple[str, sandbox.SandboxResult]]:
    """Trials in the sandbox of these settings, in their order. An answer's checker gives a word."""
    limits = sandbox.SandboxLimits(
        wall_s=settings.wall_s,
        memory_mb=settings.memory_mb,
        processes=sandbox.DEFAULT_LIMITS.processes if settings.environment is None else LIBRARY_THREADS,
        file_mb=64,
        given_bytes=given_bytes,
    )
    workers = workers or settings.workers or usable_cpus()
    return sandbox.run_many(trials, workers, limits, environment=settings.environment)


def _has_something_to_run(task: Task) -> bool:
    """Whether there is anything to find out. `comparison` tells what judges, never `tests`."""
    if task.comparison != "asserts":
        return bool(task.cases)
    return bool(task.tests.strip()) and programs.reference(task) is not None


def _without_running(task: Task, is_apart: bool) -> Ready:
    if task.comparison == "asserts" and task.tests.strip():
        return Ready(is_apart=is_apart)
    return Ready(ungradable="the file has no tests for it")


def _trial(task: Task, is_apart: bool) -> sandbox.Trial:
    """The trial of the task's own solution."""
    solution = programs.reference(task)
    pieces = () if solution is None else (solution,)
    if task.comparison == "asserts":
        return asserts_trial(task, pieces, REFERENCE_S, is_apart=is_apart)
    job = {"has_solution": solution is not None, "patience_s": REFERENCE_S} | programs.comparison_of(task)
    return sandbox.Trial(
        solution=pieces,
        tests=(programs.checker_text(), "record()\n"),
        prelude=programs.prelude(task),
        entry_point=task.entry_point,
        data=data_of(json.dumps(job).encode() + b"\n", task.cases),
        wall_s=REFERENCE_S,
        is_script=task.call_form == "stdin",
    )


def asserts_trial(task: Task, pieces: tuple[str, ...], wall_s: float, *, is_apart: bool) -> sandbox.Trial:
    """The trial of a solution by tests that are Python code.

    Tests of HumanEval call functions that the prompt defines above the entry point (HumanEval/32,
    38, 50). They get the prompt's own, and not what an answer calls so.
    """
    before, tests = programs.split_tests(task)
    prelude = [*before, programs.above_entry_point(task) or ""]
    return sandbox.Trial(
        solution=pieces,
        tests=(tests + programs.test_call(task),),
        prelude="\n".join(prelude),
        entry_point=task.entry_point,
        wall_s=wall_s,
        is_apart=is_apart,
    )


def _ungradable(task: Task, result: sandbox.SandboxResult, settings: Grading) -> Ready:
    """Why the task's own solution did not pass."""
    message = last_line(result.stderr)
    if missing := _lacking(task, message, settings):
        return Ready(ungradable=f"the sandbox lacks {', '.join(missing)}", missing=missing)
    how = {"timeout": f"takes longer than {REFERENCE_S:.0f} s", "memory": f"needs more than {settings.memory_mb} MB"}
    why = how.get(result.status, f"does not pass ({message or result.status})")
    if message and message.startswith("AssertionError: its own"):
        return Ready(ungradable=message.removeprefix("AssertionError: "))
    return Ready(ungradable=f"its own solution {why}")


def _lacking(task: Task, message: str | None, settings: Grading) -> tuple[str, ...]:
    """The libraries of the task that the sandbox lacks, if it was one of them that stopped it."""
    stopped_by = missing_library(message)
    if stopped_by is None:
        return ()
    tests = task.tests if task.comparison == "asserts" else ""
    wanted = imports(programs.reference(task) or "") | imports(tests) | {stopped_by}
    absent = sandbox.modules_missing(sorted(wanted), settings.environment)
    return tuple(absent) if stopped_by in absent else ()


@cache
def is_absent(name: str, environment: str | None) -> bool:
    """Whether no program in the sandbox of this environment can import the module."""
    return bool(sandbox.modules_missing([name], environment))


def last_line(text: str) -> str | None:
    """What was raised, on one line: all that stands below the last frame of a traceback.

    Without a traceback it is the last line that holds something.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    last_frame = max((number for number, line in enumerate(lines) if _FRAME.match(line)), default=len(lines))
    raised = next((n for n in range(last_frame, len(lines)) if not lines[n].startswith(" ")), len(lines) - 1)
    return " ".join(" ".join(lines[raised:]).split())[:500] or None


def _key(task: Task, settings: Grading) -> str:
    """The name of the file with what is known of a task."""
    names = {field.name for field in fields(task)} - {"chat", "completion", "stops", "cases"}
    about = {name: getattr(task, name) for name in names} | {"cases": cases_hash(task.cases)}
    return content_id(json.dumps(about, sort_keys=True), _code(), _libraries(settings.environment), sys.version)


def _libraries(environment: str | None) -> str:
    """The libraries of an environment with their versions, which the names of its folders hold."""
    if environment is None:
        return ""
    packages = Path(environment).glob("lib/python3*/site-packages/*")
    return "\n".join([os.path.realpath(environment), *sorted(path.name for path in packages)])


@cache
def _code() -> str:
    """The modules that decide what is found. With another version of them, it is found anew."""
    inside = Path(__file__).parents[1] / "sandbox" / "inside"
    places = [*(Path(str(module.__file__)) for module in (checker, programs, literals)), *sorted(inside.glob("*.py"))]
    return "".join(path.read_text(encoding="utf-8") for path in places)


def own_folder() -> Path:
    """Where cases are kept. A folder of this process, if the cache is not this user's to write.

    Whoever can write there decides what is right. So it must belong to the user alone.
    """
    place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "scoder" / "references"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=place).close()
        about = place.stat()
    except OSError:
        return _private_folder()
    is_own = about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return place if is_own else _private_folder()


@cache
def _private_folder() -> Path:
    folder = temporary_folder("references")
    atexit.register(folder.close)
    return folder.path


def _kept(path: Path) -> Ready | None:
    """What a file holds, if it is whole."""
    try:
        with open(path, "rb") as file:
            head = json.loads(file.readline())
            is_whole = hashlib.file_digest(file, "sha256").hexdigest() == head["sha256"]
        return Ready(is_apart=head["is_apart"], seconds=head["seconds"], kept=path) if is_whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, result: sandbox.SandboxResult, is_apart: bool) -> Ready:
    """Write what was found, whole or not at all. JobError where there is no space."""
    head, cases = _parted(result.given)
    took = float(json.loads(head)["seconds"]) if head else result.wall_s
    seconds = min(max(took, 0.0), REFERENCE_S)
    kept = {"is_apart": is_apart, "seconds": seconds, "sha256": hashlib.sha256(cases).hexdigest()}
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(json.dumps(kept).encode() + b"\n")
            file.write(cases)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise JobError(
            f"what is known of benchmark tasks cannot be kept in {path.parent} ({error.strerror}): "
            "make room there, or set XDG_CACHE_HOME to another folder"
        ) from None
    return Ready(is_apart=is_apart, seconds=seconds, kept=path)


def _parted(given: bytes) -> tuple[bytes, memoryview]:
    """The first line, and the rest, which may be large and is not copied."""
    end = given.find(b"\n") + 1
    return given[:end], memoryview(given)[end:]
