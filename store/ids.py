"""Keys made from content: the same input gives the same id on every machine and in every run."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from store.errors import InputError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
"""Names of selections, weightings, benchmarks and references: they become path segments."""


def content_id(*parts: str | int) -> str:
    """32 hex digits that name a content. Parts are length-prefixed, so ('ab', 'c') and ('a', 'bc') differ."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """32 hex digits of a JSON value, independent of the order of its keys."""
    return content_id(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def check_name(name: str, what: str) -> str:
    """`name` itself, or a ValueError that says which characters are allowed."""
    if not NAME.match(name):
        raise InputError(f"{what} {name!r} must match [a-z0-9][a-z0-9_-]*: lower-case letters, digits, - and _")
    return name


def seed_from(*parts: str | int) -> int:
    """A 63-bit seed from the same parts that name a thing."""
    return int(content_id(*parts)[:16], 16) >> 1
