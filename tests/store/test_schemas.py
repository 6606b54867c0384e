"""The contracts: each has a grain, a required key, and names and types that follow the rules."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from store.schemas import ASPECTS, CODE_ASPECTS, CONTRACTS, STRING, contract, markdown, opt, req

DOCS = Path(__file__).parents[2] / "docs" / "tables.md"
TABLES = sorted(CONTRACTS)
DESIGNED = [
    "aspect_scores",
    "aspect_weights",
    "benchmarks",
    "candidates",
    "checkpoints",
    "comparisons",
    "contamination",
    "evaluations",
    "gradients",
    "influence",
    "instructions",
    "metrics",
    "near_duplicates",
    "pool",
    "raw_pool",
    "rejects",
    "scored",
    "selected",
    "snippet_checks",
    "snippet_occurrences",
    "teacher_samples",
    "unusable_answers",
]


def test_the_designed_tables_and_no_others_have_contracts() -> None:
    assert TABLES == DESIGNED


def test_docs_are_generated_from_the_contracts() -> None:
    assert DOCS.read_text() == markdown(), "run `python -m store.schemas > docs/tables.md`"


@pytest.mark.parametrize("name", TABLES)
def test_a_contract_says_what_a_row_is_and_what_its_key_is(name: str) -> None:
    item = CONTRACTS[name]
    assert item.name == name
    assert item.grain
    assert item.kind in ("sharded", "global")
    assert item.key
    assert len(set(item.key)) == len(item.key)
    assert [k for k in item.key if item.schema.field(k).nullable] == []


@pytest.mark.parametrize("name", TABLES)
def test_names_are_lower_case_words_and_unique(name: str) -> None:
    item = CONTRACTS[name]
    assert len(set(item.schema.names)) == len(item.schema.names)
    for word in (name, *item.schema.names, *item.partition):
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", word), word


@pytest.mark.parametrize("name", TABLES)
def test_booleans_and_counts_are_named_as_such(name: str) -> None:
    for field in CONTRACTS[name].schema:
        if field.name.startswith(("is_", "has_")):
            assert field.type == pa.bool_(), field
        if field.name.startswith("num_"):
            assert pa.types.is_integer(field.type), field
        if pa.types.is_boolean(field.type):
            assert field.name.startswith(("is_", "has_")) or field.name == "returns_value", field


@pytest.mark.parametrize("name", TABLES)
def test_there_are_no_json_or_metadata_columns_and_every_null_is_explained(name: str) -> None:
    for field in CONTRACTS[name].schema:
        assert field.name not in ("metadata", "extra", "json", "payload"), field
        assert not pa.types.is_struct(field.type), field
        assert not pa.types.is_map(field.type), field
        if field.nullable:
            assert field.metadata[b"note"], f"{name}.{field.name}: say what NULL means"


def test_a_key_that_is_optional_or_absent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contract t: key 'b' must be a required column"):
        contract("t", "a row", "a b", "global", [req("a", STRING), opt("b", STRING)])
    with pytest.raises(ValueError, match=r"contract t: key 'c' must be a required column"):
        contract("t", "a row", "c", "global", [req("a", STRING)])


def test_scored_holds_every_aspect_once() -> None:
    columns = [f.name for f in CONTRACTS["scored"].schema if f.type == pa.int8()]
    assert columns == [*ASPECTS, *CODE_ASPECTS]


def test_markdown_shows_partitions_in_path_order() -> None:
    assert "`selected/[iteration-…/][selection-…/]part-00000.parquet`, global." in markdown()
    assert (
        "| logprob | float or NULL | sum over the tokens of the completion; NULL if the engine gives none |"
        in markdown()
    )
