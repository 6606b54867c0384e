"""The teacher over an OpenAI-compatible endpoint: a failing server, and the real command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders import sandbox, teacher_samples
from builders.engines import any_engine
from builders.engines.budget import BudgetError
from builders.pairs import render
from builders.recipe import Recipe, Teacher, files
from store import Record, Store, content_id
from tests.batch_server import BatchServer, answered
from tests.fault_server import FaultServer, chance, ok, question, servers
from tests.rows import put
from tests.smoke_run import RECIPE, rows, scoder
from tests.tiny_recipes import read, recipe, teacher

KEY = "sk-never-written-anywhere"
NEEDS_SANDBOX = pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox here")


def code_in(body: dict) -> str:
    return re.search(r"```python\n(.*?)```", question(body), re.DOTALL).group(1)  # type: ignore[union-attr]


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., FaultServer]]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with servers() as start:
        yield lambda answer: start(answer, lambda body: 0.0)


def pooled(path: Path, count: int) -> Store:
    """A store with so many snippets in its pool."""
    snippets = [
        {"name": f"f{n}", "code": f"def f{n}(a):\n    'Add {n}.'\n    return a + {n}\n", "signature": f"def f{n}(a):"}
        for n in range(count)
    ]
    named = [s | {"docstring": "Add.", "snippet_id": content_id("python", s["code"])} for s in snippets]
    store = Store(path)
    put(store, "raw_pool", named)
    put(store, "pool", [{"snippet_id": s["snippet_id"], "position": n} for n, s in enumerate(named)])
    return store


def build(store: Store, made: Recipe) -> Record:
    return teacher_samples.build(store, made.teacher, made.seed)


def asking(folder: Path, url: str, **given) -> Recipe:
    return recipe(folder, teacher=teacher(url, **{"run_examples": False} | given))


def test_an_endpoint_fills_the_same_table(serve, tmp_path: Path) -> None:
    """A fifth of the questions gets no pair, and a fifth of the first attempts a 500, about."""

    def answer(body: dict, attempt: int):
        if chance("fails", question(body)) < 0.2 and attempt == 0:
            return "500"
        is_bad = chance("no pair", question(body)) < 0.2
        return ok("I would rather not." if is_bad else render("Write this function.", code_in(body)), "stop", 10, 5)

    server = serve(answer)
    store = tmp_path / "store"
    prices = "price_per_million_input: 1, price_per_million_output: 2, price_date: 2026-11-22"
    engine = f"{{engine: openai, base_url: '{server.url}', {prices}}}"
    asked = f"{{engine: {engine}, model: loopback, num_snippets: 30, run_examples: false}}"
    done = scoder("run", str(RECIPE), "--store", str(store), "--until", "teacher", "--set", f"teacher={asked}")
    assert done.returncode == 0, done.stderr[-3000:]
    samples = rows(store, "teacher_samples").to_pylist()
    rejected = [r for r in rows(store, "rejects").to_pylist() if r["stage"] == "teacher"]
    assert len(samples) + len(rejected) == 30 and rejected, "every snippet is a sample or a reject"
    assert {s["model"] for s in samples} == {"loopback"}
    assert all(s["cost_usd"] == pytest.approx((10 * 1 + 5 * 2) / 1e6) for s in samples)
    assert len(server.paid) == 30 and set(server.paid.values()) == {1}, "an answered question is never asked again"
    assert sum(server.asked.values()) > 30, "the server failed sometimes, and was asked again"
    assert Store(store).record("teacher_samples").usage.cost_usd == pytest.approx(30 * 20 / 1e6)  # type: ignore[union-attr]
    assert "2026-11-22" in (store / "_runs" / "recipe.yaml").read_text(), "the day of the prices is kept"
    written = b"".join(p.read_bytes() for p in store.rglob("*") if p.is_file())
    assert KEY.encode() not in written and KEY not in done.stderr + done.stdout


def test_answers_that_were_paid_for_survive_a_kill(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(any_engine, "ROWS_PER_SHARD", 4)
    server = serve(lambda body, _: ok(render("Write it.", code_in(body))))
    store, made = pooled(tmp_path / "store", 10), asking(tmp_path, server.url, num_snippets=10)

    class Killed(BaseException):
        pass

    def die(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        # after the answers are journalled, before a shard is written
        patched.setattr(teacher_samples, "table", die)
        with pytest.raises(Killed):
            build(store, made)
    build(store, made)
    assert set(server.paid.values()) == {1} and len(server.paid) == 10, "nothing was paid for twice"
    assert store.record("teacher_samples").usage.prompt_tokens == 70


def test_a_budget_stops_the_teacher_and_more_of_it_goes_on(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(any_engine, "ROWS_PER_SHARD", 4)
    server = serve(lambda body, _: ok(render("Write it.", code_in(body)), "stop", 600, 400))
    store = pooled(tmp_path / "store", 12)
    limits = {"num_snippets": 12, "max_tokens": 400, "max_in_flight": 4}
    with pytest.raises(BudgetError, match=r"budget_tokens=6,000 of which \d"):
        build(store, asking(tmp_path, server.url, **limits, budget_tokens=6000))
    first = sum(server.paid.values())
    assert first * 1000 <= 6000 < first * 1000 + 2000
    assert len(store.present(store.record("teacher_samples").plan)) == first // 4, "complete shards are written"
    record = build(store, asking(tmp_path, server.url, **limits, budget_tokens=14_000))
    assert record.rows == 12 and set(server.paid.values()) == {1}
    assert record.usage.prompt_tokens + record.usage.completion_tokens == 12_000, "over both runs"


def test_an_error_storm_is_not_written_as_rows(serve, tmp_path) -> None:
    server = serve(lambda body, _: "400" if "+ 1" in code_in(body) else ok(render("Write it.", code_in(body))))
    store = pooled(tmp_path / "store", 40)
    with pytest.raises(RuntimeError, match=r"requests ended in an engine error, such as: '400: no'"):
        build(store, asking(tmp_path, server.url, num_snippets=40))
    assert (
        store.record("teacher_samples").status == "building"
        and store.present(store.record("teacher_samples").plan) == {}
    )


def test_unusable_answers_are_asked_again_as_often_as_the_recipe_says(serve, tmp_path) -> None:
    """The seed tells the attempts apart."""
    seeds: dict[str, list[int]] = {}

    def answer(body: dict, _: int):
        tried = seeds.setdefault(question(body), [])
        tried.append(body["seed"])
        return ok("no" if len(tried) < 3 else render("Write it.", code_in(body)), "stop", 10, 1)

    server = serve(answer)
    store = pooled(tmp_path / "store", 3)
    build(store, asking(tmp_path, server.url, num_snippets=3, max_reasks=2))
    found = read(store, "teacher_samples")
    assert [r["prompt_tokens"] for r in found] == [30, 30, 30]
    assert all(len(set(tried)) == 3 for tried in seeds.values())


def test_json_answers_are_held_to_a_schema(serve, tmp_path) -> None:
    def answer(body: dict, _: int):
        assert body["response_format"]["json_schema"]["schema"]["required"] == ["problem", "solution"]
        return ok(json.dumps({"problem": "Write it.", "solution": code_in(body)}))

    server = serve(answer)
    store = pooled(tmp_path / "store", 4)
    build(store, asking(tmp_path, server.url, num_snippets=4, answer_form="json", prompt="teacher-json"))
    assert [r["problem"] for r in read(store, "teacher_samples")] == ["Write it."] * 4


@pytest.mark.parametrize(
    "given, message",
    [
        ({"answer_form": "json", "engine": "docstring"}, "needs engine openai, here it is docstring"),
        ({"answer_form": "json", "engine": {"engine": "openai"}}, "set prompt to teacher-json"),
        ({"engine": {"engine": "openai", "budget_usd": 3}}, "needs both prices: set price_per_million_input"),
        ({"engine": {"engine": "openai", "price_date": "2026-11-22"}}, "is set, but no price"),
        ({"engine": "openai", "budget_usd": 3}, r"write engine: \{engine: openai, budget_usd: …\}"),
        (
            {"engine": "docstrin"},
            "engine is docstring, samples, or the block of transformers, vllm, openai; got 'docstrin'",
        ),
        ({"base_url": "http://user:key@host"}, r"write engine: \{engine: openai, base_url: …\}"),
    ],
)
def test_settings_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Teacher.model_validate(given)


def test_pace_price_and_budget_are_no_part_of_the_plan(serve, tmp_path) -> None:
    server = serve(lambda body, _: ok(render("Write it.", code_in(body))))
    store = pooled(tmp_path / "store", 2)
    first = build(store, asking(tmp_path, server.url, num_snippets=2))
    other = {"max_in_flight": 3, "budget_tokens": 10**6, "requests_per_minute": 10, "max_error_share": 0.5}
    assert build(store, asking(tmp_path, server.url, num_snippets=2, **other)) == first


@NEEDS_SANDBOX
def test_samples_that_fail_their_own_examples_are_left_out(serve, tmp_path) -> None:
    def answer(body: dict, _: int):
        number = int(re.search(r"def f(\d)", question(body)).group(1))  # type: ignore[union-attr]
        claimed = 9 if number == 1 else number
        return ok(render(f"Write it.\n\n>>> f{number}(0)\n{claimed}", code_in(body)))

    server, told = serve(answer), []
    store = pooled(tmp_path / "store", 3)
    store.announce = told.append
    build(store, asking(tmp_path, server.url, num_snippets=3, run_examples=True))
    assert sorted(r["solution"].split("(")[0] for r in read(store, "teacher_samples")) == ["def f0", "def f2"]
    assert "teacher_samples: 1 of 3 samples with examples fail them and are left out" in told


def test_without_a_sandbox_the_teacher_is_not_asked_at_all(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sandbox, "_problem", lambda: "there is no bwrap on the PATH")
    server = serve(lambda body, _: ok())
    store = pooled(tmp_path / "store", 1)
    with pytest.raises(RuntimeError, match=r"teacher\.run_examples"):
        build(store, asking(tmp_path, server.url, num_snippets=1, run_examples=True))
    assert server.seen == [] and store.record("teacher_samples") is None


def test_a_teacher_through_a_batch_api(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(any_engine, "ROWS_PER_SHARD", 4)
    server = BatchServer(lambda body, attempt: answered(render("Write it.", code_in(body))))
    store = pooled(tmp_path / "store", 10)
    record = build(store, asking(tmp_path, server.url, num_snippets=10, batch=True, batch_size=7, poll_s=0.01))
    server.close()
    assert record.rows == 10 and sorted(server.sizes) == [3, 7] and record.usage.prompt_tokens == 70


def test_a_missing_key_is_one_clear_message(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    store = pooled(tmp_path / "store", 4)
    with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
        build(store, asking(tmp_path, "https://api.example.invalid/v1", num_snippets=4))


def test_the_recipe_is_read_from_a_command_line(tmp_path) -> None:
    given = [
        "teacher={engine: {engine: openai, budget_tokens: 5, batch: true, requests_per_minute: 60}, model: m, max_reasks: 1}"
    ]
    settings = files.load(RECIPE, given).teacher.engine_settings()
    assert (settings.engine, settings.budget_tokens, settings.batch, settings.requests_per_minute) == (
        "openai",
        5,
        True,
        60,
    )
