"""Topics: modules of a field before words, and words that say something."""

from __future__ import annotations

import pytest

from builders.checks.topics import topic


@pytest.mark.parametrize(
    ("modules", "docstring", "expected"),
    [
        ({"numpy", "typing"}, "Return the mean.", "numpy"),
        ({"scipy", "numpy"}, "Return the mean.", "numpy+scipy"),
        ({"typing", "functools"}, "Return the mean of values.", "mean"),
        (set(), "Compute the longest words of a line.", "longest"),
        (set(), "Returns matrices, not a matrix.", "matrice"),
        (set(), "Returns the class of an analysis.", "analysis"),
        (set(), "Return it.", ""),
        (set(), "", ""),
    ],
)
def test_a_topic_is_what_is_used_or_else_what_is_told(modules, docstring, expected):
    assert topic(modules, docstring) == expected
