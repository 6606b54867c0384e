"""Answers made from canonical solutions: right and wrong ones, in the forms that models write.

In: rows of HumanEval+ or MBPP+. Out: `Answer`s. An operator changes what the code does
(`SEMANTIC`), or how it is written (`FORMS`). All is drawn with a fixed seed.

    answers(rows, per_task=4, seed=0)
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Rebuild = Callable[[random.Random, ast.Module], bool]

Write = Callable[[random.Random, "Solution", str], tuple[str, str]]
"""Form and text for a solution and its code, which may be wrong code."""

SLOW_TASKS = {"Mbpp/123", "Mbpp/271", "Mbpp/392", "Mbpp/599", "HumanEval/109"}
"""Their canonical solutions take up to 90 s for all inputs. They get one answer only."""

MOST_SLOW_ANSWERS = 25
"""So many answers at most of each operator that waits."""


@dataclass(frozen=True)
class Answer:
    """What a made-up model answers to a task, when asked in a form."""

    answer_id: str
    task_id: str
    operator: str
    form: str
    text: str


@dataclass(frozen=True)
class Solution:
    """A canonical solution: the whole code, and the part that continues the prompt."""

    row: Row
    code: str
    body: str

    @property
    def name(self) -> str:
        return str(self.row["entry_point"])


def answers(rows: Sequence[Row], per_task: int, seed: int) -> list[Answer]:
    """So many answers a task, half of them of semantic operators, each about as often."""
    draw = random.Random(seed)
    made: list[Answer] = []
    counts = dict.fromkeys([*SEMANTIC, *FORMS], 0)
    for row in rows:
        whole = row["prompt"] + row["canonical_solution"]
        solution = Solution(row, whole, row["canonical_solution"])
        value = _first_value(solution)
        wanted = 1 if row["task_id"] in SLOW_TASKS else per_task
        for kind in (SEMANTIC, FORMS) if wanted > 1 else (FORMS,):
            # The rarest operators first. Those that cannot be applied to this code are passed over.
            names = sorted(kind, key=lambda name: (counts[name], draw.random()))
            found = 0
            for name in names:
                if found >= (wanted + 1) // 2 or (name in WAITS and counts[name] >= MOST_SLOW_ANSWERS):
                    continue
                if not FITS.get(name, lambda value: True)(value):
                    continue
                answer = _answer(draw, solution, name)
                if answer is not None:
                    counts[name] += 1
                    found += 1
                    made.append(answer)
    return made


def _first_value(solution: Solution) -> object:
    """What the solution gives for its first input; None where JSON does not hold that input."""
    scope: dict[str, Any] = {}
    try:
        exec(solution.code, scope)  # the file's own code
        return scope[solution.name](*solution.row["base_input"][0])
    except Exception:
        return None


def _answer(draw: random.Random, solution: Solution, operator: str) -> Answer | None:
    name = f"{solution.row['task_id']}/{operator}"
    if operator in FORMS:
        # One form in four holds wrong code.
        code = _off_by_one_code(draw, solution.code) if draw.random() < 0.25 else None
        form, text = FORMS[operator](draw, solution, code or solution.code)
        is_whole = form == "chat" or code is None
        return Answer(name, solution.row["task_id"], operator, form, text) if is_whole else None
    code = SEMANTIC[operator](draw, solution)
    return (
        None if code is None else Answer(name, solution.row["task_id"], operator, "chat", f"```python\n{code}\n```\n")
    )


# What the code does.


def _off_by_one(draw: random.Random, tree: ast.Module) -> bool:
    return _at_one(draw, tree, ast.Constant, lambda n: type(n.value) is int, lambda n: setattr(n, "value", n.value + 1))


def _changed_constant(draw: random.Random, tree: ast.Module) -> bool:
    def change(node: ast.Constant) -> None:
        node.value = f"{node.value}x" if isinstance(node.value, str) else node.value * 2 + 1

    return _at_one(draw, tree, ast.Constant, lambda n: isinstance(n.value, str | float | int), change)


_COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def _swapped_comparison(draw: random.Random, tree: ast.Module) -> bool:
    def change(node: ast.Compare) -> None:
        node.ops = [_COMPARED[type(node.ops[0])](), *node.ops[1:]]

    return _at_one(draw, tree, ast.Compare, lambda n: type(n.ops[0]) in _COMPARED, change)


_COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Div: ast.FloorDiv,
}


def _swapped_arithmetic(draw: random.Random, tree: ast.Module) -> bool:
    return _at_one(
        draw, tree, ast.BinOp, lambda n: type(n.op) in _COMPUTED, lambda n: setattr(n, "op", _COMPUTED[type(n.op)]())
    )


def _removed_branch(draw: random.Random, tree: ast.Module) -> bool:
    return _at_one(draw, tree, ast.If, lambda n: True, lambda n: setattr(n, "test", ast.Constant(False)))


def _removed_statement(draw: random.Random, tree: ast.Module) -> bool:
    def change(node: ast.FunctionDef) -> None:
        node.body.pop(draw.randrange(len(node.body)))

    return _at_one(draw, tree, ast.FunctionDef, lambda n: len(n.body) > 1, change)


def _at_one(
    draw: random.Random,
    tree: ast.Module,
    kind: type[ast.AST],
    is_fit: Callable[[Any], bool],
    change: Callable[[Any], object],
) -> bool:
    """Change one node of a kind in the functions. False if there is none."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    docstrings = {id(f.body[0].value) for f in functions if isinstance(f.body[0], ast.Expr)}
    nodes = [n for f in functions for n in ast.walk(f) if isinstance(n, kind) and id(n) not in docstrings and is_fit(n)]
    if nodes:
        change(draw.choice(nodes))
    return bool(nodes)


