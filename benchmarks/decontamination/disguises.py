"""Disguised copies of benchmark tasks, to measure what a decontamination finds.

    # one task in every disguise
    python benchmarks/decontamination/disguises.py HumanEval.jsonl.gz --show HumanEval/4
    # run the tests on the disguises, in the sandbox
    python benchmarks/decontamination/disguises.py HumanEval.jsonl.gz --verify --every 4

In: tasks whose solution is Python (HumanEval, MBPP). Out: per disguise a text, and the name that
the function has in it. None where a disguise would change nothing: a function without loops has
none to rewrite.

How: syntax trees, and a random generator per task and disguise that is seeded by their names. Every
text with code is parsed again.

The paraphrase follows rules: words are replaced from a table of synonyms, sentences change their
order, examples are left out. It is weaker than a paraphrase by a person or a model.
"""

from __future__ import annotations

import argparse
import ast
import copy
import io
import random
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.decontamination.syntax_steps import (
    WORDS,
    FunctionNode,
    comparisons_mirrored,
    in_class,
    is_text,
    loops_rewritten,
    rename,
    renamed,
    reordered,
    with_dead_code,
    without_docstrings,
)
from builders.code.syntax import parsed
from builders.harness.files import read_tasks
from builders.harness.programs import above_entry_point, split_tests, test_call
from builders.harness.tasks import Task


@dataclass(frozen=True)
class Disguised:
    """A disguised copy.

    `entry_point` is an expression for the function in it, None where the text is no whole program.
    """

    text: str
    entry_point: str | None


@dataclass(frozen=True)
class Original:
    """A task as one text.

    `verbatim` is the text as published. `code` has the statement as the docstring of the function
    `name`.
    """

    task_id: str
    name: str
    prompt: str
    solution: str
    verbatim: str
    code: str


def original(task: Task) -> Original | None:
    """The task as one function with its docstring; None for a task without Python code."""
    if task.solution is None or task.entry_point is None or not task.entry_point.isidentifier():
        return None
    solution = task.solution.replace("\r\n", "\n")
    verbatim = code = task.prompt + solution
    if parsed(code) is None:
        verbatim = f'"""\n{task.prompt.strip()}\n"""\n{solution}'
        code = _documented(solution, task.entry_point, task.prompt.strip()) if parsed(solution) is not None else ""
    if not code or parsed(code) is None:
        return None
    return Original(task.task_id, task.entry_point, task.prompt, solution, verbatim, code)


def _documented(code: str, name: str, statement: str) -> str:
    """The code with the statement as the docstring of the function, all else as it was."""
    tree = ast.parse(code)
    function = next(n for n in tree.body if isinstance(n, FunctionNode) and n.name == name)
    first, lines = function.body[0], code.split("\n")
    if first.lineno == function.lineno:  # def f(x): return x
        function.body.insert(0, ast.Expr(ast.Constant(statement)))
        return ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    indent = re.match(r"\s*", lines[first.lineno - 1])
    quoted = '"""' + statement.replace("\\", "\\\\").replace('"""', "'''") + '"""'
    return "\n".join(
        [*lines[: first.lineno - 1], (indent.group() if indent else "    ") + quoted, *lines[first.lineno - 1 :]]
    )


# -- steps over text -------------------------------------------------------------------------------

_SYNONYMS = {
    "write": "implement", "function": "routine", "find": "determine", "given": "supplied", "list": "sequence",
    "return": "give back", "returns": "gives back", "number": "value", "numbers": "values", "string": "text",
    "check": "test", "whether": "if", "calculate": "compute", "array": "vector", "integers": "whole numbers",
    "integer": "whole number", "elements": "members", "element": "member", "all": "every one of the", "first": "initial",
    "last": "final", "largest": "biggest", "smallest": "least", "maximum": "greatest", "minimum": "lowest",
    "count": "tally", "remove": "drop", "sum": "total", "python": "", "create": "build", "convert": "turn", "sort": "order",
    "two": "a pair of", "using": "with", "should": "must", "takes": "accepts", "contains": "holds", "empty": "blank",
    "positive": "above-zero", "character": "letter", "characters": "letters", "word": "term", "words": "terms",
    "example": "instance", "input": "argument", "output": "result", "equal": "identical", "each": "every", "only": "just",
    "length": "size", "vector": "array", "search": "look up", "from": "out of", "between": "amid", "consecutive": "successive",
}  # fmt: skip


def paraphrased(statement: str) -> str:
    """The prose with synonyms and its sentences in another order, without its examples."""
    prose = re.split(r">>>|\bFor example\b|\bExamples?:|\bassert\b|\[input/output\]", statement)[0]
    sentences = [s.strip() for s in re.split(r"(?<=[.!?])\s+|\n\s*\n", prose) if s.strip()]
    told = [re.sub(r"[A-Za-z]+", _synonym, " ".join(s.split())) for s in sentences]
    if len(told) == 1 and (found := re.match(r"(\w+ an? (?:\s*\w+)?routine) to (.*)", told[0], re.IGNORECASE)):
        return f"{found[2].rstrip('.').capitalize()}: {found[1].lower()} that does it."
    return " ".join([*told[1:], told[0]])


