"""The prompt of `scoder sql`, as a person uses it: in a terminal of its own."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from store import Store
from tests.rows import put
from tests.smoke_run import ROOT, command


@pytest.fixture
def store(tmp_path: Path) -> Path:
    put(Store(tmp_path / "store"), "pool", [{"snippet_id": "s1"}, {"snippet_id": "s2"}])
    return tmp_path / "store"


def piped(store: Path, lines: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [*command("sql", "--store", str(store)), *arguments]
    return subprocess.run(line, cwd=ROOT, input=lines, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("SELECT 1 AS a", [[{"a": 1}]]),
        ("SELECT 1 AS a\n\n", [[{"a": 1}]]),
        ("SELECT 1 AS a;\nSELECT 2 AS a\n", [[{"a": 1}], [{"a": 2}]]),
        ("SELECT count(*) AS n\nFROM pool\nWHERE true;\n", [[{"n": 2}]]),
        ("SELECT count(*) AS n\nFROM pool\n\nSELECT 3 AS a\n", [[{"n": 2}], [{"a": 3}]]),
        ("SELECT count(*) AS n\nFROM pool", [[{"n": 2}]]),
        ("\n\nSELECT 1 AS a;\nexit\nSELECT 2 AS a\n", [[{"a": 1}]]),
    ],
    ids=repr,
)
def test_a_statement_ends_with_a_semicolon_an_empty_line_or_the_input(
    store: Path, lines: str, expected: list[object]
) -> None:
    done = piped(store, lines, "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected, done.stderr
    assert done.returncode == 0 and done.stderr == ""


def test_a_wrong_statement_is_told_and_the_prompt_goes_on(store: Path) -> None:
    done = piped(
        store,
        "SELECT nonsense\nFROM pool;\nFROM range(1_000_000_000_000) WHERE range % 7 = 8;\nSELECT 1 AS a;\n",
        "--json",
        "--timeout",
        "0.3",
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) == [{"a": 1}]
    assert '"nonsense" not found' in done.stderr and "no answer within 0.3 s" in done.stderr


def test_tables_and_help_are_words_of_the_prompt(store: Path) -> None:
    done = piped(store, ".tables\n.help\n")
    assert "pool" in done.stdout and " 2 " in done.stdout
    assert "A statement ends with" in done.stderr


class Terminal:
    """`scoder sql` in a pseudo-terminal."""

    def __init__(self, store: Path, state: Path):
        self.place, inside = pty.openpty()
        environment = os.environ | {"XDG_STATE_HOME": str(state), "TERM": "dumb", "COLUMNS": "100"}
        line = command("sql", "--store", str(store))
        self.process = subprocess.Popen(
            line, cwd=ROOT, stdin=inside, stdout=inside, stderr=inside, env=environment, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(inside)
        self.text = ""

    def type(self, text: str, expected: str) -> str:
        """Send some keys, and read until a text comes. Returns what came."""
        os.write(self.place, text.encode())
        return self.until(expected)

    def until(self, expected: str) -> str:
        came, late = "", time.monotonic() + 120
        while expected not in came:
            assert time.monotonic() < late, f"{expected!r} did not come, but {came!r}"
            if select.select([self.place], [], [], 0.1)[0]:
                came += os.read(self.place, 65536).decode(errors="replace")
        return came

    def give_up_line(self, expected: str) -> None:
        """Press Ctrl-C until a prompt comes. Python may miss one just before it reads."""
        came, late = "", time.monotonic() + 120
        while expected not in came:
            assert time.monotonic() < late, f"{expected!r} did not come, but {came!r}"
            os.write(self.place, b"\x03")
            while select.select([self.place], [], [], 5)[0] and expected not in came:
                came += os.read(self.place, 65536).decode(errors="replace")

    def works(self, seconds: float) -> None:
        """Return when the process has computed for so long from now on."""
        until, late = self._computed() + seconds, time.monotonic() + 120
        while self._computed() < until:
            assert time.monotonic() < late, "the process does not compute"
            time.sleep(0.05)

    def _computed(self) -> float:
        """The seconds of computing of the process so far, which the fields 14 and 15 give."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def leave(self) -> int:
        os.write(self.place, b"\x04")
        code = self.process.wait(30)
        os.close(self.place)
        return code


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_ctrl_c_ends_a_statement_and_a_line_but_not_the_prompt(store: Path, tmp_path: Path) -> None:
    terminal = Terminal(store, tmp_path / "state")
    terminal.until("scoder sql> ")
    assert "41" in terminal.type("SELECT 40 + 1 AS n;\n", "scoder sql> ")
    os.write(terminal.place, b"SELECT * FROM range(1_000_000_000_000) WHERE range % 7 = 8;\n")
    terminal.works(0.5)
    assert "stopped" in terminal.type("\x03", "scoder sql> ")
    terminal.type("SELECT reason\n", "...> ")
    terminal.give_up_line("scoder sql> ")
    assert "42" in terminal.type("SELECT 40 + 2 AS n;\n", "scoder sql> ")
    assert terminal.leave() == 0


def test_lines_are_kept_outside_of_the_store_for_their_owner_only(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("readline")
    before = sorted(store.rglob("*"))
    first = Terminal(store, tmp_path / "state")
    first.until("scoder sql> ")
    first.type("SELECT 'kept' AS a;\n", "scoder sql> ")
    assert first.leave() == 0
    kept = tmp_path / "state" / "scoder" / "sql_history"
    assert "SELECT 'kept' AS a;" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    second = Terminal(store, tmp_path / "state")
    second.until("scoder sql> ")
    assert "kept" in second.type("\x10\n", "scoder sql> "), "Ctrl-P is the arrow up"
    assert second.leave() == 0
    assert sorted(store.rglob("*")) == before
