"""A fork: every partition belongs to a stage, and a fork holds what the stages up to one made."""

import os
from pathlib import Path

import pytest

import scoder
from builders.recipe.files import recall, remember
from store import CONTRACTS, ContractError, Plan, Store
from store.fork import _ORDER, fork, stage_of
from tests.rows import make_stale
from tests.tiny_recipes import recipe, tree


def loop(t: int) -> list[tuple[str, dict]]:
    """What sampling and scoring of an iteration write, in their order."""
    return [
        ("candidates", {"iteration": t}),
        ("rejects", {"stage": "candidates", "iteration": t}),
        ("metrics", {"name": "parse_rate", "iteration": t}),
        ("contamination", {"item_kind": "candidate", "iteration": t, "benchmark": "demo"}),
        ("aspect_scores", {"item_kind": "candidate", "iteration": t}),
        ("aspect_weights", {"iteration": t, "weights": "default"}),
        ("scored", {"iteration": t}),
        ("rejects", {"stage": "scored", "iteration": t}),
        ("metrics", {"name": "mean_score", "iteration": t}),
    ]


def chosen(t: int, name: str = "default") -> list[tuple[str, dict]]:
    """What influence, selection and training of an iteration write, in their order."""
    return [
        ("gradients", {"item_kind": "teacher", "iteration": t, "batch": "main"}),
        ("gradients", {"item_kind": "candidate", "iteration": t, "batch": "main"}),
        ("influence", {"iteration": t, "reference": "teacher", "batch": "main"}),
        ("selected", {"iteration": t, "selection": name}),
        ("rejects", {"stage": "selected", "iteration": t, "selection": name}),
        ("metrics", {"name": "selection_overlap", "iteration": t}),
        ("checkpoints", {"role": "synthesizer", "iteration": t}),
        ("metrics", {"name": "heldout_nll", "iteration": t}),
    ]


# A run of two iterations, in the order of scoder.py.
RUN: dict[str, list[tuple[str, dict]]] = {
    "pool": [
        ("raw_pool", {}),
        ("raw_pool", {"origin": "import"}),
        ("snippet_occurrences", {}),
        ("rejects", {"stage": "extract"}),
        ("snippet_checks", {}),
        ("near_duplicates", {}),
        ("benchmarks", {"benchmark": "demo"}),
        ("contamination", {"item_kind": "snippet", "benchmark": "demo"}),
        ("checkpoints", {"role": "docstring-judge"}),
        ("aspect_scores", {"item_kind": "snippet"}),
        ("pool", {}),
        ("rejects", {"stage": "pool"}),
    ],
    "teacher": [
        ("teacher_samples", {}),
        ("rejects", {"stage": "teacher"}),
        ("contamination", {"item_kind": "teacher", "benchmark": "demo"}),
        ("aspect_scores", {"item_kind": "label"}),
    ],
    "scorer": [
        ("checkpoints", {"role": "scorer"}),
        ("metrics", {"name": "scorer_auc"}),
        ("aspect_scores", {"item_kind": "teacher"}),
    ],
    "bootstrap": [
        ("checkpoints", {"role": "base"}),
        ("candidates", {"iteration": 0}),
        ("rejects", {"stage": "candidates", "iteration": 0}),
        ("metrics", {"name": "parse_rate", "iteration": 0}),
        ("checkpoints", {"role": "synthesizer", "iteration": 0}),
        ("metrics", {"name": "heldout_nll", "iteration": 0}),
    ],
    "iteration-1": loop(1) + chosen(1),
    "iteration-2": loop(2) + chosen(2),
    "instructions": [*loop(3), ("instructions", {}), ("rejects", {"stage": "instructions"})],
    "coder": [("checkpoints", {"role": "coder-base"}), ("checkpoints", {"role": "coder"})],
    "evaluation": [
        ("evaluations", {"checkpoint": "coder", "benchmark": "demo"}),
        ("metrics", {"name": "pass_at_1-coder-demo"}),
    ],
}
STAGES = list(RUN)


def put(store: Store, table: str, partition: dict, note: str = "") -> None:
    """An empty partition; `note` makes it another plan."""
    plan = Plan(table=table, partition=partition, fields={"note": note}, num_shards=1)
    store.materialize(plan, lambda index: CONTRACTS[table].schema.empty_table())


