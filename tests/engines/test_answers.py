"""Answers: an answered request is never asked again, and an unanswered one always is."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from builders.engines import (
    ChoiceCompletion,
    ChoiceRequest,
    Completion,
    Engine,
    EngineSettings,
    OpenAISettings,
    Request,
    TransformersSettings,
    error_share,
    losses,
)
from builders.engines.answers import journals, open_answers, spent_before, usage
from builders.engines.budget import BudgetError, Spent
from builders.engines.journal import Journal
from store import Plan, Store
from tests.fault_server import PASSING, FaultServer, chance, ok, question

ROOT = Path(__file__).parents[2]
REMOTE = OpenAISettings(price_per_million_input=1.0, price_per_million_output=2.0)
LOCAL = TransformersSettings()
SHARD = 4


def requests_of(shard: int) -> list[Request]:
    return [Request(f"r{n}", prompt=f"question {n}", seed=n) for n in range(shard * SHARD, (shard + 1) * SHARD)]


def ids(shard: int) -> list[str]:
    return [request.request_id for request in requests_of(shard)]


class Echo(Engine):
    """An engine that repeats the prompt.

    It answers each two requests in reverse, and can fail or die.
    """

    def __init__(self, errors: Iterable[str] = (), dies_at: str | None = None, mute: str | None = None):
        self.asked: list[str] = []
        self.errors, self.dies_at, self.mute = set(errors), dies_at, mute

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
                raise BudgetError("no more")
            if name != self.mute:
                failed = name in self.errors
                text = "" if failed else f"{request.prompt}\x0b\u2028\x85 né\r\n \ud83d"
                tokens = (0, 0) if failed else (10, 5)
                yield Completion(name, text, "error" if failed else "stop", *tokens, None, "boom" if failed else None)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        for request in requests:
            self.asked.append(request.request_id)
            yield ChoiceCompletion(request.request_id, ((0.25, 0.75),) * len(request.questions), 20, "stop", None, 2)

    def close(self) -> None:
        pass


def run(
    folder: Path, engine: Engine, shards: int = 3, settings: EngineSettings = REMOTE, **options
) -> list[Completion]:
    """All completions, in the order of the requests."""
    with open_answers(folder, range(shards), settings, engine.generate, requests_of, **options) as answers:
        return [completion for shard in range(shards) for completion in answers.of(shard, ids(shard))]


@pytest.mark.parametrize("settings", [REMOTE, LOCAL])
def test_answers_are_in_the_order_of_the_requests(tmp_path, settings):
    found = run(tmp_path, Echo(), settings=settings)
    assert [c.request_id for c in found] == [f"r{n}" for n in range(12)]
    assert [c.text for c in found] == [f"question {n}\x0b\u2028\x85 né\r\n \ufffd" for n in range(12)]


def test_a_slow_sequence_holds_up_neither_the_engine_nor_later_shards(tmp_path):
    may_end = threading.Event()

    class SlowFirst(Echo):
        """Answers r0 only when it may; asks on all the while."""

        def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
            for request in requests:
                self.asked.append(request.request_id)
                if request.request_id != "r0":
                    yield Completion(request.request_id, "", "stop", 1, 1, None)
            assert may_end.wait(10)
            yield Completion("r0", "slow", "stop", 1, 1, None)

    engine = SlowFirst()
    with open_answers(tmp_path, range(50), REMOTE, engine.generate, requests_of) as answers:
        assert [c.request_id for c in answers.of(49, ids(49))] == ids(49)
        assert len(engine.asked) == 200, "everything was asked while r0 was under way"
        may_end.set()
        assert answers.of(0, ids(0))[0].text == "slow"


@pytest.mark.parametrize("dies_at", ["r0", "r2", "r7", "r11"])
def test_after_a_failure_only_what_is_unanswered_is_asked(tmp_path, dies_at):
    whole = run(tmp_path / "whole", Echo())
    first = Echo(dies_at=dies_at)
    with pytest.raises(BudgetError):
        run(tmp_path / "killed", first)
    kept = {name for shard in range(3) for name in Journal(tmp_path / "killed").answers(shard)}
    assert dies_at not in kept and len(kept) >= int(dies_at[1:]) - 1
    again = Echo()
    assert run(tmp_path / "killed", again) == whole
    assert set(again.asked) == {f"r{n}" for n in range(12)} - kept and len(again.asked) == 12 - len(kept)
    finished = Echo()
    assert run(tmp_path / "killed", finished) == whole and finished.asked == []


def test_shards_that_were_complete_before_the_failure_are_still_given_out(tmp_path):
    engine = Echo(dies_at="r7")
    with open_answers(tmp_path, range(3), REMOTE, engine.generate, requests_of) as answers:
        assert len(answers.of(0, ids(0))) == 4
        for shard in (1, 2):
            with pytest.raises(BudgetError, match="no more"):
                answers.of(shard, ids(shard))


def test_a_last_line_that_was_cut_is_dropped_and_its_request_asked_again(tmp_path):
    whole = run(tmp_path, Echo(), shards=1)
    path = Journal(tmp_path).path(0)
    data = path.read_bytes()
    for cut in (1, 2, 30, len(data.splitlines()[-1])):
        path.write_bytes(data[:-cut])
        again = Echo()
        assert run(tmp_path, again, shards=1) == whole
        assert again.asked == ["r2"]
        assert [json.loads(line)["request_id"] for line in path.read_text().splitlines()] == ["r1", "r0", "r3", "r2"]


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Inside this block a file can have so many bytes. The system says so as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def raised_by_a_run(folder: Path, engine: Engine, settings: EngineSettings) -> BaseException | None:
    """The error of a run in a thread. It fails here where that waits for ever."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            run(folder, engine, settings=settings, keeps_whole_shards=True)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for ever"
    return raised[0] if raised else None


