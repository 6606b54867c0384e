"""Benchmark files as tasks, and the program that grades one completion of a task.

In: a file of HumanEval(+), MBPP(+), BigCodeBench or LiveCodeBench, as JSON lines, a JSON array or a JSON object of
rows, gzip or not; the layout is told by the fields. Out: `Task` rows with Unix line ends. How: pure parsing, nothing
of a file is executed here. `test_program(task, completion)` is what `builders/sandbox.py` runs.

The tests of the formats:
- HumanEval: the file's `check(candidate)`.
- MBPP: setup code, imports and `test_list` (not `challenge_test_list`). The test split in DeepSeek's form leaves the
  setup code out, so that no solution of its Mbpp/367 can pass.
- HumanEval+ and MBPP+ without tests: the candidate's answers are compared with those of the canonical solution on all
  base and plus inputs (`atol` for floats; MBPP+ tasks whose own example compares sets are compared as sets). JSON has
  lists only; they become the tuples and sets of the file's first assertion. EvalPlus has a table of its own for both,
  so single tasks may be graded otherwise. An input on which the canonical solution raises is passed over. Some
  inputs keep it busy for more than the sandbox's default 10 s (Mbpp/123, /271, /392): allow 30 s.
- BigCodeBench: the file's unittest classes. They need its libraries, which the sandbox has only where they are in the
  Python installation itself.
- LiveCodeBench: statements only (`tests` is empty): such a task serves decontamination and cannot be graded.
"""

import ast
import gzip
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.sandbox import tested_program

Row = dict[str, Any]

_GZIP_MAGIC = b"\x1f\x8b"
_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON_FENCES = {"", "python", "python3", "py"}

# All names are inside one function: the candidate's own must stay as they are (one MBPP task is called `check`).
_DIFFERENTIAL_TESTS = """\
def _compare_with_reference(candidate):
    import copy

    inf, nan = float("inf"), float("nan")
    reference = {reference!r}
    inputs = {inputs!r}
    atol = {atol!r}
    as_sets = {as_sets!r}

    def is_same(got, expected):
        if got == expected:
            return True
        if isinstance(expected, float) and isinstance(got, (int, float)):
            return abs(got - expected) <= atol + 1e-7 * abs(expected) or (got != got and expected != expected)
        if type(got) is type(expected) and isinstance(expected, (list, tuple)) and len(got) == len(expected):
            return all(map(is_same, got, expected))
        return False

    scope = {{"__name__": "reference"}}
    exec(reference, scope)
    expectations = []
    for arguments in inputs:
        try:
            expectations.append((arguments, scope[{entry_point!r}](*copy.deepcopy(arguments))))
        except Exception:
            pass
    assert expectations, "the canonical solution raised on every input"
    # Matches of regular expressions equal nothing but themselves; what counts is whether there is one.
    is_match = any(type(expected).__name__ == "Match" for _, expected in expectations)
    view = bool if is_match else set if as_sets else (lambda answer: answer)
    for arguments, expected in expectations:
        got = candidate(*copy.deepcopy(arguments))
        assert is_same(view(got), view(expected)), f"{{arguments!r}}: expected {{expected!r}}, got {{got!r}}"


_compare_with_reference({entry_point})
"""

_RUN_UNITTESTS = """
import unittest
_loader = unittest.defaultTestLoader
_suite = unittest.TestSuite(_loader.loadTestsFromTestCase(case) for case in [{classes}])
_outcome = unittest.TextTestRunner(verbosity=0).run(_suite)
assert _outcome.wasSuccessful() and _outcome.testsRun, "unittest: " + str(_outcome)
"""


@dataclass(frozen=True)
class Task:
    """One task. `prompt` and `solution` are as the file has them: code to continue, or a statement and whole code."""

    task_id: str
    prompt: str
    solution: str | None
    tests: str
    entry_point: str | None
    language: str = "python"


def read_tasks(path: str | Path) -> Iterator[Task]:
    """Tasks of a benchmark file in its order; ValueError names the file and row of what cannot be read."""
    seen: set[str] = set()
    for position, row in enumerate(_rows(Path(path)), start=1):
        try:
            task = parse_task(row)
        except ValueError as error:
            raise ValueError(f"{path}, row {position}: {error}") from error
        if task.task_id in seen:
            raise ValueError(f"{path}, row {position}: task_id {task.task_id!r} occurs twice; make the ids distinct")
        seen.add(task.task_id)
        yield task


def parse_task(row: Row) -> Task:
    """The task of one row; ValueError for an unknown layout or a field of the wrong kind."""
    if not isinstance(row, dict):
        got = type(row).__name__
        raise ValueError(f"a task is a JSON object, got {got}")
    for fields, parse in _LAYOUTS.values():
        if fields <= row.keys():
            return parse(_with_unix_line_ends(row))
    known = "; ".join(f"{name} ({', '.join(sorted(fields))})" for name, (fields, _) in _LAYOUTS.items())
    raise ValueError(f"unknown benchmark layout with the fields {sorted(row)}; known layouts: {known}")


