"""Steps that change the syntax tree of a Python module, but not what it does.

`disguises.py` combines them. In: a tree, which is changed in place, and a random generator where
there is a choice. Out: whether anything changed, or what was renamed. The steps can do what
benchmark solutions need, and no more. To run the tests on the results:

    python benchmarks/decontamination/disguises.py FILE --verify
"""

from __future__ import annotations

import ast
import builtins
import keyword
import random

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

WORDS = (
    "amber birch cedar delta ember fjord grove haven iris jade kestrel lagoon maple nimbus ochre pebble quartz "
    "raven sable thistle umbra violet willow xenon yarrow zephyr anchor beacon compass drift echo flint gale "
    "harbor islet jetty keel lantern mast north oar pier quay rudder sail tide upland vessel wake yonder zenith "
    "arc bolt crank dial engine fuse gear hinge inlet joint knob lever motor nut outlet piston ratchet spring "
    "torque valve washer axle "
)


def renamed(tree: ast.Module, rng: random.Random) -> dict[str, str]:
    """Rename, in place, every function, parameter and variable that the code binds.

    Returns old name -> new name.
    """
    kept = _imported(tree) | _bound_in_classes(tree) | _pattern_names(tree)
    names = sorted(_bound(tree) - kept)
    taken = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | set(keyword.kwlist) | set(dir(builtins))
    fresh = [w for w in WORDS.split() if w not in taken]
    rng.shuffle(fresh)
    fresh += [f"name_{number}" for number in range(len(names))]
    mapping = dict(zip(names, fresh, strict=False))
    rename(tree, mapping)
    return mapping


def rename(tree: ast.Module, mapping: dict[str, str]) -> None:
    """Rename, in place, as the mapping says."""
    _Renamer(mapping, {n.name for n in ast.walk(tree) if isinstance(n, FunctionNode)}).visit(tree)


def _bound(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, FunctionNode) or (isinstance(node, ast.ExceptHandler) and node.name):
            found.add(str(node.name))
    return {n for n in found if not n.startswith("__") and n not in ("self", "cls", "_")}


def _imported(tree: ast.AST) -> set[str]:
    aliases = [a for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names]
    return {(a.asname or a.name).split(".")[0] for a in aliases}


def _bound_in_classes(tree: ast.AST) -> set[str]:
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    return {c.name for c in classes} | {name for c in classes for statement in c.body for name in _bound(statement)}


def _pattern_names(tree: ast.AST) -> set[str]:
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.MatchAs | ast.MatchStar) and n.name}


class _Renamer(ast.NodeTransformer):
    def __init__(self, mapping: dict[str, str], functions: set[str]) -> None:
        self.mapping, self.functions = mapping, functions

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.mapping.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.mapping.get(node.arg, node.arg)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.name = self.mapping.get(node.name, node.name)
        self.generic_visit(node)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        node.name = self.mapping.get(node.name, node.name) if node.name else None
        self.generic_visit(node)
        return node

    def visit_Global(self, node: ast.Global) -> ast.Global:
        node.names = [self.mapping.get(n, n) for n in node.names]
        return node

    visit_Nonlocal = visit_Global  # type: ignore[assignment]

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if isinstance(node.func, ast.Name) and node.func.id in self.functions:
            for argument in node.keywords:
                argument.arg = self.mapping.get(argument.arg, argument.arg) if argument.arg else None
        self.generic_visit(node)
        return node


