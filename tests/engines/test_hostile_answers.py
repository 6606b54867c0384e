"""Whatever an endpoint sends, the protocol layer gives an answer or one of its own errors."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.engines import Request, reading, refusals
from builders.engines.choices import NoChoiceError, choice_body, choice_mass, needs_room, probabilities
from builders.engines.dialect import LADDERS, Dialect, most_tokens
from builders.engines.malformed import MalformedError, UnreadableError
from builders.engines.protocol import MOST_TOKENS, Answer, checked, completion, extended, path_and_body, tokens_of
from builders.engines.refusals import PassingError, RefusedError

OWN_ERRORS = (MalformedError, UnreadableError, NoChoiceError)
USER = {"role": "user", "content": "Go."}
CHOICES = tuple("0123456789")
CHAT = Request("1", messages=(USER,), max_tokens=8, stop=("\n\n", "END"), top_p=0.5, json_schema='{"type": "object"}')
REQUESTS = (CHAT, Request("2", messages=(USER,), temperature=None), Request("3", prompt="def f():", stop=("\n",) * 5))
MOST = (100, 200)
QUESTION = choice_body((USER,), "m", {})
DEEP = (*range(300, 500, 33), *range(900, 1000, 7))
"""Around the depths at which Python's JSON and our own functions give up."""


def nested(depth: int, opened: str = "[", closed: str = "]") -> str:
    return opened * depth + "1" + closed * depth


NAMES = st.sampled_from(
    [
        "choices",
        "message",
        "text",
        "content",
        "reasoning_content",
        "reasoning",
        "thinking",
        "delta",
        "finish_reason",
        "logprobs",
        "top_logprobs",
        "token",
        "logprob",
        "error",
        "code",
        "status",
        "type",
        "param",
        "loc",
        "detail",
        "errors",
        "message",
        "msg",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "completion_tokens_details",
        "reasoning_tokens",
        "refusal",
        "input_tokens",
        "role",
        "index",
    ]
)
WORDS = st.sampled_from(
    [
        "stop", "length", "error", "content_filter", "tool_calls", "thinking", "text", "429", "٣٠٠", "²²²", "7", " 3", "nan",
        "1e999", "-inf", "<think>", "</think>", "a\ud800", "\x00", "unsupported seed", "max_tokens must be at most 5", "temperature",
        "stop", "logprobs is not supported", "response_format", "context length", "body.seed", "top_p", "json_schema", "",
        "model output limit was reached", "seed must be less than 2147483648", "<|channel|>final<|message|>", "insufficient_quota",
        "Please try again in 5.5S", "retry after 1.2.3s", "try again in " + "9" * 400 + "s",
    ]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [0, 1, -1, 7, 100, 404, 429, 2**31, 2**63, 10**400, 0.0, -0.5, 7.0, 1e300, math.nan, math.inf, -math.inf]
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.text(max_size=8))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)


