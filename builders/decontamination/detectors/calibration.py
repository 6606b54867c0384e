"""How a share becomes a strength, so that 0.5 means the same for every detector.

From 0.5 on an item is left out by default.

In: the share of a task part's information that a text holds, that information in bits, and the
length of the text. Out: a strength of 0..1.

How: every text shares some bits with a task by chance, however large the task is. That is `chance`.
A longer text shares more: `growth` times as much again for each doubling above SHORT tokens, up to
LONG tokens. We subtract it: net = share - chance / bits. At a net share of `verdict` the strength
is 0.5; below and above it is linear.

So a task of few bits needs a larger share of itself in a text. A task with fewer bits than its
detector's floor, chance / (1 - verdict), is not found by that detector alone, not even by a full
copy: `return x + y` is everywhere.

Prose has a score of its own (prose.py), and here the two scores at which a hit is kept and at
which it is a verdict.

The numbers were chosen on the documented functions of eleven packages that are not in the
background, on disguised solutions, and on the tuning half of the reworded statements
(benchmarks/decontamination/README.md). What they do on others is in recall.json.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLOOR = 0.2
"""Weaker hits are not kept: they are the shared idioms of the language."""

SHORT, LONG = 36, 800


@dataclass(frozen=True)
class Calibration:
    """A detector's numbers. `verdict`: net share, 0..1; `chance`: bits; `growth`: of `chance`."""

    verdict: float
    chance: float
    growth: float = 0.5

    @property
    def floor(self) -> float:
        """The bits that a task needs so that a full copy of it in a short text gets a verdict."""
        return self.chance / (1 - self.verdict)

    def strengths(self, shares: np.ndarray, bits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Strengths 0..1, with 0.5 at the verdict.

        A strength rises with the share and with the bits, and falls with the tokens of the text.
        """
        doublings = np.log2(np.clip(tokens, SHORT, LONG) / SHORT)
        net = np.maximum(shares - self.chance * (1 + doublings * self.growth) / np.maximum(bits, 1e-9), 0.0)
        rest = 0.5 + 0.5 * (net - self.verdict) / (1 - self.verdict)
        return np.where(net < self.verdict, 0.5 * net / self.verdict, rest)

    def min_share(self, strength: float) -> float:
        """The smallest share that can reach the strength. The strength must be below 0.5."""
        return 2 * strength * self.verdict


CALIBRATIONS = {
    "ngram": Calibration(verdict=0.40, chance=8.0),
    "renamed": Calibration(verdict=0.24, chance=5.0, growth=0.9),
    "literals": Calibration(verdict=0.42, chance=9.0),
}


@dataclass(frozen=True)
class ScoreCalibration:
    """The scores of prose.py at which a strength is FLOOR and 0.5.

    A text that says less than `least_share` of a statement is not strong, whatever else it says or
    does not say: most short exercises say a part of some long statement. Its strength is at most
    `most_if_less`.
    """

    weak: float
    verdict: float
    least_share: float
    most_if_less: float

    def strengths(self, scores: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Strengths 0..1: linear up to the verdict, and towards 1 above it."""
        slope = (0.5 - FLOOR) / (self.verdict - self.weak)
        below = np.maximum(FLOOR + slope * (scores - self.weak), 0.0)
        above = 0.5 - 0.5 * np.expm1(-2 * slope * np.maximum(scores - self.verdict, 0.0))
        found = np.where(scores < self.verdict, below, above)
        return np.where(shares < self.least_share, np.minimum(found, self.most_if_less), found)


PROSE = ScoreCalibration(weak=1.5, verdict=5.7, least_share=0.30, most_if_less=0.35)
