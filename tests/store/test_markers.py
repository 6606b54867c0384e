"""Markers: what was written, under which plan, and what somebody changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import markers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "model"
    (found / "checkpoint-3").mkdir(parents=True)
    (found / "checkpoint-3" / "weights.bin").write_bytes(b"1234")
    (found / "training.json").write_text("{}")
    markers.mark(found, "plan-1")
    return found


def test_a_marked_folder_has_no_changes_and_names_its_plan(folder: Path) -> None:
    marker = markers.read(folder)
    assert marker is not None and marker.plan == "plan-1"
    assert list(marker.files) == ["checkpoint-3/weights.bin", "training.json"]
    assert markers.changes(folder) == []
    assert markers.is_up_to_date(folder, "plan-1") and not markers.is_up_to_date(folder, "plan-2")


def test_what_changed_is_said_in_words(folder: Path) -> None:
    (folder / "checkpoint-3" / "weights.bin").write_bytes(b"123x")
    (folder / "training.json").unlink()
    (folder / "notes").mkdir()
    assert markers.changes(folder) == [
        "notes was added",
        "training.json is missing",
        "checkpoint-3/weights.bin was changed",
    ]
    assert not markers.is_up_to_date(folder, "plan-1")


def test_a_folder_without_a_marker_is_not_ours(tmp_path: Path) -> None:
    assert markers.read(tmp_path) is None and markers.changes(tmp_path) is None
    (tmp_path / markers.MARKER).write_text('{"files": {}}')
    assert markers.changes(tmp_path) is None


def test_a_second_marker_does_not_call_damage_right(folder: Path) -> None:
    (folder / "training.json").write_text("{damaged")
    markers.mark_new(folder, "plan-1")
    assert markers.changes(folder) == ["training.json was changed"]
    (folder / markers.MARKER).unlink()
    markers.mark_new(folder, "plan-1")
    assert markers.changes(folder) == []
