"""evaluate, grade and environment, as a user gives them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import sandbox
from tests.fault_server import FaultServer, ok, status
from tests.harness.test_environments import wheel
from tests.made_benchmarks import answer, benchmark, number_of, written
from tests.smoke_run import command, scoder_here

needs_sandbox = pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """It refuses tasks from 100 on, and answers task 1 wrongly."""
    monkeypatch.setenv("OPENAI_API_KEY", "test")

    def said(body: dict, attempt: int) -> object:
        if number_of(body) >= 100:
            return status(400, "no")
        return ok("def plus_1(x): return 0") if number_of(body) == 1 else answer(body)

    server = FaultServer(said)  # type: ignore[arg-type]  # a response, whatever the branch
    yield server
    server.close()


def evaluated(server: FaultServer, path: Path, *more: str):
    return scoder_here(
        "evaluate", "m", "--benchmarks", f"made={path}", "--engine", "openai", "--base-url", server.url, *more
    )


@needs_sandbox
def test_what_is_printed_for_people_and_for_programs(server: FaultServer, tmp_path: Path) -> None:
    path = benchmark(tmp_path / "b.jsonl", 4)
    done = evaluated(server, path)
    assert done.returncode == 0 and "0.75" in done.stdout and "made" in done.stdout, done.stderr
    assert "nothing is kept: with -o DIR" in done.stderr and "m is asked in the form chat" in done.stderr
    (told,) = json.loads(evaluated(server, path, "--json").stdout)
    assert told.items() >= {"benchmark": "made", "form": "chat", "tasks": 4, "answered": 4, "pass@1": 0.75}.items()
    assert told["statuses"] == {"failed": 1, "passed": 3} and told["problem"] is None
    assert {
        "empty",
        "truncated",
        "unanswered",
        "errors",
        "ungradable",
        "reasons",
        "missing_modules",
        "together",
    } <= told.keys()


@needs_sandbox
def test_refusals_print_no_number_and_end_with_1(server: FaultServer, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in benchmark(tmp_path / "b.jsonl", 164).read_text().splitlines()]
    path = written(tmp_path / "b.jsonl", rows[100:])
    done = evaluated(server, path, "--json", "-o", str(tmp_path / "out"))
    (told,) = json.loads(done.stdout)
    assert done.returncode == 1 and told["pass@1"] is None and told["unanswered"] == 64
    assert "64 of 64 answers are missing" in done.stderr and "400: no" in done.stderr
    assert "Traceback" not in done.stderr and "bug" not in done.stderr
    table = evaluated(server, path)
    assert table.returncode == 1 and "no number" in table.stdout
    assert "Nothing of this evaluation is kept, as no folder was given (-o DIR)" in table.stderr
    assert "All answers are kept" not in table.stderr and "All answers are kept" in done.stderr
    assert "--max-error-share, which is 0.02" in table.stderr and "0.05" not in table.stderr


@needs_sandbox
def test_a_wrong_key_is_no_bug_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    server = FaultServer(lambda body, _: status(401, "no"))
    done = evaluated(server, benchmark(tmp_path / "b.jsonl", 3))
    server.close()
    assert done.returncode == 1 and "check the variable OPENAI_API_KEY" in done.stderr
    assert "bug" not in done.stderr
    other = FaultServer(lambda body, _: status(404, "no such model"))
    done = evaluated(other, tmp_path / "b.jsonl")
    other.close()
    assert done.returncode == 1 and "check the model's name" in done.stderr, "the same code for a wrong name"


@needs_sandbox
def test_an_empty_window_is_told_before_that_nothing_is_kept(server: FaultServer, tmp_path: Path) -> None:
    done = evaluated(server, benchmark(tmp_path / "b.jsonl", 1), "--from", "2025-01-01")
    assert done.returncode == 2 and "leave out contest_from and contest_until (--from and --until)" in done.stderr
    assert "nothing is kept" not in done.stderr


@needs_sandbox
def test_saved_answers_are_graded_and_samples_too(server: FaultServer, tmp_path: Path) -> None:
    path, out = benchmark(tmp_path / "b.jsonl", 4), tmp_path / "out"
    forms = ("--form", "chat", "--form", "completion")
    assert evaluated(server, path, *forms, "-o", str(out)).returncode == 0
    num_seen = len(server.seen)
    told = json.loads(scoder_here("grade", str(out), "--memory-mb", "512", "--json").stdout)
    assert [(one["form"], one["pass@1"]) for one in told] == [("chat", 0.75), ("completion", 0.75)]
    assert len(server.seen) == num_seen
    samples = str(out / "samples" / "made-chat.jsonl")
    done = scoder_here("grade", samples, "--benchmarks", f"made={path}")
    assert done.returncode == 0 and "0.75" in done.stdout, done.stderr
    assert "the same command with --failed prints what did not pass" in done.stderr
    for arguments in ((str(out),), (samples, "--benchmarks", f"made={path}", "-o", str(tmp_path / "kept"))):
        shown = json.loads(scoder_here("grade", *arguments, "--failed", "--json").stdout)
        assert {(one["task_id"], one["status"]) for one in shown} == {("Made/1", "failed")}
        assert shown[0]["message"].startswith("AssertionError")
    again = json.loads(scoder_here("grade", str(tmp_path / "kept"), "--memory-mb", "512", "--json").stdout)
    assert [(one["form"], one["pass@1"]) for one in again] == [("chat", 0.75)]
    refused = scoder_here("grade", str(out), "-o", str(tmp_path / "other"))
    assert refused.returncode == 2 and "keeps its results itself" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("evaluate", "m", "--samples", "2"),
            "--samples is 2, but at temperature 0 all answers to a task are the same",
        ),
        (("evaluate", "m", "--max-tokens", "0"), "scoder: --max-tokens: Input should be greater than or equal to 1"),
        (("evaluate", "m", "--wall-s", "-1"), "scoder: --wall-s: Input should be greater than 0"),
        (("evaluate", "m", "--from", "soon"), "scoder: --from: Input should be a valid date"),
        (("evaluate", "m", "--from", "2025-02-01", "--until", "2025-01-01"), "--from 2025-02-01 is after --until"),
        (("evaluate", "m", "--benchmarks", "b=b.jsonl", "--benchmarks", "b=b.jsonl"), "two benchmarks are called b"),
        (("evaluate", "m", "--form", "talk"), "--form talk is no form: give chat or completion"),
        (("evaluate", "m", "--form", "chat", "--base-model"), "--base-model means --form completion"),
        (("evaluate", "m", "--environment", "/nowhere"), "/nowhere is no virtual environment"),
        (("evaluate", "m", "--set", "wall_s=3"), "set grading.wall_s to 3 instead"),
        (("grade", "/nowhere"), "no file or folder /nowhere"),
        (("evaluate", "m", "-o", __file__), "it is a file, and a folder is needed"),
        (("evaluate", "m", "-o", f"{__file__}/x"), "is a file, not a folder"),
        (("environment", __file__), "it is a file, and a folder is needed"),
        (("environment", "/proc/x"), "the folder /proc/x cannot be made"),
        (("evaluate", "m", "--benchmarks", "x y=here"), "benchmark name 'x y' must match"),
        (("evaluate", "m", "--benchmarks", "xß=here"), "benchmark name 'xß' must match"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_get_one_message(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    path = benchmark(tmp_path / "b.jsonl", 1)
    done = scoder_here(*(one.replace("b=b.jsonl", f"b={path}") for one in arguments), "--benchmarks", str(path))
    assert done.returncode == 2 and expected in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "nothing is kept" not in done.stderr


@needs_sandbox
def test_an_environment_is_looked_at_before_any_work(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    done = evaluated(server, benchmark(tmp_path / "b.jsonl", 1), "--environment", str(tmp_path))
    assert done.returncode == 2 and "has no pyvenv.cfg" in done.stderr and "`scoder environment " in done.stderr
    assert "grading" not in done.stderr and not server.seen


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = scoder_here("environment", str(tmp_path / "x"), "--benchmarks", "here")
    assert done.returncode == 2 and "may not be written to" in done.stderr


def test_an_environment_has_the_libraries_that_answers_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path, "natsort")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    folder = str(tmp_path / "libraries")
    done = scoder_here("environment", folder, "--packages", "natsort,strange_library", "--json")
    told = {one["package"]: one["installed"] for one in json.loads(done.stdout)}
    assert done.returncode == 1 and told["natsort"] == "yes" and "no known library" in told["strange_library"]
    nothing = scoder_here("environment", folder)
    assert nothing.returncode == 2 and "give --benchmarks, or --packages" in nothing.stderr


def test_an_environment_for_nothing_says_so(tmp_path: Path) -> None:
    path = benchmark(tmp_path / "b.jsonl", 1)
    done = scoder_here("environment", str(tmp_path / "libraries"), "--benchmarks", str(path))
    assert done.returncode == 0 and (tmp_path / "libraries" / "bin" / "python").exists(), done.stderr
    assert "libraries: no library is needed" in done.stderr and "no rows" not in done.stdout + done.stderr


@needs_sandbox
def test_two_evaluations_are_compared_task_by_task(server: FaultServer, tmp_path: Path) -> None:
    path, one, other = benchmark(tmp_path / "b.jsonl", 8), tmp_path / "one", tmp_path / "other"
    assert evaluated(server, path, "-o", str(one)).returncode == 0
    assert evaluated(server, path, "-o", str(other), "--max-tokens", "99").returncode == 0
    (told,) = json.loads(scoder_here("compare", str(one), str(other), "--json").stdout)
    assert told["num_tasks"] == 8 and (told["before"], told["after"], told["difference"]) == (0.875, 0.875, 0)
    assert (told["verdict"], told["p"]) == ("within noise", 1.0)
    shown = scoder_here("compare", str(one), str(other))
    assert "within noise" in shown.stdout and "0.875 [0.529, 0.978]" in shown.stdout and "0.000 [-0.3" in shown.stdout
    assert "max_tokens 512 -> 99" in shown.stderr
    nothing = scoder_here("compare", str(one), str(tmp_path))
    assert nothing.returncode != 0 and "holds no finished evaluation" in nothing.stderr


# -- an endpoint that refuses everything -----------------------------------------------------------


@needs_sandbox
@pytest.mark.parametrize("is_kept", [True, False])
def test_sigterm_ends_an_evaluation_whose_endpoint_refuses_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    server = FaultServer(lambda body, _: "429")
    arguments = ["evaluate", "m", "--benchmarks", f"made={benchmark(tmp_path / 'b.jsonl', 20)}", "--engine", "openai"]
    arguments += ["--base-url", server.url, *([f"--output={tmp_path / 'out'}"] if is_kept else [])]
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as process:
        while len(server.seen) < 20 and process.poll() is None:
            time.sleep(0.05)
        process.terminate()
        began = time.monotonic()
        _, told = process.communicate(timeout=60)
    server.close()
    assert process.returncode == 143 and time.monotonic() - began < 15, told
    assert ("the same command goes on from there" if is_kept else "Nothing is kept, and the same command") in told


@needs_sandbox
def test_a_storm_of_429_gives_up_after_the_patience_and_prints_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    server = FaultServer(lambda body, _: "429")
    done = evaluated(server, benchmark(tmp_path / "b.jsonl", 20), "--json", "--set", "engine.patience_s=2")
    server.close()
    assert done.returncode == 1 and json.loads(done.stdout)[0]["pass@1"] is None
    assert "no answer for 2 s" in done.stderr and "429: no" in done.stderr
