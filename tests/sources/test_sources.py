"""Sources: every file comes out once, whole or with the reason why not.

A changed file changes the plan.
"""

import gzip
import json
import os

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from builders import sources
from builders.recipe import Source
from builders.sources import json_lines
from builders.sources import rows as source_rows
from builders.sources.files import MAX_FILE_BYTES, SourceFile
from builders.sources.trees import tree_paths, tree_root
from store.errors import InputError
from tests.tiny_recipes import tree


def tree_source(root, **settings) -> Source:
    return Source(name="here", kind="tree", path=str(root), **settings)


def all_files(source: Source) -> list[SourceFile]:
    return [f for shard in sources.listing(source).shards for f in sources.read(source, shard)]


def write_packed(path, content: bytes) -> None:
    """Compressed as the name says: zstandard by Arrow, the others by what Python has of its own."""
    zstd = path.suffix == ".zst"
    with pa.output_stream(path, compression="zstd") if zstd else fsspec.open(path, "wb", compression="infer") as handle:
        handle.write(content)


def test_unreadable_files_are_given_out_with_their_reason(tmp_path):
    tree(
        tmp_path,
        {
            "good.py": "x = 'é'\n",
            "latin.py": "x = 'é'\n".encode("latin-1"),
            "null.py": b"x = 1\0\n",
            "huge.py": b"#" * (MAX_FILE_BYTES + 1),
            "largest.py": b"#" * MAX_FILE_BYTES,
            "empty.py": b"",
            "notes.txt": "not Python",
        },
    )
    found = {f.path: f for f in all_files(tree_source(tmp_path))}
    assert {p: f.error for p, f in found.items()} == {
        "good.py": None,
        "latin.py": "not_utf8",
        "null.py": "null_bytes",
        "huge.py": "too_large",
        "largest.py": None,
        "empty.py": None,
    }
    assert (found["good.py"].text, found["empty.py"].text, found["latin.py"].text) == ("x = 'é'\n", "", None)
    assert {f.license for f in found.values()} == {"unknown"}


def test_links_are_not_followed_and_pipes_do_not_block(tmp_path):
    root = tree(tmp_path / "root", {"a/one.py": "1\n"})
    os.symlink(root, root / "a" / "loop")
    os.symlink(root / "a" / "one.py", root / "again.py")
    os.symlink(root / "gone.py", root / "broken.py")
    os.mkfifo(root / "pipe.py")
    (root / "folder.py").mkdir()
    assert tree_paths(tree_source(root)) == ["a/one.py"]


def test_a_file_that_vanishes_while_it_is_read_is_unreadable(tmp_path):
    tree(tmp_path, {"a.py": "1\n", "b.py": "2\n"})
    source = tree_source(tmp_path)
    reading = sources.read(source, sources.listing(source).shards[0])
    assert next(reading).text == "1\n"
    (tmp_path / "b.py").unlink()
    assert (next(reading).error, tree_paths(tree_source(tmp_path))) == ("unreadable", ["a.py"])


