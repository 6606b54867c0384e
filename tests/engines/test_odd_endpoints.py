"""Endpoints as public reports describe them: each goes through, or says why it does not.

The server is real and on loopback. Each answers as a provider does that calls itself compatible.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pyarrow as pa
import pytest
from aiohttp import web

from builders.engines import (
    ChoiceRequest,
    Completion,
    OpenAISettings,
    Request,
    answers,
    dialect,
    endpoint,
    gate,
    losses,
    open_engine,
)
from builders.engines.budget import BudgetError
from builders.engines.protocol import ESTIMATED
from store import Usage
from tests.fault_server import FaultServer, ok, servers, status

SECRET = "sk-secret-1234567890"
USER = ({"role": "user", "content": "hello"},)
SAMPLED = {"temperature": 0.7, "top_p": 0.9, "stop": ("\n#",)}
LARGE_SEED = 2**40 + 5


@pytest.fixture
def serve() -> Iterator[Callable[..., FaultServer]]:
    with servers() as start:
        yield start


@pytest.fixture(autouse=True)
def quick_and_keyed(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def settings(server: FaultServer, **changes) -> OpenAISettings:
    return OpenAISettings(**{"base_url": server.url, "max_retries": 3, "timeout_s": 5, **changes})


def chats(count: int, **changes) -> list[Request]:
    return [
        Request(f"r{i}", messages=({"role": "user", "content": f"n{i}"},), seed=LARGE_SEED + i, **changes)
        for i in range(count)
    ]


def asked(server: FaultServer, requests: list[Request], **changes) -> list[Completion]:
    """The answers in the order of the requests."""
    with open_engine(settings(server, **changes), "m") as engine:
        found = {one.request_id: one for one in engine.generate(requests)}
    return [found[request.request_id] for request in requests]


def body_of(content, finish: str = "stop", usage=None, **message) -> dict:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return {"choices": [choice]} | ({} if usage is None else {"usage": usage})


def bad(http: int, message: str, **more) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error", **more}}, status=http)


# -- parameters ------------------------------------------------------------------------------------


def gpt5(body, _):
    if "max_tokens" in body:
        return bad(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", param="max_tokens")
    for name in ("temperature", "top_p", "stop"):
        if name in body:
            return bad(400, f"Unsupported parameter: '{name}' is not supported with this model.", param=name)
    return ok()


def claude(body, _):
    if "temperature" in body and "top_p" in body:
        return bad(400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    return ok()


def mistral(body, _):
    """It repeats the whole body, and with it every name that it did not mean."""
    if "seed" in body:
        detail = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}
        return web.json_response({"detail": [detail | {"input": body}]}, status=422)
    return ok()


def mistral_by_place(body, _):
    """As its service says it (mistralai/client-python, in several reports)."""
    if "seed" not in body:
        return ok()
    detail = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
    return web.json_response({"object": "error", "message": detail, "type": "invalid_request_error"}, status=422)


def mistral_by_text(body, _):
    if "seed" not in body:
        return ok()
    detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
    return web.json_response({"object": "error", "message": json.dumps({"detail": detail})}, status=422)


def gemini(body, _):
    if body.get("seed", 0) >= 2**31:
        return bad(400, f"Invalid value at 'seed' (TYPE_INT32), {body['seed']}")
    return ok()


def no_schema(body, _):
    kind = body.get("response_format", {}).get("type")
    return bad(400, "This response_format type is unavailable now", param=None) if kind == "json_schema" else ok("{}")


def no_json_word(body, _):
    kind = body.get("response_format", {}).get("type")
    said = {
        "json_schema": "response_format.type `json_schema` is unavailable now",
        "json_object": "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'",
    }
    return bad(400, said[kind]) if kind else ok("{}")


@pytest.mark.parametrize(
    ("answer", "leaves", "gone"),
    [
        (gpt5, {"max_completion_tokens": 512}, {"max_tokens", "temperature", "top_p", "stop"}),
        (claude, {"temperature": 0.7}, {"top_p"}),
        (mistral, {"temperature": 0.7, "top_p": 0.9, "max_tokens": 512}, {"seed"}),
        (mistral_by_place, {"temperature": 0.7, "top_p": 0.9, "max_tokens": 512}, {"seed"}),
        (mistral_by_text, {"temperature": 0.7, "top_p": 0.9, "max_tokens": 512}, {"seed"}),
        (gemini, {"seed": 5, "temperature": 0.7}, set()),
        (no_schema, {"response_format": {"type": "json_object"}}, set()),
        (no_json_word, {"seed": LARGE_SEED}, {"response_format"}),
    ],
)
def test_a_refused_parameter_is_learnt_once_and_said_and_recorded(serve, capfd, answer, leaves, gone):
    server = serve(answer, lambda body: 0.01)
    schema = {"json_schema": '{"type": "object"}'} if answer in (no_schema, no_json_word) else {}
    found = asked(server, chats(40, **SAMPLED, **schema), max_in_flight=8)
    assert {one.finish_reason for one in found} == {"stop"}
    said = server.seen[-1][1]
    first = next(body for _, body, _ in reversed(server.seen) if body["messages"][0]["content"] == "n0")
    assert {name: first[name] for name in leaves} == leaves and not gone & set(said)
    num_lessons = len(capfd.readouterr().err.splitlines())
    assert num_lessons == len(set(found[-1].notes)) >= 1
    assert len(server.seen) <= 40 + 4 * (num_lessons + 1), "only what was under way then is asked again"


def test_notes_tell_what_was_left_out(serve):
    (found,) = asked(serve(mistral), chats(1))
    assert found.notes == ("the endpoint takes no seed: it is left out, so answers cannot be repeated",)
    (kept,) = asked(serve(lambda body, _: ok()), chats(1))
    assert kept.notes == ()


@pytest.mark.parametrize("code", [400, 422])
@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_what_cannot_be_left_out_is_a_plain_refusal(serve, name, code):
    server = serve(lambda body, _: bad(code, f"Unsupported parameter: '{name}'", param=name))
    (found,) = asked(server, chats(1))
    assert found.finish_reason == "error" and f"'{name}'" in found.error
    assert len(server.seen) <= 2


def test_a_word_in_the_refusal_of_a_text_teaches_nothing_for_good(serve):
    """One row is refused for its text, which names a parameter. The others keep theirs."""

    def answer(body, _):
        is_bad = body["messages"][0]["content"] == "n0"
        return bad(400, "the prompt is not allowed: it speaks of temperature") if is_bad else ok()

    server = serve(answer)
    found = asked(server, chats(8, temperature=0.5), max_in_flight=1)
    assert [one.finish_reason for one in found] == ["error", *["stop"] * 7]
    others = [body for _, body, _ in server.seen if body["messages"][0]["content"] != "n0"]
    assert [body["temperature"] for body in others] == [0.5] * 7 and found[-1].notes == ()


def test_a_filter_of_texts_teaches_nothing(serve):
    said = (
        "The response was filtered due to the prompt triggering the content management policy. It is not allowed: stop."
    )
    server = serve(lambda body, _: bad(400, said, code="content_filter", param="prompt"))
    (found,) = asked(server, chats(1, **SAMPLED))
    assert found.finish_reason == "error" and len(server.seen) == 1


def test_a_prompt_that_is_too_long_teaches_nothing(serve):
    said = (
        "This model's maximum context length is 2048 tokens. However, your request has 8 input tokens plus 2045 "
        "'max_tokens' or 'max_completion_tokens'. Please reduce one or the other."
    )
    server = serve(lambda body, _: bad(400, said, param="input_tokens, max_tokens"))
    (found,) = asked(server, chats(1))
    assert found.finish_reason == "prompt_too_long" and len(server.seen) == 1
    assert dialect.Dialect().lesson_of(server.seen[0][1], said) is None, "nor a batch"


def test_null_leaves_a_field_out_and_a_top_p_of_one_is_never_sent(serve):
    server = serve(lambda body, _: ok())
    requests = [Request("r", messages=USER, temperature=None, top_p=None), Request("s", messages=USER, top_p=1.0)]
    asked(server, requests)
    assert not any("top_p" in body for _, body, _ in server.seen)
    assert sorted("temperature" in body for _, body, _ in server.seen) == [False, True]
    asked(server, [Request("t", messages=USER)], extra_body={"temperature": None, "seed": None, "x": 1})
    assert set(server.seen[-1][1]) == {"model", "messages", "max_tokens", "x"}


def test_a_model_that_thinks_can_label(serve):
    """GPT-5 refuses one token for a choice, has no logprobs, and thinks before it answers."""

    def answer(body, _):
        if "max_tokens" in body:
            return bad(400, "'max_tokens' is not supported, use 'max_completion_tokens'", param="max_tokens")
        for name in ("temperature", "logprobs", "top_logprobs"):
            if name in body:
                return bad(400, f"Unsupported value: '{name}'", param=name)
        if body["max_completion_tokens"] < 100:
            return bad(400, "Could not finish the message because max_tokens or model output limit was reached.")
        return ok("7", completion_tokens=90)

    server = serve(answer)
    with open_engine(settings(server, max_in_flight=4), "m") as engine:
        found = list(engine.choose([ChoiceRequest(f"c{n}", (USER,)) for n in range(20)]))
    assert {one.probabilities[0][7] for one in found} == {1.0}
    assert any("thinks" in note for note in found[-1].notes)
    assert len(server.seen) <= 20 + 4 * 6


def test_a_choice_that_thinking_cut_is_asked_with_more_room(serve):
    def answer(body, _):
        return ok("", "length") if body["max_tokens"] < 100 else ok("4")

    server = serve(answer)
    with open_engine(settings(server, max_in_flight=2), "m") as engine:
        found = list(engine.choose([ChoiceRequest(f"c{n}", (USER,)) for n in range(6)]))
    assert {one.probabilities[0][4] for one in found} == {1.0} and len(server.seen) <= 6 + 4


def test_an_endpoint_that_tells_five_logprobs_is_asked_for_five(serve):
    def answer(body, _):
        if body["top_logprobs"] > 5:
            return bad(400, "top_logprobs: Input should be less than or equal to 5", param="top_logprobs")
        top = [{"token": "3", "logprob": -0.1}]
        return web.json_response(
            {"choices": [{"message": {"content": "3"}, "logprobs": {"content": [{"top_logprobs": top}]}}]}
        )

    with open_engine(settings(serve(answer)), "m") as engine:
        (found,) = engine.choose([ChoiceRequest("c", (USER,))])
    assert found.probabilities[0][3] == 1.0 and found.masses[0] == pytest.approx(0.905, abs=0.01)


# -- errors inside of answers ----------------------------------------------------------------------


def error_200(code, message="Provider returned error", **more):
    return web.json_response({"error": {"message": message, "code": code, **more}, "user_id": "u"})


@pytest.mark.parametrize("code", [429, "429", "rate_limit_exceeded", 502, "RESOURCE_EXHAUSTED", None])
def test_an_error_in_an_answer_200_passes_and_costs_nothing(serve, code):
    server = serve(lambda body, attempt: error_200(code) if attempt == 0 else ok())
    with open_engine(settings(server, budget_tokens=10**6), "m") as engine:
        (found,) = engine.generate(chats(1))
        spent = engine._endpoint.gate.budget.spent.tokens
        places = engine._endpoint.gate.places
    assert (found.text, found.num_prompt_tokens) == ("hi", 7) and spent == 9
    is_pace = code not in (502, None)
    assert (places < 64) == is_pace, "a 429 in the body slows as a 429 does"


def test_a_lasting_error_in_an_answer_200_is_quoted(serve):
    server = serve(lambda body, _: error_200(502, "Upstream error: model overloaded"))
    (found,) = asked(server, chats(1), max_retries=1)
    assert found.error.startswith("gave up after 2 attempts: 502:") and "Upstream error" in found.error
    assert (found.num_prompt_tokens, found.num_completion_tokens) == (0, 0)


@pytest.mark.parametrize(("code", "kind"), [(401, PermissionError), (404, ValueError), (402, PermissionError)])
def test_an_error_in_an_answer_200_can_end_the_run(serve, code, kind):
    with pytest.raises(kind, match=str(code) if code != 402 else "credit"):
        asked(serve(lambda body, _: error_200(code)), chats(1))


def test_a_refusal_in_an_answer_200_is_refused_once(serve):
    server = serve(lambda body, _: error_200(400, "the prompt is not welcome"))
    (found,) = asked(server, chats(1))
    assert found.finish_reason == "error" and len(server.seen) == 1


def test_an_answer_that_broke_off_is_asked_again_and_a_null_error_is_none(serve):
    def answer(body, attempt):
        broken = body_of("half an ans", "error", {"prompt_tokens": 5, "completion_tokens": 3})
        broken["choices"][0]["error"] = {"code": 502, "message": "upstream died"}
        return web.json_response(broken if attempt == 0 else body_of("whole") | {"error": None})

    assert [one.text for one in asked(serve(answer), chats(1))] == ["whole"]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("model_length", "length"), ("MAX_TOKENS", "length"), ("sensitive", "error"), ("SAFETY", "error"),
     ("end_turn", "stop"), (None, "stop"), (["stop"], "stop")],
)  # fmt: skip
def test_reasons_to_end_by_other_names(serve, finish, reason):
    (found,) = asked(serve(lambda body, _: web.json_response(body_of("x = 1", finish))), chats(1))
    assert found.finish_reason == reason


@pytest.mark.parametrize("text", ["Please try again in 0.4s. Visit", "Please retry after 400 ms."])
def test_a_pace_that_stands_in_the_text_is_kept(serve, text):
    server = serve(lambda body, attempt: bad(429, text) if attempt == 0 else ok())
    asked(server, chats(1))
    assert server.seen[1][0] - server.seen[0][0] > 0.35


# -- forms -----------------------------------------------------------------------------------------


def test_thinking_is_kept_beside_the_text(serve):
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Let me think"}]},
        {"type": "text", "text": "x = 1"},
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 40}}
    said = {
        "n0": body_of(parts),
        "n1": body_of("x = 1", usage=usage, reasoning_content="Let me think"),
        "n2": body_of("x = 1", reasoning="Let me think"),
        "n3": body_of(None, "length", usage, reasoning_content="Let me think"),
        "n4": body_of(None, "stop", usage, reasoning="Let me think"),
    }
    found = asked(serve(lambda body, _: web.json_response(said[body["messages"][0]["content"]])), chats(5))
    assert [one.text for one in found] == ["x = 1"] * 3 + ["", ""]
    assert {one.reasoning for one in found} == {"Let me think"}
    assert [one.finish_reason for one in found] == ["stop"] * 3 + ["length", "error"]
    assert [one.num_reasoning_tokens for one in found] == [None, 40, None, 40, 40]
    assert "only what the model thought" in found[4].error


def stream(*events, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([": keep-alive\n\n", *lines, "data: [DONE]\n\n" if done else ""]).encode()


HALF = {"choices": [{"delta": {"content": "x = "}, "finish_reason": None}]}
REST = {"choices": [{"delta": {"content": "1"}, "finish_reason": "stop"}]}
COUNTED = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}


def test_a_stream_that_nobody_asked_for_is_joined(serve):
    content = stream(HALF, REST, COUNTED)
    (found,) = asked(serve(lambda body, _: web.Response(body=content, content_type="text/event-stream")), chats(1))
    assert (found.text, found.finish_reason, found.num_prompt_tokens) == ("x = 1", "stop", 4)


@pytest.mark.parametrize(
    ("content", "quoted"),
    [
        (b"", "the answer is empty"),
        (b"  \n\n ", "the answer is empty"),
        (b"<html><title>Sign in</title></html>", "not JSON: '<html><title>Sign in"),
        (stream(HALF, done=False), "a stream of events that was cut"),
        (b'{"choices": [{"mess', 'not JSON: \'{"choices"'),
    ],
)
def test_what_is_no_answer_is_asked_again_and_quoted(serve, content, quoted):
    server = serve(lambda body, _: web.Response(body=content, content_type="application/json"))
    (found,) = asked(server, chats(1), max_retries=1)
    assert quoted in found.error and len(server.seen) == 2
    server = serve(lambda body, attempt: web.Response(body=content) if attempt == 0 else ok())
    assert [one.text for one in asked(server, chats(1))] == ["hi"]


DEEP = b'{"choices": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
LONG = b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": ' + b"9" * 5000 + b"}}"


@pytest.mark.parametrize(
    ("content", "quoted"),
    [
        (DEEP, "nested too deeply"),
        (b'{"output": [{"text": "hi"}], "usage": {"input_tokens": 3, "output_tokens": 4}}', "has no choices"),
        (b'{"generated_text": "hi"}', 'has no choices: \'{"generated_text"'),
    ],
)
def test_a_form_that_nobody_reads_is_paid_once_and_never_asked_again(serve, content, quoted):
    server = serve(lambda body, _: web.Response(body=content, content_type="application/json"))
    (found,) = asked(server, chats(1))
    assert found.finish_reason == "error" and quoted in found.error and len(server.seen) == 1
    assert found.num_completion_tokens > 0, "so that the journal keeps it"
    if b"input_tokens" in content:
        assert (found.num_prompt_tokens, found.num_completion_tokens, found.notes) == (3, 4, ())


@pytest.mark.parametrize(
    "content",
    [
        LONG,
        b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]' + LONG[LONG.index(b', "usage"') :],
    ],
)
def test_a_count_of_5000_digits_is_one_that_is_not_told(serve, content):
    server = serve(lambda body, _: web.Response(body=content, content_type="application/json"))
    (found,) = asked(server, chats(1))
    assert (found.text, found.finish_reason, found.notes) == ("x", "stop", (ESTIMATED,))
    assert (found.num_prompt_tokens, found.num_completion_tokens) == (82, 512) and len(server.seen) == 1


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 100.0, "completion_tokens": 50.0}, (100, 50)),
        ({"prompt_tokens": "100", "completion_tokens": "50"}, (100, 50)),
        ({"input_tokens": 100, "output_tokens": 50}, (100, 50)),
        ({"prompt_tokens": int("9" * 400), "completion_tokens": 50}, (None, 50)),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, (None, 512)),
        ({"completion_tokens": 25}, (None, 25)),
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 2150}, (100, 2050)),
        ({"prompt_tokens": 100, "total_tokens": "2150"}, (100, 2050)),
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}, (100, 50)),
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 0}, (100, 50)),
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": float("inf")}, (100, 50)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (None, 512)),
        ({"prompt_tokens": True, "completion_tokens": -1}, (None, 512)),
        ("none", (None, 512)),
    ],
)
def test_counts_of_tokens(serve, usage, tokens):
    (found,) = asked(serve(lambda body, _: web.json_response(body_of("hi", usage=usage))), chats(1))
    most = 2 + 16 + 64
    assert (found.num_prompt_tokens, found.num_completion_tokens) == (tokens[0] or most, tokens[1])
    assert (found.notes == (ESTIMATED,)) == (tokens[0] is None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (json.dumps(body_of("caf\u00e9"), ensure_ascii=False).encode("latin-1"), "caf\u00e9"),
        (b"\xef\xbb\xbf\n\n\n    \n" + json.dumps(body_of("caf\u00e9"), ensure_ascii=False).encode(), "caf\u00e9"),
        (json.dumps(body_of("twi\udce9ce \ud83d")).encode(), "twi\ufffdce \ufffd"),
        ("\u00fc".encode().join([b'{"choices":[{"message":{"content":"', b'\xff"}}]}']), "\u00fc\ufffd"),
    ],
)
def test_characters(serve, content, text):
    (found,) = asked(serve(lambda body, _: web.Response(body=content, content_type="application/json")), chats(1))
    assert (found.text, found.finish_reason) == (text, "stop")


def test_a_logprob_of_400_digits_and_nan_are_no_probabilities(serve):
    top = [{"token": "3", "logprob": int("-" + "9" * 400)}, {"token": "4", "logprob": float("nan")}]
    said = {"choices": [{"message": {"content": "3"}, "logprobs": {"content": [{"top_logprobs": top}]}}]}
    with open_engine(settings(serve(lambda body, _: web.json_response(said))), "m") as engine:
        (found,) = engine.choose([ChoiceRequest("c", (USER,))])
    assert found.probabilities[0][3] == 1.0


# -- keys and connections --------------------------------------------------------------------------


def test_an_echoed_key_reaches_no_answer(serve):
    (found,) = asked(serve(lambda body, _: web.json_response(body_of(f"key {SECRET}", reasoning=SECRET))), chats(1))
    assert (found.text, found.reasoning) == ("key [key]", "[key]")
    (error,) = asked(serve(lambda body, _: error_200(502, f"bad {SECRET}")), chats(1), max_retries=0)
    assert "bad [key]" in error.error


JSON_KEY = "sk+abcd/efgh+SECRET0123=="


@pytest.mark.parametrize("http", [200, 400, 401, 500])
@pytest.mark.parametrize("before", ["", "." * 95, "." * 180])
def test_a_key_is_hidden_in_any_form_and_before_a_text_is_cut(serve, monkeypatch, capfd, http, before):
    """JSON may write a sign as an escape, and a message shows the beginning of what came."""
    monkeypatch.setenv("OPENAI_API_KEY", JSON_KEY)
    written = JSON_KEY.replace("+", r"\u002B").replace("/", r"\u002f").replace("=", r"\u003d")
    said = json.dumps({"message": f"{before} KEY is wrong"}).replace("KEY", written)
    server = serve(lambda body, _: web.Response(status=http, text=said, content_type="application/json"))
    try:
        shown = str(asked(server, chats(1), max_retries=0))
    except PermissionError as error:
        shown = str(error)
    shown += "".join(capfd.readouterr())
    assert "[key]" in shown or before
    assert not [part for part in ("sk+abcd", r"sk\u002", "efgh", "SECRET") if part in shown]


def test_a_refusal_that_ends_in_a_key_is_cut_behind_it(serve):
    said = body_of(None, refusal="." * 180 + SECRET)
    (found,) = asked(serve(lambda body, _: web.json_response(said)), chats(1))
    assert SECRET[:8] not in found.error


def test_a_placeholder_for_a_key_changes_neither_texts_nor_learning(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "seed")
    (found,) = asked(serve(mistral), chats(1))
    assert found.finish_reason == "stop" and found.notes


def test_headers_and_queries_of_azure(serve, monkeypatch):
    monkeypatch.setenv("AZURE_KEY", "azure-1234567890")
    server = serve(lambda body, _: ok("azure-1234567890"))
    changes = {"base_url": server.url + "?api-version=2024-10-21", "headers": {"api-key": "${AZURE_KEY}", "X-T": "a"}}
    (found,) = asked(server, chats(1), **changes)
    headers = server.seen[0][2]
    assert (headers["api-key"], headers["X-T"]) == ("azure-1234567890", "a")
    assert "Authorization" not in headers, "the key of another provider stays here"
    assert found.text == "[key]" and server.queries == ["api-version=2024-10-21"]


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"api-key": "abc"}},
        {"headers": {"Authorization": "Bearer abc"}},
        {"headers": {"X": "a\nb"}},
        {"extra_body": {"max_tokens": 1}},
        {"extra_body": {"temperature": 1}},
        {"extra_body": {"api_key": "abc"}},
        {"base_url": "https://h/v1?api_key=1"},
        {"base_url": "https://h/v1?sig=1"},
    ],
)
def test_settings_that_hold_keys_or_what_the_call_says_are_refused(changes):
    with pytest.raises(ValueError):
        OpenAISettings(**changes)


def test_what_changes_answers_is_in_the_plan():
    plain = OpenAISettings().identity()
    assert OpenAISettings(headers={"X-Title": "a"}, allow_http=True).identity() == plain == ["openai"]
    assert OpenAISettings(extra_body={"reasoning_effort": "low"}).identity() != plain


@pytest.mark.parametrize(("variable", "is_taken"), [("MY_KEY", True), ("HF_TOKEN", True), ("HOME_SECRET", False)])
def test_a_recipe_sends_no_variable_that_is_no_key(serve, monkeypatch, variable, is_taken):
    monkeypatch.setenv(variable, "value-1234567890")
    server = serve(lambda body, _: ok())
    if not is_taken:
        with pytest.raises(ValueError, match="HOME_SECRET is no name of a key"):
            asked(server, chats(1), api_key_env=variable)
        with pytest.raises(ValueError, match="HOME_SECRET is no name of a key"):
            asked(server, chats(1), headers={"X-A": "${HOME_SECRET}"})
        monkeypatch.setenv("SCODER_KEY_VARIABLES", f"OTHER, {variable}")
    asked(server, chats(1), api_key_env=variable)
    assert server.seen[-1][2]["Authorization"] == "Bearer value-1234567890"


def test_a_key_goes_over_http_to_this_machine_alone(serve, monkeypatch):
    away = OpenAISettings(base_url="http://models.example/v1", max_retries=0)
    with pytest.raises(ValueError, match=r"sent to models\.example without encryption"):
        open_engine(away, "m")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    open_engine(away, "m").close()


def test_the_proxy_of_the_environment_is_used_except_for_this_machine(serve, monkeypatch):
    server = serve(lambda body, _: ok("by proxy"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.url.removesuffix("/v1"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    away = {"base_url": "http://models.example/v1", "allow_http": True}
    (found,) = asked(server, chats(1), **away)
    assert found.text == "by proxy" and server.seen[0][2]["Host"] == "models.example"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert [one.text for one in asked(server, chats(1))] == ["by proxy"]


# -- budgets and the start -------------------------------------------------------------------------


INVALID = {"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}


def test_a_key_that_is_refused_with_400_ends_it_too(serve):
    server = serve(lambda body, _: web.json_response(INVALID, status=400))
    with pytest.raises(PermissionError, match="OPENAI_API_KEY"):
        asked(server, chats(30), max_in_flight=16)
    assert len(server.seen) <= 4


def test_a_refusal_of_a_stop_token_is_not_one_of_the_key(serve):
    server = serve(lambda body, _: bad(400, "The stop token is invalid.") if "stop" in body else ok())
    (found,) = asked(server, chats(1, stop=("\n#",)))
    assert found.finish_reason == "stop"


def test_a_key_that_is_revoked_on_the_way_ends_it_and_a_filter_of_texts_does_not(serve):
    def revoked(body, _):
        return ok() if body["messages"][0]["content"] < "n4" else bad(403, "The API key has been revoked.")

    with pytest.raises(PermissionError, match="revoked"):
        asked(serve(revoked), chats(9), max_in_flight=1)

    def filtered(body, _):
        return ok() if body["messages"][0]["content"] != "n4" else bad(403, "Country, region not supported.")

    assert [one.finish_reason for one in asked(serve(filtered), chats(9), max_in_flight=1)].count("error") == 1


def test_a_gateway_without_a_provider_for_all_parameters_is_told(serve):
    said = bad(404, "No endpoints found that can handle the requested parameters.")
    with pytest.raises(ValueError, match="leave some out"):
        asked(serve(lambda body, _: said), chats(1))


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key_ends_it_after_the_first_answers(serve, code):
    server = serve(lambda body, _: status(code), lambda body: 0.1)
    with pytest.raises(PermissionError):
        asked(server, chats(200), max_in_flight=64)
    assert len(server.seen) <= 4


def test_a_slow_model_is_not_asked_by_few_calls_alone(serve, monkeypatch):
    monkeypatch.setattr("builders.engines.gate.OPENS_AFTER_S", 0.2)
    server = serve(lambda body, _: ok(), lambda body: 1.0)
    asked(server, chats(16), max_in_flight=16)
    assert server.most_under_way == 16


def test_each_lesson_is_of_one_field_and_says_something_of_its_own():
    told = [lesson.told for ladder in dialect.LADDERS.values() for lesson in ladder]
    assert len(set(told)) == len(told)


def kept(folder: Path, server: FaultServer, number: int, **changes) -> list[Completion]:
    """The answers to so many requests, with a journal in the folder."""
    changed = settings(server, **changes)
    requests = [
        Request(f"r{n}", messages=({"role": "user", "content": f"n{n}"},), max_tokens=40) for n in range(number)
    ]
    before = answers.spent_in(folder, changed)
    with (
        open_engine(changed, "m", spent=before) as engine,
        answers.open_answers(folder, [0], changed, engine.generate, lambda shard: requests) as given,
    ):
        return given.of(0, [request.request_id for request in requests])


def test_a_budget_holds_over_restarts_where_no_usage_is_told(serve, tmp_path):
    """Each answer counts as its worst case, 82 + 40 tokens, in this run and in the next ones."""
    server = serve(lambda body, _: web.json_response(body_of("hi")), lambda body: 0.0)
    for _ in range(3):
        with pytest.raises(BudgetError):
            kept(tmp_path, server, 50, budget_tokens=1000)
    assert sum(server.paid.values()) == 8 and 8 * 122 <= 1000 < 9 * 122
    found = kept(tmp_path, server, 8, budget_tokens=1000)
    assert {one.notes for one in found} == {(ESTIMATED,)} and len(server.seen) == 8
    used = answers.usage(settings(server), found)
    assert (used.prompt_tokens, used.completion_tokens, used.notes) == (8 * 82, 8 * 40, [ESTIMATED])
    assert used.add(Usage(notes=["b"])).notes == sorted([ESTIMATED, "b"])


def test_odd_answers_are_written_and_read_and_not_asked_again(serve, tmp_path):
    odd = [
        DEEP,
        json.dumps(body_of("twi\udce9ce \ud83d", reasoning_content="\ud83d")).encode(),
        json.dumps(body_of("nul \x00", usage={"prompt_tokens": int("9" * 400), "completion_tokens": 1})).encode(),
        b'{"generated_text": "\xff"}',
        LONG,
        json.dumps(body_of("x", usage={"prompt_tokens": float("nan"), "completion_tokens": 3.0})).encode(),
    ]

    def answer(body, _):
        return web.Response(body=odd[int(body["messages"][0]["content"][1:])], content_type="application/json")

    server = serve(answer)
    first = kept(tmp_path, server, len(odd), max_error_share=1)
    assert [one.finish_reason for one in first] == ["error", "stop", "stop", "error", "stop", "stop"]
    assert kept(tmp_path, server, len(odd), max_error_share=1) == first and len(server.seen) == len(odd)
    table = pa.table({"text": [one.text for one in first], "reasoning": [one.reasoning for one in first]})
    assert table.num_rows == len(odd)


def cut(**_) -> web.Response:
    return web.Response(body=b'{"choices": [{"message": {"content": "half', content_type="application/json")


@pytest.mark.parametrize("fault", ["slow", "cut-midway", "truncated", "html", "gave up"])
def test_a_budget_holds_over_restarts_where_paid_attempts_fail(serve, tmp_path, fault):
    """Each attempt counts as its worst case, 82 + 40 tokens, in this run and in the next ones."""
    server = serve(lambda body, _: cut() if fault == "gave up" else fault, lambda body: 0.0)
    for _ in range(3):
        with pytest.raises(BudgetError):
            kept(tmp_path, server, 50, budget_tokens=1000, max_error_share=1, max_retries=1, timeout_s=0.3)
    assert len(server.seen) == 8


def test_what_a_paid_attempt_before_an_answer_cost_is_kept(serve, tmp_path):
    server = serve(lambda body, attempt: cut() if attempt == 0 else ok())
    kept(tmp_path, server, 3)
    capped = settings(server, budget_tokens=10**6)
    assert answers.spent_in(tmp_path, capped).tokens == 3 * (122 + 9)
    answers.close_journal(tmp_path)
    assert answers.spent_in(tmp_path, capped).tokens == 3 * (122 + 9), "also when its answers are removed"
    assert [path.name for path in tmp_path.iterdir()] == ["spent.json"]


def until_closed(given: Iterator[Completion]) -> None:
    with contextlib.suppress(CancelledError):
        next(given)


def test_a_run_that_is_interrupted_keeps_what_was_under_way(serve, tmp_path):
    server = serve(lambda body, _: "slow")
    with open_engine(settings(server), "m", spent=answers.spent_in(tmp_path, settings(server))) as engine:
        given = engine.generate(chats(2, max_tokens=40))
        reader = threading.Thread(target=until_closed, args=[given])
        reader.start()
        while len(server.seen) < 2:
            time.sleep(0.01)
    reader.join()
    assert answers.spent_in(tmp_path, settings(server, budget_tokens=1)).tokens == 2 * 122


def test_the_answered_questions_of_a_request_that_the_end_of_the_run_cuts_are_counted(serve, tmp_path):
    said = {"ok": lambda: ok("1"), "no": lambda: status(401)}
    server = serve(lambda body, _: said[body["messages"][0]["content"]](), lambda body: 0.2 * ("no" in str(body)))
    questions = tuple(({"role": "user", "content": word},) for word in said)
    before = answers.spent_in(tmp_path, settings(server))
    with open_engine(settings(server), "m", spent=before) as engine, pytest.raises(PermissionError):
        list(engine.choose([ChoiceRequest("c", questions, ("0", "1"))]))
    assert answers.spent_in(tmp_path, settings(server, budget_tokens=1)).tokens == 9


def test_a_line_of_a_loss_that_a_kill_cut_spoils_no_other(tmp_path):
    losses.add(tmp_path / losses.FILE, 10, 0.5)
    with open(tmp_path / losses.FILE, "ab") as handle:
        handle.write(b'\n{"tokens": 1')
    losses.add(tmp_path / losses.FILE, 20, 0.5)
    assert losses.total(tmp_path / losses.FILE) == (30, 1.0)


def broke_off(body, _):
    return web.json_response(body_of("half an ans", "error", {"prompt_tokens": 60, "completion_tokens": 40}))


def upstream_died(body, _):
    error = {"code": 502, "message": "upstream died"}
    return web.json_response({"error": error, "usage": {"prompt_tokens": 60, "completion_tokens": 40}})


@pytest.mark.parametrize("answer", [broke_off, upstream_died])
def test_an_error_in_an_answer_200_costs_what_its_usage_says(serve, tmp_path, answer):
    """Each costs 100 of at most 122 tokens. Nine fit, and the tenth would not."""
    server = serve(answer, lambda body: 0.0)
    for _ in range(2):
        with pytest.raises(BudgetError):
            kept(tmp_path, server, 50, budget_tokens=1000, max_error_share=1, max_retries=1)
    assert len(server.seen) == 9


def test_a_refusal_in_an_answer_200_keeps_what_it_cost(serve):
    said = {"error": {"code": 400, "message": "not welcome"}, "usage": {"prompt_tokens": 60, "completion_tokens": 0}}
    (found,) = asked(serve(lambda body, _: web.json_response(said)), chats(1))
    assert (found.finish_reason, found.num_prompt_tokens, found.num_completion_tokens) == ("error", 60, 0)


def test_an_answer_that_is_asked_again_with_more_room_is_counted(serve, tmp_path):
    def answer(body, _):
        is_cut = body["max_tokens"] < 100
        usage = {"prompt_tokens": 60, "completion_tokens": 1}
        return web.json_response(body_of("", "length", usage)) if is_cut else ok("7")

    server = serve(answer)
    before = answers.spent_in(tmp_path, settings(server))
    with open_engine(settings(server), "m", spent=before) as engine:
        (found,) = engine.choose([ChoiceRequest("c", (USER,))])
    lost = answers.spent_in(tmp_path, settings(server, budget_tokens=1)).tokens
    assert (found.num_prompt_tokens + found.num_completion_tokens, lost) == (9, 61)


@pytest.mark.parametrize("code", [201, 202, 203, 299])
def test_an_answer_of_any_status_2xx_is_an_answer(serve, code):
    def answer(body, _):
        return web.json_response(body_of("hi", usage={"prompt_tokens": 5, "completion_tokens": 3}), status=code)

    server = serve(answer)
    (found,) = asked(server, chats(1))
    assert (found.text, found.num_prompt_tokens, found.num_completion_tokens) == ("hi", 5, 3)
    assert len(server.seen) == 1


def test_a_status_2xx_without_an_answer_is_asked_again(serve):
    server = serve(lambda body, attempt: web.Response(status=204) if attempt == 0 else ok())
    assert [one.text for one in asked(server, chats(1))] == ["hi"]


STEERING = "\x1b[2J\x1b]0;owned\x07 \u202ednuora\u2066 \x9b1m \r\nerror: all is well\u2028\x7f"


def steers(text: str) -> bool:
    return any(not c.isprintable() for c in text)


@pytest.mark.parametrize(
    "answer",
    [
        lambda body, _: status(500, STEERING),
        lambda body, _: status(400, STEERING),
        lambda body, _: error_200(502, STEERING),
        lambda body, _: error_200(400, STEERING),
        lambda body, _: web.Response(text=STEERING),
        lambda body, _: web.json_response({"generated": STEERING}),
        lambda body, _: web.json_response(body_of(None, "content_filter", refusal=STEERING)),
        lambda body, _: web.json_response(body_of(None, refusal=STEERING)),
        lambda body, _: web.json_response(body_of(None, STEERING)),
    ],
)
def test_what_a_provider_says_steers_no_terminal(serve, answer):
    (found,) = asked(serve(answer), chats(1), max_retries=0)
    assert found.finish_reason == "error" and found.error and not steers(found.error)


def test_what_a_provider_says_while_we_wait_steers_no_terminal(serve, monkeypatch, capfd):
    monkeypatch.setattr(gate, "SAY_AFTER_S", 0.1)
    server = serve(lambda body, _: status(500, STEERING))
    with pytest.raises(ConnectionError) as raised:
        asked(server, chats(8), max_retries=1000, patience_s=0.5)
    said = capfd.readouterr().err
    assert "owned" in said and not any(map(steers, said.splitlines())) and len(said.splitlines()) == 1
    assert "owned" in str(raised.value) and not steers(str(raised.value))


# -- what is asked again, and only if wanted -------------------------------------------------------


def test_what_could_not_be_read_is_asked_again_only_if_wanted_and_counts_until_then(serve, tmp_path):
    """16 of 16 answers nobody can read: they are paid for. The server is mended then."""
    is_mended = False
    server = serve(lambda body, _: ok() if is_mended else web.json_response({"generated_text": "hi"}))
    for _ in range(2):
        with pytest.raises(answers.StormError, match="only with the engine's ask_failed_again=true"):
            kept(tmp_path, server, 16)
    assert len(server.seen) == 16
    is_mended = True
    with pytest.raises(answers.StormError, match="16 of 16"):
        kept(tmp_path, server, 16)
    assert len(server.seen) == 16
    found = kept(tmp_path, server, 16, ask_failed_again=True)
    assert {one.finish_reason for one in found} == {"stop"} and len(server.seen) == 32
    assert kept(tmp_path, server, 16) == found and len(server.seen) == 32


def test_what_never_came_is_asked_again_by_itself(serve, tmp_path):
    is_mended = False
    server = serve(lambda body, _: ok() if is_mended else bad(400, "no such thing"))
    with pytest.raises(answers.StormError, match="which asks for what failed once more"):
        kept(tmp_path, server, 4)
    is_mended = True
    assert {one.finish_reason for one in kept(tmp_path, server, 4)} == {"stop"}
