"""Dataset folders: faults have file, row and column, and what is chosen or passed over is said."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.datasets.places import Place
from builders.datasets.rows import chosen, rows
from store.errors import InputError


def lines(*given: dict) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in given).encode()


def parquet(**columns: list) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


def folder_of(folder, files: dict[str, bytes]):
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a.jsonl": lines({"a": None}, {"a": 1}), "b.jsonl": lines({"a": 2}, {"a": "x"})},
            r"b\.jsonl, row 2, column 'a': it is text \('x'\), and a whole number in .*a\.jsonl, row 2\. Write one kind",
        ),
        (
            {"a.jsonl": lines({"a": 1, "m": [{"x": 1}, {"x": 2}]}), "b.jsonl": lines({"a": 1.0, "m": [{"x": {}}]})},
            r"b\.jsonl, row 1, column 'm\[\]\.x': it is an object \('{}'\), and a whole number in .*a\.jsonl, row 1",
        ),
        (
            {"a.jsonl": lines({"a": 1, "b": [1]}, {"a": 2, "b": "x"}), "b.jsonl": lines({"a": 1.5, "b": 1})},
            r"b\.jsonl, row 1, column 'a': it is a number \('1\.5'\), and a whole number",
        ),
        (
            {"a.jsonl": lines({"a": "2020-01-01"}), "b.jsonl": lines({"a": "n/a"})},
            r"b\.jsonl, row 1, column 'a': it is text \('n/a'\), and a date in",
        ),
        (
            {"a.parquet": parquet(a=[1]), "b.parquet": parquet(a=["x"])},
            r"b\.parquet, from row 1 on, column 'a': it is string, and int64 in .*a\.parquet",
        ),
        (
            {"a.parquet": parquet(a=[1]), "b.parquet": parquet(c=[1])},
            r"b\.parquet, .* has the columns 'c', which .*a\.p",
        ),
        ({"a.jsonl": b'{"a": 1, "a": 2}\n{"a": 3}\n'}, r"a\.jsonl, row 1 \(line 1\): the key 'a' stands twice"),
        ({"a.jsonl": lines({"a": 1}).decode().encode("utf-16")}, r"a\.jsonl: files in UTF-16 are not read in folders"),
    ],
    ids=["text", "inside", "fraction", "date", "parquet", "parquet-column", "key", "utf16"],
)
def test_a_fault_has_its_file_row_and_column(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        list(rows(folder_of(tmp_path / "set", files)))


def test_texts_beside_files_of_rows_are_said_to_be_passed_over(tmp_path, capfd):
    place = folder_of(tmp_path / "set", {"a.jsonl": lines({"a": 1}), "notes.txt": b"x\n"})
    assert list(rows(place)) == [{"a": 1}]
    assert f"{place}: passed over, beside files of rows: notes.txt\n" in capfd.readouterr().err
    (place / "more.txt.gz").write_bytes(gzip.compress(b"x"))
    with pytest.raises(InputError, match=r"would read other files than a\.jsonl, for there are more of them"):
        list(rows(place))
    alone = folder_of(tmp_path / "alone", {"notes.txt": b"x\n"})
    assert list(rows(alone)) == [{"text": "x"}]
    assert f"{alone}: passed over" not in capfd.readouterr().err


def test_the_config_that_a_card_calls_usual_is_read_and_said(tmp_path, capfd):
    card = "---\nconfigs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\n"
    files = {f"{name}.jsonl": lines({name: 1}) for name in "ab"}
    place = folder_of(tmp_path / "set", {**files, "README.md": f"{card}  default: true\n---\n".encode()})
    assert list(rows(place)) == [{"b": 1}]
    assert f"{place}: the config b is read, and not a\n" in capfd.readouterr().err
    assert chosen(place) == Place(str(place), "b", "train")
    assert list(rows(place, config="a")) == [{"a": 1}]
    (place / "README.md").write_text(f"{card}---\n")
    with pytest.raises(InputError, match="has the configs a, b: name one of them"):
        chosen(place)


def test_what_is_read_of_a_place_is_known_before(tmp_path):
    place = folder_of(tmp_path / "set", {"train.jsonl": lines({"a": 1}), "validation.jsonl": lines({"a": 2})})
    assert chosen(place, usual_split="train") == Place(str(place), None, "train")
    assert chosen(place, split="validation").split == "validation"
    with pytest.raises(InputError, match="has the splits train, validation: name one"):
        chosen(place)
    assert chosen(place / "train.jsonl", split="none") == Place(str(place / "train.jsonl"))
    one = datasets.Dataset.from_list([{"a": 1}])
    datasets.DatasetDict({"train": one, "dev": one}).save_to_disk(tmp_path / "saved")
    assert chosen(tmp_path / "saved", usual_split="train").split == "train"
    one.save_to_disk(tmp_path / "one")
    assert chosen(tmp_path / "one").split is None


@pytest.mark.parametrize("names", [("train", "extra_python"), ("data", "eval")])
def test_files_that_belong_to_no_split_are_named_or_refused(tmp_path, capfd, names):
    place = folder_of(tmp_path / "set", {f"{name}.jsonl": lines({"a": name}) for name in names})
    read, left = ("train", "extra_python") if "train" in names else ("eval", "data")
    with pytest.raises(
        InputError, match=rf"takes only some files .* and not {left}\.jsonl\. Name one file, or one split"
    ):
        chosen(place)
    split = "test" if read == "eval" else "train"
    assert list(rows(place, split=split)) == [{"a": read}]
    assert f"{place}: not read, for they belong to no split: {left}.jsonl\n" in capfd.readouterr().err
    assert chosen(place, split=split) == Place(str(place), None, split, (f"{left}.jsonl",))


def test_a_file_about_the_rows_is_said_to_be_not_read(tmp_path, capfd):
    place = folder_of(tmp_path / "set", {"train.jsonl": lines({"a": 1}), "stats.json": b'{"rows": 1}'})
    assert list(rows(place)) == [{"a": 1}]
    assert f"{place}: not read, for they belong to no split: stats.json\n" in capfd.readouterr().err
    whole = folder_of(tmp_path / "whole", {"a.jsonl": lines({"a": 1}), "b.jsonl": lines({"a": 2})})
    assert len(list(rows(whole))) == 2 and chosen(whole).files_not_read == ()


def tar(mode: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("rows.jsonl"), io.BytesIO(b""))
    return made.getvalue()


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("rows.jsonl", '{"a": 1}\n')
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("rows.zip", zipped(), "zip"),
        ("rows.tar.gz", tar("w:gz"), "tar"),
        ("rows.csv", tar("w"), "tar"),
        ("rows.jsonl.xz", tar("w:xz"), "tar"),
        ("rows.7z", b"7z\xbc\xaf\x27\x1c and more", "7z"),
    ],
)
def test_an_archive_is_no_dataset_and_the_way_on_is_told(tmp_path, name, data, kind):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(
        InputError, match=rf"{name} is a {kind} archive, and no file of rows: unpack it, and name the file"
    ):
        list(rows(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1}\n{"b": {"c": 1, "c": 2}}\n', r"row 2 \(line 2\)"),
        ('[{"a": 1},\n{"a": 2, "a": null}]', "row 2"),
        ('{"x": {"a": 1},\n "x": {"a": 2}}', r"rows\.json"),
    ],
    ids=["lines", "array", "object"],
)
def test_a_key_that_stands_twice_is_refused_unless_it_says_the_same(tmp_path, text, place):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(InputError, match=rf"{place}: the key '.' stands twice, with other values: keep one\."):
        list(rows(tmp_path / "rows.json"))
    (tmp_path / "rows.json").write_text('{"a": 1, "a": 1}\n{"a": 2}\n')
    assert list(rows(tmp_path / "rows.json")) == [{"a": 1}, {"a": 2}]
