"""Type errors of many code texts, found by ty, which reads code and never runs it.

In: texts. Out: the number of errors per text; None where the checker gave no answer. Only errors
that a text's own annotations make certain count (`certain_types.py`).

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

from builders.checks import certain_types
from builders.checks.certain_types import RULES, Finding
from store.held_folders import temporary

PYTHON = "3.13"
BATCH = 500
SECONDS, SECONDS_PER_TEXT = 15.0, 0.2
"""Time limit of a process. It is ten times what 500 functions took on a loaded core, 0.02 s each.
"""
MEMORY_MB = 8192
"""Limit of the address space of a process. The process uses a small part of it."""
_SUPPRESSION = re.compile(r"#\s*(?:type|ty)\s*:", re.IGNORECASE)
_LINE = re.compile(r"(?m)^(?:.*/)?(\d+)\.py(?::(\d+):(\d+))?: (error|fatal)\[([\w-]+)\] (.*)$")


def checker() -> str:
    """What decides about errors, for a plan: name and version of the checker, and our rules."""
    return f"ty {version('ty')}, certain errors {certain_types.VERSION}"


def errors(codes: Sequence[str], batch: int = BATCH) -> list[int | None]:
    """Certain type errors per text. A `# type: ignore` in a text hides none."""
    return [
        None if found is None else sum(certain_types.counts(code, one) for one in found)
        for code, found in zip(codes, findings(codes, batch), strict=True)
    ]


def findings(
    codes: Sequence[str], batch: int = BATCH, rules: Sequence[str] | None = tuple(RULES)
) -> list[list[Finding] | None]:
    """What the checker says about each text by these rules, certain or not; None: by all rules."""
    found: list[list[Finding] | None] = []
    for start in range(0, len(codes), batch):
        found += _halving(codes[start : start + batch], rules)
    return found


def _halving(codes: Sequence[str], rules: Sequence[str] | None) -> list[list[Finding] | None]:
    found = _checked(codes, rules)
    if found is not None:
        return found
    if len(codes) == 1:
        return [None]
    middle = len(codes) // 2
    return _halving(codes[:middle], rules) + _halving(codes[middle:], rules)


def _checked(codes: Sequence[str], rules: Sequence[str] | None) -> list[list[Finding] | None] | None:
    """The findings in one batch; None when the process failed, was too slow or needed too much
    memory.
    """
    with temporary("types") as home:
        (home / "code").mkdir()
        (home / "python" / "lib" / f"python{PYTHON}" / "site-packages").mkdir(parents=True)
        (home / "ty.toml").touch()
        for number, code in enumerate(codes):
            text = _SUPPRESSION.sub("#", code)
            (home / "code" / f"{number}.py").write_text(text, encoding="utf-8", errors="replace")
        seconds = SECONDS + SECONDS_PER_TEXT * len(codes)
        output = _run(_command(home, rules), {"HOME": str(home), "PATH": ""}, seconds)
    if output is None:
        return None
    found: list[list[Finding] | None] = [[] for _ in codes]
    for name, line, column, severity, rule, message in _LINE.findall(output):
        said = found[int(name)]
        if severity == "fatal" or said is None:
            found[int(name)] = None
        else:
            said.append(Finding(rule, int(line or 1), int(column or 1), message))
    return found


def _command(home: Path, rules: Sequence[str] | None) -> list[str]:
    chosen = [] if rules is None else ["--ignore", "all", *(part for rule in rules for part in ("--error", rule))]
    return [
        *(find_ty_bin(), "check", "--project", str(home / "code"), "--config-file", str(home / "ty.toml")),
        *("--python", str(home / "python"), "--python-version", PYTHON, "--python-platform", "linux", *chosen),
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
