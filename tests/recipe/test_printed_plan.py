"""The plan for people: no name is broken, iterations that are alike are one, notes are folded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import commands
from builders.recipe import files, planned
from commands import plans

SEVEN = "qwen2.5-coder-7b"


def steps_of(*changes: str) -> list[dict[str, Any]]:
    return planned.rows(files.load(SEVEN, list(changes)), [80.0])[:-1]


def stages(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["stage"] for row in rows))


def test_iterations_that_are_alike_are_one() -> None:
    shown = plans.merged(steps_of("iterations=3"))
    assert "iteration-1 to 3" in stages(shown) and "iteration-2" not in stages(shown)
    assert [row["what"] for row in shown if row["stage"] == "iteration-1 to 3"][-1] == "select and train G1 to G3"
    assert len(shown) == len(steps_of("iterations=3")) - 2 * 4
    assert plans.merged(steps_of("iterations=1")) == steps_of("iterations=1")


def test_iterations_that_differ_stay_apart() -> None:
    """Selections add up, so each training is longer than the last one."""
    grows = plans.merged(steps_of("synthesizer.accumulate=true"))
    assert {"iteration-1", "iteration-2"} <= set(stages(grows))


@pytest.mark.parametrize("columns", [None, "90", "200"])
def test_no_name_is_broken_at_any_width(tmp_path: Path, columns: str | None) -> None:
    given = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | ({"COLUMNS": columns} if columns else {})
    given |= {"SCODER_SIMULATED_GPUS": "1x80", "PYTHONPATH": str(Path(commands.__file__).parents[1])}
    command = [sys.executable, "-m", "commands", "run", SEVEN, "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=True).stdout
    for name in ("docstring_judge.engine", "synthesizer.training", "influence.gradients", "iteration-1 to 2"):
        assert [line for line in done.splitlines() if line.startswith("│") and name in line], name
    width = int(columns or 140)
    table, notes = done[: done.index("what it takes")], done[done.index("machine: 1 GPU") :]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width
    assert max(map(len, notes.splitlines())) <= width
    assert "gradients and states" not in table and "and states" in done and "optimizer" not in done
