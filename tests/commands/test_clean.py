"""`scoder clean` removes what nothing needs any more, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builders.engines import Completion, OpenAISettings
from builders.engines.answers import close_journal, journals, spent_before
from builders.engines.budget import Spent
from builders.engines.journal import Journal
from commands.clean import found, remove
from queries.verify import verify
from store import CONTRACTS, Plan, Store, markers
from store.lock import coordinator
from tests.rows import put
from tests.smoke_run import ROOT, scoder
from tests.tiny_recipes import tree

CAPPED = OpenAISettings(budget_tokens=10**6)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One finished partition."""
    made = Store(tmp_path / "store")
    put(made, "raw_pool", [{"snippet_id": "s1"}])
    return made


def begun(store: Store, name: str, **partition: str | int) -> Plan:
    """A partition that is being built: one of its two shards is there."""
    plan = Plan(table=name, partition=partition, num_shards=2)
    store.begin(plan)
    store.write(plan, 0, CONTRACTS[name].schema.empty_table())
    return plan


def finished(store: Store, name: str, **partition: str | int) -> Plan:
    plan = Plan(table=name, partition=partition, num_shards=1)
    store.materialize(plan, lambda index: CONTRACTS[name].schema.empty_table())
    return plan


def scratch(store: Store, *names: str) -> None:
    tree(Path(store.scratch("")), {f"{name}/rows": "1234" for name in names})


def paths(store: Store) -> list[str]:
    """What can go, without the folder of scratch."""
    return [w.path.removeprefix("_runs/_scratch/") for w in found(store)]


def files(store: Store) -> set[str]:
    root = Path(store.root)
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != "lock.guard"}


# -- scratch ---------------------------------------------------------------------------------------


def test_scratch_of_finished_and_forgotten_plans_goes(store: Store) -> None:
    done, gone = finished(store, "snippet_checks").fingerprint, "0" * 32
    names = [f"extract-{gone}", f"gradients-{gone}", "near-duplicates", f"shards-{gone}", f"shards-{done}", "unjudged"]
    scratch(store, "duckdb", *names)
    assert paths(store) == ["duckdb", *names]
    before = files(store)
    remove(store, found(store))
    assert before - files(store) == {f"_runs/_scratch/{name}/rows" for name in ("duckdb", *names)}
    assert paths(store) == [] and verify(store) == []


def test_what_an_unfinished_build_goes_on_with_stays(store: Store) -> None:
    plan = begun(store, "candidates", iteration=1)
    scratch(store, f"shards-{plan.fingerprint}", f"staged-{plan.fingerprint}-items", "unjudged", "slurm", "duckdb")
    Journal(journals(store, plan)).add(0, answer("r0"), None)
    before = files(store)
    assert paths(store) == ["duckdb"]
    remove(store, found(store))
    assert before - files(store) == {"_runs/_scratch/duckdb/rows"}


def test_the_staging_of_the_pool_stays_until_all_that_is_made_of_it_is_built(store: Store) -> None:
    record = store.record("raw_pool")
    assert record is not None
    name = f"extract-{record.plan.fingerprint}"
    scratch(store, name)
    finished(store, "snippet_occurrences")
    assert paths(store) == []
    finished(store, "rejects", stage="extract")
    assert paths(store) == [name]


def test_the_notes_of_gradients_stay_until_their_rejects_are_built(store: Store) -> None:
    part = {"item_kind": "teacher", "iteration": 1, "batch": "main"}
    name = f"gradients-{finished(store, 'gradients', **part).fingerprint}"
    scratch(store, name)
    assert paths(store) == []
    rejects = Plan(
        table="rejects",
        partition={"stage": "reference", "iteration": 1},
        inputs=store.input("gradients", **part),
        num_shards=1,
    )
    store.materialize(rejects, lambda index: CONTRACTS["rejects"].schema.empty_table())
    assert paths(store) == [name]


# -- journals and budgets --------------------------------------------------------------------------


def answer(name: str, tokens: int = 10) -> Completion:
    return Completion(name, "text", "stop", tokens, tokens, None)


def asked(store: Store, plan: Plan, *names: str, shard: int = 0) -> Path:
    journal = Journal(journals(store, plan))
    for name in names:
        journal.add(shard, answer(name), 0.5)
    journal.close()
    return journals(store, plan)


def test_answers_of_a_finished_table_go_and_what_they_cost_still_counts(store: Store) -> None:
    done, other = finished(store, "teacher_samples"), Plan(table="teacher_samples", fields={"seed": 9})
    folder = asked(store, done, "r0", "r1")
    asked(store, other, "r0")  # of a plan that was never finished: these answers are paid for
    tree(folder, {"batches.jsonl": "{}"})
    before = spent_before(store, "teacher_samples", CAPPED)
    assert before == Spent(60, 1.5)
    assert paths(store) == [folder.name]
    remove(store, found(store))
    assert [p.name for p in folder.iterdir()] == ["spent.json"]
    assert spent_before(store, "teacher_samples", CAPPED) == before
    assert paths(store) == [], "the sum itself is no answer"


def test_a_closed_journal_that_is_used_again_adds_up(store: Store) -> None:
    plan = finished(store, "teacher_samples")
    for number in range(3):
        folder = asked(store, plan, "r0", "r1")
        assert spent_before(store, "teacher_samples", CAPPED) == Spent(40 * (number + 1), number + 1.0)
        close_journal(folder)
        close_journal(folder)
        assert spent_before(store, "teacher_samples", CAPPED) == Spent(40 * (number + 1), number + 1.0)


