"""The licence that a source file states itself, in the comments before its first code.

In: the text of a Python file. Out: its licence, or None. These count, in this order: an
SPDX-License-Identifier, a dedication to the public domain, the whole notice or text of a licence, a
line `License: NAME`, and `__license__ = "NAME"` further down, where the name is exact. A head that
keeps all rights and forbids use is PROPRIETARY. A mention does not count.

    of_head("# SPDX-License-Identifier: MIT\\nimport os\\n")
    License(name="MIT", source="header", score=None)
"""

from __future__ import annotations

import re

from builders.sources import license_texts
from builders.sources.files import License
from builders.sources.license_names import is_exact, spdx

MAX_HEAD_CHARS = 20_000
_HEAD = re.compile(r"\ufeff?((?:[ \t]*(?:#[^\n]*)?(?:\n|$))+)")
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n]+)")
_HINT = re.compile(r"(?i)licen[cs]e|permission|redistribut|public domain")
_PUBLIC_DOMAIN = re.compile(
    r"(?i)\b(?:this|the) (?:module|file|code|software|program|work|script)\W+(?:has been|is|was)\W+"
    r"(?:hereby )?(?:placed |released |put |dedicated )?(?:in|into|to) the public domain"
)
_LINE = re.compile(r"(?im)^\W{0,9}licen[cs]e[ \t]*:{1,2}[ \t]*([^\n,;(]{2,80})")
_VARIABLE = re.compile(r"""(?m)^__licen[cs]e__[ \t]*=[ \t]*["']([^"'\n]{2,80})["']""")
PROPRIETARY = "LicenseRef-Proprietary"
_RESERVED = re.compile(r"(?i)all rights reserved|\bproprietary\b|\bconfidential\b")
_FORBIDDEN = re.compile(
    r"(?i)\bproprietary\b|\bconfidential\b|unauthori[sz]ed|(?:strictly|expressly) (?:prohibited|forbidden)"
    r"|(?:may|must|can) ?not be (?:copied|used|reproduced|redistributed|disclosed|shared)"
)
_MIN_SHARE = 0.25
"""A head also says what a file is for and who wrote it, so that a licence is less of it."""
_MAX_NAME_CHARS = 200


def of_head(text: str) -> License | None:
    """The licence that a file states: in the comments before its first code or docstring, or as
    `__license__` in its first MAX_HEAD_CHARS characters.
    """
    start = text[:MAX_HEAD_CHARS].replace("\r\n", "\n").replace("\r", "\n")
    found = _HEAD.match(start)
    head = found.group(1) if found else ""
    words = "\n".join(line.strip().lstrip("#").strip() for line in head.splitlines())
    told = _told(head, words) if _HINT.search(head) else None
    if told is None and (named := _exact(*_LINE.findall(words), *_VARIABLE.findall(start))):
        return License(named, "header")
    if told is None and _RESERVED.search(words) and len({hit.lower() for hit in _FORBIDDEN.findall(words)}) > 1:
        return License(PROPRIETARY, "header")
    return told


def _exact(*names: str) -> str | None:
    """The first of some names that is one of an exact licence, as SPDX writes it."""
    known = (spdx(name.strip()) for name in names)
    return next((name for name in known if name and is_exact(name)), None)


def _told(head: str, words: str) -> License | None:
    """What tags, dedications, notices and texts in a head tell."""
    tags = [_named(tag) for tag in _TAG.findall(head)]
    if tags:
        return License(license_texts.joined(tags, False), "header", None)
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
