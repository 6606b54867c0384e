"""raw_pool: each text once, every file accounted for, and a killed extraction goes on where it stopped."""

import os

import pyarrow.parquet as pq
import pytest

from builders import raw_pool, rejects, snippet_checks, snippet_occurrences
from store import ContractError, Store, content_id
from tests.tiny_recipes import read, recipe, tree

ADD = 'def add(a, b):\n    """Add two numbers."""\n    return a + b'
SUB = 'def sub(a, b):\n    """Subtract two numbers."""\n    return a - b'
METHOD = 'class A:\n    def add(a, b):\n        """Add two numbers."""\n        return a + b\n'


def build_rejects(store, made):
    staging = {"extracted": raw_pool.staging_paths(store, raw_pool.plan(made))}
    return rejects.build(store, "extract", store.input("raw_pool"), extra=staging)


def test_one_row_per_text_with_what_is_read_off_it(tmp_path):
    root = tree(tmp_path / "code", {"b.py": ADD + "\n", "a.py": f"{SUB}\n\n\n{METHOD}\n\n{ADD}\n"})
    store = Store(tmp_path / "store")
    raw_pool.build(store, recipe(root))
    rows = {r["code"]: r for r in read(store, "raw_pool")}
    assert set(rows) == {ADD, SUB}
    assert rows[ADD] == {
        "snippet_id": content_id("python", ADD),
        "language": "python",
        "name": "A.add",  # the first occurrence: a.py, line 7
        "code": ADD,
        "signature": "def add(a, b):",
        "docstring": "Add two numbers.",
        "license": "unknown",
        "num_lines": 3,
        "num_chars": len(ADD),
        "is_method": True,
        "is_async": False,
    }


def test_rows_do_not_depend_on_how_files_are_cut_into_shards(tmp_path):
    root = tree(tmp_path / "code", {f"{n}.py": ADD.replace("add", f"add_{n % 3}") + "\n" for n in range(7)})
    rows = []
    for size in (1, 3, 100):
        source = {"name": "here", "kind": "tree", "path": str(root), "files_per_shard": size}
        store = Store(tmp_path / f"store-{size}")
        raw_pool.build(store, recipe(root, sources=[source]))
        rows.append(read(store, "raw_pool"))
    assert rows[0] == rows[1] == rows[2]
    assert [r["snippet_id"] for r in rows[0]] == sorted(r["snippet_id"] for r in rows[0]) and len(rows[0]) == 3


def test_every_file_gives_a_function_or_a_reject(tmp_path):
    files = {
        "good.py": ADD,
        "python2.py": "def f():\n    'Doc.'\n    print 'two'\n",
        "broken.py": "def f(:\n",
        "empty.py": "",
        "bare.py": "def f():\n    return 1\n",
        "latin.py": b"x = '\xe9'\n",
        "null.py": b"x\0",
        "deep.py": "x = " + "-" * 100_000 + "1\n",
    }
    root = tree(tmp_path / "code", files)
    store, made = Store(tmp_path / "store"), recipe(root)
    raw_pool.build(store, made)
    build_rejects(store, made)
    found = {r["item_id"]: r["reason"] for r in read(store, "rejects", stage="extract")}
    assert found == {
        content_id("here", path): reason
        for path, reason in {
            "python2.py": "syntax_error",
            "broken.py": "syntax_error",
            "empty.py": "no_documented_function",
            "bare.py": "no_documented_function",
            "latin.py": "not_utf8",
            "null.py": "null_bytes",
            "deep.py": "syntax_error",
        }.items()
    }
    assert len(read(store, "raw_pool")) == 1


def test_odd_but_valid_files_go_through_to_the_checks(tmp_path):
    files = {
        "surrogate.py": 'def f(a):\n    """Half of \\ud83d and \\0."""\n    return a\n',
        "decorated.py": "@(\n    deco\n)\ndef g(a):\n    'Doc.'\n    return a\n",
        "page.py": "\x0cdef h(a):\n 'Doc.'\n return a\n",
        "escape.py": "def i(a):\n    'Doc \\d.'\n    return a\n",
    }
    root = tree(tmp_path / "code", files)
    store, made = Store(tmp_path / "store"), recipe(root)
    raw_pool.build(store, made)
    snippet_checks.build(store, made)
    assert {r["name"] for r in read(store, "raw_pool")} == {"f", "g", "h", "i"}
    assert len(read(store, "snippet_checks")) == 4


