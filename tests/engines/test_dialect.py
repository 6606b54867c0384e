"""What a refusal teaches, what it does not, and what it says to people.

The server is real and on loopback, and refuses as providers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import pytest
from aiohttp import web

from builders.engines import ChoiceRequest, Completion, OpenAISettings, Request, endpoint, open_engine
from builders.engines.dialect import Dialect
from tests.fault_server import FaultServer, ok, servers

SECRET = "sk-secret-1234567890"
USER = ({"role": "user", "content": "hello"},)


@pytest.fixture
def serve() -> Iterator[Callable[..., FaultServer]]:
    with servers() as start:
        yield start


@pytest.fixture(autouse=True)
def quick_and_keyed(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def asked(server: FaultServer, count: int = 1, **changes) -> list[Completion]:
    """The answers to so many rows, n0 first, which were asked one after the other."""
    given = OpenAISettings(base_url=server.url, max_retries=1, timeout_s=5, max_in_flight=1, max_error_share=1)
    requests = [
        Request(f"r{n}", messages=({"role": "user", "content": f"n{n}"},), **{"seed": 7, **changes})
        for n in range(count)
    ]
    with open_engine(given, "m") as engine:
        found = {one.request_id: one for one in engine.generate(requests)}
    return [found[request.request_id] for request in requests]


def chosen(server: FaultServer, count: int = 1) -> list:
    with open_engine(OpenAISettings(base_url=server.url, max_retries=1, max_in_flight=1), "m") as engine:
        return list(engine.choose([ChoiceRequest(f"c{n}", (USER,)) for n in range(count)]))


def bad(http: int, message: str, **more) -> web.Response:
    return web.json_response({"error": {"message": message, **more}}, status=http)


# -- a limit of max_tokens -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens is too large: 2048. This model supports at most 1000 completion tokens",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 1000]",
        "max_tokens must be less than or equal to `1000`, the maximum value for `max_tokens` is 1000; lower it instead",
    ],
)
def test_a_cap_of_max_tokens_is_refused_at_once_and_no_new_name(serve, said):
    server = serve(lambda body, _: bad(400, said, param="max_tokens") if "max_tokens" in body else ok())
    (found,) = asked(server, max_tokens=2048)
    assert found.finish_reason == "error" and len(server.seen) == 1
    assert found.error.startswith("400: lower max_tokens: ") and said[:40] in found.error


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported parameter: 'max_tokens'",
        "max_tokens is not supported with this model, at most 1000 tokens; use 'max_completion_tokens' instead",
        "max_tokens: Extra inputs are not permitted",
    ],
)
def test_an_unknown_max_tokens_has_the_other_name(serve, said):
    server = serve(lambda body, _: bad(400, said) if "max_tokens" in body else ok())
    (found,) = asked(server)
    assert found.finish_reason == "stop" and server.seen[-1][1]["max_completion_tokens"] == 512


# -- 403 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_inside", [False, True])
def test_a_text_that_is_flagged_is_one_row_and_not_the_key(serve, is_inside):
    said = "Your chosen model requires moderation and your input was flagged"

    def answer(body, _):
        if body["messages"][0]["content"] != "n0":
            return ok()
        told = web.json_response({"error": {"message": said, "code": 403}})
        return told if is_inside else bad(403, said, code=403)

    found = asked(serve(answer), 4)
    assert [one.finish_reason for one in found] == ["error", "stop", "stop", "stop"]
    assert said in found[0].error


def test_a_403_after_a_good_answer_is_that_row(serve):
    server = serve(lambda body, _: ok() if body["messages"][0]["content"] != "n2" else bad(403, "not this one"))
    assert [one.finish_reason for one in asked(server, 4)] == ["stop", "stop", "error", "stop"]


def test_a_401_after_a_good_answer_ends_the_run(serve):
    server = serve(lambda body, _: ok() if body["messages"][0]["content"] != "n2" else bad(401, "revoked"))
    with pytest.raises(PermissionError, match="revoked"):
        asked(server, 4)


@pytest.mark.parametrize(
    ("code", "more"), [(401, {}), (402, {}), (403, {}), (404, {}), (429, {"code": "insufficient_quota"})]
)
def test_what_ends_a_run_is_said_in_the_words_of_the_endpoint(serve, code, more):
    server = serve(lambda body, _: bad(code, f"country XY is not served, {SECRET}", **more))
    with pytest.raises((PermissionError, ValueError), match=r"country XY is not served, \[key\]") as raised:
        asked(server)
    assert SECRET not in str(raised.value)


def test_logprobs_that_are_refused_by_a_403_are_left_out(serve):
    said = "You are not allowed to request logprobs from this model"
    server = serve(lambda body, _: bad(403, said) if "logprobs" in body else ok("7"))
    found = chosen(server, 3)
    assert [one.probabilities[0][7] for one in found] == [1.0] * 3 and len(server.seen) == 4


# -- what a refusal teaches ------------------------------------------------------------------------

SERDE = (
    "unknown field `response_format`, expected one of `model`, `messages`, `max_tokens`, `temperature`, `seed`, `stop`"
)


@pytest.mark.parametrize(
    "said",
    [
        SERDE,
        "response_format is not allowed. Supported parameters are: model, temperature, seed, stop.",
        "Valid fields are temperature, seed and stop. Not permitted: response_format",
    ],
)
def test_a_list_of_what_an_endpoint_knows_teaches_nothing(serve, said):
    server = serve(lambda body, _: bad(400, said) if "response_format" in body else ok("{}"))
    found = asked(server, 3, temperature=0.5, stop=("#",), json_schema='{"type": "object"}')
    assert {one.finish_reason for one in found} == {"stop"}
    assert all({"seed", "temperature", "stop", "max_tokens"} <= set(body) for _, body, _ in server.seen)
    assert len(found[-1].notes) == 1 and "no response_format" in found[-1].notes[0]


@pytest.mark.parametrize("said", ["Unsupported parameter: seed", "not a valid parameter: seed", "invalid field: seed"])
def test_a_culprit_after_a_word_that_looks_like_a_list_is_learnt(serve, said):
    server = serve(lambda body, _: bad(400, said) if "seed" in body else ok())
    assert asked(server)[0].finish_reason == "stop"


@pytest.mark.parametrize("needed", [{"temperature"}, {"seed", "temperature", "stop"}])
def test_only_the_lessons_that_were_needed_are_kept(serve, capfd, needed):
    """It names three fields and means some of them. What the last rows leave out is just these."""
    said = "only defaults are allowed for seed, stop and temperature, request "

    def answer(body, attempt):
        return bad(400, f"{said} req_{len(server.seen)}a") if needed & set(body) else ok()

    server = serve(answer)
    found = asked(server, 6, temperature=0.5, stop=("#",))
    assert {one.finish_reason for one in found} == {"stop"}
    assert {"seed", "temperature", "stop"} - set(server.seen[-1][1]) == needed
    assert len(found[-1].notes) == len(needed) == len(capfd.readouterr().err.splitlines())
    assert len(server.seen) <= 6 + 6


@pytest.mark.parametrize(
    "said",
    [
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease `max_tokens` instead",
        "prompt is too long: 208310 tokens > 200000 maximum, max_tokens",
        "the request exceeds the available context size, try increasing it",
        "The input token count (1234) exceeds the maximum number of tokens allowed (1000), max_tokens.",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2000 `inputs` tokens",
        "`inputs` must have less than 1024 tokens. Given: 2000",
    ],
)
def test_prompts_that_are_too_long(serve, said):
    server = serve(lambda body, _: bad(400, said))
    (found,) = asked(server)
    assert found.finish_reason == "prompt_too_long" and len(server.seen) == 1
    assert Dialect().lesson_of(server.seen[0][1], said) is None


def test_what_a_refusal_repeats_is_no_long_prompt(serve):
    detail = [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": "a context window"}]
    server = serve(lambda b, _: web.json_response({"detail": detail}, status=422) if "seed" in b else ok())
    assert asked(server)[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "said",
    [
        "Invalid 'max_tokens': integer below minimum value. Expected a value >= {}, but got 1 instead.",
        "max_tokens must be at least {}",
    ],
)
@pytest.mark.parametrize("least", [16, 64])
def test_a_least_number_of_tokens_can_label(serve, said, least):
    def answer(body, _):
        return bad(400, said.format(least)) if body.get("max_tokens", 0) < least else ok("7")

    server = serve(answer)
    found = chosen(server, 3)
    assert [one.probabilities[0][7] for one in found] == [1.0] * 3
    assert server.seen[-1][1]["max_tokens"] == (16 if least == 16 else 1024) and len(server.seen) <= 6
    assert not any("max_completion_tokens" in body for _, body, _ in server.seen)
    assert ("thinks" in " ".join(found[-1].notes)) is False


# -- names and forms of answers, and what a recipe adds --------------------------------------------


def test_a_filter_that_names_its_reason_is_a_filter(serve):
    said = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter: PROHIBITED_CONTENT"}]}
    (found,) = asked(serve(lambda body, _: web.json_response(said)))
    assert "filtered the answer" in found.error


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_details": [{"type": "reasoning.text", "text": "Let me "}, {"text": "think"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Let me think"}, {"data": "x"}]},
        {"reasoning": {"content": "Let me think"}},
        {"reasoning": {"summary": [{"text": "Let me think"}]}},
        {"reasoning_content": [{"type": "text", "text": "Let me think"}]},
    ],
)
def test_thoughts_in_other_forms_are_kept(serve, message):
    said = {"choices": [{"message": {"content": "x = 1", **message}, "finish_reason": "stop"}]}
    (found,) = asked(serve(lambda body, _: web.json_response(said)))
    assert (found.text, found.reasoning) == ("x = 1", "Let me think")


@pytest.mark.parametrize(
    "extra",
    [
        {"when": date(2024, 1, 1)},
        {"x": float("nan")},
        {"x": [{"y": {1, 2}}]},
        {"x": {1: "a", "b": 2}},
        {"max_output_tokens": 99999},
        {"options": {"num_predict": 99999}},
        {"generation_config": {"maxOutputTokens": 9}},
    ],
)
def test_what_is_no_json_or_bounds_tokens_is_no_further_field(extra):
    with pytest.raises(ValueError, match=f"extra_body.{next(iter(extra))}"):
        OpenAISettings(extra_body=extra)


def test_other_further_fields_are_taken():
    OpenAISettings(extra_body={"reasoning": {"effort": "low"}, "top_k": 3, "min_tokens": 2}).identity()
