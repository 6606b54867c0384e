"""The commands of the README run as they stand, on the smoke recipe and its store."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.smoke_run import ROOT, scoder

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.startswith(".venv/bin/scoder")]


def test_the_readme_has_commands() -> None:
    assert len(LINES) >= 6


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_readme(line: str, forked_store: Path, tmp_path: Path) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    arguments = [a.replace("/tmp/", f"{tmp_path}/") for a in arguments]
    if "--dry-run" not in arguments:
        arguments += ["--store", str(forked_store)]
    done = scoder(*arguments)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
