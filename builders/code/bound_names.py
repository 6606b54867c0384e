"""Which names of a function may be renamed without changing what it does: the names that it binds.

In: the tokens of Python code, `tokens.code(tokens.lex(texts))`. Out: the same tokens, marked so
that `tokens.grams(..., rename=True)` renames bound names only. A free name says what a function
does: `is_dir` and `is_file` of pathlib differ only in the free name that they call, and they are
not copies of each other.

    bound       names of functions and parameters, targets of assignments, of `for`, `as` and `:=`.
                The name of a method is free inside its body: a `def bisect(self)` that calls
                `bisect` calls another function
    free        all other names; they count as they are, like attributes
    f-strings   the text outside of the fields counts; names in the fields are bound or free

How: one pass over a text collects the names that it binds, a second pass marks the others.

Names that only a `match` binds are missed and count as free. Copies that rename such names look
less similar than they are. Functions that are not copies never look more similar.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from builders.code.compiled import compiled
from builders.code.tokens import ATTRIBUTE, FSTRING, IDENTIFIER, STRING, Lexed, hash_text

_WORDS = ("def", "lambda", "for", "in", "as", ":", ",", "*", "**", "=", ":=", "self", "cls")
_DEF, _LAMBDA, _FOR, _IN, _AS, _COLON, _COMMA, _STAR, _STARS, _EQUALS, _WALRUS, _SELF, _CLS = range(len(_WORDS))
_NEITHER = len(_WORDS)


def only_bound(lexed: Lexed) -> Lexed:
    """The tokens with free names marked as attributes and f-strings as plain strings."""
    words = np.array([hash_text(word) for word in _WORDS], np.uint64)
    kinds, hashes = lexed.kinds.copy(), lexed.hashes.copy()
    _mark(lexed.data, lexed.offsets, lexed.starts, lexed.ends, words, kinds, hashes)
    return replace(lexed, kinds=kinds, hashes=hashes)


@compiled
def _mark(data, offsets, starts, ends, words, kinds, hashes):
    longest = 1
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    signs = np.empty(longest, np.uint8)
    size = 2
    while size < 2 * longest:
        size *= 2
    bound, owner = np.empty(size, np.uint64), np.full(size, -1, np.int64)
    for text in range(len(offsets) - 1):
        first, end = offsets[text], offsets[text + 1]
        for i in range(first, end):
            signs[i - first] = _NEITHER
            for word in range(len(words)):
                if hashes[i] == words[word]:
                    signs[i - first] = word
        _bind(first, end, signs, kinds, hashes, bound, owner, text)
        for i in range(first, end):
            is_defined = i > first and signs[i - first - 1] == _DEF
            if kinds[i] & 15 == IDENTIFIER and not is_defined and not _is_in(bound, owner, text, hashes[i]):
                kinds[i] = ATTRIBUTE
            elif kinds[i] & 15 == FSTRING:
                kinds[i], hashes[i] = STRING, _fixed_text(data, starts[i], ends[i])


@compiled
def _bind(first, end, signs, kinds, hashes, bound, owner, text):
    """Put all names that the text binds into the hash set `bound`; `owner` says which text a slot
    is of.
    """
    in_header, in_targets, num_functions = False, False, 0
    for i in range(first, end):
        sign = signs[i - first]
        before = signs[i - first - 1] if i > first else _NEITHER
        after = signs[i - first + 1] if i + 1 < end else _NEITHER
        if sign in (_DEF, _LAMBDA):
            in_header = True
            num_functions += sign == _DEF
        elif sign == _COLON:
            in_header = False
        elif sign in (_FOR, _IN):
            in_targets = sign == _FOR
        elif sign == _EQUALS:
            k = i - 2 if before == _COLON else i - 1
            while k >= first and kinds[k] & 15 == IDENTIFIER:
                _put(bound, owner, text, hashes[k])
                k -= 1
                while k >= first and signs[k - first] == _STAR:
                    k -= 1
                if k < first or signs[k - first] != _COMMA:
                    break
                k -= 1
        if kinds[i] & 15 != IDENTIFIER:
            continue
        is_function = before == _DEF and (num_functions > 1 or (after != _SELF and after != _CLS))
        is_first = in_header and i >= first + 2 and signs[i - first - 2] == _DEF
        is_parameter = in_header and (is_first or before in (_LAMBDA, _COMMA, _STAR, _STARS))
        if is_function or is_parameter or in_targets or before == _AS or after == _WALRUS:
            _put(bound, owner, text, hashes[i])


@compiled
def _put(bound, owner, text, key):
    slot = key & np.uint64(len(bound) - 1)
    while owner[slot] == text and bound[slot] != key:
        slot = (slot + np.uint64(1)) & np.uint64(len(bound) - 1)
    bound[slot], owner[slot] = key, text


@compiled
def _is_in(bound, owner, text, key):
    slot = key & np.uint64(len(bound) - 1)
    while owner[slot] == text:
        if bound[slot] == key:
            return True
        slot = (slot + np.uint64(1)) & np.uint64(len(bound) - 1)
    return False


@compiled
def _fixed_text(data, begin, end):
    """A hash of the bytes of adjacent f-strings outside of their fields.

    Prefixes, quotes and space do not count.
    """
    state, depth, quote, width, i = np.uint64(0xCBF29CE484222325), 0, 0, 0, begin
    while i < end:
        c = data[i]
        is_triple = i + 2 < end and data[i + 1] == c and data[i + 2] == c
        if quote == 0:
            if c == 34 or c == 39:
                quote, width = c, 3 if is_triple else 1
                i += width
            else:
                i += 1
            continue
        if c == quote and depth == 0 and (width == 1 or is_triple):
            quote = 0
            i += width
            continue
        is_brace = depth == 0 and c == 123 and i + 1 < end and data[i + 1] == 123
        if depth == 0 and c > 32 and c != 34 and c != 39 and c != 92:
            state = (state ^ np.uint64(2 if is_brace else c)) * np.uint64(0x100000001B3)
        if not is_brace and (c == 123 or depth > 0):
            depth += (c == 123) - (c == 125)
        i += 2 if is_brace or c == 92 else 1
    return state ^ (state >> np.uint64(31))
