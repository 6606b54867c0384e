"""LiveCodeBench's private tests: base64 of zlib of a pickled text, which is JSON.

In: the field `private_test_cases`, plain JSON in some files. Out: the list of tests.

Loading a pickle runs what it says. So this one is not loaded: its instructions are read one by one,
and only those that make one text are allowed. What it unpacks to has a size limit, because a few
kilobytes can unpack to gigabytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

MAX_BYTES = 1 << 28
"""The most that the tests of one task may unpack to, and the most that they may be packed."""

_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_OTHERS = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"}


def opened(value: Any) -> list[Any]:
    """The tests. ValueError if the field holds anything but packed or plain JSON of a list."""
    if isinstance(value, str):
        is_plain = value.lstrip()[:1] in ("[", "")
        value = _json(value if is_plain else text_of(_unpacked(value)))
    if not isinstance(value, list):
        raise ValueError(f"the field private_test_cases must hold a list of tests, got {value!r:.80}")
    return value


def text_of(pickled: bytes) -> str:
    """The text that a pickle holds. ValueError if it holds, or would do, anything else."""
    found: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in _TEXTS and isinstance(argument, str):
                found.append(argument)
            elif opcode.name not in _OTHERS:
                raise ValueError(f"it has the instruction {opcode.name}")
    except (ValueError, IndexError) as error:
        raise ValueError(f"the pickle in private_test_cases must hold a text and nothing else: {error}") from error
    if len(found) != 1:
        raise ValueError(f"the pickle in private_test_cases must hold one text, got {len(found)}")
    return found[0]


def _unpacked(value: str) -> bytes:
    if len(value) > MAX_BYTES:
        raise ValueError(f"private_test_cases has {len(value):,} characters, more than the {MAX_BYTES:,} allowed")
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(base64.b64decode(value, validate=True), MAX_BYTES)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"private_test_cases is neither JSON nor base64 of zlib: {error}") from error
    if unpacker.unconsumed_tail:
        raise ValueError(f"private_test_cases unpacks to more than the {MAX_BYTES:,} bytes allowed")
    if not unpacker.eof:
        raise ValueError("private_test_cases is cut off: copy or load the file again")
    return content


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        raise ValueError(f"private_test_cases must hold JSON, got {text!r:.80} ({error})") from error
