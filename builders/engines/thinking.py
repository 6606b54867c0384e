"""The thinking of a reasoning model, apart from its answer.

In: what a model wrote. Out: its `reasoning`, its `answer`, and whether it still thinks at the end.
Nothing that stands in the reasoning is part of the answer. The time is linear in the length of the
text, and no text makes it raise.

    split("<think>\nTwo and two.\n</think>\n\n4")
    # Split(reasoning='Two and two.', answer='\n\n4', is_open=False, unclosed='')

- Tags are `<think>`, `<thinking>`, `<thought>`, `<reasoning>`, `[THINK]` and `◁think▷`.
- The opening tag may be missing: some templates put it into the prompt.
- In the channels of gpt-oss, what follows the last `final` is the answer.
- Tags and tokens in the strings and comments of code are no marks of the model (see `_marks`).
- A tag that is not closed begins a line, or follows a fence. In the middle of a sentence it is what
  the sentence is about.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from builders.code.fences import fenced
from builders.code.syntax import parses

# A tag or token in quotes is data of a program that looks for it.
_UNQUOTED = r"(?<![\"'])(?<!(?<!`)`){}(?![\"'])"
_THINKING = "think|thinking|thought|reasoning"
_OPENED = re.compile(_UNQUOTED.format(rf"(?:<(?:{_THINKING})>|\[THINK\]|◁think▷)"), re.IGNORECASE)
_CLOSED = re.compile(_UNQUOTED.format(rf"(?:</(?:{_THINKING})>|\[/THINK\]|◁/think▷)"), re.IGNORECASE)
_END = re.compile(
    _UNQUOTED.format(r"(?:<\|(?:endoftext|endofmask|im_end|eot_id|end_of_text|EOT|end|return|call)\|>|</s>)")
)
_CHANNEL = re.compile(r"(?<![\"'`])<\|channel\|>\s{0,9}(?:analysis|commentary)\b")
_FINAL = re.compile(r"(?<![\"'`])<\|channel\|>\s{0,9}final\b[^<\n]{0,99}(?:<\|constrain\|>[^<\n]{0,99})?<\|message\|>")
_BEGINS_THINKING = re.compile(r"^[ \t]*+(?:(?:`{3,}|~{3,})[ \t]*+)?\Z")
_QUOTES = re.compile(r"\"|(?<!\w)[rbfuRBFU]{0,2}'|'(?!\w)")
_COMMENT = re.compile(r"(?:^|\s)#")
_NEAR = 200
"""So many characters of a line before and behind a tag are looked at."""


_PROMPT_END = re.compile(rf"(?:<(?:{_THINKING})>|\[THINK\]|◁think▷)\s{{0,9}}\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Split:
    """A text in parts.

    `reasoning` is None where the model did not think. `is_open`: the text ends while it thinks.
    `unclosed` is what follows a tag that is never closed, and empty if there is none.
    """

    reasoning: str | None
    answer: str
    is_open: bool = False
    unclosed: str = ""


def split(text: str) -> Split:
    """The parts of a text. The answer ends at an end token, such as `<|im_end|>`."""
    closed = max(_marks(_CLOSED, text), key=re.Match.end, default=None)
    before, rest = (text[: closed.start()], text[closed.end() :]) if closed else ("", text)
    thought, rest, is_open = _last_channel(rest)
    begins = (found for found in _marks(_OPENED, rest) if _BEGINS_THINKING.search(_line_before(rest, found.start())))
    opened, end = next(begins, None), min(_ends(rest), default=len(rest))
    if opened is None or end < opened.start():
        return Split(_joined(before, thought), rest[:end], is_open)
    unclosed = rest[opened.end() : end]
    return Split(_joined(before, thought, unclosed), rest[: opened.start()], True, unclosed)


def opened_by(prompt: str) -> str:
    """The tag with which a prompt ends, and the blanks behind it: '' where it ends otherwise.

    The model goes on thinking there. Put before its text, the tag says so.
    """
    found = _PROMPT_END.search(prompt[-_NEAR:])
    return found[0] if found else ""


def first_of_answer(tokens: Sequence[str]) -> int | None:
    """The place of the first token of the answer that is more than blanks. None if there is none.

    first_of_answer(["<think>", "5?", "</think>", "\\n", "7"])    # 4
    """
    text = "".join(tokens)
    found = split(text)
    start, end = text.rfind(found.answer), 0
    for place, token in enumerate(tokens):
        begin, end = end, end + len(token)
        if found.answer.strip() and text[max(begin, start) : end].strip():
            return place
    return None


def _joined(*thoughts: str) -> str | None:
    """Thoughts as one text without the tag that opens it. None where there is nothing."""
    text = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    opened = _OPENED.match(text)
    return text[opened.end() if opened else 0 :].strip() or None


def _last_channel(text: str) -> tuple[str, str, bool]:
    """What gpt-oss thinks, what it writes in its last channel `final`, and whether it still thinks.

    Servers that leave out special tokens give `analysis…assistantfinal…`.
    """
    if text.startswith("analysis") and "assistantfinal" in text:
        thought, _, said = text.rpartition("assistantfinal")
        return thought, said, False
    ends, thinks = _marks(_FINAL, text), _marks(_CHANNEL, text)
    if ends:
        return text[: ends[-1].start()], text[ends[-1].end() :], False
    return (text[thinks[0].end() :], text[: thinks[0].start()], True) if thinks else ("", text, False)


def _marks(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """What the pattern finds in the text, but not in a program that has it in a text of its own.

    That is within a fenced block that is Python with it.
    """
    found = list(pattern.finditer(text))
    if not found:
        return []
    ends = [end.start() for end in re.finditer("\n", text)]
    programs = [
        (block.line, block.line + block.code.count("\n") + 1) for block in fenced(text)[0] if parses(block.code)
    ]
    starts = [first for first, _ in programs]

    def is_in_program(position: int) -> bool:
        line = bisect(ends, position - 1)
        place = bisect(starts, line) - 1
        return place >= 0 and programs[place][0] < line <= programs[place][1]

    return [one for one in found if not is_in_program(one.start()) and not _is_quoted(one, text)]


def _ends(text: str) -> list[int]:
    """Where end tokens stand that are not within quotes or a comment of one line."""
    return [found.start() for found in _marks(_END, text) if not _is_quoted(found, text)]


def _is_quoted(found: re.Match[str], text: str) -> bool:
    before = _line_before(text, found.start())
    after = text[found.end() : found.end() + _NEAR].partition("\n")[0].strip()
    if len(before) == _NEAR or after.startswith("<|"):
        return False
    quotes = "".join(_QUOTES.findall(before))
    is_open = any(quotes.count(quote) % 2 and quote in after for quote in "\"'")
    return is_open or (bool(after) and _COMMENT.search(before) is not None)


def _line_before(text: str, position: int) -> str:
    """What stands before a position in its line, or the nearest part of it."""
    return text[max(0, position - _NEAR) : position].rpartition("\n")[2]
