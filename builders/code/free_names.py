"""Which names of the module level the functions of a file need: a compiled scan, without a parser.

In: a file as bytes, where its logical lines and definitions of the module level stand, and where
the functions stand that are asked about. Out: the names that imports bind, and per function which
of them it needs, with the parts of the file that it needs, itself or by another part.

How: the names that the module level binds are put into a hash table. A part of the file is scanned
once. Each mention of such a name is noted, and each place that binds it, with the scope of the
binding. A mention counts when no scope around it binds the name. Strings, comments, attributes and
keywords of calls are no mentions; fields of f-strings and texts of annotations are.

Where the scan is not sure it counts a mention rather than not. `builders.checks.names` has the last
word about what is undefined.
"""

from __future__ import annotations

import numpy as np

from builders.code.compiled import compiled

# fmt: off
_WORDS = (
    b"def", b"class", b"lambda", b"for", b"in", b"as", b"import", b"from", b"global", b"nonlocal", b"case", b"async",
    b"if", b"elif", b"else", b"while", b"with", b"try", b"except", b"finally", b"match",
)
# fmt: on
_NO_WORD = -1
(_DEF, _CLASS, _LAMBDA, _FOR, _IN, _AS, _IMPORT, _FROM, _GLOBAL, _NONLOCAL, _CASE, _ASYNC, _FIRST_BLOCK) = range(13)
_BLOB = np.frombuffer(b"\0".join(_WORDS) + b"\0", np.uint8)
_FUNCTION, _BODY_OF_CLASS, _BRACKET, _LAMBDA_SCOPE = range(4)
_START, _LAMBDA_SIGN = 10, 1
"""Stand for the sign before the first word of a statement, and before that of a lambda."""
_NONE, _TARGETS, _IMPORTED, _PATTERN, _SKIPPED = range(5)
"""What a statement does with the names that follow: read them, bind them, import them, bind them if
they are no constructors, nothing."""
_MAX_DEPTH = 64

_NAME_AT, _NAME_END, _UID, _ITEM, _PART_AT, _PART_END, _MODULE_AT, _MODULE_END = range(8)


@compiled
def _is_letter(c):
    return (97 <= c <= 122) or (65 <= c <= 90) or c == 95 or (48 <= c <= 57) or c > 127


@compiled
def _is_blank(c):
    return c == 32 or c == 9 or c == 12


@compiled
def _hash(data, start, end):
    state = np.uint64(0xCBF29CE484222325)
    for k in range(start, end):
        state = (state ^ np.uint64(data[k])) * np.uint64(0x100000001B3)
    return state ^ (state >> np.uint64(29))


@compiled
def _word_end(data, i, end):
    while i < end and _is_letter(data[i]):
        i += 1
    return i


@compiled
def _skip(data, i, end):
    """The next place that is no blank and no continuation."""
    while i < end and (_is_blank(data[i]) or (data[i] == 92 and data[i + 1] == 10)):
        i += 2 if data[i] == 92 else 1
    return i


@compiled
def _skip_all(data, i, end):
    """The next place that is no layout: no blank, line end, continuation or comment."""
    while i < end:
        if data[i] == 35:
            while i < end and data[i] != 10:
                i += 1
        elif _is_blank(data[i]) or data[i] == 10 or data[i] == 92:
            i += 1
        else:
            break
    return i


@compiled
def _find(key, keys, numbers):
    """The number under a key, or -1."""
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while numbers[slot] >= 0:
        if keys[slot] == key:
            return numbers[slot]
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@compiled
def _put(key, number, keys, numbers):
    mask = np.uint64(len(keys) - 1)
    slot = key & mask
    while numbers[slot] >= 0:
        slot = (slot + np.uint64(1)) & mask
    keys[slot], numbers[slot] = key, number


@compiled
def _is_word(data, at, end, first, second):
    """Whether a word is one of two bytes: `as`, `in`."""
    return at + 2 < end and data[at] == first and data[at + 1] == second and not _is_letter(data[at + 2])


