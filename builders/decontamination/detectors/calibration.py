"""How a share becomes a strength, so that 0.5 means the same for every detector: left out by default.

In: the share of a unit's information that a text holds, the unit's information in bits, and the length of the text. Out: a
strength of 0..1. How: a text shares some bits with a task by chance, however large the task, and a long text more than a
short one: `chance`, and half as much again for each doubling of the text above SHORT tokens, up to LONG. These are taken off:
net = share - chance / bits. `verdict` is the net share at which a hit is one; below and above it the strength is linear.

So a task of few bits needs more of itself in a text, and one below its detector's floor, chance / (1 - verdict), is not found
by that detector alone, not even by a full copy: `return x + y` is everywhere.

The numbers were chosen on a sixth of the files of installed packages, on the functions whose text has an even MD5: 0.091 % of
23,014 are flagged. Of 22,844 other functions of these files it is 0.101 %, of 45,349 functions of other files 0.112 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLOOR = 0.2
"""Weaker hits are not kept: they are the shared idioms of the language."""

SHORT, LONG = 50, 800


@dataclass(frozen=True)
class Calibration:
    """`verdict`: net share, 0..1; `chance`: bits."""

    verdict: float
    chance: float

    @property
    def floor(self) -> float:
        """The bits that a task needs so that a full copy of it, in a short text, is a verdict."""
        return self.chance / (1 - self.verdict)

    def strengths(self, shares: np.ndarray, bits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """0..1; 0.5 at the verdict; rising in the share and in the bits, falling in the tokens of the text."""
        doublings = np.log2(np.clip(tokens, SHORT, LONG) / SHORT)
        net = np.maximum(shares - self.chance * (1 + doublings / 2) / np.maximum(bits, 1e-9), 0.0)
        rest = 0.5 + 0.5 * (net - self.verdict) / (1 - self.verdict)
        return np.where(net < self.verdict, 0.5 * net / self.verdict, rest)

    def min_share(self, strength: float) -> float:
        """No smaller share can reach the strength, which is below 0.5."""
        return 2 * strength * self.verdict


CALIBRATIONS = {
    "ngram": Calibration(verdict=0.40, chance=8.0),
    "renamed": Calibration(verdict=0.30, chance=5.5),
    "prose": Calibration(verdict=0.30, chance=7.0),
    "literals": Calibration(verdict=0.42, chance=9.0),
}
