"""evaluations: all models are asked in the same forms, in one stream, and errors are no scores."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import benchmarks, checkpoints, evaluations, metrics, sandbox
from builders.engines import OpenAISettings, TransformersSettings
from builders.engines.answers import answers_in, finished_journals
from builders.engines.checkpoints import last_checkpoint
from builders.recipe import Benchmark, Evaluation, Grading
from commands import clean
from store import CONTRACTS, Store
from store.errors import DeniedError, InputError, JobError
from store.rebuild import Rebuild
from tests.engine_models import save_model
from tests.fault_server import FaultServer, ok, status
from tests.made_benchmarks import answer, benchmark, is_chat, number_of, row, written
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
    with pytest.raises(JobError, match="no task of bare can be judged here"):
        evaluations.build(store, served(server), checkpoint, list(given), 0)
    assert not server.seen


def test_many_tasks_that_cannot_be_judged_end_it_before_the_first_request(serve: Serve, tmp_path: Path) -> None:
    """They are missing like answers that do not come, also in what is built already."""
    server = serve(lambda body, _: answer(body))
    path = written(tmp_path / "b.jsonl", [row(n, tests="" if n == 1 else None) for n in range(4)])
    given = Benchmark(name="made", path=str(path))
    store, checkpoint = opened(tmp_path, given)
    with pytest.raises(JobError, match=r"1 of 4 tasks of made .* bear it with evaluation\.max_error_share 0\.25"):
        evaluations.build(store, served(server), checkpoint, [given], 0)
    assert not server.seen
    evaluations.build(store, served(server, max_error_share=0.25), checkpoint, [given], 0)
    assert len(server.seen) == 3
    with pytest.raises(JobError, match="1 of 4 answers in the form chat are missing, such as: 'the file has no tests"):
        evaluations.build(store, served(server), checkpoint, [given], 0)


def test_what_is_built_with_many_errors_is_no_number_when_fewer_are_borne(serve: Serve, tmp_path: Path) -> None:
    is_bad, given = [True], made(tmp_path, 8)
    server = serve(lambda body, _: status(400, "no") if is_bad and number_of(body) % 2 else answer(body))
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, served(server, max_error_share=0.6), checkpoint, [given], 0)
    with pytest.raises(JobError, match=r"4 of 8 answers in the form chat .* '400: no'.*`--rebuild evaluations`.* made"):
        evaluations.build(store, served(server), checkpoint, [given], 0)
    assert len(server.seen) == 8 and len(rows(store, checkpoint)) == 8
    is_bad.clear()
    where = f"evaluations/checkpoint-{checkpoint['checkpoint_id']}/benchmark-made"
    again = Store(store.root, rebuild=Rebuild(what="evaluations", id="1", partitions=frozenset({where})))
    evaluations.build(again, served(server), checkpoint, [given], 0)
    assert len(server.seen) == 12, "only the four that failed are asked again"
    assert all(one["is_passed"] for one in rows(store, checkpoint))


def test_fewer_errors_are_borne_by_a_build_that_was_killed(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All errors are in the shard that is written already."""
    monkeypatch.setattr("builders.harness.jobs.ANSWERS_PER_SHARD", 4)
    is_down, given = [True], made(tmp_path, 8)

    def said(body: dict[str, Any], attempt: int) -> Any:
        if number_of(body) == 1:
            return status(400, "no")
        return status(401, "no") if is_down and number_of(body) >= 4 else answer(body)

    store, checkpoint = opened(tmp_path, given)
    with pytest.raises(DeniedError):
        evaluations.build(store, served(serve(said), max_in_flight=1, max_error_share=0.5), checkpoint, [given], 0)
    is_down.clear()
    with pytest.raises(JobError, match="1 of 8 answers in the form chat are missing, such as: '400: no'"):
        evaluations.build(store, served(serve(said)), checkpoint, [given], 0)


def test_other_limits_are_another_plan_and_other_workers_are_not(tmp_path: Path) -> None:
    given = made(tmp_path, 1)
    store, checkpoint = opened(tmp_path, given, model=save_model(tmp_path / "model"))
    (first,) = evaluations.build(store, local(forms=("completion",)), checkpoint, [given], 0)
    (same,) = evaluations.build(store, local(forms=("completion",), grading={"workers": 1}), checkpoint, [given], 0)
    assert same.plan.fingerprint == first.plan.fingerprint
    with pytest.raises(ValueError, match=r"grading\.wall_s: 10\.0 -> 5\.0"):
        evaluations.build(store, local(forms=("completion",), grading={"wall_s": 5.0}), checkpoint, [given], 0)


def slow(body: dict[str, Any], attempt: int) -> Any:
    """Right answers; that to task 0 takes a while."""
    return ok("import time\ndef plus_0(x):\n    time.sleep(0.8)\n    return x") if is_slow(body) else answer(body)


def is_slow(body: dict[str, Any]) -> bool:
    return number_of(body) == 0 and is_chat(body)


def test_other_limits_judge_the_same_answers_anew(serve: Serve, tmp_path: Path) -> None:
    """Not even the forms of the endpoint are found out again, and it need not be there."""
    server, given = serve(slow), made(tmp_path, 3)
    store, checkpoint = opened(tmp_path, given)
    both: dict[str, Any] = {"forms": ("chat", "completion")}
    tight, wide = (served(server, **both, grading=Grading(wall_s=seconds)) for seconds in (0.9, 20))
    nowhere = OpenAISettings(base_url="http://no-such-host.invalid/v1")
    evaluations.build(store, tight, checkpoint, [given], 0)
    assert Counter(one["status"] for one in rows(store, checkpoint)) == {"passed": 5, "timeout": 1}
    num_seen = len(server.seen)
    with pytest.raises(ValueError, match=r"grading\.wall_s: 0\.9 -> 20"):
        evaluations.build(store, wide, checkpoint, [given], 0)
    gone = wide.model_copy(update={"engine": nowhere})
    evaluations.build(Store(store.root, force=True), gone, checkpoint, [given], 0)
    assert Counter(one["status"] for one in rows(store, checkpoint)) == {"passed": 6}
    assert len(server.seen) == num_seen


