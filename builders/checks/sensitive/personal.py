"""x"""
import re, ipaddress
_DIGITS = re.compile(r"\d[ .)-]{1,2}\d{1,5}[ .-]\d")
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
