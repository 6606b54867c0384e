"""Texts as flat arrays of tokens, and token n-grams as hashes.

Decontamination and near-duplicates compare texts by these.

In: any texts (Python, broken Python, other languages, prose), as an Arrow array or a list. Out:
numpy arrays over the whole batch; nothing per text is a Python object. Hashes are the same in every
process and on every machine.

    lexed = lex(texts)                  all tokens: hashes, kinds, starts, ends. Those of text i are
                                        hashes[offsets[i] : offsets[i + 1]], its bytes are
                                        data[bounds[i] : bounds[i + 1]]
    code(lexed)                         the Python only: without comments, docstrings and other
                                        prose, annotations and imports, and without what formatters
                                        add and take away (round brackets, trailing commas, `;`)
    words(lexed), literals(lexed)       the words of the prose; the numbers and strings wherever
                                        they stand
    grams(code(lexed), 8)               n-grams of raw tokens: hashes and offsets per text, one for
                                        each window, with repetitions
    grams(code(lexed), 8, rename=True)  the same hashes for every consistent renaming. Names that
                                        are no keyword, builtin, attribute or argument of a call
                                        count only by which earlier places of the window hold the
                                        same name. Every f-string counts as one and the same word

How: one pass of the automaton in `builders/code/lexer.py`, then compiled filters. To ignore names
we use Baker's encoding of parameterized strings (B. S. Baker, STOC 1993): an identifier becomes the
distance to its previous occurrence, or 0 when that is outside of the window.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from builders.code.compiled import compiled
from builders.code.lexer import (
    ANNOTATION,
    ARGUMENT,
    ATTRIBUTE,
    BINDS,
    BUILTIN,
    DEFINES,
    FSTRING,
    IDENTIFIER,
    IMPORT,
    IMPORTS,
    KEYWORD,
    NUMBER,
    OPERATOR,
    PROSE,
    SOFT,
    STATEMENT,
    STRING,
    WORD,
    hash_bytes,
    lex_texts,
)
from store.texts import storable

__all__ = [
    "ANNOTATION",
    "ARGUMENT",
    "ATTRIBUTE",
    "BUILTIN",
    "FSTRING",
    "IDENTIFIER",
    "IMPORT",
    "KEYWORD",
    "NUMBER",
    "OPERATOR",
    "PROSE",
    "STRING",
    "WORD",
    "Grams",
    "Lexed",
    "code",
    "grams",
    "lex",
    "literals",
    "words",
]

MAX_WINDOW = 32
"""The longest n-gram."""

# Fixed lists, so that hashes do not depend on the Python that runs.
_STATEMENTS = (
    "assert break class continue def del except finally global import nonlocal pass raise return try while with"
)
_EXPRESSIONS = "False None True and as async await elif else for from if in is lambda not or yield"
_SOFT = "match case type exec"
_BUILTINS = """abs all any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex delattr
dict dir divmod enumerate eval exec filter float format frozenset getattr globals hasattr hash help hex id input int
isinstance issubclass iter len list locals map max memoryview min next object oct open ord pow print property range repr
reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip __import__ ArithmeticError
AssertionError AttributeError BaseException EOFError Exception FileNotFoundError ImportError IndexError KeyError
KeyboardInterrupt LookupError NotImplementedError OSError OverflowError PermissionError RuntimeError StopIteration
SyntaxError TimeoutError TypeError UnicodeDecodeError ValueError Warning ZeroDivisionError NotImplemented Ellipsis"""

Texts = Any  # pa.Array | pa.ChunkedArray | list[str]; pyarrow has no types


@dataclass(frozen=True)
class Lexed:
    """The tokens of a batch of texts.

    data     uint8 (bytes,)
    bounds   int64 (texts + 1,), in bytes of data
    offsets  int64 (texts + 1,), in tokens
    hashes   uint64 (tokens,)
    kinds    uint8 (tokens,), the class in the low four bits and the region in the others
    starts   int32 (tokens,), in bytes of data; `ends` likewise
    """

    data: np.ndarray
    bounds: np.ndarray
    offsets: np.ndarray
    hashes: np.ndarray
    kinds: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @property
    def num_texts(self) -> int:
        """How many texts were lexed."""
        return len(self.offsets) - 1

    def text(self, first: int, last: int) -> str:
        """The text from token `first` to token `last`, both included."""
        return bytes(self.data[self.starts[first] : self.ends[last]]).decode("utf-8", "replace")


@dataclass(frozen=True)
class Grams:
    """Token n-grams of a batch, n tokens each: hashes uint64 (grams,), offsets int64 (texts + 1,).

    Offsets count grams. Gram `offsets[i] + k` starts at token `lexed.offsets[i] + k` of the tokens
    that it was made from.
    """

    hashes: np.ndarray
    offsets: np.ndarray
    n: int


def lex(texts: Texts) -> Lexed:
    """All tokens of the texts. NULL counts as an empty text.

    ValueError for a batch of 2 GiB or more: lex in smaller batches.
    """
    data, bounds = flat(texts)
    if len(data) >= 2**31:
        raise ValueError(
            f"a batch of texts has {len(data):,} bytes, and at most {2**31 - 1:,} are allowed. Use smaller batches."
        )
    table_hashes, table_kinds = _vocabulary()
    hashes, kinds = np.empty(len(data) + 1, np.uint64), np.empty(len(data) + 1, np.uint8)
    starts, ends = np.empty(len(data) + 1, np.int32), np.empty(len(data) + 1, np.int32)
    offsets = np.empty(len(bounds), np.int64)
    n = lex_texts(data, bounds, table_hashes, table_kinds, hashes, kinds, starts, ends, offsets)
    return Lexed(data, bounds, offsets, hashes[:n], kinds[:n], starts[:n], ends[:n])


def code(lexed: Lexed) -> Lexed:
    """The tokens of the Python code alone, in a form that formatters cannot change."""
    elif_hash, else_hash, if_hash, colon = (hash_text(word) for word in ("elif", "else", "if", ":"))
    signs = np.array([hash_text(sign) for sign in "();,]}"], np.uint64)
    kept, hashes = np.empty(len(lexed.hashes), np.int64), np.empty(len(lexed.hashes), np.uint64)
    offsets = np.empty_like(lexed.offsets)
    words_of_else = np.array([elif_hash, else_hash, if_hash, colon], np.uint64)
    n = _code(lexed.hashes, lexed.kinds, lexed.offsets, signs, words_of_else, kept, hashes, offsets)
    return _selected(lexed, kept[:n], offsets, hashes[:n].copy())


def words(lexed: Lexed) -> Lexed:
    """The words of the prose, in lower case."""
    return _of_classes(lexed, WORD, WORD)


def literals(lexed: Lexed) -> Lexed:
    """The numbers and strings, in code and in prose."""
    return _of_classes(lexed, NUMBER, STRING)


def grams(lexed: Lexed, n: int, rename: bool = False) -> Grams:
    """The hash of every window of `n` tokens of every text. A text with fewer tokens has none.

    With `rename`, texts that differ by a consistent renaming have the same hashes. ValueError
    unless 1 <= n <= MAX_WINDOW.
    """
    if not 1 <= n <= MAX_WINDOW:
        raise ValueError(f"n is {n}, but n-grams have 1 to {MAX_WINDOW} tokens")
    sizes = np.maximum(np.diff(lexed.offsets) - n + 1, 0)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    hashes = np.empty(offsets[-1], np.uint64)
    factors, names = _weights(n, rename)
    if rename:
        _renamed_grams(lexed.hashes, lexed.kinds, lexed.offsets, offsets, factors, names, hashes)
    else:
        _raw_grams(lexed.hashes, lexed.offsets, offsets, factors, hashes)
    return Grams(hashes, offsets, n)


def hash_text(text: str) -> np.uint64:
    """The hash that `lex` gives a name, sign or keyword."""
    data = np.frombuffer(text.encode(), np.uint8)
    return np.uint64(hash_bytes(data, 0, len(data), False))


def flat(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all texts in a row, and where each text begins.

    An Arrow array of one chunk is not copied.
    """
    array: Any = pa.array([storable(t or "") for t in texts], pa.large_string()) if isinstance(texts, list) else texts
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    array = array.cast(pa.large_string())
    if array.null_count:
        array = array.fill_null("")
    if len(array) == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    flat = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return flat[bounds[0] : bounds[-1]], bounds - bounds[0]