def test_file_names_that_are_not_utf8_can_be_stored(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.py"), "w") as handle:
        handle.write("x = 1\n")
    (file,) = all_files(tree_source(tmp_path))
    assert (file.path, file.text) == ("caf\\udce9.py", "x = 1\n")
    assert pa.array([file.path]).to_pylist() == [file.path]


def test_excluded_prefixes_and_the_order_of_paths(tmp_path):
    tree(tmp_path, {"b.py": "", "a/x.py": "", "a/test/y.py": "", "test/z.py": "", "test_one.py": "", "a-b.py": ""})
    assert tree_paths(tree_source(tmp_path, exclude=("test/", "a/test"))) == [
        "a-b.py",
        "a/x.py",
        "b.py",
        "test_one.py",
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_shards_cut_the_first_max_files(tmp_path, size):
    tree(tmp_path, {f"{n}.py": f"{n}\n" for n in range(10)})
    source = tree_source(tmp_path, max_files=7, files_per_shard=size)
    assert len(sources.listing(source).shards) == -(-7 // size)
    assert [f.path for f in all_files(source)] == [f"{n}.py" for n in range(7)]


def rows_source(path, rows, kind, **settings) -> Source:
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
    return Source(name="rows", kind=kind, path=str(path), **settings)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_shards_of_json_lines_cut_the_first_max_rows(tmp_path, size):
    rows = [{"content": f"x = {n}\n", "max_stars_repo_path": f"{n}.py"} for n in range(10)]
    source = rows_source(tmp_path / "rows", rows, "jsonl", max_files=7, files_per_shard=size)
    assert len(sources.listing(source).shards) == -(-7 // size)
    assert [(f.path, f.text) for f in all_files(source)] == [(f"{n}.py", f"x = {n}\n") for n in range(7)]


@pytest.mark.parametrize("size, cuts", [(1, [0, 3, 6]), (3, [0, 3, 6]), (4, [0, 6]), (100, [0])])
def test_shards_of_parquet_are_whole_row_groups(tmp_path, size, cuts):
    rows = [{"content": f"x = {n}\n", "max_stars_repo_path": f"{n}.py"} for n in range(10)]
    source = rows_source(tmp_path / "rows", rows, "parquet", max_files=7, files_per_shard=size)
    shards = sources.listing(source).shards
    assert [(s.start, s.offset) for s in shards] == [(at, at // 3) for at in cuts]
    assert [(f.path, f.text) for f in all_files(source)] == [(f"{n}.py", f"x = {n}\n") for n in range(7)]


@pytest.mark.parametrize("size", [1, 3])
def test_a_shard_of_json_lines_starts_at_its_own_byte(tmp_path, size):
    texts = [f"x = '{'é' * n}'\n" for n in range(8)]
    source = rows_source(tmp_path / "rows", [{"content": t} for t in texts], "jsonl", files_per_shard=size)
    whole = (tmp_path / "rows").read_bytes()
    for shard in sources.listing(source).shards:
        assert whole[: shard.offset].count(b"\n") == shard.start
        assert not shard.offset or whole[shard.offset - 1 : shard.offset] == b"\n"
        # what lies before is not looked at
        damaged = tmp_path / "damaged"
        damaged.write_bytes(b"\n" * shard.offset + whole[shard.offset :])
        (tmp_path / "rows").write_bytes(damaged.read_bytes())
        assert [f.text for f in sources.read(source, shard)] == texts[shard.start : shard.stop]


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_several_files_of_rows_are_one_source(tmp_path, packed):
    for number in range(3):
        lines = [json.dumps({"content": f"x = {number}{n}\n"}) for n in range(4)]
        write_packed(tmp_path / f"{number}.jsonl{packed}", "\n".join(lines).encode())
    (tmp_path / "notes.txt").write_text("no rows")
    texts = [f"x = {number}{n}\n" for number in range(3) for n in range(4)]
    for path in (tmp_path, tmp_path / f"*.jsonl{packed}"):
        source = Source(name="rows", kind="jsonl", path=str(path), files_per_shard=3)
        found = all_files(source)
        assert [f.text for f in found] == texts
        assert found[5].path == f"1.jsonl{packed}/row-1" and len({f.path for f in found}) == 12
        assert len(sources.listing(source).shards) == (3 if packed else 6)
    limited = Source(name="rows", kind="jsonl", path=str(tmp_path), max_files=6, files_per_shard=3)
    assert [f.text for f in all_files(limited)] == texts[:6]


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst", "rows.jsonl.xz", "rows.parquet"])
@pytest.mark.parametrize("limit", [None, 999])
def test_a_file_of_rows_that_breaks_off_is_counted(tmp_path, name, limit):
    path, kind = tmp_path / name, "parquet" if name.endswith("parquet") else "jsonl"
    if kind == "parquet":
        pq.write_table(pa.table({"content": ["x"] * 1000}), path)
    else:
        write_packed(path, b"".join(b'{"content": "x = %d"}\n' % n for n in range(1000)))
    path.write_bytes(path.read_bytes()[:-100])
    *good, last = all_files(Source(name="rows", kind=kind, path=str(path), max_files=limit))
    assert {f.error for f in good} <= {None, "no_content"}
    assert last.path == f"{name}/from-row-{len(good)}" and last.error == "broken_file"


def test_a_file_of_rows_that_vanishes_is_counted(tmp_path):
    source = rows_source(tmp_path / "rows", [{"content": "x"}], "jsonl")
    (shard,) = sources.listing(source).shards
    (tmp_path / "rows").unlink()
    assert [f.error for f in sources.read(source, shard)] == ["broken_file"]


def test_a_row_that_is_too_large_is_counted_and_the_next_one_read(tmp_path, monkeypatch):
    monkeypatch.setattr(source_rows, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 1000)
    rows = [{"content": "x" * n} for n in (100, 101, 5000, 7)]
    assert [f.error for f in all_files(rows_source(tmp_path / "rows", rows, "jsonl"))] == [
        None,
        "too_large",
        "too_large",
        None,
    ]


def test_a_local_dataset_is_read_by_its_row_groups(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for number in range(2):
        rows = [{"content": f"x = {number}{n}\n", "max_stars_repo_licenses": ["MIT"]} for n in range(4)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"train-{number}.parquet", row_group_size=2)
    source = Source(name="hub", kind="hub", dataset=str(folder), files_per_shard=2)
    assert len(sources.listing(source).shards) == 4
    found = all_files(source)
    assert [f.text for f in found] == [f"x = {number}{n}\n" for number in range(2) for n in range(4)]
    assert {f.license for f in found} == {"MIT"} and len({f.path for f in found}) == 8
    with pytest.raises(ValueError, match=r"source 'hub': .* has no split 'test'. Its splits are: train"):
        sources.listing(source.model_copy(update={"split": "test"}))


@pytest.mark.parametrize("limit", [None, 5])
def test_a_dataset_that_is_not_parquet_is_streamed(tmp_path, limit):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for number in range(2):
        lines = [json.dumps({"content": f"x = {number}{n}\n"}) for n in range(4)]
        (folder / f"train-{number}.jsonl").write_text("\n".join(lines) + "\n")
    source = Source(name="hub", kind="hub", dataset=str(folder), max_files=limit)
    assert len(sources.listing(source).shards) == (2 if limit is None else 1)
    found = all_files(source)
    assert [f.text for f in found] == [f"x = {number}{n}\n" for number in range(2) for n in range(4)][:limit]
    assert len({f.path for f in found}) == len(found)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_with_absent_columns_get_defaults_or_a_reason(tmp_path, kind):
    rows = [
        {
            "content": "x = 1\n",
            "max_stars_repo_path": "setup.py",
            "max_stars_repo_name": "a/b",
            "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
        },
        {
            "content": None,
            "max_stars_repo_path": "none.py",
            "max_stars_repo_name": None,
            "max_stars_repo_licenses": ["MIT"],
        },
        {
            "content": "nul\0l",
            "max_stars_repo_path": None,
            "max_stars_repo_name": "a/b",
            "max_stars_repo_licenses": [],
        },
    ]
    if kind == "jsonl":  # as CSV files and some exports hold lists
        rows[1]["max_stars_repo_licenses"] = '["MIT"]'
    found = all_files(rows_source(tmp_path / "rows", rows, kind))
    assert [(f.path, f.repo, f.license, f.error) for f in found] == [
        ("a/b/setup.py", "a/b", "MIT, Apache-2.0", None),
        ("none.py", None, "MIT", "no_content"),
        ("row-2", "a/b", "unknown", "null_bytes"),
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_wrong_column_name_lists_the_columns(tmp_path, kind):
    rows = [{"text": "x", "lang": "python"}] * 2
    message = (
        r"source 'rows': no column for `content_column` 'content' in .*The columns are text, lang\. Name the right"
    )
    with pytest.raises(InputError, match=message):
        sources.listing(rows_source(tmp_path / "rows", rows, kind))
    with pytest.raises(InputError, match=r"`license_column` 'licence'"):
        sources.listing(rows_source(tmp_path / "rows", rows, kind, content_column="text", license_column="licence"))


def test_rows_without_the_usual_columns_of_the_stack(tmp_path):
    (named,) = all_files(rows_source(tmp_path / "rows", [{"text": "x"}], "parquet", content_column="text"))
    assert named.text == "x"


def test_a_row_without_the_licence_that_others_have_is_nobodys_own(tmp_path):
    rows = [{"content": "x = 1\n", "max_stars_repo_licenses": ["MIT"]}, {"content": "y = 2\n"}]
    found = [(f.license, f.license_source) for f in all_files(rows_source(tmp_path / "rows", rows, "jsonl"))]
    assert found == [("MIT", "dataset"), ("unknown", "dataset")]
    alone = all_files(rows_source(tmp_path / "alone", rows[1:], "jsonl"))
    assert [(f.license, f.license_source) for f in alone] == [("unknown", "none")]
    cut = rows_source(tmp_path / "rows", rows, "jsonl", files_per_shard=1)
    assert [(f.license, f.license_source) for f in all_files(cut)] == found, "whatever the shards are"


def test_broken_lines_of_json_are_counted_not_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"content": "first"}\r\n'
        b"not json\n"
        b"[1, 2]\n"
        b'{"content": "\xff not utf-8"}\n'
        b'{"content": "half \\ud83d", "max_stars_repo_path": "\\ud83d.py"}\n'
        b"\n"
        b'{"content": "last\xe2\x80\xa8line"}'
    )
    source = Source(name="rows", kind="jsonl", path=str(path), files_per_shard=4)
    found = all_files(source)
    assert len(sources.listing(source).shards) == 2
    errors = [None, "no_json", "no_json", "no_utf8", None, None]
    assert [f.error for f in found] == errors
    assert [f.path for f in found if f.error] == ["row-1", "row-2", "row-3"]
    assert found[5].path == "row-6", "a blank line is no row, but it counts for the names of rows"
    assert (found[0].text, found[4].path, found[5].text) == ("first", "\\ud83d.py", "last\u2028line")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_other_encodings_of_unicode_are_read(tmp_path, encoding, pack):
    text = '\n{"content": "é = 1\u010a"}\r\n{bad\n{"content": "x = 2"}'
    if encoding.startswith("utf-16"):
        text += '\n{"content": "\ud800 half"}\n{"content": "last"}'
    path = tmp_path / "rows.jsonl"
    path.write_bytes(pack(text.encode(encoding, "surrogatepass")))
    for limit in (None, 100):
        found = all_files(Source(name="rows", kind="jsonl", path=str(path), files_per_shard=1, max_files=limit))
        expected = [("row-1", "é = 1\u010a"), ("row-2", None), ("row-3", "x = 2"), ("row-4", None), ("row-5", "last")]
        assert [(f.path, f.text) for f in found] == expected[: len(found)]
        assert [f.error for f in found] == [None, "no_json", None, "no_utf8", None][: len(found)]
        assert len(found) == (5 if encoding.startswith("utf-16") else 3)


def test_a_row_whose_key_stands_twice_is_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"content": "x", "content": "y"}\n{"content": "z", "content": "z"}\n')
    found = all_files(Source(name="rows", kind="jsonl", path=str(path)))
    assert [(f.text, f.error) for f in found] == [(None, "repeated_key"), ("z", None)]


def test_a_file_is_the_same_place_only_in_the_same_repository(tmp_path):
    rows = [{"content": "x = 1\n", "max_stars_repo_path": "six.py", "max_stars_repo_name": r} for r in ("a/b", "c/d")]
    found = all_files(rows_source(tmp_path / "rows", rows, "jsonl"))
    assert [f.path for f in found] == ["a/b/six.py", "c/d/six.py"]


def test_the_listing_changes_with_the_text_of_a_file_and_not_with_its_time(tmp_path):
    tree(tmp_path, {"a.py": "x = 1\n", "b.py": "y = 1\n"})
    before = sources.listing(tree_source(tmp_path)).fingerprint
    os.utime(tmp_path / "a.py", (1, 1))
    assert sources.listing(tree_source(tmp_path)).fingerprint == before
    (tmp_path / "a.py").write_text("x = 2\n")
    edited = sources.listing(tree_source(tmp_path)).fingerprint
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert len({before, edited, sources.listing(tree_source(tmp_path)).fingerprint}) == 3


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_listing_changes_with_the_text_of_a_row(tmp_path, kind):
    prints = [
        sources.listing(rows_source(tmp_path / "rows", [{"content": text}], kind)).fingerprint
        for text in ("x = 1", "x = 2")
    ]
    assert prints[0] != prints[1]


@pytest.mark.parametrize("kind", ["tree", "jsonl", "parquet"])
def test_a_wrong_path_is_named_with_its_source(tmp_path, kind):
    source = Source(name="mine", kind=kind, path=str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match=r"source 'mine': no (directory|file) .*absent"):
        sources.listing(source)


def test_a_tree_without_python_is_an_error(tmp_path):
    tree(tmp_path, {"README.md": "hello"})
    with pytest.raises(ValueError, match=r"source 'here': no \.py files under"):
        sources.listing(tree_source(tmp_path))


def test_the_standard_library_has_its_licence_and_no_site_packages():
    source = Source(name="stdlib", kind="stdlib", exclude=("test/",))
    paths = tree_paths(source)
    assert "textwrap.py" in paths and not [p for p in paths if p.startswith(("site-packages", "test/"))]
    assert next(sources.read(source, sources.listing(source).shards[0])).license == "PSF-2.0"


@pytest.mark.parametrize(
    "settings", [{"kind": "tree"}, {"kind": "hub"}, {"kind": "jsonl"}, {"kind": "stdlib", "files_per_shard": 0}]
)
def test_a_source_without_what_its_kind_needs_is_refused(settings):
    with pytest.raises(ValidationError):
        Source(name="mine", **settings)


# -- encodings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, text",
    [
        ("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"), "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        ("#!/usr/bin/python\n# vim: set fileencoding=gbk :\nx = '中'\n".encode("gbk"), None),
        ("\n\n# coding: latin-1\nx = 'é'\n".encode("latin-1"), "not_utf8"),
        ("x = 1\n# coding: latin-1\ny = 'é'\n".encode("latin-1"), "not_utf8"),
        (b"# coding: rot13\nx = '\xe9'\n", "not_utf8"),
        (b"# coding: unicode_escape\nx = '\xe9'\n", "not_utf8"),
        (b"# coding: punycode\nx = '\xe9'\n", "not_utf8"),
        (b"# coding: latin-0815\nx = '\xe9'\n", "not_utf8"),
        (b"# coding: gbk\nx = '\xff'\n", "not_utf8"),
        ("# coding: latin-1\nx = 'é'\n".encode(), "# coding: latin-1\nx = 'é'\n"),
        (b"\xef\xbb\xbfx = 1\n", "\ufeffx = 1\n"),
    ],
)
def test_a_declared_encoding_is_honoured_where_utf8_does_not_do(tmp_path, data, text):
    tree(tmp_path, {"a.py": data})
    (file,) = all_files(tree_source(tmp_path))
    if text == "not_utf8":
        assert (file.text, file.error) == (None, "not_utf8")
    else:
        assert (file.text, file.error) == (text or data.decode("gbk"), None)


# -- installed packages ----------------------------------------------------------------------------


def test_installed_packages_bring_their_licences(tmp_path):
    tree(
        tmp_path,
        {
            "demo/a.py": "x = 1\n",
            "stray.py": "x = 2\n",
            "demo-1.0.dist-info/METADATA": "Name: demo\nVersion: 1.0\nLicense-Expression: MIT\n",
            "demo-1.0.dist-info/RECORD": "demo/a.py,,\ndemo-1.0.dist-info/METADATA,,\n",
        },
    )
    source = Source(name="installed", kind="packages", path=str(tmp_path))
    found = all_files(source)
    assert [(f.path, f.repo, f.license) for f in found] == [
        ("demo/a.py", "demo==1.0", "MIT"),
        ("stray.py", None, "unknown"),
    ]


def test_the_packages_of_the_running_python_are_the_default():
    source = Source(name="installed", kind="packages")
    assert (tree_root(source) / "pytest").is_dir()
