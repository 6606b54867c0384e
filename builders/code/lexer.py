"""The compiled lexer: the bytes of many texts become tokens, in one pass and without ever failing.

In: UTF-8 bytes with the offsets of the texts. Out: per token its hash, kind and place, written into
arrays of the caller.

How: an automaton written by hand for Python that also survives any other text. It decides on the
way:

    prose        comments, docstrings, and lines on which two names follow each other with nothing
                 between, which no line of Python does. Words of prose are lower-cased. Its signs
                 stay signs
    annotations  of parameters, results and variables
    imports      from the `import` or `from` at the start of a statement to its end
    strings      hashed without prefix and quotes, escaped as `repr` would; adjacent strings count
                 as one
    numbers      hashed without underscores

Keywords that can only start a statement close all brackets that were left open. Otherwise one
smiley would swallow the rest of a text.
"""

from __future__ import annotations

import numpy as np

from builders.code.compiled import compiled

IDENTIFIER, ATTRIBUTE, ARGUMENT, KEYWORD, BUILTIN, OPERATOR, NUMBER, STRING, FSTRING, WORD = range(10)
"""Classes of tokens: the low four bits of a kind. ARGUMENT is the name before `=` in a call, WORD
is a word of prose.
"""

PROSE, ANNOTATION, IMPORT = 16, 32, 64
"""Regions of tokens: the other bits of a kind."""

STATEMENT, SOFT, IMPORTS, DEFINES, BINDS = 16, 32, 64, 128, 256
"""Marks in the vocabulary.

    STATEMENT  keywords that stand only where a statement starts
    SOFT       names that another name may follow
    IMPORTS    keywords of import statements
    DEFINES    `def`
    BINDS      keywords before a name that is bound
"""

_OTHER, _SPACE, _NEWLINE, _LETTER, _DIGIT, _QUOTE, _SIGN, _HASH, _BACKSLASH = range(9)
_LF, _CR, _TAB, _ESCAPE, _BACKTICK = 10, 13, 9, 92, 96
_OPEN, _CLOSE, _OPEN_SQUARE, _CLOSE_SQUARE, _OPEN_CURLY, _CLOSE_CURLY = 40, 41, 91, 93, 123, 125
_PLUS, _COMMA, _MINUS, _DOT, _COLON, _SEMICOLON, _EQUALS = 43, 44, 45, 46, 58, 59, 61
_QUOTED_BYTES = 200
"""In prose, two quotes further apart than this are not taken as one quoted piece."""

_MULTIPLIER = np.uint64(0x100000001B3)
_START = np.uint64(0xCBF29CE484222325)
_STRING_START = np.uint64(0x9E3779B97F4A7C15)  # the string ',' is not the sign


