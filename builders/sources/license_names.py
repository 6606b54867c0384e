"""Names of licences as people write them, and the SPDX identifier of each.

In: a name in a package's metadata, a comment or a row: "Apache 2", "3-clause BSD", "GPLv3+". Out:
an SPDX expression, a known name without an identifier (see KNOWN_NAMES), or None.

    spdx("GNU Lesser General Public License v3 (LGPLv3)")  # LGPL-3.0
    spdx("BSD License")                                    # BSD: nobody says which
"""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

KNOWN_NAMES = ("BSD", "GPL", "LGPL", "AGPL", "MPL", "Artistic", "Public Domain")
"""Names that do not say which licence of a family is meant, or that are no licence of SPDX."""
MAX_CHARS = 2000
"""The longest known expressions have a tenth of it. What is longer names no licence."""

_OPERATORS = re.compile(r"\b(?:AND|OR|WITH)\b", re.IGNORECASE)
_NOISE = re.compile(
    r"\b(?:the|licen[cs]e[ds]?|licen[cs]ing|software|under|version|clauses?|foundation|v(?=\d|\b))\b|v(?=\d)"
)
_GNU = (
    (r"affero (?:general public|gpl)|gnu agpl", "agpl"),
    (r"library or lesser (?:general public|gpl)", "lgpl"),
    (r"library (?:general public|gpl)", "library-gpl"),
    (r"lesser (?:general public|gpl)|gnu lgpl", "lgpl"),
    (r"general public|gnu gpl", "gpl"),
)
_GPL = re.compile(
    r"(library-gpl|[al]?gpl)(?: ?(\d)(\.\d)?)?(?:\.0)?( ?\+| or (?:later|newer|any later|above|greater).*| only)?"
)
_PATTERNS = [
    (re.compile(pattern), name)
    for pattern, name in (
        (r"mit(?: mit)?(?: expat)?|expat(?: mit)?|mit like", "MIT"),
        (r"mit (?:0|no attribution).*", "MIT-0"),
        (r"mit cmu|hpnd|historical permission notice and disclaimer(?: hpnd)?", "HPND"),
        (r"apache(?: asl)?(?: 2(?:\.0)?)?(?: apache 2(?:\.0)?)?|asl 2(?:\.0)?|apache2(?:\.0)?", "Apache-2.0"),
        (r"apache 1\.1", "Apache-1.1"),
        (r"(?:0|zero) ?(?:bsd)?(?: bsd)?(?: 0bsd)?", "0BSD"),
        (r"(?:new|modified|revised|3|three|bsd 3|bsd new|bsd three)(?: bsd)?(?: or .*)?|bsd3|bsd 3 .*", "BSD-3-Clause"),
        (r"(?:simplified|freebsd|2|two|bsd 2|bsd two|bsd simplified)(?: bsd)?|bsd2|bsd 2 .*", "BSD-2-Clause"),
        (r"bsd(?: (?:like|style|derived))?", "BSD"),
        (r"mozilla public 2(?:\.0)?(?: mpl 2(?:\.0)?)?|mpl ?2(?:\.0)?|mozilla public mpl 2(?:\.0)?", "MPL-2.0"),
        (r"mozilla public 1\.1(?: mpl 1\.1)?|mpl ?1\.1", "MPL-1.1"),
        (r"mpl|mozilla public(?: mpl)?", "MPL"),
        (r"isc(?:l| iscl)?", "ISC"),
        (r"psfl?(?: 2(?:\.0)?)?|python(?: psf)?(?: psf)?", "PSF-2.0"),
        (r"unlicense(?: unlicense)?|un", "Unlicense"),
        (r"zlib(?: libpng)?", "Zlib"),
        (r"(?:zpl|zope public) 2\.1", "ZPL-2.1"),
        (r"(?:cc0|creative commons zero)(?: 1\.0)?(?: universal)?.*", "CC0-1.0"),
        (r"boost(?: 1\.0)?(?: bsl 1\.0)?|bsl 1\.0", "BSL-1.0"),
        (r"universal permissive(?: upl)?", "UPL-1.0"),
        (r"university of illinois ncsa open source(?: .*)?", "NCSA"),
        (r"academic free(?: afl)? 3(?:\.0)?", "AFL-3.0"),
        (r"artistic 2(?:\.0)?", "Artistic-2.0"),
        (r"artistic|perl artistic", "Artistic"),
        (r"eclipse public 2(?:\.0)?(?: epl 2(?:\.0)?)?", "EPL-2.0"),
        (r"european union public(?: licence)? 1\.2(?: eupl 1\.2)?", "EUPL-1.2"),
        (r"postgresql", "PostgreSQL"),
        (r"wtfpl|do what the fuck you want to public(?: wtfpl)?", "WTFPL"),
        (r"blue oak model(?: blueoak 1\.0\.0)?(?: 1\.0\.0)?", "BlueOak-1.0.0"),
        (r"public domain", "Public Domain"),
    )
]


@lru_cache(10_000)
def spdx(words: str) -> str | None:
    """The SPDX expression that some words mean, or one of KNOWN_NAMES. None for other words.

    The family of the GNU licences keeps what its words leave open: "GPLv3" gives GPL-3.0, which is
    neither -only nor -or-later. A Lesser GPL of version 2 is LGPL-2.1, because 2.0 was called the
    Library GPL.
    """
    text = " ".join(words.rpartition("::")[2].split())
    if not text or len(text) > MAX_CHARS or text.count("(") != text.count(")"):
        return None
    if " " not in text or _OPERATORS.search(text):
        found = _canonical(text)
        if found is not None:
            return found
    plain = " ".join(re.sub(r"[^a-z0-9.+]+", " ", text.lower()).split())
    plain = " ".join(_NOISE.sub(" ", plain).split()).strip(". ")
    return _of_gnu(plain) or next((name for pattern, name in _PATTERNS if pattern.fullmatch(plain)), None)


def is_exact(name: str) -> bool:
    """Whether a licence is an SPDX expression, and not one of KNOWN_NAMES or other words."""
    return name not in KNOWN_NAMES and _canonical(name) is not None


def all_of(names: list[str]) -> str:
    """Licences that all apply, as one expression, or as a list where one has no identifier."""
    is_list = any(" " in name and not is_exact(name) for name in names)
    joined = [f"({name})" if " OR " in name and len(names) > 1 and not is_list else name for name in names]
    return (", " if is_list else " AND ").join(joined)


@lru_cache(10_000)
def _canonical(text: str) -> str | None:
    while text.startswith("(") and text.endswith(")") and "(" not in text[1:] and ")" not in text[:-1]:
        text = text[1:-1]
    try:
        return str(canonicalize_license_expression(text))
    except (InvalidLicenseExpression, RecursionError, MemoryError):
        return None


def _of_gnu(plain: str) -> str | None:
    for pattern, name in _GNU:
        plain = re.sub(rf"\b(?:gnu )?(?:{pattern})\b", name, plain)
    plain = re.sub(r"^gnu ", "", plain)
    found = _GPL.match(plain)
    rest = plain[found.end() :].strip() if found else ""
    if not found or (rest and not re.fullmatch(r"[al]?gpl ?\d?(?:\.\d)?\+?", rest)):
        return None
    family, major, minor, kept = found.groups()
    ending = "" if not kept else "-only" if "only" in kept else "-or-later"
    if family == "library-gpl":
        return f"LGPL-2.0{ending}"
    if major is None:
        return family.upper()
    minor = minor or (".1" if (family, major) == ("lgpl", "2") else ".0")
    return _canonical(f"{family.upper()}-{major}{minor}{ending}")