def test_answers_outlive_a_kill_when_the_old_rows_have_gone(serve: Serve, tmp_path: Path) -> None:
    server, given = serve(slow), made(tmp_path, 2)
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, served(server, grading=Grading(wall_s=0.9)), checkpoint, [given], 0)

    def kill(message: str) -> None:
        if "built again" in message:
            raise KeyboardInterrupt

    wide = served(server, grading=Grading(wall_s=20))
    with pytest.raises(KeyboardInterrupt):
        evaluations.build(Store(store.root, kill, force=True), wide, checkpoint, [given], 0)
    evaluations.build(store, wide, checkpoint, [given], 0)
    assert all(one["is_passed"] for one in rows(store, checkpoint)) and len(server.seen) == 2


def test_other_tests_judge_the_same_answers_anew_and_another_prompt_is_asked(serve: Serve, tmp_path: Path) -> None:
    server, given = serve(lambda body, _: answer(body)), made(tmp_path, 2)
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, served(server), checkpoint, [given], 0)
    forced = Store(store.root, force=True)
    strict = row(0, tests="def check(candidate):\n    assert candidate(0) == 7\n", solution="    return 7\n")
    written(Path(given.path), [strict, row(1)])
    benchmarks.build(forced, given)
    evaluations.build(forced, served(server), checkpoint, [given], 0)
    assert [one["is_passed"] for one in rows(store, checkpoint)] == [False, True] and len(server.seen) == 2
    written(Path(given.path), [row(0), row(1) | {"prompt": 'def plus_1(x):\n    """Add 1."""\n'}])
    benchmarks.build(forced, given)
    evaluations.build(forced, served(server), checkpoint, [given], 0)
    assert len(server.seen) == 4


def test_answers_of_a_model_in_this_process_are_kept_too(tmp_path: Path) -> None:
    """The model is gone, so that nobody can ask it again."""
    given = made(tmp_path, 3)
    store, checkpoint = opened(tmp_path, given, model=save_model(tmp_path / "model"))
    evaluations.build(store, local(forms=("completion",)), checkpoint, [given], 0)
    before = [one["completion"] for one in rows(store, checkpoint)]
    (tmp_path / "model" / "model.safetensors").unlink()
    wide = local(forms=("completion",), grading={"wall_s": 20})
    evaluations.build(Store(store.root, force=True), wide, checkpoint, [given], 0)
    assert [one["completion"] for one in rows(store, checkpoint)] == before


def test_another_model_or_seed_is_asked(serve: Serve, tmp_path: Path) -> None:
    server, given = serve(lambda body, _: answer(body)), made(tmp_path, 2)
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, served(server), checkpoint, [given], 0)
    evaluations.build(Store(store.root, force=True), served(server), checkpoint, [given], 1)
    assert len(server.seen) == 4


def test_answers_of_a_finished_table_can_be_cleaned_away(serve: Serve, tmp_path: Path) -> None:
    given = made(tmp_path, 2)
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, served(serve(lambda body, _: answer(body))), checkpoint, [given], 0)
    (folder,) = finished_journals(store)
    assert len(answers_in(folder)) == 2
    (waste,) = (one for one in clean.found(store) if Path(store.root, one.path) == folder)
    assert "other limits of grading ask the model again" in waste.what


def test_verdicts_of_older_code_and_of_another_environment_are_of_another_plan(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, given = serve(lambda body, _: answer(body)), made(tmp_path, 1)
    site = tmp_path / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (site / "numpy-1.26.4.dist-info").mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    settings = served(server, grading=Grading(environment=str(tmp_path / "venv")))
    store, checkpoint = opened(tmp_path, given)
    evaluations.build(store, settings, checkpoint, [given], 0)
    moved = served(server, grading=Grading(environment=str((tmp_path / "venv").rename(tmp_path / "moved"))))
    evaluations.build(store, moved, checkpoint, [given], 0)
    site = Path(str(site).replace("venv", "moved"))
    (site / "numpy-1.26.4.dist-info").rename(site / "numpy-2.0.0.dist-info")
    with pytest.raises(ValueError, match=r'grading\.environment: "1 packages \w+" -> "1 packages'):
        evaluations.build(store, moved, checkpoint, [given], 0)
    (site / "numpy-2.0.0.dist-info").rename(site / "numpy-1.26.4.dist-info")
    monkeypatch.setattr(evaluations, "JUDGING_VERSION", 0)
    with pytest.raises(ValueError, match=r"judging: \d+ -> 0"):
        evaluations.build(store, moved, checkpoint, [given], 0)


def test_an_environment_that_is_none_is_said_at_once(serve: Serve, tmp_path: Path) -> None:
    server, given = serve(lambda body, _: answer(body)), made(tmp_path, 1)
    store, checkpoint = opened(tmp_path, given)
    settings = served(server, grading=Grading(environment=str(tmp_path)))
    with pytest.raises(InputError, match="is no virtual environment"):
        evaluations.build(store, settings, checkpoint, [given], 0)


def test_the_contract_says_what_each_status_means() -> None:
    (note,) = [column.note for column in CONTRACTS["evaluations"].columns if column.name == "status"]
    for name in ("passed", "failed", "timeout", "memory", "output", "missing", "error", "unanswered", "ungradable"):
        assert name in note
