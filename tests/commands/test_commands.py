"""Every command is documented and works. A user's mistake gets one message and exit code 2."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from commands import app
from store import Store
from tests.rows import put
from tests.smoke_run import RECIPE, ROOT, rows, scoder, scoder_here

COMMANDS = [c.name or c.callback.__name__ for c in app.registered_commands] + ["train", "import"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    documented = (ROOT / "docs" / "commands.md").read_text()
    assert f"scoder {name}" in documented, f"docs/commands.md does not show `scoder {name}`"


def mistakes(store: Path) -> list[tuple[tuple[str, ...], str]]:
    """Arguments, and what the message must say."""
    at = ("--store", str(store))
    return [
        (("run", "nowhere.yaml"), "no recipe nowhere.yaml"),
        (("run", str(RECIPE), "--set", "selction.min_score=1", "--dry-run"), "did you mean 'selection'"),
        (("run", str(RECIPE), "--set", "selection.min_scor=1", "--dry-run"), "did you mean 'min_score'"),
        (("run", str(RECIPE), "--until", "nothing", *at), "no stage 'nothing'"),
        (("status", "--store", "/nowhere/at-all"), "no store at /nowhere/at-all"),
        (("show", "candidate", *at), "no table 'candidate'"),
        (("show", "candidates", "--where", "nonsense = 1", *at), "nonsense"),
        (("sql", "DROP VIEW pool", *at), "only one statement that reads"),
        (("sql", "SELECT 1; SELECT 2", *at), "only one statement that reads"),
        (("sql", "SELECT * FROM read_text('/etc/passwd')", *at), "Permission"),
        (("trace", "no-such-id", *at), "no table holds the id"),
        (("select", "--iteration", "1", "--name", "Bad Name", *at), "must match"),
        (("select", "--iteration", "9", "--name", "late", *at), "iteration 9 is not scored"),
        (
            ("select", "--iteration", "1", "--name", "x", "--compare", "nope", "--dry-run", *at),
            "there are: iteration-1/",
        ),
        (("fill", "--iteration", "9", "--name", "late", *at), "those that are: 1"),
        (("publish", "selected", "./x", "--iteration", "1", "--name", "nope", *at), "no selection nope of iteration 1"),
        (("publish", "instructions", "/", *at), "cannot publish to /: it is, or holds, the current directory"),
        (("select", "--iteration", "1", "--name", "x", "--set", "=3", *at), "there is no field before the ="),
        (("select", "--iteration", "1", "--name", "x", "--set", "selection.weights={beauty: 1}", *at), "beauty"),
        (("select", "--iteration", "1", "--name", "x", "--set", "selection.min_score=.nan", *at), "not NaN"),
        (("select", "--iteration", "1", "--name", "x", "--set", "scoring.l2=2", *at), "does not read scoring.l2"),
        (("select", "--iteration", "1", "--name", "x", "--set", "influence.margin=1", *at), "It reads selection.…,"),
        (("fill", "--iteration", "1", "--name", "x", "--set", "selection_name=y", *at), "does not read selection_name"),
        (("publish", "nothing", "/tmp/never", *at), "no table 'nothing'"),
        (("import", "teacher", "/nowhere.jsonl", *at), "no file /nowhere.jsonl"),
        (("fork", str(store), "/tmp/never", "--until", "someday"), "no stage 'someday'"),
        (("evaluate", "model", "--benchmarks", "/nowhere.jsonl"), "/nowhere.jsonl"),
        (("evaluate", "m", "--benchmarks", "b.jsonl", "--set", "engine.dtype=int4"), "engine.dtype: Input should be"),
        (
            ("evaluate", "m", "--benchmarks", "b.jsonl", "--set", "engine.poll_s=3"),
            "is for engine openai, and this one is transformers",
        ),
        (
            ("run", str(RECIPE), "--set", "scorer.engine.poll_s=1", "--dry-run"),
            "scorer.engine.poll_s: 'poll_s' is for engine openai",
        ),
        (("frobnicate",), "frobnicate"),
    ]


ADDRESS = "hf://someone/thing"
OUTPUTS = [
    ("publish", "instructions", ADDRESS),
    ("publish", "instructions", "someone/thing"),
    ("train", "coder", "--dataset", "d", "--base", "b", "--output", ADDRESS),
    ("train", "scorer", "--dataset", "d", "--base", "b", "--output", ADDRESS),
    ("train", "synthesizer", "--dataset", "d", "--base", "b", "--output", ADDRESS),
    ("influence", "d.jsonl", "--reference", "r.jsonl", "--model", "m", "-o", ADDRESS),
    ("influence", "d.jsonl", "--reference", "r.jsonl", "--model", "m", "--gradients", ADDRESS),
    ("contamination", "d.jsonl", "--benchmarks", "b.jsonl", "-o", ADDRESS),
    ("contamination", "d.jsonl", "--benchmarks", "b.jsonl", "--verdicts", ADDRESS),
    ("sql", "SELECT 1", "-o", ADDRESS),
    ("fork", "src", ADDRESS, "--until", "pool"),
    ("run", str(RECIPE), "--store", ADDRESS),
    ("import", "teacher", "triples.jsonl", "--store", ADDRESS),
]


@pytest.mark.parametrize("arguments", OUTPUTS, ids=" ".join)
def test_an_address_is_no_output_and_is_refused_before_any_work(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    put(Store(tmp_path / "src"), "pool", [])
    put(Store(tmp_path / "store-data"), "instructions", [])
    before = sorted(tmp_path.rglob("*"))
    done = scoder_here(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "thing" in done.stderr and re.search("can be written|must be a local directory|no store at", done.stderr)
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


def test_mistakes_get_one_message_and_exit_code_2(smoke_store: Path) -> None:
    for arguments, expected in mistakes(smoke_store):
        done = scoder_here(*arguments)
        assert done.returncode == 2, f"{arguments}: exit {done.returncode}\n{done.stderr}"
        assert expected in done.stderr, f"{arguments}: {done.stderr}"
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", OUTPUTS, ids=" ".join)
def test_a_path_below_a_file_is_no_output(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    put(Store(tmp_path / "src"), "pool", [])
    (tmp_path / "file").write_text("mine")
    below = str(tmp_path / "file" / "out")
    done = scoder_here(*(below if a in (ADDRESS, "someone/thing") else a for a in arguments), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path}/file is a file" in done.stderr or "no store at" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = scoder_here("run", str(RECIPE), "--store", "file", folder=tmp_path)
    assert done.returncode == 2 and "a store must be a directory" in done.stderr, done.stderr


def test_a_store_in_use_is_refused(smoke_store: Path) -> None:
    from store.lock import coordinator

    with coordinator(smoke_store):
        done = scoder("run", str(RECIPE), "--store", str(smoke_store))
    assert done.returncode == 2
    assert "in use by process" in done.stderr


def test_sql_answers_people_programs_and_files(smoke_store: Path, tmp_path: Path) -> None:
    question = "SELECT parse_status, count(*) AS n FROM candidates GROUP BY parse_status ORDER BY parse_status"
    at = ("--store", str(smoke_store))
    assert "parse_status" in scoder("sql", question, *at).stdout
    found = json.loads(scoder("sql", question, "--json", *at).stdout)
    assert sum(r["n"] for r in found) == rows(smoke_store, "candidates").num_rows
    file, output = tmp_path / "question.sql", tmp_path / "answer.parquet"
    file.write_text(question)
    assert scoder("sql", f"@{file}", "-o", str(output), *at).returncode == 0
    assert pl.read_parquet(output).to_dicts() == found


def test_trace_goes_up_and_down(smoke_store: Path) -> None:
    chosen = rows(smoke_store, "selected").to_pylist()[0]
    found = json.loads(scoder("trace", chosen["candidate_id"], "--store", str(smoke_store), "--json").stdout)
    assert found["raw_pool"][0]["snippet_id"] == chosen["snippet_id"]
    assert {"candidates", "checkpoints", "aspect_scores", "influence", "selected"} <= found.keys()
    assert len(found["candidates"]) == 1, "siblings of the same snippet did not lead to this row"
    below = json.loads(scoder("trace", chosen["snippet_id"], "--store", str(smoke_store), "--json").stdout)
    assert len(below["candidates"]) >= 2


def test_show_highlights_and_folds(smoke_store: Path) -> None:
    done = scoder("show", "raw_pool", "-n", "2", "--store", str(smoke_store))
    assert done.returncode == 0, done.stderr
    assert "snippet_id" in done.stdout and "def " in done.stdout


def test_evaluate_grades_a_model_without_a_store() -> None:
    base, benchmark = ROOT / "recipes" / "tiny-base", ROOT / "recipes" / "demo-benchmark.jsonl"
    done = scoder("evaluate", str(base), "--benchmarks", str(benchmark), "--max-tokens", "48", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["tasks"] == 16 and 0 <= row["pass@1"] <= 1


def test_help_starts_without_torch() -> None:
    code = "import sys, commands; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


INSIDE = [a for a in OUTPUTS if a[0] in ("publish", "train", "influence", "contamination", "sql")]


@pytest.mark.parametrize("arguments", INSIDE, ids=" ".join)
def test_nothing_is_written_into_a_store(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    put(Store(tmp_path / "store-data"), "instructions", [])
    inside = str(tmp_path / "store-data" / "pool" / "part-00000.parquet")
    before = sorted(tmp_path.rglob("*"))
    done = scoder_here(*(inside if a in (ADDRESS, "someone/thing") else a for a in arguments), folder=tmp_path)
    assert done.returncode == 2 and "it lies in the store" in done.stderr, done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "latin.yaml", "--dry-run"), "is not UTF-8 text"),
        (("run", "smoke", "--dry-run", "--set", "seed=0x_"), "is not a YAML value"),
        (("run", "date.yaml", "--dry-run"), "is not valid YAML"),
        (("run", "smoke", "--dry-run", "--set", "scorer.engine=vllm"), "write scorer.engine: {engine: vllm}"),
        (("run", "smoke", "--dry-run", "--set", "teacher.engine={engine: openai}"), "name it in teacher.model"),
        (("sql", "SELECT 1", "-o", "folder"), "it is a folder"),
        (("fork", "store-data", "store-data/inner", "--until", "pool"), "outside of it"),
        (("status", "--store", "torn"), "record.json is damaged"),
        (("sql", "FROM pool", "--store", "lost"), "the table pool of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_more_mistakes_get_one_message(tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    (tmp_path / "date.yaml").write_text("teacher: {engine: {engine: openai, price_date: 2024-99-99}}")
    (tmp_path / "folder").mkdir()
    for name in ("store-data", "torn", "lost"):
        put(Store(tmp_path / name), "pool", [])
    (tmp_path / "torn" / "_runs" / "pool" / "record.json").write_text('{"plan": {')
    (tmp_path / "lost" / "pool" / "part-00000.parquet").unlink()
    done = scoder_here(*arguments, folder=tmp_path)
    assert done.returncode == 2 and expected in done.stderr, done.stderr
