"""Special tokens that stand in somebody's text are text, and not tokens.

A snippet may hold `<|im_end|>` in a string. As a token it would end the turn that it stands in, and
code that is scored could go on with a turn of its own. So such strings are marked in the text of a
turn before the chat template sees it. When the rendered text becomes ids, what is marked is
divided like any other text.

    text = marked(tokenizer, 'STOP = "<|im_end|>"')
    ids(tokenizer, [text])              # `<`, `|`, `im`, … and no end of a turn
    without_marks(text)                 # what it was
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

Ids = list[int]

# Two of Unicode's noncharacters, which no text is meant to hold.
OPEN, CLOSE = "\ufdd0", "\ufdd1"
_MARKED = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")


def marked(tokenizer: Any, text: str) -> str:
    """The text of a turn, with marks around what the tokenizer would take for a special token."""
    pattern = _special(tokenizer, len(tokenizer.added_tokens_decoder))
    return pattern.sub(lambda found: f"{OPEN}{found[0]}{CLOSE}", without_marks(text)) if pattern else text


def without_marks(text: str) -> str:
    return text.replace(OPEN, "").replace(CLOSE, "")


def ids(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    """The token ids of rendered texts. Templates write special tokens themselves."""
    if not texts:
        return []
    found: list[Ids] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [_divided(tokenizer, text) if OPEN in text else known for text, known in zip(texts, found, strict=True)]


def _divided(tokenizer: Any, text: str) -> Ids:
    """The ids of a text with marks: the parts outside of marks, and the marked ones in two pieces.

    A special token that is cut after its first character is none any more.
    """
    first, *parts = _MARKED.split(text)
    found = list(tokenizer(first, add_special_tokens=False)["input_ids"])
    for place, part in enumerate(parts):
        pieces = (part[:1], part[1:]) if place % 2 == 0 else (part,)
        found += [token for piece in pieces if piece for token in _inside(tokenizer, piece)]
    return found


def _inside(tokenizer: Any, piece: str) -> Ids:
    """The ids of a piece inside of a text. Some tokenizers write a blank where a text begins."""
    line, both = tokenizer(["\n", f"\n{piece}"], add_special_tokens=False)["input_ids"]
    if both[: len(line)] == line:
        return both[len(line) :]
    return tokenizer(piece, add_special_tokens=False)["input_ids"]


@lru_cache(maxsize=16)
def _special(tokenizer: Any, num_added: int) -> re.Pattern[str] | None:
    """What finds the special tokens of a tokenizer. `num_added` notices tokens that are added."""
    words = {str(token) for token in tokenizer.all_special_tokens}
    words |= {str(token) for token in tokenizer.added_tokens_decoder.values() if getattr(token, "special", False)}
    longest_first = sorted((word for word in words if word), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
