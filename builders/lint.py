"""Ruff findings of many code texts in one process.

In: texts. Out: the number of findings per text. Nothing is executed; the project's own ruff settings are ignored.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

UNDEFINED = "F821,F823"
"""Names that nothing binds, and locals read before they are bound."""
PYFLAKES = "F"


def findings(codes: Sequence[str], rules: str) -> list[int]:
    """Findings per text under comma-separated ruff rules; a text that does not parse counts its syntax errors.

    A text cannot hide findings with `# noqa`, and a .gitignore around the temporary folder hides nothing either.
    """
    if not codes:
        return []
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--ignore-noqa"]
    with tempfile.TemporaryDirectory(prefix="scoder-lint-") as folder:
        for number, code in enumerate(codes):
            Path(folder, f"{number}.py").write_text(code, encoding="utf-8", errors="replace")
        command += ["--no-respect-gitignore", "--select", rules, "--output-format", "json", folder]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ruff failed with code {done.returncode}: {done.stderr.strip()[:500]}")
    counts = Counter(int(Path(finding["filename"]).stem) for finding in json.loads(done.stdout))
    return [counts[number] for number in range(len(codes))]