@compiled
def _is_update(data, n):
    """Whether an augmented assignment stands there: `+=`, `//=`."""
    c = data[n]
    if c not in (43, 45, 42, 47, 37, 38, 124, 94, 64, 60, 62):
        return False
    if data[n + 1] == 61:
        return c != 60 and c != 62
    return data[n + 1] == c and data[n + 2] == 61


@compiled
def _imported(data, i, end, entries, num, uids, keys, numbers):
    """Note the names that the import statement at `i` binds; the numbers of entries and of names.

    Relative imports, imports from the future and what `*` stands for are left out.
    """
    module_at, module_end = 0, 0
    is_from = data[i] == 102
    i += 4 if is_from else 6
    if is_from:
        i = module_at = _skip(data, i, end)
        if data[i] == 46 or (data[i] == 95 and data[i + 1] == 95 and data[i + 2] == 102):
            return num, uids
        while i < end and (_is_letter(data[i]) or data[i] == 46):
            i += 1
        module_end = i
        i = _skip(data, i, end) + 6
    while i < end:
        i = _skip_all(data, i, end)
        if i >= end or data[i] == 59:
            break
        if not _is_letter(data[i]):
            i += 1
            continue
        at = name_at = i
        i = name_end = _word_end(data, i, end)
        while i < end and (_is_letter(data[i]) or data[i] == 46):
            i += 1
        part_end = i
        after = _skip_all(data, i, end)
        if _is_word(data, after, end, 97, 115):
            name_at = _skip_all(data, after + 2, end)
            i = name_end = part_end = _word_end(data, name_at, end)
        key = _hash(data, name_at, name_end)
        uid = _find(key, keys, numbers)
        if uid < 0:
            uid, uids = uids, uids + 1
            _put(key, uid, keys, numbers)
        entries[num, _NAME_AT], entries[num, _NAME_END], entries[num, _UID], entries[num, _ITEM] = (
            name_at,
            name_end,
            uid,
            -1,
        )
        entries[num, _PART_AT], entries[num, _PART_END] = at, part_end
        entries[num, _MODULE_AT], entries[num, _MODULE_END] = module_at, module_end
        num += 1
    return num, uids


@compiled
def _assigned(data, at, end):
    """Where the name ends that a statement of the module level assigns to; 0 if it does not."""
    stop = _word_end(data, at, end)
    i = _skip(data, stop, end)
    if stop == at or i >= end:
        return 0
    if data[i] == 58:
        while i < end and data[i] != 61 and data[i] != 10:
            i += 1
    return stop if i < end and data[i] == 61 and data[i + 1] != 61 else 0


@compiled
def _is_in_branch(data, at):
    """Whether the line at a place is indented."""
    return at > 0 and _is_blank(data[at - 1])


@compiled
def _assigned_behind_colon(data, at, end):
    """Where the name stands that a branch on one line assigns to, as `if x: A = 1`; -1 if none."""
    for i in range(at, end):
        if data[i] == 10:
            break
        if data[i] == 58:
            name_at = _skip(data, i + 1, end)
            if name_at < end and _is_letter(data[name_at]) and _assigned(data, name_at, end) > 0:
                return name_at
    return -1


@compiled
def _string(data, i, end, is_format, reads_text, keys, numbers, hit_names, hit_places, num_hits):
    """Note the names in the string whose opening quote stands at `i`; the place behind it."""
    quote = data[i]
    width = 3 if data[i + 1] == quote and data[i + 2] == quote else 1
    i += width
    depth, is_spec = 0, False
    while i < end:
        c = data[i]
        if c == 92:
            i += 2
            continue
        if c == quote and (width == 1 or (data[i + 1] == quote and data[i + 2] == quote)):
            i += width
            break
        if is_format:
            if c == 123:
                if depth == 0 and data[i + 1] == 123:
                    i += 2
                    continue
                depth, is_spec = depth + 1, False
            elif c == 125:
                depth = max(0, depth - 1)
                is_spec = depth > 0
            elif c == 58 and depth == 1:
                is_spec = True
            elif (c == 34 or c == 39) and depth > 0 and not is_spec:
                i += 1
                while i < end and data[i] != c and data[i] != quote:
                    i += 1
                i += data[i] == c
                continue
        if _is_letter(c) and ((depth > 0 and not is_spec) or reads_text):
            k = _word_end(data, i, end)
            if data[i - 1] != 46:
                uid = _find(_hash(data, i, k), keys, numbers)
                n = _skip(data, k, end)
                is_keyword = data[n] == 61 and data[n + 1] not in (61, 125, 33, 58)
                if uid >= 0 and not is_keyword and num_hits < len(hit_names):
                    hit_names[num_hits], hit_places[num_hits] = uid, i
                    num_hits += 1
            i = k
            continue
        i += 1
    return i, num_hits


