"""Errors inside of answers 200, by whatever name: which part of an answer is one, and which status
it stands for.

In: decoded JSON. Out: the part that tells of an error, and a status of HTTP. Providers have their
own names and numbers for both. A number of theirs says nothing to us, so their words decide.

    error_part({"base_resp": {"status_code": 1002, "status_msg": "slow"}})["status_msg"]    # slow
    status_of({"status_code": 1002, "status_msg": "rate limit"})                            # 429
"""

from __future__ import annotations

import json
import re
from typing import Any

from builders.engines.complaints import (
    MESSAGES,
    is_filtered,
    is_of_balance,
    is_of_key,
    is_too_long,
    words,
)
from builders.engines.malformed import Json

UNKNOWN_STATUS = 500
"""Of an error that does not say what it is of: it may be over next time."""

_PARTS = ("error", "errors", "err", "base_resp", "detail", "errormsg", "response")
_CODES = ("code", "error_code", "err_code", "errcode", "errno", "status_code", "status")
_GOOD = ("", "0", "ok", "success", "succeeded", "succeed", "true", "none", "null")
_OF_CODES = (
    ("insufficient_quota", 429), ("rate_limit", 429), ("resource_exhausted", 429), ("too_many_requests", 429),
    ("throttl", 429), ("overloaded", 529), ("unavailable", 503), ("invalid_api_key", 401), ("unauth", 401),
    ("authentication", 401), ("permission", 403), ("access_denied", 403), ("balance", 402), ("arrear", 402),
    ("context_length", 400), ("content_filter", 400), ("invalid_request", 400), ("invalid_argument", 400),
    ("invalid_param", 400), ("unsupported", 400), ("not_found", 404),
)  # fmt: skip
# Where no code says it. Words that could be of one text among many are left out: some of these end
# a run.
_OF_WORDS = (
    (re.compile(r"rate[ _-]?limit|too many requests|throttl|\b(?:qps|rpm|tpm)\b|requests per (?:second|minute)"), 429),
    (re.compile(r"overload|(?:server|system|service|model|engine)[^.]{0,20} busy|high (?:load|demand)"), 529),
    (re.compile(r"log ?in fail|unauthori[sz]ed|not authenticated|authentication (?:fail|error|required)"), 401),
    (re.compile(r"(?:access|auth|bearer) token[^.]{0,20}(?:invalid|expired)|invalid (?:access|auth|bearer) token"), 401),
    (re.compile(r"\bmodel\b[^.]{0,60}(?:does not exist|doesn't exist|not exist|not found|not available)"), 404),
    (re.compile(r"unknown model|no such model|invalid model"), 404),
    (re.compile(r"invalid param|parameter[^.]{0,20}invalid|bad request|(?<![a-z])sensitive"), 400),
)  # fmt: skip


def error_part(answer: Any, depth: int = 2) -> Any:
    """The part of an answer that tells of an error. None if none does.

    It is a text or an object with one. Beside a code that means success, no text is an error.
    """
    if not isinstance(answer, dict):
        return None
    said = _lower(answer)
    for name in _PARTS:
        part = said.get(name)
        if isinstance(part, list) and part:
            part = part[0]
        if isinstance(part, dict) and depth:
            part = error_part(part, depth - 1) or (part if name != "response" and _has_failed(part) else None)
        elif not isinstance(part, str) or name == "response" or part.lower() in _GOOD:
            part = None
        if part:
            return part
    return answer if _says_so_itself(said) else None


def status_of(error: Any) -> int:
    """The status of HTTP that an error stands for."""
    told: list[Any] = []
    if isinstance(error, dict):
        said = _lower(error)
        told = [said.get(name) for name in (*_CODES, "type", "__type")]
    for value in told:
        number = str(value) if isinstance(value, int | str) and len(str(value)) == 3 else ""
        if number.isdecimal() and 300 <= int(number) < 600:
            return int(number)
    codes = " ".join(_with_underscores(value) for value in told if isinstance(value, str))
    return next((status for word, status in _OF_CODES if word in codes), None) or _status_of_words(error)


def _status_of_words(error: Any) -> int:
    text = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
    if is_of_balance(text):
        return 402
    if is_of_key(text):
        return 401
    told = words(text)
    found = next((status for pattern, status in _OF_WORDS if pattern.search(told)), None)
    return found or (400 if is_too_long(text) or is_filtered(text) else UNKNOWN_STATUS)


def _has_failed(part: Json) -> bool:
    """Whether an object that is only there for errors tells of one now."""
    said = _lower(part)
    codes = [said[name] for name in _CODES if said.get(name) is not None]
    return _has_message(said) and not (codes and _is_good(codes[0]))


def _says_so_itself(said: Json) -> bool:
    """Whether an object without such a part says that it is an error: by a code, or in a word."""
    if not _has_message(said):
        return False
    codes = [said[name] for name in _CODES[:-1] if said.get(name) is not None]
    if codes:
        # A field `code` may also hold a program.
        is_code = not isinstance(codes[0], bool) and re.fullmatch(r"-?[\w.:-]{1,64}", str(codes[0])) is not None
        return is_code and not _is_good(codes[0])
    kinds = [str(said.get(name)).lower() for name in ("object", "type", "__type", "status")]
    is_bad = said.get("success") is False or any(re.search(r"error|exception|fail", kind) for kind in kinds)
    status = said.get("status")
    return is_bad or (isinstance(status, int) and not isinstance(status, bool) and status >= 300)


def _has_message(said: Json) -> bool:
    texts = [said.get(name) for name in MESSAGES]
    return any(isinstance(text, str) and text.strip().lower() not in _GOOD for text in texts)


def _is_good(code: Any) -> bool:
    """Whether a code means success, as 0, 200 and "ok" do."""
    word = str(code).strip().lower()
    return word in _GOOD or (len(word) == 3 and word.isdecimal() and word.startswith("2"))


def _lower(said: Json) -> Json:
    return {str(name).lower(): value for name, value in said.items()}


def _with_underscores(code: str) -> str:
    """A code such as InvalidApiKey as invalid_api_key."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[ -]", "_", code).lower()
