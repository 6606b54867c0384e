"""Prompt templates, one text file each. `{name}` is replaced by a value, nothing else is special.

The version of a template is the hash of its text. It stands in every row that the template made.

    prompts.slots("teacher")                      # {'code'}
    prompts.render("teacher", code="def f(): …")  # the text that the teacher is asked
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from store import content_id

__all__ = ["render", "slots", "version", "versions"]

HERE = Path(__file__).parent
_SLOT = re.compile(r"\{([a-z_]+)\}")


@cache
def template(name: str) -> str:
    """The text of a template. ValueError for an unknown name, with the names there are."""
    path = HERE / f"{name}.txt"
    if not path.exists():
        known = sorted(str(p.relative_to(HERE).with_suffix("")) for p in HERE.rglob("*.txt"))
        raise ValueError(f"no prompt {name!r}; there are {', '.join(known)}")
    return path.read_text().strip("\n")


def version(*names: str) -> str:
    """12 hex digits of the hash of these templates' texts."""
    return content_id(*(template(n) for n in names))[:12]


def versions(*names: str) -> dict[str, str]:
    """`{file: hash of its text}` for `Plan.texts`."""
    return {f"prompts/{n}.txt": content_id(template(n)) for n in names}


def render(name: str, **values: str) -> str:
    """The template with its slots filled. ValueError unless the values have exactly their names."""
    if slots(name) != values.keys():
        raise ValueError(f"prompt {name!r} has slots {sorted(slots(name))}, got {sorted(values)}")
    return _SLOT.sub(lambda match: values[match.group(1)], template(name))


def slots(name: str) -> set[str]:
    """The names of a template's slots."""
    return set(_SLOT.findall(template(name)))
