"""Published folders: `datasets` loads them; a build that fails leaves nothing behind.

Several files and several splits are tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from builders.publishing import folder
from builders.publishing.card import Card
from builders.publishing.folder import write_dataset
from store import ContractError

SCHEMA = pa.schema([("text", pa.string()), ("license", pa.string())])
MESSAGES = pa.schema([("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])))])
CARD = Card("Pairs", "What they are.", columns={"text": "a pair", "license": "of its snippet"})
TRAIN = [{"text": "a", "license": "mit"}, {"text": "b", "license": "bsd"}, {"text": "c", "license": "mit"}]
HELD = [{"text": "d", "license": "apache-2.0"}]


def batches(rows: list[dict[str, str]]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist([row], schema=SCHEMA) for row in rows]


def load(target: Path, cache: Path) -> datasets.DatasetDict:
    return datasets.load_dataset(str(target), cache_dir=str(cache))


def files_below(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


def test_a_folder_loads_with_its_splits(tmp_path: Path) -> None:
    counts = write_dataset(
        tmp_path / "out", {"train": (SCHEMA, batches(TRAIN)), "validation": (SCHEMA, batches(HELD))}, CARD
    )
    assert counts == {"train": 3, "validation": 1}
    loaded = load(tmp_path / "out", tmp_path / "cache")
    assert {name: list(split) for name, split in loaded.items()} == {"train": TRAIN, "validation": HELD}
    assert files_below(tmp_path / "out") == [
        ".scoder.json",
        "README.md",
        "data/train-00000-of-00001.parquet",
        "data/validation-00000-of-00001.parquet",
    ]


def test_a_folder_of_the_same_name_is_not_read_from_the_cache_of_another(tmp_path: Path) -> None:
    for place, rows in (("one", TRAIN), ("two", HELD)):
        write_dataset(tmp_path / place / "out", {"train": (SCHEMA, batches(rows))}, CARD)
        assert list(load(tmp_path / place / "out", tmp_path / "cache")["train"]) == rows


def test_nested_conversations_load(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "s"}]
    batch = pa.RecordBatch.from_pylist([{"messages": turns}], schema=MESSAGES)
    write_dataset(tmp_path / "out", {"train": (MESSAGES, [batch])}, CARD)
    assert load(tmp_path / "out", tmp_path / "cache")["train"][0] == {"messages": turns}


def test_a_target_is_found_whatever_its_path_looks_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for target in ("mine", "mine/../mine", "./mine/"):
        write_dataset(target, {"train": (SCHEMA, batches(TRAIN))}, CARD)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"], target
    monkeypatch.chdir(tmp_path / "mine")
    for target in (".", "..", "../mine"):
        with pytest.raises(ContractError, match="current directory"):
            write_dataset(target, {"train": (SCHEMA, batches(TRAIN))}, CARD)
    assert (tmp_path / "mine" / "README.md").exists() and Path.cwd() == tmp_path / "mine"


def test_many_rows_are_several_files_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "ROWS_PER_FILE", 2)
    write_dataset(tmp_path / "out", {"train": (SCHEMA, batches(TRAIN))}, CARD)
    assert files_below(tmp_path / "out")[2:] == [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
    ]
    assert load(tmp_path / "out", tmp_path / "cache")["train"]["text"][:] == ["a", "b", "c"]


def test_a_split_without_rows_is_left_out_because_datasets_cannot_load_it(tmp_path: Path) -> None:
    splits = {"train": (SCHEMA, batches(TRAIN)), "validation": (SCHEMA, batches([]))}
    assert write_dataset(tmp_path / "out", splits, CARD) == {"train": 3, "validation": 0}
    assert {name: list(split) for name, split in load(tmp_path / "out", tmp_path / "cache").items()} == {"train": TRAIN}
    assert files_below(tmp_path / "out") == [".scoder.json", "README.md", "data/train-00000-of-00001.parquet"]
    assert "| validation | 0 |" in (tmp_path / "out" / "README.md").read_text()


def test_a_dataset_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no rows in train, validation"):
        write_dataset(tmp_path / "out", {"train": (SCHEMA, []), "validation": (SCHEMA, batches([]))}, CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_second_folder_replaces_the_first_whole(tmp_path: Path) -> None:
    write_dataset(tmp_path / "out", {"train": (SCHEMA, batches(TRAIN)), "validation": (SCHEMA, batches(HELD))}, CARD)
    write_dataset(tmp_path / "out", {"train": (SCHEMA, batches(HELD))}, CARD)
    assert files_below(tmp_path) == ["out/.scoder.json", "out/README.md", "out/data/train-00000-of-00001.parquet"]


def test_an_empty_folder_is_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    assert write_dataset("out", {"train": (SCHEMA, batches(TRAIN))}, CARD) == {"train": 3}


def test_a_build_that_fails_leaves_the_old_folder_and_no_rest(tmp_path: Path) -> None:
    write_dataset(tmp_path / "out", {"train": (SCHEMA, batches(TRAIN))}, CARD)

    def fails() -> Iterator[pa.RecordBatch]:
        yield from batches(HELD)
        raise RuntimeError("engine died")

    for target in ("out", "new"):
        with pytest.raises(RuntimeError, match="engine died"):
            write_dataset(tmp_path / target, {"train": (SCHEMA, fails())}, CARD)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert list(load(tmp_path / "out", tmp_path / "cache")["train"]) == TRAIN


@pytest.mark.parametrize(
    "target", ["hf://someone/pairs", "s3://bucket/pairs", "someone/pairs", "someone/pairs/", "here/pairs", "hf:pairs"]
)
def test_an_address_of_the_hub_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContractError, match=r"cannot publish to .*give \./OWNER/NAME .*hf upload OWNER/NAME"):
        write_dataset(target, {"train": (SCHEMA, batches(TRAIN))}, CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["./someone/pairs", "pairs", "./here/pairs", "../here/pairs", "here/deep/pairs"])
def test_a_path_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    (tmp_path / "work" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert write_dataset(target, {"train": (SCHEMA, batches(TRAIN))}, CARD) == {"train": 3}
    assert Path(target, "README.md").is_file()
