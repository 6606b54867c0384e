"""Bodies and headers that are whole, but written otherwise: each is paid for once, and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from email.utils import formatdate

import pytest
from aiohttp import web

from builders.engines import Completion, OpenAISettings, Request, answers, endpoint, open_engine, pace, reading
from builders.engines.characters import GUESSED
from builders.engines.malformed import MalformedError, UnreadableError
from builders.engines.protocol import ESTIMATED, Answer, checked, completion
from tests.fault_server import FaultServer, ok, servers, status

CHAT = Request("r0", messages=({"role": "user", "content": "n0"},), max_tokens=40)
MOST = 2 + 16 + 64 + 40
USAGE = {"prompt_tokens": 4, "completion_tokens": 2}


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., FaultServer]]:
    monkeypatch.setattr(endpoint, "FIRST_BACKOFF_S", 0.01)
    with servers() as start:
        yield start


def asked(server: FaultServer, **changes) -> Completion:
    settings = OpenAISettings(**{"base_url": server.url, "max_retries": 3, "timeout_s": 20, **changes})
    with open_engine(settings, "m") as engine:
        (found,) = engine.generate([CHAT])
    return found


def whole(text: str, **more) -> str:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": USAGE} | more, ensure_ascii=False)


def read(content: bytes, charset: str | None = None) -> Completion:
    return completion(CHAT, Answer(checked(reading.decoded(content, charset)), (4, 2)))


def events(*said: dict, end: str = "data: [DONE]\n\n") -> bytes:
    return ("".join(f"data: {json.dumps(one)}\n\n" for one in said) + end).encode()


def delta(finish: str | None = None, **said) -> dict:
    return {"choices": [{"delta": said, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("text", "written", "charset"),
    [
        ("倍 twice", "shift_jis", "shift_jis"),
        ("返回两倍", "gbk", "gbk"),
        ("联通", "gbk", "gb2312"),
        ("“twice” — €5", "cp1252", "windows-1252"),
        ("“twice”", "cp1252", "iso-8859-1"),
        ("Ответ", "koi8-r", "koi8-r"),
        ("café", "utf-16", "utf-16"),
        ("café", "utf-16-le", None),
        ("café 返回", "utf-8", "iso-8859-1"),
        ("café", "utf-8", "utf8mb4"),
        ("返回两倍", "utf-8", "gbk"),
    ],
)
def test_the_charset_that_is_named_is_used(text, written, charset):
    content = whole(text).encode(written)
    assert read(content, charset).text == text and reading.doubts(content, charset) == ()


def test_a_charset_that_is_named_wrongly_is_refused_and_a_guess_is_told(serve):
    with pytest.raises(UnreadableError, match="not written in the charset gbk"):
        reading.decoded(whole("\xff\xfe\xa0").encode("latin-1"), "gbk")
    server = serve(lambda body, _: web.Response(body=whole("café").encode("latin-1"), content_type="application/json"))
    found = asked(server)
    assert (found.text, found.notes) == ("café", (GUESSED,))
    named = serve(
        lambda body, _: web.Response(
            body=whole("两倍").encode("gbk"), headers={"Content-Type": "application/json; charset=gbk"}
        )
    )
    assert (asked(named).text, len(named.seen)) == ("两倍", 1)


OLLAMA = [
    {"message": {"content": "x = "}, "done": False},
    {"message": {"content": "1"}, "done": False},
    {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 4, "eval_count": 2},
]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(json.dumps, OLLAMA)).encode(),
        json.dumps(OLLAMA[-1] | {"message": {"content": "x = 1"}}).encode(),
        "\r\n".join(map(json.dumps, [delta(content="x = "), delta("stop", content="1"), {"usage": USAGE}])).encode(),
        json.dumps(whole("x = 1")).encode(),
        f"[{whole('x = 1')}]".encode(),
        events(delta(content="x = "), delta(content="1"), {"choices": [], "usage": USAGE}),
    ],
)
def test_whole_answers_of_other_forms_are_read(content):
    found = reading.decoded(content)
    assert (read(content).text, read(content).finish_reason, found["usage"]) == ("x = 1", "stop", USAGE)


def test_parts_in_a_stream_are_joined_and_thoughts_set_apart():
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = [delta(content=[thought]), delta(content=[{"type": "text", "text": "x = "}]), delta("stop", content="1")]
    found = read(events(*parts))
    assert (found.text, found.reasoning, found.finish_reason) == ("x = 1", "hm", "stop")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{"type": "a", "x": 1}\n{"type": "b"}', UnreadableError),
        (events({"type": "message_start"}, {"type": "message_stop"}, end=""), UnreadableError),
        (events(delta(content="x = "), end=""), MalformedError),
        (events({"type": "a"}, end='data: {"type'), MalformedError),
        (json.dumps(OLLAMA[0]).encode() + b"\n" + json.dumps(OLLAMA[1]).encode(), MalformedError),
        (b'{"type": "a"}\n{"ty', MalformedError),
        (b'{\n"choices": [', MalformedError),
    ],
)
def test_a_stream_of_no_known_form_is_not_asked_again_and_a_cut_one_is(content, error):
    with pytest.raises(error):
        reading.decoded(content)


@pytest.mark.parametrize(("begun", "lost"), [([delta(content="half")], MOST), ([], 0)])
def test_a_stream_that_breaks_after_its_first_text_is_counted(serve, tmp_path, begun, lost):
    broken = delta("error", content="") | {"error": {"code": "server_error", "message": "Provider disconnected"}}
    content = events(*begun, broken)
    server = serve(lambda body, attempt: web.Response(body=content) if attempt == 0 else ok())
    settings = OpenAISettings(base_url=server.url, budget_tokens=10**6)
    with open_engine(settings, "m", spent=answers.spent_in(tmp_path, settings)) as engine:
        (found,) = engine.generate([CHAT])
    assert found.text == "hi" and answers.spent_in(tmp_path, settings).tokens == lost


def test_a_count_of_5000_digits_loses_no_answer(serve):
    content = whole("x", usage={}).replace("{}", '{"prompt_tokens": 4, "completion_tokens": %s}' % ("9" * 5000))
    server = serve(lambda body, _: web.Response(text=content, content_type="application/json"))
    found = asked(server)
    assert (found.text, found.num_prompt_tokens, found.num_completion_tokens) == ("x", 4, 40)
    assert found.notes == (ESTIMATED,) and len(server.seen) == 1


def test_long_headers_are_read_and_an_unreadable_answer_is_paid_once(serve):
    answer = web.json_response(json.loads(whole("x")), headers={"Content-Security-Policy": "a" * 9000})
    server = serve(lambda body, _: answer)
    assert (asked(server).text, len(server.seen)) == ("x", 1)


def test_what_is_no_http_that_can_be_read_is_paid_once(serve):
    server = serve(lambda body, _: web.Response(text=whole("x"), headers={"X-Long": "a" * 300_000}))
    found = asked(server)
    assert (found.finish_reason, len(server.seen)) == ("error", 1) and "no HTTP that can be read" in found.error
    assert found.num_prompt_tokens + found.num_completion_tokens == MOST


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2s"}, 2.0),
        ({"Retry-After": "1m30s"}, 90.0),
        ({"retry-after": "3, 5"}, 3.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e400"}, None),
        ({"retry-after-ms": "5000", "Retry-After": "5"}, 5.0),
        ({}, None),
    ],
)
def test_the_wait_that_headers_ask_for(headers, seconds):
    assert pace.wait_s(headers) == seconds


def test_a_wait_until_a_time_is_counted_from_now(monkeypatch):
    monkeypatch.setattr(pace, "time", lambda: 1_000_000_000.0)
    assert pace.wait_s({"Retry-After": formatdate(1_000_000_007, usegmt=True)}) == 7.0
    assert pace.wait_s({"Retry-After": "2001-09-09T01:46:47Z"}) == 7.0
    assert pace.reset_s({"X-RateLimit-Reset": "1000000007000"}) == 7.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "20ms", "x-ratelimit-reset-tokens": "5s"}, 0.02),
        (
            {
                "x-ratelimit-reset-requests": "20ms",
                "x-ratelimit-reset-tokens": "5s",
                "x-ratelimit-remaining-tokens": "0",
            },
            5.0,
        ),
        ({"x-request-id": "5"}, None),
    ],
)
def test_the_reset_of_a_rate(headers, seconds):
    assert pace.reset_s(headers) == seconds


def test_a_pace_in_headers_is_kept(serve):
    def answer(body, attempt):
        return status(429, "slow down", **{"retry-after-ms": "700"}) if attempt == 0 else ok()

    server = serve(answer)
    assert asked(server).text == "hi"
    (first, _, _), (second, _, _) = server.seen
    assert second - first >= 0.7