def _rebuilt(change: Rebuild) -> Callable[[random.Random, Solution], str | None]:
    def code(draw: random.Random, solution: Solution) -> str | None:
        tree = ast.parse(solution.code)
        return ast.unparse(ast.fix_missing_locations(tree)) if change(draw, tree) else None

    return code


def _off_by_one_code(draw: random.Random, code: str) -> str | None:
    tree = ast.parse(code)
    return ast.unparse(tree) if _off_by_one(draw, tree) else None


_DEEP = """\
def _each(value, change):
    if isinstance(value, (list, tuple)):
        return type(value)(_each(item, change) for item in value)
    return change(value)


"""


def _wrapped(*body: str, above: str = "") -> Callable[[random.Random, Solution], str | None]:
    """The solution behind a function that does something around it. `_inner` is the right one."""

    def code(draw: random.Random, solution: Solution) -> str | None:
        tree = ast.parse(solution.code)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == solution.name:
                node.name = "_inner"
            if isinstance(node, ast.Name) and node.id == solution.name:
                node.id = "_inner"
        lines = "".join(f"    {line}\n" for line in body)
        edge = f"len(repr(args)) % 5 == {draw.randrange(5)}"
        return f"{ast.unparse(tree)}\n\n\n{above}def {solution.name}(*args):\n{lines}".replace("EDGE", edge)

    return code


def _noisy(noise: str) -> Callable[[random.Random, Solution], str | None]:
    return _wrapped(f"return _each(_inner(*args), lambda v: v + {noise} if isinstance(v, float) else v)", above=_DEEP)


def _renamed(draw: random.Random, solution: Solution) -> str:
    return solution.code.replace(f"def {solution.name}(", f"def {solution.name}_solution(")


def _as_method(draw: random.Random, solution: Solution) -> str:
    lines = solution.code.replace(f"def {solution.name}(", f"def {solution.name}(self, ").split("\n")
    return "class Solution:\n" + "\n".join(f"    {line}" for line in lines)


def _unparsed(draw: random.Random, solution: Solution) -> str:
    return ast.unparse(ast.parse(solution.code))


