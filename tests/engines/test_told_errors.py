"""Errors in answers 200 by the names that providers give them: each is what it says, and free."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from builders.engines import answers, endpoint
from builders.engines.refusals import error_in, is_of_one_request
from store.errors import DeniedError
from tests.batch_server import BatchServer
from tests.engines import test_batch_api as batches
from tests.engines.test_odd_endpoints import asked, bad, chats, kept, serve, settings, stream
from tests.fault_server import ok

__all__ = ["serve"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_BACKOFF_S", 0.01)


def mini_max(code: int, said: str, **more) -> dict:
    """As MiniMax writes them (adrianlyjak/obsidian-aloud-tts#114)."""
    return {"id": "04", "base_resp": {"status_code": code, "status_msg": said}, **more}


RATE = mini_max(1002, "rate limit exceeded(RPM)", choices=None, usage={"total_tokens": 0})
LOGIN = mini_max(1004, "login fail: Please carry the API secret key in the 'Authorization' field", choices=None)
BALANCE = mini_max(1008, "insufficient balance", model="", usage=None)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (RATE, 429),
        (LOGIN, 401),
        (BALANCE, 402),
        (mini_max(2049, "invalid api key"), 401),
        (mini_max(1027, "output new_sensitive"), 400),
        (mini_max(1000, "unknown error"), 500),
        ({"error_code": 110, "error_msg": "Access token invalid or no longer valid"}, 401),
        ({"error_code": 18, "error_msg": "Open api qps request limit reached"}, 429),
        ({"code": 500, "msg": "404 NOT_FOUND", "success": False}, 500),
        ({"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "r"}, 401),
        ({"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."}, 402),
        ({"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, 429),
        ({"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None}, 404),
        ({"object": "error", "message": "Service is too busy", "type": "server_error"}, 529),
        ({"success": False, "errors": [{"code": 10000, "message": "Authentication error"}], "result": None}, 401),
        ({"detail": "Not authenticated"}, 401),
        ({"detail": [{"loc": ["body", "seed"], "msg": "invalid parameter", "type": "extra"}]}, 400),
        ({"err": "the server is overloaded"}, 529),
        ({"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": "too many requests"}}}, 429),
        ({"__type": "ThrottlingException", "message": "slow down"}, 429),
        ({**RATE, "choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}, 429),
        ({"error": "rate limit reached"}, 429),
    ],
)  # fmt: skip
def test_an_error_by_another_name_has_its_status(told, status):
    found = error_in(told)
    assert found is not None and found.status == status, found


WHOLE = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    "told",
    [
        {"generated_text": "hi"},
        {"code": 0, "message": "Success", "data": {"text": "hi"}},
        {"code": "200", "message": "the answer"},
        {"code": 7, "message": "ok", "data": {"text": "hi"}},
        {"code": "def f():\n    return 1", "message": "Here is a function"},
        {"status": "completed", "message": "hi"},
        {"response": "hi", "model": "m"},
        {"base_resp": {"status_code": 0, "status_msg": "success"}, "reply": "hi"},
        {"choices": None, "usage": {"total_tokens": 500}, **mini_max(1027, "output new_sensitive")},
        {**WHOLE, **mini_max(1000, "unknown error")},
        {**WHOLE, "detail": "served by b", "code": 7, "message": "no"},
        {"choices": [{"message": {"content": None, "reasoning": "hm"}}], "code": 7, "message": "no"},
        {"error": None, "errors": [], "err": 0, "detail": ""},
        None, [], {}, "error",
    ],
)  # fmt: skip
def test_what_was_billed_or_has_a_text_or_says_success_is_no_error(told):
    assert error_in(told) is None


def test_a_pace_by_another_name_costs_nothing_and_slows(serve, tmp_path):
    """A budget for one answer: a wrong worst case would end it."""
    server = serve(lambda body, attempt: web.json_response(RATE) if attempt < 2 else ok())
    found = kept(tmp_path, server, 3, budget_tokens=3 * 9 + 122, max_retries=0)
    assert [one.text for one in found] == ["hi"] * 3 and len(server.seen) == 9
    assert answers.spent_in(tmp_path, settings(server, budget_tokens=1)).tokens == 27


@pytest.mark.parametrize(
    ("told", "says"), [(LOGIN, "login fail.*OPENAI_API_KEY"), (BALANCE, "insufficient balance.*no credit")]
)
def test_a_key_or_a_balance_by_another_name_ends_the_run_and_costs_nothing(serve, tmp_path, told, says):
    is_mended = False
    server = serve(lambda body, _: ok() if is_mended else web.json_response(told))
    with pytest.raises(DeniedError, match=says):
        kept(tmp_path, server, 20, budget_tokens=10**6)
    assert len(server.seen) <= 4 and answers.spent_in(tmp_path, settings(server, budget_tokens=1)).tokens == 0
    is_mended = True
    assert {one.text for one in kept(tmp_path, server, 20)} == {"hi"}


def test_an_unknown_error_by_another_name_is_told_and_asked_again_later(serve, tmp_path):
    server = serve(lambda body, attempt: web.json_response(mini_max(1000, "unknown error, 1000")))
    found = kept(tmp_path, server, 1, max_retries=1, max_error_share=1)
    assert "unknown error, 1000" in found[0].error and len(server.seen) == 2
    assert (found[0].num_prompt_tokens, found[0].num_completion_tokens) == (0, 0)


def test_an_error_by_another_name_in_a_stream_is_that_error(serve):
    content = stream(RATE)
    server = serve(lambda body, attempt: web.Response(body=content) if attempt == 0 else ok())
    (found,) = asked(server, chats(1), max_retries=0, budget_tokens=700)
    assert found.text == "hi"


@pytest.mark.parametrize(
    "refusal",
    [
        bad(429, "Insufficient balance or no resource package. Please recharge.", code="1113"),
        bad(400, "Your credit balance is too low to access the API."),
        bad(403, "The account is in arrears."),
        web.json_response({"error_msg": "insufficient funds", "error_code": 4}, status=403),
    ],
)
def test_an_empty_account_ends_the_run_whatever_its_status(serve, refusal):
    text = refusal.text
    server = serve(lambda body, _: web.json_response(json.loads(text), status=refusal.status))
    with pytest.raises(DeniedError, match="no credit left"):
        asked(server, chats(30), max_in_flight=8)
    assert len(server.seen) <= 4 and not is_of_one_request(403, text, has_answered=True)


def test_an_error_by_another_name_in_a_batch_is_that_error(tmp_path):
    server = BatchServer(lambda body, attempt: (200, RATE) if attempt == 0 else batches.echo(body, 0))
    try:
        found = batches.ask(server, tmp_path / "state", 2, budget_tokens=2 * 600)
        assert {name: one.text for name, one in found.items()} == {"r0": "answer to n0", "r1": "answer to n1"}
    finally:
        server.close()
