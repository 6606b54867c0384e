"""Credentials in headers, in addresses and in calls that log in.

In: any text. Out: the kinds in it: `authorization_header`, `login`, `password_in_address`.

    kinds("requests.get(url, auth=('svc', 'Zq8vT2mLr9'))")    # {"login"}
"""

from __future__ import annotations

import base64
import re

from builders.checks.sensitive.assignments import either, is_password
from builders.checks.sensitive.randomness import is_drawn, is_made_up

_HEADER = re.compile(
    rf"""([BbTt])(?:{either("earer")}|{either("asic")}|(?:(?<=["'][Tt])|(?<=:\s[Tt])){either("oken")}(?=\s))"""
    r"""(?:[\s"'+=:]{1,20}+([A-Za-z0-9._~+/-]{10,4000}+={0,2}+))?+"""
)
_ADDRESS = re.compile(r"""://(?:([^\s/@"'`{}<>$:\\]{0,100}+)(?::([^\s/@"'`{}<>\\]{4,200}+))?+@(?=[A-Za-z0-9\[]))?+""")
_LOGIN = re.compile(
    r"""[aAl](?:uth\s?=\s?|uth|uthenticate|ogin)\(\s{0,40}+(?:["'][^"'\n]{1,100}+["']|[\w.]{1,60}+),\s{0,40}+"""
    r"""[bru]?["']([^"'\s\\]{8,200}+)["']"""
)


def kinds(text: str) -> set[str]:
    """The kinds of credentials that let somebody in."""
    found = set()
    if any(map(_is_authorization, set(_HEADER.findall(text)))):
        found.add("authorization_header")
    if "://" in text and any(map(_is_access, set(_ADDRESS.findall(text)))):
        found.add("password_in_address")
    if ("uth" in text or "ogin(" in text) and any(map(is_password, set(_LOGIN.findall(text)))):
        found.add("login")
    return found


def _is_authorization(header: tuple[str, str]) -> bool:
    """Whether a header of a scheme (its first letter) and a value lets somebody in."""
    scheme, value = header
    if scheme in "bB" and (login := _decoded(value)):
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


def _is_access(login: tuple[str, str]) -> bool:
    """Whether the login of an address has a password, or a token as its user."""
    user, password = login
    return is_password(password) if password else len(user) >= 20 and is_drawn(user)