def maybe(likely: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what the protocol says, now and then anything."""
    return st.one_of(likely, likely, likely, VALUES)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of these fields."""
    return st.fixed_dictionaries({}, optional={name: maybe(value) for name, value in fields.items()})


TEXTS = st.text(max_size=12) | WORDS
PARTS = some(type=WORDS, text=TEXTS, thinking=TEXTS | st.lists(some(text=TEXTS), max_size=3), reasoning=TEXTS)
MESSAGE = some(content=TEXTS | st.lists(PARTS, max_size=3), reasoning_content=TEXTS, reasoning=TEXTS, refusal=TEXTS)
TOKEN = some(token=TEXTS, logprob=NUMBERS)
LOGPROBS = some(content=st.lists(some(token=TEXTS, top_logprobs=st.lists(TOKEN, max_size=5)), max_size=4))
ERROR = some(message=TEXTS, code=NUMBERS | WORDS, type=WORDS, param=WORDS, status=NUMBERS) | TEXTS
CHOICE = some(message=MESSAGE, text=TEXTS, finish_reason=WORDS, logprobs=LOGPROBS, error=ERROR, delta=MESSAGE)
USAGE = some(
    prompt_tokens=NUMBERS | WORDS, completion_tokens=NUMBERS | WORDS, completion_tokens_details=some(reasoning_tokens=NUMBERS)
)  # fmt: skip
ANSWERS = maybe(some(choices=st.lists(CHOICE, max_size=2), usage=USAGE, error=ERROR))
REFUSALS = maybe(
    some(error=ERROR, detail=st.lists(some(loc=st.lists(WORDS, max_size=3), msg=WORDS, input=TEXTS), max_size=3))
)


def as_json(value: Any, encoding: str, place: int | None = None) -> bytes:
    """Its bytes. With a place, the text there gives way to brackets that are nested deeply."""
    said = json.dumps(value, ensure_ascii=encoding == "ascii")
    if place is not None and (cuts := [at for at, sign in enumerate(said) if said[at : at + 2] == ": "]):
        at = cuts[place % len(cuts)]
        is_text, start = said[at + 2] == '"', at + 2
        end = next((i for i in range(start + 1, len(said)) if said[i] == '"' and said[i - 1] != "\\"), start)
        said = said[:start] + nested(DEEP[place % len(DEEP)]) + said[end + 1 :] if is_text else said
    return said.encode(
        "utf-8" if encoding == "ascii" else encoding, "surrogatepass" if "utf" in encoding else "replace"
    )


WAYS = st.sampled_from(["ascii", "utf-8", "latin-1", "utf-8-sig"])
BODIES = st.one_of(
    st.binary(max_size=60),
    st.builds(as_json, ANSWERS, WAYS, st.none() | st.integers(0, 500)),
    st.builds(
        lambda events, ends: b"".join(b"data: " + as_json(e, "ascii") + b"\n\n" for e in events) + ends,
        st.lists(ANSWERS, max_size=4),
        st.sampled_from([b"", b"data: [DONE]\n\n", b": alive\n", b"data: {"]),
    ),
)


def read(content: bytes) -> None:
    """An answer 200, as the endpoint reads it. All that comes out of it is in order."""
    found: Any = None
    try:
        found = reading.decoded(content)
        if (told := refusals.error_in(found)) is not None:
            assert 300 <= told.status < 600
            refuse(told.status, told.text, {})
            return
        answer = checked(found)
    except (MalformedError, UnreadableError) as error:
        assert str(error)
        sane(tokens_of(found, MOST)[0])
        return
    tokens, notes = tokens_of(answer, MOST)
    sane(tokens)
    for request in REQUESTS:
        complete(request, Answer(answer, tokens, notes))
    choose(answer)


def complete(request: Request, answer: Answer) -> None:
    said = completion(request, answer)
    for text in (said.text, said.error, said.reasoning):
        assert text is None or (isinstance(text, str) and text.encode("utf-8") is not None)
    assert said.error is None or len(said.error) <= 200
    assert (said.finish_reason == "error") == (said.error is not None)
    assert said.error or not any(stop in said.text for stop in request.stop)
    sane((said.num_prompt_tokens, said.num_completion_tokens, said.num_reasoning_tokens or 0))


def choose(answer: dict[str, Any]) -> None:
    mass = choice_mass(answer, CHOICES)
    assert mass is None or 0 <= mass <= 1
    assert needs_room(QUESTION, QUESTION, answer) in (True, False)
    try:
        row = probabilities(answer, CHOICES)
    except NoChoiceError:
        return
    assert len(row) == 10 and min(row) >= 0 and math.isclose(sum(row), 1)


def sane(counts: tuple[int, ...]) -> None:
    assert all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts), counts


