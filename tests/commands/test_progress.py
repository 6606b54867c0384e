"""Progress: how far, how fast, how long still. A terminal has live lines, a log a line a minute."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import commands
from commands import narrowed
from commands.progress import Pace, Reporter, duration
from store import Store
from store.lock import owner
from tests.rows import put
from tests.smoke_run import RECIPE, ROOT, command
from training.train_log import StepRecord


def paced(total: int | None, *steps: tuple[float, int], unit: str = "rows") -> Pace:
    """Something that began at 0 s, with so many steps done at each time."""
    pace = Pace(total, 0.0, unit)
    for now, done in steps:
        pace.advance(done, now)
    return pace


@pytest.mark.parametrize(
    ("pace", "now", "expected"),
    [
        (paced(40_000), 90, "0 of 40,000 rows after 90 s"),
        (paced(40_000, (10, 200), (20, 1050)), 20, "1,050 of 40,000 rows, 85/s, 8 min left"),
        (paced(10, (600, 1), unit="shards"), 600, "1 of 10 shards, 6/h, 90 min left"),
        (paced(10, (600, 1), (630, 2), unit="shards"), 640, "2 of 10 shards, 2/min, 4 min left"),
        (paced(None, (2, 5000)), 2, "5,000 rows, 2,500/s"),
        (paced(2, (1, 1), (2, 2)), 2, "2 of 2 rows, 1/s"),
        (paced(None, unit="steps"), 90, "no step yet after 90 s"),
        # What it took to load the model is no part of a step.
        (paced(42, (20, 1), unit="steps"), 22, "1 of 42 steps after 22 s"),
        (paced(42, (20, 1), (21, 2), unit="steps"), 21, "2 of 42 steps, 1/s, 40 s left"),
    ],
)
def test_it_says_how_far_how_fast_and_how_long_still(pace: Pace, now: float, expected: str) -> None:
    assert pace.text(now) == expected


def test_the_time_before_the_first_step_does_not_count_once_there_is_another() -> None:
    """A model is loaded for 600 s, and then a shard takes 1 s."""
    assert paced(100, (601, 1), (602, 2), (603, 3)).rate(603) == 1.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_a_time_is_told_in_its_two_largest_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def log(every: float) -> tuple[Reporter, StringIO]:
    out = StringIO()
    return Reporter(Console(file=out, width=200), every), out


def test_a_training_has_one_line_and_the_name_of_its_checkpoints() -> None:
    """A store goes through the one shard of a training's table, which would be a second line."""
    reporter, _ = log(60)
    name = "checkpoints/role-synthesizer/iteration-1"
    record = StepRecord(
        step=1, num_steps=9, loss=0.5, learning_rate=1e-4, gradient_norm=None, num_tokens=9, tokens_per_second=None,
        gpu_memory_gb=None, seconds=1.0, num_processes=2,
    )  # fmt: skip
    for _ in reporter.track([0], name):
        assert reporter.lines() == [f"{name}: 0 of 1 shards after 0 s"]
        with reporter.training(name) as watch:
            assert reporter.lines() == [f"{name}: no step yet after 0 s"]
            watch(record)
            (line,) = reporter.lines()
            assert line.startswith(f"{name}: 1 of 9 steps after ") and line.endswith(
                "loss 0.500, 2 processes on the CPU"
            )
        assert reporter.lines() == [f"{name}: 0 of 1 shards after 0 s"]


def test_a_log_gets_a_line_from_time_to_time_also_while_one_step_takes_long() -> None:
    reporter, out = log(0.1)
    for item in reporter.track([7, 8, 9], "candidates/iteration-1"):
        time.sleep(0.5 if item == 7 else 0.3)
    lines = out.getvalue().splitlines()
    assert lines[0] == "candidates/iteration-1: 0 of 3 shards after 0 s"
    assert len([line for line in lines if " 0 of 3 " in line]) > 1
    assert re.fullmatch(r"candidates/iteration-1: 2 of 3 shards, \S+/s, 0 s left", lines[-1])
    time.sleep(0.25)
    assert out.getvalue().splitlines() == lines, "it ends with the build"


def test_a_short_build_is_quiet_in_a_log() -> None:
    reporter, out = log(0.2)
    threads = threading.active_count()
    assert list(reporter.track(range(3), "pool")) == [0, 1, 2]
    assert list(reporter.track([], "pool")) == []
    time.sleep(0.3)
    assert out.getvalue() == ""
    assert threading.active_count() == threads, "nobody waits for the next minute"


def test_a_build_that_fails_or_is_left_early_ends_its_line() -> None:
    reporter, out = log(0.1)
    with pytest.raises(RuntimeError), reporter.of(10, "pool", "rows") as advance:
        advance(3)
        raise RuntimeError
    for _ in zip([1], reporter.track(range(5), "extract"), strict=False):
        pass
    assert reporter.lines() == []
    time.sleep(0.2)
    assert out.getvalue() == ""


def test_a_terminal_has_one_line_for_each_build_that_runs_in_any_thread() -> None:
    out = StringIO()
    reporter = Reporter(Console(file=out, force_terminal=True, width=100))

    def work(label: str) -> None:
        for _ in reporter.track(range(4), label):
            time.sleep(0.15)

    threads = [threading.Thread(target=work, args=(label,)) for label in ("pool", "scored/iteration-1")]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert sorted(line.split(":")[0] for line in reporter.lines()) == ["pool", "scored/iteration-1"]
    for thread in threads:
        thread.join()
    assert reporter.lines() == []
    shown = out.getvalue()
    assert re.search(r"pool: [123] of 4 shards, \S+/s, \d s left", shown)
    assert shown.endswith("\x1b[2K") or "\x1b[?25h" in shown, "the lines are taken away, and the cursor is back"