def test_program(task: Task, completion: str) -> str:
    """The program that defines the completion's candidate and runs the task's tests; it ends only if all hold.

    The completion is a continuation of the prompt or whole code, bare or in ``` fences. ValueError for a task without
    tests.
    """
    if not task.tests.strip():
        raise ValueError(f"task {task.task_id} has no tests, so that no completion of it can be graded")
    return tested_program(*candidate_parts(task, completion), task.tests + _test_call(task))


# pytest would take the name for a test wherever it is imported.
test_program.__test__ = False  # type: ignore[attr-defined]


def candidate_parts(task: Task, completion: str) -> list[str]:
    """Pieces of code that define the candidate, each compiled by itself.

    Code that defines the entry point stands alone, after what the prompt has above it (imports, other functions);
    other code continues the prompt, up to the first unindented line where the whole does not parse.
    """
    code = extract_code(completion, task.entry_point)
    head = _above_entry_point(task)
    if head is None:
        return [code]
    if _defines(code, task.entry_point):
        return [head, code]
    whole = task.prompt + code
    return [whole if _parses(whole) else task.prompt + _indented_head(code)]


def extract_code(completion: str, entry_point: str | None = None) -> str:
    """The fenced Python block that defines the entry point, else the first one; without fences, the text itself."""
    text = completion.replace("\r\n", "\n")
    blocks = [code for language, code in _FENCE.findall(text) if language.lower() in _PYTHON_FENCES]
    defining = [code for code in blocks if _defines(code, entry_point)]
    return (defining or blocks or [text])[0]


def _rows(path: Path) -> Iterator[Row]:
    content = path.read_bytes()
    if content.startswith(_GZIP_MAGIC):
        content = gzip.decompress(content)
    text = content.decode("utf-8-sig").strip()
    if not text:
        raise ValueError(f"{path} is empty: a benchmark file holds at least one task")
    if not text.startswith("["):
        lines = [line for line in text.split("\n") if line.strip()]
        first = _json_or_none(lines[0])
        is_object_of_rows = first is None or (len(lines) == 1 and _is_object_of_rows(first))
        if not is_object_of_rows:
            yield from (_json(line, f"{path}, row {number}") for number, line in enumerate(lines, start=1))
            return
    rows = _json(text, str(path))
    if isinstance(rows, dict):
        rows = list(rows.values()) if _is_object_of_rows(rows) else [rows]
    yield from rows