def finished(path: Path, until: str = "evaluation") -> Store:
    """A store with an empty partition for all that a run writes up to a stage."""
    store = Store(path)
    for stage in STAGES[: STAGES.index(until) + 1]:
        for table, partition in RUN[stage]:
            put(store, table, partition)
    return store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished run, which no test changes: they fork it."""
    return finished(tmp_path_factory.mktemp("whole") / "store")


def built(store: Store) -> set[tuple]:
    return {(r.plan.table, *sorted(r.plan.partition.items())) for r in store.records()}


def expected(until: str) -> set[tuple]:
    made = [item for stage in STAGES[: STAGES.index(until) + 1] for item in RUN[stage]]
    return {(table, *sorted(partition.items())) for table, partition in made}


def test_the_run_above_has_the_stages_of_the_flow_and_all_its_tables(tmp_path):
    assert list(scoder.stages(recipe(tmp_path, iterations=2))) == STAGES
    assert {table for made in RUN.values() for table, _ in made} == set(CONTRACTS) - {"comparisons"}


def test_stages_are_in_the_order_of_the_flow(whole):
    places = [stage_of(whole.record(t, **p)) for stage in STAGES if stage != "instructions" for t, p in RUN[stage]]
    assert places == sorted(places)
    assert len(set(places)) == len(STAGES) - 1


@pytest.mark.parametrize("until", STAGES)
def test_a_fork_holds_what_the_stages_up_to_one_made(tmp_path, whole, until):
    target = Store(tmp_path / "fork")
    linked = fork(whole, target, until)
    assert built(target) == expected(until)
    assert len(linked) == len(expected(until))


def test_a_run_killed_in_its_last_generation_forks_at_its_last_iteration(tmp_path, whole):
    store = Store(tmp_path / "store")
    fork(whole, store, "iteration-2")
    for table, partition in loop(3)[:4]:
        put(store, table, partition)
    fork(store, Store(tmp_path / "fork"), "iteration-2")
    assert built(Store(tmp_path / "fork")) == expected("iteration-2")
    fork(store, Store(tmp_path / "all"), "instructions")
    assert built(Store(tmp_path / "all")) == built(store)


def test_the_final_generation_is_no_iteration(tmp_path, whole):
    fork(whole, Store(tmp_path / "fork"), "iteration-3")
    assert built(Store(tmp_path / "fork")) == expected("iteration-2")


def test_other_selections_come_along_with_their_iteration(tmp_path, whole):
    store = Store(tmp_path / "store")
    fork(whole, store, "iteration-1")
    put(store, "selected", {"iteration": 1, "selection": "strict"})
    put(store, "rejects", {"stage": "selected", "iteration": 1, "selection": "strict"})
    for until, found in (("bootstrap", 0), ("iteration-1", 2)):
        linked = fork(store, Store(tmp_path / until), until)
        assert sum("strict" in path for path in linked) == found


def test_rows_are_linked_and_a_fork_goes_its_own_way(tmp_path):
    store = Store(tmp_path / "store")
    put(store, "teacher_samples", {}, "ours")
    target = Store(tmp_path / "fork")
    fork(store, target, "teacher")
    ours, theirs = (Path(s.directory("teacher_samples"), "part-00000.parquet") for s in (store, target))
    assert os.path.samefile(ours, theirs)
    assert target.record("teacher_samples") == store.record("teacher_samples")
    before = ours.read_bytes()
    put(Store(tmp_path / "fork", force=True), "teacher_samples", {}, "theirs")
    assert ours.read_bytes() == before != theirs.read_bytes()
    assert store.is_complete("teacher_samples")


def test_unfinished_and_stale_partitions_stay_behind(tmp_path):
    store = finished(tmp_path / "store", "teacher")
    store.save(store.record("near_duplicates").model_copy(update={"status": "building"}))
    make_stale(store, "pool")
    fork(store, Store(tmp_path / "fork"), "teacher")
    assert expected("teacher") - built(Store(tmp_path / "fork")) == {("near_duplicates",), ("pool",)}


def test_models_datasets_and_the_recipe_come_along(tmp_path):
    store = finished(tmp_path / "store", "pool")
    files = {"_models/g0/adapter.bin": "weights", "_datasets/d/train.parquet": "rows", "_runs/_scratch/journal": "paid"}
    tree(tmp_path / "store", files)
    remember(str(tmp_path / "store"), recipe(tmp_path, seed=7))
    fork(store, Store(tmp_path / "fork"), "pool")
    assert os.path.samefile(tmp_path / "store/_models/g0/adapter.bin", tmp_path / "fork/_models/g0/adapter.bin")
    assert (tmp_path / "fork/_datasets/d/train.parquet").read_text() == "rows"
    assert recall(str(tmp_path / "fork")).seed == 7
    assert not (tmp_path / "fork/_runs/_scratch").exists()


def test_a_store_of_which_nothing_is_finished_forks_to_its_recipe(tmp_path):
    remember(str(tmp_path / "store"), recipe(tmp_path, seed=7))
    assert fork(Store(tmp_path / "store"), Store(tmp_path / "fork"), "pool") == []
    assert recall(str(tmp_path / "fork")).seed == 7


def test_a_target_that_is_a_store_is_refused(tmp_path, whole):
    target = Store(tmp_path / "other")
    put(target, "pool", {})
    with pytest.raises(ContractError, match="other is a store already; give a new directory to fork into"):
        fork(whole, target, "pool")
    assert built(target) == {("pool",)}


@pytest.mark.parametrize(
    "until", ["pol", "", "iteration", "iteration-", "iteration-x", "iteration-1-2", "pool-1", "coder-base"]
)
def test_an_unknown_stage_lists_those_there_are(tmp_path, whole, until):
    with pytest.raises(ValueError, match=rf"no stage '{until}'; the stages are {', '.join(_ORDER)}\. An iteration"):
        fork(whole, Store(tmp_path / "fork"), until)
    assert not (tmp_path / "fork").exists()
