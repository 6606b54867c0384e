"""evaluations: all models are asked in the same forms, in one stream, and errors are no scores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import benchmarks, checkpoints, evaluations, metrics, sandbox
from builders.engines import OpenAISettings, TransformersSettings
from builders.engines.checkpoints import last_checkpoint
from builders.recipe import Benchmark, Evaluation
from store import CONTRACTS, Store
from store.errors import JobError
from tests.engine_models import save_model
from tests.fault_server import FaultServer, ok, status
from tests.made_benchmarks import answer, benchmark, number_of, row, written
from tests.tiny_recipes import read

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")

Serve = Callable[..., FaultServer]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    servers: list[FaultServer] = []

    def start(*arguments: Any, **options: Any) -> FaultServer:
        servers.append(FaultServer(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def local(max_model_tokens: int = 256, **given: Any) -> Evaluation:
    engine = TransformersSettings(max_model_tokens=max_model_tokens, num_threads=1)
    return Evaluation(engine=engine, max_tokens=4, **given)


def served(server: FaultServer, **given: Any) -> Evaluation:
    engine = OpenAISettings(base_url=server.url, max_in_flight=given.pop("max_in_flight", 8), max_retries=1)
    return Evaluation(engine=engine, **{"forms": ("chat",), "max_tokens": 64} | given)


def opened(tmp_path: Path, *given: Benchmark, model: str = "m") -> tuple[Store, dict[str, Any]]:
    """A store with the benchmarks, and the checkpoint of a model."""
    store = Store(tmp_path / "store")
    checkpoints.build_base(store, model, None, "coder-base")
    for one in given:
        benchmarks.build(store, one)
    return store, last_checkpoint(store, "coder-base")


def made(tmp_path: Path, number: int, name: str = "made") -> Benchmark:
    return Benchmark(name=name, path=str(benchmark(tmp_path / f"{name}.jsonl", number)))


def rows(store: Store, checkpoint: dict[str, Any], name: str = "made") -> list[dict[str, Any]]:
    return read(store, "evaluations", checkpoint=checkpoint["checkpoint_id"], benchmark=name)


@pytest.mark.parametrize(("max_model_tokens", "answers"), [(4, False), (256, True)])
def test_a_checkpoint_is_asked_by_the_engine_of_the_recipe(
    tmp_path: Path, max_model_tokens: int, answers: bool
) -> None:
    """A prompt that does not fit the engine's window gets no answer."""
    given = made(tmp_path, 2)
    store, checkpoint = opened(tmp_path, given, model=save_model(tmp_path / "model"))
    settings = local(max_model_tokens, max_error_share=1.0)
    (record,) = evaluations.build(store, settings, checkpoint, [given], 0)
    assert set(record.plan.inputs) == {"benchmarks/benchmark-made", "checkpoints/role-coder-base"}
    found = rows(store, checkpoint)
    assert [one["status"] for one in found] == ["failed" if answers else "unanswered"] * 4
    assert all(bool(one["completion_tokens"]) is answers for one in found)


def test_a_model_is_asked_in_all_forms_and_each_has_its_own_number(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: ok("no code") if number_of(body) == 1 and "messages" in body else answer(body))
    given = made(tmp_path, 4)
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, served(server, forms=("completion", "chat")), checkpoint, [given], 0)
    found = rows(store, checkpoint)
    assert sorted({(one["form"], one["task_id"]) for one in found}) == [
        (form, f"Made/{n}") for form in ("chat", "completion") for n in range(4)
    ]
    assert [one["task_id"] for one in found if not one["is_passed"]] == ["Made/1"]
    metrics.build_pass_at_1(store, checkpoint, "coder", given)
    numbers = {one["subject"]: one["value"] for one in read(store, "metrics", name="pass_at_1-coder-made")}
    assert sorted(numbers.values()) == [0.75, 1.0] and all("chat" in s or "completion" in s for s in numbers)


def test_a_form_that_a_model_does_not_have_is_said_and_has_no_rows(tmp_path: Path) -> None:
    model, said = save_model(tmp_path / "model"), list[str]()
    (tmp_path / "model" / "chat_template.jinja").unlink()
    given = made(tmp_path, 2)
    _, checkpoint = opened(tmp_path, given, model=model)
    store = Store(tmp_path / "store", said.append)
    evaluations.build(store, local(), checkpoint, [given], 0)
    assert {one["form"] for one in rows(store, checkpoint)} == {"completion"}
    assert any("is not asked in the form chat: the tokenizer of" in line for line in said)


