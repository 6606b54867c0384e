"""raw_pool: each text once, every file accounted for, and a killed extraction is resumed."""

import io
import os
import shutil
import tarfile

import pyarrow.parquet as pq
import pytest

from builders import raw_pool, snippet_checks, snippet_occurrences
from builders.recipe import Recipe
from store import ContractError, Record, Store, content_id
from store.lock import coordinator
from tests.rows import make_stale
from tests.tiny_recipes import read, recipe, tree

ADD = 'def add(a, b):\n    """Add two numbers."""\n    return a + b'
staged_by_workers = raw_pool._staged_by_workers
SUB = 'def sub(a, b):\n    """Subtract two numbers."""\n    return a - b'
METHOD = 'class A:\n    def add(a, b):\n        """Add two numbers."""\n        return a + b\n'


def build(store: Store, made: Recipe) -> Record:
    return raw_pool.build(store, made.sources, made.executor)


def test_one_row_per_text_with_what_is_read_off_it(tmp_path):
    root = tree(tmp_path / "code", {"b.py": ADD + "\n", "a.py": f"{SUB}\n\n\n{METHOD}\n\n{ADD}\n"})
    store = Store(tmp_path / "store")
    build(store, recipe(root))
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
        "license_source": "none",
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
        build(store, recipe(root, sources=[source]))
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
        "half.py": f"{ADD}\n\n\ndef g():\n    return 1\n\n\ndef h():\n    return 2\n",
        "null.py": b"x\0",
        "deep.py": "x = " + "-" * 100_000 + "1\n",
    }
    root = tree(tmp_path / "code", files)
    store, made = Store(tmp_path / "store"), recipe(root)
    build(store, made)
    raw_pool.build_rejects(store, made.sources, made.executor)
    found = {(r["item_kind"], r["item_id"], r["reason"], r["value"]) for r in read(store, "rejects", stage="extract")}
    assert found == {
        (kind, content_id("here", path), reason, value)
        for kind, path, reason, value in [
            ("file", "python2.py", "syntax_error", None),
            ("file", "broken.py", "syntax_error", None),
            ("file", "empty.py", "no_documented_function", None),
            ("file", "bare.py", "no_documented_function", None),
            ("functions", "bare.py", "undocumented_functions", 1.0),
            ("functions", "half.py", "undocumented_functions", 2.0),
            ("file", "latin.py", "not_utf8", None),
            ("file", "null.py", "null_bytes", None),
            ("file", "deep.py", "syntax_error", None),
        ]
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
    build(store, made)
    snippet_checks.build(store, made.executor)
    assert {r["name"] for r in read(store, "raw_pool")} == {"f", "g", "h", "i"}
    assert len(read(store, "snippet_checks")) == 4


def test_a_tree_without_documented_functions_gives_an_empty_table(tmp_path):
    store, made = Store(tmp_path / "store"), recipe(tree(tmp_path / "code", {"a.py": "x = 1\n"}))
    assert raw_pool.build(store, made.sources, made.executor).rows == 0
    assert raw_pool.build_rejects(store, made.sources, made.executor).rows == 1


def test_a_build_killed_between_staging_and_writing_stages_only_what_is_absent(tmp_path):
    root = tree(tmp_path / "code", {f"{n}.py": ADD.replace("add", f"add_{n}") for n in range(4)})
    source = {"name": "here", "kind": "tree", "path": str(root), "files_per_shard": 1}
    made = recipe(root, sources=[source])
    whole = Store(tmp_path / "whole")
    raw_pool.build(whole, made.sources, made.executor)

    store = Store(tmp_path / "store")
    wanted = raw_pool.plan(made.sources)
    store.begin(wanted)
    raw_pool.extract(store, wanted, made.sources, made.executor)
    paths = raw_pool.staging_paths(store, wanted)
    assert len(paths) == 4
    os.unlink(paths[2])
    (tmp_path / "half.tmp").write_bytes(b"PAR1")
    os.replace(tmp_path / "half.tmp", f"{paths[2]}.12345678.tmp")  # what a kill leaves behind
    times = {p: os.stat(p).st_mtime_ns for p in paths if p != paths[2]}

    assert not store.is_complete("raw_pool")
    build(store, made)
    assert {p: os.stat(p).st_mtime_ns for p in times} == times
    assert store.record("raw_pool").content == whole.record("raw_pool").content


def test_building_again_does_nothing_and_says_so(tmp_path):
    said = []
    root = tree(tmp_path / "code", {"a.py": ADD})
    store, made = Store(tmp_path / "store", said.append), recipe(root)
    first = build(store, made)
    assert raw_pool.build(store, made.sources, made.executor) == first
    assert said[-1] == "raw_pool: up to date, 1 row"


@pytest.mark.parametrize("text", [SUB, ADD.replace("a + b", "b + a")])
def test_a_changed_source_file_is_another_plan_and_refused(tmp_path, text):
    root = tree(tmp_path / "code", {"a.py": ADD, "b.py": "x = 1\n"})
    store, made = Store(tmp_path / "store"), recipe(root)
    build(store, made)
    (root / "a.py").write_text(text)
    with pytest.raises(ContractError, match=r"raw_pool was built under another plan(.|\n)*listing"):
        build(store, made)
    assert [r["code"] for r in read(store, "raw_pool")] == [ADD]
    raw_pool.build(Store(tmp_path / "store", force=True), made.sources, made.executor)
    assert [r["code"] for r in read(store, "raw_pool")] == [text]


def test_staging_holds_every_function_and_every_reject(tmp_path):
    text = f"{ADD}\n\n\n{ADD}\n\n\ndef bare():\n    pass\n"
    root = tree(tmp_path / "code", {"a.py": text, "b.py": "def f(:\n"})
    store, made = Store(tmp_path / "store"), recipe(root)
    wanted = raw_pool.plan(made.sources)
    raw_pool.extract(store, wanted, made.sources, made.executor)
    (path,) = raw_pool.staging_paths(store, wanted)
    staged = pq.read_table(path)
    assert staged.schema == raw_pool.STAGING
    assert [(r["path"], r["line"], r["reject"], r["value"]) for r in staged.to_pylist()] == [
        ("a.py", None, "undocumented_functions", 1.0),
        ("a.py", 1, None, None),
        ("a.py", 6, None, None),
        ("b.py", None, "syntax_error", None),
    ]


def test_staging_goes_when_all_that_is_made_of_it_is_built_and_is_not_missed(tmp_path):
    store, made = Store(tmp_path / "store"), recipe(tree(tmp_path / "code", {"a.py": ADD, "b.py": "x = 1\n"}))
    build(store, made)
    raw_pool.clean(store)
    assert raw_pool.staging_paths(store, raw_pool.plan(made.sources))
    snippet_occurrences.build(store, made.sources, made.executor)
    raw_pool.clean(store)
    assert raw_pool.staging_paths(store, raw_pool.plan(made.sources))
    raw_pool.build_rejects(store, made.sources, made.executor)
    raw_pool.clean(store)
    assert not os.listdir(store.scratch(""))
    assert (
        raw_pool.build(store, made.sources, made.executor).rows
        == snippet_occurrences.build(store, made.sources, made.executor).rows
        == 1
    )
    assert raw_pool.build_rejects(store, made.sources, made.executor).rows == 1
    assert not os.listdir(store.scratch(""))


def test_rejects_do_not_need_the_staging_that_made_raw_pool(tmp_path):
    store, made = Store(tmp_path / "store"), recipe(tree(tmp_path / "code", {"a.py": "x = 1\n"}))
    build(store, made)
    shutil.rmtree(store.scratch(""))
    assert raw_pool.build_rejects(store, made.sources, made.executor).rows == 1


def test_staging_of_another_plan_is_removed(tmp_path):
    root = tree(tmp_path / "code", {"a.py": ADD})
    store, made = Store(tmp_path / "store"), recipe(root)
    old = raw_pool.plan(made.sources)
    build(store, made)
    tree(root, {"b.py": SUB})
    forced = Store(tmp_path / "store", force=True)
    raw_pool.build(forced, made.sources, made.executor)
    assert not raw_pool.staging_paths(store, old)
    assert len(raw_pool.staging_paths(store, raw_pool.plan(made.sources))) == 1


def test_force_extracts_nothing_where_nothing_is_rebuilt(tmp_path):
    root = tree(tmp_path / "code", {"a.py": ADD})
    store, made = Store(tmp_path / "store", force=True), recipe(root)
    raw_pool.build(store, made.sources, made.executor)
    built = raw_pool.build_rejects(store, made.sources, made.executor)
    shutil.rmtree(store.scratch(""))
    assert raw_pool.build_rejects(store, made.sources, made.executor) == built
    assert raw_pool.build(store, made.sources, made.executor) == store.record("raw_pool")
    assert not os.path.exists(store.scratch(""))
    make_stale(store, "rejects", stage="extract")
    assert raw_pool.build_rejects(store, made.sources, made.executor).rows == built.rows == 0
    assert raw_pool.staging_paths(store, raw_pool.plan(made.sources))


def test_workers_extract_the_same_rows_and_need_a_coordinator(tmp_path, monkeypatch):
    root = tree(tmp_path / "code", {f"{n}.py": ADD.replace("add", f"add_{n}") for n in range(6)})
    source = {"name": "here", "kind": "tree", "path": str(root), "files_per_shard": 2}
    made = recipe(root, sources=[source], executor={"workers": 2})
    monkeypatch.setattr(raw_pool, "WORKER_BYTES", 1)
    alone, shared = Store(tmp_path / "alone"), Store(tmp_path / "shared")
    pids = []
    monkeypatch.setattr(raw_pool, "_staged_by_workers", lambda *a: pids.append(a) or staged_by_workers(*a))
    raw_pool.build(alone, made.sources, made.executor)
    assert not pids
    with coordinator(shared.root):
        raw_pool.build(shared, made.sources, made.executor)
    assert len(pids) == 1
    assert alone.record("raw_pool").content == shared.record("raw_pool").content


def test_a_file_that_stands_twice_in_an_archive_is_one_place(tmp_path):
    path = tmp_path / "code.tar"
    with tarfile.open(path, "w") as archive:
        for _ in range(2):
            info = tarfile.TarInfo("a.py")
            info.size = len(ADD)
            archive.addfile(info, io.BytesIO(ADD.encode()))
    made = recipe(tmp_path, sources=[{"name": "old", "kind": "archive", "path": str(path)}])
    store = Store(tmp_path / "store")
    build(store, made)
    assert snippet_occurrences.build(store, made.sources, made.executor).rows == 1


def test_two_sources_of_the_same_text(tmp_path):
    one, two = tree(tmp_path / "one", {"a.py": ADD}), tree(tmp_path / "two", {"a.py": ADD, "b.py": SUB})
    sources = [
        {"name": "z-first", "kind": "tree", "path": str(one), "license": "MIT"},
        {"name": "a-second", "kind": "tree", "path": str(two), "license": "BSD-3-Clause"},
    ]
    store, made = Store(tmp_path / "store"), recipe(one, sources=sources)
    build(store, made)
    snippet_occurrences.build(store, made.sources, made.executor)
    assert {r["code"]: r["license"] for r in read(store, "raw_pool")} == {ADD: "BSD-3-Clause", SUB: "BSD-3-Clause"}
    assert len(read(store, "snippet_occurrences")) == 3
    assert pq.read_table(store.shard_paths("raw_pool")).num_rows == 2


def test_ranges_of_ids_give_what_one_query_gives(tmp_path, monkeypatch):
    root = tree(tmp_path / "code", {f"{n}.py": ADD.replace("add", f"add_{n % 20}") + "\n" for n in range(30)})
    rows = []
    for together in (1000, 1):
        monkeypatch.setattr(raw_pool, "ROWS_SORTED_TOGETHER", together)
        store = Store(tmp_path / f"store-{together}")
        build(store, recipe(root))
        rows.append(read(store, "raw_pool"))
    assert rows[0] == rows[1] and len(rows[0]) == 20


def test_staging_stays_while_what_is_made_of_it_comes_from_another_raw_pool(tmp_path):
    store, made = Store(tmp_path / "store"), recipe(tree(tmp_path / "code", {"a.py": ADD}))
    build(store, made)
    snippet_occurrences.build(store, made.sources, made.executor)
    raw_pool.build_rejects(store, made.sources, made.executor)
    raw = store.record("raw_pool")
    store.save(raw.model_copy(update={"content": "of a later build"}))
    raw_pool.clean(store)
    assert raw_pool.staging_paths(store, raw_pool.plan(made.sources)), "occurrences and rejects are still to be made"
    store.save(raw)
    raw_pool.clean(store)
    assert not raw_pool.staging_paths(store, raw_pool.plan(made.sources))


def test_the_staging_is_read_once_however_many_ranges_there_are(tmp_path, monkeypatch):
    root = tree(tmp_path / "code", {f"{n}.py": ADD.replace("add", f"add_{n}") + "\n" for n in range(30)})
    monkeypatch.setattr(raw_pool, "ROWS_SORTED_TOGETHER", 1)
    read_once, opened = raw_pool._functions, []
    monkeypatch.setattr(raw_pool, "_functions", lambda staging: opened.extend(staging) or read_once(staging))
    store, made = Store(tmp_path / "store"), recipe(root)
    build(store, made)
    assert opened == raw_pool.staging_paths(store, raw_pool.plan(made.sources)) and len(read(store, "raw_pool")) == 30
    assert not os.path.exists(f"{store.scratch('extract-' + store.record('raw_pool').plan.fingerprint)}/by-id")
