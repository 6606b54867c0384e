"""Two kept evaluations are compared on the same tests alone, and what is left out is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders import sandbox
from builders.benchmarks import named
from builders.engines import OpenAISettings
from builders.recipe import Evaluation, Grading
from builders.standalone.comparing import shared
from builders.standalone.evaluation import evaluate
from builders.standalone.grading import grade, grade_samples
from store.errors import InputError
from tests.fault_server import FaultServer
from tests.made_benchmarks import answer, row, written

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")


def judged(folder: Path, path: Path, numbers: range, name: str = "s.jsonl", grading: Grading | None = None) -> Path:
    """A folder of verdicts on right samples. The name of their file may say their form."""
    folder.with_suffix(".given").mkdir()
    samples = [{"task_id": f"Made/{n}", "solution": f"def plus_{n}(x): return x + {n}"} for n in numbers]
    file = written(folder.with_suffix(".given") / name, samples)
    grade_samples(file, [named(f"made={path}")], grading or Grading(), 1.0, folder=folder)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "b.jsonl", [row(n) for n in range(4)])


def test_tasks_without_a_verdict_in_one_of_both_are_named(tmp_path: Path, path: Path) -> None:
    one, other = judged(tmp_path / "one", path, range(4)), judged(tmp_path / "other", path, range(1, 4))
    found = shared(one, other)
    before, after = found.counts["made", "samples"]
    assert (before["Made/1"], before["Made/0"], after["Made/0"]) == ((1, 1), (1, 1), (0, 0))
    left_out = f"made (samples): 1 of 4 tasks has no verdict in {other}: left out are Made/0"
    assert left_out in found.remarks and left_out in shared(other, one).remarks
    assert "made (samples): nobody knows in which form the models were asked" in found.remarks
    assert len(shared(one, one).remarks) == 1


def test_other_tests_under_the_same_name_are_refused(tmp_path: Path, path: Path) -> None:
    more = written(tmp_path / "more.jsonl", [row(n, tests=row(n)["test"] + "    assert 1\n") for n in range(4)])
    one, other = judged(tmp_path / "one", path, range(4)), judged(tmp_path / "other", more, range(4))
    with pytest.raises(InputError, match=r"made has other tests in .*other than in .*one") as raised:
        shared(one, other)
    assert f"path: {path} -> {more}" in str(raised.value) and "Evaluate both models on the same" in str(raised.value)
    fewer = judged(tmp_path / "fewer", written(tmp_path / "fewer.jsonl", [row(n) for n in range(3)]), range(3))
    with pytest.raises(InputError, match="made has other tasks in"):
        shared(one, fewer)


def test_new_tests_of_a_file_are_refused_until_both_are_judged_by_them(tmp_path: Path, path: Path) -> None:
    one = judged(tmp_path / "one", path, range(4))
    written(path, [row(n, tests=row(n)["test"] + "    assert 1\n") for n in range(4)])
    other = judged(tmp_path / "other", path, range(4))
    with pytest.raises(InputError, match=f"the content of {path}, which has changed meanwhile"):
        shared(one, other)
    said: list[str] = []
    grade(one, announce=said.append)
    assert "made: its tests are not those of the first verdicts" in said
    assert list(shared(one, other).counts) == [("made", "samples")]


def test_forms_are_not_crossed(tmp_path: Path, path: Path) -> None:
    one = judged(tmp_path / "one", path, range(4), "made-completion.jsonl")
    other = judged(tmp_path / "other", path, range(4), "made-chat.jsonl")
    with pytest.raises(InputError, match=r"made \(completion\) and made \(chat\). Numbers of two forms say nothing"):
        shared(one, other)


def test_a_benchmark_of_one_folder_alone_and_other_limits_are_said(tmp_path: Path, path: Path) -> None:
    one = judged(tmp_path / "one", path, range(4))
    other = tmp_path / "other"
    given = [named(f"made={path}"), named(f"more={written(tmp_path / 'm', [row(n, 'More') for n in range(2)])}")]
    samples = [{"task_id": f"{name}/1", "solution": "def plus_1(x): return x + 1"} for name in ("Made", "More")]
    grade_samples(written(tmp_path / "s", samples), given, Grading(wall_s=7, workers=1), 1.0, folder=other)
    found = shared(one, other)
    assert f"only {other} has a number for more (samples): left out" in found.remarks
    assert "not asked or judged alike, which may be all that differs: grading.wall_s 10.0 -> 7.0" in found.remarks
    grade(other, Grading(), 1.0)
    assert not any("alike" in remark for remark in shared(one, other).remarks)


def test_a_folder_that_does_not_say_its_tests_is_refused_with_advice_that_works(tmp_path: Path, path: Path) -> None:
    one, old = judged(tmp_path / "one", path, range(4)), judged(tmp_path / "old", path, range(4))
    (old / "settings.json").unlink()
    with pytest.raises(InputError, match=f"`scoder grade {old} --benchmarks … -o {old}` judges the same samples again"):
        shared(one, old)
    grade_samples(old, [named(f"made={path}")], Grading(), 0.02, folder=old)
    assert shared(one, old).counts["made", "samples"][1]["Made/3"] == (1, 1)
    assert json.loads((old / "settings.json").read_text())["model"] == "old"


def test_answers_that_were_judged_again_are_compared_by_their_new_tests_and_limits(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    server = FaultServer(lambda body, _: answer(body))
    settings = Evaluation(engine=OpenAISettings(base_url=server.url), forms=("chat",))
    one, other = tmp_path / "one", tmp_path / "other"
    evaluate("m", [named(f"made={path}")], settings, folder=one)
    written(path, [row(n, tests=row(n)["test"] + "    assert 1\n") for n in range(4)])
    evaluate("m", [named(f"made={path}")], settings.model_copy(update={"max_tokens": 99}), folder=other)
    server.close()
    with pytest.raises(InputError, match="made has other tests in"):
        shared(one, other)
    grade(one, Grading(wall_s=20))
    said = "max_tokens 512 -> 99; grading.wall_s 20.0 -> 10.0"
    assert shared(one, other).remarks == [f"not asked or judged alike, which may be all that differs: {said}"]
