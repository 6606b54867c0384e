"""What this machine has and lacks. In: nothing. Out: one row per check, with the fix."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from builders import sandbox

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "datatrove", "duckdb", "pyarrow", "polars")


def checks() -> list[dict[str, Any]]:
    """All checks; `needed` ones must be ok for the tiny recipe."""
    rows = [_row("python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or later")]
    rows += [_library(name) for name in LIBRARIES]
    works = sandbox.is_available()
    rows.append(
        _row("sandbox", works, "bubblewrap works" if works else "none", "apt-get install bubblewrap", needed=False)
    )
    rows.append(_gpu())
    has_vllm = importlib.util.find_spec("vllm") is not None
    rows.append(
        _row("vllm", has_vllm, "found" if has_vllm else "none", "pip install vllm (for GPU recipes)", needed=False)
    )
    rows += _clusters()
    free = shutil.disk_usage(os.getcwd()).free / 2**30
    rows.append(
        _row("disk", free > 5, f"{free:.0f} GiB free", "free some space; the tiny run needs under 1 GiB", needed=False)
    )
    for name in ("OPENAI_API_KEY", "HF_TOKEN"):
        is_set = bool(os.environ.get(name))
        rows.append(
            _row(
                name,
                is_set,
                "set" if is_set else "not set",
                "only for endpoints and private repositories",
                needed=False,
            )
        )
    return rows


def _library(name: str) -> dict[str, Any]:
    try:
        return _row(name, True, version(name), "")
    except PackageNotFoundError:
        return _row(name, False, "missing", "make setup")


def _clusters() -> list[dict[str, Any]]:
    """What the executors of kind ray and slurm need on this machine."""
    try:
        ray = version("ray")
    except PackageNotFoundError:
        ray = ""
    sbatch = shutil.which("sbatch")
    return [
        _row("ray", bool(ray), ray or "none", "pip install 'scoder[ray]' (for executor.kind ray)", needed=False),
        _row("slurm", bool(sbatch), sbatch or "none", "a login node (for executor.kind slurm)", needed=False),
    ]


def _gpu() -> dict[str, Any]:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return _row("gpu", bool(names), ", ".join(names) or "none", "the tiny recipe needs none", needed=False)


def _row(check: str, ok: bool, found: str, fix: str, *, needed: bool = True) -> dict[str, Any]:
    return {"check": check, "ok": ok, "found": found, "fix": "" if ok else fix, "needed": needed}
