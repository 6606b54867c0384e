"""The end of a run: what was made, where, and three commands that work as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from commands.summary import lines
from store import Plan, Store, Usage
from store.ledger import Ledger
from tests.rows import make_stale, put, table
from tests.smoke_run import scoder_here


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store after a whole run, with two synthesizers and a paid teacher."""
    found = Store(tmp_path / "my store")
    put(found, "pool", [{"snippet_id": f"s{n}"} for n in range(1200)])
    paid = Usage(wall_s=0.5, prompt_tokens=1500, completion_tokens=400, cost_usd=0.25)
    plan = Plan(table="teacher_samples", num_shards=1)
    found.materialize(plan, lambda index: (table("teacher_samples", [{"sample_id": "t1"}]), paid))
    for t in (0, 1):
        saved = [
            {"checkpoint_id": f"g{t}{step}", "role": "synthesizer", "iteration": t, "step": step, "is_final": step == 2}
            | {"location": f"_models/synthesizer-{t}/checkpoint-{step}"}
            for step in (1, 2)
        ]
        put(found, "checkpoints", saved, role="synthesizer", iteration=t)
    rates = [{"name": "parse_rate", "iteration": t, "subject": f"G{t}", "value": 0.5 + t / 4} for t in (0, 1)]
    put(found, "metrics", rates)
    put(found, "checkpoints", [{"checkpoint_id": "b", "role": "base", "is_final": True}], role="base")
    put(found, "instructions", [{"candidate_id": "c1"}, {"candidate_id": "c2"}])
    (tmp_path / "my store" / "_datasets" / "instructions").mkdir(parents=True)
    return found


def test_it_says_what_was_made_where_and_how_good(store: Store) -> None:
    found = lines(Ledger(store.root), store.root)
    assert found[:3] == [
        f"2 instructions: {store.root}/_datasets/instructions",
        f"synthesizer G1: {store.root}/_models/synthesizer-1/checkpoint-2",
        "parse rate: G0 0.500, G1 0.750",
    ]
    assert found[3].startswith("all builds of this store took ") and found[3].endswith(
        " s, 1,500 tokens read and 400 written, 0.25 USD"
    )
    assert len(found) == 9


def test_the_three_commands_work_as_they_stand(store: Store) -> None:
    first, *commands = lines(Ledger(store.root), store.root)[-4:]
    assert first == "Look at it:"
    for line in commands:
        words = shlex.split(line)
        start = next(n for n, word in enumerate(words) if word in ("status", "show", "sql"))
        done = scoder_here(*words[start:])
        assert done.returncode == 0 and done.stdout, done.stderr


def test_the_default_store_need_not_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(Store("store-data"), "pool", [{"snippet_id": "s1"}])
    found = lines(Ledger("store-data"), "store-data")
    assert found[0] == "1 row of pool"
    assert not any("--store" in line for line in found)
    assert [line.split()[-1] for line in found[-3:-1]] == ["status", "pool"]


def test_a_run_that_stopped_early_says_what_there_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "raw_pool", [{"snippet_id": f"s{n}"} for n in range(3)])
    put(store, "pool", [{"snippet_id": "s1"}])
    store.begin(Plan(table="candidates", partition={"iteration": 1}, num_shards=2))
    make_stale(store, "pool")
    found = lines(Ledger(tmp_path), str(tmp_path))
    assert found[0] == "1 row of pool, 3 rows of raw_pool"
    assert found[2].startswith("pool: stale") and found[3].startswith("candidates/iteration-1: not finished")


def test_an_empty_store_has_a_summary(tmp_path: Path) -> None:
    assert lines(Ledger(tmp_path), str(tmp_path))[0] == "nothing is built"
