"""Cases in a file: they are the same cases, nobody else sees the file, and memory stays flat."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.harness import references
from builders.harness.jobs import ASKED, tasks_hash
from builders.harness.stored_cases import Below, CaseFile, cases_hash, data_of
from builders.harness.tasks import Case, Task
from builders.recipe import Grading
from store.errors import JobError
from tests.benchmark_rows import PROJECT

TASK = Task("T/0", "Add.", None, "", "f", comparison="equal", cases=(Case("[1]", "2"), Case("[2]"), Case("é\n\ud800")))
TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)


@given(st.lists(st.lists(st.builds(Case, TEXTS, st.none() | TEXTS), min_size=1, max_size=5), min_size=1, max_size=3))
def test_stored_cases_are_the_same_cases(parts: list[list[Case]]) -> None:
    file = CaseFile(Path("/tmp"))
    tasks = [replace(TASK, task_id=str(number), cases=tuple(cases)) for number, cases in enumerate(parts)]
    stored = [file.stored(task) for task in tasks]
    for task, other in zip(tasks, stored, strict=True):
        assert list(other.cases) == list(task.cases) and len(other.cases) == len(task.cases)
        assert (
            other.cases[0] == task.cases[0] and other.cases[-1] == task.cases[-1] and other.cases[:2] == task.cases[:2]
        )
        assert cases_hash(other.cases) == cases_hash(task.cases)
        assert b"".join(data_of(b"head", other.cases)) == data_of(b"head", task.cases)  # type: ignore[arg-type]
        with pytest.raises(IndexError):
            other.cases[len(task.cases)]


def test_a_task_without_cases_stays_as_it_is(tmp_path: Path) -> None:
    task = replace(TASK, cases=())
    assert CaseFile(tmp_path).stored(task) is task


def test_hashes_of_tasks_do_not_depend_on_where_the_cases_lie(tmp_path: Path) -> None:
    stored, other = CaseFile(tmp_path).stored(TASK), replace(TASK, cases=(*TASK.cases[:2], Case("é\n\ud801")))
    assert stored == CaseFile(tmp_path).stored(TASK) != CaseFile(tmp_path).stored(other)
    assert tasks_hash([stored]) == tasks_hash([TASK]) != tasks_hash([other])
    assert tasks_hash([other], ASKED) == tasks_hash([TASK], ASKED)
    key = references._key(TASK, Grading())
    assert references._key(stored, Grading()) == key != references._key(other, Grading())
    assert references._key(replace(TASK, chat="Please add."), Grading()) == key


def test_the_file_has_no_name_and_goes_with_its_last_cases(tmp_path: Path) -> None:
    file = CaseFile(tmp_path)
    fd, task = file.fd, file.stored(TASK)
    del file
    gc.collect()
    assert list(tmp_path.iterdir()) == [] and not os.get_inheritable(fd)
    assert len(list(task.cases)) == 3
    del task
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_data_of_stored_cases_is_read_anew_each_time(tmp_path: Path) -> None:
    data = data_of(b"head\n", CaseFile(tmp_path).stored(TASK).cases)
    assert isinstance(data, Below) and b"".join(data) == b"".join(data) and len(b"".join(data)) == len(data)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_an_error_with_advice(tmp_path: Path) -> None:
    file, full = CaseFile(tmp_path), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file.fd)
    with pytest.raises(JobError, match=r"cannot be put aside in .* \(No space left on device\): make room"):
        file.stored(TASK)
    with pytest.raises(JobError, match=r"cannot be put aside in .*none"):
        CaseFile(tmp_path / "none")


def test_reading_a_benchmark_takes_no_more_memory_for_more_cases(tmp_path: Path) -> None:
    row = {"question_content": "Print.", "contest_date": "2024-05-01", "starter_code": "", "public_test_cases": "[]"}
    for name, num_tasks in (("few", 4), ("many", 40)):
        with open(tmp_path / name, "w") as file:
            for number in range(num_tasks):
                tests = [{"input": f"{number % 10}" * 2**20, "output": f"{test}" * 2**20} for test in range(3)]
                file.write(
                    json.dumps({**row, "question_id": str(number), "private_test_cases": json.dumps(tests)}) + "\n"
                )
    few, many = _peak_mb(tmp_path, "few"), _peak_mb(tmp_path, "many")
    assert many < few + 60, (few, many)


READ = """
import resource, sys
from builders.benchmarks import named
from builders.harness.jobs import tasks_hash
from builders.standalone.evaluation import read
tasks = read([named("large=" + sys.argv[1])])["large"]
tasks_hash(tasks)
assert sum(len(case.input) for case in tasks[-1].cases) == 3 * 2**20
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _peak_mb(folder: Path, name: str) -> float:
    """The peak of the resident memory of a process that reads a benchmark."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", READ, str(folder / name)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