def _is_object_of_rows(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(row, dict) for row in value.values())


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: not JSON ({error}); give JSON lines or one JSON array") from error


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _with_unix_line_ends(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n")
    if isinstance(value, dict):
        return {name: _with_unix_line_ends(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_unix_line_ends(item) for item in value]
    return value


def _human_eval(row: Row) -> Task:
    return Task(
        task_id=_text(row, "task_id"),
        prompt=_text(row, "prompt"),
        solution=_text(row, "canonical_solution"),
        tests=_text(row, "test"),
        entry_point=_text(row, "entry_point"),
    )


def _eval_plus(row: Row) -> Task:
    prompt, solution, entry_point = (_text(row, name) for name in ("prompt", "canonical_solution", "entry_point"))
    reference = solution if _defines(solution, entry_point) else prompt + solution
    shapes = _call_arguments(row.get("assertion") or "", entry_point)
    # `in` alone would take `assert f(set(...)) == ...` for a comparison of sets.
    as_sets = re.search(rf"assert set\({re.escape(entry_point)}\(.*\)\s*==\s*set\(", prompt) is not None
    tests = _DIFFERENTIAL_TESTS.format(
        reference=reference,
        inputs=[_as_in_call(arguments, shapes) for arguments in [*row["base_input"], *row["plus_input"]]],
        atol=row.get("atol") or 1e-6,
        as_sets=as_sets,
        entry_point=entry_point,
    )
    return Task(_text(row, "task_id"), prompt, solution, tests, entry_point)


def _call_arguments(assertion: str, entry_point: str) -> list[Any]:
    """The literal arguments of the first call of the entry point; empty where there is none or they are computed."""
    tree = _parsed(assertion)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry_point:
            try:
                arguments = [ast.literal_eval(argument) for argument in node.args]
            except ValueError:
                return []
            # JSON holds the arguments of such a call as text, the real ones too.
            is_complex = any(isinstance(argument, complex) for argument in arguments)
            return [complex(argument) for argument in arguments] if is_complex else arguments
    return []


def _as_in_call(value: Any, example: Any) -> Any:
    """`value` with its lists turned into the tuples and sets, its text into the complex numbers, of `example`.

    Items beyond those of the example are taken to be like its last one.
    """
    if isinstance(value, str) and isinstance(example, complex):
        return complex(value)
    if not isinstance(value, list) or not isinstance(example, list | tuple | set):
        return value
    examples = list(example)
    items = [
        _as_in_call(item, examples[min(position, len(examples) - 1)]) if examples else item
        for position, item in enumerate(value)
    ]
    try:
        return type(example)(items)
    except TypeError:  # a list inside of a set
        return items


def _mbpp(row: Row) -> Task:
    code = _text(row, "code")
    asserts = row["test_list"] if "test_list" in row else row["test"]
    if not isinstance(asserts, list) or not asserts:
        raise ValueError(f"the tests of MBPP are a list of assert statements, got {asserts!r:.80}")
    setup = [row.get("test_setup_code") or "", *(row.get("test_imports") or [])]
    tests = "\n".join(part for part in [*setup, *asserts] if part.strip()) + "\n"
    number = row["task_id"]
    return Task(
        task_id=f"Mbpp/{number}" if isinstance(number, int) else _text(row, "task_id"),
        prompt=_text(row, "text" if "text" in row else "prompt"),
        solution=code,
        tests=tests,
        entry_point=_tested_name(code, asserts),
    )


def _big_code_bench(row: Row) -> Task:
    return Task(
        task_id=_text(row, "task_id"),
        prompt=_text(row, "complete_prompt"),
        solution=_text(row, "canonical_solution"),
        tests=_text(row, "test"),
        entry_point=_text(row, "entry_point"),
    )


def _live_code_bench(row: Row) -> Task:
    starter = row.get("starter_code") or ""
    statement = _text(row, "question_content")
    return Task(
        task_id=str(row["question_id"]),
        prompt=f"{statement}\n\n{starter}" if starter.strip() else statement,
        solution=None,
        tests="",
        entry_point=None,
    )


# The first layout whose fields are all there is taken.
_LAYOUTS: dict[str, tuple[set[str], Callable[[Row], Task]]] = {
    "HumanEval": ({"task_id", "prompt", "canonical_solution", "test", "entry_point"}, _human_eval),
    "HumanEval+ or MBPP+": (
        {"task_id", "prompt", "canonical_solution", "entry_point", "base_input", "plus_input"},
        _eval_plus,
    ),
    "BigCodeBench": (
        {"task_id", "complete_prompt", "canonical_solution", "test", "entry_point"},
        _big_code_bench,
    ),
    "MBPP": ({"task_id", "text", "code", "test_list"}, _mbpp),
    "sanitized MBPP": ({"task_id", "prompt", "code", "test_list"}, _mbpp),
    "MBPP test split": ({"task_id", "prompt", "code", "test"}, _mbpp),
    "LiveCodeBench": ({"question_id", "question_content"}, _live_code_bench),
}


def _text(row: Row, name: str) -> str:
    if not isinstance(row[name], str):
        shown = f"{type(row[name]).__name__} {row[name]!r:.80}"
        raise ValueError(f"the field {name} is text, got {shown}")
    return row[name]


def _test_call(task: Task) -> str:
    """What starts the tests that the task only defines."""
    tree = _parsed(task.tests)
    body = tree.body if tree is not None else []
    if any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in body):
        return f"\ncheck({task.entry_point})\n"
    classes = [node.name for node in body if isinstance(node, ast.ClassDef) and _is_test_case(node)]
    return _RUN_UNITTESTS.format(classes=", ".join(classes)) if classes else ""


def _is_test_case(node: ast.ClassDef) -> bool:
    return any(ast.unparse(parent).split(".")[-1] == "TestCase" for parent in node.bases)


def _tested_name(code: str, asserts: Iterable[str]) -> str | None:
    """The function of `code` that the tests call first, outermost first."""
    defined = _defined_names(_parsed(code))
    for statement in asserts:
        tree = _parsed(statement.strip())
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
                return node.func.id
    return None


def _above_entry_point(task: Task) -> str | None:
    """The prompt's text before the definition of the entry point; None where the prompt does not define it."""
    if task.entry_point is None:
        return None
    found = re.search(rf"^(?:async )?def {re.escape(task.entry_point)}\b", task.prompt, re.MULTILINE)
    if found is None:
        return None
    head = task.prompt[: found.start()]
    return head if _parses(head) else "\n".join(re.findall(r"^(?:import|from) .+$", head, re.MULTILINE))


def _defines(code: str, entry_point: str | None) -> bool:
    """Whether the code defines the name at its top level; text that does not parse is searched for it."""
    if entry_point is None:
        return False
    tree = _parsed(code)
    if tree is None:
        return re.search(rf"^(?:async def|def|class) {re.escape(entry_point)}\b", code, re.MULTILINE) is not None
    return entry_point in _defined_names(tree)


def _defined_names(tree: ast.Module | None) -> set[str]:
    names: set[str] = set()
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _indented_head(code: str) -> str:
    """The lines before the first one that is neither empty nor indented, the first line left aside."""
    lines = code.split("\n")
    for position, line in enumerate(lines[1:], start=1):
        if line and not line[0].isspace():
            return "\n".join(lines[:position]) + "\n"
    return code


def _parses(code: str) -> bool:
    return _parsed(code) is not None


def _parsed(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # benchmarks hold escapes such as '\\d' in plain strings
            return ast.parse(code)
    # ValueError: null bytes or lone surrogates; the other two: nesting that is too deep for the parser.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
