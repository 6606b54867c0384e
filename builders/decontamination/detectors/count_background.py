"""Make `background.npz` again:

    python -m builders.decontamination.detectors.count_background LEETCODE CODEALPACA [FILE]

In: the functions and methods of the standard library and of a fourth of the files of the packages
that `constraints.txt` pins; and exercises, which are the `query` of each line of LEETCODE
(LeetCodeDataset, MIT) and the `instruction` and `input` of half of the rows of CODEALPACA
(code_alpaca_2k.json; those whose MD5 is even, so that the others are still good for measurements).
Out: the words that people write, and for each n-gram the number of functions, and of exercises,
that have it. Nothing of the texts themselves is kept but the words that many of them have.

A README is no help: with those of the packages counted too, no verdict of the tuning data changed.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import md5
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pyarrow as pa

from builders.code import tokens
from builders.code.tokens import Grams, Lexed
from builders.decontamination.detectors.background import EXERCISES, FILE, WORDS, min_texts
from builders.decontamination.detectors.concepts import MAX_LETTERS, Vocabulary, vocabulary
from builders.decontamination.detectors.features import VIEWS, normalised, of_tokens
from builders.decontamination.detectors.statements import asked

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"

EVERY = 4
"""Of the files of packages, each so many-th by the hash of its name is read."""

MIN_WRITTEN = 5
"""In so many functions a word must be to be one that people write, and no slip."""


def write(functions: Sequence[str], exercises: Sequence[str], path: Path) -> None:
    """Count the n-grams of the functions and exercises and write the file."""
    lexed = tokens.lex(normalised(pa.array(functions, pa.large_string())))
    asked_for = tokens.lex(normalised(pa.array(exercises, pa.large_string())))
    words = written(tokens.words(lexed), tokens.words(asked_for))
    arrays = {WORDS: np.frombuffer("\n".join(words).encode(), np.uint8)}
    known = vocabulary(words)
    arrays |= _counts(lexed, VIEWS, known, "") | _counts(asked_for, ("prose",), known, EXERCISES)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def written(*parts: Lexed) -> list[str]:
    """The words of letters that enough texts have, the commonest first."""
    counts: Counter[bytes] = Counter()
    for part in parts:
        data = bytes(part.data)
        for text in range(part.num_texts):
            places = range(part.offsets[text], part.offsets[text + 1])
            counts.update({data[part.starts[k] : part.ends[k]].lower() for k in places})
    common = sorted((-n, word) for word, n in counts.items() if n >= MIN_WRITTEN)
    return [word.decode() for _, word in common if re.fullmatch(rb"[a-z]{2,%d}" % MAX_LETTERS, word)]


def _counts(lexed: Lexed, views: Sequence[str], known: Vocabulary, prefix: str) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for view in views:
        for name, (_, grams) in of_tokens(lexed, [view], known=known)[view].items():
            keys, counts = _document_frequencies(grams, min_texts(name))
            arrays |= {
                f"{prefix}{name}.texts": np.array(np.count_nonzero(np.diff(grams.offsets))),
                f"{prefix}{name}.keys": keys,
                f"{prefix}{name}.levels": np.round(8 * np.log2(counts)).astype(np.uint8),
            }
    return arrays


def _document_frequencies(grams: Grams, least: int) -> tuple[np.ndarray, np.ndarray]:
    texts = np.repeat(np.arange(len(grams.offsets) - 1), np.diff(grams.offsets))
    keys = (grams.hashes >> np.uint64(32)).astype(np.uint32)
    pairs = np.unique((keys.astype(np.uint64) << np.uint64(32)) | texts.astype(np.uint64))
    distinct, counts = np.unique((pairs >> np.uint64(32)).astype(np.uint32), return_counts=True)
    return distinct[counts >= least], counts[counts >= least]


def sources() -> Iterator[Path]:
    """The files of the standard library, and then those of the packages that are read."""
    root = Path(sysconfig.get_paths()["stdlib"])
    yield from (path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts)
    pinned = re.findall(r"(?m)^([A-Za-z0-9._-]+)==", CONSTRAINTS.read_text("utf-8"))
    for name in sorted(pinned):
        try:
            listed = files(name) or []
        except PackageNotFoundError:
            continue
        for path in sorted(listed, key=str):
            if path.suffix == ".py" and md5(str(path).encode()).digest()[0] % EVERY == 0:
                yield Path(str(path.locate()))


def functions(paths: Iterator[Path]) -> Iterator[str]:
    """Every distinct function and method of the files, in their order."""
    seen: set[bytes] = set()
    for path in paths:
        for text in _functions(path):
            digest = md5(text.encode("utf-8", "replace")).digest()
            if digest not in seen:
                seen.add(digest)
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


def exercises(leetcode: Path, codealpaca: Path) -> list[str]:
    """The statements of the two files, without their examples."""
    with gzip.open(leetcode, "rt", encoding="utf-8") as lines:
        found = [asked(json.loads(line)["query"]) for line in lines]
    for row in json.loads(codealpaca.read_text("utf-8")):
        if md5("\n".join(map(str, row.values())).encode()).digest()[-1] % 2 == 0:
            found.append(f"{row['instruction']}\n{row['input']}")
    return found


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    if not 2 <= len(given) <= 3:
        raise SystemExit(__doc__)
    write(list(functions(sources())), exercises(*given[:2]), given[2] if len(given) > 2 else FILE)