# -- stopped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "expected"),
    [
        (signal.SIGINT, 130, "stopped. What is done"),
        (signal.SIGTERM, 143, "stopped by SIGTERM. What is done"),
        (signal.SIGUSR1, 138, "stopped by SIGUSR1. What is done"),
        (signal.SIGHUP, 129, "stopped by SIGHUP. What is done"),
    ],
)
def test_a_run_that_is_stopped_says_how_it_goes_on(tmp_path: Path, number: int, code: int, expected: str) -> None:
    line = command("run", str(RECIPE), "--until", "pool", "--store", str(tmp_path / "my store"))
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "my store" / "_runs" / "raw_pool" / "record.json").exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert expected in err and f"scoder run {RECIPE} --until pool --store '{tmp_path}/my store'" in err
    assert "Traceback" not in err and out == ""
    record = json.loads((tmp_path / "my store" / "_runs" / "raw_pool" / "record.json").read_text())
    assert record["status"] in ("building", "complete")
    assert owner(tmp_path / "my store") is None, "the store is free again"


def test_a_run_ends_in_order_when_its_terminal_is_closed(tmp_path: Path) -> None:
    process, screen = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        line = command("run", str(RECIPE), "--until", "pool", "--store", str(tmp_path / "store"))
        os.execv(line[0], line)
    record = tmp_path / "store" / "_runs" / "raw_pool" / "record.json"
    until = time.monotonic() + 60
    while not record.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    os.close(screen)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    assert owner(tmp_path / "store") is None, "the store is free again"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_what_nohup_ignores_stays_ignored(number: signal.Signals, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, commands\n"
        "commands.narrowed = lambda words: lambda **settings: os.kill(os.getpid(), int(sys.argv[1]))\n"
        "signal.signal(int(sys.argv[1]), signal.SIG_IGN); commands.main()\n"
    )
    line = [sys.executable, "-c", program, str(int(number))]
    assert subprocess.run(line, cwd=ROOT, timeout=60, check=False).returncode == 0


ENDLESS = "SELECT count(*) FROM range(1_000_000_000_000) WHERE range % 7 = 8"


@pytest.mark.parametrize(
    ("numbers", "code", "expected"),
    [
        ([signal.SIGINT, signal.SIGINT], 130, "stopped\n"),
        ([signal.SIGINT, signal.SIGINT, signal.SIGINT], 130, "stopped\n"),
        ([signal.SIGTERM], 143, "stopped by SIGTERM\n"),
        ([signal.SIGTERM, signal.SIGTERM], 143, "stopped by SIGTERM\n"),
        ([signal.SIGUSR1, signal.SIGTERM], 138, "stopped by SIGUSR1\n"),
        ([signal.SIGHUP, signal.SIGHUP], 129, "stopped by SIGHUP\n"),
    ],
)
def test_a_statement_is_stopped_in_order_however_often_it_is_asked(
    tmp_path: Path, numbers: list[int], code: int, expected: str
) -> None:
    """The program says when the statement runs. DuckDB must have ended before Python does."""
    program = (
        "import sys, threading; import commands, store.catalog as catalog\n"
        "wait = catalog.Answer._wait\n"
        "def begun(self, call): threading.Timer(0.5, print, ['running'], {'flush': True}).start(); return wait(self, call)\n"
        "catalog.Answer._wait = begun; sys.argv[0] = 'scoder'; commands.main()\n"
    )
    put(Store(tmp_path), "pool", [])
    line = [sys.executable, "-c", program, "sql", ENDLESS, "--store", str(tmp_path)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "running\n"
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.03)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and err.startswith(expected) and "Traceback" not in err, err


def test_sigterm_ends_the_prompt_where_ctrl_c_does_not(tmp_path: Path) -> None:
    put(Store(tmp_path), "pool", [])
    process = subprocess.Popen(
        command("sql", "--store", str(tmp_path)),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(".help\n")
    process.stdin.flush()
    assert process.stderr.readline().startswith("A statement ends with")
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(timeout=20) == 143
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def signals() -> Iterator[None]:
    """What is ignored at the end of a process is listened to again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *commands.ENDING)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_query_that_is_stopped_is_no_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def select(**settings: bool) -> None:
        raise RuntimeError("Query interrupted")  # as DuckDB does, when it looks at signals in time

    monkeypatch.setattr(commands, "narrowed", lambda words: select)
    monkeypatch.setattr("sys.argv", ["scoder", "select", "--name", "x"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 130
    assert "stopped. What is done" in capsys.readouterr().err


def test_a_command_alone_has_the_help_that_it_has_among_all() -> None:
    """`narrowed` leaves out the other commands, and nothing else."""
    from typer.main import get_command

    from commands import app

    whole = get_command(app)
    for name, single in whole.commands.items():  # type: ignore[attr-defined]
        alone = get_command(narrowed([name]))
        assert alone.commands[name].help == single.help  # type: ignore[attr-defined]
        assert [p.opts for p in alone.commands[name].params] == [p.opts for p in single.params]  # type: ignore[attr-defined]
    assert narrowed(["--help"]) is app and narrowed([]) is app and narrowed(["frobnicate"]) is app
