"""Personal data in a text, where it is certain.

In: any text. Out: the kinds in it: `email`, `ip_address`, `phone`.

How: a pattern for each kind begins with one character that few texts have many of. What it finds is
then looked at: what documentation makes up, what belongs to nobody, and names that only look like
an address (`chacha20-poly1305@openssh.com`, `weights@self.net`) do not count.

    personal_data("# by mary@uni-bremen.de, +49 421 218 60000")    # ["email", "phone"]
"""

from __future__ import annotations

import ipaddress
import re

_EMAIL = re.compile(
    r"([A-Za-z](?<![\w.+/:%-][A-Za-z])[\w.+-]{1,63}+)@((?:[A-Za-z0-9-]{2,63}\.){1,16}"
    r"(?:com|org|net|edu|gov|mil|info|biz|io|ai|dev|app|eu|uk|de|fr|ch|at|nl|be|it|es|pt|se|no|fi|dk|pl|cz|ru|ua|cn|jp|kr|in|br"
    r"|ca|au|nz|us|mx|ie|il|tw|hk|sg|za|me|co|ar|cl|gr|hu|ro|tr|kr|th|vn|my|id|ph))\b(?![\w(.]{0,99}[(\[])"
)
"""What is called or indexed, as in `user@module.name(`, is code."""
_NOBODY = re.compile(
    r"(?i)^(?:user|users?name|name|me|you|your\w*|someone|somebody|foo|bar|baz|test\w*|alice|bob|john\.?(?:doe|smith)?|jane\.?(?:doe)?"
    r"|joe|jo|admin|info|root|no-?reply|git|hg|svn|contact|support|help|mail|email|postmaster|webmaster|xx+)$"
)
_NOWHERE = re.compile(
    r"(?i)(?:^|\.)(?:example|test|domain|email|foo|bar|host|server|company|somewhere|spam|acme|mail|localhost|invalid|users\.noreply"
    r"\.github|googlegroups|python|lists)(?:\.|$)|^(?:self|cls|np|torch)\."
)
_PROTOCOL = re.compile(r"(?i)(?:^|\.)(?:openssh\.com|libssh\.org|asyncssh\.com|tinyssh\.org|tartarus\.org)$")
_ALGORITHM = re.compile(
    r"(?i)(?:^|-)(?:aes\d|sha[1-5]|hmac|umac|poly1305|chacha20|arcfour|curve25519|nistp|ssh-)|(?:^|-)(?:cbc|ctr|gcm|etm|zlib|keepalive)$"
)
"""RFC 4250 has names of algorithms and messages that look like addresses."""
_IPV4 = re.compile(r"[0-9](?<![\w.][0-9])[0-9]{0,2}+(?:\.[0-9]{1,3}+){3}(?![\w.]|-\d)")
_IPV6 = re.compile(r"[23](?<![\w:.][23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]{4,40}+(?![\w:.])")
_PUBLIC_SERVICES = ["8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "2620:fe::fe"]
_PUBLIC_SERVICES += ["2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111", "2606:4700:4700::1001"]
_WORDS_IN_HEX = re.compile("cafe|beef|dead|babe|face|feed|c0de|1234|abcd|ffff")
_FAR = re.compile(
    r"(\+(?:(?<=([\"':])\+)|(?<![\w.+-]\+))(?=[1-9][0-9 .()-]{9})[0-9]++(?:[ .()-]{1,2}+[0-9]++){0,7}+)(?![\w-]|\.\d|[ .()-]{1,2}\d)(?=([\"'])?)"
)
"""The number, and as groups 2 and 3 the quotes or the colon around it."""
_GROUPED = re.compile(
    r"\+([0-9]{1,3})(?:( |-)(?:\(0\) ?)?\(?[0-9]{1,5}\)?(?:[ -][0-9]{2,8}){1,4}|(\.)[0-9]{1,5}(?:\.[0-9]{2,8}){1,4})"
)
_COUNTRY = re.compile(
    r"1|7|2[07]|2[1-69]\d|3[0-469]|3[578]\d|4[013-9]|42\d|5[1-8]|5[09]\d|6[0-6]|6[7-9]\d|8[1246]|8[058]\d|9[0-58]|9[679]\d"
)
_NEAR = re.compile(
    r"[(2-9](?<![\w.+(-].)(?:(?<=\()[2-9][0-9]{2}\) ?|(?<!\()[0-9]{2}-)[2-9][0-9]{2}-[0-9]{4}(?![\w-]|\.\d)"
)


def personal_data(text: str) -> list[str]:
    """Kinds of personal data: e-mail addresses, public IP addresses, telephone numbers."""
    found = []
    if "@" in text and any(map(_is_somebody, set(_EMAIL.findall(text)))):
        found.append("email")
    if any(map(_is_ipv4, set(_IPV4.findall(text)))) or (":" in text and any(map(_is_ipv6, set(_IPV6.findall(text))))):
        found.append("ip_address")
    if any(map(_is_far, set(_FAR.findall(text)))) or any(map(_is_private, set(_NEAR.findall(text)))):
        found.append("phone")
    return found


def _is_somebody(address: tuple[str, str]) -> bool:
    """Whether an e-mail address, in its two parts, may be a person's."""
    name, domain = address
    if _NOBODY.match(name) or _NOWHERE.search(domain) or _PROTOCOL.search(domain) or _ALGORITHM.search(name):
        return False
    return name.lower() not in domain.lower().split(".")


def _is_ipv4(text: str) -> bool:
    """Whether a dotted quad is somebody's address.

    It must be public, no well-known service, and have numbers too large for a version.
    """
    parts = text.split(".")
    if any(int(p) > 255 or (len(p) > 1 and p[0] == "0") for p in parts) or sum(int(p) >= 20 for p in parts) < 2:
        return False
    return ipaddress.IPv4Address(text).is_global and text not in _PUBLIC_SERVICES and "255" not in parts


def _is_ipv6(text: str) -> bool:
    """Whether an IPv6 address is somebody's: public, of four groups that are not zero or more."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    groups = sum(group != "0000" for group in address.exploded.split(":"))
    return (
        address.is_global
        and groups >= 4
        and str(address) not in _PUBLIC_SERVICES
        and not _WORDS_IN_HEX.search(text.lower())
    )


def _is_far(hit: tuple[str, str, str]) -> bool:
    """Whether digits behind a plus are somebody's number: in groups, or in quotes as one word."""
    number, before, behind = hit
    grouped, country = _GROUPED.fullmatch(number), _COUNTRY.match(number, 1)
    if grouped:
        return _COUNTRY.fullmatch(grouped[1]) is not None and _is_private(number, grouped[1])
    is_quoted = bool(before and behind) and number[1:].isdigit()
    return is_quoted and country is not None and _is_private(number, country[0])


def _is_private(text: str, country: str = "1") -> bool:
    """Whether a number may be somebody's.

    It has ten to fifteen digits, more than three of them different, without 555 and without 12345.
    A number in North America has an area and an exchange that begin with 2 to 9.
    """
    digits = re.sub(r"\D", "", text)
    if country == "1" and not re.fullmatch("1?[2-9](?!11)[0-9]{2}[2-9](?!11)[0-9]{6}", digits):
        return False
    return 10 <= len(digits) <= 15 and "555" not in digits and "12345" not in digits and len(set(digits)) > 3
