"""When an endpoint wants us back, as its headers say it.

In: the headers of a refusal. Out: seconds. There are as many ways to say it as providers:

    wait_s({"Retry-After": "2s"})                   # 2.0, as "2", a date, or a time of ISO 8601
    wait_s({"retry-after-ms": "1500"})              # 1.5
    reset_s({"x-ratelimit-reset-tokens": "6m0s"})   # 360.0
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import time

_RESET = re.compile(
    r"(?:x-|anthropic-)?ratelimit-(?:(?P<before>[a-z-]+)-)?reset(?:-(?P<behind>[a-z-]+))?", re.IGNORECASE
)
_AMOUNTS = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:ms|[dhms])[a-z]*\s*)+", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[dhms])", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_CHARS = 60
# A number of seconds this large is a time of day.
_FIRST_TIME = 10**9


def as_retry_after(status: int, headers: Mapping[str, str], said_s: float | None) -> dict[str, str]:
    """The wait that a refusal asks for as a plain Retry-After. `said_s` is what its text says."""
    asked_s = wait_s(headers)
    if asked_s is None:
        asked_s = said_s
    if asked_s is None and status == 429:
        asked_s = reset_s(headers)
    return {} if asked_s is None else {"Retry-After": str(asked_s)}


def wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from Retry-After or retry-after-ms. None where neither says it.

    Retry-After is a number of seconds or a date (RFC 9110, 10.2.3). Where both are given,
    retry-after-ms is the same, and more exact.
    """
    told = {name.lower(): value for name, value in headers.items() if name.lower().startswith("retry-after")}
    milliseconds = _number(told.get("retry-after-ms", ""))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    return _seconds(told["retry-after"]) if "retry-after" in told else None


def reset_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until a limit of a rate is reset, for a 429 that says nothing else.

    Where the headers tell which limits are used up, it is the last of these. Otherwise it is the
    first one that is reset.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    resets = {name: _seconds(value) for name, value in lower.items() if _RESET.fullmatch(name)}
    known = {name: seconds for name, seconds in resets.items() if seconds is not None}
    used_up = [seconds for name, seconds in known.items() if lower.get(name.replace("reset", "remaining")) == "0"]
    return max(used_up) if used_up else min(known.values(), default=None)


def _seconds(told: str) -> float | None:
    """Seconds from now: of a number, of "1m30s", or until a date or time."""
    told = told.strip()[:_LONGEST_CHARS]
    # Proxies join a header that is there twice. A date has a comma of its own.
    number = _number(told.split(",")[0])
    if number is not None and number >= _FIRST_TIME:
        # In seconds or in milliseconds since 1970.
        return max(0.0, (number / 1000 if number >= 1000 * _FIRST_TIME else number) - time())
    if number is not None:
        return max(0.0, number)
    if _AMOUNTS.fullmatch(told):
        return sum(float(amount) * _SECONDS[unit.lower()] for amount, unit in _AMOUNT.findall(told))
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = read(told)
            return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time())
        except (ValueError, OverflowError, TypeError):
            continue
    return None


def _number(told: str) -> float | None:
    try:
        number = float(told)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
