"""The dataset card: the README.md of a published folder.

In: what the card should say, the rows per split, and the licences that were counted while the rows were
written. Out: the card's text, with the front matter that the Hub reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml


@dataclass(frozen=True)
class Card:
    """What the dataset card says; licences and sizes are counted while the rows are written."""

    title: str
    text: str
    tags: tuple[str, ...] = ("code", "synthetic", "scoder")
    columns: Mapping[str, str] = field(default_factory=dict)


def render(card: Card, counts: Mapping[str, int], licenses: Mapping[str, int]) -> str:
    """The card's text."""
    # No `configs`: with them `datasets` names its cache by the folder's name alone and loads the rows of an earlier
    # folder of that name; without them the splits come from the file names, and the cache is keyed by the files.
    front = {
        "pretty_name": card.title,
        "language": ["en", "code"],
        "license": "other",
        "license_name": "per-row",
        "tags": list(card.tags),
        "task_categories": ["text-generation"],
    }
    lines = ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", "", f"# {card.title}", "", card.text, ""]
    lines += ["| split | rows |", "|---|---|", *(f"| {s} | {n:,} |" for s, n in counts.items()), ""]
    if card.columns:
        lines += ["| column | |", "|---|---|", *(f"| {c} | {note} |" for c, note in card.columns.items()), ""]
    if licenses:
        lines += ["Every row carries the licence of the code that inspired it:", "", "| licence | rows |", "|---|---|"]
        lines += [f"| {name} | {n:,} |" for name, n in sorted(licenses.items(), key=lambda x: (-x[1], x[0]))] + [""]
    return "\n".join(lines)
