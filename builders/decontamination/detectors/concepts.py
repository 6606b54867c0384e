"""Words of prose as concepts: neither the form of a word, nor a synonym, nor a slip of the finger
hides it.

In: the words of texts (builders/code/tokens.py). Out: the same without those that say nothing, with
the hash of a concept in place of the hash of a word; and pairs of them.

    a form       words are cut to their stems: "sorted", "sorting" and "sorts" are "sort"
    a synonym    `thesaurus.txt` beside this module has groups of words that mean the same in the
                 statement of a programming task: "largest" is "maximum"
    a slip       a word that nobody writes is taken for the commonest word that differs by one
                 letter more or less, by another letter, or by two letters exchanged
    no content   letters, and the first line of the thesaurus: "the", "of", "write", "function"

A concept depends on the word alone, and never on the tasks or on the other words. A pair is two
concepts that follow each other, in either order.

How: one compiled pass. A word that people write is found in a table. Any other is looked for with
each of its letters left out in turn, among the words that people write with one letter left out
(W. Garbe's symmetric deletion): two words that differ by one slip share such a remainder. What is
not found is cut to its stem, which is always a beginning of the word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from builders.code.compiled import compiled
from builders.code.tokens import Grams, Lexed

THESAURUS = Path(__file__).with_name("thesaurus.txt")

MIN_LETTERS, MAX_LETTERS = 4, 24
"""Letters of a word that may be a slip. Of shorter ones, too many differ by one letter."""

_MULTIPLIER = np.uint64(0x100000001B3)
_START = np.uint64(0xCBF29CE484222325)

Table = tuple[np.ndarray, np.ndarray]
"""An open hash table: keys, 0 where nothing is, and values; uint64. Its size is a power of 2."""


@dataclass(frozen=True)
class Vocabulary:
    """Words that people write: word -> concept, and word without one letter -> concept. The concept
    0 is dropped.
    """

    words: Table
    remainders: Table


def vocabulary(words: Sequence[str]) -> Vocabulary:
    """The vocabulary of words in lower case, the commonest first."""
    texts = [word.encode() for word in words]
    data = np.frombuffer(b"".join(texts), np.uint8)
    bounds = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    whole, remainders = _empty(len(texts)), _empty(len(data))
    _fill(data, bounds, *_thesaurus(), *whole, *remainders)
    return Vocabulary(whole, remainders)


def concepts(words: Lexed, known: Vocabulary) -> Lexed:
    """The words that say something, as concepts."""
    kept, hashes = np.empty(len(words.hashes), np.int64), np.empty(len(words.hashes), np.uint64)
    offsets = np.empty_like(words.offsets)
    places = (words.data, words.hashes, words.starts, words.ends, words.offsets)
    n = _concepts(*places, *_thesaurus(), *known.words, *known.remainders, kept, hashes, offsets)
    rest = {name: getattr(words, name)[kept[:n]] for name in ("kinds", "starts", "ends")}
    return replace(words, offsets=offsets, hashes=hashes[:n].copy(), **rest)


def singles(made: Lexed) -> Grams:
    """Each concept alone."""
    return Grams(made.hashes, made.offsets, 1)


def pairs(made: Lexed) -> Grams:
    """Each two concepts that follow each other, in either order."""
    sizes = np.maximum(np.diff(made.offsets) - 1, 0)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    hashes = np.empty(offsets[-1], np.uint64)
    _pairs(made.hashes, made.offsets, offsets, hashes)
    return Grams(hashes, offsets, 2)


def stem(word: str) -> str:
    """The stem of a word: its beginning, in lower case.

    stem("Sorting") == "sort"
    """
    data = np.frombuffer(word.lower().encode(), np.uint8)
    return bytes(data[: _stem_end(data, 0, len(data))]).decode("utf-8", "replace")


def groups() -> list[list[str]]:
    """The groups of the thesaurus, each with the word that stands for it first; that of the words
    that are dropped is "-".
    """
    return [line.split() for line in THESAURUS.read_text("utf-8").splitlines() if line and line[0] != "#"]


@cache
def digest() -> str:
    """16 hex digits that identify the thesaurus."""
    return hashlib.sha256(THESAURUS.read_bytes()).hexdigest()[:16]


@cache
def _thesaurus() -> Table:
    """Hash of a stem -> hash of its concept."""
    found: dict[str, str] = {}
    for first, *others in groups():
        for word in [first, *others] if first != "-" else others:
            found.setdefault(stem(word), "" if first == "-" else stem(first))
    keys, values = _empty(len(found))
    _put(_hashes(found), _hashes(found.values()) * np.array([bool(c) for c in found.values()]), keys, values)
    return keys, values


def _hashes(words: Iterable[str]) -> np.ndarray:
    texts = [np.frombuffer(word.encode(), np.uint8) for word in words]
    return np.array([_hash(text, 0, len(text), -1) for text in texts], np.uint64)


def _empty(entries: int) -> Table:
    size = 1 << max(int(2 * entries).bit_length(), 4)
    return np.zeros(size, np.uint64), np.zeros(size, np.uint64)


@compiled
def _lower(c):
    return c + 32 if 65 <= c <= 90 else c


@compiled
def _hash(data, begin, end, without):
    """The hash that the lexer gives a word of prose, here without the byte at one place."""
    state = _START
    for i in range(begin, end):
        if i != without:
            state = (state ^ np.uint64(_lower(data[i]))) * _MULTIPLIER
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@compiled
def _is_vowel(c):
    return c in (97, 101, 105, 111, 117, 121)  # a e i o u y


@compiled
def _has_vowel(data, begin, end):
    has_vowel = False
    for i in range(begin, end):
        has_vowel = has_vowel or _is_vowel(_lower(data[i]))
    return has_vowel


@compiled
def _is_plain(data, begin, end):
    """Whether there are only letters of ASCII."""
    is_plain = True
    for i in range(begin, end):
        is_plain = is_plain and 97 <= data[i] | 32 <= 122
    return is_plain


@compiled
def _ends_in(data, begin, end, a, b, c):
    """Whether a stretch ends in three letters; 0 stands for any."""
    return (
        end - begin >= 3
        and (a == 0 or _lower(data[end - 3]) == a)
        and (b == 0 or _lower(data[end - 2]) == b)
        and (c == 0 or _lower(data[end - 1]) == c)
    )


@compiled
def _stem_end(data, begin, end):
    """Where a word's stem ends. Words of three letters, and names with other signs, are whole."""
    if end - begin <= 3 or not _is_plain(data, begin, end):
        return end
    if _ends_in(data, begin, end, 0, 0, 115) and _lower(data[end - 2]) not in (115, 117, 105):
        end -= 1  # s, but not of ss, us, is
        if end - begin > 4 and _ends_in(data, begin, end, 0, 105, 101):  # ie
            return _without_double(data, begin, end - 2)
        if end - begin > 4 and data[end - 1] | 32 == 101 and _lower(data[end - 2]) in (115, 120, 122, 104):
            end -= 1  # ses xes zes hes
    if end - begin > 5 and _ends_in(data, begin, end, 105, 110, 103):  # ing
        if _has_vowel(data, begin, end - 3):
            end -= 3
    elif end - begin > 4 and _ends_in(data, begin, end, 0, 101, 100) and _lower(data[end - 3]) != 101:
        if _lower(data[end - 3]) == 105:  # ied, here and below other forms of ed
            return _without_double(data, begin, end - 3)
        if _has_vowel(data, begin, end - 2):
            end -= 2
    elif end - begin > 5 and _ends_in(data, begin, end, 0, 108, 121):  # ly
        end -= 2
    if end - begin > 3 and _ends_in(data, begin, end, 0, 0, 101):  # e
        end -= 1
    elif end - begin > 5 and _ends_in(data, begin, end, 105, 111, 110) and _lower(data[end - 4]) in (115, 116):
        end -= 3  # sion tion
    elif end - begin > 3 and _ends_in(data, begin, end, 0, 0, 121) and not _is_vowel(_lower(data[end - 2])):
        end -= 1  # y
    if end - begin > 5 and _ends_in(data, begin, end, 0, 97, 116):  # at
        end -= 2
    return _without_double(data, begin, end)