def without_docstrings(tree: ast.Module) -> bool:
    """Remove, in place, the docstrings; whether there were any."""
    changed = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | FunctionNode) and node.body and is_text(node.body[0]):
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
            changed = True
    return changed


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def with_dead_code(tree: ast.Module, rng: random.Random) -> None:
    """Insert, in place, statements without effect.

    About one per three statements, and at least two per function.
    """
    for function in [n for n in ast.walk(tree) if isinstance(n, FunctionNode)]:
        blocks = [b for n in ast.walk(function) for b in _blocks(n)]
        count = max(2, sum(map(len, blocks)) // 3)
        for number in range(count):
            block = rng.choice(blocks)
            start = 1 if block and is_text(block[0]) else 0
            block.insert(rng.randint(start, len(block)), _dead_statement(rng, number))


def _blocks(node: ast.AST) -> list[list[ast.stmt]]:
    fields = (getattr(node, name, None) for name in ("body", "orelse", "finalbody"))
    return [f for f in fields if isinstance(f, list) and f and isinstance(f[0], ast.stmt)]


def _dead_statement(rng: random.Random, number: int) -> ast.stmt:
    name = f"{rng.choice(('unused', 'debug', 'trace', 'marker', 'flag'))}_{number}"
    text = rng.choice(
        (
            f"{name} = {rng.randint(0, 99)}",
            f"{name} = []",
            f"if False:\n    {name} = None",
            f"{name} = '{rng.choice(WORDS.split())}' * {rng.randint(1, 9)}",
            "assert True",
            f"for {name} in ():\n    pass",
        )
    )
    return ast.parse(text).body[0]


def reordered(tree: ast.Module) -> bool:
    """Swap, in place, neighbouring statements that are independent; whether there were any."""
    changed = False
    for node in ast.walk(tree):
        for block in _blocks(node):
            position = 1 if is_text(block[0]) else 0
            while position + 1 < len(block):
                if _are_independent(block[position], block[position + 1]):
                    block[position : position + 2] = block[position + 1], block[position]
                    changed = True
                    position += 1
                position += 1
    return changed


_PURE = {
    "len",
    "int",
    "str",
    "float",
    "list",
    "set",
    "dict",
    "tuple",
    "sorted",
    "sum",
    "min",
    "max",
    "abs",
    "range",
    "bool",
}


def _are_independent(first: ast.stmt, second: ast.stmt) -> bool:
    """Both only assign, call nothing with an effect, and neither touches what the other binds."""
    if not all(isinstance(s, ast.Assign | ast.AugAssign | FunctionNode) for s in (first, second)):
        return False
    if isinstance(first, FunctionNode) != isinstance(second, FunctionNode):
        return False
    if isinstance(first, FunctionNode) and isinstance(second, FunctionNode):
        return first.name != second.name and not first.decorator_list and not second.decorator_list
    if not (_is_pure(first) and _is_pure(second)):
        return False
    return not (_written(first) & _names(second) or _written(second) & _names(first))


def _is_pure(node: ast.stmt) -> bool:
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
    return all(isinstance(c.func, ast.Name) and c.func.id in _PURE for c in calls)


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _written(node: ast.stmt) -> set[str]:
    """Names that are bound, and those whose items or attributes are."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    return {name for t in targets for name in _names(t)}


class _Loops(ast.NodeTransformer):
    """`for` as `while` over an index; `while` as an endless `for` with a break."""

    def __init__(self) -> None:
        self.count = 0

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        self.count += 1
        items, index = f"items_{self.count}", f"index_{self.count}"
        before = ast.parse(f"{items} = list(0)\n{index} = 0").body
        before[0].value.args = [node.iter]  # type: ignore[attr-defined]
        loop = ast.parse(f"while {index} < len({items}):\n    place = {items}[{index}]\n    {index} += 1").body[0]
        assert isinstance(loop, ast.While)
        loop.body[0].targets = [node.target]  # type: ignore[attr-defined]
        loop.body += node.body
        loop.orelse = node.orelse
        return [*before, loop]

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        if node.orelse:
            return node
        self.count += 1
        loop = ast.parse(f"for turn_{self.count} in iter(int, 1):\n    if not 0:\n        break").body[0]
        assert isinstance(loop, ast.For)
        loop.body[0].test.operand = node.test  # type: ignore[attr-defined]
        loop.body += node.body
        return loop


_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
}


class _Mirror(ast.NodeTransformer):
    """`a < b` as `b > a`, `a == b` as `b == a`."""

    def __init__(self) -> None:
        self.count = 0

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        self.generic_visit(node)
        opposite = _OPPOSITE.get(type(node.ops[0]))
        if len(node.ops) > 1 or opposite is None:
            return node
        self.count += 1
        return ast.Compare(node.comparators[0], [opposite()], [node.left])


def loops_rewritten(tree: ast.Module) -> bool:
    """Write, in place, `for` as `while` and `while` as `for`; whether there were any."""
    loops = _Loops()
    loops.visit(tree)
    return loops.count > 0


def comparisons_mirrored(tree: ast.Module) -> bool:
    """Swap, in place, the sides of all simple comparisons; whether there were any."""
    mirror = _Mirror()
    mirror.visit(tree)
    return mirror.count > 0


class _ToSelf(ast.NodeTransformer):
    def __init__(self, names: set[str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in self.names or isinstance(node.ctx, ast.Store):
            return node
        return ast.Attribute(ast.Name("self", ast.Load()), node.id, node.ctx)


def in_class(tree: ast.Module) -> None:
    """Make, in place, the functions of the module methods of a class `Solution`."""
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    names = {f.name for f in functions}
    for function in functions:
        function.body = [_ToSelf(names - _bound_inside(function)).visit(s) for s in function.body]
        function.args.args.insert(0, ast.arg("self"))
    others = [n for n in tree.body if not isinstance(n, ast.FunctionDef)]
    tree.body = [*others, ast.ClassDef("Solution", [], [], list(functions), [])]


def _bound_inside(function: ast.FunctionDef) -> set[str]:
    """What is local in the function, its own name where a variable is called so."""
    return _bound(function.args) | {name for statement in function.body for name in _bound(statement)}
