"""The two-iteration loop from end to end, on the smoke recipe."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from store import CONTRACTS, Store, segments
from tests.run_faults import FaultyRun
from tests.smoke_run import RECIPE, contents, rows, scoder, trained_weights, unmeasured

FILLED = [t for t in CONTRACTS if t != "comparisons"]
"""The tables that the loop fills. `comparisons` belongs to fits that do not exist yet."""


def digests(store: Path, *tables: str) -> dict[str, str]:
    """SHA-256 of every Parquet file of some tables."""
    found = [p for t in tables for p in sorted(Path(store, t).rglob("*.parquet"))]
    return {str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def test_the_loop_fills_every_table(smoke_store: Path) -> None:
    empty = [t for t in FILLED if rows(smoke_store, t).num_rows == 0]
    assert set(empty) <= {"near_duplicates", "unusable_answers"}, f"tables without rows: {empty}"


def test_status_shows_every_filled_table_with_rows_and_time(smoke_store: Path) -> None:
    found = json.loads(scoder("status", "--store", str(smoke_store), "--json").stdout)
    shown = {row["partition"].split("/")[0] for row in found["tables"]}
    assert set(FILLED) - {"rejects"} <= shown
    assert all(row["status"] == "complete" and row["seconds"] >= 0 for row in found["tables"][:-1])
    assert {"heldout_nll", "parse_rate", "scorer_auc", "pass_at_1"} <= {m["name"] for m in found["metrics"]}
    assert {"pool", "candidates", "selected"} <= {r["stage"] for r in found["rejects"]}
    unsure = [m for m in found["metrics"] if m["low"] is None and not m["method"].startswith("none: ")]
    assert unsure == [], "every number has its interval, or says why there is none"
    compared = {(m["name"], m["iteration"]) for m in found["metrics"] if m["verdict"]}
    assert {("heldout_nll", 1), ("heldout_nll", 2), ("parse_rate", 1), ("mean_score", 2)} <= compared
    assert all(e["num_graded"] and e["pass_at_1_low"] is not None for e in found["evaluations"])


def test_verify_accepts_a_finished_store_and_finds_a_changed_byte(smoke_store: Path, tmp_path: Path) -> None:
    assert scoder("verify", "--store", str(smoke_store)).returncode == 0
    copy = tmp_path / "copy"
    shutil.copytree(smoke_store, copy)
    path = next(Path(copy, "candidates").rglob("*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    done = scoder("verify", "--store", str(copy))
    assert done.returncode == 1
    assert "candidates" in done.stdout


def test_the_same_command_again_is_a_no_op(smoke_store: Path) -> None:
    before = contents(smoke_store)
    done = scoder("run", str(RECIPE), "--store", str(smoke_store))
    assert done.returncode == 0, done.stderr
    assert contents(smoke_store) == before
    assert "up to date" in done.stderr
    assert not re.search(r"rows in \d", done.stderr), done.stderr


@pytest.mark.drill
def test_killed_runs_and_trainings_end_in_the_same_tables(smoke_store: Path, tmp_path: Path) -> None:
    """Slow: the whole loop a second time, with faults. The training goes on from its last state."""
    seconds = sum(r.usage.wall_s for r in Store(smoke_store).records())
    store = tmp_path / "killed"
    with FaultyRun(store, seed=7, longest_s=max(6.0, 0.3 * seconds)) as run:
        faults = [run.suffer(kind) for kind in ("coordinator", "training", "coordinator")]
        code = run.finish()
        assert code == 0, run.log.read_text(errors="replace")[-4000:]
        assert run.left() == [], "no process outlives its run"
    assert sum(fault.is_met for fault in faults) >= 2, faults
    assert faults[1].is_met and faults[1].ended_s is not None, faults[1]
    assert all(fault.ended_s is not None for fault in faults if fault.is_met), faults
    for table in CONTRACTS:
        assert rows(store, table).equals(rows(smoke_store, table)), f"{table} differs after kills"
    assert unmeasured(contents(store)) == unmeasured(contents(smoke_store))
    assert contents(store).keys() == contents(smoke_store).keys()
    assert trained_weights(store) == trained_weights(smoke_store), "not a bit differs in one process"


def test_a_changed_recipe_is_refused_and_changes_nothing(forked_store: Path) -> None:
    before = contents(forked_store)
    done = scoder("run", str(RECIPE), "--store", str(forked_store), "--set", "sampling.temperature=0.9")
    assert done.returncode == 2
    assert "sampling.temperature: 0.5 -> 0.9" in done.stderr
    assert "scoder fork" in done.stderr
    assert contents(forked_store) == before
    remembered = (forked_store / "_runs" / "recipe.yaml").read_text()
    assert "temperature: 0.9" not in remembered, "what was refused is not what the store was run with"


def test_force_rebuilds_the_last_query_and_nothing_before_it(smoke_store: Path, forked_store: Path) -> None:
    changed = ("instructions", "rejects/stage-instructions", "checkpoints/role-coder", "metrics/name-pass_at_1")
    before = {k: v for k, v in contents(forked_store).items() if not k.startswith((*changed, "evaluations"))}
    finished = {segments(r.plan.table, r.plan.partition): r.finished for r in Store(smoke_store).records()}
    files = {p: p.stat().st_mtime_ns for k in before for p in Path(forked_store, k).glob("*.parquet")}
    options = ("--until", "instructions", "--force", "--set", "final.max_rows=3")
    done = scoder("run", str(RECIPE), "--store", str(forked_store), *options)
    assert done.returncode == 0, done.stderr
    assert rows(forked_store, "instructions").num_rows == 3
    after = {segments(r.plan.table, r.plan.partition): r for r in Store(forked_store).records()}
    assert {k: after[k].content for k in before} == before
    assert {k: after[k].finished for k in before} == {k: finished[k] for k in before}
    assert {p: p.stat().st_mtime_ns for p in files} == files
    assert all(p.stat().st_ino == Path(smoke_store, p.relative_to(forked_store)).stat().st_ino for p in files)
    said = re.search(r"this run ends before what else came from it, which may be stale then: (.*)", done.stderr)
    assert said and "checkpoints/role-coder" in said[1]
    assert after["checkpoints/role-coder"].status == "stale"
    again = scoder("run", str(RECIPE), "--store", str(forked_store), *options)
    assert not re.search(r"rows in \d", again.stderr), "with --force too, a second run builds nothing"


def test_selections_call_no_model_and_touch_nothing_upstream(forked_store: Path) -> None:
    upstream = ("candidates", "aspect_scores", "scored", "gradients", "influence")
    before = digests(forked_store, *upstream)
    store = ("--store", str(forked_store), "--iteration", "1", "--json")
    strict = json.loads(
        scoder("select", "--name", "strict", "--set", "selection.top_share=0.2", "--compare", "default", *store).stdout
    )
    loose = json.loads(scoder("select", "--name", "loose", "--set", "selection.max_per_snippet=9", *store).stdout)
    other = scoder(
        "select", "--name", "other", "--set", "selection.weights={difficulty: 1.0}", "--compare", "default", *store
    )
    assert other.returncode == 0, other.stderr
    assert digests(forked_store, *upstream) == before
    kept = {r["selection"] for r in rows(forked_store, "selected").to_pylist() if r["iteration"] == 1}
    assert kept == {"default", "strict", "loose", "other"}
    assert strict["compared"]["enter"] == [] and strict["compared"]["leave"]
    assert [v["candidates"] for v in loose["funnel"] if v["verdict"] == "- influence_missing"], loose["funnel"]


def test_fill_computes_exactly_the_missing_gradients(forked_store: Path) -> None:
    store = (
        "--store",
        str(forked_store),
        "--iteration",
        "1",
        "--name",
        "loose",
        "--set",
        "selection.max_per_snippet=9",
        "--json",
    )
    funnel = json.loads(scoder("select", *store).stdout)["funnel"]
    missing = next(v["candidates"] for v in funnel if v["verdict"] == "- influence_missing")
    before = digests(forked_store, "gradients")
    done = scoder("fill", *store)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["filled"] == missing
    added = digests(forked_store, "gradients").keys() - before.keys()
    filled = {i for p in added for i in pq.read_table(forked_store / p)["item_id"].to_pylist()}
    assert len(filled) == missing
    again = json.loads(scoder("select", *store).stdout)["funnel"]
    assert "- influence_missing" not in {v["verdict"] for v in again}
    assert scoder("run", str(RECIPE), "--store", str(forked_store)).returncode == 0, (
        "the default selection is as it was"
    )


def test_the_published_folder_trains_a_coder_by_itself(smoke_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    done = scoder("publish", "instructions", str(folder), "--store", str(smoke_store))
    assert done.returncode == 0, done.stderr
    loaded = datasets.load_dataset(str(folder), split="train")
    assert loaded.num_rows == rows(smoke_store, "instructions").num_rows
    assert [m["role"] for m in loaded[0]["messages"]] == ["user", "assistant"]
    assert all(loaded["license"])
    base, output = RECIPE.parent / "tiny-base", tmp_path / "coder"
    settings = ("--set", "epochs=1", "--set", "num_checkpoints=1", "--set", "max_tokens=512", "--set", "lora={r: 4}")
    done = scoder("train", "coder", "--dataset", str(folder), "--base", str(base), "--output", str(output), *settings)
    assert done.returncode == 0, done.stderr
    assert list(output.glob("checkpoint-*/adapter_model.safetensors"))


def test_fork_shares_files_and_goes_its_own_way(smoke_store: Path, tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    assert scoder("fork", str(smoke_store), str(fork), "--until", "bootstrap").returncode == 0
    here, there = contents(fork), contents(smoke_store)
    assert all(there[k] == v for k, v in here.items())
    assert not [k for k in here if k.startswith(("selected", "influence", "instructions"))]
    part = "pool/part-00000.parquet"
    assert Path(fork, part).stat().st_ino == Path(smoke_store, part).stat().st_ino


def test_a_fork_before_the_selection_keeps_the_influence_and_not_the_training(
    smoke_store: Path, tmp_path: Path
) -> None:
    fork = tmp_path / "fork"
    assert scoder("fork", str(smoke_store), str(fork), "--until", "influence-1").returncode == 0
    kept = contents(fork)
    assert "influence/iteration-1/reference-teacher/batch-main" in kept
    assert "checkpoints/role-synthesizer/iteration-0" in kept
    gone = ("selected/", "checkpoints/role-synthesizer/iteration-1", "rejects/stage-selected", "candidates/iteration-2")
    assert not [k for k in kept if k.startswith(gone)]
    options = ("--iteration", "1", "--name", "default", "--set", "selection.top_share=0.2", "--json")
    done = scoder("select", *options, "--store", str(fork))
    assert done.returncode == 0, done.stderr
