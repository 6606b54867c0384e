"""Numbers for people: counts of things, and measured numbers with their intervals.

counted(2000, "row")                # '2,000 rows'
with_interval(0.4, 0.219, 0.613)    # '0.400 [0.219, 0.613]'
"""

from __future__ import annotations

import math

DECIMALS = 3
NOTHING = 1e-12
"""A number nearer to 0 than this is 0: sums of floats miss it by as much."""


def counted(number: int, thing: str) -> str:
    """The number and what it counts, with an `s` unless it is one.

    >>> counted(1, "row"), counted(2000, "row"), counted(0, "distinct text")
    ('1 row', '2,000 rows', '0 distinct texts')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def with_interval(value: float | None, low: float | None = None, high: float | None = None) -> str | None:
    """A number with its interval. None if there is no number.

    All three have three decimals, and as many more as the largest needs for three digits. From ten
    on they have fewer.

    >>> with_interval(0.0001, 0.0, 0.00025), with_interval(123.4)
    ('0.000100 [0.000000, 0.000250]', '123')
    """
    if value is None:
        return None
    ends = [] if low is None or high is None else [low, high]
    largest = max(abs(number) for number in (value, *ends))
    decimals = DECIMALS
    if NOTHING < largest < 0.01 or 10 <= largest < math.inf:
        decimals = max(0, 2 - math.floor(math.log10(largest)))

    def shown(number: float) -> str:
        return f"{round(number, decimals) + 0.0:.{decimals}f}"  # + 0.0 makes 0 of -0

    return shown(value) + (f" [{', '.join(map(shown, ends))}]" if ends else "")
