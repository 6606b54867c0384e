"""unusable_answers: what the teacher wrote that gave no sample, when it stops, and asking again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

import scoder
from builders import sandbox, teacher_samples
from builders.engines import Completion, any_engine
from builders.pairs import render
from builders.recipe import Recipe
from builders.teacher import asked_again
from builders.teacher.unusable_share import ANSWERS_OF_TRIAL, ANSWERS_TO_JUDGE, STOPPED, UnusableShare
from store import Store, content_id
from store.errors import InputError, JobError, MissingError
from tests.fault_server import FaultServer, ok, question, servers
from tests.rows import put
from tests.smoke_run import scoder as command
from tests.tiny_recipes import read, recipe, teacher

NEEDS_SANDBOX = pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox here")
GOOD = render("Write it.", "x = 1")
ODD = "### Problem\nHalf \ud83d of a pair, and \0.\n\n### Solution\n```python\nx = 1\n```"


def number_of(body: dict) -> int:
    found = re.search(r"def f(\d+)\(", question(body))
    assert found is not None
    return int(found[1])


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., FaultServer]]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-only")
    with servers() as start:
        yield lambda answer: start(answer, lambda body: 0.0)


def pooled(path: Path, count: int) -> Store:
    """A store whose pool has the functions f0, f1, …"""
    rows = [{"name": f"f{n}", "code": f"def f{n}(a):\n    'Add {n}.'\n    return a + {n}\n"} for n in range(count)]
    rows = [row | {"snippet_id": content_id("python", row["code"]), "docstring": "Add."} for row in rows]
    store = Store(path)
    put(store, "raw_pool", rows)
    put(store, "pool", [{"snippet_id": row["snippet_id"], "position": n} for n, row in enumerate(rows)])
    return store


def asking(folder: Path, url: str, count: int, **given) -> Recipe:
    return recipe(folder, teacher=teacher(url, **{"run_examples": False, "num_snippets": count} | given))


def names(store: Store, table: str) -> dict[str, dict]:
    """The rows of a table by the function that they are about."""
    known = {row["snippet_id"]: row["name"] for row in read(store, "raw_pool")}
    return {known[row["snippet_id"]]: row for row in read(store, table)}


def rejected(store: Store) -> dict[str, str]:
    known = {row["snippet_id"]: row["name"] for row in read(store, "raw_pool")}
    return {known[row["item_id"]]: row["reason"] for row in read(store, "rejects", stage="teacher")}


ANSWERS = {
    0: (ok(GOOD), "ok", ""),
    1: (ok(""), "no_answer", "the answer is empty"),
    2: (ok("I would rather not."), "no_problem", "there is no heading '### Problem'"),
    3: (ok("### Problem\nAdd."), "no_solution", "there is no heading '### Solution'"),
    4: (ok(render("Add.", "x = (")), "syntax_error", "the solution is no Python: '(' was never closed (line 1)"),
    5: (ok("### Problem\nAdd.", "length"), "unfinished", "there is no heading '### Solution'"),
    6: (ok("<think>Hm. " + GOOD, "length"), "unfinished", "the model was still thinking"),
    7: (ok(render("Add.", "(" * 200_000)), "syntax_error", "the solution is no Python: too many nested parentheses"),
    8: (ok(ODD), "ok", ""),
    9: (ok(f"<think>{render('DRAFT.', 'y = 2')}</think>{GOOD}"), "ok", ""),
}


def test_every_kind_of_answer_has_its_row_and_its_reason(serve, tmp_path) -> None:
    def answer(body: dict, _: int):
        said = ANSWERS[number_of(body)][0]
        return type(said)(body=said.body, content_type="application/json")

    server = serve(answer)
    store, made = pooled(tmp_path / "store", 10), asking(tmp_path, server.url, 10, max_unusable_share=1)
    scoder.build_teacher(store, made)
    unusable, samples = names(store, "unusable_answers"), names(store, "teacher_samples")
    for number, (_, status, reason) in ANSWERS.items():
        if status == "ok":
            assert f"f{number}" in samples and f"f{number}" not in unusable
        else:
            row = unusable[f"f{number}"]
            assert row["status"] == status and row["reason"].startswith(reason) and row["prompt_tokens"] == 7
    assert rejected(store) == {name: row["status"] for name, row in unusable.items()}
    assert unusable["f2"]["answer"] == "I would rather not." and unusable["f5"]["finish_reason"] == "length"
    assert unusable["f6"]["answer"] == "" and "Hm." in unusable["f6"]["reasoning"]
    assert samples["f8"]["problem"] == "Half \ufffd of a pair, and \0."
    assert samples["f9"]["problem"] == "Write it." and "DRAFT." in samples["f9"]["reasoning"]
    assert samples["f0"]["reasoning"] is None and samples["f0"]["finish_reason"] == "stop"
    told = store.sql("SELECT status, count(*) AS n FROM unusable_answers GROUP BY status ORDER BY status").fetchall()
    assert ("syntax_error", 2) in told


def test_a_json_answer_that_is_nested_deeply_is_a_row(serve, tmp_path) -> None:
    good = json.dumps({"problem": "Add.", "solution": "x = 1"})
    server = serve(lambda body, _: ok("[" * 200_000 if number_of(body) else good))
    store = pooled(tmp_path / "store", 2)
    scoder.build_teacher(store, asking(tmp_path, server.url, 2, answer_form="json", prompt="teacher-json"))
    row = names(store, "unusable_answers")["f1"]
    assert (row["status"], row["reason"], len(row["answer"])) == (
        "no_problem",
        "the JSON is nested too deeply",
        200_000,
    )


@NEEDS_SANDBOX
def test_a_sample_that_fails_its_examples_says_which_error(serve, tmp_path) -> None:
    server = serve(lambda body, _: ok(render("Two.\n\nassert x == 2", f"x = {2 - number_of(body)}")))
    store = pooled(tmp_path / "store", 2)
    scoder.build_teacher(store, asking(tmp_path, server.url, 2, run_examples=True))
    row = names(store, "unusable_answers")["f1"]
    assert (row["status"], row["reason"]) == ("failed_examples", "it fails an example of its own: AssertionError")


def test_no_sample_at_all_ends_the_stage_with_the_reasons(serve, tmp_path) -> None:
    server = serve(lambda body, _: ok("I would rather not." if number_of(body) else ""))
    store = pooled(tmp_path / "store", 4)
    with pytest.raises(JobError, match=r"none of the 4 answers .*\(no_problem: 3, no_answer: 1\)") as caught:
        scoder.build_teacher(store, asking(tmp_path, server.url, 4))
    assert "I would rather not." in str(caught.value)
    assert len(read(store, "unusable_answers")) == 4 and len(rejected(store)) == 4


# -- a share of unusable answers -------------------------------------------------------------------


def test_too_many_unusable_answers_stop_before_the_rest_is_paid(serve, tmp_path) -> None:
    server = serve(lambda body, _: ok("I would rather not. " * 50 if number_of(body) % 4 else GOOD))
    store, made = pooled(tmp_path / "store", 300), asking(tmp_path, server.url, 300, max_in_flight=64)
    with pytest.raises(JobError, match=r"15 of 20 answers of the teacher give no pair") as caught:
        teacher_samples.build(store, made.teacher, made.seed)
    assert str(caught.value).count("no_problem: there is no heading '### Problem': 'I would") == 3
    assert len(str(caught.value)) < 1500
    asked = sum(server.paid.values())
    assert asked == ANSWERS_TO_JUDGE
    with pytest.raises(JobError, match="give no pair"):
        teacher_samples.build(store, made.teacher, made.seed)
    assert set(server.paid.values()) == {1} and len(server.paid) <= 2 * ANSWERS_TO_JUDGE
    with pytest.raises(MissingError, match="has not been asked for all samples yet"):
        asked_again.ask_again(store, made.teacher, made.seed, [])
    more = asking(tmp_path, server.url, 300, max_in_flight=4, max_unusable_share=0.9)
    assert teacher_samples.build(store, more.teacher, more.seed).rows == 75
    assert set(server.paid.values()) == {1} and len(server.paid) == 300, "the answers of before are kept"


def test_a_mended_server_is_asked_for_the_rest_and_then_for_what_was_of_no_use(serve, tmp_path) -> None:
    is_mended: list[bool] = []
    server = serve(lambda body, _: ok(render(f"{number_of(body)}.", "x = 1") if is_mended else "I would rather not."))
    store, made = pooled(tmp_path / "store", 60), asking(tmp_path, server.url, 60, max_in_flight=4)
    with pytest.raises(JobError, match="run the same command again"):
        teacher_samples.build(store, made.teacher, made.seed)
    lost = sum(server.paid.values())
    is_mended.append(True)
    scoder.build_teacher(store, made)
    assert len(read(store, "teacher_samples")) == 60 - lost
    assert asked_again.ask_again(store, made.teacher, made.seed, []) == {"asked": lost, "usable": lost}
    assert sum(server.paid.values()) == 60 + lost


def thinks_apart(text: str) -> web.Response:
    """An answer whose endpoint has a field for what the model thought, and no text."""
    message = {"role": "assistant", "content": "", "reasoning_content": text}
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})


@pytest.mark.parametrize("said", [lambda text: ok(f"<think>{text}</think>"), thinks_apart], ids=["tags", "apart"])
@pytest.mark.parametrize("count", [4, 30], ids=["none of a few", "a share"])
def test_examples_of_answers_that_only_think_show_what_they_think(serve, tmp_path, said, count) -> None:
    server = serve(lambda body, _: said("The user wants a pair, hm."))
    store, made = pooled(tmp_path / "store", count), asking(tmp_path, server.url, count)
    with pytest.raises(JobError, match=r"no_answer: [^:]*: no text, only thinking: 'The user wants a pair, hm.'"):
        scoder.build_teacher(store, made)


def test_a_rerun_on_a_server_that_is_not_mended_pays_for_three_answers(serve, tmp_path) -> None:
    is_mended: list[bool] = []
    server = serve(lambda body, _: ok(render(f"{number_of(body)}.", "x = 1") if is_mended else "I would rather not."))
    store, made = pooled(tmp_path / "store", 60), asking(tmp_path, server.url, 60, max_in_flight=64)
    for number in range(3):
        with pytest.raises(JobError, match="answers of the teacher give no pair") as caught:
            teacher_samples.build(store, made.teacher, made.seed)
        assert sum(server.paid.values()) == ANSWERS_TO_JUDGE + number * ANSWERS_OF_TRIAL
        assert ("3 of 3 answers of the teacher give no pair, as in the run before" in str(caught.value)) == (number > 0)
    (path,) = Path(store.scratch("")).glob(f"journal-teacher_samples-*/{STOPPED}")
    assert json.loads(path.read_text()) == {"answers": 26, "unusable": 26}
    is_mended.append(True)
    assert teacher_samples.build(store, made.teacher, made.seed).rows == 60 - 26
    assert set(server.paid.values()) == {1} and len(server.paid) == 60 and not path.exists()


def test_a_trial_counts_with_what_was_before(tmp_path) -> None:
    """15 of 20 were of no use. With 3 more that is less than nine of ten, but more than half."""
    (tmp_path / STOPPED).write_text('{"answers": 20, "unusable": 15}')
    bad = Completion("1", "no", "stop", 1, 1, None)
    for most, is_stopped in ((0.5, True), (0.9, False)):
        made = asking(tmp_path, "http://localhost:1/v1", 60, max_unusable_share=most)
        share = UnusableShare(made.teacher, tmp_path)
        assert list(share.first) == [3, 17]
        assert [share(bad) is None for _ in range(3)] == [True, True, not is_stopped]
    assert list(UnusableShare(asking(tmp_path, "http://h/v1", 9, max_unusable_share=1).teacher, tmp_path).first) == []
    for damaged in ("", "[]", '{"answers": null, "unusable": 1}'):
        (tmp_path / STOPPED).write_text(damaged)
        assert list(UnusableShare(made.teacher, tmp_path).first) == [20]


def test_a_few_unusable_answers_stop_nothing(serve, tmp_path) -> None:
    server = serve(lambda body, _: ok("no" if number_of(body) % 2 else GOOD))
    store, made = pooled(tmp_path / "store", 60), asking(tmp_path, server.url, 60, max_in_flight=1)
    assert teacher_samples.build(store, made.teacher, made.seed).rows == 30


# -- asking again ----------------------------------------------------------------------------------


class Teacher:
    """A server whose answers get better when it is mended."""

    def __init__(self) -> None:
        self.is_mended = False

    def __call__(self, body: dict, _: int):
        number = number_of(body)
        if number % 3 == 0 or (self.is_mended and number != 1):
            return ok(render(f"Number {number}.", f"x = {number}"))
        return ok("no" if number % 3 == 1 else render("Add.", "x = ("))


def test_asking_again_asks_those_alone_and_keeps_the_others(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(any_engine, "ROWS_PER_SHARD", 2)
    said = Teacher()
    server = serve(said)
    store, made = pooled(tmp_path / "store", 9), asking(tmp_path, server.url, 9, max_unusable_share=1)
    scoder.build_teacher(store, made)
    before = names(store, "teacher_samples")
    assert before.keys() == {"f0", "f3", "f6"}
    said.is_mended = True
    server.paid.clear()
    other = asking(tmp_path, server.url, 9, max_unusable_share=1, reference_share=0.9, validation_share=0)
    assert scoder.ask_again(store, other, ["no_problem"]) == {"asked": 3, "usable": 2}
    assert sum(server.paid.values()) == 3, "only those with this status"
    after = names(store, "teacher_samples")
    assert after.keys() == {"f0", "f3", "f6", "f4", "f7"} and {k: after[k] for k in before} == before
    assert rejected(store) == {"f1": "no_problem", "f2": "syntax_error", "f5": "syntax_error", "f8": "syntax_error"}
    assert store.record("teacher_samples").usage.prompt_tokens == 7 * 12, "what both times cost"
    assert after["f4"]["split"] == "train", "the splits are those of the first time"

    scoder.build_teacher(store, made)
    assert names(store, "teacher_samples") == after, "the same recipe accepts them"
    assert scoder.ask_again(store, made) == {"asked": 4, "usable": 3}
    assert rejected(store) == {"f1": "no_problem"} and sum(server.paid.values()) == 7
    assert len({body["seed"] for _, body, _ in server.seen if number_of(body) == 1}) == 3, "each time another seed"


def test_asking_again_with_a_mended_prompt(serve, tmp_path) -> None:
    def answer(body: dict, _: int):
        is_mended = "one JSON object" in question(body)
        return ok(GOOD if is_mended or number_of(body) == 0 else "no")

    server = serve(answer)
    store, first = pooled(tmp_path / "store", 3), asking(tmp_path, server.url, 3, max_unusable_share=1)
    scoder.build_teacher(store, first)
    mended = asking(tmp_path, server.url, 3, max_unusable_share=1, prompt="teacher-json")
    assert scoder.ask_again(store, mended, ["no_problem"]) == {"asked": 2, "usable": 2}
    for made in (first, mended):
        assert teacher_samples.build(store, made.teacher, made.seed).rows == 3
    versions = {name: row["prompt_version"] for name, row in names(store, "teacher_samples").items()}
    assert versions["f1"] == versions["f2"] != versions["f0"]
    other = asking(tmp_path, server.url, 3, max_unusable_share=1, temperature=0.1)
    with pytest.raises(ValueError, match="built under another plan"):
        teacher_samples.build(store, other.teacher, other.seed)
    with pytest.raises(InputError, match="no answer of the teacher is unusable"):
        scoder.ask_again(store, mended, ["no_problem"])


@pytest.mark.parametrize("place", ["answers", "before the samples", "after the samples"])
def test_asking_again_survives_a_kill(serve, tmp_path, monkeypatch, place) -> None:
    said = Teacher()
    server = serve(said)
    store, made = pooled(tmp_path / "store", 6), asking(tmp_path, server.url, 6, max_unusable_share=1)
    scoder.build_teacher(store, made)
    said.is_mended = True
    server.paid.clear()

    class Killed(BaseException):
        pass

    def die(*arguments: object, **named: object) -> None:
        raise Killed

    target = {
        "answers": (asked_again, "_write"),
        "before the samples": (asked_again, "made"),
        "after the samples": (teacher_samples, "build_rejects"),
    }[place]
    with monkeypatch.context() as patched:
        patched.setattr(*target, die)
        with pytest.raises(Killed):
            scoder.ask_again(store, made)
    if place == "answers":
        assert len(names(store, "teacher_samples")) == 2, "the samples of before are there"
        scoder.ask_again(store, made)
    scoder.build_teacher(store, made)
    assert names(store, "teacher_samples").keys() == {f"f{n}" for n in range(6)} - {"f1"}
    assert rejected(store) == {"f1": "no_problem"} and set(server.paid.values()) == {1}


def test_nobody_can_be_asked_again_for_docstrings(tmp_path) -> None:
    store = pooled(tmp_path / "store", 3)
    made = recipe(tmp_path, teacher={"num_snippets": 3})
    with pytest.raises(InputError, match="nobody was asked for the teacher samples"):
        scoder.ask_again(store, made)


def test_the_command_asks_again_and_says_how_many(serve, tmp_path) -> None:
    said = Teacher()
    server = serve(said)
    store, made = pooled(tmp_path / "store", 6), asking(tmp_path, server.url, 6, max_unusable_share=1)
    scoder.build_teacher(store, made)
    said.is_mended = True
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(made.model_dump(mode="json")))
    where = ("--store", str(tmp_path / "store"), "--recipe", str(path))
    done = command("ask-again", "--reason", "syntax_error", "--json", *where)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [{"asked": 2, "usable": 2}]
    again = command("ask-again", "--reason", "syntax_error", *where)
    assert again.returncode == 2 and "there are: no_problem (2)" in again.stderr
