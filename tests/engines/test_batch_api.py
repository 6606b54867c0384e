"""The batch API behind the seam of the engines, against an offline provider."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from builders.engines import (
    ChoiceRequest,
    Completion,
    OpenAISettings,
    Request,
    answers,
    batch_answers,
    endpoint,
    open_engine,
)
from builders.engines.batch_state import BatchState
from builders.engines.budget import BudgetError, Spent
from builders.engines.gate import StoppedError
from builders.engines.protocol import ESTIMATED
from tests.batch_server import BatchServer, answered

ROOT = Path(__file__).parents[2]


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., BatchServer]]:
    monkeypatch.setattr(endpoint, "FIRST_BACKOFF_S", 0.01)
    servers = []

    def start(*arguments, **options) -> BatchServer:
        servers.append(BatchServer(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def settings(server: BatchServer, **changes) -> OpenAISettings:
    return OpenAISettings(base_url=server.url, batch=True, poll_s=0.01, **{"batch_size": 10, **changes})


def text_of(body: dict) -> str:
    return body["messages"][-1]["content"]


def echo(body: dict, attempt: int) -> tuple[int, dict]:
    return answered(f"answer to {text_of(body)}")


def chats(count: int) -> list[Request]:
    return [Request(f"r{i}", messages=({"role": "user", "content": f"n{i}"},), seed=i) for i in range(count)]


def ask(server: BatchServer, state: Path, count: int, spent: Spent = Spent(), **changes) -> dict[str, Completion]:  # noqa: B008
    with open_engine(settings(server, **changes), "m", spent=spent, state=state) as engine:
        found = list(engine.generate(iter(chats(count))))
    assert len({c.request_id for c in found}) == len(found)
    return {c.request_id: c for c in found}


def test_requests_become_batches_and_answers_find_their_requests(serve, tmp_path):
    server = serve(echo)
    found = ask(server, tmp_path / "state", 25)
    assert {name: c.text for name, c in found.items()} == {f"r{i}": f"answer to n{i}" for i in range(25)}
    assert {(c.num_prompt_tokens, c.num_completion_tokens, c.finish_reason) for c in found.values()} == {(7, 2, "stop")}
    assert sorted(server.sizes) == [5, 10, 10] and set(server.paid.values()) == {1}
    line = json.loads(server.files["file-0"].splitlines()[0])
    assert (line["custom_id"], line["method"], line["url"]) == ("r0", "POST", "/v1/chat/completions")
    assert (line["body"]["model"], line["body"]["seed"]) == ("m", 0)
    assert BatchState(tmp_path / "state").open_batches() == []


def test_what_a_batch_leaves_unanswered_goes_into_another(serve, tmp_path):
    server = serve(lambda body, attempt: None if attempt == 0 and text_of(body) == "n3" else echo(body, attempt))
    server._fate = lambda number: "expired" if number == 0 else "completed"
    found = ask(server, tmp_path / "state", 10)
    assert all(c.text == f"answer to n{c.request_id[1:]}" for c in found.values()) and len(found) == 10
    assert set(server.paid.values()) == {1} and len(server.batches) >= 2


def test_refusals_and_lasting_failures_are_answers(serve, tmp_path):
    def answer(body: dict, attempt: int) -> tuple[int, dict]:
        kind = {"n0": (400, {"error": "no"}), "n1": (400, {"error": "maximum context length"}), "n2": (500, {})}
        return kind.get(text_of(body)) or echo(body, attempt)

    server = serve(answer)
    found = ask(server, tmp_path / "state", 5, max_retries=2)
    assert [found[f"r{i}"].finish_reason for i in range(5)] == ["error", "prompt_too_long", "error", "stop", "stop"]
    assert found["r0"].error == '400: {"error": "no"}' and found["r2"].error == "gave up after 3 batches"
    assert server.asked["n2"] == 3 and server.asked["n0"] == 1


def test_a_batch_that_the_provider_refuses_ends_the_run_with_its_reason(serve, tmp_path):
    server = serve(echo, fate=lambda number: "failed" if number == 0 else "completed")
    with pytest.raises(RuntimeError, match=r"Enqueued token limit reached.*smaller batch_size"):
        ask(server, tmp_path / "state", 5)
    assert len(ask(server, tmp_path / "state", 5)) == 5, "and the next run submits it again"


def test_an_order_whose_answer_was_lost_is_not_given_twice(serve, tmp_path):
    server = serve(echo, drop_orders=1)
    assert len(ask(server, tmp_path / "state", 5)) == 5
    assert len(server.batches) == 1 and set(server.paid.values()) == {1}


def test_a_budget_bounds_what_is_submitted(serve, tmp_path):
    """An answer costs 80 tokens, its worst case almost 600: batches shrink to what surely fits."""
    server = serve(lambda body, attempt: answered("hi", prompt_tokens=60, completion_tokens=20))
    with (
        open_engine(settings(server, budget_tokens=5000), "m", spent=Spent(1000), state=tmp_path / "state") as engine,
        pytest.raises(BudgetError, match="budget_tokens=5,000"),
    ):
        found = []
        for completion in engine.generate(chats(10_000)):
            found.append(completion)
            assert 1000 + 80 * len(found) <= 5000
    assert len(found) == sum(server.paid.values())
    assert 1000 + 80 * len(found) + 600 > 5000


def test_choices_are_asked_a_line_per_question(serve, tmp_path):
    server = serve(lambda body, attempt: answered(text_of(body)[-1], completion_tokens=1))
    asked = [
        ChoiceRequest(f"c{n}", tuple(({"role": "user", "content": f"{n} {d}"},) for d in (3, 8))) for n in range(7)
    ]
    with open_engine(settings(server, batch_size=4), "m", state=tmp_path / "state") as engine:
        found = list(engine.choose(asked))
    assert sorted(c.request_id for c in found) == [f"c{n}" for n in range(7)]
    for completion in found:
        assert [row.index(1.0) for row in completion.probabilities or ()] == [3, 8]
        assert (completion.num_prompt_tokens, completion.num_completion_tokens) == (14, 2)


def test_a_request_over_two_batches_is_not_paid_for_twice_after_a_kill_between_them(serve, tmp_path):
    """Three lines a batch, two a request: c1 has a line in each of the first two batches."""
    server = serve(lambda body, _: answered("7"), fate=lambda number: "completed" if number == 0 else "in_progress")
    asked = [
        ChoiceRequest(f"c{n}", tuple(({"role": "user", "content": f"{n} {d}"},) for d in (3, 8))) for n in range(3)
    ]
    found: list[str] = []

    def consume() -> None:
        with contextlib.suppress(StoppedError, CancelledError):
            found.extend(c.request_id for c in engine.choose(asked))

    with open_engine(settings(server, batch_size=3), "m", state=tmp_path / "state") as engine:
        thread = threading.Thread(target=consume)
        thread.start()
        while len(server.batches) < 2 or server.batches["batch-1"]["polls"] < 9:
            time.sleep(0.01)
        engine.close()
        thread.join()
    server._fate = lambda number: "completed"
    left = [request for request in asked if request.request_id not in found]
    assert [request.request_id for request in left] == ["c1", "c2"]
    with open_engine(settings(server, batch_size=3), "m", state=tmp_path / "state") as engine:
        found += [c.request_id for c in engine.choose(left)]
    assert sorted(found) == ["c0", "c1", "c2"] and set(server.paid.values()) == {1} and len(server.batches) == 2
    assert BatchState(tmp_path / "state").open_batches() == []


def test_a_batch_needs_a_place_for_its_state(serve):
    with pytest.raises(ValueError, match="set batch to false"):
        open_engine(settings(serve(echo)), "m")


ASKING = """
import sys
from pathlib import Path
from builders.engines import OpenAISettings, Request, open_engine
from builders.engines.answers import open_answers
url, folder = sys.argv[1:]
settings = OpenAISettings(base_url=url, batch=True, batch_size=10, poll_s=0.02)
def requests_of(shard):
    return [Request(f"r{n}", messages=({"role": "user", "content": f"n{n}"},)) for n in range(shard * 10, shard * 10 + 10)]
