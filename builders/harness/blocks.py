"""The pieces of code in what a model wrote: fenced, between tags, or bare between sentences.

In: text. Out: `Block`s. A block that does not parse is mended where the fault is not its author's:
blanks that are no blanks, a notebook's commands, the indentation of a list. Then it is cut into the
runs of lines that do parse. Nothing is executed here. The time is linear in the length of the text,
whatever is in it.

    [block.code for block in blocks("So:\\n```python\\ndef f(): return 1\\n```\\nDone.")]
    # ['def f(): return 1']
"""

from __future__ import annotations

import ast
import html
import re
import warnings
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from builders.code.fences import fenced
from builders.code.syntax import parses
from builders.engines import thinking
from builders.harness.statements import Statement, statements

_TAGGED = re.compile(
    r"\[PYTHON\]\n?(?P<a>.*?)(?:\[/PYTHON\]|\Z)"
    r"|<code(?: [^>\n]{0,99})?>\n?(?P<b>.*?)(?:</code>|\Z)"
    r"|<python>\n?(?P<c>.*?)(?:</python>|\Z)",
    re.DOTALL,
)
_ODD = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:""")?'
    r"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*(?:''')?"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
    r"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'?"
    r"|#[^\n]*"
    "|(?P<wide>[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000])"
    "|(?P<empty>[\u200b-\u200d\u2060\ufeff])",
    re.DOTALL,
)
_REFUSED = re.compile("[\0\ud800-\udfff]")
_COMMAND = re.compile(r"^[ \t]*(?:%%?|!)[a-zA-Z].*$", re.MULTILINE)
_BEGINS = re.compile(
    r"(?P<indent>[ \t]*)(?:def \w|async def \w|class \w|@\w|import \w|from [\w.]+ import\b)"
    r"|(?:(?>for .*? in )|(?:if|while|with) ).*:|try:"
    r"|(?:[A-Za-z_]\w*, ?){0,9}[A-Za-z_][\w.]*(?:\[[^\]]*\])?(?: ?: ?[\w.]+(?:\[.*\])?)? ?(?:[-+*/|&]?=[^=]|= *\Z)"
)
"""A line with which code may begin. Sentences seldom look so."""

_MAX_BLOCKS = 200
_MAX_RUNS = 200
_MAX_LINES = 2000
"""Code that is longer is found only where nothing else is in its block."""

_MAX_CUTS = 3


@dataclass(frozen=True)
class Block:
    """A piece of code that parses. `rank` says how the model marked it: as Python or with a bare
    fence (0), as something else (1), not at all (2). `is_cut`: its last statement went on, but not
    as Python.
    """

    code: str
    rank: int = 0
    is_cut: bool = False

    @cached_property
    def statements(self) -> list[Statement]:
        """The code's statements."""
        return statements(self.code)


def unix(text: str) -> str:
    """The text with Unix line ends, without a byte order mark, and without what Python refuses.

    That is null characters and lone surrogates, which JSON can hold.
    """
    return _REFUSED.sub("\ufffd", text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))


def answer(text: str) -> str:
    """What follows the model's thinking, up to an end token. Empty while it still thinks.

    Thinking that was cut off is no answer, whatever drafts it holds. But if it ends with a whole
    fenced block, the model has stopped there, and only forgot to close the tag: then the block
    counts. A text that is cut by its length seldom ends so.
    """
    found = thinking.split(text)
    is_answer = not found.answer.strip() and _ends_with_block(found.unclosed)
    return found.unclosed if is_answer else found.answer


def _ends_with_block(text: str) -> bool:
    """Whether the last line closes a fenced block."""
    lines = text.rstrip().split("\n")
    if re.fullmatch(r"[ \t]*(?:`{3,}|~{3,})", lines[-1]) is None:
        return False
    found, between = fenced("\n".join(lines))
    is_last = bool(found) and found[-1].line < len(lines) - 1 and not between[-1].strip()
    return is_last and found[-1].code.split("\n")[-1].strip() != lines[-1].strip()


