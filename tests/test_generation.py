"""Asking without paying twice: an answered request is never asked again, an unanswered one always is."""

import json
from collections.abc import Iterable, Iterator

import pytest

from builders.engines import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request
from builders.engines.settings import EngineSettings
from builders.generation import answer, journal_path, read_journal, usage
from store import Plan, Store

REMOTE = EngineSettings(engine="openai", price_per_million_input=1.0, price_per_million_output=2.0)
LOCAL = EngineSettings(engine="transformers")
REQUESTS = [Request(request_id=f"r{n}", prompt=f"question {n}", seed=n) for n in range(6)]


class Echo(Engine):
    """An engine that repeats the prompt, the last request first in each group of two; it can fail and die."""

    def __init__(self, errors: frozenset[str] = frozenset(), dies_at: str | None = None, mute: str | None = None):
        self.asked: list[str] = []
        self.errors, self.dies_at, self.mute = errors, dies_at, mute

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        held: list[Request] = []
        for request in requests:
            self.asked.append(request.request_id)
            held.append(request)
            if len(held) == 2:
                yield from self._answers(held)
                held = []
        yield from self._answers(held)

    def _answers(self, held: list[Request]) -> Iterator[Completion]:
        for request in reversed(held):
            name = request.request_id
            if name == self.dies_at:
                raise KeyboardInterrupt
            if name != self.mute:
                failed = name in self.errors
                text = "" if failed else f"{request.prompt}\x0b\u2028\x85 né\r\n \ud83d"
                yield Completion(name, text, "error" if failed else "stop", 10, 5, None, "boom" if failed else None)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def test_answers_are_in_the_order_of_the_requests(tmp_path):
    found = answer(Echo(), REQUESTS, REMOTE, tmp_path / "journal" / "shard.jsonl")
    assert [c.request_id for c in found] == [r.request_id for r in REQUESTS]
    assert [c.text.split("\x0b")[0] for c in found] == [r.prompt for r in REQUESTS]


def test_after_a_kill_only_what_is_unanswered_is_asked(tmp_path):
    journal = tmp_path / "shard.jsonl"
    with pytest.raises(KeyboardInterrupt):
        answer(Echo(dies_at="r2"), REQUESTS, REMOTE, journal)
    assert [c.request_id for c in read_journal(journal)] == ["r1", "r0", "r3"]
    again = Echo()
    found = answer(again, REQUESTS, REMOTE, journal)
    assert again.asked == ["r2", "r4", "r5"]
    assert found == answer(Echo(), REQUESTS, REMOTE, tmp_path / "other.jsonl")
    finished = Echo()
    assert answer(finished, REQUESTS, REMOTE, journal) == found and finished.asked == []


def test_a_last_line_that_was_cut_is_dropped_and_its_request_asked_again(tmp_path):
    journal = tmp_path / "shard.jsonl"
    whole = answer(Echo(), REQUESTS[:4], REMOTE, journal)
    data = journal.read_bytes()
    for cut in (1, 2, 30, len(data.splitlines()[-1])):
        journal.write_bytes(data[:-cut])
        again = Echo()
        assert answer(again, REQUESTS[:4], REMOTE, journal) == whole
        assert again.asked == ["r2"]
        assert [json.loads(line)["request_id"] for line in journal.read_text().splitlines()] == ["r1", "r0", "r3", "r2"]


def test_errors_are_in_the_answer_but_are_asked_again(tmp_path):
    journal = tmp_path / "shard.jsonl"
    found = answer(Echo(errors=frozenset({"r0", "r3"})), REQUESTS, REMOTE, journal)
    assert [c.finish_reason for c in found] == ["error", "stop", "stop", "error", "stop", "stop"]
    assert found[0].error == "boom"
    again = Echo()
    assert [c.finish_reason for c in answer(again, REQUESTS, REMOTE, journal)] == ["stop"] * 6
    assert again.asked == ["r0", "r3"]


def test_a_local_engine_answers_whole_shards_and_leaves_no_journal(tmp_path):
    """Its bits depend on which requests are decoded together, so that a part of a shard must not be asked."""
    journal = tmp_path / "shard.jsonl"
    answer(Echo(), REQUESTS[:3], REMOTE, journal)
    before = journal.read_bytes()
    engine = Echo()
    answer(engine, REQUESTS, LOCAL, journal)
    assert engine.asked == [r.request_id for r in REQUESTS] and journal.read_bytes() == before


@pytest.mark.parametrize("settings", [REMOTE, LOCAL])
def test_a_request_without_any_answer_is_an_error_that_names_it(tmp_path, settings):
    with pytest.raises(RuntimeError, match="no answer to 1 of 6 requests, first r4"):
        answer(Echo(mute="r4"), REQUESTS, settings, tmp_path / "shard.jsonl")


def test_answers_of_other_requests_in_a_journal_are_not_given_out(tmp_path):
    journal = tmp_path / "shard.jsonl"
    answer(Echo(), REQUESTS, REMOTE, journal)
    assert [c.request_id for c in answer(Echo(), REQUESTS[4:], REMOTE, journal)] == ["r4", "r5"]


def test_every_plan_and_shard_has_a_journal_of_its_own(tmp_path):
    store = Store(tmp_path)
    plans = [Plan(table="candidates", partition={"iteration": 1}, fields={"seed": s}, num_shards=2) for s in (0, 1)]
    paths = {journal_path(store, plan, index) for plan in plans for index in (0, 1)}
    assert len(paths) == 4 and all(str(p).startswith(str(tmp_path)) for p in paths)


def test_usage_adds_up_tokens_and_cost(tmp_path):
    found = answer(Echo(), REQUESTS, REMOTE, tmp_path / "shard.jsonl")
    assert usage(REMOTE, found).model_dump() == {
        "wall_s": 0.0,
        "prompt_tokens": 60,
        "completion_tokens": 30,
        "cost_usd": pytest.approx(6 * (10 * 1.0 + 5 * 2.0) / 1e6),
    }
    assert usage(LOCAL, found).cost_usd is None
    assert usage(REMOTE, []).cost_usd is None
