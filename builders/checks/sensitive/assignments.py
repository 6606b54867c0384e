"""Credentials that something around them gives away: a name, a header, an address.

In: any text. Out: the kinds in it: `assigned_secret`, `authorization_header`, `login`,
`password_in_address`.

How: a pattern finds a name such as `api_key` or `TOKEN` with a value behind it, in assignments,
mappings, comparisons, calls with a default, and settings within strings. The value must look drawn
at random. Then the words of the whole name are read, since `public_key` and `token_type` name no
secret. A password may be less random than a key.

    kinds('os.environ.get("API_KEY", "Zq8vT2mLr9XwKc4NyB7h")')    # {"assigned_secret"}
"""

from __future__ import annotations

import base64
import re
from itertools import islice

from builders.checks.sensitive.randomness import is_drawn, is_made_up


def _either(word: str) -> str:
    """A pattern of a word in capital or small letters. It is faster than the flag for that."""
    return "".join(f"[{c}{c.upper()}]" for c in word)


_NAME = (
    rf"[KkTtSsPpCcUu](?:[eE](?:[yY]|{_either('cret')})|{_either('oken')}|{_either('ass')}(?:{_either('w')}"
    rf"(?:{_either('or')})?{_either('d')}|{_either('phrase')})|{_either('wd')}|{_either('redential')}"
    rf"|(?<=[aA][uU]){_either('th')})[\w-]*+"
)
"""A word from a telling part on: key, token, secret, password, pwd, credential, auth. What has another
first letter ("they") is sorted out with the names.
"""
_SPACE = r"[\s(\[{\\]{0,80}+"
"""What may stand before a value: a bracket, a line break."""
_CALL = rf"""(?:[A-Za-z_][\w.]{{1,60}}+\({_SPACE}(?:["'][^"'\n]{{0,60}}+["'],\s{{0,20}}+(?=[bru]?["'d]))?+)?+"""
"""A call around the value, perhaps with a name as its first argument."""
_DEFAULT = r"""(?:type\s?=\s?[\w.]{1,40}+,\s{0,20}+)?+(?:["']?+(?:default|value)["']?+\s?[=:]\s?|["'][\w.-]{1,40}+["']\s?:\s?(?=[bru]?["']))?+"""
_ASSIGNED = re.compile(
    _NAME
    + r"""(?:(?=(?:\\?+["'`])?+[\])]?+\s{0,20}+"""  # the end of a name in quotes
    + r"""(?::\s{0,5}+[A-Za-z_][\w.\[\] |]{0,60}+(?==))?+"""  # an annotation
    + r"""(?:[+!]?[:?=|>]{1,3}+|(?:or|is)\b|,(?=\s{0,80}+(?:[bruBRU]?["'\\(\[]|default|type|value)))(?:"""
    + _SPACE
    + _CALL
    + _DEFAULT
    + r"""[rRbBuUfF]{0,2}+\\?+(?:\"\"\"|'''|["'`])\s{0,80}+([^\s"'`\\]{8,1000}+)(?=\\[nrt"']|\s{0,80}+["'`])"""
    + r"""|[ \t]{0,5}+([A-Za-z0-9_+/.~%!@#^*-]{8,400}+=*+)(?=[\s"'`&;,)\]}\\<]|\Z))))?"""
)
"""A word with a name in it, and perhaps a value: in quotes (group 1) or bare (group 2).

A match passes over the word, so that no letter of it is read twice, and not over the value, in which
another name may stand.
"""
_HEADER = re.compile(
    rf"""[BbTt](?:{_either("earer")}|{_either("asic")}|(?:(?<=["'][Tt])|(?<=:\s[Tt])){_either("oken")}(?=\s))"""
    r"""(?:[\s"'+=:]{1,20}+([A-Za-z0-9._~+/-]{10,4000}+={0,2}+))?+"""
)
_ADDRESS = re.compile(r"""://(?:([^\s/@"'`{}<>$:\\]{0,100}+)(?::([^\s/@"'`{}<>\\]{4,200}+))?+@(?=[A-Za-z0-9\[]))?+""")
_LOGIN = re.compile(
    r"""[aAl](?:uth\s?=\s?|uth|uthenticate|ogin)\(\s{0,40}+(?:["'][^"'\n]{1,100}+["']|[\w.]{1,60}+),\s{0,40}+"""
    r"""[bru]?["']([^"'\s\\]{8,200}+)["']"""
)
_MOST = 10_000
"""Values with a name that are judged in one text. More of them, and none a secret, is no code, and
would take seconds.
"""
_LONGEST_NAME = 40
_BETWEEN = re.compile(r"[^\w-]")
_REST = re.compile(r"[\w-]*+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TELLING = ("token", "secret", "credential", "password", "passwd", "passphrase", "pwd")
_WEAK = ("key", "auth", "authorization")
"""Names that may mean anything, such as the key of a mapping: their value must be longer."""
_KEYS = """api auth access secret private priv account crypt encryption signing sign master service client app shared
    subscription storage admin webhook license consumer deploy session server"""
_OTHER_BEFORE = """public pub cache hash partition sort primary foreign object lookup index idempotency page next
    continuation cursor sync"""
_OTHER_AFTER = """id name url uri path file filename dir type length len count size limit pattern regex format field
    prefix suffix column arn endpoint class kind scope ttl expiry hash hashed sha digest fingerprint checksum policy
    label hint enc alg algorithm method mode"""
_KEY_BEHIND, _NOT_BEHIND, _NOT_BEFORE = (frozenset(w.split()) for w in (_KEYS, _OTHER_BEFORE, _OTHER_AFTER))
"""A key is telling behind the first words. Behind the second and before the third, a name is no secret's."""
_CODED = re.compile(r"[A-Za-z0-9_.+/=~:!@#$%^&*-]+")
_ONE_WORD = re.compile(r"[A-Za-z0-9+/]{24,}=*")
_NO_PASSWORD = re.compile(r"://|::|/.*/|^\.{0,2}/|^\^.*\$$|\(\?|\[\^|\[\w-\w|\\")
"""A path, an address or a regular expression."""
_CLASSES = tuple(map(re.compile, ("[a-z]", "[A-Z]", "[0-9]", r"[^\w\s./:,-]")))


def kinds(text: str) -> set[str]:
    """The kinds of credentials that their surroundings give away."""
    found = set()
    if _is_assigned(text):
        found.add("assigned_secret")
    if any(map(_is_authorization, {(m[0][0].lower(), m[1]) for m in _HEADER.finditer(text) if m[1]})):
        found.add("authorization_header")
    if "://" in text and any(map(_is_access, {(m[1], m[2]) for m in _ADDRESS.finditer(text) if m[1] is not None})):
        found.add("password_in_address")
    if ("uth" in text or "ogin(" in text) and any(map(_is_password, {m[1] for m in _LOGIN.finditer(text)})):
        found.add("login")
    return found


def _is_assigned(text: str) -> bool:
    """Whether a value that looks like a secret has the name of one.

    Each value is judged once; then the names of those that may be secrets are read.
    """
    values = dict.fromkeys(hit[1] or hit[2] for hit in _ASSIGNED.finditer(text))
    likely = {value for value in islice(values, _MOST) if value and (_is_key(value) or _is_password(value))}
    if not likely:
        return False
    hits = (hit for hit in _ASSIGNED.finditer(text) if (hit[1] or hit[2]) in likely)
    return any(
        _fits(_name(text, hit.start()), hit[1] or hit[2], is_bare=hit[2] is not None) for hit in islice(hits, _MOST)
    )


def _name(text: str, start: int) -> str:
    """The end of the name that has a telling word at `start`: `self-apiKey2`, or its last 80 signs."""
    stop = _REST.match(text, start).end()  # type: ignore[union-attr]  # it fits every text
    before = _BETWEEN.split(text[max(0, start - _LONGEST_NAME) : start])[-1]
    return (before + text[start:stop])[-2 * _LONGEST_NAME :]


def _fits(name: str, value: str, *, is_bare: bool) -> bool:
    """Whether a name is one for secrets, and the value is one of its kind.

    What is not in quotes must be a key, since it may be code.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    words = [word if word.endswith("ss") else word.removesuffix("s") for word in words]
    last = next((n for n in reversed(range(len(words))) if words[n].endswith((*_TELLING, *_WEAK))), None)
    if last is None or not _NOT_BEFORE.isdisjoint(words[last + 1 :]):
        return False
    word, behind = words[last], words[last - 1] if last else ""
    if not _NOT_BEHIND.isdisjoint(words[max(0, last - 2) : last]):
        return False
    if word.endswith(_TELLING):
        if "pass" in word or word.endswith("pwd"):
            return _is_key(value) if is_bare else _is_password(value)
    elif word.removesuffix("key") not in _KEY_BEHIND and (word != "key" or behind not in _KEY_BEHIND):
        return word in _WEAK and _ONE_WORD.fullmatch(value) is not None and is_drawn(value)
    return (len(value) >= 16 or not is_bare) and _is_key(value)


def _is_key(value: str) -> bool:
    """Whether a value may be a key or a token: one word that is drawn at random."""
    return len(value) >= 12 and "://" not in value and _CODED.fullmatch(value) is not None and is_drawn(value)


def _is_password(value: str) -> bool:
    """Whether a value may be a password: drawn at random, or of three kinds of characters."""
    if len(value) < 6 or _NO_PASSWORD.search(value):
        return False
    if len(value) >= 8 and sum(bool(sign.search(value)) for sign in _CLASSES) >= 3:
        return not is_made_up(value)
    return is_drawn(value, bits=2.3)


def _is_authorization(header: tuple[str, str]) -> bool:
    """Whether a header of a scheme (its first letter) and a value lets somebody in."""
    scheme, value = header
    if scheme == "b" and (login := _decoded(value)):
        user, _, password = login.partition(":")
        return not (is_made_up(value) or is_made_up(login)) and (len(password) >= 4 or is_drawn(user))
    return len(value) >= 16 and is_drawn(value)


def _decoded(value: str) -> str:
    """The login that a value is in base64, `user:password`; empty for any other value."""
    try:
        text = base64.b64decode(value, validate=True).decode("ascii")
    except ValueError:
        return ""
    return text if ":" in text and text.isprintable() else ""


def _is_access(login: tuple[str, str | None]) -> bool:
    """Whether the login of an address has a password, or a token as its user."""
    user, password = login
    if password is None:
        return len(user) >= 20 and is_drawn(user)
    return _is_password(password)
