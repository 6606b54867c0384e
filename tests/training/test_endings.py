"""How an attempt ends: what is said of it, and what is not tried again."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.small_training import SETTINGS, saved_state
from training import attempt, launch, signs, train_log
from training.alone import Held
from training.attempt import Attempt, End
from training.children import code_of, kill_groups
from training.errors import DivergedError, OtherStateError, TrainingError, loading
from training.full_disk import is_full_disk
from training.gradient_batches import Bound, in_batches
from training.out_of_memory import is_out_of_memory
from training.resuming import is_begun
from training.seals import seal
from training.stopping import deaf, stopping
from training.tail import Tail
from training.worker import DISK_FULL, FAILED, OUT_OF_MEMORY, Failure, Job, _failed, error_file

MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried 5 bytes."
    ),
    torch.distributed.DistBackendError("NCCL error: unhandled cuda error. Cuda failure 2 'out of memory'"),
    MemoryError(),
]
OTHERS = [RuntimeError("CUDA error: device-side assert triggered"), ValueError("out of memory"), KeyError("memory")]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / ".out.run").mkdir()
    options = {"dataset": "d", "base": "b", "output": str(tmp_path / "out"), "settings": SETTINGS, "options": {}}
    return Job(**options, processes=2, launcher=os.getpid())


def attempt_of(job: Job, stalled_s: float = 900.0) -> Attempt:
    return Attempt(job, Held(Path(job.output).with_name(".out.run")), stalled_s)


def run_of(attempt: Attempt, *codes: str) -> Attempt:
    """An attempt whose processes do these things."""
    for code in codes:
        attempt._children.append(subprocess.Popen([sys.executable, "-c", code], start_new_session=True))
    return attempt


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_all_forms_of_no_memory(error: Exception, tmp_path: Path) -> None:
    assert is_out_of_memory(error)
    assert _failed(tmp_path / "job.json", 0, error, tmp_path / "out") == OUT_OF_MEMORY
    with pytest.raises(type(error)), loading("the model"):
        raise error


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_what_is_not_for_want_of_memory(error: Exception, tmp_path: Path) -> None:
    assert not is_out_of_memory(error)
    assert _failed(tmp_path / "job.json", 0, error, tmp_path / "out") == FAILED


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_gradients_know_the_same_forms(error: Exception) -> None:
    from training.examples import Example

    tried: list[int] = []

    def compute(places: list[int], is_recomputed: bool) -> int:
        tried.append(len(places))
        if len(places) > 1:
            raise error
        return 1

    examples = {place: Example([1], [2]) for place in range(2)}
    assert len(list(in_batches(examples, Bound(rows=2, tokens=99), compute))) == 2 and tried == [2, 1, 1]


# -- a full disk -----------------------------------------------------------------------------------


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_found_behind_other_errors(tmp_path: Path) -> None:
    behind = RuntimeError("cannot save")
    behind.__cause__ = full()
    quota, words = OSError(errno.EDQUOT, "quota"), RuntimeError("I/O error: No space left on device (os error 28)")
    for error in (full(), quota, words, behind):
        assert is_full_disk(error, tmp_path / "not" / "there")
    assert not is_full_disk(OSError(errno.EACCES, "no"), tmp_path)
    assert not is_full_disk(RuntimeError("PytorchStreamWriter failed writing file"), tmp_path), "there is room"


def test_a_full_disk_is_told_by_the_exit_code_where_nothing_can_be_written(tmp_path: Path) -> None:
    # no folder for the file: it cannot be written, as on a full disk
    assert _failed(tmp_path / "gone" / "job.json", 0, full(), tmp_path / "out") == DISK_FULL


@pytest.mark.parametrize("is_written", [True, False])
def test_a_full_disk_wins_over_what_the_others_saw(is_written: bool, job: Job) -> None:
    run = run_of(attempt_of(job), f"raise SystemExit({FAILED})", f"raise SystemExit({DISK_FULL})")
    _write(run, 0, RuntimeError("Connection closed by peer [127.0.0.1]:1"))
    if is_written:
        _failed(run._path, 1, full(), Path(job.output))
    end = run._death()
    kill_groups(run._children)
    error = end.error(Path("run"), "")
    assert not end.may_pass and isinstance(error, OSError) and error.errno == errno.ENOSPC
    assert str(error).startswith(f"[Errno {errno.ENOSPC}] no space left on the disk ")


def test_a_process_that_saw_another_one_go_is_not_the_cause(job: Job) -> None:
    run = run_of(attempt_of(job), *[f"raise SystemExit({FAILED})"] * 2)
    _write(run, 0, RuntimeError("[gloo] Connection closed by peer"))
    _write(run, 1, KeyError("a bug"))
    end = run._death()
    kill_groups(run._children)
    assert end.failure is not None and end.failure.kind == "KeyError" and end.reason.startswith("process 1 of 2")


def _write(run: Attempt, rank: int, error: Exception) -> None:
    failure = Failure(kind=type(error).__name__, is_ours_to_mend=True, message=str(error), trace="")
    error_file(run._path, rank).write_text(failure.model_dump_json())


# -- signals ---------------------------------------------------------------------------------------


def test_a_signal_is_not_lost_where_the_training_died_as_well(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = End("process 1 ran out of memory", is_memory=True)
    for end in (End("process 0 of the training died"), memory):
        told, attempts = list[str](), list[int]()

        def dies(run: Attempt, *_: object, end: End = end, attempts: list[int] = attempts) -> End:
            attempts.append(1)
            run.asked.signal = signal.SIGTERM
            run.asked.before = {}
            return end

        monkeypatch.setattr(Attempt, "run", dies)
        with pytest.raises(SystemExit) as raised:
            launch._until_done(job, Held(Path(job.output).with_name(".out.run")), print, told.append, 900.0)
        assert raised.value.code == 128 + signal.SIGTERM and attempts == [1]
        assert told == [f"stopped by SIGTERM ({end.reason}). No state was saved yet: the same command begins anew"]


def test_a_closed_terminal_asks_a_training_to_end() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with stopping([]) as asked:
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.01)
        assert asked.signal == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stopping([]) as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert asked.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_of_a_training_outlives_the_terminal() -> None:
    code = (
        "import os, signal; from training.stopping import deaf; deaf(); os.kill(os.getpid(), signal.SIGHUP); print(1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1" and callable(deaf)


def test_a_number_that_was_given_away_is_not_killed() -> None:
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    ended = subprocess.Popen(["true"], start_new_session=True)
    while code_of(ended) is None:
        time.sleep(0.01)
    assert code_of(ended) == 0 and Path(f"/proc/{ended.pid}").exists(), "its number is its own still"
    kill_groups([ended])
    assert not Path(f"/proc/{ended.pid}").exists()
    ended.pid = other.pid  # as if the system had given it to another process
    kill_groups([ended])
    time.sleep(0.2)
    assert code_of(other) is None
    kill_groups([other])
    assert code_of(other) == -signal.SIGKILL


# -- standing still --------------------------------------------------------------------------------


def test_saving_is_no_silence(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(attempt, "BEGIN_S", 900.0)
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    run = attempt_of(job.model_copy(update={"processes": 1}))
    run._log = Tail(tmp_path / "out")
    with signs.saving(partial, is_first=True):
        for _ in range(7):
            run._log.wait(1000.0)
            assert run._stands_still() is None
        run._log.wait(1000.0)
        end = run._stands_still()
        assert end is not None and end.reason == "the training saved for 8000 s, and did not come to an end"
    run._log.wait(800.0)
    assert run._stands_still() is None, "what was spent on saving does not count after it"
    run._log.wait(200.0)
    end = run._stands_still()
    assert end is not None and end.reason == "the training made no first step for 1000 s"


@pytest.mark.parametrize("gpus", ["0", "2"])
def test_processes_that_do_not_meet_are_not_taken_for_loading(
    gpus: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", gpus)
    monkeypatch.setattr(attempt, "MEET_S", 1.0)
    run = attempt_of(job)
    signs.give(run._path, signs.HERE, 0)
    assert all(run._stands_still() is None for _ in range(20)), "process 1 loads its libraries still"
    signs.give(run._path, signs.HERE, 1)
    signs.give(run._path, signs.MET, 0)
    (end,) = [end for end in (run._stands_still() for _ in range(7)) if end]
    assert end.failure is not None and not end.may_pass and end.needs_logs
    assert end.failure.message.startswith("the 2 processes of the training did not meet within 1 s (late: 1). ")
    assert end.failure.message.endswith("set devices to 1")
    signs.give(run._path, signs.MET, 1)
    assert all(run._stands_still() is None for _ in range(20))


# -- what is left ----------------------------------------------------------------------------------


def test_a_refused_state_is_not_said_to_go_on() -> None:
    failure = Failure(kind="OtherStateError", is_ours_to_mend=False, message="it is damaged", trace="")
    error = End("", failure).error(Path("run"), "Its state is kept: the same command goes on from there")
    assert isinstance(error, OtherStateError) and str(error) == "it is damaged"
    bug = Failure(kind="KeyError", is_ours_to_mend=True, message="a bug", trace="")
    error = End("process 0 of 1", bug, is_of_state=True).error(Path("run"), "the same command goes on from there")
    assert "goes on from there" not in str(error)


def test_a_training_that_diverged_in_processes_leaves_no_state(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = Path(job.output).with_name(".out.partial")
    seal(saved_state(partial, 2), 1)
    failure = Failure(kind="DivergedError", is_ours_to_mend=False, message="Nothing of it is kept.", trace="")
    monkeypatch.setattr(Attempt, "run", lambda *_: End("", failure))
    with pytest.raises(DivergedError, match=r"^Nothing of it is kept$"):
        launch._until_done(job, Held(Path(job.output).with_name(".out.run")), print, print, 900.0)
    assert not partial.exists()


def test_a_damaged_state_is_refused_before_a_process_starts(job: Job) -> None:
    partial = Path(job.output).with_name(".out.partial")
    seal(state := saved_state(partial, 2), 1)
    (state / "optimizer.pt").unlink()
    with pytest.raises(TrainingError, match="is damaged"):
        launch._until_done(job, Held(Path(job.output).with_name(".out.run")), print, print, 900.0)
    launch._forget_without_state(Path(job.output))
    assert is_begun(partial), "else the next call would begin anew, and say nothing"


def test_a_log_that_gets_another_name_while_it_is_read_is_empty(tmp_path: Path) -> None:
    assert train_log.read(tmp_path / "gone") == []
