"""Answers of `scoder sql`: every value is shown, JSON is JSON, files have all rows."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from commands.answers import CAP, cell, plain, show
from store import Store
from store.catalog import Answer
from store.ledger import Ledger
from tests.rows import make_stale, put
from tests.smoke_run import ROOT, command, scoder_here

EVERYTHING = """
SELECT 'a' AS text, NULL AS nothing, true AS yes, 123456789 AS n, 1.50 AS d, 0.1::DOUBLE AS f,
       sum(range) AS huge, 'nan'::DOUBLE AS nan, '-inf'::FLOAT AS inf, 'hi'::BLOB AS bytes,
       DATE '2026-01-02' AS day, TIMESTAMP '2026-01-02 03:04:05' AS moment, INTERVAL 2 hours AS span,
       [1, NULL] AS list, {'a': [DATE '2026-01-02']} AS struct, MAP {1: 0.5} AS map,
       histogram(range) AS bars, 1 AS n
FROM range(3)
"""
PLAIN = {
    "text": "a",
    "nothing": None,
    "yes": True,
    "n": 123456789,
    "d": 1.5,
    "f": 0.1,
    "huge": 3,
    "nan": "NaN",
    "inf": "-Infinity",
    "bytes": "aGk=",
    "day": "2026-01-02",
    "moment": "2026-01-02T03:04:05",
    "span": "02:00:00",
    "list": [1, None],
    "struct": {"a": ["2026-01-02"]},
    "map": {"1": 0.5},
    "bars": {"0": 1, "1": 1, "2": 1},
    "n_1": 1,
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    put(Store(tmp_path / "store"), "pool", [{"snippet_id": "s1"}, {"snippet_id": "s2"}])
    return tmp_path / "store"


def sql(store: Path, *arguments: str) -> str:
    done = scoder_here("sql", *arguments, "--store", str(store))
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(store: Path, text: str, *, is_terminal: bool = False) -> tuple[str, str]:
    """What is printed of an answer, and the note about rows that are left out."""
    out = StringIO()
    console = Console(file=out, width=300, force_terminal=is_terminal, no_color=True, color_system=None)
    return (show(console, Answer(Ledger(store), text)), out.getvalue())[::-1]


# -- JSON ------------------------------------------------------------------------------------------


def refuse(text: str) -> None:
    raise AssertionError(f"{text} is not JSON")


def test_json_holds_every_value_and_is_json(store: Path) -> None:
    (found,) = json.loads(sql(store, EVERYTHING, "--json"), parse_constant=refuse)
    assert found == PLAIN
    (line,) = sql(store, EVERYTHING, "--jsonl").splitlines()
    assert json.loads(line, parse_constant=refuse) == PLAIN


def test_times_with_a_zone_and_large_numbers_stand_side_by_side(store: Path) -> None:
    text = "SELECT sum(range) AS huge, TIMESTAMPTZ '2026-01-02 03:04:05+00' AS moment FROM range(3)"
    assert json.loads(sql(store, text, "--json")) == [{"huge": 3, "moment": "2026-01-02T03:04:05+00:00"}]


FAR = """
SELECT DATE '20000-01-01' AS day, TIMESTAMPTZ 'infinity' AS late, '0044-03-15 (BC)'::TIMESTAMPTZ AS ides,
       TIMESTAMP '-infinity' AS first, INTERVAL 3 MONTH AS span, DATE '2026-01-02' AS near
