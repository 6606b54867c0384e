"""The verdict on one answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "timeout", "memory", "output", "missing", "error"]


@dataclass(frozen=True)
class Verdict:
    """How an answer did."""

    status: Outcome
    is_passed: bool
    is_base_passed: bool | None
    extracted: str
    seconds: float
    message: str | None
    is_apart: bool
