"""The rows of published benchmarks as tasks. The fields of a row tell which benchmark it is from.

In: one row as a dictionary. Out: a `Task` with Unix line ends. This is pure parsing: nothing of a
row is executed or unpickled.

What the tests of a task are, by layout:
- HumanEval: the file's `check(candidate)`.
- MBPP: setup code, imports and `test_list`, but not `challenge_test_list`. The test split in
  DeepSeek's form leaves the setup code out, so no solution of its Mbpp/367 can pass.
- HumanEval+ and MBPP+ without tests: the candidate's answers are compared with those of the
  canonical solution, on all base and plus inputs. Floats may differ by `atol`. MBPP+ tasks whose
  own example compares sets are compared as sets. JSON has only lists: they become the tuples and
  sets of the file's first assertion. EvalPlus has a table of its own for both, so it may grade
  single tasks otherwise. An input on which the canonical solution raises is skipped. On some inputs
  the canonical solution takes longer than the sandbox's default of 10 s (Mbpp/123, /271, /392):
  allow 30 s.
- BigCodeBench: the file's unittest classes. They need libraries, which the sandbox has only if they
  are in the Python installation itself.
- LeetCodeDataset: its `check(candidate)`, below the imports and node classes that its judge offers.
- APPS with a function name: its inputs and outputs, compared as APPS does. A tuple equals a list,
  and an answer may be the only item of the output. Of its many `solutions` the first one is taken.
- MultiPL-E in Python: its `check(candidate)`.

Some tasks have no tests. They serve decontamination and cannot be graded: LiveCodeBench and APPS
tasks that read standard input, CRUXEval (one example is no test), DS-1000 (fragments inside a
context), and MultiPL-E in other languages.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from builders.harness.programs import defined_names, defines, parsed
from builders.harness.tasks import Task

Row = dict[str, Any]

# All names are inside one function, so that they do not hide the candidate's: one MBPP task is
# called `check`.
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
    # A regular expression's match equals only itself. What counts is whether there is one.
    is_match = any(type(expected).__name__ == "Match" for _, expected in expectations)
    view = bool if is_match else set if as_sets else (lambda answer: answer)
    for arguments, expected in expectations:
        got = candidate(*copy.deepcopy(arguments))
        assert is_same(view(got), view(expected)), f"{{arguments!r}}: expected {{expected!r}}, got {{got!r}}"


_compare_with_reference({entry_point})
"""

_CALL_TESTS = """\
def check(candidate):
    inf, nan = float("inf"), float("nan")
    for arguments, expected in {cases!r}:
        got = candidate(*arguments)
        got = list(got) if isinstance(got, tuple) else got
        is_only_item = isinstance(expected, list) and len(expected) == 1 and got == expected[0]
        assert got == expected or is_only_item, f"expected {{expected!r}}, got {{got!r}}"
"""


def parse_task(row: Row) -> Task:
    """The task of one row. ValueError for an unknown layout, or a field of the wrong type."""
    if not isinstance(row, dict):
        got = type(row).__name__
        raise ValueError(f"a task must be a JSON object, got {got}")
    for fields, parse in _LAYOUTS.values():
        if fields <= row.keys():
            return parse(_with_unix_line_ends(row))
    known = "; ".join(f"{name} ({', '.join(sorted(fields))})" for name, (fields, _) in _LAYOUTS.items())
    raise ValueError(f"unknown benchmark layout with the fields {sorted(row)}; the known layouts are: {known}")


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
    reference = solution if defines(solution, entry_point) else prompt + solution
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
    """The literal arguments of the first call of the entry point.

    Empty where there is no call, or where an argument is computed.
    """
    tree = parsed(assertion)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry_point:
            try:
                arguments = [ast.literal_eval(argument) for argument in node.args]
            except ValueError:
                return []
            # JSON holds the arguments of such a call as text, also those that are real numbers.
            is_complex = any(isinstance(argument, complex) for argument in arguments)
            return [complex(argument) for argument in arguments] if is_complex else arguments
    return []


