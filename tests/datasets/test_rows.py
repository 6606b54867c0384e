"""Rows of datasets: every container gives the same rows, as a stream; errors name the place."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import shutil
import tracemalloc

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.datasets import json_rows, packed
from builders.datasets.places import Place, parted
from builders.datasets.rows import check_place, digest, num_rows, rows
from builders.sources import bounds, xz
from store.errors import InputError

ROWS = [{"id": "a", "text": "one\r\ntwo"}, {"id": "b", "text": "# line separator \u2028\n"}]


def lines(given: list, end: str = "\n") -> bytes:
    return end.join(json.dumps(row, ensure_ascii=False) for row in given).encode()


@pytest.mark.parametrize(
    "write",
    [
        lambda given: lines(given) + b"\n",
        lambda given: lines(given, "\r\n\r\n"),
        lambda given: json.dumps(given).encode(),
        lambda given: b"\xef\xbb\xbf \n" + json.dumps(given, indent=2).encode(),
        lambda given: json.dumps({row["id"]: row for row in given}).encode(),
        lambda given: json.dumps({row["id"]: row for row in given}, indent=2).encode(),
        lambda given: gzip.compress(lines(given)),
        lambda given: gzip.compress(json.dumps(given).encode()),
    ],
    ids=["lines", "crlf", "array", "indented-array", "object", "indented-object", "gzip-lines", "gzip-array"],
)
def test_every_json_container_gives_the_same_rows(tmp_path, write):
    path = tmp_path / "file"
    path.write_bytes(write(ROWS))
    assert list(rows(path)) == ROWS


def test_parquet_is_read_by_its_first_bytes_and_by_columns(tmp_path):
    path = tmp_path / "file"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=1)
    assert list(rows(path)) == ROWS
    assert list(rows(path, columns=["id"])) == [{"id": "a"}, {"id": "b"}]
    assert num_rows(path) == 2


def test_one_row_is_a_file_too(tmp_path):
    path = tmp_path / "one.json"
    for text in (json.dumps(ROWS[0]), json.dumps(ROWS[0], indent=2)):
        path.write_text(text)
        assert list(rows(path)) == ROWS[:1]


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=30), min_size=1), min_size=2, max_size=6),
    st.integers(1, 40),
)
def test_an_array_may_be_cut_anywhere(tmp_path_factory, given_rows, chunk):
    path = tmp_path_factory.mktemp("array") / "rows.json"
    path.write_text(json.dumps(given_rows, indent=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK_CHARS", chunk)
        assert list(rows(path)) == given_rows


PACKED = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda text: pa.compress(text, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("given", [lines(ROWS) + b"\n", json.dumps(ROWS).encode()], ids=["lines", "array"])
def test_packed_files_are_told_by_their_first_bytes(tmp_path, pack, given):
    path = tmp_path / "file"
    path.write_bytes(pack(given))
    assert list(rows(path)) == ROWS
    assert digest(path) == hashlib.sha256(given).hexdigest()


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_a_packed_file_that_breaks_off_is_no_dataset(tmp_path, pack):
    path = tmp_path / "rows.jsonl"
    texts = [random.Random(number).randbytes(50).hex() for number in range(2000)]
    path.write_bytes(pack("".join(json.dumps({"text": text}) + "\n" for text in texts).encode())[:-2000])
    with pytest.raises(InputError, match=r"rows\.jsonl is not a whole (gzip|bzip2|xz|Zstandard) file"):
        list(rows(path))


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv"])
def test_a_packed_file_that_unpacks_to_too_much_is_refused_in_time(tmp_path, monkeypatch, pack, name):
    monkeypatch.setattr(bounds, "FREE_BYTES", 100_000)
    row = '{"a": "x"}'
    text = {
        "rows.jsonl": f"{row}\n" * 20_000,
        "rows.json": f"[{row}{f',{row}' * 19_999}]",
        "rows.csv": "xxxxxxxxxx\n" * 20_001,
    }[name].encode()
    path = tmp_path / name
    path.write_bytes(pack(text))
    monkeypatch.setattr(packed, "MAX_RATIO", 100_000 // path.stat().st_size)
    read = 0
    with pytest.raises(InputError, match=rf"{name} unpacks to more than 100,000 bytes.* unpack it and name") as caught:
        for _ in rows(path):
            read += 1
    assert f"The limit was reached in row {read + 1:,}." in str(caught.value) and read < 10_000
    with pytest.raises(InputError, match="unpacks to more than 100,000 bytes"):
        digest(path)
    path.write_bytes(text)
    assert sum(1 for _ in rows(path)) == 20_000, "what is not packed has no such limit"


LONG = '"a": "' + "x" * 2_000 + '"}'


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("rows.jsonl", '{"a": "x"}\n\n{' + LONG + "\n", r"row 2 \(line 3\)"),
        ("one.jsonl", "{" + LONG, r"row 1 \(line 1\)"),
        ("one.json", '{\n"b": 1,\n' + LONG, r"row 1 \(an object in several lines\)"),
        ("rows.json", '[{"a": "x"}, {' + LONG + "]", "row 2"),
        ("rows.csv", "a,b\n1,2\n1," + "x" * 2_000 + "\n", "row 2"),
        ("quoted.csv", 'a,b\n1,2\n1,"' + "x\n" * 1_000 + '"\n', "row 2"),
        ("head.csv", "a" * 2_000 + "\n1\n", "the line with the names of the columns"),
    ],
)
def test_a_row_that_is_too_long_is_named_and_not_held(tmp_path, monkeypatch, pack, name, text, place):
    path = tmp_path / name
    path.write_bytes(pack(text.encode()))
    assert sum(1 for _ in rows(path)) >= 1 or pytest.fail("the text itself is in order")
    monkeypatch.setattr(packed, "MAX_ROW_CHARS", 1_000)
    monkeypatch.setattr(json_rows, "_CHUNK_CHARS", 100)
    with pytest.raises(InputError, match=rf"{name}, {place}: (not JSON, or )?longer than 1,000 characters"):
        list(rows(path))


def test_the_memory_for_a_long_line_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MAX_ROW_CHARS", 100_000)
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": "x"}\n{"a": "' + b"x" * 20_000_000 + b'"}\n'))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"row 2 \(line 2\): longer than"):
        list(rows(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_500_000


def test_the_first_byte_that_is_no_text_is_found_in_a_line_of_several_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_CHUNK_BYTES", 7)
    path = tmp_path / "rows.jsonl"
    for fault, place in (
        (("ä" * 9).encode() + b"\xff", "line 2, byte 21 is 0xff"),
        (b"12345\xe4", "line 2, byte 8 is 0xe4"),
    ):
        path.write_bytes('{"a": "ä"}\n'.encode() + b"12" + fault + b"\n{}\n")
        with pytest.raises(InputError, match=rf"is not UTF-8 text: {place}"):
            list(rows(path))
    path.write_bytes(b'{"a": 1}\n{"a": "\xc3')
    with pytest.raises(InputError, match="line 2 ends inside of a character"):
        list(rows(path))


def test_an_xz_file_that_asks_for_too_much_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl.xz"
    path.write_bytes(lzma.compress(lines(ROWS)))
    assert list(rows(path)) == ROWS
    monkeypatch.setattr(xz, "MAX_PACKING_BYTES", 1_000_000)
    with pytest.raises(InputError, match=r"not a whole xz file \(Memory usage limit"):
        list(rows(path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_other_encodings_of_unicode_are_read(tmp_path, encoding, name):
    text = '{"id": "ä"}\r\n{"id": "b"}\r\n' if name.endswith("jsonl") else "id\r\nä\r\nb\r\n"
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    assert list(rows(path)) == [{"id": "ä"}, {"id": "b"}]


def test_csv_keeps_texts_as_they_are(tmp_path):
    long = "x" * 200_000
    given = [{"id": "1", "text": 'a, "b"\nc\u2028d'}, {"id": "2", "text": long}]
    for name, separator in (("rows.csv", ","), ("rows.tsv", "\t"), ("rows.csv.gz", ",")):
        made = io.StringIO()
        writer = csv.DictWriter(made, ["id", "text"], delimiter=separator)
        writer.writeheader()
        writer.writerows(given)
        text = made.getvalue().encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        assert list(rows(tmp_path / name)) == given


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,text\n1,a\n2,b,c\n", r"rows\.csv, row 2 \(line 3\): it has more values than the 2 columns id, text"),
        ('id,text\n1,"a\n', r"rows\.csv, row 1 \(line 1\): not CSV"),
        ("id,text\n", r"rows\.csv has no rows"),
    ],
)
def test_broken_csv_is_named(tmp_path, text, message):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        list(rows(tmp_path / "rows.csv"))


@pytest.mark.parametrize("form", ["file", "stream"])
def test_arrow_is_read_in_both_forms(tmp_path, form):
    table = pa.Table.from_pylist(ROWS)
    path = tmp_path / "rows.arrow"
    with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    assert list(rows(path)) == ROWS
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"rows\.arrow is not a whole Arrow file"):
        list(rows(path))


def test_saved_folders_are_read_by_their_splits(tmp_path):
    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": one, "validation": one.select([1])}).save_to_disk(tmp_path / "both")
    assert list(rows(tmp_path / "one")) == ROWS
    assert list(rows(tmp_path / "both", split="validation")) == ROWS[1:]
    assert list(rows(tmp_path / "both", usual_split="train")) == ROWS
    with pytest.raises(InputError, match="has the splits train, validation: name one"):
        list(rows(tmp_path / "both"))
    with pytest.raises(InputError, match=r"has no split dev.*splits train, validation"):
        list(rows(tmp_path / "both", split="dev"))


def test_a_split_of_a_saved_dataset_must_exist(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path)
    with pytest.raises(InputError, match="rows without the name of a split, and no split nosuch: name none"):
        list(rows(tmp_path, split="nosuch"))
    assert list(rows(tmp_path, split="train", usual_split="train")) == ROWS
    (tmp_path / "state.json").write_text('{"_data_files": [{}]}')
    with pytest.raises(InputError, match=r"state\.json does not name its data files"):
        list(rows(tmp_path))


def test_the_split_that_is_read_is_named_with_the_others_once(tmp_path, capfd):
    for name, row in zip(("train", "validation"), ROWS, strict=True):
        (tmp_path / f"{name}.jsonl").write_bytes(lines([row]))
    for _ in range(2):
        assert list(rows(tmp_path, usual_split="train")) == ROWS[:1]
    assert capfd.readouterr().err.count(f"{tmp_path}: the split train is read, and not validation") == 1
    assert list(rows(tmp_path, split="validation")) == ROWS[1:]
    assert "is read, and not" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jsonl": b'{"a": 1}', "notes.csv": b"a\n2\n"}, r"several kinds, such as notes\.csv, a\.jsonl: name one"),
        ({"a.jsonl": b'{"a": 1}', "b.jsonl": b'{"a": 1, "b": 2}'}, r"b\.jsonl, row 1: it has the columns 'b'"),
        ({"a.jsonl": b'{"a": 1}\n{bad\n'}, r"a\.jsonl, row 2 \(line 2\): not JSON"),
        ({"a.jsonl.zst": pa.compress(b'{"a": 1}\n', codec="zstd", asbytes=True)}, r"a\.jsonl\.zst: files in Zstandard"),
        ({}, "holds no file of rows"),
        ({"set.py": b"import datasets\n"}, "Dataset scripts are no longer supported"),
    ],
    ids=["kinds", "column", "broken", "zstd", "empty", "script"],
)
def test_a_folder_that_cannot_be_read_whole_is_refused_with_the_file(tmp_path, files, message):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text)
    with pytest.raises((InputError, FileNotFoundError), match=message):
        list(rows(folder))


def test_the_case_of_a_suffix_and_a_wrong_separator(tmp_path):
    (tmp_path / "X.CSV").write_text("id,text\n1,a\n")
    assert list(rows(tmp_path / "X.CSV")) == [{"id": "1", "text": "a"}]
    (tmp_path / "x.csv").write_text("id;text\n1;a\n")
    with pytest.raises(InputError, match="seem to be parted by ';', not by ','"):
        list(rows(tmp_path / "x.csv"))


def test_a_folder_with_several_configs_asks_for_one(tmp_path):
    for name, row in zip("ab", ROWS, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_bytes(lines([row]))
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.jsonl\n" for name in "ab")
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with pytest.raises(InputError, match=r"has the configs a, b: name one of them, as .*:a"):
        list(rows(tmp_path))
    place = parted(f"{tmp_path}:b@train")
    assert list(rows(place.path, config=place.config, split=place.split)) == ROWS[1:]
    with pytest.raises(InputError, match=r"has no config c\. Its configs are a, b"):
        list(rows(tmp_path, config="c"))


def test_places_have_configs_and_splits(tmp_path):
    assert parted("owner/name:full@test") == Place("owner/name", "full", "test")
    assert parted("owner/name@train") == Place("owner/name", None, "train")
    assert parted(f"{tmp_path}@train") == Place(str(tmp_path), None, "train")
    odd = tmp_path / "a:b@c.jsonl"
    odd.touch()
    assert parted(str(odd)) == Place(str(odd))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": 1}\n' + b"[" * 200_000, r"row 2 \(line 2\): not JSON \(lists or objects stand inside each other"),
        (b'[{"a": 1}, ' + b"[" * 200_000, "row 2: not JSON"),
        (b'{"a": 1}\n{"a": ' + b"1" * 5000 + b"}", r"row 2 \(line 2\): not JSON \(Exceeds the limit"),
        (b'{"a": 1}\n{"a\0": 1', r"row 2 \(line 2\): not UTF-8 text, for it holds NUL bytes"),
    ],
    ids=["deep", "deep-array", "digits", "nul"],
)
def test_hostile_json_is_named(tmp_path, text, message):
    path = tmp_path / "rows.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=message):
        list(rows(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": 1}\n{broken\n', "rows.json, row 2 \\(line 2\\): not JSON"),
        (b'[{"a": 1}, {broken]', "rows.json, row 2: not JSON"),
        (b'[{"a": 1}, {"b": 2}', "rows.json, row 3: not JSON"),
        (b"{broken", "rows.json: not JSON"),
        (b'{"a: 1}\n{"a": 2}\n', r"rows.json, row 1 \(line 1\): not JSON"),
        (b'[{"a": 1}]\n[{"a": 2}]', "rows.json: the array ends after row 1, and then comes another array"),
        (b'[{"a": 1}]' + b" " * 3_000_000 + b'{"a": 2}', "the array ends after row 1, and then comes '{\"a\": 2}'"),
        (b'[{"a": 1}, {"a": 2}] x', "the array ends after row 2, and then comes 'x'"),
        (b" \n", "rows.json is empty"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "rows.json is not UTF-8 text: line 2, byte 8 is 0xff"),
        (gzip.compress(b'{"a": 1}\n{"a": 2}\n', mtime=0)[:-9], "rows.json is not a whole gzip file"),
        (b"PAR1 and no more", "rows.json is not a whole Parquet file"),
    ],
)
def test_what_is_broken_is_named(tmp_path, text, message):
    path = tmp_path / "rows.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        list(rows(path))


@pytest.mark.parametrize("write", [lines, lambda given: json.dumps(given).encode()], ids=["lines", "array"])
def test_memory_does_not_grow_with_the_file(tmp_path, write):
    path = tmp_path / "rows.json"
    path.write_bytes(write([{"id": str(number), "text": "x" * 1000} for number in range(20_000)]))
    tracemalloc.start()
    assert sum(len(row["text"]) for row in rows(path)) == 20_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2


def test_memory_of_parquet_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "rows.parquet"
    text = pa.array([random.Random(number).randbytes(500).hex() for number in range(2_000)])
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="none") as writer:
        for _ in range(20):
            writer.write_table(pa.table([text], ["text"]))
    before, most = pa.total_allocated_bytes(), 0
    for number, _ in enumerate(rows(path)):
        if number % 1000 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    assert most < path.stat().st_size / 4


def test_places_that_cannot_be_anything_are_refused_before_any_work(tmp_path):
    check_place(tmp_path)
    check_place("owner/dataset")
    for place in ("gone.jsonl", "owner/gone.parquet", "/nowhere/at/all"):
        with pytest.raises(FileNotFoundError, match=f"no file {place}"):
            check_place(place)


def test_a_folder_with_several_splits_asks_for_one(tmp_path):
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(ROWS))
    with pytest.raises(ValueError, match="has the splits train, validation: name one"):
        list(rows(tmp_path))
    assert list(rows(tmp_path, split="train")) == ROWS


def test_rows_are_counted_where_that_is_cheap(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(lines(ROWS) + b"\n")
    assert num_rows(path) == 2
    path.write_bytes(json.dumps(ROWS).encode())
    assert num_rows(path) is None
    assert num_rows("owner/dataset") is None


# -- what a place holds ----------------------------------------------------------------------------


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path):
    path, moved = tmp_path / "rows.jsonl", tmp_path / "moved.jsonl"
    path.write_bytes(lines(ROWS))
    before = digest(path)
    os.utime(path, (1, 1))
    moved.write_bytes(lines(ROWS))
    assert digest(path) == digest(moved) == before
    path.write_bytes(lines([ROWS[0], ROWS[1] | {"text": "another"}]))
    assert digest(path) != before


def test_the_digest_of_a_gzip_file_knows_no_time_and_no_name(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    found = []
    for time in (1, 2):
        path.write_bytes(gzip.compress(lines(ROWS), mtime=time))
        found.append(digest(path))
    assert found[0] == found[1]
    path.write_bytes(gzip.compress(lines(ROWS[:1])))
    assert digest(path) != found[0]
    path.write_bytes(gzip.compress(lines(ROWS))[:-9])
    with pytest.raises(InputError, match=r"rows\.jsonl\.gz is not a whole gzip file"):
        digest(path)


def test_the_digest_of_a_folder_is_that_of_its_files_and_their_names(tmp_path):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    for number, row in enumerate(ROWS):
        (folder / "data" / f"train-{number}.jsonl").write_bytes(lines([row]))
    before = digest(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").touch()
    (folder / ".scoder.json").write_text("{}")
    shutil.copytree(folder, tmp_path / "copy")
    assert digest(folder) == digest(tmp_path / "copy") == before
    (folder / "data" / "train-1.jsonl").write_bytes(lines(ROWS))
    assert digest(folder) != before
    (tmp_path / "copy" / "data" / "train-1.jsonl").rename(tmp_path / "copy" / "data" / "train-2.jsonl")
    assert digest(tmp_path / "copy") != before


def test_a_dataset_of_the_hub_has_no_digest():
    assert digest("nobody/has-this") is None


@pytest.mark.parametrize("write", [lambda text: text, gzip.compress], ids=["plain", "gzip"])
def test_the_memory_of_a_digest_does_not_grow_with_the_file(tmp_path, write):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(write(b"x" * 20_000_000))
    tracemalloc.start()
    digest(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000_000


def test_two_columns_of_one_name_and_an_object_of_columns_are_refused(tmp_path):
    (tmp_path / "twice.csv").write_text("instruction,output,output\na,b,c\n")
    with pytest.raises(InputError, match="two columns 'output'"):
        list(rows(tmp_path / "twice.csv"))
    (tmp_path / "columns.json").write_text(json.dumps({"instruction": ["a", "b"], "output": ["c", "d"]}))
    with pytest.raises(InputError, match="object of columns, instruction, output"):
        list(rows(tmp_path / "columns.json"))
    (tmp_path / "row.json").write_text(json.dumps({"messages": [{"role": "user"}], "tags": ["a"]}))
    assert len(list(rows(tmp_path / "row.json"))) == 1


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.jsonl.gz", "set"])
def test_a_pointer_of_git_lfs_says_to_pull_the_file(tmp_path, name):
    path = tmp_path / name
    if not path.suffix:
        path.mkdir()
    (path if path.suffix else path / "train.jsonl").write_bytes(LFS)
    with pytest.raises(InputError, match=r"is a Git LFS pointer, and not the file itself: run `git lfs pull`"):
        list(rows(path))


PAGES = [
    (
        b"<!DOCTYPE html>\n<html><head><title>Sign in</title><style>a {}</style></head><body>Log&nbsp;in",
        "Sign in Log in",
    ),
    (b"\xef\xbb\xbf\n<!-- x --><HTML><script>var x</script><h1>404</h1> Not found", "404 Not found"),
    (b'<?xml version="1.0"?><html xmlns="x"><body class="' + b"x" * 9000, ""),
]


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.parquet", "a.jsonl.gz", "set"])
@pytest.mark.parametrize(("page", "words"), PAGES)
def test_a_page_of_a_web_server_is_named_with_its_first_words(tmp_path, name, page, words):
    path = tmp_path / name
    if not path.suffix:
        path.mkdir()
    (path if path.suffix else path / "train.jsonl").write_bytes(page)
    with pytest.raises(InputError, match=rf"is an HTML page \(its first words: '{words}'\), and .*without a login\?"):
        list(rows(path))


def test_rows_that_hold_html_are_no_page(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "<!doctype html>"}))
    (tmp_path / "a.csv").write_text("text,n\n<html>,1\n")
    (tmp_path / "b.csv").write_text("<!---->" * 600 + "\n1\n")
    assert len(list(rows(tmp_path / "b.csv"))) == 1, "many comments are read at once"
    assert [next(rows(tmp_path / name))["text"] for name in ("a.jsonl", "a.csv")] == ["<!doctype html>", "<html>"]


def test_zstandard_may_begin_with_a_frame_to_skip(tmp_path):
    frame = pa.compress(b'{"a": 1}\n', codec="zstd", asbytes=True)
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(b"\x51\x2a\x4d\x18\x04\x00\x00\x00skip" + frame + frame)
    assert list(rows(path)) == [{"a": 1}, {"a": 1}]
