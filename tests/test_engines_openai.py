"""The openai engine against a real server on loopback that fails as endpoints do."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from builders.engines import ChoiceRequest, EngineSettings, Request, open_engine
from builders.engines import openai as openai_engine

SECRET = "sk-secret-1234567890"
USER = ({"role": "user", "content": "hello"},)


class Endpoint:
    """A server whose answers a test writes. `seen` is every request body with its time and headers."""

    def __init__(self, answer: Callable[[dict, int], web.Response]) -> None:
        self.seen: list[tuple[float, dict, dict]] = []
        self.under_way = self.most_under_way = 0
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result() + "/v1"

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_post("/v1/completions", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0]
        return f"http://{host}:{port}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        attempt = sum(1 for _, seen, _ in self.seen if seen == body)
        self.seen.append((time.monotonic(), body, dict(request.headers)))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            # Long enough for calls to overlap, and shuffled by the seed so that answers come out of order.
            await asyncio.sleep(0.01 + 0.02 * (body.get("seed", 0) % 3 == 0))
            answer = self._answer(body, attempt)
            if answer is None:
                request.transport.close()
                return web.Response()
            return answer
        finally:
            self.under_way -= 1

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable], Endpoint]]:
    endpoints = []

    def start(answer: Callable) -> Endpoint:
        endpoints.append(Endpoint(answer))
        return endpoints[-1]

    yield start
    for endpoint in endpoints:
        endpoint.close()


@pytest.fixture(autouse=True)
def quick_and_keyed(monkeypatch):
    monkeypatch.setattr(openai_engine, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def settings(endpoint: Endpoint, **changes) -> EngineSettings:
    return EngineSettings(engine="openai", base_url=endpoint.url, **{"max_retries": 3, "timeout_s": 5, **changes})


def ok(text: str = "hi", reason: str = "stop", prompt_tokens: int = 7, completion_tokens: int = 2) -> web.Response:
    return web.json_response(
        {
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason, "text": text}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens},
        }
    )


def status(code: int, text: str = "no", **headers: str) -> web.Response:
    return web.Response(status=code, text=text, headers=headers)


def chats(count: int) -> list[Request]:
    return [Request(f"r{i}", messages=({"role": "user", "content": f"n{i}"},), seed=i) for i in range(count)]


def test_every_request_is_answered_once_with_its_own_text_and_tokens(serve):
    def answer(body, _):
        number = int(body["messages"][0]["content"][1:])
        return ok(f"answer {number}", prompt_tokens=number, completion_tokens=2 * number)

    endpoint = serve(answer)
    with open_engine(settings(endpoint, max_in_flight=8), "m") as engine:
        found = list(engine.generate(iter(chats(100))))
    assert sorted(c.request_id for c in found) == sorted(f"r{i}" for i in range(100))
    for completion in found:
        number = int(completion.request_id[1:])
        assert completion.text == f"answer {number}"
        assert (completion.num_prompt_tokens, completion.num_completion_tokens) == (number, 2 * number)
        assert completion.finish_reason == "stop"
    assert [c.request_id for c in found] != [f"r{i}" for i in range(100)]
    assert len(endpoint.seen) == 100
    assert 2 <= endpoint.most_under_way <= 8


def test_sampling_and_the_key_are_sent(serve):
    endpoint = serve(lambda body, _: ok(reason="length"))
    request = Request("r", messages=USER, adapter="a", max_tokens=9, temperature=0.5, top_p=0.9, seed=4, stop=("x",))
    with open_engine(settings(endpoint), "m", {"a": "served-a"}) as engine:
        (completion,) = engine.generate([request])
        (raw,) = engine.generate([Request("p", prompt="once")])
    assert completion.finish_reason == raw.finish_reason == "length"
    _, body, headers = endpoint.seen[0]
    assert body == {
        "model": "served-a",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 4,
        "stop": ["x"],
    }
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert endpoint.seen[1][1]["prompt"] == "once" and raw.text == "hi"


def test_retry_after_is_honoured(serve):
    endpoint = serve(lambda body, attempt: ok() if attempt else status(429, **{"Retry-After": "1"}))
    with open_engine(settings(endpoint), "m") as engine:
        (completion,) = engine.generate([Request("r", messages=USER)])
    assert completion.finish_reason == "stop"
    first, second = (seen[0] for seen in endpoint.seen)
    assert 1.0 <= second - first < 3


@pytest.mark.parametrize("failure", [lambda: status(500), lambda: status(529), lambda: None, lambda: status(200, "{")])
def test_passing_failures_are_asked_again(serve, failure):
    endpoint = serve(lambda body, attempt: ok() if attempt == 2 else failure())
    with open_engine(settings(endpoint), "m") as engine:
        found = list(engine.generate(chats(5)))
    assert [c.finish_reason for c in found] == ["stop"] * 5
    assert len(endpoint.seen) == 15


def test_a_lasting_failure_is_an_answer_among_others(serve):
    endpoint = serve(lambda body, _: status(503, "busy " * 100) if body["seed"] == 1 else ok())
    with open_engine(settings(endpoint, max_retries=2), "m") as engine:
        found = {c.request_id: c for c in engine.generate(chats(3))}
    assert [found[f"r{i}"].finish_reason for i in range(3)] == ["stop", "error", "stop"]
    assert found["r1"].error.startswith("gave up after 3 attempts: 503: busy")
    assert len(found["r1"].error) <= 200
    assert len(endpoint.seen) == 5


def test_an_endpoint_that_hangs_is_left(serve):
    started = time.monotonic()
    slow = serve(lambda body, _: time.sleep(0.6) or ok())
    with open_engine(settings(slow, max_retries=1, timeout_s=0.2), "m") as engine:
        (completion,) = engine.generate([Request("r", messages=USER)])
    assert completion.finish_reason == "error" and "TimeoutError" in completion.error
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("code", "text", "error", "says"),
    [
        (401, "bad key", PermissionError, "OPENAI_API_KEY"),
        (403, "no", PermissionError, "'m'"),
        (404, "no", ValueError, "check base_url"),
        (307, "", ValueError, "check base_url"),
        (429, '{"code": "insufficient_quota"}', PermissionError, "credit"),
    ],
)
def test_what_no_retry_can_mend_stops_the_run(serve, code, text, error, says):
    endpoint = serve(lambda body, _: status(code, text, **({"Location": "http://127.0.0.1:1/"} if code == 307 else {})))
    with open_engine(settings(endpoint, max_in_flight=1), "m") as engine, pytest.raises(error, match=says):
        list(engine.generate(chats(50)))
    assert len(endpoint.seen) <= 2


def test_a_request_that_is_too_long_or_refused_is_an_answer(serve):
    replies = {0: "maximum context length is 8", 1: "temperature is not supported"}
    endpoint = serve(lambda body, _: status(400, replies[body["seed"]]))
    with open_engine(settings(endpoint), "m") as engine:
        found = {c.request_id: c for c in engine.generate(chats(2))}
    assert found["r0"].finish_reason == "prompt_too_long"
    assert (found["r1"].finish_reason, found["r1"].error) == ("error", "400: temperature is not supported")
    assert len(endpoint.seen) == 2


def test_an_endless_stream_is_read_only_a_little_ahead(serve):
    endpoint, read = serve(lambda body, _: ok()), []

    def endless() -> Iterator[Request]:
        while True:
            read.append(threading.current_thread())
            yield Request(f"r{len(read)}", messages=USER, seed=len(read))

    with open_engine(settings(endpoint, max_in_flight=4), "m") as engine:
        stream = engine.generate(endless())
        for _ in range(30):
            next(stream)
        time.sleep(0.1)
        assert len(read) <= 30 + 8
        stream.close()
    assert set(read) == {threading.main_thread()}


def test_the_key_reaches_no_output(serve, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    echo = serve(lambda body, _: status([400, 500, 401][body["seed"]], f"Incorrect key {SECRET} given"))
    with open_engine(settings(echo, max_retries=1), "m") as engine:
        found = list(engine.generate(chats(2)))
        with pytest.raises(PermissionError) as raised:
            list(engine.generate(chats(3)[2:]))
        told = repr(engine) + repr(engine._session)
    assert "[key]" in found[0].error + found[1].error
    everything = [
        repr(found),
        repr(raised.value),
        str(raised.getrepr()),
        caplog.text,
        *capfd.readouterr(),
        told,
    ]
    assert not any(SECRET in output for output in everything)


def test_a_missing_key_is_an_error_except_for_this_machine(serve, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match=r"OPENAI_API_KEY is not set.*api\.openai\.com"):
        open_engine(EngineSettings(engine="openai"), "m")
    endpoint = serve(lambda body, _: ok())
    with open_engine(settings(endpoint), "m") as engine:
        assert [c.text for c in engine.generate([Request("r", messages=USER)])] == ["hi"]
    assert "Authorization" not in endpoint.seen[0][2]


@pytest.mark.parametrize("url", ["localhost:8000", "http://user:word@host/v1", "http://host/v1?key=1"])
def test_a_base_url_that_holds_more_than_an_address_is_refused(url):
    with pytest.raises(ValueError, match="base_url"):
        EngineSettings(engine="openai", base_url=url)


def test_choices_from_logprobs_and_from_text(serve):
    def answer(body, _):
        asked = body["messages"][0]["content"]
        choice = {"message": {"content": "7"}, "finish_reason": "length"}
        if asked == "with logprobs":
            top = [
                {"token": "7", "logprob": -0.5},
                {"token": " 2", "logprob": -1.5},
                {"token": "x", "logprob": -2},
            ]
            choice["logprobs"] = {"content": [{"token": "7", "logprob": -0.5, "top_logprobs": top}]}
        if asked == "neither":
            choice["message"]["content"] = "well"
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 11}})

    def question(text: str):
        return ({"role": "user", "content": text},)

    endpoint = serve(answer)
    requests = [
        ChoiceRequest("good", (question("with logprobs"), question("text only"))),
        ChoiceRequest("bad", (question("text only"), question("neither"))),
    ]
    with open_engine(settings(endpoint), "m") as engine:
        found = {c.request_id: c for c in engine.choose(requests)}
    first, second = found["good"].probabilities
    assert first[7] == pytest.approx(1 / (1 + 2.718281828**-1)) and first[2] == pytest.approx(1 - first[7])
    assert second == tuple(float(digit == 7) for digit in range(10))
    assert found["good"].num_prompt_tokens == 22
    assert (found["bad"].probabilities, found["bad"].finish_reason) == (None, "error")
    body = next(seen for _, seen, _ in endpoint.seen)
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)


def test_cost_is_tokens_times_price():
    priced = EngineSettings(price_per_million_input=2.0, price_per_million_output=10.0)
    assert priced.cost(500_000, 100_000) == pytest.approx(2.0)
    assert EngineSettings().cost(1, 1) is None
