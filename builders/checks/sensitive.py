"""Credentials and personal data in a text.

In: any text. Out: the kinds that it holds, sorted; never the data itself.

How: patterns that mean one thing only. Where a pattern alone is not enough, the entropy must be
high too. What documentation makes up does not count: example.com, 555 numbers, private networks.

    secrets(code), personal_data(code)    # (["aws_access_key"], ["email"])
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter

_TOKENS = {
    "aws_access_key": re.compile(r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"),
    "github_token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
    "gitlab_token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "google_api_key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    "huggingface_token": re.compile(r"\bhf_[A-Za-z]{34,}"),
    "json_web_token": re.compile(
        r"\b(?:(eyJ[A-Za-z0-9_-]{10,}+\.eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}+)|eyJ[A-Za-z0-9_-]*+)"
    ),
    "openai_key": re.compile(
        r"\b(?:(sk-(?:proj-|ant-|svcacct-)?(?=[a-z_-]*+[A-Z0-9])[A-Za-z0-9_-]{32,}+)|sk-[A-Za-z0-9_-]*+)"
    ),
    "private_key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:\\n|[\s\"'+\\])*[A-Za-z0-9+/]{40}"),
    "slack_token": re.compile(r"\bxox[abeoprs]-[0-9A-Za-z-]{20,}"),
    "stripe_key": re.compile(r"\b[rs]k_live_[0-9A-Za-z]{20,}"),
}
"""A pattern may have a second branch, which is outside of the group and no hit. It passes over what
no hit can begin in. So each character is read a few times, not once for every "sk-" before it.
"""
_OPENINGS = {
    "aws_access_key": ("IA",),
    "github_token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "gitlab_token": ("glpat-",),
    "google_api_key": ("AIza",),
    "huggingface_token": ("hf_",),
    "json_web_token": ("eyJ",),
    "openai_key": ("sk-",),
    "private_key": ("-----BEGIN",),
    "slack_token": ("xox",),
    "stripe_key": ("k_live_",),
}
"""A text without one of these cannot hold the kind. To look for them is several times faster than
to match the pattern.
"""
_NAMES = (
    "secret",
    "passw",
    "api_key",
    "apikey",
    "access_key",
    "accesskey",
    "private_key",
    "privatekey",
    "_token",
    "htoken",
    "stoken",
)
_DIGITS = re.compile(r"\d[ .)-]{1,2}\d{1,5}[ .-]\d")
"""Every telephone number and address contains this, and few other texts do. To look for it costs a
tenth of matching the patterns.
"""
_NAMED = "(?:api_?key|access_?key|secret|passwd|password|auth_?token|access_?token|private_?key)"
_ASSIGNED = re.compile(
    rf"""(?i)(?:({_NAMED}\w*+)(?=["']?+\s{{0,5}}+(?::\s{{0,5}}+str\s{{0,5}}+)?"""
    rf"""[:=]\s{{0,5}}+["']([^"'\s]{{12,200}}+)["'])|{_NAMED}\w*+)"""
)
"""As with the tokens, the second branch is no hit: it passes over the rest of a word."""
_NAME_AT_END = re.compile(rf"(?i){_NAMED}\w{{0,30}}\Z")
"""What a word that is assigned to must end in: more letters behind the name mean something else."""
_IN_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'{}<>$%]{1,100}:([^\s:/@\"'{}<>$%]{6,200})@[a-zA-Z0-9]")
_MADE_UP = re.compile(
    r"(?i)example|sample|dummy|fake|placeholder|your|change|secret|passw|token|test|foo|bar|x{4}|\*{3}|\.{3}|1234|abcd|<|\{|\$"
)
LEAST_DRAWN = 24
"""Characters beside made-up words that make a token of known form a real one."""
_EMAIL = re.compile(
    r"(?<![\w.+/:%-])([A-Za-z][\w.+-]{1,63})@((?:[A-Za-z0-9-]{2,63}\.){1,16}"
    r"(?:com|org|net|edu|gov|mil|info|biz|io|ai|dev|app|eu|uk|de|fr|ch|at|nl|be|it|es|pt|se|no|fi|dk|pl|cz|ru|ua|cn|jp|kr|in|br"
    r"|ca|au|nz|us|mx|ie|il|tw|hk|sg|za))\b(?![\w(.]{0,99}\()"
)
"""What is called, as in `user@module.name(`, is a decorator."""
_NOBODY = re.compile(
    r"(?i)^(?:user|users?name|name|me|you|your\w*|someone|somebody|foo|bar|baz|test\w*|alice|bob|john\.?(?:doe|smith)?|jane\.?(?:doe)?"
    r"|joe|admin|info|root|no-?reply|git|hg|svn|contact|support|help|mail|email|postmaster|webmaster|xx+)$"
)
_NOWHERE = re.compile(
    r"(?i)(?:^|\.)(?:example|test|domain|email|foo|bar|host|server|company|somewhere|spam|acme|mail|localhost|invalid|users\.noreply"
    r"\.github|googlegroups|python|lists)(?:\.|$)"
)
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+[1-9]\d{0,2}[ .-]\(?\d{2,4}\)?(?:[ .-]\d{2,5}){1,4}|\(\d{3}\) ?\d{3}-\d{4}|[2-9]\d{2}-\d{3}-\d{4})(?![\w-]|\.\d)"
)
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]|-\d)")
_PUBLIC_SERVICES = {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"}


def secrets(text: str) -> list[str]:
    """Kinds of credentials: keys and tokens of known form, private keys, passwords.

    Passwords are found in addresses and in assignments.
    """
    found = set()
    for kind, form in _TOKENS.items():
        hits = (m[form.groups] for m in form.finditer(text)) if any(o in text for o in _OPENINGS[kind]) else ()
        if any(hit and _is_drawn(hit) for hit in hits):
            found.add(kind)
    low = text.lower()
    if any(name in low for name in _NAMES) and any(_is_assigned(m) for m in _ASSIGNED.finditer(text)):
        found.add("assigned_secret")
    if "://" in text and any(_is_random(m.group(1), 2.5, mixed=True) for m in _IN_ADDRESS.finditer(text)):
        found.add("password_in_address")
    return sorted(found)


def personal_data(text: str) -> list[str]:
    """Kinds of personal data: e-mail addresses, telephone numbers, public IP addresses."""
    found = []
    if "@" in text and any(
        not _NOBODY.match(m.group(1)) and not _NOWHERE.search(m.group(2)) for m in _EMAIL.finditer(text)
    ):
        found.append("email")
    if not _DIGITS.search(text):
        return found
    if any(_is_address(m.group()) for m in _IP.finditer(text)):
        found.append("ip_address")
    if any(_is_number(m.group()) for m in _PHONE.finditer(text)):
        found.append("phone")
    return found


def entropy(text: str) -> float:
    """Shannon entropy of the characters, in bits per character; 0 for an empty text."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _is_assigned(hit: re.Match[str]) -> bool:
    """Whether a match of `_ASSIGNED` gives a secret to a name."""
    word, value = hit.groups()
    if not value or not _is_random(value, 3.5, mixed=True):
        return False
    return _NAME_AT_END.search(word) is not None


def _is_drawn(token: str) -> bool:
    """Whether a token of known form was drawn at random, and not made up for a document.

    Words such as "foo" stand in long tokens by chance. So what is left without them decides.
    """
    made_up = sum(len(word) for word in _MADE_UP.findall(token))
    return entropy(token) >= 3.0 and (not made_up or len(token) - made_up >= LEAST_DRAWN)


def _is_random(text: str, bits: float, *, mixed: bool = False) -> bool:
    """Whether a text looks drawn at random; `mixed` asks for both letters and digits."""
    if entropy(text) < bits or _MADE_UP.search(text):
        return False
    return not mixed or (any(c.isdigit() for c in text) and any(c.isalpha() for c in text))


def _is_address(text: str) -> bool:
    """Whether a dotted quad is somebody's address.

    It must be public, no well-known service, and have numbers too large for a version.
    """
    parts = text.split(".")
    if any(int(p) > 255 or (len(p) > 1 and p[0] == "0") for p in parts) or sum(int(p) >= 20 for p in parts) < 2:
        return False
    return ipaddress.IPv4Address(text).is_global and text not in _PUBLIC_SERVICES and "255" not in parts


def _is_number(text: str) -> bool:
    """Whether digits are somebody's telephone number.

    They are ten to fifteen digits, more than three of them different, without 555 and without
    123456.
    """
    digits = re.sub(r"\D", "", text)
    return 10 <= len(digits) <= 15 and "555" not in digits and "123456" not in digits and len(set(digits)) > 3
