"""Texts that every table and file can hold: Arrow, Parquet and UTF-8 have no half of a pair.

In: a text as JSON or a model gives it. Out: the same text, but each lone surrogate is U+FFFD, which
stands for a character that is lost. Halves that stand side by side become their character. NUL and
all other characters stay.

    storable("a\\ud800b")    # 'a\\ufffdb'
"""

from __future__ import annotations


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