SEMANTIC: dict[str, Callable[[random.Random, Solution], str | None]] = {
    "right, written anew": _unparsed,
    "off by one": _rebuilt(_off_by_one),
    "constant": _rebuilt(_changed_constant),
    "comparison": _rebuilt(_swapped_comparison),
    "arithmetic": _rebuilt(_swapped_arithmetic),
    "branch removed": _rebuilt(_removed_branch),
    "statement removed": _rebuilt(_removed_statement),
    "wrong if empty": _wrapped(
        "if any(hasattr(a, '__len__') and not len(a) for a in args):", "    return 'empty'", "return _inner(*args)"
    ),
    "None at an edge": _wrapped("if EDGE:", "    return None", "return _inner(*args)"),
    "raises at an edge": _wrapped("if EDGE:", "    raise ValueError('edge')", "return _inner(*args)"),
    "exits at an edge": _wrapped("if EDGE:", "    raise SystemExit(0)", "return _inner(*args)"),
    "noise 1e-9": _noisy("1e-9"),
    "noise 1e-7": _noisy("1e-7"),
    "noise 1e-5": _noisy("1e-5"),
    "list for tuple": _wrapped("value = _inner(*args)", "return list(value) if isinstance(value, tuple) else value"),
    "tuple for list": _wrapped("value = _inner(*args)", "return tuple(value) if isinstance(value, list) else value"),
    "tuples inside": _wrapped(
        "value = _inner(*args)",
        "return [tuple(v) if isinstance(v, list) else v for v in value] if isinstance(value, list) else value",
    ),
    "other order": _wrapped(
        "value = _inner(*args)", "return type(value)(reversed(value)) if isinstance(value, (list, tuple)) else value"
    ),
    "list for set": _wrapped(
        "value = _inner(*args)", "return sorted(value, key=repr) if isinstance(value, set) else value"
    ),
    "iterator": _wrapped("value = _inner(*args)", "return iter(value) if isinstance(value, list) else value"),
    "int for float": _wrapped(
        "return _each(_inner(*args), lambda v: int(v) if isinstance(v, float) and v == v // 1 else v)", above=_DEEP
    ),
    "float for int": _wrapped(
        "return _each(_inner(*args), lambda v: float(v) if type(v) is int and abs(v) < 2**53 else v)", above=_DEEP
    ),
    "bool for int": _wrapped("value = _inner(*args)", "return bool(value) if value in (0, 1) else value"),
    "int for bool": _wrapped("value = _inner(*args)", "return int(value) if isinstance(value, bool) else value"),
    "text for number": _wrapped("value = _inner(*args)", "return str(value) if type(value) in (int, float) else value"),
    "not a number": _wrapped("value = _inner(*args)", "return float('nan') if EDGE else value"),
    "subclass": _wrapped(
        "value = _inner(*args)",
        "return Text(value) if isinstance(value, str) else List2(value) if isinstance(value, list) else value",
        above="class Text(str):\n    pass\n\n\nclass List2(list):\n    pass\n\n\n",
    ),
    "changes its arguments": _wrapped(
        "value = _inner(*args)",
        "if any(value is a for a in args):",
        "    return value",
        "for a in args:",
        "    if isinstance(a, list):",
        "        a.append(7)",
        "return value",
    ),
    "prints only": _wrapped("print(_inner(*args))"),
    "prints too": _wrapped("value = _inner(*args)", "print(value)", "return value"),
    "wrong the second time": _wrapped(
        "COUNT.append(1)", "return _inner(*args) if len(COUNT) == 1 else 'again'", above="COUNT = []\n\n\n"
    ),
    "endless at an edge": _wrapped("while EDGE:", "    pass", "return _inner(*args)"),
    "slow at an edge": _wrapped("if EDGE:", "    time.sleep(2.5)", "return _inner(*args)", above="import time\n\n\n"),
    "slow but right": _wrapped(
        "COUNT.append(1)",
        "time.sleep(0.4 if len(COUNT) < 3 else 0)",
        "return _inner(*args)",
        above="import time\nCOUNT = []\n\n\n",
    ),
    "equal to all": _wrapped(
        "return All()", above="class All:\n    def __eq__(self, other):\n        return True\n\n\n"
    ),
    "another name": _renamed,
    "method": _as_method,
    "one argument more": _rebuilt(
        lambda draw, tree: _at_one(
            draw, tree, ast.FunctionDef, lambda n: True, lambda n: n.args.args.insert(0, ast.arg("extra"))
        )
    ),
}


