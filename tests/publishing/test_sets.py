"""Sets that leave a store: read from the inputs of a plan alone, and written once."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builders.publishing import sets
from store import ContractError, Store, markers
from tests.rows import put

DATA = "data/train-00000-of-00001.parquet"


def column(folder: Path | str, name: str) -> list[str]:
    return pq.read_table(Path(folder) / DATA)[name].to_pylist()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two teacher samples, and one candidate that is selected."""
    found = Store(tmp_path / "store")
    put(found, "raw_pool", [{"snippet_id": "s1", "code": "def f(): pass", "license": "mit"}])
    texts = {"snippet_id": "s1", "problem": "Add.", "solution": "x = 1"}
    put(found, "teacher_samples", [texts | {"sample_id": t, "split": "train"} for t in ("t1", "t2")])
    put(found, "candidates", [texts | {"candidate_id": "c1"}], iteration=1)
    kept = {"candidate_id": "c1", "snippet_id": "s1", "iteration": 1, "selection": "default"}
    put(found, "selected", [kept], iteration=1, selection="default")
    return found


def test_a_training_set_holds_the_inputs_of_its_plan_and_nothing_else(store: Store, tmp_path: Path) -> None:
    hit = {"item_kind": "teacher", "strength": 1.0}
    put(store, "contamination", [hit | {"item_id": "t1"}], item_kind="teacher", benchmark="kept")
    put(store, "contamination", [hit | {"item_id": "t2"}], item_kind="teacher", benchmark="dropped")
    other = {"candidate_id": "c1", "snippet_id": "s1", "iteration": 1, "selection": "default"}
    put(store, "selected", [other], iteration=1, selection="other")
    inputs = store.input("teacher_samples") | sets.selection_inputs(store, 1, "default")
    inputs |= store.input("contamination", item_kind="teacher", benchmark="kept")
    target = str(tmp_path / "set")
    sets.synthesizer(store, "synthesizer", 0.5, [1], "default", target, inputs=inputs, plan="p")
    assert column(target, "item_id") == ["c1", "t2"]
    marker = markers.read(Path(target))
    assert marker is not None and marker.plan == "p"


def test_a_selection_is_published_from_its_own_partitions(store: Store, tmp_path: Path) -> None:
    again = {"candidate_id": "c1", "snippet_id": "s1", "iteration": 1, "selection": "default", "rank": 2}
    put(store, "selected", [again], iteration=1, selection="other")
    inputs = sets.selection_inputs(store, 1, "default")
    assert list(inputs) == ["selected/iteration-1/selection-default", "candidates/iteration-1", "raw_pool"]
    sets.selected(store, "synthesizer", 1, "default", str(tmp_path / "set"), inputs=inputs)
    assert column(tmp_path / "set", "candidate_id") == ["c1"]


# -- the final dataset in the store ----------------------------------------------------------------


def test_the_final_dataset_is_written_once(store: Store) -> None:
    said: list[str] = []
    store.announce = said.append
    put(store, "instructions", [{"candidate_id": "d1"}])
    folder = Path(store.root, "_datasets", "instructions")
    sets.keep_instructions(store, "tiny")
    first = (folder.stat().st_ino, (folder / DATA).stat().st_mtime_ns)
    sets.keep_instructions(store, "tiny")
    assert (folder.stat().st_ino, (folder / DATA).stat().st_mtime_ns) == first
    assert said[-2:] == ["_datasets/instructions: 1 row", "_datasets/instructions: up to date"]


def test_the_final_dataset_is_written_again_for_other_rows_and_for_another_card(store: Store) -> None:
    put(store, "instructions", [{"candidate_id": "d1"}])
    folder = Path(store.root, "_datasets", "instructions")
    sets.keep_instructions(store, "tiny")
    put(Store(store.root, force=True), "instructions", [{"candidate_id": "d2"}])
    sets.keep_instructions(store, "tiny")
    assert column(folder, "candidate_id") == ["d2"]
    sets.keep_instructions(store, "mine")
    assert "Recipe: mine." in (folder / "README.md").read_text()


def test_a_final_dataset_that_lost_a_file_is_not_up_to_date(store: Store) -> None:
    put(store, "instructions", [{"candidate_id": "d1"}])
    sets.keep_instructions(store, "tiny")
    folder = Path(store.root, "_datasets", "instructions")
    (folder / DATA).unlink()
    with pytest.raises(ContractError, match=r"train-00000-of-00001\.parquet is missing"):
        sets.keep_instructions(store, "tiny")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    sets.keep_instructions(store, "tiny")
    assert column(folder, "candidate_id") == ["d1"]
