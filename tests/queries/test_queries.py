"""Queries: every file compiles against empty Parquet files of the contracts.

It also follows the rules for SQL, and each decision has a worked example. The verdicts of
selections and the audits have their own files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import queries
from builders.datasets.texts import DATASET_ITEMS
from builders.harness.statistics import NOT_GRADED
from builders.near_duplicates import PAIRS
from builders.raw_pool import STAGING
from builders.standalone.verdict_files import DATASET_HITS
from store import ASPECTS, CODE_ASPECTS, CONTRACTS, Store
from store.catalog import connect
from store.shards import conform
from tests.rows import Row, put

ALL = [*queries.names(), *queries.names("audits")]
EVERY = [*ASPECTS, *CODE_ASPECTS]
POOL: Row = {
    "min_lines": 3,
    "max_lines": 60,
    "max_chars": 4000,
    "min_tokens": 20,
    "max_tokens": 600,
    "min_similarity_raw": 0.8,
    "min_similarity_renamed": 0.9,
    "min_similarity_docstring": 0.8,
    "floor": 0.6,
    "short_docstring_words": 20,
    "whole_sources": ["stdlib"],
    "max_repo_share": 0.5,
    "max_topic_share": 0.5,
    "min_repos": 3,
    "min_statements": 2,
    "max_cyclomatic": 10,
    "min_arguments": 1,
    "min_docstring_words": 5,
    "max_literal_share": 0.5,
    "min_docstring_ascii": 0.9,
    "min_docstring_english": 0.6,
    "min_docstring_sufficiency": 0.3,
    "min_docstring_score": None,
    "max_undefined_names": 0,
    "infer_imports": True,
    "max_context_chars": 2000,
    "max_type_errors": 0,
    "include_methods": False,
    "licenses": ["mit", "bsd"],
    "own_sources": [],
    "banned_imports": ["os", "sys"],
    "test_paths": "(^|/)tests/",
    "generated_paths": "_pb2[.]py$",
    "min_strength": 0.5,
    "seed": "7",
}
VALUES: Row = POOL | {
    "batches": ["main"],
    "before": None,
    "features": "f",
    "iteration": 1,
    "iterations": [1, 2],
    "limit": 10,
    "max_heads": 16,
    "max_per_difficulty": None,
    "max_per_snippet": 1,
    "max_rows": None,
    "min_influence": -1.0,
    "min_score": 7.0,
    "num_asked": 1,
    "num_snippets": 10,
    "num_teacher_snippets": 10,
    "reference": "teacher",
    "role": "synthesizer",
    "selection": "default",
    "split": "train",
    "stages": None,
    "start": 0,
    "stop": 10,
    "subject": "default",
    "top_share": 0.5,
    "weights": "default",
}
"""A value for every parameter. `weights` are numbers in a selection and a mean, else a name."""
VERDICTS = {
    "pool": "pool_verdicts",
    "pool_licenses": "pool_verdicts",
    "pool_license_sources": "pool_verdicts",
    "rejects_pool": "pool_verdicts",
    "instructions": "instruction_verdicts",
    "rejects_instructions": "instruction_verdicts",
    "missing_items": "selection_verdicts",
    "rejects_selected": "selection_verdicts",
    "report_compared": "selection_verdicts",
    "report_entering": "selection_verdicts",
    "report_leaving": "selection_verdicts",
    "report_verdicts": "selection_verdicts",
    "selected": "selection_verdicts",
    "selected_below_zero_count": "selection_verdicts",
    "snippets_to_judge": "pool_verdicts",
    "snippets_to_judge_count": "pool_verdicts",
}
"""Which decision gives the table `verdicts` that a query reads."""


def values_of(name: str) -> Row:
    """The values of a query and of the steps before it."""
    has_numbers = {"selection_weighed", "metric_mean_score"} & {*queries.steps(name)}
    return VALUES | ({"weights": dict.fromkeys(EVERY, 1 / len(EVERY))} if has_numbers else {})


def prepare(connection: duckdb.DuckDBPyConnection, name: str, **changed: Any) -> None:
    """The tables that a query reads and that other queries make."""
    if name in VERDICTS:
        queries.with_verdicts(connection, VERDICTS[name], values_of(VERDICTS[name]) | changed)
    if name == "best_of_snippets":  # the steps of a decision leave `weighed` to it
        queries.rows(connection, "instruction_verdicts", values_of("instruction_verdicts") | changed)


def run(connection: duckdb.DuckDBPyConnection, name: str, **changed: Any) -> list[Row]:
    """The rows of a query under VALUES and what a test changes.

    The decision that it reads is made under the same values.
    """
    prepare(connection, name, **changed)
    return queries.rows(connection, name, values_of(name) | changed)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """All tables as empty Parquet files, the staging of raw_pool, and no verdicts yet."""
    store = Store(tmp_path_factory.mktemp("empty"))
    for name in CONTRACTS:
        put(store, name, [])
    staging = f"{store.root}/staging.parquet"
    pq.write_table(STAGING.empty_table(), staging)
    pairs = f"{store.root}/pairs.parquet"
    pq.write_table(PAIRS.empty_table(), pairs)
    chosen = f"{store.root}/batch_items.parquet"
    pq.write_table(pa.table({"item_id": pa.array([], pa.string())}), chosen)
    extra = {"extracted": [staging], "similar_pairs": [pairs], "batch_items": [chosen]}
    for name, schema in (("dataset_items", DATASET_ITEMS), ("dataset_hits", DATASET_HITS)):
        pq.write_table(schema.empty_table(), f"{store.root}/{name}.parquet")
        extra[name] = [f"{store.root}/{name}.parquet"]
    return connect(store, extra=extra)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# -- the rules for SQL -----------------------------------------------------------------------------

KEY_COLUMNS = {k for c in CONTRACTS.values() for k in c.key}
ENDINGS = {
    "audits/leaks": {"strength"},
    "audits/orphans": {"missing"},
    "best_of_snippets": {"place"},
    "dataset_verdicts": {"row"},
    "instruction_verdicts": {"place"},
    "report_variety": {"grouped_by"},
    "synthesizer_rows": {"origin"},
}
"""Orderings that end in a column that is no key of a table, but tells this query's rows apart."""
GROUPED = {"report_selection_rejects": {"verdict"}, "pool_licenses": {"license"}}
UNSORTED = {
    "best_of_snippets",
    "candidates_to_score",
    "free_snippets",
    "gradient_texts",
    "instruction_weighed",
    "near_duplicate_texts",
    "pool_verdicts",
    "raw_pool",
    "selection_verdicts",
    "selection_weighed",
    "snippet_repos",
    "snippets",
    "snippets_to_judge",
    "teachers_to_score",
    "written_verdicts",
}
"""Queries of very many rows in no order: texts are staged or carry their place, and others sort the
verdicts."""


def statement(name: str) -> str:
    """The text of a query without comments and strings."""
    return re.sub(r"--[^\n]*|'(?:[^']|'')*'", "''", queries.text(name))


