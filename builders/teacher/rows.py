"""A row of `teacher_samples`: its key, and the split that it belongs to."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from builders.engines import prompts
from builders.pairs import Parsed
from builders.recipe import Teacher
from store import CONTRACTS, content_id


def row(snippet: dict[str, Any], pair: Parsed, teacher: Teacher) -> dict[str, Any]:
    """One sample as a row of the table, with its `status` and what an unusable one has besides."""
    split, for_scorer = split_of(snippet["position"], teacher)
    return {
        "status": pair.status,
        "reason": pair.reason or pair.status,
        "request_id": content_id("unasked", snippet["snippet_id"]),
        "answer": "",
        "reasoning": None,
        "finish_reason": "",
        "sample_id": content_id(snippet["snippet_id"], pair.problem or "", pair.solution or ""),
        "snippet_id": snippet["snippet_id"],
        "problem": pair.problem,
        "solution": pair.solution,
        "split": split,
        "model": "samples" if teacher.engine == "samples" else teacher.model,
        "prompt_version": "" if teacher.is_offline else prompts.version(teacher.prompt),
        "is_for_scorer": for_scorer,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cost_usd": None,
    }


def split_of(position: int, teacher: Teacher) -> tuple[str, bool]:
    """(split, whether the scorer is trained on it) by the place among the teacher's snippets.

    Their order is already a seeded shuffle, so places are as good as random.
    """
    held_out = teacher.reference_share + teacher.validation_share
    shares = (teacher.reference_share, held_out, held_out + teacher.scorer_share * (1 - held_out))
    # 0.1 + 0.2 is 0.30000000000000004: without the 1e-6, a rounding error would count as a row
    reference_end, validation_end, scorer_end = (math.ceil(teacher.num_snippets * s - 1e-6) for s in shares)
    if position < reference_end:
        return "reference", False
    if position < validation_end:
        return "validation", False
    return "train", position < scorer_end


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows with status `ok`.

    The others are rows of `unusable_answers`, and rejects.
    """
    return _under("teacher_samples", [row for row in rows if row["status"] == "ok"])


def unusable(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows with any other status, as rows of `unusable_answers`."""
    return _under("unusable_answers", [row for row in rows if row["status"] != "ok"])


def _under(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = CONTRACTS[name].schema
    return pa.Table.from_pylist([{k: row[k] for k in schema.names} for row in rows], schema=schema)
