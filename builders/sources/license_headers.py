"""The licence that a source file states itself, in the comments before its first code.

In: the text of a Python file. Out: its licence, or None. An SPDX-License-Identifier counts, the
whole notice or text of a licence, and a dedication to the public domain. A mention does not.

    of_head("# SPDX-License-Identifier: MIT\\nimport os\\n")
    License(name="MIT", source="header", score=None)
"""

from __future__ import annotations

import re

from builders.sources import license_texts
from builders.sources.files import License
from builders.sources.license_names import spdx

MAX_HEAD_CHARS = 20_000
_HEAD = re.compile(r"\ufeff?((?:[ \t]*(?:#[^\n]*)?(?:\n|$))+)")
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n]+)")
_HINT = re.compile(r"(?i)licen[cs]e|permission|redistribut|public domain")
_PUBLIC_DOMAIN = re.compile(
    r"(?i)\b(?:this|the) (?:module|file|code|software|program|work|script)\W+(?:has been|is|was)\W+"
    r"(?:hereby )?(?:placed |released |put |dedicated )?(?:in|into|to) the public domain"
)
_MIN_SHARE = 0.25
"""A head also says what a file is for and who wrote it, so that a licence is less of it."""
_MAX_NAME_CHARS = 200


def of_head(text: str) -> License | None:
    """The licence of the comments that a file begins with, before its first code or docstring."""
    start = text[:MAX_HEAD_CHARS].replace("\r\n", "\n").replace("\r", "\n")
    found = _HEAD.match(start)
    if not found or not _HINT.search(found.group(1)):
        return None
    head = found.group(1)
    tags = [_named(tag) for tag in _TAG.findall(head)]
    if tags:
        return License(license_texts.joined(tags, False), "header", None)
    words = "\n".join(line.strip().lstrip("#").strip() for line in head.splitlines())
    if _PUBLIC_DOMAIN.search(" ".join(words.split())):
        return License("Public Domain", "header")
    matched = license_texts.matched(words, _MIN_SHARE)
    if matched is None or (
        license_texts.offers_choice(words) and " OR " not in matched.name and not _is_gnu(matched.name)
    ):
        return None  # one of the licences that may be chosen, but not all of them, was recognised
    return License(matched.name, "header", matched.score)


def _is_gnu(name: str) -> bool:
    """The notices of the GNU licences say "at your option" of a later version."""
    return re.fullmatch(r"[AL]?GPL-[\w.-]+", name) is not None


def _named(tag: str) -> str:
    words = re.sub(r"\s*(?:\*/|-->|#+)\s*$", "", tag).strip()[:_MAX_NAME_CHARS]
    return spdx(words) or words or "unknown"
