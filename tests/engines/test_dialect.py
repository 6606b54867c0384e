"""What a refusal teaches, what it does not, and what it says to people.

The server is real and on loopback, and refuses as providers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from builders.engines import ChoiceRequest, Completion, OpenAISettings, Request, endpoint, open_engine
from tests.fault_server import FaultServer, ok

SECRET = "sk-secret-1234567890"
USER = ({"role": "user", "content": "hello"},)


@pytest.fixture
def serve() -> Iterator[Callable[..., FaultServer]]:
    servers = []

    def start(answer) -> FaultServer:
        servers.append(FaultServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


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
