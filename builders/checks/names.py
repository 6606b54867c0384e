"""Ruff findings of many code texts in one process.

In: texts. Out: the number of findings per text. Nothing is executed; the project's own ruff settings are ignored.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

UNDEFINED = "F821,F823"
"""Names that nothing binds, and locals read before they are bound."""
PYFLAKES = "F"
PYTHON = "py313"
"""The syntax and the built-in names that are known; the same on every interpreter."""


_NAME = re.compile("`([^`]+)`")


def findings(codes: Sequence[str], rules: str) -> list[int]:
    """Findings per text under comma-separated ruff rules; a text that does not parse counts its syntax errors."""
    return [len(messages) for messages in _messages(codes, rules)]


def undefined_names(codes: Sequence[str]) -> list[list[str]]:
    """Per text the distinct names that nothing binds or that are read before they are bound, sorted.

    A text that does not parse has none: that it does not parse is another measurement.
    """
    return [sorted({m[1] for m in map(_NAME.search, messages) if m}) for messages in _messages(codes, UNDEFINED)]


def _messages(codes: Sequence[str], rules: str) -> list[list[str]]:
    """Ruff's messages per text; the message of a syntax error is empty.

    A text cannot hide findings with `# noqa`, and a .gitignore around the temporary folder hides nothing either.
    """
    found: list[list[str]] = [[] for _ in codes]
    if not codes:
        return found
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--ignore-noqa"]
    with tempfile.TemporaryDirectory(prefix="scoder-lint-") as folder:
        for number, code in enumerate(codes):
            Path(folder, f"{number}.py").write_text(code, encoding="utf-8", errors="replace")
        command += ["--no-respect-gitignore", "--target-version", PYTHON, "--select", rules]
        done = subprocess.run([*command, "--output-format", "json-lines", folder], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ruff failed with code {done.returncode}: {done.stderr.strip()[:500]}")
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        is_syntax = finding["code"] in (None, "invalid-syntax")
        found[int(Path(finding["filename"]).stem)].append("" if is_syntax else finding["message"])
    return found
