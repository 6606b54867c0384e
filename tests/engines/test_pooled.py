"""Replicas: each request is answered once, whatever dies, and nothing is left behind.

The replicas are real processes; see `tests/replica_engines.py` for the engines in them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from builders.engines import (
    ChoiceCompletion,
    ChoiceRequest,
    Completion,
    Engine,
    Request,
    TransformersSettings,
    VllmSettings,
    dispatch,
    open_engine,
    replica_process,
)
from builders.engines.answers import open_answers
from builders.engines.in_turn import EnginesInTurn
from builders.engines.places import Place
from builders.engines.pooled import PooledEngine
from builders.executors.endings import COUNTED, SENT
from store.errors import InputError, JobError, MissingLibraryError
from tests.replica_engines import TWO, WHOLE, is_alive, job, notes, wait_until
from training import gpus, host_memory

ROOT = Path(__file__).parents[2]


def requests(number: int, prompts: dict[int, str] | None = None) -> list[Request]:
    return [Request(f"r{n}", prompt=(prompts or {}).get(n, f"text {n}")) for n in range(number)]


def processes(folder: Path) -> list[int]:
    return [int(line[0]) for line in notes(folder / "opened")]


def check(found: list[Completion], asked: list[Request]) -> None:
    assert Counter(c.request_id for c in found) == Counter(r.request_id for r in asked)
    texts = {c.request_id: c.text for c in found}
    assert all(texts[r.request_id] == r.prompt for r in asked)


def test_all_replicas_answer_and_each_request_is_asked_once(tmp_path: Path) -> None:
    asked = requests(1000, dict.fromkeys(range(1000), "sleep 0.002"))
    with PooledEngine(job(tmp_path), TWO) as engine:
        engine.wait_for_all()
        check(list(engine.generate(asked)), asked)
        questions = tuple(({"role": "user", "content": "?"},) for _ in range(3))
        chosen = list(engine.choose([ChoiceRequest(f"c{n}", questions, ("a", "b")) for n in range(40)]))
        check(list(engine.generate(asked)), asked)
    by_process = Counter(process for process, name in notes(tmp_path / "asked"))
    assert len(by_process) == 2 and min(by_process.values()) > 300
    assert sorted(c.request_id for c in chosen) == sorted(f"c{n}" for n in range(40))
    assert len(notes(tmp_path / "asked")) == 2040 and len(notes(tmp_path / "closed")) == 2
    assert not engine.folder.exists() and not any(map(is_alive, processes(tmp_path)))


def test_neighbours_stay_together_and_few_requests_are_divided(tmp_path: Path) -> None:
    with PooledEngine(job(tmp_path), TWO) as engine:
        engine.wait_for_all()
        list(engine.generate(requests(20)))
    by_process: dict[str, list[int]] = {}
    for process, name in notes(tmp_path / "asked"):
        by_process.setdefault(process, []).append(int(name[1:]))
    assert sorted(by_process.values()) == [list(range(10)), list(range(10, 20))]


def test_a_replica_that_starts_late_finds_its_share(tmp_path: Path) -> None:
    (tmp_path / "is_slow").touch()
    asked = requests(400, dict.fromkeys(range(400), "sleep 0.01"))
    with PooledEngine(job(tmp_path), TWO, starts_alone=True) as engine:
        check(list(engine.generate(asked)), asked)
    by_process = Counter(process for process, _ in notes(tmp_path / "asked"))
    assert len(by_process) == 2 and min(by_process.values()) > 40


@pytest.mark.parametrize("number", [1, 7, 9, dispatch.PROMPTS_AT_A_REPLICA + 9])
def test_the_last_requests_of_a_stream_are_answered(tmp_path: Path, number: int) -> None:
    """The engine has room for more when the last one came. Waiting for them, it would hang."""
    with PooledEngine(job(tmp_path), [Place()]) as engine:
        check(list(engine.generate(requests(number))), requests(number))
        check(list(engine.generate(requests(number))), requests(number))


@pytest.mark.parametrize("how", ["kill once", "core-died once"])
def test_a_replica_that_dies_is_started_again_and_only_its_open_requests_are_asked_again(
    tmp_path: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = requests(300, {150: how} | dict.fromkeys(range(150), "sleep 0.002"))
    with PooledEngine(job(tmp_path), TWO) as engine:
        check(list(engine.generate(asked)), asked)
        wait_until(lambda: len(processes(tmp_path)) == 3)
    times = Counter(name for _, name in notes(tmp_path / "asked"))
    twice = [name for name, number in times.items() if number == 2]
    assert 0 < len(twice) <= 8 and max(times.values()) == 2 and "r150" in twice
    assert "died and is started again" in capfd.readouterr().err


def test_a_stopped_replica_is_ended_and_its_requests_are_asked_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(replica_process, "STOPPED_S", 0.5)
    monkeypatch.setattr(replica_process, "TICKS_BETWEEN_LOOKS", 1)
    asked = requests(100, {40: "stop once"})
    with PooledEngine(job(tmp_path), TWO) as engine:
        check(list(engine.generate(asked)), asked)
        wait_until(lambda: len(processes(tmp_path)) == 3)
    assert not any(map(is_alive, processes(tmp_path)))


@pytest.mark.parametrize("how", ["hang", "hang-alone"])
def test_a_replica_that_hangs_is_ended_and_its_requests_are_asked_again(tmp_path: Path, how: str, capfd) -> None:
    """`hang` waits in C and lets other threads run; `hang-alone` never lets them."""
    asked = requests(300, {40: f"{how} once", 150: "work 30"})
    with PooledEngine(job(tmp_path, silent_s=2.0), TWO) as engine:
        check(list(engine.generate(asked)), asked)
        wait_until(lambda: len(processes(tmp_path)) == 3)
        time.sleep(3.0)  # with nothing to do, nobody hangs
        check(list(engine.generate(requests(50))), requests(50))
    assert len(processes(tmp_path)) == 3, "one that works for 3 s without an answer is left alone"
    times = Counter(name for _, name in notes(tmp_path / "asked")[:308])
    assert "r40" in {name for name, number in times.items() if number == 2}
    told = capfd.readouterr().err
    assert "made no step for 2 s" in told and "hung" in told and "in _act" in told, "the log says where"
    assert not any(map(is_alive, processes(tmp_path)))


def test_replicas_that_go_on_hanging_end_the_run(tmp_path: Path) -> None:
    """Others are answered in between. Only the one request is to blame."""
    asked = requests(3000, {100: "always-hang"})
    with (
        PooledEngine(job(tmp_path, silent_s=0.5), TWO) as engine,
        pytest.raises(
            JobError, match=r"(?s)made no step for 0.5 s .* and 3 replicas hung with the same requests.*in _act"
        ),
    ):
        list(engine.generate(asked))
    assert 3 <= len(processes(tmp_path)) <= 5


def test_an_engine_that_does_not_open_in_time_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"(?s)is not open after 5 s.* 3 times .*in open_slowly"):
        PooledEngine(job(tmp_path, opens="open_slowly", opening_s=5.0), [Place()])


def test_an_idle_replica_gets_what_another_has_not_begun(tmp_path: Path) -> None:
    (tmp_path / "second_is_slow").touch()
    asked = requests(1000, dict.fromkeys(range(1000), "sleep 0.004"))
    with PooledEngine(job(tmp_path), TWO) as engine:
        engine.wait_for_all()
        check(list(engine.generate(asked)), asked)
    by_process = Counter(process for process, _ in notes(tmp_path / "asked"))
    assert sum(by_process.values()) == 1000, "each is asked once"
    slow, fast = sorted(by_process.values())
    assert slow < 350 and fast > 650, "the slow one had half of them at first"


def test_a_long_path_of_temporary_files_is_no_hindrance(tmp_path: Path, monkeypatch) -> None:
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with PooledEngine(job(tmp_path / "model"), [Place()]) as engine:
        assert engine.folder.parent == long
        check(list(engine.generate(requests(9))), requests(9))


def test_replicas_that_go_on_dying_end_the_run_with_their_last_words(tmp_path: Path) -> None:
    asked = requests(20, {19: "always-kill"})
    found = []
    with PooledEngine(job(tmp_path), [Place("3")]) as engine:
        told = (
            r"(?s)replica 0 of engine 'vllm' on GPU 3 died 3 times .* signal 9 \(SIGKILL.*replica-0.log.*the last words"
        )
        with pytest.raises(JobError, match=told):
            for answer in engine.generate(asked):
                found.append(answer)
        with pytest.raises(JobError, match=told):
            list(engine.generate(requests(1)))
    assert len(found) >= 10, "what was answered before is given out"
    assert [gpu for _, gpu in notes(tmp_path / "opened")] == ["3"] * len(processes(tmp_path))
    assert (engine.folder / "replica-0.log").exists()


def test_an_engine_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no such model: name another one$"):
        PooledEngine(job(tmp_path, opens="open_never"), TWO)
    with pytest.raises(JobError, match=r"(?s)exit code 7.*no memory is left on this GPU"):
        PooledEngine(job(tmp_path, opens="open_dead"), TWO)


@pytest.mark.parametrize(
    ("prompt", "kind", "told"),
    [
        ("refuse", InputError, "^this request cannot be: write another one$"),
        ("odd", RuntimeError, r"(?s)^UnpicklableError: one and two.*in _act"),
    ],
)
def test_an_error_of_an_engine_is_raised_after_its_answers_and_the_engine_goes_on(
    tmp_path: Path, prompt: str, kind: type[Exception], told: str
) -> None:
    found: list[Completion] = []
    with PooledEngine(job(tmp_path), TWO) as engine:
        engine.wait_for_all()
        with pytest.raises(kind, match=told) as raised:
            for answer in engine.generate(requests(200, {30: prompt})):
                found.append(answer)
        assert type(raised.value) is kind
        check(list(engine.generate(requests(100))), requests(100))
    assert len(found) >= 10 and len(processes(tmp_path)) == 2


def test_a_caller_that_stops_early_gets_no_old_answers_later(tmp_path: Path) -> None:
    with PooledEngine(job(tmp_path), TWO) as engine:
        engine.wait_for_all()
        stream = engine.generate(requests(500, dict.fromkeys(range(500), "sleep 0.01")))
        assert next(stream).text == "sleep 0.01"
        stream.close()  # type: ignore[attr-defined]  # it is a generator
        again = [Request(f"r{n}", prompt=f"other {n}") for n in range(50)]
        check(list(engine.generate(again)), again)
    assert len(notes(tmp_path / "asked")) < 400, "the replicas went on with what nobody wants"


def test_a_request_that_is_asked_twice_is_refused(tmp_path: Path) -> None:
    with (
        PooledEngine(job(tmp_path), [Place()]) as engine,
        pytest.raises(ValueError, match="'r0' is asked twice at once"),
    ):
        list(engine.generate([*requests(3), *requests(1)]))


def test_vllm_is_never_opened_in_the_process_that_asks(tmp_path: Path, monkeypatch) -> None:
    """That process may have trained, and would hold the memory that vLLM needs until it ends."""
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"import os\nopen({str(tmp_path / 'process')!r}, 'w').write(str(os.getpid()))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingLibraryError, match="needs vLLM, which cannot be imported"):
        open_engine(VllmSettings(), str(ROOT / "recipes" / "tiny-base"))
    assert int((tmp_path / "process").read_text()) != os.getpid()


def test_one_gpu_is_never_opened_by_the_process_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.SIMULATED, "1")
    settings = TransformersSettings(max_model_tokens=64, num_threads=1)
    with open_engine(settings, str(ROOT / "recipes" / "tiny-base")) as engine:
        assert isinstance(engine, PooledEngine) and len(engine.sessions) == 1 and os.getpid() not in engine.sessions


# -- whoever dies ----------------------------------------------------------------------------------

ASKING = """
import sys
from pathlib import Path
from builders.engines.pooled import PooledEngine
from tests.engines.test_pooled import requests
from training import gpus, host_memory
from tests.replica_engines import TWO, job