"""
FAR_VALUES = ["20000-01-01", "infinity", "0044-03-15 (BC) 00:00:00+00", "-infinity", "3 months", "2026-01-02"]


def test_times_that_python_cannot_hold_stand_everywhere_as_the_query_gave_them(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    assert all(value in shown(store, FAR)[0] for value in FAR_VALUES)
    (found,) = json.loads(sql(store, FAR, "--json"))
    assert list(found.values()) == FAR_VALUES
    for ending in ("csv", "jsonl"):
        sql(store, FAR, "-o", str(tmp_path / f"x.{ending}"))
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file))[1] == FAR_VALUES
    assert list(json.loads((tmp_path / "x.jsonl").read_text()).values()) == FAR_VALUES


@pytest.mark.parametrize("number", [0, 1, 2, 2500])
def test_json_is_one_array_of_all_rows(store: Path, number: int) -> None:
    assert json.loads(sql(store, f"SELECT range AS n FROM range({number})", "--json")) == [
        {"n": n} for n in range(number)
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1.10"), 1.1),
        (Decimal("7.00"), 7),
        (Decimal("12345678901234567890.5"), "12345678901234567890.5"),
        (float("inf"), "Infinity"),
        ({b"k": (1, 2.5)}, {"aw==": [1, 2.5]}),
        ({True: None, None: 1}, {"True": None, "None": 1}),
    ],
)
def test_a_value_keeps_what_it_says(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_endings_may_have_capitals_and_one_row_is_one_row(store: Path, tmp_path: Path) -> None:
    done = scoder_here("sql", "SELECT 1 AS n", "-o", str(tmp_path / "x.PARQUET"), "--store", str(store))
    assert (done.returncode, done.stderr.split(" to ")[0]) == (0, "1 row")
    assert pl.read_parquet(tmp_path / "x.PARQUET").rows() == [(1,)]


def test_runs_are_shown_as_a_table_is(store: Path) -> None:
    done = scoder_here("show", "runs", "--json", "--where", "table_name = 'pool'", "--store", str(store))
    assert [row["partition"] for row in json.loads(done.stdout)] == ["pool"], done.stderr


def test_a_statement_that_fails_prints_no_json(store: Path) -> None:
    done = scoder_here("sql", "SELECT 'x'::INTEGER AS n", "--json", "--store", str(store))
    assert (done.returncode, done.stdout) == (2, "")


# -- files -----------------------------------------------------------------------------------------


def test_files_have_all_rows_whatever_their_form(store: Path, tmp_path: Path) -> None:
    text = f"SELECT range AS n, NULL::VARCHAR AS nothing, [range] AS list, 1 AS n FROM range({3 * CAP})"
    files = {ending: tmp_path / f"out.{ending}" for ending in ("parquet", "csv", "jsonl")}
    for file in files.values():
        done = scoder_here("sql", text, "-o", str(file), "--store", str(store))
        assert done.stderr == f"3,000 rows to {file}\n"
    expected = [{"n": n, "nothing": None, "list": [n], "n_1": 1} for n in range(3 * CAP)]
    assert pl.read_parquet(files["parquet"]).to_dicts() == expected
    assert [json.loads(line) for line in files["jsonl"].read_text().splitlines()] == expected
    with files["csv"].open(newline="") as lines:
        first, *_, last = csv.reader(lines)
    assert (first, last) == (["n", "nothing", "list", "n_1"], ["2999", "", "[2999]", "1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl", "out.parquet", "store"]


@pytest.mark.parametrize("name", ["out.txt", "out", "out.parquet.gz"])
def test_another_ending_is_refused(store: Path, tmp_path: Path, name: str) -> None:
    done = scoder_here("sql", "SELECT 1", "-o", str(tmp_path / name), "--store", str(store))
    assert done.returncode == 2
    assert "its name must end in .parquet, .csv, .jsonl" in done.stderr


def test_what_parquet_cannot_hold_is_said_and_leaves_no_file(store: Path, tmp_path: Path) -> None:
    done = scoder_here("sql", "SELECT INTERVAL 1 day AS i", "-o", str(tmp_path / "o.parquet"), "--store", str(store))
    assert done.returncode == 2 and "i INTERVAL" in done.stderr and "Cast it to VARCHAR" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_empty_answer_has_its_columns_in_every_form(store: Path, tmp_path: Path) -> None:
    text, files = "SELECT snippet_id, position FROM pool WHERE false", [tmp_path / "o.csv", tmp_path / "o.parquet"]
    for file in files:
        sql(store, text, "-o", str(file))
    assert files[0].read_text() == "snippet_id,position\n"
    assert pl.read_parquet(files[1]).columns == ["snippet_id", "position"]
    printed, note = shown(store, text)
    assert "snippet_id" in printed and "position" in printed and note == "0 rows"


# -- people ----------------------------------------------------------------------------------------


def test_every_column_and_value_is_shown(store: Path) -> None:
    printed, _ = shown(store, EVERYTHING)
    for text in ("nothing", "NULL", "123456789", '{"a": ["2026-01-02"]}', '{"0": 1, "1": 1, "2": 1}', "[1, null]"):
        assert text in printed, text
    assert "68 69 (2 bytes)" in printed and " n_1 " in printed


def test_a_terminal_shows_the_first_rows_and_says_how_many_are_left(store: Path) -> None:
    printed, note = shown(store, "SELECT range AS n FROM range(2500)", is_terminal=True)
    assert " 999 " in printed and " 1000 " not in printed
    assert note == "1,000 rows are shown, 1,500 are not; -o FILE writes all of them"
    _, note = shown(store, "SELECT range AS n FROM range(1_000_000_000_000)", is_terminal=True)
    assert note == "1,000 rows are shown, and there are more; -o FILE writes all of them"
    assert shown(store, "SELECT range AS n FROM range(1000)", is_terminal=True)[1] == ""


def test_a_pipe_gets_all_rows(store: Path) -> None:
    printed, note = shown(store, "SELECT range AS n FROM range(2500)")
    assert all(f" {n} " in printed for n in (0, 999, 1000, 2499)) and note == ""


def test_an_explained_statement_is_shown_as_duckdb_draws_it(store: Path) -> None:
    printed, _ = shown(store, "EXPLAIN SELECT count(*) FROM pool")
    assert "explain_key" not in printed and printed.startswith("╭─")


def test_text_of_models_cannot_steer_the_terminal(store: Path) -> None:
    printed, _ = shown(store, "SELECT chr(27) || '[31mred' AS t, [chr(27)] AS l, '[b]x[/b]' AS m")
    assert "\x1b" not in printed and "[b]x[/b]" in printed
    assert cell("x" * 400, 300) == "x" * 300 + "…"


def test_a_reader_that_has_enough_is_no_error(store: Path) -> None:
    text = "SELECT range AS n FROM range(1_000_000)"
    for form in ("--json", "--jsonl"):
        line = [*command("sql", text, form, "--store", str(store))]
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stderr is not None
        assert '"n": 0' in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 1
        process.stderr.close()


def test_memory_does_not_grow_with_the_answer(store: Path) -> None:
    """800 MB of text, in less than 400 MB."""
    text = "SELECT repeat('x', 10_000) AS t FROM range(80_000)"
    # the peak of this process alone: ru_maxrss would be that of its parent, if that was larger
    code = (
        "import sys, commands\n"
        f"sys.argv = ['scoder', 'sql', {text!r}, '--json', '--store', {str(store)!r}]\n"
        "try:\n    commands.main()\n"
        "finally:\n    lines = open('/proc/self/status').read().splitlines()\n"
        "    print(*(int(line.split()[1]) // 1024 for line in lines if line.startswith('VmHWM')), file=sys.stderr)\n"
    )
    with open(os.devnull, "w") as nothing:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=nothing, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and int(done.stderr) < 400, done.stderr


def test_stale_rows_are_told_beside_the_answer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "pool", [{"snippet_id": "s1"}])
    put(store, "scored", [{"candidate_id": "c1"}], iteration=1)
    make_stale(store, "pool")
    for words in (("sql", "SELECT snippet_id FROM pool", "--json"), ("show", "pool", "--json"), ("status", "--json")):
        done = scoder_here(*words, "--store", str(tmp_path))
        assert done.returncode == 0
        assert done.stderr.startswith("pool: stale: what they were made from was built again."), words
        json.loads(done.stdout)
    assert scoder_here("sql", "SELECT 'pool' FROM scored", "--store", str(tmp_path)).stderr == ""


def test_a_row_of_the_pool_is_shown_with_its_code(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "pool", [{"snippet_id": "s1", "position": 1}, {"snippet_id": "s2", "position": 0}])
    needed = {"imports": ["import re"], "context": "A = 1"}
    put(store, "raw_pool", [{"snippet_id": "s1", "name": "f", "code": "def f(): ...", **needed}])
    done = scoder_here("show", "pool", "--json", "--store", str(tmp_path))
    assert {row["snippet_id"]: (row["name"], row["code"]) for row in json.loads(done.stdout)} == {
        "s1": ("f", "import re\n\n\nA = 1\n\n\ndef f(): ..."),
        "s2": (None, ""),
    }


def test_show_takes_no_negative_number_and_a_condition_with_a_comment(store: Path) -> None:
    done = scoder_here("show", "pool", "-n", "-1", "--store", str(store))
    assert done.returncode == 2 and "-n" in done.stderr
    done = scoder_here("show", "pool", "--where", "true -- all", "--json", "--store", str(store))
    assert [row["snippet_id"] for row in json.loads(done.stdout)] == ["s1", "s2"]