@compiled
def _mentions(data, start, end, keys, numbers, words, word_numbers, notes, scopes, used):
    """Put the names that a part of the file takes from the module level into `used`.

    Their number is returned. `notes` has four columns to write to: mentions and their places,
    bindings and their scopes. `scopes` has four: start, end, kind, column.
    """
    hit_names, hit_places, bound_names, bound_scopes = notes[0], notes[1], notes[2], notes[3]
    most = len(hit_names)
    num_hits, num_bound, num_scopes = 0, 0, 0
    opened = np.zeros(_MAX_DEPTH + 2, np.int64)
    of_bracket = np.full(_MAX_DEPTH + 2, -1, np.int64)  # the scope of a comprehension
    stack, height = np.zeros(_MAX_DEPTH + 2, np.int64), 0
    candidates, num_candidates = np.zeros(_MAX_DEPTH, np.int64), 0
    depth, target_depth, last, doing, doing_depth = 0, 0, _START, _NONE, 0
    header, in_parameters = -1, False  # the scope of the function whose header is read
    lambdas, num_lambdas = np.zeros((3, _MAX_DEPTH + 1), np.int64), 0  # scope, depth, in its header
    is_block, is_first, is_annotation, column, binds_next = False, True, False, 0, False
    i = start
    while i < end:
        c = data[i]
        if is_first and depth == 0 and not _is_blank(c) and c != 10 and c != 35 and c != 92:
            while height > 0 and scopes[3, stack[height - 1]] >= column:
                height -= 1
                scopes[1, stack[height]] = i
            is_first = False
        if c == 35:
            while i < end and data[i] != 10:
                i += 1
            continue
        if c == 10:
            i += 1
            if depth == 0 and not is_first:
                while num_lambdas > 0:
                    num_lambdas -= 1
                    scopes[1, lambdas[0, num_lambdas]] = i
                last, doing, num_candidates, is_block, is_first, header = _START, _NONE, 0, False, True, -1
                binds_next, is_annotation, target_depth = False, False, 0
            column = 0
            continue
        if _is_blank(c):
            if is_first:
                column = (column // 8 + 1) * 8 if c == 9 else column + 1
            i += 1
            continue
        if c == 92:
            i += 2 if data[i + 1] == 10 else 1
            continue
        if c == 34 or c == 39:
            is_format, k = False, i - 1
            while k >= start and i - k <= 2 and _is_letter(data[k]):
                is_format |= (data[k] | 32) == 102 or (data[k] | 32) == 116
                k -= 1
            is_format &= k < start or not _is_letter(data[k])
            reads = (header >= 0 or is_annotation) and last != 61
            i, num_hits = _string(data, i, end, is_format, reads, keys, numbers, hit_names, hit_places, num_hits)
            last = 34
            continue
        if not _is_letter(c):
            if c == 40 or c == 91 or c == 123:
                is_target = depth == target_depth and last in (_START, 44, 61, 40, 91, 42) and c != 123
                depth += 1
                if depth > _MAX_DEPTH:
                    return 0
                target_depth += is_target and header < 0
                opened[depth], of_bracket[depth] = i, -1
            elif c == 41 or c == 93 or c == 125:
                while num_lambdas > 0 and lambdas[1, num_lambdas - 1] >= depth:
                    num_lambdas -= 1
                    scopes[1, lambdas[0, num_lambdas]] = i
                if of_bracket[depth] >= 0:
                    scopes[1, of_bracket[depth]] = i
                depth = max(0, depth - 1)
                target_depth = min(target_depth, depth)
                in_parameters &= depth > 0
            elif c == 44:
                while num_lambdas > 0 and lambdas[1, num_lambdas - 1] == depth and not lambdas[2, num_lambdas - 1]:
                    num_lambdas -= 1
                    scopes[1, lambdas[0, num_lambdas]] = i
            elif c == 59 and depth == 0:
                num_candidates, doing, is_block = 0, _NONE, False
                c = _START
            elif c == 58 and data[i + 1] != 61:
                while num_lambdas > 0 and lambdas[1, num_lambdas - 1] == depth and not lambdas[2, num_lambdas - 1]:
                    num_lambdas -= 1
                    scopes[1, lambdas[0, num_lambdas]] = i
                if num_lambdas > 0 and lambdas[1, num_lambdas - 1] == depth:
                    lambdas[2, num_lambdas - 1] = 0
                elif depth == 0:
                    if header >= 0:
                        scopes[0, header], header = i, -1
                    doing, is_annotation = _NONE, not is_block
                    if is_block:
                        c, is_block, num_candidates = _START, False, 0
            elif c == 61 and data[i + 1] != 61 and depth == 0 and last not in (33, 60, 62, 61):
                if num_lambdas == 0 and height > 0 and scopes[2, stack[height - 1]] != _BODY_OF_CLASS:
                    for k in range(num_candidates):
                        if num_bound < most:
                            bound_names[num_bound], bound_scopes[num_bound] = candidates[k], stack[height - 1]
                            num_bound += 1
                num_candidates, is_annotation = 0, False
            elif c == 61 and data[i + 1] == 61:
                i += 1
                c = 60
            last = c
            i += 1
            continue

        k = _word_end(data, i, end)
        if data[k] in (34, 39) and k - i <= 2:  # the prefix of a string
            i = k
            continue
        key = _hash(data, i, k)
        uid = _find(key, keys, numbers) if last != 46 else -1
        word = _find(key, words, word_numbers) if 2 <= k - i <= 8 and last != 46 and uid < 0 else _NO_WORD
        scope = stack[height - 1] if height > 0 else -1
        if uid >= 0:
            n = _skip(data, k, end)
            after, is_bound, is_mention = data[n], False, True
            is_equals = after == 61 and data[n + 1] != 61
            if doing == _SKIPPED:
                is_mention = False
            elif binds_next:
                is_bound = True
            elif doing == _IMPORTED:
                is_mention = False
                while data[n] == 46 or _is_letter(data[n]):
                    n += 1
                is_bound = not _is_word(data, _skip(data, n, end), end, 97, 115)
            elif num_lambdas > 0 and lambdas[2, num_lambdas - 1] and depth == lambdas[1, num_lambdas - 1]:
                is_bound = last in (_LAMBDA_SIGN, 44, 42)
                scope = lambdas[0, num_lambdas - 1] if is_bound else scope
            elif in_parameters and depth == 1 and last in (40, 44, 42):
                is_bound, scope = True, header
            elif doing == _TARGETS:
                is_bound = after not in (46, 91, 40)
                if is_bound and doing_depth > 0:
                    scope = of_bracket[doing_depth]
            elif doing == _PATTERN:
                is_bound = after not in (46, 40) and not is_equals
                is_mention = not is_equals
            elif after == 58 and data[n + 1] == 61:
                is_bound = True
            elif is_equals and depth > 0 and last in (40, 44) and depth != target_depth:
                is_mention = False
            elif depth == 0 and last == _START and (_is_update(data, n) or (after == 58 and not is_block)):
                is_bound = True
            else:
                is_target = depth == target_depth and last in (_START, 44, 61, 40, 91, 42)
                if is_target and (is_equals or after in (44, 41, 93)) and num_candidates < len(candidates):
                    candidates[num_candidates] = uid
                    num_candidates += 1
            if is_bound:
                is_mention = False
                if scope >= 0 and scopes[2, scope] != _BODY_OF_CLASS and num_bound < most:
                    bound_names[num_bound], bound_scopes[num_bound] = uid, scope
                    num_bound += 1
            if is_mention and num_hits < most:
                hit_names[num_hits], hit_places[num_hits] = uid, i
                num_hits += 1
        binds_next = False
        mark = 97
        if word != _NO_WORD:
            is_start = last == _START
            if word >= _FIRST_BLOCK:
                is_block |= is_start
                doing = _NONE if doing == _PATTERN else doing
            elif word in (_DEF, _CLASS):
                binds_next, is_block = True, True
                if height <= _MAX_DEPTH and num_scopes < scopes.shape[1]:
                    scopes[0, num_scopes], scopes[1, num_scopes] = end if word == _DEF else i, end
                    scopes[2, num_scopes] = _FUNCTION if word == _DEF else _BODY_OF_CLASS
                    scopes[3, num_scopes] = column
                    header = num_scopes if word == _DEF else -1
                    in_parameters = word == _DEF
                    # the name is bound outside
                    n = _skip(data, k, end)
                    stop = _word_end(data, n, end)
                    named = _find(_hash(data, n, stop), keys, numbers)
                    if named >= 0 and scope >= 0 and scopes[2, scope] != _BODY_OF_CLASS and num_bound < most:
                        bound_names[num_bound], bound_scopes[num_bound] = named, scope
                        num_bound += 1
                    binds_next, k = False, stop
                    stack[height] = num_scopes
                    height, num_scopes = height + 1, num_scopes + 1
            elif word == _LAMBDA:
                if num_scopes < scopes.shape[1] and num_lambdas < lambdas.shape[1]:
                    scopes[0, num_scopes], scopes[1, num_scopes] = i, end
                    scopes[2, num_scopes], scopes[3, num_scopes] = _LAMBDA_SCOPE, 0
                    lambdas[0, num_lambdas], lambdas[1, num_lambdas], lambdas[2, num_lambdas] = num_scopes, depth, 1
                    num_lambdas, num_scopes = num_lambdas + 1, num_scopes + 1
                mark = _LAMBDA_SIGN
            elif word == _FOR:
                is_block |= is_start
                if depth > 0 and of_bracket[depth] < 0 and num_scopes < scopes.shape[1]:
                    scopes[0, num_scopes], scopes[1, num_scopes] = opened[depth], end
                    scopes[2, num_scopes], scopes[3, num_scopes] = _BRACKET, 0
                    of_bracket[depth] = num_scopes
                    num_scopes += 1
                doing, doing_depth = _TARGETS, depth
            elif word == _IN:
                if doing == _TARGETS and depth == doing_depth:
                    doing = _NONE
            elif word == _AS:
                binds_next = True
            elif word == _IMPORT:
                doing = _IMPORTED if is_start or doing == _SKIPPED else doing
            elif word in (_FROM, _GLOBAL, _NONLOCAL):
                doing = _SKIPPED if is_start else doing
            elif word == _CASE:
                n = _skip(data, k, end)
                if is_start and n > k and data[n] not in (61, 46, 44, 58, 41, 42, 43, 47, 60, 62):
                    doing, is_block = _PATTERN, True
            elif word == _ASYNC:
                mark = last
        last = mark
        i = k

    while height > 0:
        height -= 1
        scopes[1, stack[height]] = end
    num_used = 0
    for h in range(num_hits):
        name, at, is_free = hit_names[h], hit_places[h], True
        for b in range(num_bound):
            if bound_names[b] == name and scopes[0, bound_scopes[b]] <= at < scopes[1, bound_scopes[b]]:
                is_free = False
                break
        if is_free:
            is_new = True
            for u in range(num_used):
                is_new &= used[u] != name
            if is_new and num_used < len(used):
                used[num_used] = name
                num_used += 1
    return num_used


@compiled
def _grown(array, num):
    larger = np.empty(2 * len(array), np.int64)
    for k in range(num):
        larger[k] = array[k]
    return larger


@compiled
def _sort(array, start, stop):
    for k in range(start + 1, stop):
        value, at = array[k], k
        while at > start and array[at - 1] > value:
            array[at] = array[at - 1]
            at -= 1
        array[at] = value


@compiled
def needs(data, lines, definitions, functions, most, most_of_class):
    """What each function needs of its module.

    data         the file, and three bytes more
    lines        (n, 2) logical lines of the module level and its branches that define nothing, and
                 those of `global` anywhere: start, end
    definitions  (m, 5) of the module level: start, end, start and end of the name, kind
    functions    (k, 4) start, end, start and end of the name at the module level that it is part of
    most         bytes of the parts that a function may need
    most_of_class  bytes of a class that can be a part

    Gives `found`, which has the numbers of names and of parts of one function after the other, the
    former first, and `counts` of both; the imported names, and how many; the parts, whose first two
    columns are start and end; and whether the module level has nothing but definitions.
    """
    size = np.int64(len(lines) + len(definitions))
    for n in range(len(lines)):
        if data[lines[n, 0]] in (102, 105):
            for i in range(lines[n, 0], lines[n, 1]):
                size += data[i] == 44
    slots = 16
    while slots < 2 * size:
        slots *= 2
    keys, numbers = np.empty(slots, np.uint64), np.full(slots, -1, np.int64)
    words, word_numbers = np.empty(64, np.uint64), np.full(64, -1, np.int64)
    begin, num_words = 0, 0
    for i in range(len(_BLOB)):
        if _BLOB[i] == 0:
            _put(_hash(_BLOB, begin, i), num_words, words, word_numbers)
            begin, num_words = i + 1, num_words + 1

    entries, items = np.empty((size + 1, 8), np.int64), np.empty((size + 1, 4), np.int64)
    num_entries, uids, num_items, is_bare = 0, 0, 0, True
    for n in range(len(lines)):
        at, end = lines[n, 0], lines[n, 1]
        stop = _word_end(data, at, end)
        is_import = (stop - at == 6 and data[at] == 105 and data[at + 2] == 112) or (
            stop - at == 4 and data[at] == 102 and data[at + 1] == 114
        )
        if is_import and (_is_blank(data[stop]) or data[stop] == 92):
            is_bare = False
            num_entries, uids = _imported(data, at, end, entries, num_entries, uids, keys, numbers)
    num_imported = uids
    item_of = np.full(size + 1, -1, np.int64)
    place = 0
    for n in range(len(lines) + len(definitions)):
        # lines and definitions are in the order of the file, so a later one counts
        line = n - place
        is_definition = place < len(definitions) and (line >= len(lines) or definitions[place, 0] < lines[line, 0])
        if is_definition:
            at, end, name_at, name_end = (
                definitions[place, 0],
                definitions[place, 1],
                definitions[place, 2],
                definitions[place, 3],
            )
            is_class = definitions[place, 4] == 0
            place += 1
        else:
            at, end, is_class = lines[line, 0], lines[line, 1], False
            name_at, name_end = at, _assigned(data, at, end)
            if name_end == 0 or _is_in_branch(data, at):
                continue
            is_bare = False
        key = _hash(data, name_at, name_end)
        uid = _find(key, keys, numbers)
        if 0 <= uid < num_imported:
            continue
        if uid < 0:
            uid, uids = uids, uids + 1
            _put(key, uid, keys, numbers)
        items[num_items, 0], items[num_items, 1], items[num_items, 2], items[num_items, 3] = at, end, uid, is_class
        if not is_definition:
            items[num_items, 3] = 2
        item_of[uid] = num_items
        num_items += 1
    # what changes after its assignment is no constant
    for n in range(len(lines)):
        at, end = lines[n, 0], lines[n, 1]
        stop = _word_end(data, at, end)
        after = _skip(data, stop, end)
        is_global = (
            stop - at == 6 and data[at] == 103 and data[at + 5] == 108 and after > stop and _is_letter(data[after])
        )
        i = after if is_global else at
        if not is_global and not (data[after] == 46 or data[after] == 91 or _is_update(data, after)):
            is_changed = _is_in_branch(data, at) and _assigned(data, at, end) > 0
            behind = _assigned_behind_colon(data, at, end)
            if behind >= 0 and not (is_changed and _find(_hash(data, at, stop), keys, numbers) >= 0):
                i = behind
            elif not is_changed:
                continue
        while i < end:
            stop = _word_end(data, i, end)
            uid = _find(_hash(data, i, stop), keys, numbers) if stop > i else -1
            if uid >= num_imported and item_of[uid] >= 0 and items[item_of[uid], 3] == 2:
                item_of[uid] = -1
            if not is_global:
                break
            i = _skip(data, stop, end) + 1
            i = _skip(data, i, end)

    longest = np.int64(0)
    for r in range(len(functions)):
        longest = max(longest, functions[r, 1] - functions[r, 0])
    for n in range(num_items):
        if items[n, 1] - items[n, 0] <= most:
            longest = max(longest, items[n, 1] - items[n, 0])
    notes = np.empty((4, longest // 2 + 2), np.int64)
    scopes = np.empty((4, longest // 4 + 4), np.int64)
    used = np.empty(uids + 1, np.int64)
    begun, uses, num_uses = np.full(num_items + 1, -1, np.int64), np.empty(256, np.int64), 0
    ended = np.zeros(num_items + 1, np.int64)
    seen, waiting = np.full(uids + 1, -1, np.int64), np.empty(uids + 1, np.int64)
    found, num_found = np.empty(8 * len(functions) + 64, np.int64), 0
    counts = np.zeros((len(functions), 2), np.int64)
    for r in range(len(functions)):
        own = _find(_hash(data, functions[r, 2], functions[r, 3]), keys, numbers)
        own = own if own >= num_imported else -1
        num_used = 0
        if uids > 0:
            num_used = _mentions(
                data, functions[r, 0], functions[r, 1], keys, numbers, words, word_numbers, notes, scopes, used
            )
        num_needed, num_waiting, total, is_small = 0, 0, 0, True
        while len(found) < num_found + uids + 1:
            found = _grown(found, num_found)
        for u in range(num_used):
            uid = used[u]
            if uid == own:
                continue
            seen[uid] = r
            if uid < num_imported:
                found[num_found + num_needed] = uid
                num_needed += 1
            elif item_of[uid] >= 0:
                waiting[num_waiting] = uid
                num_waiting += 1
        direct, num_parts = num_needed, 0
        parts = np.empty(uids + 1, np.int64) if num_waiting > 0 else used
        while num_waiting > 0 and is_small:
            num_waiting -= 1
            item = item_of[waiting[num_waiting]]
            length = items[item, 1] - items[item, 0]
            total += length + 1
            if total > most or (items[item, 3] == 1 and length > most_of_class):
                is_small = False
                break
            parts[num_parts] = item
            num_parts += 1
            if begun[item] < 0:
                begun[item] = num_uses
                num_used = _mentions(
                    data, items[item, 0], items[item, 1], keys, numbers, words, word_numbers, notes, scopes, used
                )
                while len(uses) < num_uses + num_used:
                    uses = _grown(uses, num_uses)
                for u in range(num_used):
                    uses[num_uses + u] = used[u]
                num_uses += num_used
                ended[item] = num_uses
            for u in range(begun[item], ended[item]):
                uid = uses[u]
                if uid == own or seen[uid] == r or uid == items[item, 2]:
                    continue
                seen[uid] = r
                if uid < num_imported:
                    found[num_found + num_needed] = uid
                    num_needed += 1
                elif item_of[uid] >= 0:
                    waiting[num_waiting] = uid
                    num_waiting += 1
        if not is_small:
            num_needed, num_parts = direct, 0
        _sort(found, num_found, num_found + num_needed)
        num_found += num_needed
        for k in range(num_parts):
            found[num_found + k] = parts[k]
        _sort(found, num_found, num_found + num_parts)
        num_found += num_parts
        counts[r, 0], counts[r, 1] = num_needed, num_parts
    return found, counts, entries, num_entries, items, is_bare