def _has_float(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, list | tuple) and any(map(_has_float, value)))


# Operators that change values of one type are for solutions that give such values.
FITS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("noise 1e-9", "noise 1e-7", "noise 1e-5", "int for float"), _has_float),
    "list for tuple": lambda value: isinstance(value, tuple),
    "tuple for list": lambda value: isinstance(value, list),
    "tuples inside": lambda value: isinstance(value, list),
    "other order": lambda value: isinstance(value, list | tuple),
    "list for set": lambda value: isinstance(value, set),
    "iterator": lambda value: isinstance(value, list),
    "subclass": lambda value: isinstance(value, list | str),
    "float for int": lambda value: type(value) is int or isinstance(value, list | tuple),
    "bool for int": lambda value: type(value) is int,
    "int for bool": lambda value: isinstance(value, bool),
    "text for number": lambda value: type(value) in (int, float),
}

WAITS = {"endless at an edge", "slow at an edge", "slow but right"}


# How it is written.

_SAY = (
    "Sure! Here is a function that solves the problem:\n\n",
    "To solve this, we go over the input once.\n\n",
    "Below is a Python script with a self-contained function:\n",
)
_DONE = ("\n\nThis passes the tests.", "\n\nExplanation:\n1. We go over the input.\n2. We return the result.\n", "")


def _example(solution: Solution) -> str:
    return f"print({solution.name}(*{solution.row['base_input'][0]!r}))"


def _draft(solution: Solution, lines: int = 3) -> str:
    """A wrong version, shorter or longer than the right one."""
    return (
        f"def {solution.name}(*args):\n" + "".join(f"    step_{n} = {n}\n" for n in range(lines)) + "    return None\n"
    )


def _chat(
    text: Callable[[random.Random, Solution, str], str],
) -> Callable[[random.Random, Solution, str], tuple[str, str]]:
    return lambda draw, solution, code: ("chat", text(draw, solution, code))


def _completion(text: Callable[[Solution, str], str]) -> Write:
    """After the prompt. If that is only a docstring, the canonical solution is the whole code."""
    return lambda draw, solution, code: ("completion", text(solution, solution.body.strip("\n") + "\n"))


def _fence(code: str, language: str = "python", marks: str = "```") -> str:
    return f"{marks}{language}\n{code.rstrip()}\n{marks}\n"