@pytest.mark.parametrize("room", [100, 300, 700])
@pytest.mark.parametrize("settings", [REMOTE, LOCAL])
def test_a_full_disk_ends_the_run_and_leaves_no_half_answer(tmp_path, settings, room):
    engine = Echo()
    with files_up_to(room):
        raised = raised_by_a_run(tmp_path, engine, settings)
    assert isinstance(raised, OSError) and raised.errno == errno.EFBIG
    assert str(tmp_path) in str(raised), "it says which file"
    written = sum(len(Journal(tmp_path).answers(shard)) for shard in range(3))
    assert written < len(engine.asked)
    second = Echo()
    found = run(tmp_path, second, settings=settings, keeps_whole_shards=True)
    assert [c.text for c in found] == [c.text for c in run(tmp_path / "another", Echo())]
    if settings is REMOTE:
        assert len(second.asked) == 12 - written


def test_a_journal_closes_all_its_files_and_says_which_one_could_not_be_closed(tmp_path):
    journal, answer = Journal(tmp_path), Completion("r", "x" * 400, "stop", 1, 1, None)
    with files_up_to(600):
        for shard in (0, 1, 1, 2):
            with suppress(OSError):
                journal.add(shard, answer, None)
        with pytest.raises(OSError, match="shard-00001"):
            journal.close()
    journal.close()
    assert [len(journal.answers(shard)) for shard in range(3)] == [1, 1, 1]


def test_more_shards_than_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr("builders.engines.journal.OPEN_FILES", 2)

    class LastFirst(Echo):
        """Nothing is answered before everything is asked."""

        def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
            for request in sorted(requests, key=lambda r: r.seed % 7):
                yield Completion(request.request_id, request.prompt or "", "stop", 1, 1, None)

    assert [c.text for c in run(tmp_path, LastFirst(), shards=9)] == [f"question {n}" for n in range(36)]


# -- errors ----------------------------------------------------------------------------------------


def test_a_few_errors_are_answers_and_are_asked_again_after_a_kill(tmp_path):
    found = run(tmp_path, Echo(errors={"r0", "r3"}))
    assert [c.finish_reason for c in found] == ["error", "stop", "stop", "error", *["stop"] * 8]
    assert found[0].error == "boom"
    again = Echo()
    assert [c.finish_reason for c in run(tmp_path, again)] == ["stop"] * 12
    assert again.asked == ["r0", "r3"]


def test_bad_rows_that_are_all_that_a_kill_left_are_few_beside_what_was_answered(tmp_path):
    first = run(tmp_path, Echo(errors={"r1"}))
    again = Echo(errors={"r1"})
    assert run(tmp_path, again) == first and again.asked == ["r1"]


