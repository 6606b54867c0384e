"""Imports go one way: store <- queries <- builders; training stands apart and knows none of them. Read from the syntax
trees of all files, so that an import inside a function counts too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "store": set(),
    "queries": {"store"},
    "builders": {"store", "queries", "training"},
    "training": set(),
}
OURS = {*ALLOWED, "scoder", "commands", "tests", "benchmarks"}
FILES = sorted(p.relative_to(ROOT) for package in ALLOWED for p in (ROOT / package).rglob("*.py"))
HEAVY = {"torch", "transformers", "vllm", "trl", "peft", "datatrove", "datasets", "pandas", "polars"}
ON_DEMAND = {("store/store.py", "polars")}
"""`Store.scan` gives a Polars frame: it imports Polars when it is called, and only then."""


def imported(source: str) -> set[str]:
    """The top-level names of all absolute imports, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant):
                found.add(str(argument.value).split(".")[0])
    return found


def test_the_check_sees_imports_anywhere() -> None:
    source = "import a.b, c\nfrom d.e import f\ndef g():\n    from h import i\n    import importlib\n    importlib.import_module('j.k')"
    assert imported(source) == {"a", "c", "d", "h", "importlib", "j"}


def test_all_four_packages_are_checked() -> None:
    assert {p.parts[0] for p in FILES} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    package = path.parts[0]
    below = imported((ROOT / path).read_text()) & OURS - {package}
    assert below <= ALLOWED[package], f"{path} imports {sorted(below - ALLOWED[package])}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[0] in ("store", "queries")], ids=str)
def test_the_store_and_the_queries_import_nothing_heavy(path: Path) -> None:
    found = {(str(path), name) for name in imported((ROOT / path).read_text()) & HEAVY}
    assert found - ON_DEMAND == set()


def test_opening_a_store_loads_nothing_heavy() -> None:
    code = (
        "import sys, queries.trace, queries.verify, store.catalog, builders.publishing.folder, store.lock\n"
        "from store import Store; Store('nowhere').records()\n"
        f"print(*sorted({HEAVY!r} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
