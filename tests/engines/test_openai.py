"""The openai engine against a real server on loopback that fails as endpoints do."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from builders.engines import ChoiceRequest, OpenAISettings, Request, endpoint, gate, open_engine
from builders.engines.budget import BudgetError, Spent, prompt_bound
from builders.engines.choices import LABEL_TOKENS
from builders.engines.protocol import ESTIMATED, path_and_body
from tests.fault_server import PASSING, FaultServer, ok, servers, status

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


def settings(server: FaultServer, **changes) -> OpenAISettings:
    return OpenAISettings(base_url=server.url, **{"max_retries": 3, "timeout_s": 5, **changes})


def chats(count: int) -> list[Request]:
    return [Request(f"r{i}", messages=({"role": "user", "content": f"n{i}"},), seed=i) for i in range(count)]


def test_every_request_is_answered_once_with_its_own_text_and_tokens(serve):
    def answer(body, _):
        number = int(body["messages"][0]["content"][1:])
        return ok(f"answer {number}", prompt_tokens=number + 1, completion_tokens=2 * number)

    server = serve(answer)
    with open_engine(settings(server, max_in_flight=8), "m") as engine:
        found = list(engine.generate(iter(chats(100))))
    assert sorted(c.request_id for c in found) == sorted(f"r{i}" for i in range(100))
    for completion in found:
        number = int(completion.request_id[1:])
        assert completion.text == f"answer {number}"
        assert (completion.num_prompt_tokens, completion.num_completion_tokens) == (number + 1, 2 * number)
        assert completion.finish_reason == "stop"
    assert [c.request_id for c in found] != [f"r{i}" for i in range(100)]
    assert len(server.seen) == 100
    assert 2 <= server.most_under_way <= 8


def test_sampling_and_the_key_are_sent(serve):
    server = serve(lambda body, _: ok(reason="length"))
    request = Request("r", messages=USER, adapter="a", max_tokens=9, temperature=0.5, top_p=0.9, seed=4, stop=("x",))
    with open_engine(settings(server), "m", {"a": "served-a"}) as engine:
        (completion,) = engine.generate([request])
        (raw,) = engine.generate([Request("p", prompt="once")])
    assert completion.finish_reason == raw.finish_reason == "length"
    _, body, headers = server.seen[0]
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
    assert server.seen[1][1]["prompt"] == "once" and raw.text == "hi"


def test_content_in_parts_is_joined_and_a_format_that_nobody_reads_is_asked_for_once(serve):
    """A list of texts is the text. Whoever sends a number or a picture would send it again."""
    parts = [{"type": "text", "text": "x ="}, {"type": "text", "text": " 1"}]
    contents = {"parts": parts, "number": 7, "picture": [{"type": "image_url", "image_url": "x"}], "none": []}

    def answer(body, _):
        message = {"content": contents[body["messages"][0]["content"]]}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    server = serve(answer)
    with open_engine(settings(server), "m") as engine:
        asked = [Request(name, messages=({"role": "user", "content": name},)) for name in contents]
        found = {one.request_id: one for one in engine.generate(asked)}
    assert (found["parts"].text, found["parts"].finish_reason) == ("x = 1", "stop")
    assert (found["number"].finish_reason, found["number"].error) == (
        "error",
        "the content of the answer is int, not text: '7'",
    )
    assert "a list with parts that are no text" in found["picture"].error and "no text" in found["none"].error
    assert len(server.seen) == len(contents)


FOUR = "Invalid 'stop': array too long. Expected an array with maximum length 4, but got one with length 7 instead."


@pytest.mark.parametrize("is_picky", [True, False])
def test_an_endpoint_that_takes_four_stops_gives_the_same_text(serve, is_picky):
    """It is asked again with the first four, and the text is cut at the others here."""

    def answer(body, _):
        given = body.get("stop", [])
        return status(400, FOUR) if is_picky and len(given) > 4 else ok("x = 1\ng()\nf()", "length")

    server, stops = serve(answer), ("\na", "\nb", "\nc", "\nd", "\nf", "\ng", "\nh")
    with open_engine(settings(server, max_in_flight=1), "m") as engine:
        found = [next(engine.generate([Request(f"r{n}", prompt="x", stop=stops)])) for n in range(2)]
        (other,) = engine.generate([Request("r2", prompt="x", stop=stops[:2])])
    assert [(one.text, one.finish_reason, one.error) for one in found] == [("x = 1", "stop", None)] * 2
    assert (other.text, other.finish_reason) == ("x = 1\ng()\nf()", "length")
    sent = [len(body["stop"]) for _, body, _ in server.seen]
    assert sent == ([7, 4, 4, 2] if is_picky else [7, 7, 2])


def test_a_refusal_of_few_stops_is_a_refusal(serve):
    server = serve(lambda body, _: status(400, FOUR))
    with open_engine(settings(server), "m") as engine:
        (found,) = engine.generate([Request("r", prompt="x", stop=tuple("abcdef"))])
    assert found.finish_reason == "error"
    assert [len(body.get("stop", [])) for _, body, _ in server.seen] == [6, 4, 0], "each way once"


@pytest.mark.parametrize("fault", ["429-seconds", "429-date"])
def test_retry_after_is_honoured_and_everybody_waits(serve, fault):
    server = serve(lambda body, attempt: fault if body["seed"] == 0 and attempt == 0 else ok())
    with open_engine(settings(server, max_in_flight=1), "m") as engine:
        found = list(engine.generate(chats(3)))
    assert [c.finish_reason for c in found] == ["stop"] * 3
    first, second = (seen[0] for seen in server.seen[:2])
    assert 0.9 <= second - first < 4
    assert sorted(body["seed"] for _, body, _ in server.seen) == [0, 0, 1, 2]
    assert server.seen[1][1]["seed"] == 1, "the next in the queue waited too"


@pytest.mark.parametrize("fault", [fault for fault in PASSING if fault != "429-seconds"])
def test_passing_failures_are_asked_again(serve, fault):
    server = serve(lambda body, attempt: fault if attempt < 2 and body["seed"] < 2 else ok())
    with open_engine(settings(server, timeout_s=0.6), "m") as engine:
        found = list(engine.generate(chats(5)))
    assert [(c.finish_reason, c.text) for c in found] == [("stop", "hi")] * 5
    assert len(server.seen) == 9 and set(server.paid.values()) == {1}


def test_a_lasting_failure_is_an_answer_among_others(serve):
    server = serve(lambda body, _: status(503, "busy " * 100) if body["seed"] == 1 else ok())
    with open_engine(settings(server, max_retries=2), "m") as engine:
        found = {c.request_id: c for c in engine.generate(chats(3))}
    assert [found[f"r{i}"].finish_reason for i in range(3)] == ["stop", "error", "stop"]
    assert found["r1"].error.startswith("gave up after 3 attempts: 503: busy")
    assert len(found["r1"].error) <= 200
    assert len(server.seen) == 5


def test_an_endpoint_that_hangs_is_left(serve):
    server = serve(lambda body, _: "slow")
    with open_engine(settings(server, max_retries=1, timeout_s=0.1), "m") as engine:
        (completion,) = engine.generate([Request("r", messages=USER)])
    assert completion.finish_reason == "error" and "TimeoutError" in completion.error


@pytest.mark.parametrize(
    ("code", "text", "error", "says"),
    [
        (401, "bad key", PermissionError, "OPENAI_API_KEY"),
        (403, "no", PermissionError, "'m'"),
        (404, "no", ValueError, "and base_url"),
        (307, "", ValueError, "and base_url"),
        (429, '{"code": "insufficient_quota"}', PermissionError, "credit"),
    ],
)
def test_what_no_retry_can_mend_stops_the_run(serve, code, text, error, says):
    server = serve(lambda body, _: status(code, text, **({"Location": "http://127.0.0.1:1/"} if code == 307 else {})))
    with open_engine(settings(server, max_in_flight=1), "m") as engine, pytest.raises(error, match=says):
        list(engine.generate(chats(50)))
    assert len(server.seen) <= 2


def test_a_request_that_is_too_long_or_refused_is_an_answer(serve):
    replies = {0: "maximum context length is 8", 1: "temperature is not supported"}
    server = serve(lambda body, _: status(400, replies[body["seed"]]))
    with open_engine(settings(server), "m") as engine:
        found = {c.request_id: c for c in engine.generate(chats(2))}
    assert found["r0"].finish_reason == "prompt_too_long"
    assert (found["r1"].finish_reason, found["r1"].error) == ("error", "400: temperature is not supported")
    assert len(server.seen) == 3, "once more without the temperature, which was not the reason"


def test_an_endless_stream_is_read_only_a_little_ahead(serve):
    server, read = serve(lambda body, _: ok()), []

    def endless() -> Iterator[Request]:
        while True:
            read.append(threading.current_thread())
            yield Request(f"r{len(read)}", messages=USER, seed=len(read))

    with open_engine(settings(server, max_in_flight=4), "m") as engine:
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
        endpoint_ = engine._endpoint
        told = "".join(map(repr, (engine, endpoint_, endpoint_._connection, endpoint_._connection._session)))
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
        open_engine(OpenAISettings(), "m")
    server = serve(lambda body, _: ok())
    with open_engine(settings(server), "m") as engine:
        assert [c.text for c in engine.generate([Request("r", messages=USER)])] == ["hi"]
    assert "Authorization" not in server.seen[0][2]


@pytest.mark.parametrize("url", ["localhost:8000", "http://user:word@host/v1", "http://host/v1?key=1"])
def test_a_base_url_that_holds_more_than_an_address_is_refused(url):
    with pytest.raises(ValueError, match="base_url"):
        OpenAISettings(base_url=url)


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

    server = serve(answer)
    requests = [
        ChoiceRequest("good", (question("with logprobs"), question("text only"))),
        ChoiceRequest("bad", (question("text only"), question("neither"))),
    ]
    with open_engine(settings(server), "m") as engine:
        found = {c.request_id: c for c in engine.choose(requests)}
    first, second = found["good"].probabilities
    assert first[7] == pytest.approx(1 / (1 + 2.718281828**-1)) and first[2] == pytest.approx(1 - first[7])
    assert second == tuple(float(digit == 7) for digit in range(10))
    assert found["good"].masses == (pytest.approx(2.718281828**-0.5 + 2.718281828**-1.5), None)
    assert found["good"].num_prompt_tokens == 22
    assert (found["bad"].probabilities, found["bad"].finish_reason) == (None, "error")
    body = next(seen for _, seen, _ in server.seen)
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (LABEL_TOKENS, True, 20)


def test_an_endpoint_without_logprobs_is_asked_for_the_digit_alone(serve):
    def answer(body, _):
        if "logprobs" in body:
            return status(400, "this model does not support logprobs")
        return ok("Score: 8", completion_tokens=3)

    server = serve(answer)
    asked = [ChoiceRequest(f"c{n}", (USER,)) for n in range(4)]
    with open_engine(settings(server, max_in_flight=2), "m") as engine:
        found = list(engine.choose(asked))
    assert all(c.probabilities == (tuple(float(d == 8) for d in range(10)),) for c in found)
    assert {(c.num_completion_tokens, c.masses) for c in found} == {(3, (None,))}
    assert len(server.seen) <= 4 + 2, "what one refusal taught is not asked again"


def test_an_endpoint_that_names_the_token_limit_otherwise_is_understood(serve):
    def answer(body, _):
        if "max_tokens" in body:
            return status(400, "Unsupported parameter: use 'max_completion_tokens' instead")
        return ok(str(body["max_completion_tokens"]))

    server = serve(answer)
    with open_engine(settings(server, max_in_flight=1), "m") as engine:
        found = list(engine.generate(chats(3)))
    assert [c.text for c in found] == ["512"] * 3 and len(server.seen) == 4


def test_a_schema_is_sent(serve):
    asked = [Request("r", messages=USER, json_schema='{"type": "object"}')]
    server = serve(lambda body, _: ok("{}"))
    with open_engine(settings(server), "m") as engine:
        assert [c.text for c in engine.generate(asked)] == ["{}"]
    schema = server.seen[0][1]["response_format"]["json_schema"]
    assert schema == {"name": "answer", "strict": True, "schema": {"type": "object"}}


# -- pace ------------------------------------------------------------------------------------------


def test_concurrency_falls_on_429_and_comes_back(serve):
    """At most 4 at a time pass: the engine finds that out, and nothing is lost."""
    server = serve(lambda body, attempt: "429" if server.under_way > 4 else ok(), lambda body: 0.02)
    with open_engine(settings(server, max_in_flight=64, max_retries=5), "m") as engine:
        found = list(engine.generate(chats(200)))
        places = engine._endpoint.gate.places
    assert [c.finish_reason for c in found] == ["stop"] * 200
    assert places < 24
    late = [moment for moment, _, _ in server.seen]
    assert len(late) < 4 * 200, "an engine that does not learn is refused 15 times of 16"
    quiet = serve(lambda body, attempt: "429" if body["seed"] < 1 and attempt == 0 else ok(), lambda body: 0.0)
    with open_engine(settings(quiet, max_in_flight=16), "m") as engine:
        list(engine.generate(chats(300)))
        assert engine._endpoint.gate.places == 16


def test_a_few_rows_that_always_fail_do_not_slow_down_the_others(serve):
    server = serve(lambda body, _: "500" if body["seed"] % 25 == 0 else ok(), lambda body: 0.0)
    with open_engine(settings(server, max_in_flight=50), "m") as engine:
        found = list(engine.generate(chats(250)))
        assert engine._endpoint.gate.places == 50
    assert sum(c.finish_reason == "error" for c in found) == 10


@pytest.mark.parametrize("rate", [{"requests_per_minute": 60 * 50}, {"tokens_per_minute": 60 * 50 * 25}])
def test_rates_are_kept(serve, rate):
    """50 a second, of which two seconds' worth may come at once."""
    server = serve(lambda body, _: ok(prompt_tokens=20, completion_tokens=5), lambda body: 0.0)
    asked = [Request(f"r{n}", messages=USER, seed=n, max_tokens=5) for n in range(150)]
    with open_engine(settings(server, max_in_flight=16, **rate), "m") as engine:
        assert len(list(engine.generate(asked))) == 150
    moments = [moment for moment, _, _ in server.seen]
    assert moments[-1] - moments[0] > 0.8 * 50 / 50