@cache
def _vocabulary() -> tuple[np.ndarray, np.ndarray]:
    """The marks of keywords and builtins as an open hash table: hashes and marks.

    Its size is a power of two.
    """
    marks: dict[str, int] = dict.fromkeys(_SOFT.split(), SOFT | IDENTIFIER)
    marks |= dict.fromkeys(_BUILTINS.split(), BUILTIN)
    marks |= dict.fromkeys(("print", "type", "exec"), BUILTIN | SOFT)
    marks |= dict.fromkeys(_EXPRESSIONS.split(), KEYWORD)
    marks |= dict.fromkeys(_STATEMENTS.split(), KEYWORD | STATEMENT)
    marks |= {"import": KEYWORD | STATEMENT | IMPORTS, "from": KEYWORD | IMPORTS}
    marks |= {"def": KEYWORD | STATEMENT | DEFINES | BINDS, "class": KEYWORD | STATEMENT | BINDS}
    marks |= {"for": KEYWORD | BINDS, "as": KEYWORD | BINDS}
    missing = set(keyword.kwlist) - {word for word, mark in marks.items() if mark & 15 == KEYWORD}
    if missing:
        raise AssertionError(f"this Python has keywords that the vocabulary does not list: {sorted(missing)}")
    hashes, kinds = np.zeros(1024, np.uint64), np.zeros(1024, np.uint16)
    for word, mark in marks.items():
        key = hash_text(word)
        slot = int(key) & 1023
        while kinds[slot]:
            slot = (slot + 1) & 1023
        hashes[slot], kinds[slot] = key, mark
    return hashes, kinds