def refuse(status: int, text: str, headers: dict[str, str], places: slice = slice(None)) -> None:
    """A refusal: what it means, and in which other ways the requests at `places` can be said."""
    refusals.end_of_run(status, text, "there", "m", "KEY", text)
    failed = refusals.failure(status, text, text, headers)
    assert isinstance(failed, RefusedError | PassingError) and len(str(failed)) <= refusals.ERROR_CHARS
    if isinstance(failed, PassingError):
        assert failed.retry_after_s is None or 0 <= failed.retry_after_s < math.inf
    bodies = [path_and_body(request, "m")[1] for request in REQUESTS]
    bodies += [choice_body((USER,), "m", {}), extended(bodies[0], {"temperature": None, "seed": None, "stop": None})]
    for body in bodies[places]:
        learn(body, text)


def learn(body: dict[str, Any], text: str) -> None:
    dialect, own = Dialect(), []
    while lesson := dialect.lesson_of(dialect.spoken(body, own)[0], text, own):
        before = dialect.spoken(body, own)[0]
        own.append(lesson)
        said, notes = dialect.spoken(body, own)
        assert said != before and notes, lesson
        assert {"model", "messages", "prompt"} & body.keys() <= said.keys()
        assert most_tokens(said) >= 1 or not {"max_tokens", "max_completion_tokens"} & body.keys()
        assert len(own) <= sum(map(len, LADDERS.values()))


@given(BODIES)
def test_an_answer_of_any_kind_is_read_or_refused(content: bytes) -> None:
    read(content)


@given(
    st.sampled_from([301, 400, 401, 402, 403, 404, 408, 422, 429, 500, 503, 529, 599]),
    st.one_of(st.binary(max_size=60), st.builds(as_json, REFUSALS, WAYS, st.none() | st.integers(0, 500))),
    st.fixed_dictionaries(
        {}, optional={"Retry-After": WORDS | st.text(max_size=30) | st.datetimes().map("{:%a, %d %b %Y %H:%M:%S}".format)}
    ),
)  # fmt: skip
def test_a_refusal_of_any_kind_is_learnt_from_or_told(status: int, content: bytes, headers: dict[str, str]) -> None:
    refuse(status, reading.text_of(content), headers)


PLACES = (
    '{"choices": [{"message": {"content": DEEP}}]}',
    '{"choices": [{"message": {"content": null}, "finish_reason": DEEP}]}',
    '{"choices": [{"message": {"content": [{"text": DEEP}]}}]}',
    '{"choices": [{"message": {"content": "7", "refusal": DEEP}, "logprobs": {"content": [{"top_logprobs": [{"token": DEEP, '
    '"logprob": 0}]}]}}]}',
    '{"choices": [{"message": {}, "text": DEEP}]}',
    '{"error": DEEP}',
    '{"error": {"code": DEEP, "message": DEEP}}',
    '{"detail": DEEP}',
    "DEEP",
)


@pytest.mark.parametrize("place", PLACES)
def test_brackets_at_every_depth_end_no_run(place: str) -> None:
    for depth in (*range(100, 850, 50), *range(850, 1000)):
        for deep in (nested(depth), nested(depth // 2, '{"error": [', "]}")):
            text = place.replace("DEEP", deep)
            read(text.encode())
            # The depth matters here, and not the request.
            refuse(400, text, {}, slice(depth % 5, depth % 5 + 1))


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("try again in 5.5S", 5.5), ("Try Again In 1M2s", 62.0), (f"retry after {'9' * 400}s", None), ("retry in 1.2.3s", None)],
)  # fmt: skip
def test_a_pace_in_words_is_a_number_of_seconds(told: str, seconds: float | None) -> None:
    assert refusals.retry_after_s({}, told) == seconds


@pytest.mark.parametrize("text", [["x = 1"], {"a": 1}, 7, None])
def test_a_text_of_another_type_beside_a_message_is_the_message(text: Any) -> None:
    answer = checked({"choices": [{"text": text, "message": {"content": "x = 1"}, "finish_reason": "stop"}]})
    assert completion(REQUESTS[2], Answer(answer, (1, 1))).text == "x = 1"