def test_a_tree_without_documented_functions_gives_an_empty_table(tmp_path):
    store, made = Store(tmp_path / "store"), recipe(tree(tmp_path / "code", {"a.py": "x = 1\n"}))
    assert raw_pool.build(store, made).rows == 0
    assert build_rejects(store, made).rows == 1


def test_a_build_killed_between_staging_and_writing_stages_only_what_is_absent(tmp_path):
    root = tree(tmp_path / "code", {f"{n}.py": ADD.replace("add", f"add_{n}") for n in range(4)})
    source = {"name": "here", "kind": "tree", "path": str(root), "files_per_shard": 1}
    made = recipe(root, sources=[source])
    whole = Store(tmp_path / "whole")
    raw_pool.build(whole, made)

    store = Store(tmp_path / "store")
    wanted = raw_pool.plan(made)
    store.begin(wanted)
    raw_pool.extract(store, wanted, made)
    paths = raw_pool.staging_paths(store, wanted)
    assert len(paths) == 4
    os.unlink(paths[2])
    (tmp_path / "half.tmp").write_bytes(b"PAR1")
    os.replace(tmp_path / "half.tmp", f"{paths[2]}.12345678.tmp")  # what a kill leaves behind
    times = {p: os.stat(p).st_mtime_ns for p in paths if p != paths[2]}

    assert not store.is_complete("raw_pool")
    raw_pool.build(store, made)
    assert {p: os.stat(p).st_mtime_ns for p in times} == times
    assert store.record("raw_pool").content == whole.record("raw_pool").content


def test_building_again_does_nothing_and_says_so(tmp_path):
    said = []
    root = tree(tmp_path / "code", {"a.py": ADD})
    store, made = Store(tmp_path / "store", said.append), recipe(root)
    first = raw_pool.build(store, made)
    assert raw_pool.build(store, made) == first
    assert said[-1] == "raw_pool: up to date, 1 rows"


@pytest.mark.parametrize("text", [SUB, ADD.replace("a + b", "b + a")])
def test_a_changed_source_file_is_another_plan_and_refused(tmp_path, text):
    root = tree(tmp_path / "code", {"a.py": ADD, "b.py": "x = 1\n"})
    store, made = Store(tmp_path / "store"), recipe(root)
    raw_pool.build(store, made)
    (root / "a.py").write_text(text)
    with pytest.raises(ContractError, match=r"raw_pool was built under another plan:(.|\n)*listing"):
        raw_pool.build(store, made)
    assert [r["code"] for r in read(store, "raw_pool")] == [ADD]
    raw_pool.build(Store(tmp_path / "store", force=True), made)
    assert [r["code"] for r in read(store, "raw_pool")] == [text]


def test_staging_holds_every_function_and_every_reject(tmp_path):
    root = tree(tmp_path / "code", {"a.py": f"{ADD}\n\n\n{ADD}\n", "b.py": "def f(:\n"})
    made = recipe(root)
    staged = raw_pool.stage(made.sources[0], 0)
    assert staged.schema == raw_pool.STAGING
    assert [(r["path"], r["line"], r["reject"]) for r in staged.to_pylist()] == [
        ("a.py", 1, None),
        ("a.py", 6, None),
        ("b.py", None, "syntax_error"),
    ]


def test_two_sources_of_the_same_text(tmp_path):
    one, two = tree(tmp_path / "one", {"a.py": ADD}), tree(tmp_path / "two", {"a.py": ADD, "b.py": SUB})
    sources = [
        {"name": "z-first", "kind": "tree", "path": str(one), "license": "MIT"},
        {"name": "a-second", "kind": "tree", "path": str(two), "license": "BSD-3-Clause"},
    ]
    store, made = Store(tmp_path / "store"), recipe(one, sources=sources)
    raw_pool.build(store, made)
    snippet_occurrences.build(store, made)
    assert {r["code"]: r["license"] for r in read(store, "raw_pool")} == {ADD: "BSD-3-Clause", SUB: "BSD-3-Clause"}
    assert len(read(store, "snippet_occurrences")) == 3
    assert pq.read_table(store.shard_paths("raw_pool")).num_rows == 2