DRILL = """
import os, signal, sys
from pathlib import Path
from builders.engines import Completion, journal
from store import files

def closed(lines):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = [lines]
    def trace(frame, event, argument):
        if frame.f_code.co_filename not in (journal.__file__, files.__file__):
            return None
        left[0] -= event == "line"
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    journal.close(folder)
    os._exit(0)

def asked(shards, name):
    kept = journal.Journal(folder)
    for shard in shards:
        kept.add(shard, Completion(name, "t", "stop", 1, 0, None), 1.0)
    kept.close()
    return len(shards)

lines, code = 0, None
while code != 0:
    lines += 1
    folder = Path(sys.argv[1], str(lines))
    paid = asked(range(3), "a")
    code = closed(lines)
    assert journal.spent([folder]).tokens == paid, (lines, journal.spent([folder]), paid)
    paid += asked([1], "b")
    assert journal.spent([folder]).tokens == paid, ("asked again", lines, journal.spent([folder]), paid)
print(lines)
"""


def test_a_kill_while_answers_go_counts_none_twice_and_loses_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRILL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 100


# -- leftovers -------------------------------------------------------------------------------------


def test_what_killed_writes_publishes_and_trainings_left_goes(store: Store) -> None:
    published = Path(store.root, "_datasets", "instructions")
    for folder in (published, published.with_name("instructions.replaced-1a2b3c4d")):
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("rows")
        markers.mark(folder)
    left = {
        "_datasets/.instructions.1a2b3c4d.tmp/README.md": "half",
        "_models/.coder-1a2b3c4d.partial/weights.bin": "half",
        "_models/.coder-1a2b3c4d.run/rank-0.log": "Traceback",
        "_runs/raw_pool/record.json.1a2b3c4d.tmp": "half",
        "raw_pool/part-00000.parquet.1a2b3c4d.tmp": "half",
    }
    kept = {
        "_datasets/instructions.replaced-mine/README.md": "mine",
        "_models/coder-1a2b3c4d/optimizer.tmp": "of the model",
        "raw_pool/notes.tmp": "mine",
    }
    before = files(store)
    tree(Path(store.root), left | kept)
    assert paths(store) == [
        "_datasets/.instructions.1a2b3c4d.tmp",
        "_datasets/instructions.replaced-1a2b3c4d",
        "_models/.coder-1a2b3c4d.partial",
        "_models/.coder-1a2b3c4d.run",
        "_runs/raw_pool/record.json.1a2b3c4d.tmp",
        "raw_pool/part-00000.parquet.1a2b3c4d.tmp",
    ]
    remove(store, found(store))
    assert files(store) == {f for f in before if "replaced" not in f} | kept.keys()


def test_a_training_that_goes_on_when_its_plan_is_built_stays(store: Store) -> None:
    plan = Plan(table="checkpoints", partition={"role": "coder"}, num_shards=1)
    store.begin(plan)
    name = f"_models/.coder-{plan.fingerprint[:8]}"
    other = "_models/.coder-1a2b3c4d.partial"
    tree(Path(store.root), {f"{name}.partial/plan.json": "", f"{name}.run/job.json": "", f"{other}/plan.json": ""})
    assert paths(store) == [other]
    (problem,) = verify(store)
    assert problem["check"] == "leftover" and other in problem["result"]


def test_files_that_a_fork_shares_free_nothing(store: Store) -> None:
    scratch(store, "near-duplicates")
    rows = Path(store.scratch("near-duplicates"), "rows")
    assert [w.bytes for w in found(store)] == [4]
    Path(store.root, "elsewhere").hardlink_to(rows)
    assert [w.bytes for w in found(store)] == [0]


# -- the command -----------------------------------------------------------------------------------


def test_the_command_says_what_and_how_large_and_a_dry_run_removes_nothing(store: Store) -> None:
    scratch(store, "near-duplicates", "duckdb")
    before = files(store)
    done = scoder("clean", "--dry-run", "--json", "--store", store.root)
    assert done.returncode == 0 and "8 bytes in 2 paths would be removed" in done.stderr
    rows = json.loads(done.stdout)
    assert [(r["path"], r["bytes"]) for r in rows] == [
        ("_runs/_scratch/duckdb", 4),
        ("_runs/_scratch/near-duplicates", 4),
        ("total", 8),
    ]
    assert files(store) == before
    done = scoder("clean", "--store", store.root)
    assert done.returncode == 0 and "rows that did not fit in memory" in done.stdout
    assert files(store) == {f for f in before if "_scratch" not in f}


def test_it_is_refused_while_a_run_is_alive(store: Store) -> None:
    scratch(store, "near-duplicates")
    with coordinator(store.root):
        done = scoder("clean", "--store", store.root)
    assert done.returncode == 2 and "is in use by process" in done.stderr
    assert paths(store) == ["near-duplicates"]


def test_a_damaged_record_ends_it(store: Store) -> None:
    scratch(store, "near-duplicates")
    record = Path(store.root, "_runs", "raw_pool", "record.json")
    record.write_text("{")
    done = scoder("clean", "--store", store.root)
    assert done.returncode == 2 and "record.json is damaged" in done.stderr.replace("\n", "")
    assert Path(store.scratch("near-duplicates")).exists()
