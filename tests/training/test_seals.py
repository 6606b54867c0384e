"""A state is believed only if it is whole, with the checkpoints and the log beside it."""

import shutil
from pathlib import Path

import pytest

from tests.small_training import saved_state
from training.errors import OtherStateError
from training.resuming import is_begun, left_by, newest, remove, usable
from training.seals import MARK, damage, seal


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state after step 4 of two processes, with a checkpoint before it."""
    state = saved_state(tmp_path / ".out.partial", 4, processes=2)
    checkpoint = tmp_path / ".out.partial" / "checkpoint-000003"
    checkpoint.mkdir()
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weights")
    seal(state, 2)
    return state


def test_a_state_is_nothing_until_it_is_sealed(tmp_path: Path) -> None:
    state = saved_state(tmp_path, 4)
    assert newest(tmp_path) is None and not is_begun(tmp_path) and usable(tmp_path) == (None, "")
    seal(state, 1)
    assert newest(tmp_path) == state and damage(state) == ""


@pytest.mark.parametrize("missing", ["rng_state_1.pth", "optimizer.pt", "scheduler.pt", "trainer_state.json"])
def test_a_state_without_a_part_is_not_sealed(missing: str, tmp_path: Path) -> None:
    state = saved_state(tmp_path, 4, processes=2)
    (state / missing).unlink()
    with pytest.raises(AssertionError, match=missing.removesuffix(".pt")):
        seal(state, 2)
    assert newest(tmp_path) is None


@pytest.mark.parametrize("name", ["rng_state_1.pth", "optimizer.pt", "adapter_model.safetensors", "trainer_state.json"])
def test_a_missing_a_cut_and_a_changed_file_are_damage(name: str, state: Path) -> None:
    whole = (state / name).read_bytes()
    (state / name).unlink()
    assert damage(state) == f"{state / name} is missing"
    (state / name).write_bytes(whole[: len(whole) // 2])
    assert damage(state) == f"{state / name} has {len(whole) // 2:,} bytes, and was saved with {len(whole):,}"
    (state / name).write_bytes(whole[:-1] + b"\0")
    assert damage(state) == f"{state / name} is not what was saved"
    (state / name).write_bytes(whole)
    assert damage(state) == ""


def test_what_the_end_of_the_training_needs_is_looked_for(state: Path) -> None:
    partial = state.parent.parent
    log = partial / "train_log.jsonl"
    lines = log.read_text()
    log.write_text(lines.partition("\n")[2])
    assert damage(state) == f"{log} has 3 of the first 4 steps"
    log.unlink()
    assert damage(state) == f"{log} has 0 of the first 4 steps"
    log.write_text(lines + lines[:20])  # a kill cut the line of the next step
    assert damage(state) == ""
    shutil.rmtree(partial / "checkpoint-000003")
    assert damage(state) == f"{partial / 'checkpoint-000003' / 'adapter_model.safetensors'} is missing"


def test_of_a_damaged_state_only_one_thing_is_said(state: Path, tmp_path: Path) -> None:
    (state / "optimizer.pt").unlink()
    with pytest.raises(
        OtherStateError, match=r"optimizer.pt is missing\. Put the file back, or remove .*partial to begin"
    ):
        usable(state.parent.parent)
    assert left_by(tmp_path / "out") == "" and is_begun(state.parent.parent)


def test_the_state_before_a_damaged_one_is_taken(tmp_path: Path) -> None:
    old = saved_state(tmp_path, 2)
    new = saved_state(tmp_path, 4)
    for state in (old, new):
        seal(state, 1)
    assert usable(tmp_path) == (new, "")
    (new / "optimizer.pt").write_bytes(b"")
    found, said = usable(tmp_path)
    assert found == old and said.endswith("was saved with 240,000; the state before is whole")
    (new / MARK).write_text("{")
    assert usable(tmp_path) == (old, f"{new / MARK} cannot be read; the state before is whole")


def test_of_a_state_that_is_half_removed_nothing_is_whole(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = state.parent.parent
    monkeypatch.setattr(shutil, "rmtree", lambda path: (state / "optimizer.pt").unlink())
    remove(partial)
    assert state.is_dir() and not is_begun(partial)