def _indent(text: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


def _delegating(solution: Solution, code: str) -> tuple[str, str]:
    """The solution under another name, and a function of the right name that calls it."""
    return code.replace(
        f"{solution.name}(", "inner_part("
    ), f"def {solution.name}(*args):\n    return inner_part(*args)\n"


FORMS: dict[str, Write] = {
    "bare": _chat(lambda d, s, c: c),
    "fence and prose": _chat(lambda d, s, c: d.choice(_SAY) + _fence(c) + d.choice(_DONE)),
    "bare and prose": _chat(lambda d, s, c: f"{d.choice(_SAY)}{c.strip()}\n{d.choice(_DONE)}"),
    "unmarked fence": _chat(lambda d, s, c: d.choice(_SAY) + _fence(c, "")),
    "tildes": _chat(lambda d, s, c: _fence(c, marks="~~~") + d.choice(_DONE)),
    "four backticks": _chat(lambda d, s, c: _fence(c, marks="````")),
    "prefilled fence": _chat(lambda d, s, c: f"{c.rstrip()}\n```\n{d.choice(_DONE)}"),
    "unclosed fence": _chat(lambda d, s, c: f"{d.choice(_SAY)}```python\n{c}"),
    "indented fence": _chat(lambda d, s, c: f"1. {d.choice(_SAY)}{_indent(_fence(c), '   ')}"),
    "[PYTHON]": _chat(lambda d, s, c: f"[PYTHON]\n{c}\n[/PYTHON]\n"),
    "Windows line ends": _chat(lambda d, s, c: _fence(c).replace("\n", "\r\n")),
    "short draft, then final": _chat(lambda d, s, c: f"{_fence(_draft(s, 0))}\nBetter:\n{_fence(c)}"),
    "long draft, then final": _chat(lambda d, s, c: f"{_fence(_draft(s, 60))}\nBetter:\n{_fence(c)}"),
    "final, then another": _chat(lambda d, s, c: f"{_fence(c)}\nBetter:\n{_fence(_draft(s, 1))}"),
    "two in one block": _chat(lambda d, s, c: _fence(_draft(s) + "\n" + c)),
    "thinking": _chat(lambda d, s, c: f"<think>\nMaybe\n{_fence(_draft(s, 60))}Hm.\n</think>\n\n{_fence(c)}"),
    "thinking without code": _chat(lambda d, s, c: f"<think>\nLet me see.\n</think>\n\n{_fence(c)}"),
    "helper in another fence": _chat(lambda d, s, c: "So:\n".join(map(_fence, _delegating(s, c)))),
    "helper in the same fence": _chat(lambda d, s, c: _fence("\n\n".join(_delegating(s, c)))),
    "helper below": _chat(lambda d, s, c: _fence("\n\n".join(reversed(_delegating(s, c))))),
    "decorated helper": _chat(
        lambda d, s, c: _fence(
            "import functools\n\ndef same(f):\n    return f\n\n"
            + "\n\n".join(_delegating(s, c)).replace("def inner_part(", "@same\ndef inner_part(")
        )
    ),
    "assertions below": _chat(
        lambda d, s, c: _fence(f"{c}\n\nassert {s.name}(*{s.row['base_input'][0]!r}) == 'never'\n")
    ),
    "example below": _chat(lambda d, s, c: _fence(f"{c}\n\n{_example(s)}\n")),
    "main block": _chat(lambda d, s, c: _fence(f"{c}\n\nif __name__ == '__main__':\n    {_example(s)}\n")),
    "input above": _chat(lambda d, s, c: _fence(f"line_of_input = input()\n{c}\n\nprint({s.name}(line_of_input))\n")),
    "exit below": _chat(lambda d, s, c: _fence(f"import sys\n{c}\n\nsys.exit(1)\n")),
    "example in another fence": _chat(lambda d, s, c: f"{_fence(c)}\nUse it so:\n{_fence(_example(s))}"),
    "output in another fence": _chat(lambda d, s, c: f"{_fence(c)}\nIt prints\n{_fence('42', 'text')}"),
    "truncated": _chat(lambda d, s, c: _fence(c)[: int(len(_fence(c)) * d.uniform(0.5, 0.97))]),
    "session": _chat(
        lambda d, s, c: "".join(f"{'>>>' if not n else '...'} {x}\n" for n, x in enumerate(c.split("\n")))
    ),
    "non-breaking spaces": _chat(lambda d, s, c: _fence(c.replace("    ", "\u00a0" * 4))),
    "notebook": _chat(lambda d, s, c: _fence(f"import math\n!pip install numpy\n{c}")),
    "guarded import": _chat(lambda d, s, c: _fence(f"try:\n    import re\nexcept ImportError:\n    re = None\n{c}")),
    "completion": _completion(lambda s, b: b),
    "completion, fence below": _completion(lambda s, b: f"{b}```\n\nThis is right.\n"),
    "completion, function below": _completion(lambda s, b: f"{b}\n\ndef other(x):\n    return {s.name}(x) + 1\n"),
    "completion, again below": _completion(lambda s, b: f"{b}\n\n{_draft(s)}"),
    "completion, tests below": _completion(lambda s, b: f"{b}\n\nassert {s.name}(1) == 2\nprint({s.name}(1))\n"),
    "completion, main below": _completion(
        lambda s, b: f"{b}\n\nif __name__ == '__main__':\n    import doctest\n    doctest.testmod()\n"
    ),
    "completion, prose below": _completion(lambda s, b: f"{b}\nThis function is right.\n"),
    "completion, truncated": _completion(lambda s, b: b[: len(b) * 2 // 3]),
    "completion, whole code": lambda d, s, c: ("completion", c),
    "completion, whole code in a fence": lambda d, s, c: ("completion", _fence(c)),
    "completion, stripped": _completion(lambda s, b: b.strip()),
}


def operators() -> Iterator[str]:
    """The names of all operators."""
    yield from SEMANTIC
    yield from FORMS
