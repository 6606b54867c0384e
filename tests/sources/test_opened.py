"""A source is opened before a run: what the run could not read is refused."""

import zipfile

import pytest

from builders.recipe import Source
from builders.sources import opened
from store.errors import InputError


@pytest.mark.parametrize(
    "data",
    ['{"content": "x"}\n'.encode("utf-16"), b'{"content": "\xe4"}\n', b'[{"content": "x"}]', b"", b"\x80\x81\n"],
    ids=["utf16", "latin1", "array", "empty", "random"],
)
def test_rows_that_are_no_json_lines_are_refused(tmp_path, data):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    source = Source(name="mine", kind="jsonl", path=str(path))
    with pytest.raises(InputError, match=r"hold no JSON object\. Give JSON lines in UTF-8"):
        opened.check(source)
    path.write_bytes(b'{"content": "x = 1"}\n')
    opened.check(source)


@pytest.mark.parametrize("name", ["no.zip", "broken.tar.gz"])
def test_a_broken_archive_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no archive at all")
    with pytest.raises(InputError, match=r"cannot be read \(broken_archive\)"):
        opened.check(Source(name="mine", kind="archive", path=str(tmp_path / name)))


def test_an_archive_and_a_tree_without_python_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(InputError, match="holds no file to read"):
        opened.check(Source(name="mine", kind="archive", path=str(tmp_path / "a.zip")))
    with pytest.raises(InputError, match=r"no \.py files under"):
        opened.check(Source(name="mine", kind="tree", path=str(tmp_path)))
