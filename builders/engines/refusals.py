"""What an endpoint says instead of an answer: of this request, of the moment, or of the whole run.

In: a status with its headers and its text, or an answer 200 that holds an error. Out: the error
that it means. `RefusedError`: this one request will not be answered. `PassingError`: it may be over
next time. `StoppedError` and its reason are made by the endpoint, from `end_of_run`.

    error_in({"error": {"code": 429, "message": "slow down"}}).status    # 429
    retry_after_s({}, "Please try again in 1m2.5s")                     # 62.5
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from builders.engines.complaints import (
    is_a_cap,
    is_filtered,
    is_of_all_parameters,
    is_of_key,
    is_too_long,
    own_words,
)
from builders.engines.types import FinishReason
from store.errors import DeniedError, InputError
from store.texts import one_line

ERROR_CHARS = 200
UNKNOWN_STATUS = 500
"""Of an error whose code says nothing: it may be over next time."""
BROKEN_ENDS = ("error", "network_error", "insufficient_system_resource")
"""How providers call an answer that broke off on their side."""
_CODES = (
    ("insufficient_quota", 429), ("rate_limit", 429), ("resource_exhausted", 429), ("too_many_requests", 429),
    ("throttl", 429), ("overloaded", 529), ("unavailable", 503), ("invalid_api_key", 401), ("unauth", 401),
    ("authentication", 401), ("permission", 403), ("context_length", 400), ("content_filter", 400),
    ("invalid_request", 400), ("invalid_argument", 400), ("unsupported", 400), ("not_found", 404),
)  # fmt: skip
_AGAIN = re.compile(r"(?:try again in|retry after|retry in) ((?:[\d.]+ ?(?:ms|h|m|s)[a-z]* ?)+)", re.IGNORECASE)
_AMOUNT = re.compile(r"([\d.]+) ?(ms|h|m|s)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class RefusedError(Exception):
    """The endpoint will not answer this one request, however often it is asked.

    `raw` is all that it said, with nothing hidden. `tokens` are what the refusal cost, prompt and
    completion, and `notes` what was different about the request.
    """

    def __init__(
        self,
        message: str,
        finish_reason: FinishReason = "error",
        raw: str = "",
        tokens: tuple[int, int] = (0, 0),
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.finish_reason, self.raw, self.tokens, self.notes = finish_reason, raw, tokens, notes


class PassingError(Exception):
    """A failure that may be over next time.

    `is_paid` says that the attempt may have cost money, `tokens` what it was billed where that was
    told, `retry_after_s` when the endpoint wants us back.
    """

    tokens = (0, 0)

    def __init__(
        self, message: str, *, status: int = 0, is_paid: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.is_paid, self.retry_after_s = status, is_paid, retry_after_s

    @property
    def is_pace(self) -> bool:
        """Whether it says that we send too many requests."""
        return self.status == 429

    @property
    def is_overload(self) -> bool:
        """Whether the whole endpoint is overloaded, rather than this request at fault."""
        return self.status in (429, 503, 529)


@dataclass(frozen=True)
class ToldError:
    """An error inside of an answer 200: the status that it stands for, and what it says."""

    status: int
    text: str


def error_in(answer: Any) -> ToldError | None:
    """The error that an answer 200 holds instead of a text. None where there is a text.

    OpenRouter, and gateways like it, have sent their 200 when a provider behind them fails.
    """
    if not isinstance(answer, dict):
        return None
    choice = _choice(answer)
    is_broken = choice.get("finish_reason") in BROKEN_ENDS
    error = choice.get("error") or (answer.get("error") if is_broken or not _has_text(choice) else None)
    if not error and not is_broken:
        return None
    error = error or {"message": f"the answer broke off (finish_reason {choice['finish_reason']})"}
    return ToldError(_status(error), error if isinstance(error, str) else _json(error))


def end_of_run(status: int, text: str, where: str, model: str, key: str, hidden: str) -> Exception | None:
    """What ends a whole run. None where a refusal is about one request, or about the moment.

    `hidden` is the text without keys: the endpoint's own words, which say most.
    """
    quote = f": the endpoint says {said!r}" if (said := short(own_words(hidden).strip())) else ""
    if status in (401, 403) or (status == 400 and is_of_key(text)):
        why = f"the key is missing or wrong, or it may not use {model!r}"
        return DeniedError(f"{where}{quote}: {why}: check {key}")
    if status == 404 and is_of_all_parameters(text):
        mend = "leave some out (temperature: null, top_p: null), or say in extra_body who may answer"
        return InputError(f"{where} for model {model!r}{quote}: nobody behind it takes all that is sent: {mend}")
    if status == 404 or 300 <= status < 400:
        mend = "check the model's name, and base_url (mostly it ends in /v1)"
        return InputError(f"{where} for model {model!r}{quote}: {mend}")
    if status == 402 or (status == 429 and "insufficient_quota" in text):
        mend = "All answers are kept: top it up and run again"
        return DeniedError(f"{where}{quote}: the account has no credit left. {mend}")
    return None


def is_of_one_request(status: int, text: str, *, has_answered: bool) -> bool:
    """Whether a 403 is about one text, and not about the key.

    The key was good where it was answered before, if nothing says that it is so no more. Filters
    of texts say 403 too.
    """
    return status == 403 and (is_filtered(text) or (has_answered and not is_of_key(text)))


def failure(status: int, text: str, hidden: str, headers: Mapping[str, str]) -> RefusedError | PassingError:
    """The error of one request. `hidden` is the text without keys, for people."""
    message = short(f"{status}: {hidden}")
    if status in (408, 409, 429) or status >= 500:
        return PassingError(message, status=status, retry_after_s=retry_after_s(headers, text))
    if is_too_long(text):
        return RefusedError(message, "prompt_too_long", text)
    return RefusedError(short(f"{status}: lower max_tokens: {hidden}") if is_a_cap(text) else message, "error", text)


def short(message: str) -> str:
    """As much of a message as a row and a line of a terminal can hold, without what steers it."""
    return one_line(message)[:ERROR_CHARS]


def retry_after_s(headers: Mapping[str, str], text: str = "") -> float | None:
    """Seconds to wait, from Retry-After (RFC 9110, 10.2.3: seconds or a date) or from the text.

    None where neither says it.
    """
    told = headers.get("Retry-After")
    if told is None:
        return _told_in(text)
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time()
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _told_in(text: str) -> float | None:
    """Seconds in a sentence such as "Please try again in 5.289s" or "retry after 33 seconds"."""
    found = _AGAIN.search(text)
    if found is None:
        return None
    try:
        seconds = sum(float(number) * _SECONDS[unit.lower()] for number, unit in _AMOUNT.findall(found[1]))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _choice(answer: dict[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _has_text(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    return bool(choice.get("text") or (isinstance(message, dict) and message.get("content")))


def _status(error: Any) -> int:
    if not isinstance(error, dict):
        return UNKNOWN_STATUS
    told = [error.get(name) for name in ("code", "status", "status_code", "type")]
    for value in told:
        number = str(value) if isinstance(value, int | str) and len(str(value)) == 3 else ""
        if number.isdecimal() and 300 <= int(number) < 600:
            return int(number)
    words = " ".join(str(value).lower() for value in told if isinstance(value, str))
    return next((status for word, status in _CODES if word in words), UNKNOWN_STATUS)


def _json(error: Any) -> str:
    return json.dumps(error, ensure_ascii=False)
