"""The plan for people: no name is broken, iterations that are alike are one row, notes are folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builders.recipe import files, planned
from commands import plans
from tests.smoke_run import scoder_here

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
def test_no_name_is_broken_at_any_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str | None) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "1x80")
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    done = scoder_here("run", SEVEN, "--dry-run", folder=tmp_path).stdout
    for name in ("docstring_judge.engine", "synthesizer.training", "influence.gradients", "iteration-1 to 2"):
        assert [line for line in done.splitlines() if line.startswith("│") and name in line], name
    width = int(columns or 140)
    table, notes = done[: done.index("what it takes")], done[done.index("machine: 1 GPU") :]
    assert max(map(len, table.splitlines())) == width
    assert max(map(len, notes.splitlines())) <= width
    assert "gradients and states" not in table and "and states" in done and "optimizer" not in done
