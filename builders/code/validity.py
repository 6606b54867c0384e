"""Which of many Python files parse, decided for all of them at once.

In: texts that `builders.code.outline` does not call odd. Out: per text whether ruff's parser accepts it for the running Python.
How: one ruff process reads them all, an order of magnitude faster than `ast`. Where ruff says no, or cannot say, the
caller asks `ast`: only a yes is relied upon. Ruff knows no limits of size and takes three kinds of replacement fields
that older Pythons refuse; what is odd to the outline covers both (`tests/code/test_validity.py` has a list of broken files,
`benchmarks/pool/extraction.py` compares both parsers on real files and on files broken at random).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

TIMEOUT_S = 300.0
CHUNK_BYTES = 200_000


def accepted(texts: Sequence[bytes]) -> list[bool]:
    """Whether each text surely parses; False where that is unknown.

    Many files cost ruff more than their text, so texts are joined with a statement in between. Each of them closes its
    strings, brackets and lines (else it would be odd), so that all parse if the whole does; where it does not, one by one.
    """
    chunks = _chunks(texts)
    joined = [_JOINT.join(texts[n] for n in chunk).replace(*_FUTURE) for chunk in chunks]
    doubtful = [n for c in _refused(joined) for n in chunks[c]]
    refused = {doubtful[n] for n in _refused([texts[n] for n in doubtful])}
    return [number not in refused for number in range(len(texts))]


_JOINT = b"\npass\n"
_FUTURE = (b"from __future__ import", b"from x_future__ import")
"""Such an import may stand at the start of a file only."""


def _chunks(texts: Sequence[bytes]) -> list[list[int]]:
    chunks: list[list[int]] = []
    size = 0
    for number, text in enumerate(texts):
        if not chunks or size + len(text) > CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(number)
        size += len(text)
    return chunks


def _refused(texts: Sequence[bytes]) -> set[int]:
    """Numbers of the texts that ruff finds fault with; a text that brings it down is among them."""
    if not texts:
        return set()
    with tempfile.TemporaryDirectory(prefix="scoder-syntax-") as folder:
        for number, text in enumerate(texts):
            with open(f"{folder}/{number}.py", "wb") as handle:
                handle.write(text)
        try:
            # one thread: who extracts with many workers has one of these processes in each
            one_thread = os.environ | {"RAYON_NUM_THREADS": "1"}
            done = subprocess.run([*_command(), folder], capture_output=True, timeout=TIMEOUT_S, env=one_thread)
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code in (0, 1):
        return {int(Path(json.loads(line)["filename"]).stem) for line in done.stdout.splitlines()}
    if len(texts) == 1:
        return {0}
    middle = len(texts) // 2
    return _refused(texts[:middle]) | {middle + n for n in _refused(texts[middle:])}


@cache
def _command() -> list[str]:
    """Syntax errors are reported whatever rules are selected; E902 is the cheapest one that needs the file parsed.

    The program itself and not `python -m ruff`: starting another Python takes longer than reading a megabyte.
    """
    from ruff.__main__ import find_ruff_bin

    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    options = ["--isolated", "--no-cache", "--ignore-noqa", "--no-respect-gitignore", "--target-version", version]
    return [find_ruff_bin(), "check", *options, "--select", "E902", "--output-format", "json-lines", "--quiet"]
