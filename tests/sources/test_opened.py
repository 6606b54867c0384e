"""A source is opened before a run: what the run could not read is refused."""

import gzip
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import scoder
from builders.recipe import Source, files
from builders.sources import opened, row_columns
from store import Store
from store.errors import InputError

ROW = '{"content": "x = 1"}\n'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"content": "\xe4"}\n', r"no JSON object in its first lines\)\. Give JSON lines in UTF-8 or UTF-16"),
        (b'\n [{"content": "x"}]', r"rows\.jsonl is a JSON array, and no JSON lines\. Write each row"),
        (b"\x80\x81\n", "no JSON object in its first lines"),
        (b'{"content": "x = 1"}\n'.decode().encode("utf-16")[:-1], r"rows\.jsonl \(broken_file\)\. Copy them again"),
        (gzip.compress(b'{"content": "x = 1"}\n')[:-9], r"rows\.jsonl \(broken_file\)\. Copy them again"),
        (b"", r"holds no row\. Check its `path`"),
    ],
    ids=["latin1", "array", "random", "cut-utf16", "cut-gzip", "empty"],
)
def test_rows_that_are_no_json_lines_are_refused(tmp_path, data, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    source = Source(name="mine", kind="jsonl", path=str(path))
    with pytest.raises(InputError, match=message):
        opened.check(source)
    path.write_bytes(b'{"content": "x = 1"}\n')
    opened.check(source)


def test_a_run_refuses_an_array_beside_a_good_file_before_any_work(tmp_path):
    (tmp_path / "a.jsonl").write_text(ROW)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(f"[\n{ROW}]".encode()))
    (tmp_path / "c.jsonl").write_bytes(b"\x1f\x8b and no more")
    recipe = files.load("tiny").model_copy(update={"sources": (Source(name="mine", kind="jsonl", path=str(tmp_path)),)})
    with pytest.raises(InputError, match=r"b\.jsonl\.gz is a JSON array, and no JSON lines"):
        scoder.check(Store(tmp_path / "store"), recipe, "pool")
    (tmp_path / "b.jsonl.gz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="is a Git LFS pointer"):
        scoder.check(Store(tmp_path / "store"), recipe, "pool")
    (tmp_path / "b.jsonl.gz").unlink()
    scoder.check(Store(tmp_path / "store"), recipe, "pool")


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.zip", "a.tar.gz"])
def test_a_page_of_a_web_server_is_no_source(tmp_path, name):
    kind = {"a.jsonl": "jsonl", "a.parquet": "parquet"}.get(name, "archive")
    (tmp_path / name).write_bytes(b"<!doctype html><title>Sign in</title>")
    source = Source(name="mine", kind=kind, path=str(tmp_path))
    for check in (opened.check, opened.check_content):
        with pytest.raises(InputError, match=rf"{name} is an HTML page \(its first words: 'Sign in'\)"):
            check(source)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_every_file_of_rows_is_looked_at(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(row_columns, "CHECKED_FILES", 2)
    for number in range(6):
        path = tmp_path / f"{number}.{kind}"
        pq.write_table(pa.table({"content": ["x"]}), path) if kind == "parquet" else path.write_text(ROW)
    source = Source(name="mine", kind=kind, path=str(tmp_path))
    (tmp_path / f"4.{kind}").write_bytes(b"")
    if kind == "jsonl":
        opened.check(source)  # an empty file among others does no harm
        (tmp_path / "4.jsonl").write_text('\n\n{"more": 1}\n{"content": "x"}\n')
        opened.check(source)  # a row without the column stands before one with it
    (tmp_path / f"4.{kind}").write_bytes(b"\x1f\x8b and no more")
    (tmp_path / f"5.{kind}").write_bytes(b"\x1f\x8b and no more")
    with pytest.raises(InputError, match=rf"of 6 files 2 cannot be read: .*4\.{kind} \(broken_file\), .*5\.{kind}"):
        opened.check(source)
    assert opened.passed_over(source) is None
    monkeypatch.setattr(opened, "MAX_FILES", 4)
    opened.check(source)
    assert opened.passed_over(source) == "source 'mine': only the first 4 of 6 files are looked at"
    monkeypatch.undo()
    for number in (4, 5):
        path = tmp_path / f"{number}.{kind}"
        pq.write_table(pa.table({"text": ["x"]}), path) if kind == "parquet" else path.write_text('{"text": "x"}')
    monkeypatch.setattr(row_columns, "CHECKED_FILES", 2)
    with pytest.raises(InputError, match=rf"no column `content_column` 'content' in the first rows of 4\.{kind}"):
        opened.check(source)


def test_the_head_of_every_archive_is_looked_at(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.py", "x = 1\n")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.zip", "a.zip")
    tarfile.open(tmp_path / "c.tar", "w").close()
    source = Source(name="mine", kind="archive", path=str(tmp_path))
    opened.check(source)
    (tmp_path / "b.tar.gz").write_bytes((tmp_path / "b.tar.gz").read_bytes()[:40])
    (tmp_path / "d.tar").write_bytes(b"no archive at all" * 100)
    (tmp_path / "e.whl").write_bytes(b"no archive at all")
    with pytest.raises(InputError, match=r"of 5 files 3 cannot be read: .*b\.tar\.gz \(broken_archive\), .*d\.tar"):
        opened.check(source)


@pytest.mark.parametrize("name", ["no.zip", "broken.tar.gz"])
def test_a_broken_archive_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no archive at all")
    with pytest.raises(InputError, match=r"cannot be read: .* \(broken_archive\)"):
        opened.check(Source(name="mine", kind="archive", path=str(tmp_path / name)))


def test_an_archive_and_a_tree_without_python_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(InputError, match="holds no file to read"):
        opened.check(Source(name="mine", kind="archive", path=str(tmp_path / "a.zip")))
    with pytest.raises(InputError, match=r"no \.py files under"):
        opened.check(Source(name="mine", kind="tree", path=str(tmp_path)))