def test_all_benchmarks_go_to_the_engine_in_one_stream(serve: Serve, tmp_path: Path) -> None:
    """The last answer about the first benchmark waits until the second benchmark is asked about."""
    second_came = threading.Event()
    first, second = made(tmp_path, 4, "first"), made(tmp_path, 3, "second")
    written(Path(second.path), [row(n, "Other") for n in range(10, 13)])

    def said(body: dict[str, Any], attempt: int) -> Any:
        if number_of(body) >= 10:
            second_came.set()
        return answer(body)

    def delay_s(body: dict[str, Any]) -> float:
        return 0.0 if number_of(body) != 3 else 1.0

    server = serve(said, delay_s)
    store, checkpoint = opened(tmp_path, first, second)
    records = evaluations.build(store, served(server, max_in_flight=2), checkpoint, [first, second], 0)
    assert [record.plan.partition["benchmark"] for record in records] == ["first", "second"]
    slow = next(at for at, body, _ in server.seen if number_of(body) == 3)
    assert second_came.is_set() and min(at for at, body, _ in server.seen if number_of(body) >= 10) < slow + 0.9
    assert all(one["is_passed"] for name in ("first", "second") for one in rows(store, checkpoint, name))


def test_tasks_of_the_same_name_in_two_benchmarks_are_two(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: answer(body))
    given = made(tmp_path, 2, "one"), made(tmp_path, 2, "two")
    store, checkpoint = opened(tmp_path, *given)
    evaluations.build(store, served(server), checkpoint, list(given), 0)
    assert [len(rows(store, checkpoint, name)) for name in ("one", "two")] == [2, 2] and len(server.seen) == 4


def test_too_many_errors_build_nothing_and_what_was_answered_is_kept(serve: Serve, tmp_path: Path) -> None:
    is_bad, given = [True], made(tmp_path, 8)
    server = serve(lambda body, _: status(400, "no") if is_bad and number_of(body) < 2 else answer(body))
    store, checkpoint = opened(tmp_path, given)
    with pytest.raises(JobError, match="2 of 8 answers in the form chat are missing, such as: '400: no'"):
        evaluations.build(store, served(server), checkpoint, [given], 0)
    assert not store.is_complete("evaluations", checkpoint=checkpoint["checkpoint_id"], benchmark="made")
    is_bad.clear()
    evaluations.build(store, served(server), checkpoint, [given], 0)
    assert len(server.seen) == 10, "only the two that failed are asked again"
    assert all(one["is_passed"] for one in rows(store, checkpoint))


def test_errors_of_shards_that_are_built_count_after_a_resume(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error of ten is borne, and two are not, also when a kill lies between them."""
    monkeypatch.setattr("builders.harness.jobs.ANSWERS_PER_SHARD", 5)
    server = serve(lambda body, _: status(400, "no") if number_of(body) in (1, 6) else answer(body))
    given = made(tmp_path, 10)
    store, checkpoint = opened(tmp_path, given)
    for _ in range(2):
        with pytest.raises(JobError, match="2 of 10 answers"):
            evaluations.build(store, served(server, max_error_share=0.15), checkpoint, [given], 0)
    (record,) = evaluations.build(
        Store(store.root, force=True), served(server, max_error_share=0.2), checkpoint, [given], 0
    )
    assert record.rows == 10


def test_a_few_errors_are_rows_without_a_verdict(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: status(400, "no") if number_of(body) == 1 else answer(body))
    given = made(tmp_path, 4)
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, served(server, max_error_share=0.5), checkpoint, [given], 0)
    lost = rows(store, checkpoint)[1]
    assert (lost["status"], lost["error"], lost["is_passed"]) == ("unanswered", "400: no", False)
    metrics.build_pass_at_1(store, checkpoint, "coder", given)
    (number,) = read(store, "metrics", name="pass_at_1-coder-made")
    assert (number["value"], number["num_items"]) == (1.0, 3)


def test_a_benchmark_without_tests_ends_before_the_first_request(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: answer(body))
    path = written(tmp_path / "b.jsonl", [row(0, tests="")])
    given = made(tmp_path, 2), Benchmark(name="bare", path=str(path))
    store, checkpoint = opened(tmp_path, *given)
    with pytest.raises(JobError, match="no task of the benchmark bare can be judged here"):
        evaluations.build(store, served(server), checkpoint, list(given), 0)
    assert not server.seen


def test_other_limits_are_another_plan_and_other_workers_are_not(tmp_path: Path) -> None:
    given = made(tmp_path, 1)
    store, checkpoint = opened(tmp_path, given, model=save_model(tmp_path / "model"))
    (first,) = evaluations.build(store, local(forms=("completion",)), checkpoint, [given], 0)
    (same,) = evaluations.build(store, local(forms=("completion",), grading={"workers": 1}), checkpoint, [given], 0)
    assert same.plan.fingerprint == first.plan.fingerprint
    with pytest.raises(ValueError, match=r"grading\.wall_s: 10\.0 -> 5\.0"):
        evaluations.build(store, local(forms=("completion",), grading={"wall_s": 5.0}), checkpoint, [given], 0)


def test_the_contract_says_what_each_status_means() -> None:
    (note,) = [column.note for column in CONTRACTS["evaluations"].columns if column.name == "status"]
    for name in ("passed", "failed", "timeout", "memory", "output", "missing", "error", "unanswered", "ungradable"):
        assert name in note
