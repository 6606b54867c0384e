"""Indexes on disk: the same as made ones, whatever is in the folder."""

import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from builders.decontamination import detectors
from builders.decontamination.detectors import kept
from builders.recipe import Decontamination

TASKS = [
    {
        "benchmark": "b",
        "task_id": str(k),
        "prompt": f'def f{k}(x):\n    """Return the sum of the {word} squared in x, 😀 or None."""\n',
        "solution": f"    return sum(value ** {k + 3} for value in x if value) or None\n",
        "tests": f"assert f{k}([{k}, 17, 4411]) == 'velociraptor'",
    }
    for k, word in enumerate(["prices", "weights"])
]
TASKS.append({**TASKS[0], "task_id": "none", "solution": None})
TEXTS = [str(task["prompt"]) + str(task["solution"]) + str(task["tests"]) for task in TASKS]
DEFAULT = Decontamination()


def hits(index) -> pa.Table:
    return detectors.hits(index, pa.array(["a", "b", "c"]), pa.array(TEXTS))


EXPECTED = hits(detectors.index(TASKS, DEFAULT))


@pytest.fixture
def never_made(monkeypatch):
    def fail(*_):
        raise AssertionError("made anew")

    return lambda: monkeypatch.setattr(kept, "made", fail)


def test_an_index_is_made_once(tmp_path, never_made):
    assert EXPECTED.num_rows > 5
    assert hits(kept.index(TASKS, DEFAULT, tmp_path)).equals(EXPECTED)
    never_made()
    assert hits(kept.index(TASKS, DEFAULT, tmp_path)).equals(EXPECTED)
    assert hits(kept.index(TASKS, Decontamination(min_strength=0.9), tmp_path)).equals(EXPECTED)


@pytest.mark.parametrize(
    "tasks, settings",
    [
        (TASKS[:2], DEFAULT),
        (TASKS[::-1], DEFAULT),
        ([{**TASKS[0], "solution": ""}, *TASKS[1:]], DEFAULT),
        ([{**TASKS[0], "tests": "assert True"}, *TASKS[1:]], DEFAULT),
        ([{**TASKS[0], "benchmark": "c"}, *TASKS[1:]], DEFAULT),
        (TASKS, Decontamination(ngram=7)),
        (TASKS, Decontamination(detectors=("string",))),
    ],
)
def test_another_question_is_another_file(tmp_path, tasks, settings):
    kept.index(TASKS, DEFAULT, tmp_path)
    assert hits(kept.index(tasks, settings, tmp_path)).equals(hits(detectors.index(tasks, settings)))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "directory"])
def test_a_damaged_file_is_made_anew(tmp_path, never_made, damage):
    kept.index(TASKS, DEFAULT, tmp_path)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    if damage == "directory":
        file.unlink()
        file.mkdir()
    else:
        given = {"cut": data[: len(data) // 2], "flipped": data, "empty": b"", "text": b"no archive"}
        file.write_bytes(given[damage])
    assert hits(kept.index(TASKS, DEFAULT, tmp_path)).equals(EXPECTED)
    assert [p.name for p in tmp_path.iterdir()] == [file.name], "no leftovers"
    if damage != "directory":
        never_made()
        assert hits(kept.index(TASKS, DEFAULT, tmp_path)).equals(EXPECTED)


def test_other_code_makes_another_index(tmp_path, monkeypatch):
    kept.index(TASKS, DEFAULT, tmp_path)
    monkeypatch.setattr(kept, "_code", lambda: "other")
    kept.index(TASKS, DEFAULT, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_several_may_write_at_once(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: kept.index(TASKS, DEFAULT, tmp_path), range(8)))
    assert all(hits(index).equals(EXPECTED) for index in made)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_folder_keeps_the_youngest(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST", 2)
    for k, age in ((6, 30), (7, 20), (8, 10)):
        kept.index(TASKS[:1], Decontamination(detectors=("string",), ngram=k), tmp_path)
        for file in tmp_path.iterdir():
            os.utime(file, (file.stat().st_atime - age, file.stat().st_mtime - age))
    assert len(list(tmp_path.iterdir())) == 2


def test_without_a_folder_of_ones_own_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = kept.own_folder()
    assert folder is not None and folder.is_relative_to(tmp_path)
    folder.chmod(0o777)
    assert kept.own_folder() is None, "anybody could write into it"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept.own_folder() is None
    assert hits(kept.index(TASKS, DEFAULT, None)).equals(EXPECTED)
    assert hits(kept.index(TASKS, DEFAULT, tmp_path / "absent")).equals(EXPECTED)
