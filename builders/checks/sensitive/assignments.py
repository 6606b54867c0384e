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

from builders.checks.sensitive.randomness import is_drawn, is_made_up

_NAME = (
    r"[KkTtSsPpCcAa](?i:(?<=k)ey|(?<=t)oken|(?<=s)ecret|(?<=p)assw(?:or)?d|(?<=p)assphrase|(?<=p)wd"
    r"|(?<=c)redential|(?<=a)uth)[\w-]*+"
)
_SPACE = r"[\s(\[{\\]{0,80}+"
"""What may stand before a value: a bracket, a line break."""
_CALL = rf"""(?:[A-Za-z_][\w.]{{1,60}}+\({_SPACE}(?:["'][^"'\n]{{0,60}}+["'],\s{{0,20}}+(?=[bru]?["'d]))?+)?+"""
"""A call around the value, perhaps with a name as its first argument."""
_DEFAULT = r"""(?:type\s?=\s?[\w.]{1,40}+,\s{0,20}+)?+(?:["']?+(?:default|value)["']?+\s?[=:]\s?|["'][\w.-]{1,40}+["']\s?:\s?(?=[bru]?["']))?+"""
_ASSIGNED = re.compile(
    _NAME
    + r"""(?:(?:\\?+["'`])?+[\])]?+\s{0,20}+"""  # the end of a name in quotes
    + r"""(?::\s{0,5}+[A-Za-z_][\w.\[\] |]{0,60}+(?==))?+"""  # an annotation
    + r"""(?:[:!?=|+>]{1,4}+|,|(?:or|is)\b)(?:"""
    + _SPACE
    + _CALL
    + _DEFAULT
    + r"""[rRbBuUfF]{0,2}+\\?+(?:\"\"\"|'''|["'`])\s{0,80}+([^\s"'`\\]{8,1000}+)(?=\\[nrt"']|\s{0,80}+["'`])"""
    + r"""|[ \t]{0,5}+([A-Za-z0-9_+/.~%!@#^*-]{8,1000}+=*+)(?=[\s"'`&;,)\]}\\<]|\Z)))?+"""
)
"""A word with a name in it, and perhaps a value: in quotes (group 1) or bare (group 2).

A match without a value is no hit. It passes over the word, so that no letter is read twice.
"""
_HEADER = re.compile(
    r"""[BbTt](?i:(?<=b)earer|(?<=b)asic|(?<=["'\s:]t)oken)(?:[\s"'+=:]{1,20}+([A-Za-z0-9._~+/-]{10,4000}+={0,2}+))?+"""
)
_ADDRESS = re.compile(
    r"""://(?:([^\s/@"'`{}<>$:\\]{0,100}+)(?::([^\s/@"'`{}<>\\]{4,200}+))?+@(?=[A-Za-z0-9\[]))?+"""
)
_LOGIN = re.compile(
    r"""[aAl](?:uth\s?=\s?|uth|uthenticate|ogin)\(\s{0,40}+(?:["'][^"'\n]{1,100}+["']|[\w.]{1,60}+),\s{0,40}+"""
    r"""[bru]?["']([^"'\s\\]{8,200}+)["']"""
)
_BEFORE = re.compile(r"[\w-]{0,40}\Z")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_KEY = re.compile(
    r"(?:api|auth|access|secret|private|priv|account|crypt|encryption|signing|sign|master|service|client|app|shared"
    r"|subscription|storage|admin|webhook|license|consumer|deploy|session|server)keys?$"
)
_IS_NO_SECRET = frozenset(
    """public pub cache hash hashed sha digest fingerprint checksum partition sort primary foreign object lookup index
    idempotency page next continuation cursor sync id ids name names url uri path file filename dir type length len count
    size limit pattern regex format field prefix suffix column arn endpoint class kind scope scopes ttl expiry""".split()
)
_CODED = re.compile(r"[A-Za-z0-9_.+/=~:!@#$%^&*-]+")
_NO_PASSWORD = re.compile(r"://|^\.{0,2}/|^\^.*\$$|\(\?|\[\^|\[\w-\w|\\")
"""A path, an address or a regular expression."""
_SYMBOL = r"[^\w\s./:,-]"


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
    """Whether a value that looks like a secret has the name of one."""
    judged: dict[str, tuple[bool, bool]] = {}
    for hit in _ASSIGNED.finditer(text):
        value = hit[1] or hit[2]
        if not value:
            continue
        if value not in judged:
            judged[value] = _is_key(value), _is_password(value)
        if any(judged[value]) and _fits(_name(text, hit), value, hit[2] is not None, *judged[value]):
            return True
    return False


def _name(text: str, hit: re.Match[str]) -> list[str]:
    """The words of the name, in small letters: "api", "key" of `self.apiKey2`."""
    start = hit.start()
    before = _BEFORE.search(text, max(0, start - 40), start)
    after = re.match(r"[\w-]{0,60}", hit[0])
    return [word.lower() for word in _WORD.findall((before[0] if before else "") + (after[0] if after else ""))]


def _fits(name: list[str], value: str, is_bare: bool, is_key: bool, is_password: bool) -> bool:
    """Whether a name of these words is one for this value.

    What is not in quotes must be a key, since it may be code.
    """
    if not _IS_NO_SECRET.isdisjoint(name):
        return False
    if any(word.endswith(("password", "passwd", "passphrase", "pwd")) for word in name):
        return is_key or (is_password and not is_bare)
    if not is_key or (is_bare and len(value) < 16):
        return False
    if any(word.removesuffix("s").endswith(("token", "secret", "credential")) for word in name):
        return True
    if any(_KEY.search("".join(pair)) for pair in zip(["", *name], name, strict=False)):
        return True
    is_weak = any(word in ("key", "keys", "auth", "authorization") for word in name)
    return is_weak and re.fullmatch("[A-Za-z0-9+/]{24,}=*", value) is not None


def _is_key(value: str) -> bool:
    """Whether a value may be a key or a token: one word that is drawn at random."""
    return len(value) >= 12 and "://" not in value and _CODED.fullmatch(value) is not None and is_drawn(value)


def _is_password(value: str) -> bool:
    """Whether a value may be a password: drawn at random, or of three kinds of characters."""
    if len(value) < 6 or _NO_PASSWORD.search(value) or is_made_up(value):
        return False
    classes = sum(bool(re.search(c, value)) for c in ("[a-z]", "[A-Z]", "[0-9]", _SYMBOL))
    return (classes >= 3 and len(value) >= 8) or is_drawn(value, bits=2.3)


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
