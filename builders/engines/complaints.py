"""What a refusal complains of: its words, the fields of a body that it names, a text too long.

In: the raw text of a refusal, as JSON of any shape or as plain words. Out: what it says. Only its
messages and codes are read. Some endpoints repeat what we sent, and that is no complaint.

    named('{"error": {"param": "seed"}}', {"model": "m", "seed": 7}, ["seed", "stop"])    # ["seed"]
    is_too_long("the maximum context length is 8192 tokens")                              # True
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

Json = dict[str, Any]

CODES = ("code", "type", "status")
_COMPLAINT = re.compile(
    r"support|unknown|unrecognized|unexpected|extra|permit|allow|invalid|only|cannot|can't|deprecat|must|unavailable"
    r"|not available|not an? |limit|too |less than|greater than|range|at most|maximum|max |between|default|implemented|instead"
)
_NUMBER = re.compile(
    r"too (?:large|big|high|long|small|low)|less than|greater than|range|at most|at least|maximum|minimum|max allowed"
    r"|between|exceed|>=|<="
)
_MINIMUM = re.compile(r"minimum|>=|at least|must be greater than|below|too (?:small|low)")
_CONTEXT = re.compile(
    r"context_length|context length|context window|context limit|context size|exceed_context_size|input tokens exceed"
    r"|input token count|prompt is too long|input is too long|`inputs` (?:tokens|must have less)"
)
# What follows are the fields that the endpoint knows, up to the end of the sentence.
_LIST = re.compile(
    r"(?:expected one of|must be one of|(?<!not )(?<!not a )(?<!not an )\b(?:supported|valid|allowed|known|permitted"
    r"|accepted|available) (?:\w+ )?(?:field|parameter|param|key|name|option|argument|propert)).*?(?:[.;]\s|\n|$)"
)
_FILTERED = re.compile(r"moderation|flagged|content[ _](?:polic|filter|management)|usage polic|safety")
_OF_KEY = re.compile(
    r"api[ _-]?key[^.]{0,40}(?:invalid|expired|revoked|disabled|not valid|incorrect|wrong)"
    r"|(?:invalid|incorrect|wrong|expired|revoked|disabled|missing)[ _-]api[ _-]?key"
    r"|(?:api[ _-]?key|access token|bearer token|credentials?) (?:has been|have been|was|were|is|are)"
    r" (?:revoked|disabled|expired|deactivated|deleted|invalid)|unauthenticated|authentication_error"
)
_NO_PROVIDER = re.compile(r"no (?:endpoints?|providers?)[^.]{0,60}requested parameters")
_SAME = {
    "logprobs": "top_logprobs", "max_completion_tokens": "max_tokens", "json_schema": "response_format",
    "structured output": "response_format", "structured outputs": "response_format", "stop_sequences": "stop",
}  # fmt: skip


def is_too_long(refusal: str) -> bool:
    """Whether a refusal says that prompt and answer do not fit into the model."""
    return bool(_CONTEXT.search(words(refusal)))


def is_of_a_number(told: str) -> bool:
    """Whether the words of a refusal complain of a number, and not of the name beside it."""
    return bool(_NUMBER.search(told))


def is_a_minimum(told: str) -> bool:
    """Whether the words of a refusal ask for a larger number."""
    return bool(_MINIMUM.search(told))


def is_a_cap(refusal: str) -> bool:
    """Whether a refusal says that an answer may not have so many tokens as were asked for."""
    told = words(refusal)
    return "max_tokens" in told and is_of_a_number(told) and not is_a_minimum(told)


def is_filtered(refusal: str) -> bool:
    """Whether a refusal says that the text is not welcome."""
    return bool(_FILTERED.search(words(refusal)))


def is_of_key(refusal: str) -> bool:
    """Whether a refusal of any status says that the key is not good."""
    return bool(_OF_KEY.search(words(refusal)))


def is_of_all_parameters(refusal: str) -> bool:
    """Whether a gateway says that nobody behind it takes all that was sent. It names no field."""
    return bool(_NO_PROVIDER.search(words(refusal)))


def words(refusal: str) -> str:
    """What a refusal says, in lower case: its messages and codes, and never what it repeats."""
    return own_words(refusal, CODES).lower()


def is_same(refusal: str, other: str) -> bool:
    """Whether two refusals say the same, but for numbers and names of requests."""
    return re.sub(r"\w*\d\w*", "", words(refusal)) == re.sub(r"\w*\d\w*", "", words(other))


def own_words(refusal: str, further: tuple[str, ...] = ()) -> str:
    """The messages of a refusal, for people. All of it where it has none."""
    told = _decoded(refusal)
    return (_messages(told, further) if isinstance(told, dict | list) else "") or refusal


def named(refusal: str, said: Json, fields: Iterable[str]) -> list[str]:
    """Those of these fields of a body that a refusal names, in their order.

    `param` and `loc` say it exactly. Only without them is the message searched, and never an
    `input` that repeats what we sent, nor a list of the fields that the endpoint knows.
    """
    told = _decoded(refusal)
    places = _places(told)
    ours = _known(places, said, fields)
    if ours or any(place in said or place == "prompt" for place in places):
        return ours
    text = _messages(told) if isinstance(told, dict | list) else refusal
    lower = _LIST.sub(" ", text.lower())
    if not _COMPLAINT.search(lower):
        return []
    return _known([name for name in (*fields, *_SAME) if _word(name).search(lower)], said, fields)


def _known(names: Iterable[str], said: Json, fields: Iterable[str]) -> list[str]:
    found = {_SAME.get(name, name) for name in names}
    has = {"max_tokens"} & {_SAME.get(name, name) for name in said}
    return [name for name in fields if name in found and (name in said or name in has)]


@cache
def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9_]){re.escape(name)}(?![a-z0-9_])")


def _decoded(refusal: str) -> Any:
    try:
        return json.loads(refusal)
    except (ValueError, RecursionError):
        return None


def _places(told: Any) -> list[str]:
    """What `param` (OpenAI) and `loc` (FastAPI) point at."""
    found: list[str] = []
    for part in _parts(told):
        for value in (part.get("param"), *_list(part.get("loc"))):
            if isinstance(value, str):
                found += [name for name in re.split(r"[^A-Za-z0-9_]+", value) if name not in ("", "body")]
    return found


def _messages(told: Any, further: tuple[str, ...] = ()) -> str:
    return " ".join(
        value
        for part in _parts(told)
        for key in ("message", "msg", "detail", "error", *further)
        if isinstance(value := part.get(key), str)
    )


def _parts(told: Any, depth: int = 4) -> list[Json]:
    """The objects of a refusal that tell of it: itself, its `error`, each of its `detail`.

    Mistral has them in its `message`, and gateways quote those of others as text (`raw`).
    """
    if isinstance(told, str) and told.lstrip().startswith(("{", "[")):
        told = _decoded(told)
    if isinstance(told, list) and depth:
        return [part for one in told[:20] for part in _parts(one, depth - 1)]
    if not isinstance(told, dict):
        return []
    inner = [told.get(key) for key in ("error", "detail", "errors", "message", "metadata", "raw")] if depth else []
    return [told, *(part for one in inner for part in _parts(one, depth - 1))]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
