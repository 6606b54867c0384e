"""A fork: every partition belongs to a stage, and a fork holds what the stages up to one made."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import scoder
from builders.recipe.files import recall, remember
from queries.verify import verify
from store import CONTRACTS, ContractError, Plan, Store, markers
from store.errors import InputError
from store.fork import _ORDER, fork, stage_of
from tests.rows import make_stale
from tests.smoke_run import ROOT
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
        ("raw_pool", {"origin": "import"}),
        ("teacher_samples", {}),
        ("unusable_answers", {}),
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


@pytest.mark.parametrize("until", ["iteration-3", "iteration-9", "influence-9", "iteration-0"])
def test_an_iteration_that_the_store_has_not_lists_those_it_has(tmp_path, whole, until):
    """The third one is the final generation."""
    with pytest.raises(InputError, match=rf"no stage '{until}' in .*: it has iteration-1, iteration-2\. Fork at"):
        fork(whole, Store(tmp_path / "fork"), until)
    assert not (tmp_path / "fork").exists()


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


def named(store: Store, table: str, **partition) -> list[str]:
    """The folders of a partition's model and dataset, each with a file in it."""
    found = markers.folders_of(store.record(table, **partition))
    tree(Path(store.root), {f"{name}/weights.bin": name for name in found})
    return found


def test_models_and_datasets_come_along_with_their_partitions(tmp_path):
    store = finished(tmp_path / "store", "evaluation")
    first = named(store, "checkpoints", role="synthesizer", iteration=0) + named(store, "checkpoints", role="scorer")
    last = named(store, "checkpoints", role="coder") + named(store, "instructions")
    tree(tmp_path / "store", {"_models/old-12345678/weights.bin": "of no record"})
    assert [n.split("-")[0] for n in first + last] == [
        "_models/synthesizer", "_datasets/synthesizer", "_models/scorer", "_datasets/scorer",
        "_models/coder", "_datasets/coder", "_datasets/instructions",
    ]  # fmt: skip
    for until, expected_there in (("pool", []), ("bootstrap", first), ("evaluation", first + last)):
        fork(store, Store(tmp_path / until), until)
        there = {str(p.parent.relative_to(tmp_path / until)) for p in (tmp_path / until).glob("_*s/*/weights.bin")}
        assert there == set(expected_there)
    name = f"{first[0]}/weights.bin"
    assert os.path.samefile(tmp_path / "store" / name, tmp_path / "bootstrap" / name)


def test_the_recipe_comes_along_and_scratch_does_not(tmp_path):
    store = finished(tmp_path / "store", "pool")
    tree(tmp_path / "store", {"_runs/_scratch/journal": "paid"})
    remember(str(tmp_path / "store"), recipe(tmp_path, seed=7))
    fork(store, Store(tmp_path / "fork"), "pool")
    assert recall(str(tmp_path / "fork")).seed == 7
    assert not (tmp_path / "fork/_runs/_scratch").exists()


def made_of(store: Store, table: str, *inputs: str) -> None:
    plan = Plan(table=table, inputs={k: v for name in inputs for k, v in store.input(name).items()}, num_shards=1)
    store.materialize(plan, lambda index: CONTRACTS[table].schema.empty_table())


def test_what_is_linked_is_closed_under_inputs(tmp_path):
    """The checks of snippets are built again, so what came from them stays behind."""
    store = Store(tmp_path / "store")
    put(store, "raw_pool", {})
    made_of(store, "snippet_checks", "raw_pool")
    made_of(store, "near_duplicates", "snippet_checks")
    made_of(store, "pool", "near_duplicates")
    store.save(store.record("snippet_checks").model_copy(update={"status": "building"}))
    assert fork(store, Store(tmp_path / "fork"), "pool") == ["raw_pool"]
    there = Store(tmp_path / "fork").records()
    assert all(Store(tmp_path / "fork").is_complete(r.plan.table, **r.plan.partition) for r in there)


@pytest.mark.parametrize("code", ["EXDEV", "EPERM", "ENOTSUP", "EMLINK"])
def test_where_links_cannot_be_made_all_is_copied(tmp_path, monkeypatch, code):
    store = finished(tmp_path / "store", "scorer")
    (name, _) = named(store, "checkpoints", role="scorer")

    def refuse(source, target, **_):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), source, None, target)

    monkeypatch.setattr(os, "link", refuse)
    fork(store, Store(tmp_path / "fork"), "scorer")
    ours, theirs = (tmp_path / place / name / "weights.bin" for place in ("store", "fork"))
    assert ours.read_bytes() == theirs.read_bytes() and not os.path.samefile(ours, theirs)
    assert "nobody can tell whether it is whole" in verify(Store(tmp_path / "fork"))[0]["result"]
    assert built(Store(tmp_path / "fork")) == expected("scorer")


DRILL = """
import os, signal, sys
from pathlib import Path
from store import Store, files, leftovers
from store import fork as module
source, target = Store(sys.argv[1]), Path(sys.argv[2])

def forked(lines):
    \"\"\"Fork in a process that is killed after so many lines of these modules.\"\"\"
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = [lines]
    def trace(frame, event, argument):
        if frame.f_code.co_filename not in (module.__file__, files.__file__, leftovers.__file__):
            return None
        left[0] -= event == "line"
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    module.fork(source, Store(target), "pool")
    os._exit(0)

lines = step = 1
code = None
while code != 0:
    code = forked(lines)
    assert not target.exists() or len(Store(target).records()) == len(source.records()), lines
    if code != 0 and target.exists():
        break
    lines += step
if code != 0:
    module.shutil.rmtree(target)
    assert forked(-1) == 0
print(lines, sorted(p.name for p in target.parent.iterdir()))
"""


def test_a_fork_that_is_killed_at_any_line_leaves_no_half_store_and_works_again(tmp_path):
    store = Store(tmp_path / "store")
    for table in ("raw_pool", "snippet_checks"):
        put(store, table, {})
    remember(store.root, recipe(tmp_path, seed=7))
    (tmp_path / "forks").mkdir()
    command = [sys.executable, "-c", DRILL, store.root, str(tmp_path / "forks" / "fork")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    lines, left = done.stdout.split(maxsplit=1)
    assert int(lines) > 100 and left == "['fork']\n"
    assert verify(Store(tmp_path / "forks" / "fork")) == []


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


def test_a_folder_with_anything_in_it_is_no_target(tmp_path, whole):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.md").write_text("precious")
    with pytest.raises(ContractError, match="notes is no store, and it is not empty; give a new directory"):
        fork(whole, Store(tmp_path / "notes"), "pool")
    assert [p.name for p in (tmp_path / "notes").iterdir()] == ["mine.md"]
    (tmp_path / "empty").mkdir()
    fork(whole, Store(tmp_path / "empty"), "pool")
    assert built(Store(tmp_path / "empty")) == expected("pool")


@pytest.mark.parametrize(
    "until", ["pol", "", "iteration", "iteration-", "iteration-x", "iteration-1-2", "pool-1", "coder-base"]
)
def test_an_unknown_stage_lists_those_there_are(tmp_path, whole, until):
    with pytest.raises(ValueError, match=rf"no stage '{until}'; the stages are {', '.join(_ORDER)}\. An iteration"):
        fork(whole, Store(tmp_path / "fork"), until)
    assert not (tmp_path / "fork").exists()
