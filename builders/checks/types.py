"""Type errors of many code texts, found by ty, which reads code and never runs it.

In: texts. Out: the number of errors per text; None where the checker gave no answer.

How: several hundred texts become files of one folder and are checked by one process. Its
configuration is our own: no network, one version of Python, and no installed packages. An import of
a missing package is unknown, not an error. The process has limits of time and memory. A batch that
fails is split in halves and tried again, so that only the text that fails has no answer.

    errors(["x: int = 'text'", "x: int = 1"])    # [1, 0]
"""

from __future__ import annotations

import re
import resource
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from ty import find_ty_bin

from store.held_folders import temporary

PYTHON = "3.13"
BATCH = 500
SECONDS, SECONDS_PER_TEXT = 15.0, 0.2
"""Time limit of a process. It is ten times what 500 functions took on a loaded core, 0.02 s each.
"""
MEMORY_MB = 8192
"""Limit of the address space of a process. The process uses a small part of it."""
IGNORED = (
    "import-not-found",  # without the packages every import of one would be an error
    "unresolved-reference",  # names are measured by ruff
    "unavailable-implicit-super-arguments",  # a method that stands alone has no class
    "invalid-type-form",  # likewise: `self.x: int = 0` is one without a class
    # an abstract method is trivial, not wrong
    "invalid-implicit-return-in-function-with-stub-body",
)
"""Rules of ty that do not count."""
_SUPPRESSION = re.compile(r"#\s*(?:type|ty)\s*:", re.IGNORECASE)
_LINE = re.compile(r"(?m)^(?:.*/)?(\d+)\.py(?::\d+:\d+)?: (error|fatal)\[")


def checker() -> str:
    """Name and version of the checker, for a plan: another version finds other errors."""
    return f"ty {version('ty')}"


def errors(codes: Sequence[str], batch: int = BATCH) -> list[int | None]:
    """Type errors per text. A `# type: ignore` in a text hides none."""
    found: list[int | None] = []
    for start in range(0, len(codes), batch):
        found += _halving(codes[start : start + batch])
    return found


def _halving(codes: Sequence[str]) -> list[int | None]:
    found = _checked(codes)
    if found is not None:
        return found
    if len(codes) == 1:
        return [None]
    middle = len(codes) // 2
    return _halving(codes[:middle]) + _halving(codes[middle:])


def _checked(codes: Sequence[str]) -> list[int | None] | None:
    """The errors of one batch; None when the process failed, was too slow or needed too much
    memory.
    """
    with temporary("types") as home:
        (home / "code").mkdir()
        (home / "python" / "lib" / f"python{PYTHON}" / "site-packages").mkdir(parents=True)
        (home / "ty.toml").touch()
        for number, code in enumerate(codes):
            text = _SUPPRESSION.sub("#", code)
            (home / "code" / f"{number}.py").write_text(text, encoding="utf-8", errors="replace")
        output = _run(_command(home), {"HOME": str(home), "PATH": ""}, SECONDS + SECONDS_PER_TEXT * len(codes))
    if output is None:
        return None
    counts: list[int | None] = [0] * len(codes)
    for name, severity in _LINE.findall(output):
        before = counts[int(name)]
        counts[int(name)] = None if before is None or severity == "fatal" else before + 1
    return counts


def _command(home: Path) -> list[str]:
    ignored = [part for rule in IGNORED for part in ("--ignore", rule)]
    return [
        *(find_ty_bin(), "check", "--project", str(home / "code"), "--config-file", str(home / "ty.toml")),
        *("--python", str(home / "python"), "--python-version", PYTHON, "--python-platform", "linux", *ignored),
        *("--no-respect-ignore-files", "--exit-zero", "--no-progress", "--color", "never"),
        *("--output-format", "concise", str(home / "code")),
    ]


def _run(command: list[str], environment: dict[str, str], seconds: float) -> str | None:
    """Standard output of a process that ended well within its limits, else None."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if hasattr(resource, "prlimit"):  # Linux; elsewhere memory is not limited
            with suppress(ProcessLookupError):
                size = MEMORY_MB * 2**20
                resource.prlimit(process.pid, resource.RLIMIT_AS, (size, size))
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        process.wait()
    return output if process.returncode == 0 else None