def test_an_error_that_was_paid_for_is_not_asked_again(tmp_path):
    class Filtered(Echo):
        def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
            for completion in super().generate(requests):
                is_bad = completion.request_id == "r1"
                yield Completion(completion.request_id, "", "error", 9, 1, None, "filtered") if is_bad else completion

    first = run(tmp_path, Filtered())
    again = Echo()
    assert run(tmp_path, again) == first and again.asked == [] and first[1].error == "filtered"


@pytest.mark.parametrize("settings", [REMOTE, LOCAL])
@pytest.mark.parametrize(
    "share, num_errors, is_ended", [(0.05, 2, False), (0.05, 3, True), (0.8, 3, False), (0.8, 4, True)]
)
def test_a_storm_of_errors_ends_the_run_with_an_example(tmp_path, settings, share, num_errors, is_ended):
    engine = Echo(errors={f"r{n}" for n in range(num_errors)})
    limited = settings.model_copy(update={"max_error_share": share})
    if not is_ended:
        assert sum(c.finish_reason == "error" for c in run(tmp_path, engine, settings=limited)) == num_errors
        return
    with pytest.raises(RuntimeError, match=r"requests ended in an engine error, such as: 'boom'.*max_error_share"):
        run(tmp_path, engine, settings=limited)


def test_a_storm_ends_the_asking_early_and_loses_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(error_share, "ANSWERS_TO_JUDGE", 40)
    engine = Echo(errors={f"r{n}" for n in range(10, 4000)})
    with (
        pytest.raises(RuntimeError, match="boom"),
        open_answers(tmp_path, range(1000), REMOTE, engine.generate, requests_of) as answers,
    ):
        answers.of(999, ids(999))
    assert len(engine.asked) < 40
    kept = {name for shard in range(20) for name in Journal(tmp_path).paid(shard)}
    assert kept == {f"r{n}" for n in range(10)}


@pytest.mark.parametrize("settings", [REMOTE, LOCAL])
def test_a_request_without_any_answer_is_an_error_that_names_it(tmp_path, settings):
    with pytest.raises(RuntimeError, match="no answer to 1 requests, first r4"):
        run(tmp_path, Echo(mute="r4"), settings=settings)


def test_a_failure_of_who_gives_the_requests_is_told_and_drops_no_answer(tmp_path):
    def too_few(shard: int) -> list[Request]:
        if shard == 2:
            raise ValueError("the pool has too few snippets")
        return requests_of(shard)

    with open_answers(tmp_path, range(3), REMOTE, Echo().generate, too_few) as answers:
        assert len(answers.of(1, ids(1))) == 4
        with pytest.raises(ValueError, match="too few snippets"):
            answers.of(2, ids(2))


def test_a_failure_of_who_writes_the_rows_leaves_what_is_under_way_in_the_journal(tmp_path):
    under_way, answered = threading.Event(), threading.Event()

    class OneByOne(Echo):
        def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
            source = iter(requests)
            first, second = next(source), next(source)
            under_way.set()
            yield Completion(first.request_id, "", "stop", 1, 1, None)
            assert answered.wait(10)
            yield Completion(second.request_id, "", "stop", 1, 1, None)
            assert next(source, None) is None, "nothing new is asked"

    with (
        pytest.raises(KeyboardInterrupt),
        open_answers(tmp_path, range(3), REMOTE, OneByOne().generate, requests_of),
    ):
        assert under_way.wait(10)
        threading.Timer(0.1, answered.set).start()
        raise KeyboardInterrupt
    assert list(Journal(tmp_path).answers(0)) == ["r0", "r1"]


def test_an_id_that_is_asked_twice_is_refused(tmp_path):
    with (
        open_answers(tmp_path, [0], REMOTE, Echo().generate, lambda _: [*requests_of(0), *requests_of(0)]) as answers,
        pytest.raises(ValueError, match=r"r\d is asked twice"),
    ):
        answers.of(0, ids(0))


# -- asking again ----------------------------------------------------------------------------------


class Fickle(Echo):
    """Gives a usable answer at the n-th attempt for request rn."""

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for request in requests:
            self.asked.append(request.request_id)
            name, _, attempt = request.request_id.partition("#")
            text = f"good {request.seed}" if int(attempt or 0) >= int(name[1:]) else "bad"
            yield Completion(request.request_id, text, "stop", 10, 5, None)


