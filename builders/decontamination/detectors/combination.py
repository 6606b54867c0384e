"""The joint rule: detectors that agree on a task may each be too weak alone.

In: the hits of the detectors on a batch. Out: the hits of one more detector, `combined`.

How: there are three views, code, prose and literals. Their strengths are treated as independent
probabilities: 1 - (1 - code)(1 - prose)(1 - literals). Code is the stronger of ngram and renamed,
because these two see the same thing. A string hit is not combined, it is a verdict already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Hits of one detector, one row per (text, task). All arrays have one length.

    Texts are places in the batch, tasks are places in the index.
    """

    detector: str
    texts: np.ndarray
    tasks: np.ndarray
    strengths: np.ndarray
    similarities: np.ndarray
    bits: np.ndarray
    evidence: list[str]


def combined(found: Sequence[Rows], num_tasks: int) -> Rows:
    """The joint hits, where two or more views found the same task in a text."""
    doubts: dict[int, dict[str, tuple[float, float, float]]] = {}
    for rows in found:
        view = "code" if rows.detector in ("ngram", "renamed") else rows.detector
        if view == "string":
            continue
        keys = rows.texts * num_tasks + rows.tasks
        for key, *values in zip(keys.tolist(), rows.strengths, rows.similarities, rows.bits, strict=True):
            held = doubts.setdefault(key, {})
            held[view] = max(held.get(view, (0.0, 0.0, 0.0)), tuple(map(float, values)))  # type: ignore[assignment]
    agreed = sorted(key for key, views in doubts.items() if len(views) > 1)
    strengths = np.array([1 - np.prod([1 - s for s, _, _ in doubts[key].values()]) for key in agreed])
    similarities = np.array([np.mean([s for _, s, _ in doubts[key].values()]) for key in agreed])
    bits = np.array([sum(b for _, _, b in doubts[key].values()) for key in agreed])
    keys = np.array(agreed, np.int64)
    evidence = [" + ".join(f"{view} {doubts[key][view][0]:.2f}" for view in sorted(doubts[key])) for key in agreed]
    return Rows("combined", keys // num_tasks, keys % num_tasks, strengths, similarities, bits, evidence)
