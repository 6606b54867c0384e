"""Make `background.npz` again, from the standard library of the running Python:

    python -m builders.decontamination.detectors.count_background [FILE]

In: every function and method of the standard library. Out: for each n-gram the number of functions
that have it.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from builders.code import tokens
from builders.code.tokens import Grams
from builders.decontamination.detectors.background import FILE, MIN_TEXTS
from builders.decontamination.detectors.features import VIEWS, normalised, of_tokens


def write(functions: list[str], path: Path) -> None:
    """Count the n-grams of the functions and write the file."""
    arrays: dict[str, np.ndarray] = {}
    lexed = tokens.lex(normalised(pa.array(functions, pa.large_string())))
    for sets in of_tokens(lexed, VIEWS).values():
        for name, (_, grams) in sets.items():
            keys, counts = _document_frequencies(grams)
            arrays |= {
                f"{name}.texts": np.array(np.count_nonzero(np.diff(grams.offsets))),
                f"{name}.keys": keys,
                f"{name}.levels": np.round(8 * np.log2(counts)).astype(np.uint8),
            }
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _document_frequencies(grams: Grams) -> tuple[np.ndarray, np.ndarray]:
    texts = np.repeat(np.arange(len(grams.offsets) - 1), np.diff(grams.offsets))
    keys = (grams.hashes >> np.uint64(32)).astype(np.uint32)
    pairs = np.unique((keys.astype(np.uint64) << np.uint64(32)) | texts.astype(np.uint64))
    distinct, counts = np.unique((pairs >> np.uint64(32)).astype(np.uint32), return_counts=True)
    return distinct[counts >= MIN_TEXTS], counts[counts >= MIN_TEXTS]


def standard_library() -> Iterator[str]:
    """Every distinct function and method of the standard library, ordered by the paths of their
    files.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    seen = set()
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        for text in _functions(path):
            if text not in seen:
                seen.add(text)
                yield text


def _functions(path: Path) -> Iterator[str]:
    try:
        source = path.read_text("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(source).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    members = [n for c in body if isinstance(c, ast.ClassDef) for n in c.body]
    lines = source.split("\n")
    for node in [*body, *members]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield "\n".join(line[node.col_offset :] for line in lines[node.lineno - 1 : node.end_lineno])


if __name__ == "__main__":
    write(list(standard_library()), Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
