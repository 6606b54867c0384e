"""Numbers of things, for people: `1 row`, `2,000 rows`."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """The number and what it counts, with an `s` unless it is one.

    >>> counted(1, "row"), counted(2000, "row"), counted(0, "distinct text")
    ('1 row', '2,000 rows', '0 distinct texts')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
