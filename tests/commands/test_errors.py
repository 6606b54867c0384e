"""errors: what a user can mend is one message; everything else is shown as a bug of ours."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from commands.errors import report
from store.errors import ContractError, InputError, JobError, MissingError, MissingLibraryError, UnreachableError
from training.errors import MissingFileError, OutputExistsError, TrainingError

ROOT = Path(__file__).parents[2]
BUG = "this is a bug in SCoder"


def said(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = report(error)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (InputError, 2),
        (MissingError, 2),
        (MissingLibraryError, 2),
        (ContractError, 2),
        (TrainingError, 2),
        (MissingFileError, 2),
        (OutputExistsError, 2),
        (JobError, 1),
        (UnreachableError, 1),
    ],
)
def test_what_a_user_can_mend_is_its_message(
    kind: type[Exception], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind("no file x; give another")
    error.add_note("while building pool")
    assert said(error, capsys) == (code, "scoder: no file x; give another\n  while building pool\n")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("column"),
        ValueError("not enough values to unpack"),
        RuntimeError("x"),
        TypeError("x"),
        AssertionError("x"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/tmp/inside"),
    ],
    ids=repr,
)
def test_every_other_exception_is_a_bug(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(error, capsys)
    assert code == 1 and BUG in text and type(error).__name__ in text and "SCODER_TRACEBACK=1" in text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE])
def test_what_the_system_refuses_is_no_bug(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(OSError(number, "refused", "/data"), capsys)
    assert code == 1 and BUG not in text and "/data" in text


def test_a_full_disk_is_said_with_the_way_on(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(OSError(errno.ENOSPC, "No space left on device", "/data/x"), capsys)[1]
    assert (
        "/data/x" in text and "The disk is full: free some space" in text and "what a store holds is not made" in text
    )


def test_too_little_memory_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(MemoryError("4 GB"), capsys)
    assert code == 1 and text.startswith("scoder: the memory did not suffice: 4 GB")


def test_a_bug_in_a_command_says_where_it_is() -> None:
    """The whole way: a command that hits a bug, in a process of its own."""
    program = (
        "import sys, commands.runs; from commands import main\n"
        "commands.runs.open_ledger = lambda path: {}['column']\n"
        "sys.argv = ['scoder', 'status', '--store', 'my store']; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert f"{BUG}, not a mistake of yours: KeyError: 'column', at " in done.stderr
    assert "SCODER_TRACEBACK=1 scoder status --store 'my store'" in done.stderr
    assert "Traceback" not in done.stderr
