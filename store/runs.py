"""Run records: the plan of a partition, written first; what came of it, written last.

A plan holds only what changes the rows. Workers, batch sizes, prices and the commit are recorded beside it, never
compared. The record lives in `<store>/_runs/<table>/<partition>/record.json`, apart from the data.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import shlex
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from store.ids import fingerprint
from store.schemas import VERSION
from store.shards import Shard

Partition = dict[str, str | int]


class Plan(BaseModel, frozen=True):
    """What identifies the rows of one partition."""

    table: str
    partition: Partition = Field(default_factory=dict)
    fields: dict[str, Any] = Field(default_factory=dict, description="the builder's own declared fields")
    inputs: dict[str, str] = Field(default_factory=dict, description="input partition -> fingerprint of its content")
    texts: dict[str, str] = Field(default_factory=dict, description="query or prompt file -> hash of its text")
    contract: int = VERSION
    num_shards: int | None = Field(default=None, description="None when the rows of a query decide")
    rows_per_shard: int = Field(default=10_000, gt=0)

    @field_validator("fields")
    @classmethod
    def _written_as_read(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """JSON has no infinity: pydantic would write inf, -inf and nan all as null."""
        return _finite(fields)

    @property
    def fingerprint(self) -> str:
        """The plan as 32 hex digits; it stands in the footer of every shard."""
        return fingerprint(self.model_dump(mode="json"))

    def differences(self, other: Plan) -> list[str]:
        """`field: ours -> theirs`, a line each, for people."""
        mine, theirs = _flat(self.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
        keys = sorted(mine.keys() | theirs.keys())
        return [
            f"{k}: {mine.get(k, '(absent)')} -> {theirs.get(k, '(absent)')}"
            for k in keys
            if mine.get(k) != theirs.get(k)
        ]


class Usage(BaseModel):
    """What a build cost; adds up over resumes."""

    wall_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    def add(self, other: Usage) -> Usage:
        """The sum; an unknown cost stays unknown unless one side knows it."""
        costs = [u.cost_usd for u in (self, other) if u.cost_usd is not None]
        return Usage(
            wall_s=self.wall_s + other.wall_s,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=sum(costs) if costs else None,
        )


class Record(BaseModel):
    """The run record of one partition."""

    plan: Plan
    status: Literal["building", "complete", "stale"] = "building"
    shards: list[Shard] = Field(default_factory=list)
    content: str = Field(default="", description="fingerprint of plan and shard checksums, once complete")
    usage: Usage = Field(default_factory=Usage)
    started: float = Field(default_factory=time.time)
    finished: float | None = None
    code_version: str = ""
    command: str = ""

    @property
    def rows(self) -> int:
        """Rows over all shards."""
        return sum(s.rows for s in self.shards)


def completed(record: Record, shards: list[Shard], usage: Usage) -> Record:
    """The record of a finished build."""
    return record.model_copy(
        update={
            "status": "complete",
            "shards": shards,
            "content": fingerprint([record.plan.fingerprint, [s.sha256 for s in shards]]),
            "usage": usage,
            "finished": time.time(),
        }
    )


def _finite(value: Any) -> Any:
    """The value with 'inf', '-inf' and 'nan' as text."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys, values as JSON: 1 and "1" are two plans, and so are a field {} and no field."""
    if not isinstance(value, dict) or (not value and "." in prefix):
        return {prefix: json.dumps(value, ensure_ascii=False)}
    flat: dict[str, str] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


@cache
def code_version() -> str:
    """The commit of the checkout, with '+' when it is changed. Outside one, the installed version."""
    here = Path(__file__).parent
    try:
        # an installed copy may lie in a folder of somebody else's repository, which does not track it
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return _installed_version()


def _installed_version() -> str:
    try:
        return importlib.metadata.version("scoder")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def command_line() -> str:
    """The command that replays this run."""
    program = Path(sys.argv[0])
    # `python -m commands` runs commands/__main__.py
    words = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*words, *sys.argv[1:]])
