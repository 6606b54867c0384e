"""Contamination and influence of any dataset, and evaluation of any model, without a store."""

__all__ = [
    "comparing",
    "contamination",
    "evaluation",
    "grading",
    "influence",
    "influence_request",
    "opening",
    "training_set",
    "verdict_files",
]
