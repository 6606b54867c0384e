"""Ruff findings of many code texts, in one process.

In: texts. Out: the number of findings per text, or the undefined names. No code is executed. The
project's own ruff settings do not count.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from store.held_folders import temporary

UNDEFINED = "F821,F823"
"""The rules for names that nothing binds, and for locals that are read before they are bound."""
PYFLAKES = "F"
PYTHON = "py313"
"""The version whose syntax and built-in names are known. It is the same on every interpreter."""


_NAME = re.compile("`([^`]+)`")


def findings(codes: Sequence[str], rules: str) -> list[int]:
    """Findings per text under comma-separated ruff rules.

    A text that does not parse counts its syntax errors.
    """
    return [len(messages) for messages in _messages(codes, rules)]


def undefined_names(codes: Sequence[str]) -> list[list[str]]:
    """The undefined names of each text, distinct and sorted.

    These are names that nothing binds, or that are read before they are bound. A text that does not
    parse has none here: another measurement says that it does not parse.
    """
    return [sorted({m[1] for m in map(_NAME.search, messages) if m}) for messages in _messages(codes, UNDEFINED)]


def _messages(codes: Sequence[str], rules: str) -> list[list[str]]:
    """Ruff's messages per text; the message of a syntax error is empty.

    Neither `# noqa` in a text nor a .gitignore around the temporary folder hides a finding.
    """
    found: list[list[str]] = [[] for _ in codes]
    if not codes:
        return found
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--ignore-noqa"]
    with temporary("lint") as folder:
        for number, code in enumerate(codes):
            (folder / f"{number}.py").write_text(code, encoding="utf-8", errors="replace")
        command += ["--no-respect-gitignore", "--target-version", PYTHON, "--select", rules]
        done = subprocess.run([*command, "--output-format", "json-lines", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ruff ended with exit code {done.returncode}. It says: {done.stderr.strip()[:500]}")
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        is_syntax = finding["code"] in (None, "invalid-syntax")
        found[int(Path(finding["filename"]).stem)].append("" if is_syntax else finding["message"])
    return found