def _synonym(match: re.Match[str]) -> str:
    word = match.group()
    found = _SYNONYMS.get(word.lower())
    if found is None:
        return word
    return found.capitalize() if word[0].isupper() else found


def relaid(code: str, rng: random.Random) -> str:
    """The code printed anew, with another indentation and blank lines between statements."""
    indent = rng.choice(("  ", "\t", "        "))
    out: list[str] = []
    for line in _unparsed_lines(code):
        stripped = line.lstrip(" ")
        depth = (len(line) - len(stripped)) // 4
        out += ([""] if rng.random() < 0.25 and stripped else []) + [indent * depth + stripped]
    relaid_code = "\n".join(out) + "\n"
    # Strings that span several lines move too. Where that changes the code, keep the plain layout.
    return relaid_code if _same_but_docstrings(relaid_code, code) else "\n".join(_unparsed_lines(code)) + "\n"


def _unparsed_lines(code: str) -> list[str]:
    return ast.unparse(ast.parse(code)).split("\n")


def _same_but_docstrings(one: str, other: str) -> bool:
    trees = [parsed(one), parsed(other)]
    if None in trees:
        return False
    for tree in trees:
        assert tree is not None
        without_docstrings(tree)
    return ast.dump(trees[0]) == ast.dump(trees[1])  # type: ignore[arg-type]


def recommented(code: str, rng: random.Random) -> str:
    """Comments removed, others put in; all other text as it was."""
    tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    lines = code.split("\n")
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    ends = {t.start[0] for t in tokens if t.type == tokenize.NEWLINE}
    for row in sorted(ends):
        if rng.random() < 0.4:
            lines[row - 1] += f"  # {rng.choice(WORDS.split())} {rng.choice(WORDS.split())} {rng.choice(WORDS.split())}"
    return "\n".join(lines)


# -- the disguises ---------------------------------------------------------------------------------

Step = str
"""Letters of a recipe of steps, applied in the order of `_apply`."""


def _apply(task: Original, rng: random.Random, steps: set[Step]) -> Disguised | None:
    """The task's code after the named steps; None where one of them finds nothing to change."""
    tree = ast.parse(task.code)
    entry = task.name
    if "no docstring" in steps and not without_docstrings(tree):
        return None
    if "paraphrased" in steps:
        _paraphrase(tree, task)
    if "loops" in steps and not loops_rewritten(tree):
        return None
    if "mirrored" in steps and not comparisons_mirrored(tree):
        return None
    ast.fix_missing_locations(tree)
    if "reordered" in steps and not reordered(tree):
        return None
    if "dead code" in steps:
        with_dead_code(tree, rng)
    if "renamed" in steps:
        entry = renamed(tree, rng).get(entry, entry)
    if "class" in steps:
        in_class(tree)
        entry = f"Solution().{entry}"
    code = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    return Disguised(relaid(code, rng) if "relaid" in steps else code, entry)


def _paraphrase(tree: ast.Module, task: Original) -> None:
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and node.name == task.name and is_text(node.body[0]):
            node.body[0] = ast.Expr(ast.Constant(paraphrased(ast.get_docstring(node) or "")))


def _steps(*names: Step) -> Callable[[Original, random.Random], Disguised | None]:
    return lambda task, rng: _apply(task, rng, set(names))


def _same_layout_renamed(task: Original, rng: random.Random) -> Disguised:
    """Names replaced where they stand, so that layout, comments and docstring stay."""
    mapping = renamed(ast.parse(task.code), rng)
    places = _name_places(task.code, mapping)
    lines = task.code.split("\n")
    for row, column, name in sorted(places, reverse=True):
        line = lines[row - 1].encode()
        lines[row - 1] = (line[:column] + mapping[name].encode() + line[column + len(name.encode()) :]).decode()
    return Disguised("\n".join(lines), mapping.get(task.name, task.name))


def _name_places(code: str, mapping: dict[str, str]) -> list[tuple[int, int, str]]:
    """Row and byte column of each occurrence of a renamed name.

    They are found by comparing the tree with the renamed tree.
    """
    tree = ast.parse(code)
    changed = copy.deepcopy(tree)
    rename(changed, mapping)
    tokens = [
        t for t in tokenize.generate_tokens(io.StringIO(code).readline) if t.type not in (tokenize.COMMENT, tokenize.NL)
    ]
    lines, places, previous = code.split("\n"), [], ""
    call_names = {n.arg for c in ast.walk(changed) if isinstance(c, ast.Call) for n in c.keywords if n.arg}
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        is_argument = following.string == "=" and token.string in call_names and previous in ("(", ",")
        if token.type == tokenize.NAME and token.string in mapping and previous != "." and not is_argument:
            row, column = token.start
            places.append((row, len(lines[row - 1][:column].encode()), token.string))
        previous = token.string
    return places


def _without_docstring_in_place(task: Original, rng: random.Random) -> Disguised | None:
    lines, removed = task.code.split("\n"), False
    for node in reversed([n for n in ast.walk(ast.parse(task.code)) if isinstance(n, FunctionNode)]):
        first = node.body[0]
        if is_text(first) and len(node.body) > 1 and first.lineno > node.lineno:
            lines[first.lineno - 1 : first.end_lineno] = []
            removed = True
    return Disguised("\n".join(lines), task.name) if removed else None


