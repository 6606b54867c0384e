"""The data file of measured recall: its form, and that the documents say the same."""

import json
from pathlib import Path

import pytest

from benchmarks.decontamination import measured

ROOT = Path(__file__).parents[2]
DATA = json.loads(measured.OUT.read_text())
COUNT = {"found": int, "share": float, "interval": list}


def check(count, n: int) -> None:
    assert {name: type(value) for name, value in count.items()} == COUNT
    low, high = count["interval"]
    assert 0 <= low <= count["share"] <= high <= 1
    assert count == measured.counted(count["found"], n)


def test_every_row_says_what_was_measured():
    assert DATA.keys() == {
        "measured", "command", "benchmarks", "min_strength", "packages", "recall", "false_positives",
    }  # fmt: skip
    keys = [(row["kind"], row["paraphrase"], row["benchmark"], row["half"]) for row in DATA["recall"]]
    assert len(set(keys)) == len(keys) >= 15
    for row in DATA["recall"] + DATA["false_positives"]:
        check(row["default"], row["n"])
        for name in ("with_meaning", "with_execution"):
            if row.get(name) is not None:
                check(row[name], row["n"])
    assert {row["half"] for row in DATA["recall"]} == {"held_out", "all"}, "no number was chosen on these texts"
    assert DATA["packages"] == measured.HELD_OUT and not set(measured.HELD_OUT) & set(measured.TUNED)


def test_the_table_of_the_documents_is_that_of_the_file():
    page = (ROOT / "benchmarks" / "README.md").read_text()
    assert [line for line in measured.table(DATA) if line and line not in page] == []


def test_wilsons_interval():
    """The values of R's binom.wilson."""
    assert measured.counted(0, 40)["interval"] == pytest.approx([0, 0.08762], abs=1e-4)
    assert measured.counted(16, 30)["interval"] == pytest.approx([0.36142, 0.69768], abs=1e-5)


def test_measured_columns_of_others_are_kept_for_the_same_items():
    row = {"kind": "k", "paraphrase": "p", "benchmark": "b", "half": "all", "n": 4, "default": {}}
    old = row | {"with_meaning": {"found": 1}, "with_execution": None}
    new = row | {"with_meaning": None, "with_execution": None}
    assert measured.kept([dict(new)], [old])[0]["with_meaning"] == {"found": 1}
    assert measured.kept([new | {"n": 5}], [old])[0]["with_meaning"] is None