def blocks(text: str) -> list[Block]:
    """The blocks of a text with Unix line ends, marked ones first."""
    marked, between = fenced(text)
    places = [(block.line, 0 if block.is_python else 1, block.code) for block in marked]
    places = sorted([*places, *_tagged(text)], key=lambda place: place[0])[-_MAX_BLOCKS:]
    found = [block for _, rank, code in places for block in runs(code, rank)]
    return [*found, *(block for part in between[-_MAX_BLOCKS:] for block in runs(part, rank=2))]


def _tagged(text: str) -> list[tuple[int, int, str]]:
    """Line, rank and content of what stands between tags."""
    ends = [found.start() for found in re.finditer("\n", text)]
    return [
        (bisect(ends, found.start()), 0, next(part for part in found.groups() if part is not None))
        for found in _TAGGED.finditer(text)
    ]


def runs(code: str, rank: int = 0) -> list[Block]:
    """The runs of lines that parse. What stands between them is left out."""
    code = mended(code)
    if parses(code):
        return [Block(code, rank)] if code.strip() else []
    return list(_runs(code.split("\n"), rank))


def _runs(lines: Sequence[str], rank: int) -> Iterator[Block]:
    start = count = 0
    while start < len(lines) and count < _MAX_RUNS:
        begins = _BEGINS.match(lines[start])
        if begins is None:
            start += 1
            continue
        count += 1
        indent = begins["indent"] or ""
        body = _indented(lines[start : start + _MAX_LINES], indent)
        size, wrong = prefix(body)
        if size:
            yield Block("\n".join(body[:size]), rank, size < len(body) and body[size][:1].isspace())
        # Without a run, what stands before the wrong line is a statement without its end.
        start += size or max(1, min(wrong, len(body)) - 1)
        # What is left of a cut statement is no statement of its own.
        while start < len(lines) and lines[start].startswith((f"{indent} ", f"{indent}\t")):
            start += 1


def _indented(lines: Sequence[str], indent: str) -> list[str]:
    """The lines up to the first with less indentation, without it."""
    if not indent:
        return list(lines)
    end = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith(indent)), len(lines))
    return [line.removeprefix(indent) for line in lines[:end]]


def prefix(lines: Sequence[str]) -> tuple[int, int]:
    """How many lines from the first on parse together, near the most; and the first wrong line.

    The latter is counted from 1, and 0 if there is none.
    """
    end, first = len(lines), 0
    for cut in range(99):
        wrong = _wrong_line("\n".join(lines[:end]))
        if wrong is None:
            break
        first = first or wrong
        end = max(0, min(wrong - 1, end - 1))
        # An end that is only missing would move up line by line.
        if cut >= 2 * _MAX_CUTS:
            end //= 2
        elif cut >= _MAX_CUTS:
            end = next((number for number in range(end - 1, -1, -1) if lines[number][:1].strip()), 0)
    return end, first


def _wrong_line(code: str) -> int | None:
    """The number of the line (from 1) where Python's parser gives up. None if it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        return error.lineno or 1
    # Null bytes, lone surrogates, or nested too deeply.
    except (ValueError, RecursionError, MemoryError):
        return code.count("\n") + 1
    return None


def mended(code: str) -> str:
    """The code, or if that does not parse, the code without what is not of its author's making."""
    for mend in (_with_plain_blanks, _without_commands):
        if parses(code):
            return code
        code = mend(code)
    return next((whole for whole in (code, _dedented(code), html.unescape(code)) if parses(whole)), code)


def _with_plain_blanks(code: str) -> str:
    """Other blanks than Python's as blanks, those of no width left out. Texts stay as they are."""
    return _ODD.sub(lambda found: " " if found["wide"] else "" if found["empty"] else found[0], code)


def _without_commands(code: str) -> str:
    """Without a notebook's lines for the shell (`!pip`) and for itself (`%%time`)."""
    return _COMMAND.sub("", code)


def _dedented(code: str) -> str:
    """Without the indentation of the first line that is not empty."""
    first = next((line for line in code.split("\n") if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    return "\n".join(line.removeprefix(indent) for line in code.split("\n"))