@pytest.mark.parametrize("settings", [REMOTE, LOCAL])
def test_malformed_answers_are_asked_again_up_to_the_limit(tmp_path, settings):
    engine = Fickle()
    options = {"is_usable": lambda c: c.text != "bad", "max_reasks": 2}
    found = run(tmp_path, engine, shards=1, settings=settings, **options)
    assert [c.text.split()[0] for c in found] == ["good", "good", "good", "bad"]
    assert [c.num_prompt_tokens for c in found] == [10, 20, 30, 30], "all attempts are paid for"
    assert Counter(name.partition("#")[0] for name in engine.asked) == {"r0": 1, "r1": 2, "r2": 3, "r3": 3}
    assert [c.request_id for c in found] == ids(0)
    if settings is REMOTE:
        again = Fickle()
        assert run(tmp_path, again, shards=1, settings=settings, **options) == found and again.asked == []


def test_a_kill_between_two_attempts_goes_on_with_the_second(tmp_path):
    options = {"is_usable": lambda c: c.text != "bad", "max_reasks": 3}
    whole = run(tmp_path, Fickle(), shards=1, **options)
    path = Journal(tmp_path).path(0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"r3#2"' not in line and b'"r3#3"' not in line))
    again = Fickle()
    assert run(tmp_path, again, shards=1, **options) == whole and again.asked == ["r3#2", "r3#3"]


# -- engines that repeat themselves, choices, accounting -------------------------------------------


def test_a_local_engine_answers_whole_shards_and_leaves_no_journal(tmp_path):
    """Its bits depend on which requests are decoded together, so a shard is asked as a whole."""
    run(tmp_path, Echo(), shards=1)
    before = Journal(tmp_path).path(0).read_bytes()
    calls = []

    class Whole(Echo):
        def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
            held = list(requests)
            calls.append([request.request_id for request in held])
            yield from super().generate(held)

    run(tmp_path, Whole(), settings=LOCAL)
    assert calls == [ids(0), ids(1), ids(2)]
    assert Journal(tmp_path).path(0).read_bytes() == before and not Journal(tmp_path).path(1).exists()


def test_a_kept_shard_with_an_error_is_asked_as_a_whole_again(tmp_path):
    engines = Echo(errors={"r0"}), Echo(), Echo()
    for engine in engines:
        with open_answers(tmp_path, [0], LOCAL, engine.generate, requests_of, keeps_whole_shards=True) as answers:
            found = answers.of(0, ids(0))
    assert [engine.asked for engine in engines] == [ids(0), ids(0), []]
    assert {answer.finish_reason for answer in found} == {"stop"}


def test_choices_are_journalled_too(tmp_path):
    def asked(shard: int) -> list[ChoiceRequest]:
        return [ChoiceRequest(name, (({"role": "user", "content": "?"},),) * 2, ("a", "b")) for name in ids(shard)]

    found = []
    for engine in (first := Echo(), second := Echo()):
        with open_answers(tmp_path, [0], REMOTE, engine.choose, asked) as answers:
            found.append(answers.of(0, ids(0)))
    assert found[0] == found[1] and found[0][0].probabilities == ((0.25, 0.75), (0.25, 0.75))
    assert (len(first.asked), second.asked) == (4, [])
    assert usage(REMOTE, found[0]).cost_usd == pytest.approx(4 * (20 * 1.0 + 2 * 2.0) / 1e6)


def test_a_journal_keeps_the_mass_of_choices_and_old_lines_have_none(tmp_path):
    kept = Journal(tmp_path)
    kept.add(0, ChoiceCompletion("new", ((0.25, 0.75),), 20, "stop", masses=(0.5,)), None)
    kept.add(0, ChoiceCompletion("old", ((0.25, 0.75),), 20, "stop"), None)
    kept.close()
    path = Journal(tmp_path).path(0)
    first, second = path.read_text().splitlines()
    path.write_text(first + "\n" + second.replace(', "masses": null', "") + "\n")
    assert '"masses"' not in path.read_text().splitlines()[1]
    found = Journal(tmp_path).answers(0)
    assert (found["new"].masses, found["old"].masses) == ((0.5,), None)


def test_what_a_table_has_cost_is_the_sum_of_its_journals(tmp_path):
    store = Store(tmp_path)
    capped = REMOTE.model_copy(update={"budget_tokens": 10**6})
    plans = [Plan(table="candidates", partition={"iteration": i}, num_shards=3) for i in (1, 2)]
    for plan in plans:
        run(journals(store, plan), Echo(errors={"r0"}))
    run(journals(store, Plan(table="aspect_scores")), Echo())
    found = spent_before(store, "candidates", capped)
    assert found == Spent(2 * 11 * 15, pytest.approx(2 * 11 * 20e-6))
    assert spent_before(store, "candidates", REMOTE) == Spent(), "without a budget nothing is read"
    losses.add(found.losses, 100, 0.5)
    assert spent_before(store, "candidates", capped).tokens == found.tokens + 100, "attempts without an answer count"


def test_usage_adds_up_tokens_and_cost(tmp_path):
    found = run(tmp_path, Echo())
    assert usage(REMOTE, found).model_dump() == {
        "wall_s": 0.0,
        "prompt_tokens": 120,
        "completion_tokens": 60,
        "cost_usd": pytest.approx(12 * (10 * 1.0 + 5 * 2.0) / 1e6),
        "notes": [],
    }
    assert usage(LOCAL, found).cost_usd is None
    assert usage(REMOTE, []).cost_usd is None


# -- an endpoint that fails, a process that is killed ----------------------------------------------

ASKING = """
import sys
from pathlib import Path
from builders.engines import OpenAISettings, Request, endpoint, open_engine
from builders.engines.answers import open_answers
endpoint.FIRST_BACKOFF_S = 0.01
url, folder = sys.argv[1:]
settings = OpenAISettings(base_url=url, timeout_s=2, max_retries=4, max_in_flight=32, max_error_share=0.1)
def requests_of(shard):
    return [Request(f"q{n}", messages=({"role": "user", "content": f"q{n}"},), seed=n) for n in range(shard * 50, shard * 50 + 50)]
with open_engine(settings, "m") as engine, open_answers(Path(folder), range(5), settings, engine.generate, requests_of) as answers:
    for shard in range(5):
        for completion in answers.of(shard, [f"q{n}" for n in range(shard * 50, shard * 50 + 50)]):
            print(completion.request_id, completion.finish_reason, completion.text)
"""


@pytest.mark.slow
def test_a_fault_drill_with_two_kills_accounts_for_every_request(tmp_path):
    """250 requests, every fifth meets faults of all kinds, three rows never pass; two SIGKILLs.

    Before each kill the server answers nothing until all that it was paid for has reached the
    journal. No client can know what is under way in that moment. Slow: three processes, and as many
    time-outs as faults in a row.
    """
    stalls_at = [80, 160]
    stalled = threading.Event()
    quick = [fault for fault in PASSING if fault != "429-seconds"]

    def give(body: dict, attempt: int) -> web.Response | str:
        name = question(body)
        if int(name[1:]) % 100 == 7:
            return "500"
        if name == "q200" and attempt == 0:
            return "429-seconds"
        if attempt < 2 and chance(name, "is bad") < 0.2:
            return quick[int(chance(name, attempt) * len(quick))]
        if stalls_at and sum(server.paid.values()) >= stalls_at[0]:
            stalled.set()
            return "429"
        return ok(f"answer to {name}")

    server = FaultServer(give, lambda body: 0.0)
    command = [sys.executable, "-c", ASKING, server.url, str(tmp_path)]
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
            try:
                assert stalled.wait(60)
                wait_until(lambda: len(journalled(tmp_path)) == sum(server.paid.values()))
            finally:
                process.kill()
        time.sleep(0.1)
        stalls_at.pop(0)
        stalled.clear()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    server.close()
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert [name for name, *_ in rows] == [f"q{n}" for n in range(250)], "rows in = rows out"
    errors = {name for name, reason, *_ in rows if reason == "error"}
    assert errors == {"q7", "q107", "q207"}
    assert all(text == f"answer to {name}" for name, reason, *rest in rows if reason == "stop" for text in rest)
    assert server.paid == {f"q{n}": 1 for n in range(250) if n % 100 != 7}, "each is paid for once"


def journalled(folder: Path) -> list[str]:
    """The ids of all whole lines with an answer."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines(keepends=True)]
    records = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [r["request_id"] for r in records if r["finish_reason"] == "stop"]


def wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < end, "waited 20 s"
        time.sleep(0.02)
