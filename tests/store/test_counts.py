"""Numbers for people."""

from __future__ import annotations

import pytest

from store.counts import dollars, with_interval


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((None,), None),
        ((0.4,), "0.400"),
        ((0.4, 0.219, 0.6134), "0.400 [0.219, 0.613]"),
        ((1.11e-16, -0.13, 0.11), "0.000 [-0.130, 0.110]"),
        ((-1.11e-16,), "0.000"),
        ((1.0, 0.8, 1.0), "1.000 [0.800, 1.000]"),
        ((0.00012, 0.0, 0.00025), "0.000120 [0.000000, 0.000250]"),
        ((12.345, 9.0, 15.0), "12.3 [9.0, 15.0]"),
        ((12345.6,), "12346"),
        ((0.5, None, None), "0.500"),
        ((float("inf"),), "inf"),
    ],
)
def test_a_number_and_its_interval_have_the_same_decimals(numbers: tuple[float | None, ...], expected: str) -> None:
    assert with_interval(*numbers) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(0.0, "0.00"), (0.0024, "0.0024"), (0.0996, "0.100"), (0.25, "0.25"), (1234.5, "1,234.50"), (1e-15, "0.00")],
)
def test_money_is_never_rounded_to_nothing(amount: float, expected: str) -> None:
    assert dollars(amount) == expected
