"""The commands and the Python lines of the README run as they stand, on the smoke recipe and its store."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.smoke_run import ROOT, scoder

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.startswith(".venv/bin/scoder")]


def test_the_readme_has_commands() -> None:
    assert len(LINES) >= 6
    assert len(PYTHON) >= 1


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_readme(line: str, forked_store: Path, tmp_path: Path) -> None:
    arguments = shlex.split(line, comments=True)[1:]
    arguments = [a.replace("/tmp/", f"{tmp_path}/") for a in arguments]
    if "--dry-run" not in arguments:
        arguments += ["--store", str(forked_store)]
    done = scoder(*arguments)
    assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("block", PYTHON)
def test_python_lines_of_the_readme(block: str, smoke_store: Path, tmp_path: Path) -> None:
    (tmp_path / "store-data").symlink_to(smoke_store)
    # a program that is given as text looks for modules in its folder, and the folder is where the store is
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{block}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stderr}"
    assert "candidate_id" in done.stdout and "█" in done.stdout, done.stdout
