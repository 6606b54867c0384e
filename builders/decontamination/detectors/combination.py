"""The joint rule: independent views that agree on a task, each too weak alone.

In: the hits of the detectors on a batch. Out: one more detector, `combined`. How: each view is taken for a doubt that is
independent of the others: 1 - (1 - code)(1 - prose)(1 - literals), where code is the stronger of ngram and renamed, which
see the same thing. A string hit is a verdict already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Hits of one detector, one row per (text, task); all have one length. Texts are places in the batch, tasks in the index."""

    detector: str
    texts: np.ndarray
    tasks: np.ndarray
    strengths: np.ndarray
    similarities: np.ndarray
    bits: np.ndarray
    evidence: list[str]


def combined(found: Sequence[Rows], num_tasks: int) -> Rows:
    """What independent views say together, where two of them found a task in a text."""
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
