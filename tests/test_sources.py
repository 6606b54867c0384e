"""Sources: every file is given out once, whole or with the reason why not, and a changed file changes the plan."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from builders import sources
from builders.recipe import Source
from tests.tiny_recipes import tree


def tree_source(root, **settings) -> Source:
    return Source(name="here", kind="tree", path=str(root), **settings)


def all_files(source: Source) -> list[sources.SourceFile]:
    return [f for index in range(sources.listing(source).num_shards) for f in sources.files(source, index)]


def test_unreadable_files_are_given_out_with_their_reason(tmp_path):
    tree(
        tmp_path,
        {
            "good.py": "x = 'é'\n",
            "latin.py": "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"),
            "null.py": b"x = 1\0\n",
            "huge.py": b"#" * (sources.MAX_FILE_BYTES + 1),
            "largest.py": b"#" * sources.MAX_FILE_BYTES,
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
    assert sources.tree_paths(tree_source(root)) == ["a/one.py"]


def test_a_file_that_vanishes_while_it_is_read_is_unreadable(tmp_path):
    tree(tmp_path, {"a.py": "1\n", "b.py": "2\n"})
    reading = sources.files(tree_source(tmp_path), 0)
    assert next(reading).text == "1\n"
    (tmp_path / "b.py").unlink()
    assert (next(reading).error, sources.tree_paths(tree_source(tmp_path))) == ("unreadable", ["a.py"])


def test_file_names_that_are_not_utf8_can_be_stored(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9.py"), "w") as handle:
        handle.write("x = 1\n")
    (file,) = all_files(tree_source(tmp_path))
    assert (file.path, file.text) == ("caf\\udce9.py", "x = 1\n")
    assert pa.array([file.path]).to_pylist() == [file.path]


def test_excluded_prefixes_and_the_order_of_paths(tmp_path):
    tree(tmp_path, {"b.py": "", "a/x.py": "", "a/test/y.py": "", "test/z.py": "", "test_one.py": "", "a-b.py": ""})
    assert sources.tree_paths(tree_source(tmp_path, exclude=("test/", "a/test"))) == [
        "a-b.py",
        "a/x.py",
        "b.py",
        "test_one.py",
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_shards_cut_the_first_max_files(tmp_path, size):
    tree(tmp_path, {f"{n}.py": f"{n}\n" for n in range(10)})
    source = tree_source(tmp_path, max_files=7, files_per_shard=size)
    assert sources.listing(source).num_shards == -(-7 // size)
    assert [f.path for f in all_files(source)] == [f"{n}.py" for n in range(7)]


def rows_source(path, rows, kind, **settings) -> Source:
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
    return Source(name="rows", kind=kind, path=str(path), **settings)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_shards_cut_the_first_max_rows(tmp_path, kind, size):
    rows = [{"content": f"x = {n}\n", "max_stars_repo_path": f"{n}.py"} for n in range(10)]
    source = rows_source(tmp_path / "rows", rows, kind, max_files=7, files_per_shard=size)
    assert sources.listing(source).num_shards == -(-7 // size)
    assert [(f.path, f.text) for f in all_files(source)] == [(f"{n}.py", f"x = {n}\n") for n in range(7)]


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
    found = all_files(rows_source(tmp_path / "rows", rows, kind))
    assert [(f.path, f.repo, f.license, f.error) for f in found] == [
        ("a/b/setup.py", "a/b", "MIT, Apache-2.0", None),
        ("none.py", None, "MIT", "no_content"),
        ("row-2", "a/b", "unknown", "null_bytes"),
    ]


def test_rows_without_any_expected_column(tmp_path):
    (file,) = all_files(rows_source(tmp_path / "rows", [{"text": "x"}], "parquet", license="MIT"))
    assert file == sources.SourceFile("row-0", None, None, "MIT", "no_content")
    (named,) = all_files(rows_source(tmp_path / "rows", [{"text": "x"}], "parquet", content_column="text"))
    assert named.text == "x"


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
    assert sources.listing(source).num_shards == 2
    errors = [None, "no_content", "no_content", "no_content", None, "no_content", None]
    assert [f.error for f in found] == errors
    assert (found[0].text, found[4].path, found[6].text) == ("first", "\\ud83d.py", "last\u2028line")


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
    paths = sources.tree_paths(source)
    assert "textwrap.py" in paths and not [p for p in paths if p.startswith(("site-packages", "test/"))]
    assert next(sources.files(source, 0)).license == "PSF-2.0"


@pytest.mark.parametrize(
    "settings", [{"kind": "tree"}, {"kind": "hub"}, {"kind": "jsonl"}, {"kind": "stdlib", "files_per_shard": 0}]
)
def test_a_source_without_what_its_kind_needs_is_refused(settings):
    with pytest.raises(ValidationError):
        Source(name="mine", **settings)