if __name__ == "__main__":
    with PooledEngine(job(Path(sys.argv[1])), TWO) as engine:
        list(engine.generate(requests(10_000, {n: "sleep 0.01" for n in range(10_000)})))
"""


def asking(folder: Path) -> subprocess.Popen[bytes]:
    """A coordinator with two replicas, each of which has a process that ignores SIGTERM."""
    folder.mkdir(exist_ok=True)
    (folder / "has_child").touch()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    coordinator = subprocess.Popen([sys.executable, "-c", ASKING, str(folder)], cwd=ROOT, env=environment)
    wait_until(lambda: len(processes(folder)) == 4 and len(notes(folder / "asked")) > 50)
    return coordinator


@pytest.mark.parametrize("is_stopped", [False, True])
def test_nothing_is_left_when_the_coordinator_is_killed(tmp_path: Path, is_stopped: bool, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    coordinator = asking(tmp_path / "model")
    assert len(list(tmp_path.glob("scoder-*"))) == 1
    found = processes(tmp_path / "model")
    assert len(found) == 4 and all(map(is_alive, found))
    if is_stopped:
        os.kill(found[0], signal.SIGSTOP)
    coordinator.kill()
    coordinator.wait()
    wait_until(lambda: not any(map(is_alive, found)), 5)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with PooledEngine(job(tmp_path / "next"), [Place()]) as engine:
        assert list(tmp_path.glob("scoder-*")) == [engine.folder], "what the killed one left is removed"
    assert not list(tmp_path.glob("scoder-*"))


def test_what_a_replica_started_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "has_child").touch()
    with PooledEngine(job(tmp_path), [Place()]) as engine:
        check(list(engine.generate(requests(20, {10: "kill once"}))), requests(20, {10: "kill once"}))
        first = processes(tmp_path)[:2]
        assert not any(map(is_alive, first))
    assert len(processes(tmp_path)) == 4 and not any(map(is_alive, processes(tmp_path)))


@pytest.mark.parametrize(
    ("does", "counted", "said"),
    [
        ("kill", 3, f"it ended by signal 9 (SIGKILL: {SENT}). The end"),
        ("kill", 4, f"it ended by signal 9 (SIGKILL: {COUNTED}). The end"),
        ("stop", 4, "it was stopped by a signal for 1 s, and was ended. The end"),
    ],
)
def test_how_a_replica_ended_is_told_truly(
    does: str,
    counted: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    counter = tmp_path / "vmstat"
    counter.write_text("oom_kill 3\n")
    monkeypatch.setattr(host_memory, "VMSTAT", counter)
    monkeypatch.setattr(replica_process, "STOPPED_S", 1.0)
    with PooledEngine(job(tmp_path), [Place()]) as engine:
        counter.write_text(f"oom_kill {counted}\n")
        check(list(engine.generate(requests(9, {4: f"{does} once"}))), requests(9, {4: f"{does} once"}))
    told = capfd.readouterr().err
    assert said in told and ("memory" in told) is (COUNTED in said)


def test_replicas_go_on_with_a_coordinator_that_was_stopped(tmp_path: Path) -> None:
    """Time in which the coordinator was stopped itself does not count against its replicas."""
    coordinator = asking(tmp_path / "model")
    found = processes(tmp_path / "model")
    for pid in (coordinator.pid, *found):
        os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(1.0)
    for pid in (*found, coordinator.pid):
        os.kill(pid, signal.SIGCONT)
    before = len(notes(tmp_path / "model" / "asked"))
    wait_until(lambda: len(notes(tmp_path / "model" / "asked")) > before + 20)
    assert processes(tmp_path / "model") == found
    coordinator.kill()
    coordinator.wait()
    wait_until(lambda: not any(map(is_alive, found)), 5)


# -- behind a journal, in whole shards, in turn ----------------------------------------------------


def shard_of(shard: int) -> list[Request]:
    return [Request(f"{shard}/{n}", prompt="kill once" if (shard, n) == (3, 5) else f"text {n}") for n in range(20)]


def answered(engine: Engine, folder: Path, settings, num_shards: int = 8) -> list[list[Completion]]:
    with open_answers(folder, range(num_shards), settings, engine.generate, shard_of) as answers:
        return [answers.of(shard, [r.request_id for r in shard_of(shard)]) for shard in range(num_shards)]


def test_the_journal_has_each_answer_once(tmp_path: Path) -> None:
    with PooledEngine(job(tmp_path / "model"), TWO) as engine:
        found = answered(engine, tmp_path / "journal", VllmSettings())
        lines = [line for path in (tmp_path / "journal").glob("shard-*") for line in path.read_text().splitlines()]
        assert len(lines) == 160 and len(set(lines)) == 160
        asked = len(notes(tmp_path / "model" / "asked"))
        assert answered(engine, tmp_path / "journal", VllmSettings()) == found
        assert len(notes(tmp_path / "model" / "asked")) == asked, "what is journalled is not asked again"
    assert [[c.request_id for c in shard] for shard in found] == [[r.request_id for r in shard_of(s)] for s in range(8)]


def test_whole_shards_stay_whole_and_several_are_under_way(tmp_path: Path) -> None:
    settings = WHOLE.model_copy(update={"micro_batch": 4, "replicas": 2})
    with PooledEngine(job(tmp_path / "model", settings), TWO) as engine:
        engine.wait_for_all()
        found = answered(engine, tmp_path / "journal", settings)
    assert [c.text for c in found[3]] == [r.prompt for r in shard_of(3)]
    runs: dict[tuple[str, str], list[str]] = {}
    for process, name in notes(tmp_path / "model" / "asked"):
        runs.setdefault((process, name.partition("/")[0]), []).append(name)
    whole = {(p, s): names for (p, s), names in runs.items() if names == [r.request_id for r in shard_of(int(s))]}
    assert {s for _, s in whole} == set("01234567") and len({p for p, _ in whole}) >= 2
    assert len(runs) - len(whole) <= 1, "only the shard that was killed was begun and not finished"


def test_all_replicas_have_a_whole_shard_under_way(tmp_path: Path) -> None:
    def slow(shard: int) -> list[Request]:
        return [Request(f"{shard}/{n}", prompt="sleep 0.01") for n in range(20)]

    settings = WHOLE.model_copy(update={"micro_batch": 4, "replicas": 2})
    with PooledEngine(job(tmp_path / "model", settings), TWO) as engine:
        engine.wait_for_all()
        with open_answers(tmp_path / "journal", range(8), settings, engine.generate, slow) as answers:
            for shard in range(8):
                answers.of(shard, [request.request_id for request in slow(shard)])
    by_process = Counter(process for process, _ in notes(tmp_path / "model" / "asked"))
    assert len(by_process) == 2 and min(by_process.values()) >= 60, "a replica had nothing to do"


def test_models_in_turn_have_a_pool_each(tmp_path: Path) -> None:
    opened: list[PooledEngine] = []

    def open_one(name: str | None) -> Engine:
        assert all(not engine.folder.exists() for engine in opened), "the pool before is closed"
        opened.append(PooledEngine(job(tmp_path / str(name), WHOLE), TWO))
        return opened[-1]

    def shards(shard: int) -> list[Request]:
        return [Request(f"{shard}/{n}", prompt=f"{n}", adapter="one" if shard < 4 else "two") for n in range(8)]

    settings = WHOLE.model_copy(update={"replicas": 2})
    with (
        EnginesInTurn(open_one) as engine,
        open_answers(tmp_path / "journal", range(8), settings, engine.generate, shards) as answers,
    ):
        for shard in range(8):
            assert len(answers.of(shard, [r.request_id for r in shards(shard)])) == 8
    assert len(opened) == 2
    assert {name[0] for _, name in notes(tmp_path / "one" / "asked")} == set("0123")


class Stubborn(Engine):
    """An engine that cannot be closed."""

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for request in requests:
            yield Completion(request.request_id, "", "stop", 1, 1, None)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        yield from ()

    def close(self) -> None:
        raise OSError("it does not end")


def test_an_engine_that_could_not_be_closed_is_not_asked_again() -> None:
    opened: list[str | None] = []

    def open_one(name: str | None) -> Engine:
        opened.append(name)
        return Stubborn()

    engine, (asked,) = EnginesInTurn(open_one), requests(1)
    list(engine.generate([asked]))
    with pytest.raises(OSError, match="it does not end"):
        engine.close()
    engine.close()
    list(engine.generate([asked]))
    assert opened == [None, None]


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = PooledEngine(job(tmp_path), [Place()])
    engine.close()
    engine.close()
    with pytest.raises(Exception, match="closed"):
        list(engine.generate(requests(1)))
