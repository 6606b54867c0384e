"""Values that their names give away as credentials: `TOKEN = "…"`.

In: any text. Out: whether it has such a value.

How: a pattern finds a word such as `api_key` or `TOKEN` with a value behind it, in assignments,
mappings, comparisons, calls, defaults, and settings within strings. The value must look drawn at
random. Then the words of the whole name are read, since `public_key` and `token_type` name no
secret. A password may be less random than a key.

    has_secret('os.environ.get("API_KEY", "Zq8vT2mLr9XwKc4NyB7h")')    # True
"""

from __future__ import annotations

import re
from itertools import islice

from builders.checks.sensitive.randomness import is_drawn, is_made_up


def either(word: str) -> str:
    """A pattern of a word in capital or small letters. It is faster than the flag for that."""
    return "".join(f"[{c}{c.upper()}]" for c in word)


_NAME = (
    rf"[KkTtSsPpCcUu](?:[eE](?:[yY]|{either('cret')})|{either('oken')}|{either('ass')}|{either('wd')}"
    rf"|{either('redential')}|(?<=[aA][uU]){either('th')})[\w-]*+"
)
"""A word from a telling part on: key, token, secret, password, pwd, credential, auth. What has
another first letter ("they") or goes on otherwise ("passage") is sorted out with the names.
"""
_SPACE = r"[\s(\[{\\]{0,80}+(?:\#[^\n]{0,80}+\s{0,80}+)?+"
"""What may stand before a value: a bracket, a line break, a comment."""
_QUOTE_NEXT = r"""(?=\s{0,80}+[bruBRU]?["'\\])"""
_JOINED = (
    r"""(?:\\?+["'`])?+[\])]?+\s{0,20}+"""  # the end of a name in quotes or brackets
    r"""(?::\s{0,5}+[A-Za-z_][\w.\[\] |]{0,60}+(?==))?+"""  # an annotation
    rf"""(?:[+!]?[:=?|>]{{1,3}}+|(?:or|is|else)\b:?|(?:\.\w{{1,30}}+)?\({_QUOTE_NEXT}"""
    r"""|(?:,\s?[\w.]{1,40}+){1,4}+\s{0,5}+=|,(?=\s{0,80}+(?:[bruBRU]?["'\\(\[]|default|type|value)))"""
)
"""What joins a value to a name: a sign, a word, a call whose first argument the value is."""
_DETOUR = (
    r"""(?:["']\s{0,20}+\+\s{0,20}+(?=[bruf]?["']))?+"""
    r"""(?:[\w.]{1,60}+(?:\([^()\n]{0,60}+\))?+\s{1,5}+(?:or|else)\b\s{0,80}+)?+"""
    rf"""(?:[A-Za-z_][\w.]{{1,60}}+\({_SPACE}(?:["']([^"'\n]{{0,200}}+)["'],{_QUOTE_NEXT}\s{{0,80}}+)?+)?+"""
    r"""(?:[\w. =]{1,40}+,\s{0,20}+){0,2}+"""
    r"""(?:["']?+(?:default|value)["']?+\s?[=:]\s?|["']([^\s"']{1,200}+)["']\s?:\s?(?=[bru]?["']))?+"""
)
"""What may stand between: a string that goes on in another, another value with "or", a call with
its first argument (group 1), further values, the word "default", the key of a mapping (group 2).
"""
_ASSIGNED = re.compile(
    rf"""{_NAME}(?:(?={_JOINED}(?:{_SPACE}{_DETOUR}"""
    r"""(?:[rRbBuUfF]{0,2}+\\?+(?:\"\"\"|'''|["'`])\s{0,80}+([^\s"'`\\]{8,1000}+)"""
    r"""(?=\\[nrt"']|\s{0,80}+["'`])|(?(1)|(?(2)|(?!))))"""
    r"""|[ \t]{0,5}+([A-Za-z0-9_+/.~%!?$@#^*-]{8,400}+=*+)(?=[\s"'`&;,)\]}\\<]|\Z))))?"""
)
"""A word with a name in it, and perhaps values: one in quotes (group 3), or a bare one (4).

A match passes over the word, so that no letter of it is read twice, and not over the value, in
which another name may stand.
"""
_MOST = 10_000
"""Values with a name that are judged in one text. More of them, and none a secret, is no code, and
would take seconds.
"""
_LONGEST_NAME = 40
_BETWEEN = re.compile(r"[^\w-]")
_REST = re.compile(r"[\w-]*+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PASSWORDS = ("password", "passwd", "passphrase", "pwd", "dbpass", "userpass", "mypass", "sshpass")
_TELLING = ("token", "secret", "credential")
_WEAK = ("key", "auth", "authorization")
"""Names that may mean anything, such as the key of a mapping: their value must be longer."""
_NAMES = (*_PASSWORDS, *_TELLING, *_WEAK)
_KEYS = """api auth acces secret token private priv account crypt encryption signing sign master service client app
    shared subscription storage admin webhook license consumer deploy session server"""
_OTHER_BEFORE = """public pub cache hash partition sort primary foreign object lookup index idempotency page next
    continuation cursor sync"""
_OTHER_AFTER = """id name url uri path file filename dir type length len count size limit pattern regex format field
    prefix suffix column arn endpoint clas kind scope ttl expiry hash hashed sha digest fingerprint checksum policy
    label hint enc alg algorithm method mode check verify validate encode decode"""
_KEY_BEHIND, _NOT_BEHIND, _NOT_BEFORE = (frozenset(w.split()) for w in (_KEYS, _OTHER_BEFORE, _OTHER_AFTER))
"""A key is telling behind the first words. Behind the second and before the third, a name is no
secret's. The words stand here without an s at the end, as those of names do.
"""
_CODED = re.compile(r"[A-Za-z0-9_.+/=~:!?$@#%^&*-]+")
_CAMEL = re.compile(r"(?:[A-Z]?[a-z]+)(?:[A-Z][a-z]+)*")
_ONE_WORD = re.compile(r"[A-Za-z0-9+/]{24,}=*")
_NO_PASSWORD = re.compile(r"://|::|/.*/|^\.{0,2}/|^\^.*\$$|\(\?|\[\^|\[\w-\w|\w\(|\\")
"""A path, an address or a regular expression."""
_CLASSES = tuple(map(re.compile, ("[a-z]", "[A-Z]", "[0-9]", r"[^\w\s./:,-]")))


def has_secret(text: str) -> bool:
    """Whether a value that looks like a secret has the name of one.

    Each value is judged once; then the names of those that may be secrets are read.
    """
    values = dict.fromkeys(value for hit in dict.fromkeys(_ASSIGNED.findall(text)) for value in hit if value)
    likely = {value for value in islice(values, _MOST) if _is_key(value) or is_password(value)}
    if not likely:
        return False
    hits = ((h, value) for h in _ASSIGNED.finditer(text) for value in h.groups() if value in likely)
    return any(_fits(_name(text, h.start()), value, is_bare=value == h[4]) for h, value in islice(hits, _MOST))


def is_password(value: str) -> bool:
    """Whether a value may be a password: drawn at random, or of three kinds of characters."""
    if len(value) < 6 or _NO_PASSWORD.search(value):
        return False
    if len(value) >= 8 and sum(bool(sign.search(value)) for sign in _CLASSES) >= 3:
        return not is_made_up(value)
    return is_drawn(value, bits=2.3)


def _is_key(value: str) -> bool:
    """Whether a value may be a key or a token: one word that is drawn at random."""
    return len(value) >= 12 and "://" not in value and _CODED.fullmatch(value) is not None and is_drawn(value)


def _name(text: str, start: int) -> str:
    """The end of the name with a telling word at `start`: `self-apiKey2`, or its last 80 signs."""
    stop = _REST.match(text, start).end()  # type: ignore[union-attr]  # it fits every text
    before = _BETWEEN.split(text[max(0, start - _LONGEST_NAME) : start])[-1]
    return (before + text[start:stop])[-2 * _LONGEST_NAME :]


def _fits(name: str, value: str, *, is_bare: bool) -> bool:
    """Whether a name is one for secrets, and the value is one of its kind.

    What is not in quotes must be drawn at random, since it may be code.
    """
    words = [word.lower().removesuffix("s") for word in _WORD.findall(name)]
    words = ["password" if word == "pas" else word for word in words]
    last = next((n for n in reversed(range(len(words))) if words[n].endswith(_NAMES)), None)
    if last is None or not _NOT_BEFORE.isdisjoint(words[last + 1 :]):
        return False
    word, behind = words[last], words[last - 1] if last else ""
    if behind in _NOT_BEHIND or "public" in words[:last]:
        return False
    if word.endswith(_PASSWORDS):
        is_code = is_bare and (_CAMEL.fullmatch(value) or not _CODED.fullmatch(value) or not is_drawn(value))
        return is_password(value) and not is_code
    if word.endswith(_TELLING) or word.removesuffix("key") in _KEY_BEHIND or (word == "key" and behind in _KEY_BEHIND):
        return _is_key(value) and (len(value) >= 16 or not is_bare)
    return word in _WEAK and _ONE_WORD.fullmatch(value) is not None and is_drawn(value)