@compiled
def _without_double(data, begin, end):
    if end - begin > 3 and _lower(data[end - 1]) == _lower(data[end - 2]) and not _is_vowel(_lower(data[end - 1])):
        return end - 1
    return end


@compiled
def _found(keys, values, key):
    """Whether a table has a key, and its value."""
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return True, values[slot]
        slot = (slot + np.uint64(1)) & mask
    return False, np.uint64(0)


@compiled
def _put_one(key, value, keys, values):
    """A key that is there already keeps its value."""
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return
        slot = (slot + np.uint64(1)) & mask
    keys[slot], values[slot] = key, value


@compiled
def _put(new_keys, new_values, keys, values):
    for k in range(len(new_keys)):
        _put_one(new_keys[k], new_values[k], keys, values)


@compiled
def _of_stem(data, begin, end, keys, values):
    """The concept of a word by its stem alone."""
    key = _hash(data, begin, _stem_end(data, begin, end), -1)
    is_in, value = _found(keys, values, key)
    return value if is_in else key


@compiled
def _fill(data, bounds, keys, values, word_keys, word_values, rest_keys, rest_values):
    for k in range(len(bounds) - 1):
        begin, end = bounds[k], bounds[k + 1]
        concept = _of_stem(data, begin, end, keys, values)
        _put_one(_hash(data, begin, end, -1), concept, word_keys, word_values)
        if end - begin >= MIN_LETTERS:
            for without in range(begin, end):
                _put_one(_hash(data, begin, end, without), concept, rest_keys, rest_values)


@compiled
def _concepts(
    data,
    words,
    starts,
    ends,
    offsets,
    keys,
    values,
    word_keys,
    word_values,
    rest_keys,
    rest_values,
    kept,
    out,
    out_offsets,
):
    n = 0
    for text in range(len(offsets) - 1):
        out_offsets[text] = n
        for i in range(offsets[text], offsets[text + 1]):
            begin, end = starts[i], ends[i]
            if end - begin < 2:
                continue
            is_in, concept = _found(word_keys, word_values, words[i])
            if not is_in:
                if MIN_LETTERS <= end - begin <= MAX_LETTERS and _is_plain(data, begin, end):
                    is_in, concept = _found(rest_keys, rest_values, words[i])
                    for without in range(begin, end):
                        if is_in:
                            break
                        shorter = _hash(data, begin, end, without)
                        is_in, concept = _found(word_keys, word_values, shorter)
                        if not is_in or end - begin == MIN_LETTERS:
                            is_in, concept = _found(rest_keys, rest_values, shorter)
                if not is_in:
                    concept = _of_stem(data, begin, end, keys, values)
            if concept != 0:
                kept[n], out[n] = i, concept
                n += 1
    out_offsets[len(offsets) - 1] = n
    return n


@compiled
def _pairs(hashes, token_offsets, offsets, out):
    for text in range(len(offsets) - 1):
        first = token_offsets[text]
        for k in range(offsets[text + 1] - offsets[text]):
            a, b = hashes[first + k], hashes[first + k + 1]
            low, high = min(a, b), max(a, b)
            state = low * np.uint64(0x9E3779B97F4A7C15) + high * np.uint64(0xC2B2AE3D27D4EB4F)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            out[offsets[text] + k] = state ^ (state >> np.uint64(31))
