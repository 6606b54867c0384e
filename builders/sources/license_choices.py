"""A licence text as choices: what somebody must accept to use the code.

In: a licence as sources write it: an SPDX expression, a list with commas, or the name in a
package's metadata. Out: a list of alternatives. Each alternative is a list of lower-case SPDX
identifiers that all apply. An allow-list allows the code when it contains every identifier of one
alternative.

    choices("MIT OR (Apache-2.0 AND BSD-3-Clause)")
    [["mit"], ["apache-2.0", "bsd-3-clause"]]
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache, reduce
from typing import Any

from builders.sources.license_names import spdx
from training.json_text import parsed
from training.tool_calls import is_given

Choices = list[list[str]]

_WORD = re.compile(r"[()]|[^\s()]+")
_VERSION = re.compile(r",\s*(?=v(?:ersion)?\b)", re.IGNORECASE)
_NAMES = {
    **dict.fromkeys(("apache", "apache 2", "apache 2.0", "apache software", "apache-2"), "apache-2.0"),
    **dict.fromkeys(("apache license 2.0", "apache license version 2.0", "apache software license 2.0"), "apache-2.0"),
    **dict.fromkeys(("2-clause bsd", "bsd 2-clause", "bsd-2", "simplified bsd"), "bsd-2-clause"),
    **dict.fromkeys(
        ("3-clause bsd", "bsd 3-clause", "bsd-3", "modified bsd", "new bsd", "revised bsd"), "bsd-3-clause"
    ),
    **dict.fromkeys(("expat", "the mit"), "mit"),
    **dict.fromkeys(("mozilla public license 2.0 (mpl 2.0)", "mpl 2.0"), "mpl-2.0"),
    **dict.fromkeys(("psf", "psfl", "python software foundation"), "psf-2.0"),
    "gplv2": "gpl-2.0",
    "gplv3": "gpl-3.0",
    "isc license (iscl)": "isc",
}
"""The names that packages use and the SPDX identifier of each, after a final "license" is cut."""
_MOST = 64
"""An expression with more alternatives than this, or with four times as many words or commas, is
taken as the name of an unknown licence.
"""


@lru_cache(10_000)
def choices(text: str) -> Choices:
    """The alternatives of a licence text. An empty text gives 'unknown'.

    A text that is no expression gives one alternative: its own words in lower case. `-only`,
    `-or-later` and `+` are cut, because an allow-list names the licence itself. An exception
    (`WITH`) is cut too, because it only permits more. A comma means that all apply: The Stack lists
    every licence that was found in a repository.
    """
    if text.count(",") > 4 * _MOST:
        return [[_plain(text)]]
    parts = [_alternatives(part) for part in _VERSION.sub(" ", text).split(",") if part.strip()]
    if not parts:
        return [["unknown"]]
    try:
        found = reduce(_both, parts)
    except OverflowError:
        found = [[_plain(text)]]
    return [sorted(set(choice)) for choice in found]


def listed(given: Any) -> str:
    """What the column of a row says about its licence, as one text; '' where it says nothing.

    A list, also as JSON text, is of licences that were all found, so commas part them, as in The
    Stack's `detected_licenses`. Nulls and blanks in it say nothing.

    listed('["MIT", "Apache-2.0"]')    # "MIT, Apache-2.0"
    """
    if isinstance(given, str) and given.lstrip().startswith("["):
        with suppress(ValueError):
            given = parsed(given)
    names = given if isinstance(given, list | tuple) else [given]
    return ", ".join(str(name) for name in names if is_given(name))


def _alternatives(text: str) -> Choices:
    """The alternatives of one entry of a list."""
    name = _plain(text)
    words = _WORD.findall(text)
    is_expression = len(words) == 1 or any(w.upper() in ("AND", "OR", "WITH") for w in words)
    if name in _NAMES or not is_expression or len(words) > 4 * _MOST:
        return [[_NAMES.get(name) or _identifier(spdx(text) or name)]]
    try:
        found, end = _any_of(words, 0)
    except (IndexError, OverflowError):
        return [[name]]
    return found if end == len(words) else [[name]]


def _any_of(words: list[str], at: int) -> tuple[Choices, int]:
    """What OR joins from `at` on, and the place behind it. IndexError for a text cut short."""
    found, at = _all_of(words, at)
    while at < len(words) and words[at].upper() == "OR":
        more, at = _all_of(words, at + 1)
        found = found + more
    return found, at


def _all_of(words: list[str], at: int) -> tuple[Choices, int]:
    found, at = _one(words, at)
    while at < len(words) and words[at].upper() == "AND":
        more, at = _one(words, at + 1)
        found = _both(found, more)
    return found, at


def _one(words: list[str], at: int) -> tuple[Choices, int]:
    """An identifier with its exception, or an expression in brackets."""
    if words[at] == "(":
        found, at = _any_of(words, at + 1)
        if words[at] != ")":
            raise IndexError("a bracket is not closed")
        return found, at + 1
    found, at = [[_identifier(words[at])]], at + 1
    is_excepted = at < len(words) and words[at].upper() == "WITH"
    return found, at + 2 * is_excepted


def _both(left: Choices, right: Choices) -> Choices:
    if len(left) * len(right) > _MOST:
        raise OverflowError(f"{len(left)} x {len(right)} alternatives")
    return [a + b for a in left for b in right]


def _identifier(word: str) -> str:
    name = re.sub(r"(?:-only|-or-later|\+)$", "", word.lower())
    return _NAMES.get(name, name)


def _plain(text: str) -> str:
    """A name from package metadata: the classifier's last part, lower case, without "license"."""
    name = " ".join(text.rpartition("::")[2].lower().split())
    return name if name in _NAMES else re.sub(r"(?<=\S) licen[cs]e$", "", name)