def adapter(folder: Path, weights: bytes) -> str:
    """A folder with the one file of an adapter that its name on a server hangs on."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return str(folder)


def test_a_server_loads_each_adapter_once_and_another_training_anew(tmp_path):
    server = FaultServer(lambda body, _: ok(body["model"]), loads_adapters=True)
    loading = settings(server, load_adapters=True)
    names = []
    for weights in (b"first", b"first", b"second"):
        folders = {"a": adapter(tmp_path / "a", weights), "base": "hub/model"}
        with open_engine(loading, "m", folders) as engine:
            asked = [Request(str(name), messages=USER, adapter=name) for name in ("a", "base", None)]
            found = {c.request_id: c.text for c in engine.generate(asked)}
        assert (found["base"], found["None"]) == ("hub/model", "m")
        names.append(found["a"])
    assert names[0] == names[1] != names[2] and all(name.startswith("a-") for name in names)
    assert server.adapters == dict.fromkeys(names, str(tmp_path / "a"))
    server.close()


def test_an_endpoint_that_loads_no_adapters_says_how_to_start_one_that_does(serve, tmp_path):
    loading = settings(serve(lambda body, _: ok()), load_adapters=True)
    with pytest.raises(
        ConnectionError, match=r"does not load adapters .*VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve m "
    ):
        open_engine(loading, "m", {"a": adapter(tmp_path / "a", b"weights")})


@pytest.mark.parametrize("changes", [{"batch": True}, {"base_url": None}])
def test_adapters_are_loaded_by_a_server_of_ones_own_alone(changes):
    with pytest.raises(ValueError, match="load_adapters needs base_url set and batch off"):
        OpenAISettings(**{"base_url": "http://localhost:1/v1", "load_adapters": True} | changes)


def test_a_dead_endpoint_ends_the_run_with_a_message(serve):
    dead = FaultServer(lambda body, _: ok())
    dead.close()
    few = settings(dead, max_retries=1, max_given_up=3, max_in_flight=2)
    found = []
    with open_engine(few, "m") as engine, pytest.raises(ConnectionError, match="3 calls in a row were given up"):
        for completion in engine.generate(chats(100)):
            found.append(completion)
    assert len(found) <= 4, "it did not go on through all the requests"


def test_bad_rows_that_are_given_up_last_are_no_dead_endpoint(serve):
    def is_bad(body) -> bool:
        return int(body["messages"][0]["content"][1:]) % 4 == 0

    server = serve(lambda body, _: "500" if is_bad(body) else ok(), lambda body: 0.0 if is_bad(body) else 0.03)
    with open_engine(settings(server, max_given_up=3, max_in_flight=50), "m") as engine:
        found = list(engine.generate(chats(40)))
    assert sum(c.finish_reason == "error" for c in found) == 10


def test_a_storm_of_429_ends_by_patience_and_not_by_losing_rows(serve):
    server = serve(lambda body, _: "429")
    found = []
    storm = settings(server, patience_s=0.5, max_in_flight=2)
    with open_engine(storm, "m") as engine, pytest.raises(ConnectionError, match=r"no answer for .*patience_s=0\.5"):
        for completion in engine.generate(chats(10)):
            found.append(completion)
    assert found == []


def test_a_storm_is_told_once_before_patience_ends(serve, monkeypatch, capfd):
    monkeypatch.setattr(gate, "SAY_AFTER_S", 0.2)
    refuses = True
    server = serve(lambda body, _: status(429, "slow down") if refuses else ok())
    storm = settings(server, patience_s=1, max_in_flight=2)
    with open_engine(storm, "m") as engine, pytest.raises(ConnectionError, match="no answer for"):
        list(engine.generate(chats(8)))
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith("the endpoint has given no answer for 0 s, the last: 429: slow down")
    assert "until 1 s are over (patience_s)" in told[0]
    refuses = False
    with open_engine(settings(server), "m") as engine:
        assert len(list(engine.generate(chats(8)))) == 8
    assert capfd.readouterr().err == ""


def test_patience_ends_in_the_middle_of_a_long_wait(serve, monkeypatch):
    monkeypatch.setattr("builders.engines.endpoint.FIRST_BACKOFF_S", 20.0)
    server = serve(lambda body, _: "429")
    began = time.monotonic()
    with (
        open_engine(settings(server, patience_s=1), "m") as engine,
        pytest.raises(ConnectionError, match=r"no answer for 1 s and 1 attempts \(patience_s=1\), the last: 429"),
    ):
        list(engine.generate(chats(1)))
    assert time.monotonic() - began < 5


def test_a_wait_that_is_longer_than_patience_is_told_at_once(serve):
    server = serve(lambda body, _: status(429, "daily limit", **{"Retry-After": "86400"}))
    with open_engine(settings(server), "m") as engine, pytest.raises(ConnectionError, match="wait for 86,400 s"):
        list(engine.generate(chats(1)))


def test_what_is_under_way_when_the_run_must_end_is_still_given_out(serve):
    server = serve(lambda body, _: status(401) if body["seed"] == 3 else ok(), lambda body: 0.05 * (body["seed"] != 3))
    found = []
    with open_engine(settings(server, max_in_flight=4), "m") as engine, pytest.raises(PermissionError):
        for completion in engine.generate(chats(50)):
            found.append(completion.request_id)
    assert found == ["r0", "r1", "r2"] and sum(server.paid.values()) == 3


# -- budgets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{"budget_tokens": 2000}, {"budget_usd": 2000e-6}])
def test_a_budget_is_used_and_never_passed(serve, limits):
    """Every answer costs 90 + 10 tokens, a dollar a million; the worst case of one is more."""
    prices = {"price_per_million_input": 1, "price_per_million_output": 1}
    server = serve(lambda body, _: ok(prompt_tokens=90, completion_tokens=10))
    asked = [
        Request(f"r{n}", messages=({"role": "user", "content": "x" * 60},), seed=n, max_tokens=50) for n in range(90)
    ]
    found = []
    capped = settings(server, max_in_flight=8, **prices, **limits)
    with open_engine(capped, "m") as engine, pytest.raises(BudgetError, match=next(iter(limits))) as raised:
        for completion in engine.generate(asked):
            found.append(completion)
    worst = prompt_bound(path_and_body(asked[0], "m")[1]) + 50
    assert sum(server.paid.values()) == len(found), "what was paid for was given out"
    spent = 100 * len(found)
    assert spent <= 2000 < spent + worst, "not one more would have fitted"
    assert "All answers are kept" in str(raised.value)


def test_what_was_spent_before_counts(serve):
    server = serve(lambda body, _: ok())
    capped = settings(server, budget_tokens=10_000)
    with open_engine(capped, "m", spent=Spent(9_999)) as engine, pytest.raises(BudgetError, match="9,999 tokens"):
        list(engine.generate(chats(1)))
    assert server.seen == []


@pytest.mark.parametrize("fault", ["slow", "cut-midway", "truncated"])
def test_an_attempt_that_may_have_been_paid_for_counts_as_its_worst_case(serve, fault):
    server = serve(lambda body, attempt: fault if attempt == 0 else ok())
    with open_engine(settings(server, budget_tokens=10**6, timeout_s=0.3), "m") as engine:
        list(engine.generate(chats(1)))
        spent = engine._endpoint.gate.budget.spent.tokens
        held = engine._endpoint.gate.budget.held
    assert spent == 9 + 512 + prompt_bound(path_and_body(chats(1)[0], "m")[1])
    assert held == Spent()


def test_an_endpoint_that_tells_no_usage_is_charged_the_worst_case(serve):
    server = serve(lambda body, _: web.json_response({"choices": [{"message": {"content": "hi"}}]}))
    with open_engine(settings(server, budget_tokens=10**6), "m") as engine:
        (completion,) = engine.generate(chats(1))
        spent = engine._endpoint.gate.budget.spent.tokens
    most = prompt_bound(path_and_body(chats(1)[0], "m")[1])
    assert (completion.num_prompt_tokens, completion.num_completion_tokens) == (most, 512)
    assert spent == most + 512 and completion.notes == (ESTIMATED,)


def test_a_dollar_budget_needs_prices():
    with pytest.raises(
        ValueError, match=r"budget_usd=5.0 needs both prices: set price_per_million_input and price_per_million_output"
    ):
        OpenAISettings(budget_usd=5, price_per_million_input=1)


def test_cost_is_tokens_times_price():
    priced = OpenAISettings(price_per_million_input=2.0, price_per_million_output=10.0)
    assert priced.cost(500_000, 100_000) == pytest.approx(2.0)
    assert OpenAISettings().cost(1, 1) is None