@cache
def _weights(n: int, rename: bool) -> tuple[np.ndarray, np.ndarray]:
    """An odd factor for each place of a window, and codes of the distances.

    Each kind of n-gram has factors of its own.
    """

    def drawn(names: Iterable[str]) -> np.ndarray:
        return np.array([hash_text(name) for name in names], np.uint64)

    factors = drawn(f"place {k} of {n} {rename}" for k in range(n)) | np.uint64(1)
    return factors, drawn(f"distance {d}" for d in range(MAX_WINDOW + 1))


def _selected(lexed: Lexed, kept: np.ndarray, offsets: np.ndarray, hashes: np.ndarray) -> Lexed:
    rest = {name: getattr(lexed, name)[kept] for name in ("kinds", "starts", "ends")}
    return replace(lexed, offsets=offsets, hashes=hashes, **rest)


def _of_classes(lexed: Lexed, first: int, last: int) -> Lexed:
    kept, offsets = np.empty(len(lexed.hashes), np.int64), np.empty_like(lexed.offsets)
    n = _kept(lexed.kinds, lexed.offsets, first, last, kept, offsets)
    return _selected(lexed, kept[:n], offsets, lexed.hashes[kept[:n]])


@compiled
def _kept(kinds, offsets, first, last, kept, out_offsets):
    n = 0
    for text in range(len(offsets) - 1):
        out_offsets[text] = n
        for i in range(offsets[text], offsets[text + 1]):
            kept[n] = i
            n += first <= kinds[i] & 15 <= last
    out_offsets[len(offsets) - 1] = n
    return n


@compiled
def _code(hashes, kinds, offsets, signs, words_of_else, kept, out, out_offsets):
    """Write which tokens are kept and their hashes; return how many there are."""
    n = 0
    out_offsets[0] = 0
    opening, closing, semicolon, comma = signs[0], signs[1], signs[2], signs[3]
    elif_hash, else_hash, if_hash, colon = words_of_else
    for text in range(len(offsets) - 1):
        begin = n
        for i in range(offsets[text], offsets[text + 1]):
            key = hashes[i]
            if kinds[i] & 0xF0:
                continue
            if (kinds[i] & 15) == OPERATOR:
                is_closing = key == closing or key == signs[4] or key == signs[5]
                if is_closing and n > begin and out[n - 1] == comma:
                    n -= 1
                if key in (opening, closing, semicolon):
                    continue
            if key == if_hash and n - begin >= 2 and out[n - 1] == colon and out[n - 2] == else_hash:
                n -= 2
                key = elif_hash
            kept[n], out[n] = i, key
            n += 1
        out_offsets[text + 1] = n
    return n


@compiled
def _raw_grams(hashes, token_offsets, offsets, factors, out):
    width = len(factors)
    for text in range(len(offsets) - 1):
        first = token_offsets[text]
        for k in range(offsets[text + 1] - offsets[text]):
            total = np.uint64(0)
            for p in range(width):
                total += hashes[first + k + p] * factors[p]
            out[offsets[text] + k] = _finished(total)


@compiled
def _renamed_grams(hashes, kinds, token_offsets, offsets, factors, names, out):
    width = len(factors)
    codes, distances = np.empty(64, np.uint64), np.empty(64, np.int64)
    for text in range(len(offsets) - 1):
        first, end = token_offsets[text], token_offsets[text + 1]
        if len(codes) < end - first:
            codes, distances = np.empty(2 * (end - first), np.uint64), np.empty(2 * (end - first), np.int64)
        for i in range(end - first):
            kind = kinds[first + i] & 15
            codes[i] = np.uint64(FSTRING) if kind == FSTRING else hashes[first + i]
            distances[i] = 0
            if kind == IDENTIFIER:
                distances[i] = MAX_WINDOW
                for d in range(1, min(width, i + 1)):
                    if hashes[first + i - d] == hashes[first + i] and (kinds[first + i - d] & 15) == IDENTIFIER:
                        distances[i] = d
                        break
        for k in range(offsets[text + 1] - offsets[text]):
            total = np.uint64(0)
            for p in range(width):
                d = distances[k + p]
                if d > 0:
                    total += names[d if d <= p else 0] * factors[p]
                else:
                    total += codes[k + p] * factors[p]
            out[offsets[text] + k] = _finished(total)


@compiled
def _finished(state):
    """Let every bit of a sum change every bit of the result (splitmix64's finaliser)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
