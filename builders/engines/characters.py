"""The characters of an answer, from its bytes and the charset that its header names.

In: bytes of any kind. Out: their text, and whether it is a guess or broken.

- UTF-16 and UTF-32 are known by their marks and their zero bytes, whatever the header says.
- A charset that writes a character in several bytes, such as GBK, is used where it is named: a few
  of its characters look like UTF-8.
- All other bytes that are UTF-8 are UTF-8. Many servers name a charset of Western Europe for it.
- Then the charset that is named is used. Where none is, the bytes hold other UTF-8 with a few bad
  ones, or they are read as Windows-1252, which is a guess.

    read("“twice”".encode("cp1252"), "windows-1252").text    # '“twice”'
"""

from __future__ import annotations

import codecs
import json
from functools import lru_cache
from typing import NamedTuple

GUESSED = "an answer is no UTF-8 and names no charset: it was read as Windows-1252"

_WIDE = ("utf-16", "utf-32")
_SEVERAL_BYTES = (*_WIDE, "gb", "big5", "cp932", "cp949", "cp950", "shift_jis", "euc", "johab", "iso2022", "hz")
_ONE_BYTE = ("cp", "iso8859", "koi8", "mac", "tis", "ptcp", "kz1048")
# As browsers do: these are mostly used under the name of the smaller ones.
_LARGER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-1": "cp1252",
}


class Text(NamedTuple):
    """Characters. `is_guess`: of an unknown charset. `is_broken`: not of the one that was named."""

    text: str
    is_guess: bool = False
    is_broken: bool = False


def read(content: bytes, charset: str | None = None) -> Text:
    """The characters of bytes whose header names this charset."""
    found = json.detect_encoding(content[:4])
    codec = found if found.startswith(_WIDE) else _codec(charset)
    if codec is None or not codec.startswith(_SEVERAL_BYTES):
        try:
            return Text(content.decode())
        except UnicodeDecodeError:
            pass
    if codec is not None:
        return _of(content, codec)
    if not content.decode("utf-8", "ignore").isascii():
        return Text(content.decode("utf-8", "replace"))
    return Text(_western(content), is_guess=True)


def _of(content: bytes, codec: str) -> Text:
    if codec == "cp1252":
        return Text(_western(content))
    for name in (codec, "utf-8"):
        try:
            return Text(content.decode(name))
        except UnicodeDecodeError:
            continue
    return Text(content.decode(codec, "replace"), is_broken=True)


def _western(content: bytes) -> str:
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@lru_cache
def _codec(charset: str | None) -> str | None:
    """Python's name of a charset. None for UTF-8 and for all that is no charset of text."""
    try:
        name = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        return None
    name = _LARGER.get(name, name)
    return name if name.startswith((*_SEVERAL_BYTES, *_ONE_BYTE)) else None
