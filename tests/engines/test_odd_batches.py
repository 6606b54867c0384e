"""Batches as odd providers keep them: what was paid for is never ordered again."""

from __future__ import annotations

import json

import pytest

from builders.engines import ChoiceRequest, answers, batch_provider, open_engine
from builders.engines.batch_state import BatchState
from builders.engines.budget import Spent
from builders.engines.choices import DIGITS
from store.errors import JobError, UnreachableError
from tests.batch_server import answered
from tests.engines.test_batch_api import ask, chats, echo, serve, settings, text_of

__all__ = ["serve"]


def texts(found) -> dict[str, str]:
    return {name: one.text for name, one in found.items()}


WHOLE = {f"r{n}": f"answer to n{n}" for n in range(5)}


def text_body(line):
    return line | {"response": line["response"] | {"body": json.dumps(line["response"]["body"])}}


def text_status(line):
    return line | {"response": line["response"] | {"status_code": "200"}}


def no_status(line):
    return line | {"response": {"body": line["response"]["body"]}}


def bare(line):
    return line | {"response": line["response"]["body"]}


@pytest.mark.parametrize("told", [text_body, text_status, no_status, bare])
def test_whole_answers_of_other_forms_are_read_and_paid_once(serve, tmp_path, told):
    server = serve(echo)
    server.told = told
    assert texts(ask(server, tmp_path / "state", 5)) == WHOLE and set(server.paid.values()) == {1}


def test_a_line_without_an_answer_is_refused_once(serve, tmp_path):
    server = serve(lambda body, _: (200, {"choices": []}))
    (found,) = ask(server, tmp_path / "state", 1).values()
    assert found.finish_reason == "error" and found.num_completion_tokens == 512 and set(server.paid.values()) == {1}


def with_counts(batch, is_hidden=lambda batch: False):
    if batch["status"] != "completed":
        return batch
    shown = batch | {"request_counts": {"total": 5, "completed": 5, "failed": 0}}
    return shown | {"output_file_id": None} if is_hidden(batch) else shown


def test_a_file_of_answers_that_is_named_later_is_waited_for(serve, tmp_path):
    server = serve(echo)
    server.shown = lambda batch: with_counts(batch, lambda one: one["polls"] < 5)
    assert texts(ask(server, tmp_path / "state", 5)) == WHOLE and set(server.paid.values()) == {1}


@pytest.mark.parametrize("tells_counts", [True, False])
def test_answers_that_are_withheld_are_counted_once_and_looked_for_again(serve, tmp_path, tells_counts):
    """The worst case of a request is 82 + 512 tokens."""
    server = serve(echo)
    is_hidden = True

    def shown(batch):
        hidden = batch | {"output_file_id": None, "error_file_id": None}
        return with_counts(batch, lambda one: is_hidden) if tells_counts else hidden if is_hidden else batch

    server.shown = shown
    capped = settings(server, budget_tokens=10**6, patience_s=0.05)
    for _ in range(2):
        before = answers.spent_in(tmp_path, capped)
        with (
            pytest.raises(JobError, match=r"5 requests of batch batch-0 are answered, but gives no file"),
            open_engine(capped, "m", spent=before, state=tmp_path / "state") as engine,
        ):
            list(engine.generate(chats(5)))
        assert answers.spent_in(tmp_path, capped).tokens == 5 * (82 + 512)
    is_hidden = False
    before = answers.spent_in(tmp_path, capped)
    with open_engine(capped, "m", spent=before, state=tmp_path / "state") as engine:
        assert {one.request_id: one.text for one in engine.generate(chats(5))} == WHOLE
        assert engine._budget.spent.tokens == 5 * 9
    assert answers.spent_in(tmp_path, capped).tokens == 0 and set(server.paid.values()) == {1}
    assert BatchState(tmp_path / "state").open_batches() == []


@pytest.mark.parametrize("num_cut", [1, 99])
@pytest.mark.parametrize("lost", [30, 130])
def test_a_file_that_was_cut_is_fetched_again_and_its_answers_are_never_asked_again(serve, tmp_path, num_cut, lost):
    server = serve(echo)
    server.shown = with_counts
    server.served = lambda content, number: content[:-lost] if number < num_cut else content
    found = ask(server, tmp_path / "state", 5)
    assert set(server.paid.values()) == {1} and set(server.fetched.values()) == {min(num_cut + 1, 4)}
    refused = {one.error for one in found.values() if one.finish_reason == "error"}
    assert bool(refused) == (num_cut == 99) and all("the answer is paid for" in error for error in refused)


