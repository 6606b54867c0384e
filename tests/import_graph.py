"""Who imports whom: read from the syntax trees of all files of a folder, nothing is run.

In: a folder and the names of its packages and modules. Out: `Tree`, with what each module imports.
An import inside a function counts like one at the top, and so does one under `TYPE_CHECKING`.
`from a import b` is an import of `a.b` where that is a module, and of `a` where it is not. Python
also runs the packages above a module that is imported. That does not count.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path


@dataclass(frozen=True)
class Tree:
    """The modules below `root` of the packages and modules `tops`."""

    root: Path
    tops: tuple[str, ...]

    @cached_property
    def files(self) -> dict[str, Path]:
        """`{"store.files": .../store/files.py, "store": .../store/__init__.py}`."""
        found = [path for top in self.tops for path in [self.root / f"{top}.py", *(self.root / top).rglob("*.py")]]
        names = {path: ".".join(path.relative_to(self.root).with_suffix("").parts) for path in found if path.exists()}
        return {name.removesuffix(".__init__"): path for path, name in sorted(names.items())}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Per module, the dotted names that it imports: `{"a": {"b.c.name", "os"}}`."""
        return {name: {target for target, _ in self._bound(name)} for name in self.files}

    @cached_property
    def graph(self) -> dict[str, set[str]]:
        """Per module those of our modules that it imports."""
        return {name: {m for target in wanted if (m := self.module(target))} for name, wanted in self.imports.items()}

    @cached_property
    def uses(self) -> dict[str, set[str]]:
        """Per module, what it imports of ours, and the names it reads of it: `a.b`, `a.b.name`."""
        found = {}
        for name, path in self.files.items():
            bound = {called: target for target, called in self._bound(name) if called and target in self.files}
            read = {
                f"{bound[node.value.id]}.{node.attr}"
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound
            }
            found[name] = read | {target for target in self.imports[name] if self.module(target)}
        return found

    def module(self, target: str) -> str | None:
        """Our module that `a.b.name` is in, `a.b`; None for the names of others."""
        for name in (target, target.rpartition(".")[0]):
            if name in self.files:
                return name
        return None

    def rooms(self, top: str) -> dict[str, list[str] | None]:
        """The packages below a package, at any depth, with their `__all__` or None."""
        return {
            name: exported(path.read_text())
            for name, path in self.files.items()
            if name.startswith(f"{top}.") and path.name == "__init__.py"
        }

    def _bound(self, name: str) -> list[tuple[str, str | None]]:
        """What a module imports, and the name that it has there (None where there is none)."""
        path = self.files[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        return imported(path.read_text(), package)


def imported(source: str, package: str = "") -> list[tuple[str, str | None]]:
    """`("a.b", "called")` for `from a import b as called`; relative names start at the package."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [
                (alias.name, alias.asname or ("." not in alias.name and alias.name) or None) for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom):
            place = resolve_name("." * node.level + (node.module or ""), package)
            found += [(f"{place}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            argument = node.args[0] if node.args else None
            if isinstance(argument, ast.Constant):
                found.append((str(argument.value), None))
    return found


def exported(source: str) -> list[str] | None:
    """`__all__` of a module, None where it has none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def defined(source: str) -> set[str]:
    """The names that the top level of a module binds."""
    found = {called for _, called in imported(source) if called}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The largest sets of modules in which each imports each, directly or by way of others."""
    reached = {name: _reached(graph, name) for name in graph}
    found = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(map(set, filter(None, found)), key=sorted)


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found, waiting = set[str](), [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def side_doors(tree: Tree, top: str) -> list[str]:
    """Where a module enters a room of `top` by what is not in the room's `__all__`."""
    rooms = tree.rooms(top)
    return sorted(
        f"{name} uses {target}: {room}.__all__ has no {entered}"
        for name, used in tree.uses.items()
        for target in used
        for room, names in rooms.items()
        if target.startswith(f"{room}.") and name != room and not name.startswith(f"{room}.")
        if (entered := target.removeprefix(f"{room}.").split(".")[0]) not in (names or [])
    )


def private_uses(tree: Tree) -> list[str]:
    """Where a module uses a name of another one that starts with one underscore."""
    return sorted(
        f"{name} uses {target}"
        for name, used in tree.uses.items()
        for target in used
        if any(part.startswith("_") and not part.startswith("__") for part in target.split("."))
    )
