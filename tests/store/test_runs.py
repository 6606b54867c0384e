"""Run records: what identifies a plan, what is recorded beside it, and how two plans differ."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from store import Plan, Record, Store, Usage, runs
from store.runs import code_version, completed
from store.schemas import VERSION
from store.shards import Shard

PLAN = Plan(table="pool", fields={"min_lines": 3, "licenses": ["mit"]}, inputs={"raw_pool": "aa"}, num_shards=2)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "1", "true", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def test_a_fingerprint_does_not_depend_on_the_order_of_fields() -> None:
    turned = Plan(table="pool", fields={"licenses": ["mit"], "min_lines": 3}, inputs={"raw_pool": "aa"}, num_shards=2)
    assert turned.fingerprint == PLAN.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"table": "near_duplicates"},
        {"partition": {"iteration": 1}},
        {"fields": {"min_lines": 4, "licenses": ["mit"]}},
        {"inputs": {"raw_pool": "bb"}},
        {"texts": {"queries/pool.sql": "cc"}},
        {"contract": VERSION + 1},
        {"num_shards": 3},
        {"rows_per_shard": 5},
    ],
)
def test_everything_in_a_plan_changes_its_fingerprint(change: dict) -> None:
    other = PLAN.model_copy(update=change)
    assert other.fingerprint != PLAN.fingerprint
    assert [line.split(":")[0].split(".")[0] for line in PLAN.differences(other)] == list(change)


def test_differences_name_the_field_and_both_values() -> None:
    other = PLAN.model_copy(update={"fields": {"min_lines": "3", "max_lines": 9, "licenses": ["mit", "bsd"]}})
    assert PLAN.differences(other) == [
        'fields.licenses: ["mit"] -> ["mit", "bsd"]',
        "fields.max_lines: (absent) -> 9",
        'fields.min_lines: 3 -> "3"',
    ]
    assert PLAN.differences(PLAN) == []


@given(FIELDS, FIELDS)
def test_two_plans_differ_exactly_when_a_difference_is_named(ours: dict, theirs: dict) -> None:
    a, b = Plan(table="pool", fields=ours), Plan(table="pool", fields=theirs)
    assert (a.fingerprint != b.fingerprint) == bool(a.differences(b))


@example({"a": float("inf"), "b": [float("-inf")]})
@given(FIELDS)
def test_a_plan_that_was_written_and_read_is_the_same_plan(fields: dict) -> None:
    record = Record(plan=Plan(table="pool", fields=fields))
    again = Record.model_validate_json(record.model_dump_json())
    assert again.plan.fingerprint == record.plan.fingerprint
    assert record.plan.differences(again.plan) == []


def test_infinite_thresholds_are_told_apart() -> None:
    plans = [Plan(table="selected", fields={"min_influence": x}) for x in (float("inf"), float("-inf"), None)]
    assert len({p.fingerprint for p in plans}) == 3


def test_shards_of_no_rows_are_refused() -> None:
    with pytest.raises(ValidationError, match="rows_per_shard"):
        Plan(table="pool", rows_per_shard=0)


def test_usage_adds_up_and_an_unknown_cost_stays_unknown() -> None:
    known = Usage(wall_s=1.0, prompt_tokens=2, completion_tokens=3, cost_usd=0.5)
    unknown = Usage(wall_s=1.0, prompt_tokens=2)
    assert known.add(known) == Usage(wall_s=2.0, prompt_tokens=4, completion_tokens=6, cost_usd=1.0)
    assert known.add(unknown).cost_usd == 0.5
    assert unknown.add(unknown).cost_usd is None


def test_a_completed_record_says_what_came_of_it() -> None:
    begun = Record(plan=PLAN)
    shards = [Shard(index=0, rows=3, size=9, sha256="x"), Shard(index=1, rows=2, size=8, sha256="y")]
    done = completed(begun, shards, Usage(wall_s=2.0))
    assert (begun.status, begun.content, begun.finished) == ("building", "", None)
    assert (done.status, done.rows, done.usage.wall_s) == ("complete", 5, 2.0)
    assert done.finished is not None
    assert done.finished >= done.started
    assert done.content != completed(begun, shards[::-1], Usage()).content


@pytest.mark.parametrize(
    ("program", "words"),
    [("/opt/bin/scoder", ["scoder"]), ("/src/commands/__main__.py", ["python", "-m", "commands"])],
)
def test_the_command_can_be_pasted_into_a_shell(program: str, words: list[str]) -> None:
    arguments = [program, "select", "--set", "selection.note=it's two words"]
    code = f"import sys; from store.runs import command_line; sys.argv = {arguments!r}; print(command_line())"
    root = Path(__file__).parents[2]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert shlex.split(printed) == [*words, *arguments[1:]]


ROOT = Path(__file__).parents[2]


def test_a_slow_git_costs_the_commit_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(runs, "GIT_S", 0.2)
    assert runs.code_version.__wrapped__() in (importlib.metadata.version("scoder"), "unknown")


def test_a_record_names_the_versions_that_can_change_rows(tmp_path: Path) -> None:
    record = Store(tmp_path).begin(Plan(table="pool"))
    for name in ("torch", "transformers", "ruff", "ty", "duckdb", "pyarrow"):
        assert record.versions[name] == importlib.metadata.version(name)
    assert record.versions["python"] == platform.python_version()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout; tests/test_wheel.py tests that case")
def test_the_code_version_of_a_checkout_is_its_commit() -> None:
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert code_version().removesuffix("+") == commit