def _character_classes() -> np.ndarray:
    classes = np.full(256, _OTHER, np.uint8)
    for letters, kind in (
        (b" \t\f\v", _SPACE),
        (b"\r\n", _NEWLINE),
        (b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", _LETTER),
        (b"0123456789", _DIGIT),
        (b"'\"", _QUOTE),
        (b"()[]{}.,:;=<>!+-*/%&|^~@", _SIGN),
        (b"#", _HASH),
        (b"\\", _BACKSLASH),
    ):
        classes[list(letters)] = kind
    classes[128:] = _LETTER
    return classes


_CLASSES = _character_classes()


@compiled
def mixed(state):
    """A 64-bit state whose every bit changes every bit of the result (splitmix64's finaliser)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@compiled
def hash_bytes(data, begin, end, folded):
    """The 64-bit hash of a stretch of bytes (FNV-1a, then mixed); `folded` ignores ASCII case."""
    state = _START
    for i in range(begin, end):
        c = data[i]
        if folded and 65 <= c <= 90:
            c += 32
        state = (state ^ np.uint64(c)) * _MULTIPLIER
    return mixed(state)


@compiled
def _number_hash(data, begin, end):
    """The hash of a number without underscores and without zeros at the end of its fraction.

    So 1_0.50 is 10.5, and 2.0 is 2.
    """
    has_point, is_plain = False, True
    for i in range(begin, end):
        has_point = has_point or data[i] == _DOT
        is_plain = is_plain and (data[i] < 58 or data[i] == 95)
    if has_point and is_plain:
        while data[end - 1] in (48, 95):
            end -= 1
        end -= data[end - 1] == _DOT
    state = _START
    for i in range(begin, end):
        c = data[i]
        if c != 95:
            state = (state ^ np.uint64(c | 32)) * _MULTIPLIER
    return mixed(state)


@compiled
def _string_state(data, i, end, state, is_raw):
    """The state after the content of a string as `repr` writes it: raw ones escaped, quotes not."""
    while i < end:
        c, after = data[i], data[i + 1] if i + 1 < end else np.uint8(0)
        if c in (_LF, _TAB):
            state = (state ^ np.uint64(92)) * _MULTIPLIER
            c = np.uint8(110 if c == _LF else 116)
        elif c == _CR:
            i += 1
            continue
        elif c == _ESCAPE and not is_raw and (after in (_LF, _CR)):
            i += 3 if after == _CR and i + 2 < end and data[i + 2] == _LF else 2
            continue
        elif c == _ESCAPE and not is_raw and (after == 34 or after == 39):
            i += 1
            continue
        elif c == _ESCAPE and (is_raw or not _is_escape(after)):
            state = (state ^ np.uint64(92)) * _MULTIPLIER
        elif c == _ESCAPE and after in (97, 98, 102, 118):  # a b f v
            for digit in (92, 120, 48):
                state = (state ^ np.uint64(digit)) * _MULTIPLIER
            c = np.uint8(55 if after == 97 else 56 if after == 98 else 99 if after == 102 else 98)
            i += 1
        elif c == _ESCAPE and after == _ESCAPE:
            state = (state ^ np.uint64(92)) * _MULTIPLIER
            i += 1
        state = (state ^ np.uint64(c)) * _MULTIPLIER
        i += 1
    return state


@compiled
def _is_escape(c):
    """Whether a backslash before this sign is an escape: \\ and a b f n r t u v x N U, and octal
    digits.
    """
    return c in (92, 97, 98, 102, 110, 114, 116, 117, 118, 120, 78, 85) or 48 <= c <= 55


@compiled
def _word_end(data, i, end):
    """The end of a name. A Chinese, Japanese or Korean character is a word by itself."""
    if 0xE3 <= data[i] <= 0xED:
        return min(i + 3, end)
    while i < end and (_CLASSES[data[i]] == _LETTER or _CLASSES[data[i]] == _DIGIT) and not 0xE3 <= data[i] <= 0xED:
        i += 1
    return i


@compiled
def _number_end(data, i, end):
    is_hexadecimal = data[i] == 48 and i + 1 < end and (data[i + 1] | 32) == 120
    while i < end:
        c = data[i]
        if c == _DOT:
            if i + 1 < end and (_CLASSES[data[i + 1]] == _LETTER or data[i + 1] == _DOT):
                break
        elif c in (_PLUS, _MINUS):
            if is_hexadecimal or (data[i - 1] | 32) != 101 or i + 1 >= end or _CLASSES[data[i + 1]] != _DIGIT:
                break
        elif _CLASSES[c] != _DIGIT and (_CLASSES[c] != _LETTER or c >= 128):
            break
        i += 1
    return i


@compiled
def _string_end(data, i, end):
    """Where the string that opens at `i` ends, and the width of its quotes.

    If it never closes: where the search stopped, and 0.
    """
    quote = data[i]
    if i + 2 < end and data[i + 1] == quote and data[i + 2] == quote:
        j = i + 3
        while j < end:
            if data[j] == _ESCAPE:
                j += 1
            elif data[j] == quote and j + 2 < end and data[j + 1] == quote and data[j + 2] == quote:
                return j + 3, 3
            j += 1
        return end, 0
    j = i + 1
    while j < end and data[j] != quote:
        if data[j] == _ESCAPE:
            j += 2 if j + 2 < end and data[j + 1] == _CR and data[j + 2] == _LF else 1
        elif _CLASSES[data[j]] == _NEWLINE:
            return j, 0
        j += 1
    return (j + 1, 1) if j < end else (end, 0)


@compiled
def _sign_end(data, i, end):
    """The end of an operator of one to three signs."""
    c = data[i]
    after = data[i + 1] if i + 1 < end else np.uint8(0)
    if after == c and c in (42, 47, 60, 62):  # ** // << >>
        return i + 3 if i + 2 < end and data[i + 2] == _EQUALS else i + 2
    # != %= &= *= and so on
    if after == _EQUALS and c in (33, 37, 38, 42, 43, 45, 47, 58, 60, 61, 62, 64, 94, 124):
        return i + 2
    return i + 2 if c == _MINUS and after == 62 else i + 1


@compiled
def _prose(data, i, end, hashes, kinds, starts, ends, n):
    """Write the words, numbers and quoted pieces of prose; return the number of tokens after it."""
    opening = True
    while i < end:
        kind = _CLASSES[data[i]]
        j = i + 1
        if kind == _LETTER:
            j = _word_end(data, i, end)
            hashes[n], kinds[n] = hash_bytes(data, i, j, True), WORD | PROSE
            starts[n], ends[n] = i, j
            n += 1
        elif kind == _DIGIT:
            j = _number_end(data, i, end)
            hashes[n], kinds[n] = _number_hash(data, i, j), NUMBER | PROSE
            starts[n], ends[n] = i, j
            n += 1
        elif kind == _QUOTE and opening:
            j, width = _string_end(data, i, min(end, i + _QUOTED_BYTES))
            if width == 1:
                hashes[n], kinds[n] = mixed(_string_state(data, i + 1, j - 1, _STRING_START, False)), STRING | PROSE
                starts[n], ends[n] = i, j
                n += 1
            else:
                j = i + 1
        opening = kind != _LETTER and kind != _DIGIT
        i = j
    return n


@compiled
def _ends_statement(data, i, end):
    while i < end and _CLASSES[data[i]] == _SPACE:
        i += 1
    return i >= end or data[i] in (_LF, _CR, 35, _SEMICOLON)  # 35 starts a comment


@compiled
def _is_argument(data, i, end):
    """Whether a lone `=` comes next."""
    while i < end and _CLASSES[data[i]] == _SPACE:
        i += 1
    return i < end and data[i] == _EQUALS and not (i + 1 < end and data[i + 1] == _EQUALS)


@compiled
def _targets_end(data, i, end):
    """Where the names before the `=` of an assignment that starts at `i` end.

    Returns `i` if the statement does not assign, or assigns to other things than names.
    """
    begin, before = i, np.uint8(_COMMA)
    while i < end:
        c = data[i]
        if c in (_OPEN, _OPEN_SQUARE) and before not in (_OPEN, _OPEN_SQUARE, _COMMA):
            return begin  # a call or a subscript
        if c == _EQUALS:
            return i if i + 1 < end and data[i + 1] != _EQUALS else begin
        if _CLASSES[c] > _DIGIT and c not in (_OPEN, _CLOSE, _OPEN_SQUARE, _CLOSE_SQUARE, _COMMA):
            j = _sign_end(data, i, end)  # += and the like
            return i if j > i + 1 and data[j - 1] == _EQUALS and c not in (33, _COLON, 60, 62) else begin
        if _CLASSES[c] == _NEWLINE:
            return begin
        if _CLASSES[c] != _SPACE:
            before = c
        i += 1
    return begin


@compiled
def _is_prefix(data, begin, end):
    """Whether a name is the prefix of the string behind it."""
    is_letters = end - begin <= 2
    for i in range(begin, min(end, begin + 2)):
        is_letters = is_letters and data[i] | 32 in (98, 102, 114, 116, 117)  # b f r t u
    return is_letters


@compiled
def _as_prose(data, hashes, kinds, starts, ends, first, n):
    """Mark the tokens of a line as prose, once it is known to be prose."""
    for k in range(first, n):
        kind = kinds[k] & 15
        if kind <= BUILTIN:
            hashes[k] = hash_bytes(data, starts[k], ends[k], True)
            kind = WORD
        kinds[k] = kind | PROSE


@compiled
def _known(table_hashes, table_kinds, key):
    """The mark of a word of the vocabulary, 0 for any other."""
    slot = key & np.uint64(len(table_hashes) - 1)
    while table_kinds[slot] != 0:
        if table_hashes[slot] == key:
            return table_kinds[slot]
        slot = (slot + np.uint64(1)) & np.uint64(len(table_hashes) - 1)
    return np.uint16(0)


@compiled
def lex_text(data, i, end, table_hashes, table_kinds, hashes, kinds, starts, ends, n):
    """Write the tokens of one text from place `n` on; return the place after the last one."""
    line, line_depth, depth = n, 0, 0
    is_fresh, is_prose, is_import, is_annotation, is_default = True, False, False, False, False
    is_target = False  # so far the statement may be the target of an annotated assignment
    header, is_result = False, False  # between a `def` and its colon; between `->` and the colon
    last, last_kind, last_sign, name_end = -1, -1, 0, -1
    # where the statement starts, and where the names that it assigns to end (looked up once)
    statement, targets_end = i, -1
    # up to here no string in such quotes ends: so we search once, not at every quote
    no_single, no_double = 0, 0
    string_state, mark, last_mark = _START, np.uint16(0), np.uint16(0)
    # builtins that the text uses as names of its own
    bound, num_bound, first = np.empty(16, np.uint64), 0, n
    while i < end:
        c = data[i]
        group = _CLASSES[c]
        if group <= _SPACE:
            if c == _BACKTICK and i + 2 < end and data[i + 1] == _BACKTICK and data[i + 2] == _BACKTICK:
                i += 2  # a fence with its language
                while i + 1 < end and _CLASSES[data[i + 1]] in (_LETTER, _DIGIT):
                    i += 1
            i += 1
            continue
        if group == _NEWLINE:
            if is_prose:
                _as_prose(data, hashes, kinds, starts, ends, line, n)
                depth, is_prose, last, last_kind, last_sign = line_depth, False, -1, -1, 0
            if depth == 0:
                is_fresh, is_import, is_annotation, is_target, header = True, False, False, False, False
                last, last_kind, last_sign = -1, -1, 0
            line, line_depth, name_end = n, depth, -1
            i += 1
            continue
        if group == _HASH:
            j = i + 1
            while j < end and _CLASSES[data[j]] != _NEWLINE:
                j += 1
            if is_prose:
                _as_prose(data, hashes, kinds, starts, ends, line, n)
                depth, last, last_kind, last_sign = line_depth, -1, -1, 0
            n = _prose(data, i + 1, j, hashes, kinds, starts, ends, n)
            is_prose, line, i = False, n, j
            continue
        if group == _BACKSLASH:  # before a line end: the statement goes on
            i += 1
            if i < end and data[i] == _CR:
                i += 1
            if i < end and data[i] == _LF:
                i += 1
            continue

        j, kind, key, mark = i + 1, OPERATOR, _START, np.uint16(0)
        quote = i
        if is_fresh and depth == 0:
            statement, targets_end = i, -1
        if group == _LETTER:
            j = _word_end(data, i, end)
            if j < end and _CLASSES[data[j]] == _QUOTE and _is_prefix(data, i, j):
                quote, group = j, _QUOTE
        if group == _QUOTE:
            if name_end == i:  # an apostrophe
                i += 1
                is_prose = True
                continue
            is_double = data[quote] == 34
            if quote < (no_double if is_double else no_single):
                i = quote + 1
                continue
            j, width = _string_end(data, quote, end)
            if width == 0:
                i = quote + 1
                if j == end and quote + 2 < end and data[quote + 1] == data[quote] == data[quote + 2]:
                    n = _prose(data, quote + 3, end, hashes, kinds, starts, ends, n)
                    i = end
                elif is_double:
                    no_double = j
                else:
                    no_single = j
                continue
            if is_fresh and _ends_statement(data, j, end):
                n = _prose(data, quote + width, j - width, hashes, kinds, starts, ends, n)
                line, i = n, j
                continue
            kind, is_raw = STRING, False
            for k in range(i, quote):
                is_raw = is_raw or data[k] | 32 == 114  # r
                if (data[k] | 32) in (102, 116):  # f t
                    kind = FSTRING
            if last >= 0 and STRING <= last_kind <= FSTRING and not is_fresh:
                string_state = _string_state(data, quote + width, j - width, string_state, is_raw)
                hashes[last], ends[last] = mixed(string_state), j
                if kind == FSTRING:
                    kinds[last] = (kinds[last] & 0xF0) | FSTRING
                i = j
                continue
            string_state = _string_state(data, quote + width, j - width, _STRING_START, is_raw)
            key = mixed(string_state)
            is_target = is_target and depth > 0
        elif group == _LETTER:
            key = hash_bytes(data, i, j, False)
            mark = _known(table_hashes, table_kinds, key)
            kind = mark & 15
            if last_sign == _DOT:
                kind = ATTRIBUTE
            elif kind == KEYWORD:
                if mark & STATEMENT and line == n and depth > 0:
                    depth, line_depth, is_fresh = 0, 0, True
                    is_import, is_annotation, header = False, False, False
                if is_fresh and mark & IMPORTS:
                    is_import = True
                if mark & DEFINES:
                    header, is_annotation, is_default, is_result = True, False, False, False
            elif depth > (1 if header else 0) and last_sign in (_OPEN, _COMMA) and _is_argument(data, j, end):
                kind = ARGUMENT
            elif kind == BUILTIN and num_bound < len(bound):
                if targets_end < 0:
                    targets_end = _targets_end(data, statement, end)
                is_parameter = header and depth == 1 and not (is_annotation or is_default)
                if i < targets_end or last_mark & BINDS or is_parameter:
                    bound[num_bound] = key
                    num_bound += 1
            is_prose = is_prose or (name_end >= 0 and kind != KEYWORD)
            name_end = -1 if kind == KEYWORD or (mark & SOFT and is_fresh) else j
            if is_fresh or (depth == 0 and kind != ATTRIBUTE):
                is_target = is_fresh and kind != KEYWORD
        elif group == _DIGIT or (c == _DOT and j < end and _CLASSES[data[j]] == _DIGIT):
            j = _number_end(data, j, end) if group != _DIGIT else _number_end(data, i, end)
            kind, key = NUMBER, _number_hash(data, i, j)
            is_prose = is_prose or name_end >= 0
            name_end = j
            is_target = is_target and depth > 0
        else:
            j = _sign_end(data, i, end)
            key = hash_bytes(data, i, j, False)
            if c in (_OPEN, _OPEN_SQUARE, _OPEN_CURLY):
                depth += 1
            elif c in (_CLOSE, _CLOSE_SQUARE, _CLOSE_CURLY):
                depth = max(depth - 1, 0)
                if header and depth == 0 and not is_result:
                    is_annotation = False
            if header:
                if depth == 1 and (c == _COMMA or (c == _EQUALS and j == i + 1)):
                    is_annotation, is_default = False, c == _EQUALS
                elif depth == 1 and c == _COLON and j == i + 1 and not is_default:
                    is_annotation = True
                elif depth == 0 and c == _MINUS and j == i + 2:
                    is_annotation = is_result = True
                elif depth == 0 and c == _COLON:
                    header, is_annotation = False, False
            elif depth == 0 and c == _EQUALS and j == i + 1:
                is_annotation = False
            elif depth == 0 and c == _COLON and j == i + 1 and is_target and not _ends_statement(data, j, end):
                is_annotation = True
            is_target = is_target and (
                c in (_DOT, _OPEN_SQUARE, _CLOSE_SQUARE) or depth > (1 if c in (_OPEN, _OPEN_CURLY) else 0)
            )
        hashes[n], starts[n], ends[n] = key, i, j
        kinds[n] = kind | (ANNOTATION if is_annotation else 0) | (IMPORT if is_import else 0)
        last, last_kind, last_sign, last_mark = n, kind, c if group == _SIGN and j == i + 1 else 0, mark
        if group >= _QUOTE:
            name_end = -1
        is_fresh = group == _SIGN and c == _SEMICOLON and depth == 0
        if is_fresh:
            is_import, is_annotation = False, False
        n += 1
        i = j
    if is_prose:
        _as_prose(data, hashes, kinds, starts, ends, line, n)
    for b in range(num_bound):
        for k in range(first, n):
            if hashes[k] == bound[b] and kinds[k] & 15 == BUILTIN:
                kinds[k] = kinds[k] & 0xF0 | IDENTIFIER
    return n


@compiled
def lex_texts(data, offsets, table_hashes, table_kinds, hashes, kinds, starts, ends, token_offsets):
    """Write the tokens of all texts, and into `token_offsets` where those of each text begin."""
    token_offsets[0] = 0
    for text in range(len(offsets) - 1):
        begin, end, n = offsets[text], offsets[text + 1], token_offsets[text]
        token_offsets[text + 1] = lex_text(data, begin, end, table_hashes, table_kinds, hashes, kinds, starts, ends, n)
    return token_offsets[len(offsets) - 1]
