"""Imports go one way: store <- queries <- builders <- scoder.py <- commands, and none in a circle.

`training` stands apart and imports none of them. A room of `builders` is entered by the names in
its `__all__`. All is read from the syntax trees of the files (`tests/import_graph.py`), so an
import inside a function counts, too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from store import CONTRACTS
from tests.import_graph import Tree, circles, defined, imported, private_uses, side_doors

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "store": set(),
    "queries": {"store"},
    "builders": {"store", "queries", "training"},
    "training": set(),
    "scoder": {"store", "queries", "builders", "training"},
    "commands": {"store", "queries", "builders", "training", "scoder"},
}
OURS = {*ALLOWED, "tests", "benchmarks"}
TREE = Tree(ROOT, tuple(ALLOWED))
HEAVY = {"torch", "transformers", "vllm", "trl", "peft", "datatrove", "datasets", "pandas", "polars"}
ON_DEMAND = {("store.store", "polars")}
"""`Store.scan` gives a Polars frame: it imports Polars when it is called, and only then."""

WITHOUT_BUILDER = {"comparisons"}
"""Its builder comes with the fits of the weights that read it."""


def tops(module: str) -> set[str]:
    """The top-level names of all imports of a module."""
    return {target.split(".")[0] for target in TREE.imports[module]}


def test_all_packages_are_checked() -> None:
    assert {name.split(".")[0] for name in TREE.files} == set(ALLOWED)


@pytest.mark.parametrize("name", TREE.files)
def test_a_module_imports_only_what_lies_below_it(name: str) -> None:
    package = name.split(".")[0]
    below = tops(name) & OURS - {package}
    assert below <= ALLOWED[package], f"{name} imports {sorted(below - ALLOWED[package])}"


@pytest.mark.parametrize("name", [n for n in TREE.files if n.split(".")[0] in ("store", "queries")])
def test_the_store_and_the_queries_import_nothing_heavy(name: str) -> None:
    assert {(name, heavy) for heavy in tops(name) & HEAVY} <= ON_DEMAND


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(TREE.graph) == []


def test_rooms_are_entered_by_their_names_only() -> None:
    assert side_doors(TREE, "builders") == []


def test_a_name_with_an_underscore_stays_in_its_module() -> None:
    assert private_uses(TREE) == []


@pytest.mark.parametrize(("room", "names"), TREE.rooms("builders").items())
def test_a_room_says_by_which_names_it_is_entered(room: str, names: list[str] | None) -> None:
    assert names, f"{room}/__init__.py needs an __all__"
    there = defined(TREE.files[room].read_text())
    assert [name for name in names if name not in there and f"{room}.{name}" not in TREE.files] == []


def test_builders_holds_one_module_per_table_and_rooms() -> None:
    modules, rooms = entries(ROOT / "builders")
    assert modules == {f"{table}.py" for table in CONTRACTS.keys() - WITHOUT_BUILDER} | {"__init__.py"}
    assert {f"builders.{room}" for room in rooms} <= TREE.rooms("builders").keys()


def entries(folder: Path) -> tuple[set[str], set[str]]:
    """The files of a folder, and its folders but those that hold only what Python compiled."""
    files = {path.name for path in folder.iterdir() if path.is_file()}
    inside = (path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file())
    return files, {parts[0] for parts in inside if len(parts) > 1 and "__pycache__" not in parts}


def loaded(code: str, names: set[str]) -> set[str]:
    """Which of the modules are there after some code."""
    code = f"import sys\n{code}\nprint(*({names!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_opening_a_store_loads_nothing_heavy() -> None:
    assert (
        loaded("import queries.trace, queries.verify, store.catalog, builders.publishing.folder, store.lock", HEAVY)
        == set()
    )


def test_only_the_slurm_executor_loads_datatrove() -> None:
    code = "from builders.executors import build, local, ray, work"
    assert loaded(code, {*HEAVY, "ray"}) == set()
    assert loaded("import builders.executors.slurm", {"datatrove"}) == {"datatrove"}


# -- the checks themselves, on small made-up trees -------------------------------------------------


def tree(folder: Path, sources: dict[str, str]) -> Tree:
    """A tree of files; each folder without an `__init__.py` gets an empty one."""
    for name, source in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in list(Path(name).parents)[:-1]:
            (folder / parent / "__init__.py").touch()
        path.write_text(source)
    return Tree(folder, tuple(sorted({Path(name).parts[0].removesuffix(".py") for name in sources})))


def test_the_check_sees_imports_anywhere() -> None:
    source = (
        "import a.b, c\nfrom d.e import f\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from t import u\n"
        "def g():\n    from h import i as other\n    import importlib\n    importlib.import_module('j.k')\n"
        "    from . import l\n    from ..m import n\n"
    )
    assert set(imported(source, "p.q")) == {
        ("a.b", None),
        ("c", "c"),
        ("d.e.f", "f"),
        ("typing.TYPE_CHECKING", "TYPE_CHECKING"),
        ("t.u", "u"),
        ("h.i", "other"),
        ("importlib", "importlib"),
        ("j.k", None),
        ("p.q.l", "l"),
        ("p.m.n", "n"),
    }


def test_modules_above_an_imported_one_do_not_count(tmp_path: Path) -> None:
    made = tree(tmp_path, {"a/x.py": "from a.y import Z", "a/y.py": "", "b.py": "from a import x, name"})
    assert made.graph == {"a": set(), "a.x": {"a.y"}, "a.y": set(), "b": {"a.x", "a"}}


@pytest.mark.parametrize(
    "last",
    [
        "import a.x",
        "from a import x",
        "def f():\n    from a.x import y",
        "import importlib\ndef f():\n    importlib.import_module('a.x')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import x",
    ],
)
def test_a_circle_is_found_however_it_is_closed(tmp_path: Path, last: str) -> None:
    sources = {"a/x.py": "from b import name", "b.py": "from c import name", "d.py": "import a.x, b, c"}
    assert circles(tree(tmp_path, sources | {"c.py": last}).graph) == [{"a.x", "b", "c"}]
    assert circles(tree(tmp_path, sources | {"c.py": "import a.other, os"}).graph) == []


def test_a_package_that_imports_a_module_which_imports_its_names_is_a_circle(tmp_path: Path) -> None:
    made = tree(tmp_path, {"a/x.py": "from a import name", "a/__init__.py": "from a.x import other\nname = 1"})
    assert circles(made.graph) == [{"a", "a.x"}]


@pytest.mark.parametrize(
    ("outside", "entered"),
    [
        ("from b.room import inner", ["inner"]),
        ("from b.room.inner import name", ["inner"]),
        ("from b import room\nroom.inner", ["inner"]),
        ("def f():\n    import b.room.inner", ["inner"]),
        ("from b.room import *", ["*"]),
        ("from b.room.sub import shown", []),
        ("from b.room.sub.deep import name", ["deep"]),
        ("from b import room\nfrom b.room import door\nfrom b.room.door import name\nroom.sub", []),
    ],
)
def test_a_side_door_is_found(tmp_path: Path, outside: str, entered: list[str]) -> None:
    sources = {
        "b/room/__init__.py": "__all__ = ['door', 'sub']",
        "b/room/door.py": "from b.room import inner\nfrom b.room.sub import shown",
        "b/room/inner.py": "name = 1",
        "b/room/sub/__init__.py": "__all__ = ['shown']",
        "b/room/sub/deep.py": "from b.room.inner import name",
    }
    made = tree(tmp_path, sources | {"b/table.py": outside})
    found = side_doors(made, "b")
    assert sorted({line.rpartition(" ")[2] for line in found}) == entered
    assert all(line.startswith("b.table uses b.room") for line in found)


@pytest.mark.parametrize("inside", ["from b.room.sub import deep", "from b.room import sub\nsub.deep"])
def test_the_room_around_a_room_enters_it_by_its_names_too(tmp_path: Path, inside: str) -> None:
    sources = {"b/room/sub/__init__.py": "__all__ = ['shown']", "b/room/sub/deep.py": "", "b/room/door.py": inside}
    assert side_doors(tree(tmp_path, sources), "b") == [
        "b.room.door uses b.room.sub.deep: b.room.sub.__all__ has no deep"
    ]


@pytest.mark.parametrize("use", ["from a import _hidden", "from a._x import y", "import a\na._hidden", "import a._x"])
def test_a_use_of_a_private_name_is_found(tmp_path: Path, use: str) -> None:
    sources = {"a/__init__.py": "_hidden = 1\n_hidden", "a/_x.py": "", "c.py": "import a.__main__\na.__doc__"}
    found = private_uses(tree(tmp_path, sources | {"b.py": use}))
    assert [line.split()[0] for line in found] == ["b"]


def test_what_is_no_module_of_a_table_is_seen(tmp_path: Path) -> None:
    tree(tmp_path, {"b/pool.py": "", "b/room/door.py": "", "b/__pycache__/pool.pyc": "", "b/notes.txt": ""})
    (tmp_path / "b" / "__pycache__" / "__init__.py").unlink()
    assert entries(tmp_path / "b") == ({"__init__.py", "pool.py", "notes.txt"}, {"room"})
