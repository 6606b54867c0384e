"""gradients: the items of a batch at every checkpoint, and the ones that have none as rejects."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import gradients
from builders.gradients import conversation
from builders.recipe import Recipe
from store import Store
from store.half_floats import as_bytes, as_matrix
from store.preview import Preview
from tests.rows import put
from tests.tiny_models import tiny_qwen
from tests.tiny_recipes import read, recipe
from training.gradients import stream_gradients
from training.settings import LoraSettings

SOLUTIONS = {"t1": "return 1", "t2": "return 22", "t3": "x = 1\n" * 300, "t4": "return 4", "t5": "return 5"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A base that stands for two checkpoints of G0, and five reference samples."""
    made = Store(tmp_path / "store")
    base = tiny_qwen(tmp_path / "model")
    kept = {"role": "synthesizer", "iteration": 0}
    saved = [{"checkpoint_id": f"k{n}", "step": n, "base_model": base, "learning_rate": 1.0, **kept} for n in range(2)]
    put(made, "checkpoints", saved, **kept)
    put(made, "raw_pool", [{"snippet_id": "s1", "code": "def f(): pass"}])
    samples = [
        {"sample_id": i, "snippet_id": "s1", "problem": f"{i}: a function", "solution": s, "split": "reference"}
        for i, s in SOLUTIONS.items()
    ]
    put(made, "teacher_samples", samples)
    return made


def two(tmp_path: Path, **settings: object) -> Recipe:
    training = {"num_checkpoints": 2, "dtype": "float32", "lora": LoraSettings(r=4).model_dump()}
    return recipe(
        tmp_path,
        sampling={"checkpoints": 2},
        synthesizer={"model": "none", "prompt": "synthesizer-short", "training": training},
        influence={"gradients": {"dimension": 64, "max_tokens": 500, **settings}},
    )


def test_every_item_has_a_gradient_at_each_checkpoint_or_a_reject(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "SHARD", 2)
    chosen = two(tmp_path)
    record = gradients.build(store, chosen, 1, "teacher")
    assert set(record.plan.inputs) == {"teacher_samples", "raw_pool", "checkpoints/role-synthesizer/iteration-0"}
    assert not any(Path(store.scratch("staged")).rglob("*.parquet"))
    assert len(record.shards) == 6, "three blocks of items at two checkpoints"
    where = {"item_kind": "teacher", "iteration": 1, "batch": "main"}
    rows = read(store, "gradients", **where)
    expected = [(c, i) for c in ("k0", "k1") for i in ("t1", "t2", "t4", "t5")]
    assert [(r["checkpoint_id"], r["item_id"]) for r in rows] == expected
    rejected = {r["item_id"]: r for r in read(store, "rejects", stage="reference", iteration=1)}
    assert {r["item_id"] for r in rows} | rejected.keys() == SOLUTIONS.keys(), "nothing is dropped silently"
    assert rejected["t3"]["reason"] == "too_long" and rejected["t3"]["value"] > rejected["t3"]["threshold"] == 500
    item = {"code": "def f(): pass", "problem": "t2: a function", "solution": "return 22"}
    base = str(tmp_path / "model")
    (alone,) = stream_gradients(
        base, None, [("t2", conversation(chosen.synthesizer.prompt, item))], chosen.influence.gradients
    )
    row = next(r for r in rows if r["item_id"] == "t2")
    assert np.allclose(np.frombuffer(row["gradient"], "<f2"), alone.unit_ND[0], atol=1e-3) and row[
        "loss"
    ] == pytest.approx(alone.loss_N[0])
    assert not Path(store.scratch(f"gradients-{record.plan.fingerprint}")).exists()
    again = gradients.build(store, chosen, 1, "teacher")
    assert again == record, "up to date"
    paths = list(gradients.aligned_shards(store, ["k0", "k1"], **where))
    assert [[Path(p).name for p in block] for block in paths] == [
        [f"part-{n:05d}.parquet", f"part-{n + 3:05d}.parquet"] for n in range(3)
    ]