def _solution_only(task: Original, rng: random.Random) -> Disguised:
    is_whole = parsed(task.solution) is not None and f"def {task.name}" in task.solution
    return Disguised(task.solution, task.name if is_whole else None)


PLAIN = ("renamed", "relaid", "no docstring")
DISGUISES: dict[str, Callable[[Original, random.Random], Disguised | None]] = {
    "verbatim": lambda task, rng: Disguised(task.verbatim, task.name),
    "CRLF line ends": lambda task, rng: Disguised(task.verbatim.replace("\n", "\r\n"), task.name),
    "solution without prompt": _solution_only,
    "prompt without solution": lambda task, rng: Disguised(task.prompt, None),
    "docstring removed": _without_docstring_in_place,
    "comments changed": lambda task, rng: Disguised(recommented(task.code, rng), task.name),
    "reformatted": _steps("relaid"),
    "renamed": _same_layout_renamed,
    "statements reordered": _steps("reordered"),
    "dead code added": _steps("dead code"),
    "loops rewritten": _steps("loops"),
    "comparisons mirrored": _steps("mirrored"),
    "wrapped in a class": _steps("class"),
    "paraphrased docstring": _steps("paraphrased"),
    "paraphrased prompt alone": lambda task, rng: Disguised(paraphrased(_prose(task)), None),
    "renamed, reformatted, no docstring": _steps(*PLAIN),
    "  + paraphrased docstring": _steps("renamed", "relaid", "paraphrased"),
    "  + statements reordered": _steps(*PLAIN, "reordered"),
    "  + dead code": _steps(*PLAIN, "dead code"),
    "  + loops rewritten": _steps(*PLAIN, "loops"),
    "  + comparisons mirrored": _steps(*PLAIN, "mirrored"),
    "  + wrapped in a class": _steps(*PLAIN, "class"),
    "  + loops, dead code, class": _steps(*PLAIN, "loops", "dead code", "class"),
}
"""Name -> how the copy is made. A name with a plus adds to renamed, reformatted, no docstring."""


def _prose(task: Original) -> str:
    for node in ast.walk(ast.parse(task.code)):
        if isinstance(node, FunctionNode) and node.name == task.name:
            return ast.get_docstring(node) or task.prompt
    return task.prompt


def disguised(task: Original, disguise: str, seed: int = 0) -> Disguised | None:
    """The task in a disguise; None if it would change nothing. ValueError if the copy does not
    parse.
    """
    made = DISGUISES[disguise](task, random.Random(f"{seed} {task.task_id} {disguise}"))
    if made is not None and made.entry_point is not None and parsed(made.text) is None:
        raise ValueError(f"{task.task_id}: {disguise} does not parse:\n{made.text}")
    return made


def originals(path: str | Path) -> list[Original]:
    """The tasks of a benchmark file that have Python code."""
    return [made for task in read_tasks(path) if (made := original(task)) is not None]


# -- looking and verifying -------------------------------------------------------------------------


def verify(path: str, seed: int, every: int) -> int:
    """Run the tests on every disguise that is a program.

    Returns the number of those that fail although the original passes.
    """
    from builders.sandbox import SandboxLimits, run_many, tested_program

    tasks = {t.task_id: t for t in read_tasks(path)}
    programs = []
    for task in originals(path)[::every]:
        for name in DISGUISES:
            made = disguised(task, name, seed)
            if made is not None and made.entry_point is not None:
                whole = tasks[task.task_id]
                before, tests = split_tests(whole)
                before.append(above_entry_point(whole) or "")
                alias = "" if made.entry_point == task.name else f"{task.name} = {made.entry_point}\n"
                code = [*before, made.text, alias, tests + test_call(whole)]
                programs.append(((task.task_id, name), tested_program(*code)))
    failed: dict[str, list[str]] = {}
    for (task_id, name), result in run_many(programs, 2, SandboxLimits(wall_s=30, cpu_s=30)):
        if result.status != "passed":
            failed.setdefault(name, []).append(f"{task_id} {result.status} {result.stderr.strip()[-120:]!r}")
    broken = set(failed.pop("verbatim", []))
    for name, ids in failed.items():
        print(f"{name}: {len(ids)} fail: " + "; ".join(ids[:5]))
    print(f"{len(programs)} programs; {sum(map(len, failed.values()))} fail; the originals that fail: {len(broken)}")
    return sum(map(len, failed.values()))


def main() -> int:
    """Show a task in all disguises, or verify all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="benchmark file with Python solutions")
    parser.add_argument("--show", help="task id")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="verify each n-th task")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.verify:
        return int(verify(options.path, options.seed, options.every) > 0)
    chosen = [t for t in originals(options.path) if options.show in (None, t.task_id)][:1]
    for name in DISGUISES if chosen else ():
        made = disguised(chosen[0], name, options.seed)
        print(f"==== {name}\n{textwrap.indent(made.text, '  ') if made else '  (nothing to change)'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
