"""influence: every reference of the recipe from gradients that are stored, without a model."""

from pathlib import Path

import numpy as np
import pytest

from builders import influence
from builders.recipe import Recipe
from store import Plan, Store
from store.rebuild import Rebuild
from tests.rows import put, table
from tests.tiny_recipes import read, recipe

CANDIDATES = {f"c{n}": np.random.default_rng(n).normal(size=(2, 4)) for n in range(5)}
SAMPLES = {"t1": "short", "t2": "a longer solution", "t3": "another longer solution"}
REFERENCES = {name: np.random.default_rng(50 + n).normal(size=(2, 4)) for n, name in enumerate(SAMPLES)}


def rows(of: dict[str, np.ndarray], kind: str, checkpoint: int) -> list[dict]:
    same = {"item_kind": kind, "checkpoint_id": f"k{checkpoint}", "features": "f"}
    return [
        {**same, "item_id": i, "gradient": unit(g[checkpoint]).tobytes(), "loss": 1.0 + checkpoint, "norm": 2.0}
        for i, g in of.items()
    ]


def unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float16)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two checkpoints of G0; c4 has a gradient at the first only."""
    made = Store(tmp_path / "store")
    kept = {"role": "synthesizer", "iteration": 0}
    saved = [{"checkpoint_id": f"k{n}", "step": n, "learning_rate": 3e-4 - 2e-4 * n, **kept} for n in range(2)]
    put(made, "checkpoints", saved, **kept)
    put(made, "teacher_samples", [{"sample_id": i, "solution": s, "split": "reference"} for i, s in SAMPLES.items()])
    part = {"iteration": 1, "batch": "main"}
    second = {i: g for i, g in CANDIDATES.items() if i != "c4"}
    for kind, of in (("candidate", (CANDIDATES, second)), ("teacher", (REFERENCES, REFERENCES))):
        shards = [table("gradients", rows(found, kind, n)) for n, found in enumerate(of)]
        plan = Plan(table="gradients", partition={"item_kind": kind, **part}, num_shards=len(shards))
        made.materialize(plan, shards.__getitem__)
    return made


def two(tmp_path: Path, **settings: object) -> Recipe:
    synthesizer = {"model": "none", "training": {"num_checkpoints": 2}}
    return recipe(tmp_path, sampling={"checkpoints": 2}, synthesizer=synthesizer, influence=settings)


def test_influence_is_the_weighted_cosine_with_the_mean(store: Store, tmp_path: Path) -> None:
    record = influence.build(store, two(tmp_path), 1)
    assert "checkpoints/role-synthesizer/iteration-0" in record.plan.inputs, "its learning rates weigh the cosines"
    found = {r["candidate_id"]: r for r in read(store, "influence", iteration=1, reference="teacher", batch="main")}
    assert list(found) == ["c0", "c1", "c2", "c3"], "c4 lacks a gradient at one checkpoint"
    for name, row in found.items():
        units = {k: np.array(unit(g[n]), float) for k, g in (CANDIDATES | REFERENCES).items() for n in [0]}
        at_2 = {k: np.array(unit(g[1]), float) for k, g in (CANDIDATES | REFERENCES).items()}
        pairs, mean = [], 0.0
        for share, at in ((0.75, units), (0.25, at_2)):
            middle = np.mean([at[t] for t in SAMPLES], axis=0)
            mean += share * at[name] @ middle / np.linalg.norm(middle)
            pairs.append([share * at[name] @ at[t] for t in SAMPLES])
        assert row["influence"] == pytest.approx(mean, abs=1e-5)
        assert row["influence_max"] == pytest.approx(np.sum(pairs, axis=0).max(), abs=1e-5)
        assert (row["loss"], row["norm"], row["batch"]) == (1.5, 2.0, "main")


def test_another_reference_costs_its_own_partition_only(store: Store, tmp_path: Path) -> None:
    influence.build(store, two(tmp_path), 1)
    whole = store.record("influence", iteration=1, reference="teacher", batch="main")
    given = {"longer": "length(solution) > 6", "t1-alone": "sample_id = 't1'"}
    record = influence.build(store, two(tmp_path, reference_sets=given, reference="longer"), 1)
    assert record.plan.partition["reference"] == "longer"
    assert store.record("influence", iteration=1, reference="teacher", batch="main") == whole, "not built again"
    longer = read(store, "influence", iteration=1, reference="longer", batch="main")
    alone = read(store, "influence", iteration=1, reference="t1-alone", batch="main")
    assert {r["reference"] for r in longer} == {"longer"} and len(longer) == len(alone) == 4
    for row in alone:  # of one sample the mean is the maximum, but for float16
        assert row["influence"] == pytest.approx(row["influence_max"], abs=2e-3)
    assert max(abs(a["influence"] - b["influence"]) for a, b in zip(longer, alone, strict=True)) > 0.01


def test_a_condition_that_keeps_nothing_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none has no gradients: no sample with a gradient meets"):
        influence.build(store, two(tmp_path, reference_sets={"none": "solution = 'x'"}), 1)


def test_references_have_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reference 'other'; there are teacher"):
        two(tmp_path, reference="other")
    with pytest.raises(ValueError, match="take another"):
        two(tmp_path, reference_sets={"teacher": "true"})
    with pytest.raises(ValueError, match="must match"):
        two(tmp_path, reference_sets={"Not A Name": "true"})


def test_force_reads_only_the_reference_that_is_not_built(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    influence.build(store, two(tmp_path), 1)
    read_sets: list[str] = []
    reference_set = influence.reference_set
    monkeypatch.setattr(influence, "reference_set", lambda *a: read_sets.append(a[3]) or reference_set(*a))
    given = {"longer": "length(solution) > 6"}
    influence.build(Store(store.root, force=True), two(tmp_path, reference_sets=given), 1)
    assert read_sets == ["longer"]


def test_influence_that_is_asked_for_again_is_built_again(store: Store, tmp_path: Path) -> None:
    before = influence.build(store, two(tmp_path), 1)
    where = "influence/iteration-1/reference-teacher/batch-main"
    wish = Rebuild(what="influence", id="wish", partitions=frozenset({where}))
    after = influence.build(Store(store.root, rebuild=wish), two(tmp_path), 1)
    assert (after.rebuilt_for, after.content) == ("wish", before.content)
