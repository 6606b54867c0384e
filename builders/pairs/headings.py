"""The two parts of a pair under their headings, as models write them.

In: text with Unix line ends. Out: `Parts`: the problem, what follows the heading of the solution,
or what is missing. No text makes it raise, and its time is linear in the length of the text.

    parts("**Problem:** Add.\\n\\n## Solution\\nHere it is.").problem    # 'Add.'

Headings that are read, the strongest kind first:
    ### Problem                                  just what the prompt asks for, wherever it stands
    ## Problem   # Problem:   ### problem 1: X   any number of #, a colon, words behind the colon
    **Problem**   **Problem:** X   __Problem__   bold
    Problem: X                                   with a colon at the start of a line

The first heading of the strongest kind that there is counts. Weaker kinds do not count inside
fenced blocks, where `# Solution` is a comment. A plain `Solution:` counts only where the problem
has a plain heading, too: in other texts it is a line of an example. If the heading of the solution
stands before that of the problem, the pair is not whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from builders.code.fences import Fenced, fenced

_HEADING = re.compile(
    r"(?:> ?)?(?P<hashes>#{1,6}[ \t]{0,3})?(?P<bold>\*\*|__)?(?P<name>problem|solution)"
    r"(?: (?:statement|description|code|\d{1,3}))?(?P<colon> ?:)?(?P<end>\*\*|__)?(?P<last> ?:)?",
    re.IGNORECASE,
)
_OUTER = re.compile(r"[ \t]{0,3}(?:`{3,}|~{3,})[ \t]{0,3}(?:markdown|md|text|plaintext)?[ \t\r]*\Z", re.IGNORECASE)
_FENCE = re.compile(r"[ \t]{0,9}(?:`{3}|~{3})")
_EXACT, _PLAIN = 0, 3


@dataclass(frozen=True)
class Parts:
    """`problem` and `rest` are None where they are missing, and `fault` says why."""

    problem: str | None = None
    rest: str | None = None
    fault: str | None = None


@dataclass(frozen=True)
class _Heading:
    """A heading: its line, its kind from strong to weak, and what follows it in its line."""

    line: int
    name: str
    kind: int
    more: str


def parts(text: str) -> Parts:
    """The parts of a text."""
    lines = _without_outer_fences(text.split("\n"))
    found = list(_visible(lines))
    start = _first(found, "problem") or _in_a_line(lines)
    if start is None:
        return Parts(fault="there is no heading '### Problem'")
    kinds = {_PLAIN} if start.kind == _PLAIN else {_EXACT, 1, 2}
    head = _first([one for one in found if one.kind in kinds], "solution")
    if head is not None and head.line < start.line:
        return Parts(fault="'### Solution' stands before '### Problem'")
    problem = _between(lines, start, head.line if head else None).strip()
    if not problem:
        return Parts(fault="nothing stands under '### Problem'")
    if head is None:
        return Parts(problem, fault="there is no heading '### Solution'")
    return Parts(problem, _between(lines, head, _next(found, start, head)))


def _first(found: Sequence[_Heading], name: str) -> _Heading | None:
    return min((one for one in found if one.name == name), key=lambda one: (one.kind, one.line), default=None)


def _next(found: Sequence[_Heading], start: _Heading, head: _Heading) -> int | None:
    """Where another pair begins. Of that nothing is taken."""
    return next((one.line for one in found if one.line > head.line and _is_alike(one, start)), None)


def _is_alike(one: _Heading, other: _Heading) -> bool:
    return (one.name, one.kind) == (other.name, other.kind)


def _between(lines: Sequence[str], heading: _Heading, end: int | None) -> str:
    return "\n".join([heading.more, *lines[heading.line + 1 : end]])


def _without_outer_fences(lines: list[str]) -> list[str]:
    """The lines, where a fence around the whole answer is empty.

    It is the first fence of the text, and the heading of the problem comes next.
    """
    filled = [number for number, line in enumerate(lines) if line.strip()]
    for number, following in pairwise(filled):
        if _FENCE.match(lines[number][:100]) is None:
            continue
        heading = _heading(following, lines[following])
        is_outer = _OUTER.match(lines[number][:100]) is not None
        if is_outer and heading is not None and heading.name == "problem":
            lines[number] = ""
        break
    return lines


def _visible(lines: Sequence[str]) -> Iterator[_Heading]:
    """The headings, but not those of the weaker kinds inside fenced blocks."""
    found = [one for number, line in enumerate(lines) if (one := _heading(number, line)) is not None]
    inside = [(block.line, block.line + block.code.count("\n") + 1) for block in _blocks(lines, found)]
    place = 0
    for one in found:
        while place < len(inside) and inside[place][1] < one.line:
            place += 1
        is_inside = place < len(inside) and inside[place][0] < one.line
        if one.kind == _EXACT or not is_inside:
            yield one


def _blocks(lines: Sequence[str], found: Sequence[_Heading]) -> list[Fenced]:
    return fenced("\n".join(lines))[0] if any(one.kind != _EXACT for one in found) else []


def _heading(number: int, line: str) -> _Heading | None:
    bare = line[:200].strip()
    found = _HEADING.match(bare)
    if found is None:
        return None
    name, more = found["name"].lower(), line.strip()[found.end() :].strip()
    if line.rstrip() in ("### Problem", "### Solution"):
        return _Heading(number, name, _EXACT, "")
    has_colon = bool(found["colon"] or found["last"])
    is_bold = found["bold"] is not None and found["bold"] == found["end"]
    if (found["bold"] is None) != (found["end"] is None) or (more and not has_colon):
        return None
    if found["hashes"]:
        return _Heading(number, name, 1, more)
    if is_bold:
        return _Heading(number, name, 2, more)
    return _Heading(number, name, _PLAIN, more) if has_colon else None


def _in_a_line(lines: Sequence[str]) -> _Heading | None:
    """`### Problem` behind other words."""
    for number, line in enumerate(lines):
        if "### Problem" in line:
            return _Heading(number, "problem", _EXACT, line.partition("### Problem")[2].lstrip(": \t"))
    return None
