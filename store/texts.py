"""Texts that every table and file can hold: Arrow, Parquet and UTF-8 have no half of a pair.

In: a text as JSON or a model gives it. Out: the same text, but each lone surrogate is U+FFFD, which
stands for a character that is lost. Halves that stand side by side become their character. NUL and
all other characters stay.

    storable("a\\ud800b")    # 'a\\ufffdb'

A message that others wrote goes to a terminal as one line of visible characters. Otherwise it could
steer the terminal, or forge a line of its own.

    one_line("a\\x1b[2J\\nb")    # 'a\\ufffd[2J b'
"""

from __future__ import annotations

import unicodedata


def storable(text: str) -> str:
    """The text without lone surrogates.

    storable("\\ud83d\\ude00") == "\\U0001f600"    # True
    """
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """The text as one line without control characters, also those that turn its direction.

    Each of them is U+FFFD, and each line break or tab a space.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, storable(text)))


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    return "\ufffd" if unicodedata.category(character).startswith("C") else character
