"""snippet_occurrences: every place of every text, and its key is a key."""

import json
import shutil

from builders import raw_pool, snippet_occurrences
from store import CONTRACTS, Store, content_id
from tests.tiny_recipes import read, recipe, tree

ADD = 'def add(a, b):\n    """Add two numbers."""\n    return a + b'
HALF = 'def half(a):\n    """Half of a number."""\n    return a / 2'


def test_a_text_in_two_files_is_one_row_of_raw_pool_and_two_occurrences(tmp_path):
    root = tree(tmp_path / "code", {"a.py": f"import x\n\n{ADD}\n", "lib/b.py": f"{HALF}\n\n\n{ADD}\n"})
    source = {"name": "here", "kind": "tree", "path": str(root), "license": "MIT"}
    store, made = Store(tmp_path / "store"), recipe(root, sources=[source])
    raw_pool.build(store, made.sources, made.executor)
    snippet_occurrences.build(store, made.sources, made.executor)
    add, half = content_id("python", ADD), content_id("python", HALF)
    assert {r["snippet_id"] for r in read(store, "raw_pool")} == {add, half}
    rows = read(store, "snippet_occurrences")
    assert [(r["path"], r["line"]) for r in rows if r["snippet_id"] == add] == [("a.py", 3), ("lib/b.py", 6)]
    assert rows == sorted(rows, key=lambda r: (r["snippet_id"], r["path"], r["line"]))
    assert {(r["source"], r["license"], r["repo"], r["num_lines"]) for r in rows} == {("here", "MIT", None, 3)}


def test_the_same_path_in_two_repositories_is_two_places(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        {"content": ADD, "max_stars_repo_path": "six.py", "max_stars_repo_name": r, "max_stars_repo_licenses": [found]}
        for r, found in (("a/one", "MIT"), ("b/two", "BSD-2-Clause"))
    ]
    rows += [{"content": "x = (", "max_stars_repo_path": "six.py", "max_stars_repo_name": r} for r in ("c/x", "d/y")]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    made = recipe(tmp_path, sources=[{"name": "rows", "kind": "jsonl", "path": str(path)}])
    store = Store(tmp_path / "store")
    raw_pool.build(store, made.sources, made.executor)
    snippet_occurrences.build(store, made.sources, made.executor)
    found = read(store, "snippet_occurrences")
    assert [(r["repo"], r["path"], r["license"]) for r in found] == [
        ("a/one", "a/one/six.py", "MIT"),
        ("b/two", "b/two/six.py", "BSD-2-Clause"),
    ]
    key = CONTRACTS["snippet_occurrences"].key
    assert len({tuple(r[k] for k in key) for r in found}) == len(found)
    raw_pool.build_rejects(store, made.sources, made.executor)
    rejected = read(store, "rejects", stage="extract")
    assert len({r["item_id"] for r in rejected if r["reason"] == "syntax_error"}) == 2


def test_lost_staging_is_made_again(tmp_path):
    root = tree(tmp_path / "code", {"a.py": ADD, "b.py": ADD})
    store, made = Store(tmp_path / "store"), recipe(root)
    raw_pool.build(store, made.sources, made.executor)
    shutil.rmtree(store.scratch(""))
    assert snippet_occurrences.build(store, made.sources, made.executor).rows == 2


def test_it_is_a_table_of_this_raw_pool(tmp_path):
    root = tree(tmp_path / "code", {"a.py": ADD})
    store, made = Store(tmp_path / "store"), recipe(root)
    raw_pool.build(store, made.sources, made.executor)
    first = snippet_occurrences.build(store, made.sources, made.executor)
    assert first.plan.inputs == {"raw_pool": store.record("raw_pool").content}
    tree(root, {"b.py": ADD})
    raw_pool.build(Store(tmp_path / "store", force=True), made.sources, made.executor)
    assert store.record("snippet_occurrences").status == "stale"
    assert snippet_occurrences.build(store, made.sources, made.executor).rows == 2