def orderings(sql: str) -> list[list[str]]:
    """The columns of every ORDER BY, without qualifiers and directions."""
    found = []
    for match in re.finditer(r"\bORDER BY\b", sql):
        depth, end = 0, match.end()
        while end < len(sql) and depth >= 0:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        clause = re.split(r"\bLIMIT\b", sql[match.end() : end - (depth < 0)])[0]
        columns = re.split(r",(?![^(]*\))", clause)
        found.append([re.sub(r"\s+(DESC|ASC|NULLS|FIRST|LAST)\b", "", c.strip()).split(".")[-1] for c in columns])
    return found


@pytest.mark.parametrize("name", ALL)
def test_a_query_compiles_against_empty_tables(empty: duckdb.DuckDBPyConnection, name: str) -> None:
    prepare(empty, name)
    found = queries.table(empty, name, values_of(name))
    is_summary = name.endswith(("_count", "_overlap")) or name == "report_compared"
    assert found.num_rows == (1 if is_summary else 0)


WRITTEN = {name: name for name in ALL if name in CONTRACTS} | {
    name: "rejects" for name in ALL if name.startswith("rejects_")
}


def test_the_tables_that_queries_write_are_known() -> None:
    assert sorted(set(WRITTEN.values())) == sorted(
        [
            "instructions",
            "near_duplicates",
            "pool",
            "raw_pool",
            "rejects",
            "scored",
            "selected",
            "snippet_occurrences",
        ]
    )


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_query_that_writes_a_table_gives_its_columns_in_their_order(
    empty: duckdb.DuckDBPyConnection, name: str
) -> None:
    contract = CONTRACTS[WRITTEN[name]]
    prepare(empty, name)
    found = queries.table(empty, name, values_of(name))
    assert found.column_names == contract.schema.names
    conform(found, contract)
    for ours, theirs in zip(found.schema, contract.schema, strict=True):
        kinds = (pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating)
        assert [k(ours.type) for k in kinds] == [k(theirs.type) for k in kinds], (name, ours, theirs)


@pytest.mark.parametrize("name", ALL)
def test_a_query_follows_the_rules(name: str) -> None:
    sql = statement(name)
    assert queries.text(name).startswith("-- One row is "), "the header says what one row is"
    assert [line for line in queries.text(name).split("\n") if len(line) > 100] == [], "lines break at 100 characters"
    assert not re.search(r"\bSELECT\s+(DISTINCT\s+)?\*|\.\*|\*\s+EXCLUDE", sql), "columns are named"
    assert not re.search(r"\b(random|uuid|gen_random_uuid|hash|now|current_\w+|any_value)\s*\(", sql), (
        "the same rows always"
    )
    assert "?" not in sql, "parameters have names"
    assert not re.search(r"\b(COPY|INSERT|UPDATE|DELETE|CREATE|ATTACH|SET)\b", sql), "a query only reads"
    assert queries.text(name).endswith("\n")


@pytest.mark.parametrize("name", ALL)
def test_every_ordering_ends_in_a_key(name: str) -> None:
    allowed = KEY_COLUMNS | ENDINGS.get(name, set()) | GROUPED.get(name, set())
    for columns in orderings(statement(name)):
        assert columns[-1] in allowed, f"{name}: ORDER BY {', '.join(columns)} may tie"


@pytest.mark.parametrize(
    "name",
    [n for n in ALL if not n.endswith(("_count", "_compared")) and not n.startswith("metric_") and n not in UNSORTED],
)
def test_a_query_of_many_rows_is_ordered(name: str) -> None:
    assert re.search(r"\bORDER BY [^()]+\Z", statement(name))


def test_orderings_are_found_in_windows_lists_and_at_the_end() -> None:
    sql = "SELECT list(a ORDER BY x.aspect), rank() OVER (ORDER BY md5(b || c), d DESC) FROM t ORDER BY e NULLS LAST, f LIMIT 3"
    assert orderings(sql) == [["aspect"], ["md5(b || c)", "d"], ["e", "f"]]


# -- parameters ------------------------------------------------------------------------------------


def test_every_parameter_has_an_example_and_every_example_a_query() -> None:
    assert {p for name in ALL for p in queries.parameters(name)} == set(VALUES)


