"""What a line of a batch's file of answers says, in the forms that providers write.

In: the bytes of a line, or what a batch says of itself. Out: a status and a body, or how many
requests are answered. A status may be a text or missing, and a body may be JSON text: such an
answer is whole, and paid for.
"""

from __future__ import annotations

import re
from typing import Any

from builders.engines.malformed import Json, MalformedError, UnreadableError
from builders.engines.reading import decoded, unwrapped
from builders.engines.refusals import error_in

ENDED = ("completed", "expired", "cancelled")

_NAME_OF_LINE = re.compile(rb'"custom_id" ?: ?"([^"\\]+)"')


def line_of(line: bytes, charset: str | None = None) -> Any:
    """A line of a file of answers. None for one that was cut.

    A line that nobody can read is paid for. It is an answer of no known form, if it has a name.
    """
    try:
        return decoded(line, charset)
    except MalformedError:
        return None
    except UnreadableError as unreadable:
        name = name_of(line)
        body = {"unreadable": str(unreadable)}
        return name and {"custom_id": name, "response": {"status_code": 200, "body": body}}


def name_of(line: bytes) -> str | None:
    """The name of the request that a line answers, also where the line was cut behind it."""
    name = _NAME_OF_LINE.search(line)
    return name and name[1].decode("utf-8", "replace")


def response_in(told: Json) -> tuple[int | None, Any]:
    """The status and the body of a line. None, None where the request was not answered at all."""
    response = unwrapped(told.get("response"))
    if not isinstance(response, dict):
        error = error_in({"error": told.get("error")})
        return (error.status, error.text) if error else (None, None)
    body = unwrapped(response["body"]) if "body" in response else response
    status = response.get("status_code")
    if isinstance(status, str) and len(status) == 3 and status.isdecimal():
        status = int(status)
    if isinstance(status, int) and not isinstance(status, bool):
        return status, body
    error = error_in(body)
    return (error.status if error else 200), body


def is_good(status: int | None) -> bool:
    """Whether a status is one of an answer."""
    return status is not None and 200 <= status < 300


def status_of(batch: Json) -> str:
    """The status of a batch, in lower case."""
    return str(batch.get("status")).lower()


def num_answered(batch: Json) -> int | None:
    """How many requests of a batch are answered, as it says. None where it does not say."""
    counts = batch.get("request_counts")
    told = counts.get("completed") if isinstance(counts, dict) else None
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def names_its_answers(batch: Json) -> bool:
    """Whether an ended batch names the file of what it answered. It may do so a little later."""
    if isinstance(batch.get("output_file_id"), str):
        return True
    answered = num_answered(batch)
    if answered is None:
        return status_of(batch) != "completed" or isinstance(batch.get("error_file_id"), str)
    return answered <= 0