def _as_in_call(value: Any, example: Any) -> Any:
    """`value` with the types of `example`: lists become tuples or sets, and text complex numbers.

    Items beyond those of the example are treated like its last one.
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
        raise ValueError(f"the tests of MBPP must be a list of assert statements, got {asserts!r:.80}")
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
    prompt = _with_starter(_text(row, "question_content"), row)
    return Task(task_id=str(row["question_id"]), prompt=prompt, solution=None, tests="", entry_point=None)


def _leet_code(row: Row) -> Task:
    return Task(
        task_id=_text(row, "task_id"),
        prompt=_text(row, "query"),
        solution=_text(row, "completion"),
        # `prompt` is what the judge has in scope, nearly the same in all tasks. It goes first.
        tests=f"{_text(row, 'prompt')}\n{_text(row, 'test')}",
        entry_point=_text(row, "entry_point"),
    )


def _apps(row: Row) -> Task:
    solutions, cases = (_json_field(row, name) for name in ("solutions", "input_output"))
    starter = row.get("starter_code") or ""
    name = cases.get("fn_name") if isinstance(cases, dict) else None
    pairs = list(zip(cases["inputs"], cases["outputs"], strict=False)) if name else []
    entry_point = f"Solution().{name}" if re.search(r"^class Solution\b", starter, re.MULTILINE) else name
    return Task(
        task_id=f"APPS/{row['problem_id' if 'problem_id' in row else 'id']}",
        prompt=_with_starter(_text(row, "question"), row),
        solution=solutions[0].replace("\r\n", "\n") if solutions else None,
        tests=_CALL_TESTS.format(cases=pairs) if pairs else "",
        entry_point=entry_point,
    )


def _crux_eval(row: Row) -> Task:
    code, call, answer = (_text(row, name) for name in ("code", "input", "output"))
    prompt = f"{code}\n\nassert f({call}) == {answer}\n"
    return Task(task_id=f"CRUXEval/{row['id']}", prompt=prompt, solution=code, tests="", entry_point="f")


def _ds_1000(row: Row) -> Task:
    about = _json_field(row, "metadata")
    if not isinstance(about, dict) or "problem_id" not in about:
        raise ValueError(f"the metadata of DS-1000 must hold a problem_id, got {about!r:.80}")
    return Task(
        task_id=f"DS-1000/{about['problem_id']}",
        prompt=_text(row, "prompt"),
        solution=_text(row, "reference_code"),
        tests="",
        entry_point=None,
    )


def _multipl_e(row: Row) -> Task:
    name, language = _text(row, "name"), _text(row, "language")
    is_python = language in ("py", "python")
    function = re.match(r"[A-Za-z]+_\d+_(\w+)\Z", name)
    return Task(
        task_id=name,
        prompt=_text(row, "prompt"),
        solution=None,
        tests=_text(row, "tests") if is_python else "",
        entry_point=function.group(1) if function else None,
        language="python" if is_python else language,
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
    "LeetCodeDataset": ({"task_id", "query", "prompt", "completion", "test", "entry_point"}, _leet_code),
    "APPS": ({"problem_id", "question", "solutions", "input_output"}, _apps),
    "APPS, older": ({"id", "question", "solutions", "input_output"}, _apps),
    "CRUXEval": ({"id", "code", "input", "output"}, _crux_eval),
    "DS-1000": ({"prompt", "reference_code", "metadata"}, _ds_1000),
    "MultiPL-E": ({"name", "language", "prompt", "tests"}, _multipl_e),
}


def _text(row: Row, name: str) -> str:
    if not isinstance(row[name], str):
        shown = f"{type(row[name]).__name__} {row[name]!r:.80}"
        raise ValueError(f"the field {name} must be text, got {shown}")
    return row[name]


def _json_field(row: Row, name: str) -> Any:
    """A field that is JSON text in some files and plain data in others. Empty text gives None."""
    value = row[name]
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except json.JSONDecodeError as error:
        raise ValueError(f"the field {name} must be JSON text, got {value!r:.80} ({error})") from error


def _with_starter(statement: str, row: Row) -> str:
    starter = row.get("starter_code") or ""
    return f"{statement}\n\n{starter}" if starter.strip() else statement


def _tested_name(code: str, asserts: Iterable[str]) -> str | None:
    """The function of `code` that the tests call first, outermost first."""
    defined = defined_names(parsed(code))
    for statement in asserts:
        tree = parsed(statement.strip())
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
                return node.func.id
    return None
