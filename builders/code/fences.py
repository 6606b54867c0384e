"""The fenced blocks of a text: three or more ` or ~, as in Markdown, but read as models write them.

In: text with Unix line ends. Out: the blocks, and the texts between them. What differs from
CommonMark, because models do it:
- A fence with a language ends the block before it, which was not closed.
- A fence may stand behind a sentence (`Answer: ```python`), and the last one behind code.
- A block of which the part before the first closing fence is not Python, but that before a later
  one is, goes on until there: its docstring has fences.
- The last block may lack its closing fence.

    fenced("So:\\n```py\\ndef f(): return 1\\n```\\nDone.")
    # ([Fenced(line=1, language='py', code='def f(): return 1')], ['So:', 'Done.'])
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from builders.code.syntax import parses

_PYTHON = re.compile(r"(?:i?py|i?python|sage|none)?[\d.]*\Z", re.IGNORECASE)
_LANGUAGE = re.compile(r"[{. \t]*([\w+#.-]*)")
_BULLET = re.compile(r"[ \t]*+(?:(?:[-*+>]|\d{1,9}[.)])[ \t]*+)?\Z")
_QUOTE = re.compile(r"(?<![ \t])[ \t]*+> ?")
_MORE_FENCES = 8
"""So many fences after the first closing one are tried as the end of a block."""


@dataclass(frozen=True)
class Fenced:
    """A block: the number of its first fence's line, the language beside it, and what is inside.

    A block that ends where the text ends is not closed.
    """

    line: int
    language: str
    code: str
    is_closed: bool = True

    @property
    def is_python(self) -> bool:
        """Whether it is marked as Python, or not at all."""
        return _PYTHON.match(self.language) is not None


@dataclass(frozen=True)
class _Fence:
    """A fence in its line: the text before it, its characters, and the language after it."""

    line: int
    before: str
    marks: str
    language: str

    @property
    def is_alone(self) -> bool:
        """Whether only blanks, a bullet or a quotation mark stand before it."""
        return _BULLET.match(self.before) is not None

    def opens(self) -> bool:
        """Whether a block can begin here."""
        return self.is_alone or (self.marks[0] == "`" and _PYTHON.match(self.language) is not None)

    def closes(self, opening: _Fence) -> bool:
        """Whether the block of `opening` can end here."""
        if self.marks[0] != opening.marks[0] or len(self.marks) < len(opening.marks):
            return False
        return self.is_alone or (not self.language and not set("\"'#") & set(self.before))


def fenced_python(text: str) -> list[str]:
    """The blocks that are marked as Python or not marked at all."""
    return [block.code for block in fenced(text)[0] if block.is_python]


def before_fence(text: str) -> str:
    """The text before its first fence."""
    lines = text.split("\n")
    for fence in _fences(lines):
        if fence.closes(fence):
            return "\n".join([*lines[: fence.line], fence.before])
    return text


def opened_fence(text: str) -> str | None:
    """What is inside the block with which the text begins. None if it does not begin with one."""
    if not text.lstrip().startswith(("```", "~~~")):
        return None
    found, _ = fenced(text.lstrip())
    return found[0].code if found else None


def fenced(text: str) -> tuple[list[Fenced], list[str]]:
    """The blocks, and the texts before, between and after them."""
    lines = text.split("\n")
    fences = _fences(lines)
    found, between, place, rest = list[Fenced](), list[str](), 0, 0
    while place < len(fences):
        opening = fences[place]
        place += 1
        if not opening.opens():
            continue
        between.append("\n".join([*lines[rest : opening.line], "" if opening.is_alone else opening.before]))
        place = _end(lines, fences, place, opening)
        closing = fences[place] if place < len(fences) else None
        inside = _inside(lines, opening, closing)
        found.append(Fenced(opening.line, opening.language, inside, closing is not None))
        rest = len(lines) if closing is None else closing.line + 1
        # A fence with a language ends one block and begins the next.
        if closing is not None and closing.language:
            rest = closing.line
        else:
            place += 1
    return found, [*between, "\n".join(lines[rest:])]


def _fences(lines: Sequence[str]) -> list[_Fence]:
    found = []
    for number, line in enumerate(lines):
        places = [place for place in (line.find("```"), line.find("~~~")) if place >= 0]
        if not places:
            continue
        before, rest = line[: min(places)], line[min(places) :]
        info = rest.lstrip(rest[0])
        language = _LANGUAGE.match(info)
        if rest[0] not in info:
            found.append(_Fence(number, before, rest[: len(rest) - len(info)], language[1] if language else ""))
    return found


def _end(lines: Sequence[str], fences: Sequence[_Fence], place: int, opening: _Fence) -> int:
    """The place of the closing fence of a block that is open at `place`."""
    first = place
    while first < len(fences) and not fences[first].closes(opening):
        first += 1
    later = range(first, min(first + _MORE_FENCES, len(fences)))
    bare = [p for p in later if fences[p].closes(opening) and not fences[p].language]
    return next((p for p in bare if parses(_inside(lines, opening, fences[p]))), first)


def _inside(lines: Sequence[str], opening: _Fence, closing: _Fence | None) -> str:
    """What is between two fences, less the indentation of the first one."""
    inside = list(lines[opening.line + 1 : None if closing is None else closing.line])
    if closing is not None and not closing.is_alone:
        inside.append(closing.before)
    if opening.before.strip() == ">":
        return "\n".join(_QUOTE.sub("", line, count=1) for line in inside)
    width = len(opening.before) if opening.is_alone else 0
    return "\n".join(line[min(width, len(line) - len(line.lstrip())) :] for line in inside)