with (
    open_engine(settings, "m", state=Path(folder) / "batches.jsonl") as engine,
    open_answers(Path(folder), range(3), settings, engine.generate, requests_of) as answers,
):
    for shard in range(3):
        for completion in answers.of(shard, [f"r{n}" for n in range(shard * 10, shard * 10 + 10)]):
            print(completion.request_id, completion.text)
"""


def test_batches_that_were_open_at_a_kill_are_collected_and_not_submitted_again(serve, tmp_path):
    server = serve(echo, num_polls=10**9)
    command = [sys.executable, "-c", ASKING, server.url, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        end = time.monotonic() + 20
        while sum(b["polls"] for b in server.batches.values()) < 6:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.kill()
    state = tmp_path / "batches.jsonl"
    whole = state.read_text().splitlines(keepends=True)
    # As if the kill had come before the id of the last batch was heard.
    state.write_text("".join(whole[:-1]) + whole[-1][:20])
    server._num_polls = 1
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == [f"r{n} answer to n{n}" for n in range(30)]
    assert len(server.batches) == 3 and set(server.paid.values()) == {1}


def test_a_refused_parameter_is_learnt_for_all_lines_of_a_batch(serve, tmp_path):
    """All lines of the first batch are refused. All are asked again, not the first alone."""

    def answer(body, attempt):
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, {"error": {"message": message, "param": "max_tokens"}}
        return echo(body, attempt)

    found = ask(serve(answer), tmp_path / "state", 5)
    assert [found[f"r{n}"].text for n in range(5)] == [f"answer to n{n}" for n in range(5)]
    assert {one.notes for one in found.values()} == {("the endpoint calls max_tokens max_completion_tokens",)}


def test_odd_lines_of_a_batch_are_refused_once_with_what_they_cost(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234567890")
    said = {
        "n0": (200, {"generated_text": "hi", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
        "n1": (200, {"error": {"code": 400, "message": "not welcome: sk-secret-1234567890"}}),
        "n2": (200, {"choices": [{"message": {"content": "sk-secret-1234567890", "reasoning": "hm"}}]}),
    }
    server = serve(lambda body, attempt: said[text_of(body)])
    found = ask(server, tmp_path / "state", 3)
    assert (found["r0"].finish_reason, found["r0"].num_prompt_tokens) == ("error", 3)
    assert "not welcome: [key]" in found["r1"].error and found["r1"].num_prompt_tokens == 0
    assert (found["r2"].text, found["r2"].reasoning, found["r2"].notes) == ("[key]", "hm", (ESTIMATED,))
    assert found["r2"].num_completion_tokens == 512 and server.sizes == [3]


def test_a_line_that_nobody_can_read_is_an_answer_of_no_known_form():
    deep = b'{"custom_id": "r7", "response": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    told = batch_answers.line_of(deep)
    assert told["custom_id"] == "r7" and "nested too deeply" in told["response"]["body"]["unreadable"]
    assert batch_answers.line_of(deep.replace(b'"custom_id": "r7"', b'"x": 1')) is None
    assert batch_answers.line_of(b'{"custom_id": "r7", "resp') is None


@pytest.mark.parametrize("code", [502, 400])
def test_an_error_in_a_line_costs_what_its_usage_says(serve, tmp_path, code):
    """A line that is asked again is counted each time; one that is refused has its cost."""
    broke = {"error": {"code": code, "message": "no"}, "usage": {"prompt_tokens": 60, "completion_tokens": 40}}
    server = serve(lambda body, attempt: (200, broke))
    before = answers.spent_in(tmp_path, settings(server))
    with open_engine(settings(server, max_retries=2), "m", spent=before, state=tmp_path / "state") as engine:
        (found,) = engine.generate(chats(1))
        spent = engine._budget.spent.tokens
    lost = answers.spent_in(tmp_path, settings(server, budget_tokens=1)).tokens
    assert spent == lost + found.num_prompt_tokens + found.num_completion_tokens == (300 if code == 502 else 100)


def test_a_line_of_any_status_2xx_is_an_answer(serve, tmp_path):
    server = serve(lambda body, attempt: (201, answered("hi")[1]))
    (found,) = ask(server, tmp_path / "state", 1).values()
    assert found.text == "hi" and server.sizes == [1]