def test_a_missing_parameter_is_named(empty: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(KeyError, match=r"queries/scored\.sql needs \$iteration, \$weights; given: split"):
        queries.rows(empty, "scored", {"split": "train"})
    with pytest.raises(KeyError, match="given: nothing"):
        queries.rows(empty, "scored")


def test_parameters_in_comments_and_strings_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "-- One row is the teacher's $comment.\nSELECT $real AS a, 'it''s a $string -- $still' AS b, $other_1 AS c\n"
    (tmp_path / "with_parameters.sql").write_text(sql)
    monkeypatch.setattr(queries, "HERE", tmp_path)
    assert queries.parameters("with_parameters") == {"real", "other_1"}


@pytest.mark.parametrize("name", ALL)
def test_declared_parameters_are_those_that_duckdb_finds(empty: duckdb.DuckDBPyConnection, name: str) -> None:
    found = empty.extract_statements(queries.text(name))
    assert len(found) == 1
    assert found[0].type == duckdb.StatementType.SELECT
    assert set(found[0].named_parameters) == queries.parameters(name)


def test_a_version_changes_with_the_text() -> None:
    assert list(queries.versions("pool", "scored")) == ["queries/pool.sql", "queries/scored.sql"]
    assert len(set(queries.versions(*ALL).values())) == len(ALL)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("SELECT 1, 2", "-- One row is two numbers.\nSELECT\n    1, -- the first\n    2\n", True),
        ("SELECT 1, 2", "SELECT 1, 3", False),
        ("SELECT 'a  b'", "SELECT 'a b'", False),
        ("SELECT '-- x' AS a", "SELECT '' AS a", False),
        ("SELECT 'it''s  -- so'", "SELECT\n'it''s  -- so' -- really", True),
    ],
)
def test_a_plan_knows_the_statement_and_not_how_it_is_laid_out(
    one: str, other: str, is_same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (queries.statement(one) == queries.statement(other)) is is_same
    monkeypatch.setattr(queries, "HERE", tmp_path)
    queries.text.cache_clear()
    for name, text in (("one", one), ("other", other)):
        (tmp_path / f"{name}.sql").write_text(text)
    assert (len(set(queries.versions("one", "other").values())) == 1) is is_same
    queries.text.cache_clear()


# -- verdicts --------------------------------------------------------------------------------------


def test_verdicts_are_the_rows_of_the_decision_until_the_next_one(store: Store) -> None:
    connection = snippet(store, [("bad", {"num_lines": 1, "is_test": True}), ("good", {})])

    def held() -> list[tuple[Any, ...]]:
        return connection.sql("FROM verdicts ORDER BY snippet_id, reason").fetchall()

    for changed in ({}, {"min_lines": 1}):
        assert queries.with_verdicts(connection, "pool_verdicts", POOL | changed) is connection
        decided = queries.rows(connection, "pool_verdicts", POOL | changed)
        assert held() == sorted((tuple(r.values()) for r in decided), key=lambda r: (r[0], r[1] or ""))
    assert held() == [("bad", "test", None, None), ("good", None, None, None)]


def test_verdicts_are_held_under_the_memory_limit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 MB of verdicts in a connection of 50 MB, in a store where something was built."""
    rows = "-- One row is one long text.\nSELECT i, repeat(md5(i::VARCHAR), 10) AS text FROM range(320_000) AS t(i)\n"
    (tmp_path / "long_texts.sql").write_text(rows)
    monkeypatch.setattr(queries, "HERE", tmp_path)
    put(store, "pool", [])
    connection = queries.with_verdicts(connect(store, memory_limit="50MB"), "long_texts")
    found = connection.sql("SELECT count(*), sum(length(text)), max(i) FROM verdicts").fetchall()
    assert found == [(320_000, 320_000 * 320, 319_999)]
    ((on_disk,),) = connection.sql("SELECT count(*) FROM duckdb_temporary_files()").fetchall()
    assert on_disk > 0


# -- the pool --------------------------------------------------------------------------------------


def snippet(store: Store, rows: list[tuple[str, Row]], **tables: list[Row]) -> duckdb.DuckDBPyConnection:
    """Snippets that pass every check but for what a row says; near-duplicates; contamination."""
    raw = CONTRACTS["raw_pool"].schema.names
    passes: Row = {"num_lines": 10, "num_chars": 300, "is_parsed": True, "num_tokens": 80, "num_statements": 4}
    passes |= {
        "license_choices": [["mit"]],
        "docstring_english": 1.0,
        "docstring_sufficiency": 0.5,
        "num_type_errors": 0,
        "num_arguments": 1,
        "cyclomatic": 2,
        "num_docstring_words": 8,
        "docstring_ascii": 1.0,
        "returns_value": True,
    }
    merged = [passes | {"snippet_id": name} | change for name, change in rows]
    put(store, "raw_pool", [{k: v for k, v in row.items() if k in raw} for row in merged])
    checks = CONTRACTS["snippet_checks"].schema.names
    put(store, "snippet_checks", [{k: v for k, v in row.items() if k in checks} for row in merged])
    for name, given_rows in tables.items():
        put(store, name, given_rows)
    return connect(store)


FAILS: dict[str, tuple[Row, str, float | None, float | None]] = {
    "a-short": ({"num_lines": 2}, "too_few_lines", 2, 3),
    "b-long": ({"num_lines": 61}, "too_many_lines", 61, 60),
    "c-chars": ({"num_chars": 4001}, "too_many_chars", 4001, 4000),
    "d-tokens": ({"num_tokens": 19}, "too_few_tokens", 19, 20),
    "e-tokens": ({"num_tokens": 601}, "too_many_tokens", 601, 600),
    "f-statements": ({"num_statements": 1}, "too_few_statements", 1, 2),
    "g-complex": ({"cyclomatic": 11}, "too_complex", 11, 10),
    "h-arguments": ({"num_arguments": 0}, "too_few_arguments", 0, 1),
    "i-docstring": ({"num_docstring_words": 4}, "short_docstring", 4, 5),
    "j-ascii": ({"docstring_ascii": 0.5}, "docstring_not_ascii", 0.5, 0.9),
    "j-english": ({"docstring_english": 0.5}, "docstring_not_english", 0.5, 0.6),
    "j-sufficient": ({"docstring_sufficiency": 0.25}, "insufficient_docstring", 0.25, 0.3),
    "j-table": ({"num_literals": 60}, "data_table", 0.75, 0.5),
    "k-context": ({"context": "x" * 2001}, "context_too_long", 2001, 2000),
    "k-shown": ({"num_chars": 3900, "context": "x" * 100}, "too_many_chars", 4003, 4000),
    "k-undefined": ({"num_undefined_names": 1, "num_type_errors": None}, "undefined_names", 1, 0),
    "l-method": ({"is_method": True}, "method", None, None),
    "m-nothing": ({"returns_value": False}, "returns_nothing", None, None),
    "n-trivial": ({"is_trivial": True}, "trivial", None, None),
    "o-test": ({"is_test": True}, "test", None, None),
    "p-dunder": ({"is_dunder": True}, "dunder", None, None),
    "q-banned": ({"modules": ["math", "os", "sys"]}, "banned_import", 2, 0),
    "r-license": ({"license_choices": [["gpl"]]}, "license", None, None),
    "s-generated": ({"is_generated": True}, "generated", None, None),
    "t-types": ({"num_type_errors": 2}, "type_errors", 2, 0),
    "u-unchecked": ({"num_type_errors": None}, "types_not_checked", None, None),
    "v-secret": ({"secrets": ["a", "b"]}, "secret", 2, 0),
    "w-personal": ({"personal_data": ["email"]}, "personal_data", 1, 0),
    "x-syntax": ({"is_parsed": False, "num_type_errors": None}, "syntax_error", None, None),
}


def test_each_check_of_the_pool_leaves_out_its_snippet_with_its_reason(store: Store) -> None:
    edges: list[tuple[str, Row]] = [
        ("ok-ascii", {"docstring_ascii": 0.9}),  # a 32-bit column against a 64-bit threshold
        ("ok-low", {"num_lines": 3, "num_tokens": 20, "num_statements": 2, "num_docstring_words": 5}),
        ("ok-docstring", {"docstring_english": 0.6, "docstring_sufficiency": 0.3, "num_literals": 40}),
        ("ok-license", {"license_choices": [["gpl"], ["bsd", "mit"]]}),
        ("ok-high", {"num_lines": 60, "num_chars": 4000, "num_tokens": 600, "cyclomatic": 10}),
    ]
    connection = snippet(store, [(name, change) for name, (change, *_) in FAILS.items()] + edges)
    assert sorted(r["snippet_id"] for r in run(connection, "pool")) == sorted(name for name, _ in edges)
    rejects = [(r["item_id"], r["reason"], r["value"], r["threshold"]) for r in run(connection, "rejects_pool")]
    assert rejects == [(name, reason, value, limit) for name, (_, reason, value, limit) in FAILS.items()]


def test_duplicates_and_leaks_stay_out_of_the_pool(store: Store) -> None:
    connection = snippet(
        store,
        [("alone", {}), ("copy", {}), ("first", {}), ("leak", {}), ("faint", {}), ("other-kind", {})],
        near_duplicates=[
            {"snippet_id": "copy", "cluster_id": "first", "similarity_raw": 0.5, "similarity_renamed": 1.0},
        ],
        contamination=[
            {"item_id": "leak", "item_kind": "snippet", "task_id": "t1", "detector": "string", "strength": 0.5},
            {"item_id": "leak", "item_kind": "snippet", "task_id": "t2", "detector": "ngram", "strength": 0.75},
            {"item_id": "faint", "item_kind": "snippet", "task_id": "t1", "detector": "ngram", "strength": 0.25},
            {"item_id": "other-kind", "item_kind": "candidate", "task_id": "t1", "detector": "string", "strength": 1.0},
        ],
    )
    kept = run(connection, "pool")
    assert sorted(r["snippet_id"] for r in kept) == ["alone", "faint", "first", "other-kind"]
    found = run(connection, "rejects_pool")
    rejects = [(r["item_id"], r["reason"], r["value"], r["threshold"]) for r in found]
    assert rejects == [("copy", "near_duplicate", 1, 0.9), ("leak", "contaminated", 0.75, 0.5)]


def test_each_threshold_of_the_pool_stands_in_one_query() -> None:
    assert {*queries.all_parameters("pool_verdicts")} == set(POOL)
    assert queries.parameters("pool") == {"seed"} and queries.parameters("rejects_pool") == set()


def test_a_snippet_without_measurements_is_neither_in_the_pool_nor_a_reject(store: Store) -> None:
    connection = snippet(store, [("known", {})])
    put(store, "raw_pool", [{"snippet_id": "unknown"}], origin="import")
    connection = connect(store)
    assert [r["snippet_id"] for r in run(connection, "pool")] == ["known"]
    assert run(connection, "rejects_pool") == []


def test_what_the_judge_was_never_asked_about_is_a_reject_too(store: Store) -> None:
    score: Row = {"item_kind": "snippet", "aspect": "sufficiency", "scorer": "j"}
    digits = {"low": 4.5, "edge": 5.0}
    connection = snippet(
        store,
        [("low", {}), ("edge", {}), ("forgotten", {}), ("short", {"num_lines": 1})],
        near_duplicates=[{"snippet_id": "copy", "cluster_id": "low", "similarity_raw": 1.0}],
    )
    put(store, "aspect_scores", [score | {"item_id": n, "expected": d} for n, d in digits.items()], item_kind="snippet")
    connection = connect(store)
    assert [r["snippet_id"] for r in run(connection, "pool", min_docstring_score=5.0)] == ["edge"]
    found = run(connection, "rejects_pool", min_docstring_score=5.0)
    assert [(r["item_id"], r["reason"], r["value"], r["threshold"]) for r in found] == [
        ("copy", "near_duplicate", 1.0, 0.8),
        ("forgotten", "not_judged", None, None),
        ("low", "judged_insufficient", 4.5, 5.0),
        ("short", "too_few_lines", 1, 3),
    ]


def test_a_snippet_that_fails_twice_has_two_reasons(store: Store) -> None:
    connection = snippet(store, [("bad", {"num_lines": 1, "is_test": True})])
    assert [r["reason"] for r in run(connection, "rejects_pool")] == ["test", "too_few_lines"]


def test_no_licences_listed_means_all_and_methods_can_be_included(store: Store) -> None:
    connection = snippet(
        store, [("gpl", {"license_choices": [["gpl"]]}), ("method", {"is_method": True}), ("plain", {})]
    )
    assert {r["snippet_id"] for r in run(connection, "pool", licenses=[])} == {"gpl", "plain"}
    assert {r["snippet_id"] for r in run(connection, "pool", include_methods=True)} == {"method", "plain"}
    assert [r["reason"] for r in run(connection, "rejects_pool", licenses=[], include_methods=True)] == []


def test_an_unknown_licence_is_allowed_from_sources_of_ones_own(store: Store) -> None:
    unknown = {"license": "unknown", "license_choices": [["unknown"]]}
    places = [("mine", "own", "none"), ("theirs", "other", "none"), ("row", "own", "dataset")]
    connection = snippet(
        store,
        [(name, unknown) for name, _, _ in places]
        + [("gpl", {"license": "GPL-3.0", "license_choices": [["gpl-3.0"]]})],
        snippet_occurrences=[
            {"snippet_id": name, "source": source, "path": name, "license": "unknown", "license_source": told}
            for name, source, told in places
        ]
        + [{"snippet_id": "gpl", "source": "own", "license": "GPL-3.0", "license_source": "declared"}],
    )
    assert [r["snippet_id"] for r in run(connection, "pool", own_sources=["own"])] == ["mine"]
    found = run(connection, "pool_licenses", own_sources=["own"])
    assert [tuple(r.values()) for r in found] == [("unknown", 2, 2, 1), ("GPL-3.0", 1, 1, 0)]
    found = run(connection, "pool_license_sources", own_sources=["own"], licenses=["gpl-3.0"])
    assert [tuple(r.values()) for r in found] == [("own", 1, 1, 0)]


def test_code_of_others_in_ones_own_source_is_not_ones_own(store: Store) -> None:
    vendored = {"license": "unknown-vendored", "license_choices": [["unknown-vendored"]]}
    place = {"source": "own", "path": "_vendor/a.py", "license": "unknown-vendored", "license_source": "none"}
    connection = snippet(store, [("theirs", vendored)], snippet_occurrences=[{"snippet_id": "theirs", **place}])
    assert run(connection, "pool", own_sources=["own"]) == []
    allowed = run(connection, "pool", own_sources=["own"], licenses=["unknown-vendored"])
    assert [r["snippet_id"] for r in allowed] == ["theirs"]


def test_the_order_of_the_pool_depends_on_the_seed_and_on_nothing_else(tmp_path: Path) -> None:
    names = [f"s{n}" for n in range(8)]
    few = snippet(Store(tmp_path / "few"), [(n, {}) for n in names[:5]])
    many = snippet(Store(tmp_path / "many"), [(n, {}) for n in reversed(names)])
    order = {c: [r["snippet_id"] for r in run(c, "pool")] for c in (few, many)}
    assert [r["position"] for r in run(many, "pool")] == list(range(8))
    assert [n for n in order[many] if n in names[:5]] == order[few], "more snippets do not shuffle the others"
    assert [r["snippet_id"] for r in run(many, "pool", seed="8")] != order[many]
    assert sorted(order[many]) == names


CHECKED = st.fixed_dictionaries(
    {
        "num_lines": st.sampled_from([2, 3, 60, 61]),
        "docstring_ascii": st.sampled_from([0.5, 0.9, 1.0]),
        "is_method": st.booleans(),
        "license_choices": st.sampled_from([[["mit"]], [["gpl"]], [["gpl", "mit"], ["bsd"]]]),
        "modules": st.sampled_from([[], ["os"], ["math"]]),
        "inferred_imports": st.sampled_from([[], ["import re"]]),
        "num_undefined_names": st.sampled_from([0, 1]),
        "num_type_errors": st.sampled_from([None, 0, 1]),
        "num_literals": st.sampled_from([0, 40, 41]),
    }
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(CHECKED, max_size=8), leaked=st.sets(st.integers(0, 7)), copies=st.sets(st.integers(0, 7)))
def test_every_snippet_is_in_the_pool_or_has_a_reason(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], leaked: set[int], copies: set[int]
) -> None:
    names = [f"s{n}" for n in range(len(rows))]
    store = Store(tmp_path_factory.mktemp("pool"))
    alike: Row = {"cluster_id": "head", "similarity_raw": 1.0}
    connection = snippet(
        store,
        [*zip(names, rows, strict=True), ("head", {})],
        near_duplicates=[alike | {"snippet_id": f"s{n}"} for n in copies if n < len(rows)],
        contamination=[{"item_id": f"s{n}", "item_kind": "snippet", "strength": 1.0} for n in leaked if n < len(rows)],
    )
    kept = {r["snippet_id"] for r in run(connection, "pool")}
    rejected = {r["item_id"] for r in run(connection, "rejects_pool")}
    assert kept | rejected == {*names, "head"}
    assert kept & rejected == set()


def test_the_teacher_is_asked_about_the_first_positions_and_what_no_sample_holds_is_free(store: Store) -> None:
    put(store, "raw_pool", [{"snippet_id": n, "code": f"code {n}"} for n in "abcdef"])
    put(store, "pool", [{"snippet_id": n, "position": p} for n, p in {"a": 2, "b": 0, "c": 1, "d": 4, "e": 3}.items()])
    put(
        store,
        "teacher_samples",
        [{"sample_id": n, "snippet_id": s} for n, s in {"t1": "a", "t2": "a", "t3": "f"}.items()],
    )
    connection = connect(store)
    assert {r["code"] for r in run(connection, "snippets", num_snippets=2)} == {"code b", "code c"}

    def free(num_asked: int, start: int, stop: int) -> list[str]:
        window = {"num_asked": num_asked, "start": start, "stop": stop}
        return [
            r["snippet_id"] for r in sorted(run(connection, "free_snippets", **window), key=lambda r: r["position"])
        ]

    assert free(0, 0, 9) == ["b", "c", "e", "d"], "a is a sample's, in the midst of the pool; f is not in the pool"
    assert free(0, 1, 3) == ["c", "e"], "places count free snippets, not positions"
    assert free(2, 0, 9) == ["e", "d"], "the teacher was asked about b and c, and gave no sample"
    assert [run(connection, "free_snippets_count", num_asked=n)[0]["num_snippets"] for n in (0, 2)] == [4, 2]


# -- extraction ------------------------------------------------------------------------------------


def test_each_text_is_kept_once_with_its_first_occurrence(store: Store, tmp_path: Path) -> None:
    def found(name: str, source: str, path: str, line: int, license_: str) -> Row:
        place = {"snippet_id": name, "source": source, "path": path, "line": line, "license": license_, "num_lines": 2}
        place["license_source"] = "metadata"
        return {**place, "name": "f", "code": "def f(x):\n    return '…'", "signature": "def f(x):", "docstring": "d"}

    rows = [
        found("s1", "b", "a.py", 1, "late"),
        found("s1", "a", "y.py", 9, "second"),
        found("s1", "a", "y.py", 5, "first"),
        found("s2", "a", "x.py", 1, "mit"),
        found("s3", "a", "a.py", 1, "unknown"),
        found("s3", "b", "b.py", 1, "known"),
        {"source": "a", "path": "bad.py", "reject": "syntax_error"},
        {"source": "a", "path": "bad.py", "reject": "syntax_error"},
    ]
    flags = {"is_method": False, "is_async": False, "is_generated": False}
    staging = str(tmp_path / "staging.parquet")
    pq.write_table(pa.Table.from_pylist([flags | row for row in rows], schema=STAGING), staging)
    connection = connect(store, extra={"extracted": [staging]})
    kept = {(r["snippet_id"], r["license"], r["num_chars"], r["language"]) for r in run(connection, "raw_pool")}
    assert kept == {("s1", "first", 24, "python"), ("s2", "mit", 24, "python"), ("s3", "known", 24, "python")}
    places = [(r["snippet_id"], r["source"], r["path"], r["line"]) for r in run(connection, "snippet_occurrences")]
    assert places == [
        ("s1", "a", "y.py", 5),
        ("s1", "a", "y.py", 9),
        ("s1", "b", "a.py", 1),
        ("s2", "a", "x.py", 1),
        ("s3", "a", "a.py", 1),
        ("s3", "b", "b.py", 1),
    ]
    rejects = [(r["item_kind"], r["item_id"], r["reason"]) for r in run(connection, "rejects_extract")]
    assert rejects == [("file", "a:bad.py", "syntax_error")]


# -- teacher samples -------------------------------------------------------------------------------

TEACHER: list[Row] = [
    {"sample_id": "t1", "snippet_id": "s1", "problem": "p1", "split": "train", "is_for_scorer": True},
    {"sample_id": "t2", "snippet_id": "s2", "problem": "p2", "split": "train"},
    {"sample_id": "t3", "snippet_id": "s3", "problem": "p3", "split": "reference"},
    {"sample_id": "t4", "snippet_id": "s4", "problem": "p4", "split": "validation"},
    {"sample_id": "t5", "snippet_id": "s5", "problem": "p5", "split": "train"},
]
RAW: list[Row] = [{"snippet_id": f"s{n}", "code": f"code {n}", "license": "mit"} for n in range(1, 7)]


def test_each_split_of_the_teacher_serves_one_purpose(store: Store) -> None:
    put(store, "teacher_samples", TEACHER)
    put(store, "raw_pool", RAW)
    connection = connect(store)
    assert [r["item_id"] for r in run(connection, "reference_items", min_strength=0.5)] == ["t3"]
    assert [r["sample_id"] for r in run(connection, "scorer_pairs", split="train")] == ["t1"]
    assert [r["sample_id"] for r in run(connection, "scorer_pairs", split="validation")] == ["t4"]
    assert {r["item_id"] for r in run(connection, "teachers_to_score")} == {"t2", "t5"}
    assert run(connection, "teachers_to_score_count") == [{"num_items": 2}]


def test_snippets_without_a_teacher_sample_are_rejects(store: Store) -> None:
    put(store, "teacher_samples", TEACHER)
    put(store, "pool", [{"snippet_id": n, "position": p} for p, n in enumerate(["s1", "s9", "s2", "s8"])])
    assert [r["item_id"] for r in run(connect(store), "rejects_teacher", num_snippets=3)] == ["s9"]


def test_a_synthesizer_trains_on_clean_teachers_and_on_the_named_selection(store: Store) -> None:
    put(store, "teacher_samples", TEACHER)
    put(store, "raw_pool", RAW)
    strengths = {"t2": 1.0, "t5": 0.25}
    put(store, "contamination", [{"item_id": i, "item_kind": "teacher", "strength": s} for i, s in strengths.items()])
    kept = [("c1", 1, "default"), ("c2", 2, "default"), ("c3", 3, "default"), ("c4", 1, "strict")]
    put(
        store, "candidates", [{"candidate_id": c, "iteration": t, "snippet_id": "s6", "problem": c} for c, t, _ in kept]
    )
    for candidate, iteration, selection in kept:
        row = {"candidate_id": candidate, "iteration": iteration, "selection": selection, "snippet_id": "s6"}
        put(store, "selected", [row], iteration=iteration, selection=selection)
    connection = connect(store)
    found = [(r["item_id"], r["origin"], r["problem"]) for r in run(connection, "synthesizer_rows")]
    assert found == [
        ("c1", "iteration-1", "c1"),
        ("c2", "iteration-2", "c2"),
        ("t1", "teacher", "p1"),
        ("t5", "teacher", "p5"),
    ]
    assert [r["item_id"] for r in run(connection, "synthesizer_rows", iterations=[])] == ["t1", "t5"]
    assert [r["item_id"] for r in run(connection, "synthesizer_rows", split="validation")] == ["t4"]


# -- candidates and scores -------------------------------------------------------------------------


def leaks(kind: str, **strengths: float) -> list[Row]:
    """Hits on one task: the item and how strong the hit is."""
    return [{"item_kind": kind, "item_id": i, "benchmark": "b", "strength": s} for i, s in strengths.items()]


def test_contaminated_teacher_samples_are_no_pairs_of_the_scorer(store: Store) -> None:
    rows = [{"sample_id": f"t{n}", "snippet_id": "s1", "split": "train", "is_for_scorer": True} for n in range(3)]
    held = [{"sample_id": f"v{n}", "snippet_id": "s2", "split": "validation"} for n in range(2)]
    put(store, "teacher_samples", rows + held)
    put(store, "raw_pool", RAW)
    put(store, "contamination", leaks("teacher", t1=0.5, t2=0.49, v0=0.9), item_kind="teacher", benchmark="b")
    put(store, "contamination", leaks("snippet", t0=1.0), item_kind="snippet", benchmark="b")
    connection = connect(store)
    assert [r["sample_id"] for r in run(connection, "scorer_pairs", split="train")] == ["t0", "t2"]
    assert [r["sample_id"] for r in run(connection, "scorer_pairs", split="validation")] == ["v1"]
    strict = run(connection, "scorer_pairs", split="train", min_strength=0.3)
    assert [r["sample_id"] for r in strict] == ["t0"]


def scores(item: str, kind: str = "candidate", aspects: list[str] = EVERY, **own: int) -> list[Row]:
    """5 for every aspect but those that a test names; the expected value is half a point higher."""
    digits = {aspect: own.get(aspect, 5) for aspect in aspects}
    base = {"item_id": item, "item_kind": kind, "scorer": "k1"}
    return [base | {"aspect": a, "score": d, "expected": d + 0.5} for a, d in digits.items()]


def candidates(*names: str, iteration: int = 1, **columns: Any) -> list[Row]:
    base = {"iteration": iteration, "parse_status": "ok", "snippet_id": "s1"}
    return [base | {"candidate_id": n} | columns for n in names]


def test_scored_is_the_weighted_sum_over_all_aspects(store: Store) -> None:
    put(store, "candidates", candidates("c1", "c2", "c3") + candidates("c4", parse_status="no_problem"), iteration=1)
    put(store, "candidates", candidates("d1", iteration=2), iteration=2)
    rows = scores("c1", correctness=9, lint=0) + scores("c2") + scores("c3", aspects=EVERY[:-1])
    put(store, "aspect_scores", rows + scores("c4"), item_kind="candidate", iteration=1)
    put(store, "aspect_scores", scores("d1"), item_kind="candidate", iteration=2)
    weights = {"correctness": 0.5, "clarity": 0.25, "lint": 0.25}
    for name, shares in {"default": weights, "flat": dict.fromkeys(EVERY, 1 / len(EVERY))}.items():
        weighed = [{"weights": name, "iteration": 1, "aspect": a, "weight": shares.get(a, 0.0)} for a in EVERY]
        put(store, "aspect_weights", weighed, iteration=1, weights=name)
    connection = connect(store)
    found = run(connection, "scored")
    assert [(r["candidate_id"], r["score"], r["expected_score"]) for r in found] == [
        ("c1", 0.5 * 9 + 0.25 * 5 + 0.25 * 0, 6.25),
        ("c2", 5.0, 5.5),
    ]
    assert {a: found[0][a] for a in EVERY} == dict.fromkeys(EVERY, 5) | {"correctness": 9, "lint": 0}
    expected = dict.fromkeys(EVERY, 5.5) | {"correctness": 9.5, "lint": 0.5}
    assert {a: found[0][f"{a}_expected"] for a in EVERY} == expected
    flat = (5 * (len(EVERY) - 2) + 9 + 0) / len(EVERY)
    assert [r["score"] for r in run(connection, "scored", weights="flat")] == pytest.approx([flat, 5.0])
    put(store, "scored", found, iteration=1)
    rejects = [(r["item_id"], r["reason"], r["iteration"]) for r in run(connect(store), "rejects_scored")]
    assert rejects == [("c3", "not_scored", 1)]
    assert run(connect(store), "scored_snippets_count") == [{"num_snippets": 1}]


def test_the_aspect_matrix_sets_candidates_against_the_teacher(store: Store) -> None:
    rows = scores("c1", clarity=1) + scores("c2", aspects=EVERY[:-1]) + scores("c3", aspects=EVERY[1:])
    plan = put(store, "aspect_scores", rows, item_kind="candidate", iteration=1)
    put(store, "aspect_scores", scores("d1"), item_kind="candidate", iteration=2)
    put(store, "aspect_scores", scores("t1", "teacher", clarity=9) + scores("t2", "teacher"), item_kind="teacher")
    put(store, "aspect_scores", scores("s1", "snippet"), item_kind="snippet")
    put(store, "candidates", candidates("c1", "c2", "c3"), iteration=1)
    put(store, "teacher_samples", [{"sample_id": "t1", "snippet_id": "s2"}, {"sample_id": "t2", "snippet_id": "s3"}])
    put(store, "contamination", leaks("teacher", t2=0.5), item_kind="teacher", benchmark="b")
    named = store.input("aspect_scores", item_kind="candidate", iteration=1)
    assert list(named.values()) == [plan.content]
    named |= store.input("aspect_scores", item_kind="teacher") | store.input("candidates", iteration=1)
    named |= store.input("teacher_samples") | store.input("contamination", item_kind="teacher", benchmark="b")
    found = run(connect(store, named), "aspect_matrix")
    assert [(r["item_id"], r["is_teacher"]) for r in found] == [("c1", False), ("t1", True)], "c2 lacks an aspect"
    assert [r["snippet_number"] for r in found] == [1, 2]
    assert [[r[a] for a in EVERY] for r in found] == [[{"clarity": d}.get(a, 5) for a in EVERY] for d in (1, 9)]


def test_only_parsed_candidates_are_scored(store: Store) -> None:
    put(store, "raw_pool", RAW)
    statuses = {"c1": "ok", "c2": "syntax_error", "c3": "ok", "c4": "ok", "c5": "unfinished"}
    rows = [{"candidate_id": c, "iteration": 1, "parse_status": s, "snippet_id": "s1"} for c, s in statuses.items()]
    put(store, "candidates", rows, iteration=1)
    connection = connect(store)
    assert {r["item_id"] for r in run(connection, "candidates_to_score")} == {"c1", "c3", "c4"}
    assert run(connection, "candidates_to_score_count") == [{"num_items": 3}]
    rejects = [(r["item_id"], r["reason"]) for r in run(connection, "rejects_candidates")]
    assert rejects == [("c2", "syntax_error"), ("c5", "unfinished")]


def test_gradients_are_for_the_best_of_each_snippet_first_whatever_the_thresholds(store: Store) -> None:
    rows = [  # snippet, score, expected
        ("c1", "s1", 9.0, 9.0),
        ("c2", "s1", 8.0, 8.0),
        ("c3", "s2", 1.0, 1.5),
        ("c4", "s2", 1.0, 1.0),
        ("c5", "s3", 9.0, 9.0),
        ("c6", "s3", 2.0, 2.0),
        ("c7", "s3", 2.0, 2.0),
    ]
    put(store, "raw_pool", RAW)
    put(store, "candidates", [{"candidate_id": c, "snippet_id": s, "iteration": 1} for c, s, *_ in rows], iteration=1)
    columns = ("candidate_id", "snippet_id", "score", "expected_score")
    put(store, "scored", [dict(zip(columns, r, strict=True)) | {"iteration": 1} for r in rows], iteration=1)
    put(store, "contamination", [{"item_id": "c5", "item_kind": "candidate", "strength": 0.5}])
    connection = connect(store)

    def chosen(limit: int) -> list[str]:
        return [r["item_id"] for r in run(connection, "gradient_items", limit=limit, min_score=0.0)]

    assert chosen(3) == ["c1", "c3", "c6"], "the best clean one of every snippet; the key breaks the tie of c6 and c7"
    assert chosen(4) == ["c1", "c2", "c3", "c6"], "then the best of the second ones"
    assert chosen(99) == ["c1", "c2", "c3", "c4", "c6", "c7"]


def test_the_items_of_a_batch_get_the_texts_of_their_kind(store: Store) -> None:
    put(store, "raw_pool", RAW)
    pairs = [
        {"candidate_id": c, "snippet_id": s, "problem": c, "solution": s, "iteration": 1}
        for c, s in (("c2", "s2"), ("c1", "s1"))
    ]
    put(store, "candidates", pairs, iteration=1)
    put(store, "teacher_samples", TEACHER)
    for ids, expected in (
        (["c2", "c1"], [("c1", "code 1", "c1"), ("c2", "code 2", "c2")]),
        (["t3"], [("t3", "code 3", "p3")]),
    ):
        connection = connect(store)
        connection.register("batch_items", pa.table({"item_id": ids}))
        assert sorted((r["item_id"], r["code"], r["problem"]) for r in run(connection, "gradient_texts")) == expected


def test_gradients_are_first_for_those_that_a_selection_accepts(store: Store) -> None:
    """b2 moves up, because b1 has the text of a1. So b2 needs a gradient before any second one."""
    rows = [("a1", "A", 9.0, "x"), ("a2", "A", 8.0, "y"), ("b1", "B", 7.0, "x"), ("b2", "B", 2.0, "z")]
    put(store, "raw_pool", [{"snippet_id": s} for s in "AB"])
    named = ("candidate_id", "snippet_id", "score", "text_hash")
    given = [dict(zip(named, r, strict=True)) | {"iteration": 1} for r in rows]
    put(store, "candidates", [{k: v for k, v in r.items() if k != "score"} for r in given], iteration=1)
    put(store, "scored", [{k: v for k, v in r.items() if k != "text_hash"} for r in given], iteration=1)
    first = [r["item_id"] for r in run(connect(store), "gradient_items", limit=2, min_score=0.0)]
    assert first == ["a1", "b2"]
    third = [r["item_id"] for r in run(connect(store), "gradient_items", limit=3, min_score=0.0)]
    assert third == ["a1", "a2", "b2"]


# -- checkpoints, metrics and reports --------------------------------------------------------------


def test_checkpoints_of_a_run_come_in_the_order_of_steps(store: Store) -> None:
    rows: list[Row] = [
        {"checkpoint_id": "k9", "role": "synthesizer", "iteration": 1, "step": 4},
        {"checkpoint_id": "k1", "role": "synthesizer", "iteration": 1, "step": 10},
        {"checkpoint_id": "k3", "role": "synthesizer", "iteration": 2, "step": 4},
        {"checkpoint_id": "k4", "role": "scorer", "iteration": None, "step": 4},
    ]
    put(store, "checkpoints", rows)
    connection = connect(store)
    assert [r["checkpoint_id"] for r in run(connection, "checkpoints_of")] == ["k9", "k1"]
    assert [r["checkpoint_id"] for r in run(connection, "checkpoints_of", role="scorer", iteration=None)] == ["k4"]
    assert run(connection, "checkpoints_of", role="scorer", iteration=1) == []


def test_metrics_are_computed_from_sums_and_numbers_per_snippet(store: Store) -> None:
    for iteration, statuses in ((1, ["ok", "ok", "no_problem"]), (2, ["ok", "syntax_error"])):
        rows = [
            {"candidate_id": f"{iteration}{n}", "iteration": iteration, "snippet_id": f"s{n // 2}", "parse_status": s}
            for n, s in enumerate(statuses)
        ]
        put(store, "candidates", rows, iteration=iteration)
        scores = [r for r in rows if r.pop("parse_status") == "ok"]
        digits = dict.fromkeys(EVERY, 4 + iteration) | {"lint": 9}
        put(store, "scored", [r | digits | {"score": 0.1} for r in scores], iteration=iteration)
    connection = connect(store)

    def per_snippet(name: str, iteration: int, before: int | None, **more: Any) -> list[tuple[float, ...]]:
        found = run(connection, f"metric_{name}", iteration=iteration, before=before, **more)
        return sorted((r["total_before"], r["num_before"], r["total"], r["num"]) for r in found)

    assert per_snippet("parse_rate", 1, None) == [(0, 0, 0, 1), (0, 0, 2, 2)]
    assert per_snippet("parse_rate", 2, 1) == [(0, 1, 0, 0), (2, 2, 1, 2)]
    assert per_snippet("parse_rate", 9, None) == []
    assert per_snippet("mean_score", 1, None) == [(0, 0, 11, 2)], "5.5 each: the score of the row is not read"
    assert per_snippet("mean_score", 2, 1) == [(11, 2, 6.375, 1)], "both under the same weights"
    lint = dict.fromkeys(EVERY, 0.0) | {"lint": 1.0}
    assert per_snippet("mean_score", 2, 1, weights=lint) == [(18, 2, 9, 1)]


def test_an_aspect_that_says_little_is_named_with_the_reason(store: Store) -> None:
    def told(item: str, kind: str, mass: float | None = 0.9, **digits: int) -> list[Row]:
        rows = [r | {"mass": mass if r["aspect"] == "clarity" else 0.5} for r in scores(item, kind, **digits)]
        return [r | ({"scorer": "code", "mass": None} if r["aspect"] in ("parses", "lint") else {}) for r in rows]

    varied = {a: 6 for a in EVERY if a != "relevance"}
    rows = [r for n in range(19) for r in told(f"c{n}", "candidate", 0.4, **(varied if n % 2 else {}))]
    put(store, "aspect_scores", rows, item_kind="candidate", iteration=1)
    put(store, "aspect_scores", told("t1", "teacher", None, relevance=4), item_kind="teacher")
    put(store, "aspect_scores", scores("s1", "snippet", aspects=["sufficiency"]), item_kind="snippet")
    measured = {
        "clarity": (0.7, 0.6, 0.8, "delong"),
        "correctness": (0.57, 0.45, 0.69, "delong"),
        "difficulty": (None, None, None, "none: one class"),
    }
    auc = [
        {"name": "scorer_auc", "iteration": -1, "subject": a, "num_items": 60}
        | dict(zip(("value", "low", "high", "method"), m, strict=True))
        for a, m in measured.items()
    ]
    put(store, "metrics", auc)
    found = run(connect(store), "weak_aspects")
    assert [(r["aspect"], r["reason"], r["measure"], r["num_items"]) for r in found] == [
        ("correctness", "AUC no better than chance", "AUC on held-out pairs", 60),
        ("difficulty", "AUC unknown, none: one class", "AUC on held-out pairs", 60),
        ("relevance", "its digits do not vary", "share of the digit 5", 20),
        ("clarity", "little probability on digits", "mean probability", 20),
    ], "half of the mass is enough, and code is no scorer"
    assert [r["value"] for r in found] == pytest.approx([0.57, None, 0.95, 0.4])


def test_fixed_weights_need_the_numbers_of_the_items_alone(store: Store) -> None:
    put(store, "aspect_scores", scores("c1") + scores("c2", aspects=["lint"]), item_kind="candidate", iteration=1)
    put(store, "aspect_scores", scores("t1", "teacher") + scores("t2", "teacher"), item_kind="teacher")
    assert run(connect(store), "scored_items_count") == [{"num_teacher": 2, "num_candidates": 1}]


def test_a_weighting_is_reported_with_what_speaks_for_it(store: Store) -> None:
    fit = {"cv_auc": 0.8, "cv_auc_low": 0.7, "cv_auc_high": 0.9, "cv_method": "delong", "num_teacher": 24}
    for t, method, heavy in ((1, "equal", 0.125), (2, "contrast", 0.3)):
        rows = [
            {"weights": "default", "iteration": t, "aspect": a, "weight": heavy if a == "lint" else (1 - heavy) / 7}
            | ({"method": method, "num_candidates": 210} | fit)
            for a in EVERY
        ]
        put(store, "aspect_weights", rows, iteration=t, weights="default")
    found = run(connect(store), "report_weights")
    assert [(r["method"], r["heaviest"], r["heaviest_weight"]) for r in found] == [
        ("equal", None, 0.125),
        ("contrast", "lint", 0.3),
    ]
    assert found[1].items() >= (fit | {"iteration": 2, "num_candidates": 210}).items()


def test_an_overlap_counts_the_snippets_of_both_selections(store: Store) -> None:
    for iteration, names in {1: ["s1", "s2", "s3"], 2: ["s2", "s3", "s4", "s4"]}.items():
        base = {"iteration": iteration, "selection": "default"}
        selected = [base | {"candidate_id": f"{iteration}{n}", "snippet_id": s} for n, s in enumerate(names)]
        put(store, "selected", selected, iteration=iteration, selection="default")
    counts = [run(connect(store), "metric_selection_overlap", iteration=t)[0] for t in (2, 1, 9)]
    assert [(c["num_both"], c["num_either"]) for c in counts] == [(2, 4), (0, 3), (0, 0)]


def test_answers_are_counted_by_task_and_form(store: Store) -> None:
    statuses = ["passed", "failed", "unanswered", "ungradable", "error", "missing", "timeout"]
    rows: list[Row] = [
        {"checkpoint_id": "k", "benchmark": "b", "form": form, "task_id": "t", "sample_index": n, "status": status}
        | {"is_passed": status == "passed", "is_base_passed": True if n < 2 and form == "chat" else None}
        | {"finish_reason": "length" if n == 1 else "stop"}
        for form in ("chat", "completion")
        for n, status in enumerate(statuses)
    ]
    put(store, "evaluations", rows)
    put(store, "checkpoints", [{"checkpoint_id": "k", "role": "coder"}])
    chat, completion = run(connect(store), "evaluated_tasks")
    assert (chat["form"], chat["num_graded"], chat["num_passed"]) == ("chat", 3, 1)
    assert (chat["num_base_graded"], chat["num_base_passed"]) == (2, 2)
    assert (completion["num_graded"], completion["num_base_graded"]) == (3, 0)
    found = run(connect(store), "report_evaluations")
    assert [(r["model"], r["form"], r["num_answers"], r["num_graded"]) for r in found] == [
        ("coder", "chat", 7, 3),
        ("coder", "completion", 7, 3),
    ]
    others = ("unanswered", "ungradable", "errors", "timeouts", "missing", "truncated")
    assert [found[0][f"num_{name}"] for name in others] == [1] * 6


def test_sql_and_python_agree_on_what_was_never_graded() -> None:
    listed = ", ".join(f"'{status}'" for status in NOT_GRADED)
    for name in ("evaluated_tasks", "report_evaluations"):
        assert queries.text(name).count("status NOT IN (") == queries.text(name).count(f"status NOT IN ({listed})") == 1


def test_evaluated_tasks_that_instructions_resemble(store: Store) -> None:
    put(store, "evaluations", [{"checkpoint_id": "k", "benchmark": "b", "task_id": t} for t in ("t1", "t2", "t3")])
    put(store, "instructions", [{"candidate_id": c} for c in ("c1", "c2")])
    hits = [("c1", "t1", "ngram", 0.3), ("c1", "t1", "prose", 0.4), ("c2", "t1", "ngram", 0.2)]
    hits += [("c9", "t2", "ngram", 0.9), ("c1", "t9", "ngram", 0.3)]
    rows = [
        {"item_id": c, "item_kind": "candidate", "benchmark": "b", "task_id": t, "detector": d, "strength": s}
        for c, t, d, s in hits
    ]
    put(store, "contamination", [*rows, rows[0] | {"task_id": "t3", "item_kind": "snippet"}])
    (found,) = run(connect(store), "report_touched_tasks")
    assert (found["task_id"], found["num_items"], found["strength"]) == ("t1", 2, pytest.approx(0.4))


def test_metrics_come_with_their_change(store: Store) -> None:
    ends = {"up": (0.1, 0.3), "down": (-0.3, -0.1), "noise": (-0.1, 0.3), "unknown": (None, None)}
    base: Row = {"name": "parse_rate", "iteration": 2, "value": 0.5, "low": 0.4, "high": 0.6, "method": "wilson"}
    rows = [base | {"subject": subject} for subject in ends]
    changes = [
        base | {"name": "parse_rate_change", "subject": subject, "value": 0.2, "low": low, "high": high}
        for subject, (low, high) in ends.items()
    ]
    put(store, "metrics", [*rows, *changes, rows[0] | {"iteration": 1}])
    found = run(connect(store), "report_metrics")
    assert {(r["iteration"], r["subject"]): (r["verdict"], r["change"]) for r in found} == {
        (1, "up"): (None, None),
        (2, "up"): ("higher", 0.2),
        (2, "down"): ("lower", 0.2),
        (2, "noise"): ("within noise", 0.2),
        (2, "unknown"): (None, 0.2),
    }
    assert all((r["value"], r["low"], r["high"]) == (0.5, 0.4, 0.6) for r in found)


def test_reports_count_items_and_the_functions_of_a_file(store: Store) -> None:
    twice = [{"stage": "pool", "item_kind": "snippet", "item_id": "s1", "reason": r} for r in ("test", "trivial")]
    put(store, "rejects", [*twice, twice[0] | {"item_id": "s2"}], stage="pool")
    of_file = {"stage": "extract", "item_kind": "functions", "reason": "undocumented"}
    counted = [of_file | {"item_id": f"file{n}", "value": value} for n, value in enumerate([40.0, 2.0])]
    put(store, "rejects", counted, stage="extract")
    kept = {
        "stage": "selected",
        "iteration": 1,
        "selection": "default",
        "item_kind": "candidate",
        "reason": "low_score",
    }
    put(store, "rejects", [kept | {"item_id": "c1"}], stage="selected", iteration=1, selection="default")
    put(store, "metrics", [{"name": "scorer_auc", "iteration": -1, "subject": "lint", "value": 0.5, "num_items": 4}])
    connection = connect(store)
    assert [(r["stage"], r["reason"], r["num_items"]) for r in run(connection, "report_rejects")] == [
        ("extract", "undocumented", 42),
        ("pool", "test", 2),
        ("pool", "trivial", 1),
        ("selected", "low_score", 1),
    ]
    assert run(connection, "report_selection_rejects") == [{"verdict": "- low_score", "candidates": 1}]
    assert [(r["name"], r["iteration"]) for r in run(connection, "report_metrics")] == [("scorer_auc", None)]
