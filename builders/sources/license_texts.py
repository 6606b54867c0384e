"""The licence of a text: a LICENSE file, or the notice at the head of a source file.

In: a text. Out: the SPDX identifiers of the licences whose words stand in it, and a score: the
share of the text that these words make up, 0 to 1.

How: `licenseclassifier` finds every place where the words of one of 693 licences stand, whole. It
ports Google's licensecheck. What stands between the places says how several licences are meant:
"either", "at your option" or "dual-licensed" before the second one mean OR of the two, otherwise
all apply.
Licences of other software that is bundled do not count where the text says that it is bundled.

Each text is matched once in a process.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from licenseclassifier import identify_license

from builders.sources.license_choices import choices
from builders.sources.license_names import all_of

MAX_BYTES = 200_000
"""So much is read of a licence file. The longest of the packages measured has 110,000."""
MIN_SCORE = 0.4
"""Below this most of a text is something else, and its licences are not taken from it."""
_MOST_KEPT = 20_000
_MOST_IDS = 12
_CHOICE = re.compile(
    r"(?i)\beither\b(?!,?\s+express)|\bat your (?:option|choice)\b|\b(?:dual|multi)[- ]?licen\w+\b(?!\W+both\b)"
)
_BUNDLED = re.compile(r"(?i)\bbundle[sd]?\b|\bthird[- ]part(?:y|ies)\b|\bvendored\b")
_kept: dict[bytes, Matched | None] = {}


class Matched(NamedTuple):
    """The licences of a text, as an SPDX expression."""

    name: str
    score: float
    """Share of the characters of the text that are words of these licences, 0 to 1."""


def matched(text: str, min_score: float = MIN_SCORE) -> Matched | None:
    """The licences whose whole words stand in a text; None if they are less than `min_score` of it.

    Example:
        matched(Path("LICENSE").read_text())  # Matched(name="Apache-2.0", score=1.0)
    """
    text = text[:MAX_BYTES].strip()
    key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
    if key not in _kept:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[key] = _match(text)
    found = _kept[key]
    return found if found is not None and found.score >= min_score else None


def offers_choice(text: str) -> bool:
    """Whether a text says that one of several licences may be chosen."""
    return bool(_CHOICE.search(text))


def joined(names: list[str], is_choice: bool) -> str:
    """Licences as one expression; those that are the same but for -only or -or-later count once."""
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(str(choices(name)), name)
    if len(kept) == 1 or not is_choice:
        return all_of(list(kept.values()))
    return " OR ".join(f"({name})" if re.search(" (?:AND|OR) ", name) else name for name in kept.values())


def _match(text: str) -> Matched | None:
    regions = [r for r in identify_license(text, coverage_threshold=0.0) if not _is_address(text[r.start : r.end])]
    if not regions:
        return None
    first, *others = regions
    ids, end, num_chars, num_own = [first.id], first.end, first.end - first.start, len(text)
    is_choice = offers_choice(text[: first.start])
    for region in others:
        between = text[end : region.start]
        if len(set(ids)) == 1:
            is_choice = is_choice or offers_choice(between)
        if _BUNDLED.search(between):
            num_own = region.start  # what follows is about other software
            break
        ids.append(region.id)
        num_chars, end = num_chars + region.end - region.start, region.end
    if len(set(ids)) > _MOST_IDS:
        return None
    names = list(dict.fromkeys(ids))
    # a third licence is most often that of a part, and is no third choice
    names = [joined(names[:2], True), *names[2:]] if is_choice else names
    return Matched(joined(names, False), round(min(1.0, num_chars / max(1, num_own)), 3))


def _is_address(region: str) -> bool:
    """Whether a place is only the address of a licence, which may be a mere mention."""
    return re.fullmatch(r"\s*https?://\S+\s*", region) is not None
