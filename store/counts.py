"""Numbers for people: counts of things, money, and measured numbers with their intervals.

counted(2000, "row")                # '2,000 rows'
dollars(0.0024)                     # '0.0024'
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


def dollars(amount: float) -> str:
    """An amount of money: cents, and under one dollar as many decimals as two digits need.

    >>> dollars(1234.5), dollars(0.0024), dollars(0.25), dollars(0)
    ('1,234.50', '0.0024', '0.25', '0.00')
    """
    is_small = NOTHING < abs(amount) < 0.1
    decimals = 1 - math.floor(math.log10(abs(amount))) if is_small else 2
    return f"{amount:,.{decimals}f}"


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