def test_a_lost_order_is_found_by_its_file_and_on_later_pages(serve, tmp_path):
    server = serve(echo, drop_orders=1)
    server.page = 1
    server.shown = lambda batch: {name: value for name, value in batch.items() if name != "metadata"}
    newer = {"status": "completed", "polls": 0, "input_file_id": "other"}
    find = batch_provider.Provider.find

    def found_late(provider, name, file_id):
        server.batches.update({f"other-{n}": newer | {"id": f"other-{n}"} for n in range(3)})
        return find(provider, name, file_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_provider.Provider, "find", found_late)
        assert texts(ask(server, tmp_path / "state", 5)) == WHOLE
    assert set(server.paid.values()) == {1} and server.sizes == [5]


def test_an_order_that_cannot_be_looked_for_is_not_given_again(serve, tmp_path, monkeypatch):
    server = serve(echo, drop_orders=2)
    server.shown = lambda batch: batch | {"id": "x", "metadata": None, "input_file_id": None}
    server.page = 0
    server.batches["x"] = {"id": "x", "status": "completed", "polls": 0, "number": 9}
    with pytest.raises(UnreachableError, match=r"list of batches cannot be read to its end.*is not ordered again"):
        ask(server, tmp_path / "state", 5)
    assert server.sizes == [5]


def test_a_lesson_that_did_not_help_is_not_confirmed(serve, tmp_path, capfd):
    """The words of the first refusal name the seed, but the fault lies in the text."""

    def answer(body, attempt):
        return (400, {"error": {"message": "seed is not supported here"}}) if text_of(body) == "n0" else echo(body, 0)

    found = ask(serve(answer), tmp_path / "state", 5)
    assert found["r0"].finish_reason == "error" and "seed" not in capfd.readouterr().err
    assert {one.notes for name, one in found.items() if name != "r0"} == {()}


def test_a_lesson_that_helped_is_told_and_holds_for_the_next_lines(serve, tmp_path, capfd):
    def answer(body, attempt):
        return (400, {"error": {"message": "seed is not supported"}}) if "seed" in body else answered("hi")

    server = serve(answer)
    found = ask(server, tmp_path / "state", 12, batch_size=3)
    assert {(one.text, len(one.notes)) for one in found.values()} == {("hi", 1)}
    assert capfd.readouterr().err.count("takes no seed") == 1 and set(server.paid.values()) == {1}


def test_a_choice_that_is_cut_while_the_model_thinks_gets_more_tokens_in_the_next_batch(serve, tmp_path, capfd):
    def answer(body, attempt):
        if body["max_tokens"] <= 16:
            message = {"role": "assistant", "content": None, "reasoning_content": "The problem is"}
            choice = {"message": message, "finish_reason": "length"}
            return 200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": body["max_tokens"]}}
        return answered("8")

    server = serve(answer)
    asked = [ChoiceRequest(f"r{n}", (({"role": "user", "content": f"n{n}"},),), DIGITS) for n in range(6)]
    losses = tmp_path / "lost.jsonl"
    with open_engine(settings(server), "m", spent=Spent(losses=losses), state=tmp_path / "state") as engine:
        found = list(engine.choose(asked))
    assert [max(one.probabilities[0]) for one in found] == [1.0] * 6
    assert set(server.paid.values()) == {2} and capfd.readouterr().err.count("thinks before it answers") == 1


def test_a_batch_of_a_killed_run_is_read_as_it_was_said(tmp_path):
    state = BatchState(tmp_path / "state")
    name = state.begin(["r0"], ["the endpoint takes no seed"])
    state.uploaded(name, "file-1")
    state.submitted(name, "batch-1")
    state.count(name, 7, 0.5)
    (batch,) = BatchState(tmp_path / "state").open_batches()
    assert (batch.batch_id, batch.input_file_id, batch.lessons) == ("batch-1", "file-1", ["the endpoint takes no seed"])
    assert batch.counted == (7, 0.5)