def test_a_resumed_build_keeps_reasons_and_bits(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "SHARD", 2)
    chosen = two(tmp_path)
    whole = gradients.build(store, chosen, 1, "teacher")
    rejects = read(store, "rejects", stage="reference", iteration=1)
    other = Store(tmp_path / "other")
    store.link_into(other, lambda record: record.plan.table not in ("gradients", "rejects"))

    class KilledError(Exception):
        pass

    def stop_after_four(items: list[int], label: str) -> Iterator[int]:
        yield from list(items)[:4]
        raise KilledError

    with pytest.raises(KilledError):
        gradients.build(Store(other.root, track=stop_after_four), chosen, 1, "teacher")
    record = gradients.build(other, chosen, 1, "teacher")
    assert [s.sha256 for s in record.shards] == [s.sha256 for s in whole.shards]
    assert read(other, "rejects", stage="reference", iteration=1) == rejects


def test_a_preview_leaves_the_notes_of_rejects_that_are_still_to_be_made(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients are built again under another plan, and killed before their rejects."""
    gradients.build(store, two(tmp_path), 1, "teacher")
    chosen = two(tmp_path, max_tokens=501)
    with monkeypatch.context() as patch:
        patch.setattr(gradients, "_build_rejects", lambda *arguments: None)
        gradients.build(Store(store.root, force=True), chosen, 1, "teacher")
    gradients.build(Preview(store.root), chosen, 1, "teacher")
    gradients.build(Store(store.root, force=True), chosen, 1, "teacher")
    (rejected,) = read(store, "rejects", stage="reference", iteration=1)
    assert (rejected["item_id"], rejected["reason"], rejected["threshold"]) == ("t3", "too_long", 501)


def test_the_chosen_candidates_of_a_batch_are_read_by_their_ids(store: Store, tmp_path: Path) -> None:
    pairs = [{"candidate_id": f"c{n}", "problem": f"p{n}", "solution": "x = 1"} for n in range(3)]
    put(
        store,
        "candidates",
        [p | {"iteration": 1, "snippet_id": "s1", "parse_status": "ok"} for p in pairs],
        iteration=1,
    )
    put(
        store,
        "scored",
        [{"candidate_id": p["candidate_id"], "snippet_id": "s1", "iteration": 1} for p in pairs],
        iteration=1,
    )
    gradients.build(store, two(tmp_path), 1, "candidate", chosen=["c1"])
    record = gradients.build(store, two(tmp_path), 1, "candidate", batch="strict", chosen=["c2", "c0"])
    rows = read(store, "gradients", item_kind="candidate", iteration=1, batch="strict")
    assert [(r["checkpoint_id"], r["item_id"]) for r in rows] == [(k, c) for k in ("k0", "k1") for c in ("c0", "c2")]
    assert set(record.plan.inputs) == {
        "scored/iteration-1",
        "candidates/iteration-1",
        "raw_pool",
        "checkpoints/role-synthesizer/iteration-0",
        "gradients/item_kind-candidate/iteration-1/batch-main",
    }
    gradients.build(Store(store.root, force=True), two(tmp_path), 1, "candidate", chosen=["c1", "c2"])
    assert not store.is_complete("gradients", item_kind="candidate", iteration=1, batch="strict"), (
        "c2 would have two gradients"
    )


def test_adam_maps_candidates_and_leaves_the_reference_plain(tmp_path: Path) -> None:
    chosen = two(tmp_path, optimizer_map="adam")
    assert gradients.settings_of(chosen, "candidate").optimizer_map == "adam"
    assert gradients.settings_of(chosen, "teacher").optimizer_map == "sgd"


def test_a_matrix_is_a_column_of_bytes_and_back() -> None:
    matrix = np.arange(12, dtype=np.float16).reshape(3, 4)
    table = gradients.pa.table({"gradient": as_bytes(matrix)})
    assert as_matrix(table).tolist() == matrix.tolist() and as_matrix(table.slice(1)).tolist() == matrix[1:].tolist()
    assert as_matrix(gradients.pa.concat_tables([table.slice(2), table])).tolist() == [
        *matrix[2:].tolist(),
        *matrix.tolist(),
    ]
    assert as_matrix(table.slice(3)).shape[0] == 0


def test_gradients_of_two_dimensions_are_told() -> None:
    table = gradients.pa.table({"gradient": [b"1234", b"12"]})
    with pytest.raises(ValueError, match=r"gradients of \[2, 4\] bytes"):
        as_matrix(table)
