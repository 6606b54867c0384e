"""Which of many Python files parse, decided for all of them at once.

In: texts that `builders.code.outline` does not call odd. Out: per text whether ruff's parser
accepts it for the running Python.

How: one ruff process reads them all, about ten times faster than `ast`. Where ruff says no, or
cannot say, the caller asks `ast`: only a yes is relied upon. Ruff is more permissive than Python in
three ways. It has no limits of size, and it accepts three kinds of replacement fields that older
Pythons refuse: texts with either are odd to the outline, so they never come here. And it accepts
lines that are indented by tabs in one place and by blanks in another, where Python may see an
inconsistent use of tabs: such a text gets no yes.

`tests/code/test_validity.py` has a list of broken files. `benchmarks/pool/extraction.py` compares
both parsers on real files and on files that are broken at random.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from store.held_folders import temporary

TIMEOUT_S = 300.0
CHUNK_BYTES = 200_000
RUNNING = sys.version_info[:2]
NEWEST = (3, 14)
"""The newest Python whose syntax is read. `builders/code/newer.py` knows what it added."""


def accepted(texts: Sequence[bytes]) -> list[bool]:
    """Whether each text surely parses. False where that is not known.

    A file costs ruff more than its text, so texts are joined with a statement in between. Each text
    closes its strings, brackets and lines, otherwise it would be odd. So all parse if the joined
    text does. If it does not, its texts are checked one by one.
    """
    alike = [n for n, text in enumerate(texts) if not _mixes_tabs(text)]
    yes = dict(zip(alike, _accepted([texts[n] for n in alike]), strict=True))
    return [yes.get(n, False) for n in range(len(texts))]


def newer(texts: Sequence[bytes]) -> list[bool]:
    """Whether each text, which the running Python refuses, parses for the newest known one."""
    alike = [n for n, text in enumerate(texts) if not _mixes_tabs(text)]
    if RUNNING >= NEWEST or not alike:
        return [False] * len(texts)
    refused = _refused([texts[n] for n in alike], NEWEST)
    yes = {n for place, n in enumerate(alike) if place not in refused}
    return [n in yes for n in range(len(texts))]


def _mixes_tabs(text: bytes) -> bool:
    """Whether lines begin with tabs and lines begin with blanks, or one line with both."""
    return b"\t" in text and bool(_TAB.search(text)) and bool(_BLANK.search(text))


_TAB, _BLANK = re.compile(rb"^[ \f]*\t", re.MULTILINE), re.compile(rb"^[\t\f]* ", re.MULTILINE)


def _accepted(texts: Sequence[bytes]) -> list[bool]:
    chunks = _chunks(texts)
    joined = [_JOINT.join(texts[n] for n in chunk).replace(*_FUTURE) for chunk in chunks]
    doubtful = [n for c in _refused(joined) for n in chunks[c]]
    refused = {doubtful[n] for n in _refused([texts[n] for n in doubtful])}
    return [number not in refused for number in range(len(texts))]


_JOINT = b"\npass\n"
_FUTURE = (b"from __future__ import", b"from x_future__ import")
"""Such an import is allowed at the start of a file only, so it is renamed before texts are joined.
"""


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


def _refused(texts: Sequence[bytes], version: tuple[int, int] = RUNNING) -> set[int]:
    """The numbers of the texts that ruff refuses, and of a text that crashes it."""
    if not texts:
        return set()
    with temporary("syntax") as folder:
        for number, text in enumerate(texts):
            with open(f"{folder}/{number}.py", "wb") as handle:
                handle.write(text)
        try:
            # one thread: with many workers there is one of these processes in each of them
            one_thread = os.environ | {"RAYON_NUM_THREADS": "1"}
            done = subprocess.run(
                [*_command(version), str(folder)], capture_output=True, timeout=TIMEOUT_S, env=one_thread
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = -1
    if code in (0, 1):
        return {int(Path(json.loads(line)["filename"]).stem) for line in done.stdout.splitlines()}
    if len(texts) == 1:
        return {0}
    middle = len(texts) // 2
    return _refused(texts[:middle], version) | {middle + n for n in _refused(texts[middle:], version)}


@cache
def _command(version: tuple[int, int] = RUNNING) -> list[str]:
    """The command that checks the files of a folder.

    Ruff reports syntax errors whatever rules are selected. E902 is the cheapest rule that makes it
    parse the file. We start the program itself and not `python -m ruff`, because starting another
    Python takes longer than reading a megabyte.
    """
    from ruff.__main__ import find_ruff_bin

    target = f"py{version[0]}{version[1]}"
    options = ["--isolated", "--no-cache", "--ignore-noqa", "--no-respect-gitignore", "--target-version", target]
    return [find_ruff_bin(), "check", *options, "--select", "E902", "--output-format", "json-lines", "--quiet"]
