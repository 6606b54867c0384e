"""Trainings in processes: the same weights in any number of them, and what ends them ends well."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.small_training import (
    FULL,
    LAUNCHER,
    NUM_STEPS,
    SETTINGS,
    as_json,
    distance,
    processes_of,
    saved_state,
    unlucky,
    weights,
    write_rows,
)
from tests.tiny_models import tiny_qwen
from training import attempt, launch, sft, trackers
from training.alone import alone as held
from training.errors import LostTrainingError, OtherStateError, OutputExistsError, TrainingError
from training.layout import Layout
from training.reports import TrainingReport
from training.seals import seal
from training.tail import Tail
from training.train_log import StepRecord, read
from training.worker import Job, failure_of


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield


Alone = tuple[Path, TrainingReport, list[StepRecord]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, qwen: str, data: str) -> Alone:
    """A training in one process: its output, its report, and what was told of its steps."""
    output, seen = tmp_path_factory.mktemp("alone") / "out", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return output, launch.train(data, qwen, str(output), SETTINGS, watch=seen.append), seen


def all_weights(output: Path, step: int = NUM_STEPS) -> dict[str, np.ndarray]:
    return load_file(output / f"checkpoint-{step:06d}" / "model.safetensors")


@pytest.fixture(scope="module")
def full_alone(tmp_path_factory: pytest.TempPathFactory, qwen: str, data: str) -> Path:
    """All weights, trained in the process of the tests."""
    output = tmp_path_factory.mktemp("full") / "out"
    sft.train(data, qwen, str(output), FULL)
    return output


@pytest.fixture(scope="module")
def full_in_two(tmp_path_factory: pytest.TempPathFactory, qwen: str, data: str) -> tuple[Path, TrainingReport]:
    """All weights, shared out over two processes that nothing happens to."""
    output = tmp_path_factory.mktemp("two") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("SCODER_SIMULATED_GPUS", "2")
        unlucky(patch, "none 0 0")
        return output, launch.train(data, qwen, str(output), FULL)


def test_all_weights_in_two_processes_that_share_them(
    full_alone: Path, full_in_two: tuple[Path, TrainingReport]
) -> None:
    output, report = full_in_two
    assert report.layout == Layout(processes=2, rows=2, passes=1, is_sharded=True)
    ours, theirs = all_weights(output), all_weights(full_alone)
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert np.linalg.norm(ours[name] - weight) <= 1e-5 * np.linalg.norm(weight), name
    files = {p.name for p in (full_alone / "checkpoint-000006").iterdir()}
    assert {p.name for p in (output / "checkpoint-000006").iterdir()} == files
    assert "optimizer.pt" not in files  # nothing reads that of all weights


@pytest.mark.drill
@pytest.mark.parametrize("fault", ["kill 1 4", "stop 0 4"])
def test_shared_weights_go_on_after_a_fault(
    fault: str,
    full_in_two: tuple[Path, TrainingReport],
    tmp_path: Path,
    qwen: str,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    monkeypatch.setattr(attempt, "PATIENCE_S", 1)
    unlucky(monkeypatch, fault)
    told: list[str] = []
    launch.train(data, qwen, str(tmp_path / "out"), FULL, announce=told.append, state_every_s=0.0)
    assert len(told) == 1 and "goes on after step 3" in told[0], told
    ours, theirs = all_weights(tmp_path / "out"), all_weights(full_in_two[0])
    assert all(np.array_equal(ours[name], weight) for name, weight in theirs.items())


@pytest.mark.drill
def test_a_shared_state_is_not_read_by_another_number_of_processes(
    tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    unlucky(monkeypatch, "crash 1 2")  # a crash is not repeated, and the state stays
    with pytest.raises(RuntimeError, match="crash of a test"):
        launch.train(data, qwen, str(tmp_path / "out"), FULL, state_every_s=0.0)
    with pytest.raises(TrainingError, match=r"shared out over 2 processes\. Go on with devices: 2 and sharding: fsdp2"):
        sft.train(data, qwen, str(tmp_path / "out"), FULL)


def test_an_adapter_is_not_sharded(tmp_path: Path, qwen: str, data: str) -> None:
    with pytest.raises(TrainingError, match="sharding is fsdp2, which is for the training of all weights"):
        sft.train(data, qwen, str(tmp_path / "out"), SETTINGS.model_copy(update={"sharding": "fsdp2"}))


def test_two_processes_train_what_one_trains(
    alone: Alone, tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    report = launch.train(data, qwen, str(tmp_path / "two"), SETTINGS)
    assert report.layout == Layout(processes=2, rows=2, passes=1)
    for step in (3, 6):
        assert distance(tmp_path / "two", alone[0], step) < 1e-5
    ours, theirs = report.checkpoints, alone[1].checkpoints
    assert [c.learning_rate for c in ours] == [c.learning_rate for c in theirs]
    assert np.allclose([c.loss for c in ours], [c.loss for c in theirs], rtol=1e-6)
    assert report.plan == alone[1].plan and report.num_tokens == alone[1].num_tokens
    assert sorted(p.name for p in tmp_path.iterdir()) == ["two"]


def job(processes: int) -> Job:
    return Job(
        dataset="d", base="b", output="/tmp/o", settings=SETTINGS, options={}, processes=processes, launcher=os.getpid()
    )


@pytest.mark.parametrize(
    ("chosen", "processes", "seen"), [(None, 1, "0"), (None, 2, "0,1"), ("5,7,9", 1, "5"), ("5,7,9", 2, "5,7")]
)
def test_a_training_sees_as_many_gpus_as_it_has_processes(
    chosen: str | None, processes: int, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One process that sees two GPUs is refused by TRL, as it would train on both at once.
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "3")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert attempt.environment_of(job(processes))["CUDA_VISIBLE_DEVICES"] == seen
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert attempt.environment_of(job(processes))["CUDA_VISIBLE_DEVICES"] == "", "a GPU that was hidden stays hidden"


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    with pytest.raises(TrainingError, match="devices is 4, but 2 GPUs are visible"):
        attempt.environment_of(job(4))


def test_a_launcher_loads_neither_torch_nor_its_libraries() -> None:
    code = "import sys; from training import launch; print([m for m in ('torch', 'trl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_training_leaves_nothing_in_the_process_that_asked_for_it(tmp_path: Path, qwen: str, data: str) -> None:
    # What never loaded torch can hold no memory of a GPU, and an engine may be opened next.
    code = LAUNCHER.replace("tests.unlucky_worker", "training.worker")
    code += "\nprint([m for m in ('torch', 'trl') if m in sys.modules])"
    arguments = [
        data,
        qwen,
        str(tmp_path / "out"),
        as_json(SETTINGS.model_copy(update={"epochs": 0.5, "num_checkpoints": 1})),
    ]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and (tmp_path / "out" / "training.json").is_file()


def test_a_smaller_micro_batch_and_checkpointing_train_the_same(
    alone: Alone, tmp_path: Path, qwen: str, data: str
) -> None:
    other = SETTINGS.model_copy(update={"micro_batch": 1, "gradient_checkpointing": True})
    report = sft.train(data, qwen, str(tmp_path / "small"), other)
    assert report.layout == Layout(processes=1, rows=1, passes=4, is_recomputed=True)
    assert distance(tmp_path / "small", alone[0]) < 1e-5
    assert launch.train(data, qwen, str(alone[0]), other) == alone[1]  # it is the same training


def test_the_log_has_a_line_per_step_and_is_told_live(alone: Alone) -> None:
    output, report, seen = alone
    assert [(r.step, r.num_steps) for r in seen] == [(n, NUM_STEPS) for n in range(1, NUM_STEPS + 1)]
    assert seen == read(output) and {r.num_processes for r in seen} == {1}
    assert np.mean([r.loss for r in seen[:3]]) == report.checkpoints[0].loss
    assert seen[-1].num_tokens == 2 * report.num_tokens and seen[0].tokens_per_second


@pytest.mark.parametrize("fault", ["kill 1 4", pytest.param("kill 0 5", marks=pytest.mark.drill)])
def test_a_killed_process_ends_the_others_and_the_training_goes_on(
    fault: str,
    alone: Alone,
    tmp_path: Path,
    qwen: str,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    unlucky(monkeypatch, fault)
    told: list[str] = []
    seen: list[StepRecord] = []
    output = tmp_path / "out"
    launch.train(data, qwen, str(output), SETTINGS, announce=told.append, watch=seen.append, state_every_s=0.0)
    assert distance(output, alone[0]) < 1e-5 and distance(output, alone[0], 3) < 1e-5
    assert len(told) == 1 and "died (signal SIGKILL" in told[0], told
    assert {r.num_processes for r in seen} == {2} and seen[0].text().endswith("2 processes on the CPU")
    assert [r.step for r in read(output)] == list(range(1, NUM_STEPS + 1))
    assert read(output)[-1].num_tokens == 2 * alone[1].num_tokens + 2  # two rows were added
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "unlucky-was-here"]
    assert sorted(p.name for p in output.iterdir()) == [
        "checkpoint-000003",
        "checkpoint-000006",
        "train_log.jsonl",
        "training.json",
    ]


@pytest.mark.drill
def test_a_stopped_process_is_not_waited_for(
    alone: Alone, tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    monkeypatch.setattr(attempt, "PATIENCE_S", 1)
    unlucky(monkeypatch, "stop 1 4")
    told: list[str] = []
    launch.train(data, qwen, str(tmp_path / "out"), SETTINGS, announce=told.append, state_every_s=0.0)
    assert told == [
        "process 1 of the training was stopped by a signal and did not go on; the training goes on after step 3, "
        "from its last state"
    ]
    assert distance(tmp_path / "out", alone[0]) < 1e-5
    assert processes_of(tmp_path / "out") == []


@pytest.mark.drill
def test_a_training_without_a_step_is_ended(
    alone: Alone, tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky(monkeypatch, "hang 0 3")
    monkeypatch.setattr(attempt, "STEPS_OF_SILENCE", 0)
    told: list[str] = []
    launch.train(data, qwen, str(tmp_path / "out"), SETTINGS, announce=told.append, state_every_s=0.0, stalled_s=20.0)
    assert len(told) == 1 and told[0].startswith("the training made no step for "), told
    assert np.array_equal(weights(tmp_path / "out"), weights(alone[0]))


@pytest.mark.drill
def test_a_process_that_dies_twice_at_the_same_place_is_told_with_its_last_words(
    tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky(monkeypatch, "kill 0 2")
    monkeypatch.setenv("UNLUCKY_ALWAYS", "1")
    with pytest.raises(
        LostTrainingError,
        match=r"(?s)died \(signal SIGKILL; somebody sent it, and it held [0-9.]+ of the .*it is the second end without a newer state\. Its state after "
        r"step 1 is kept in .*\.out\.partial: the same command goes on from there.*logs of the processes are in .*out\.run",
    ):
        launch.train(data, qwen, str(tmp_path / "out"), SETTINGS, state_every_s=0.0)
    assert (tmp_path / ".out.partial" / "state").is_dir()
    assert [p.name for p in (tmp_path / ".out.run").iterdir() if p.suffix == ".log"] == ["rank-0.log"]


def test_a_crash_is_told_as_one_and_not_repeated(
    tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky(monkeypatch, "crash 0 2")
    said = r"RuntimeError in process 0 of 1: this is the crash of a test\. The logs of the processes are in .*/\.out\.run\n"
    with pytest.raises(RuntimeError, match=said) as raised:
        launch.train(data, qwen, str(tmp_path / "out"), SETTINGS)
    assert "unlucky_worker.py" in raised.value.__notes__[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.run", "unlucky-was-here"]
    assert "crash of a test" in (tmp_path / ".out.run" / "rank-0.log").read_text()


@pytest.mark.drill
def test_less_memory_means_fewer_rows_and_then_checkpointing(
    alone: Alone, tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky(monkeypatch, "memory 0 0")
    told: list[str] = []
    report = launch.train(data, qwen, str(tmp_path / "out"), SETTINGS, announce=told.append, state_every_s=0.0)
    assert told == [
        "the training ran out of memory: it goes on with micro_batch 1",
        "the training ran out of memory: it goes on with micro_batch 1 and gradient_checkpointing",
    ]
    assert report.layout == Layout(processes=1, rows=1, passes=4, is_recomputed=True)
    assert distance(tmp_path / "out", alone[0]) < 1e-5


def test_what_a_user_can_mend_is_raised_as_in_one_process(
    tmp_path: Path, qwen: str, data: str, alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="50 checkpoints do not fit into 6 steps"):
        launch.train(data, qwen, str(tmp_path / "out"), SETTINGS.model_copy(update={"num_checkpoints": 50}))
    with pytest.raises(OutputExistsError, match=r"holds another training \(settings.seed was 0, is 1\)"):
        launch.train(data, qwen, str(alone[0]), SETTINGS.model_copy(update={"seed": 1}))
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    diverges = SETTINGS.model_copy(update={"learning_rate": 1e30, "warmup_share": 0.0, "max_gradient_norm": 1e30})
    with pytest.raises(TrainingError, match="the training diverged at step"):
        launch.train(data, qwen, str(tmp_path / "out"), diverges)
    assert list(tmp_path.iterdir()) == [], "what fails without a state leaves nothing"


@pytest.mark.drill
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_without_a_launcher_no_process_is_left_and_the_next_one_goes_on(
    how: signal.Signals,
    alone: Alone,
    tmp_path: Path,
    qwen: str,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    monkeypatch.setenv("UNLUCKY", "hang 0 3")
    output = tmp_path / "out"
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, data, qwen, str(output), as_json(SETTINGS)])
    try:
        _until(lambda: (tmp_path / "unlucky-was-here").exists() and len(processes_of(output)) == 2, 120)
        os.kill(launcher.pid, how)
        begun = time.monotonic()
        _until(lambda: processes_of(output) == [], 30)
        assert time.monotonic() - begun < 30
    finally:
        launcher.kill()
        launcher.wait()
    assert not output.exists()
    told: list[str] = []
    launch.train(data, qwen, str(output), SETTINGS, state_every_s=0.0, announce=told.append)
    assert told == ["it was begun before, and goes on after step 2 of 6"]
    assert distance(output, alone[0]) < 1e-5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "unlucky-was-here"]


def _until(is_so: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


@pytest.mark.drill
@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ("state/checkpoint-3/adapter_model.safetensors", r"has 4 bytes, and was saved with [\d,]+"),
        ("state/checkpoint-3/optimizer.pt", r"has 4 bytes, and was saved with [\d,]+"),
        ("checkpoint-000003/adapter_model.safetensors", r"has 4 bytes, and was saved with [\d,]+"),
        ("train_log.jsonl", "has 0 of the first 3 steps"),
        ("plan.json", "cannot be read"),
    ],
)
def test_a_damaged_state_is_named_with_the_way_on(
    damaged: str,
    said: str,
    alone: Alone,
    tmp_path: Path,
    qwen: str,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, partial = tmp_path / "out", tmp_path / ".out.partial"
    monkeypatch.setenv("UNLUCKY_ALWAYS", "1")
    unlucky(monkeypatch, "kill 0 4")
    with pytest.raises(LostTrainingError):
        launch.train(data, qwen, str(output), SETTINGS, state_every_s=0.0)
    (partial / "plan.json.new").write_text("half")
    whole = (partial / damaged).read_bytes()
    (partial / damaged).write_bytes(b"half")
    unlucky(monkeypatch, "none 0 0")
    for _ in range(2):  # it is not forgotten
        with pytest.raises(OtherStateError, match=rf"{damaged} {said}.*remove .* to begin again$"):
            launch.train(data, qwen, str(output), SETTINGS)
    (partial / damaged).write_bytes(whole)
    told: list[str] = []
    launch.train(data, qwen, str(output), SETTINGS, announce=told.append)
    assert told == ["it was begun before, and goes on after step 3 of 6"]
    assert np.array_equal(weights(output), weights(alone[0]))


def test_an_error_that_a_full_disk_cut_is_none(tmp_path: Path) -> None:
    (tmp_path / "error-0.json").touch()
    assert attempt.failure_in(tmp_path / "job.json", 0) is None


@pytest.mark.drill
def test_an_output_with_a_hash_in_its_path(
    tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "2")
    folder = tmp_path / "run#1 of 2"
    launch.train(data, qwen, str(folder / "out"), SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_an_output_that_cannot_be_renamed_to_is_refused_before_the_training(
    tmp_path: Path, qwen: str, data: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(TrainingError, match="is a symbolic link"):
        launch.train(data, qwen, str(tmp_path / "link"), SETTINGS)
    assert not (tmp_path / ".link.partial").exists()


def test_a_mount_point_is_refused_before_the_training(tmp_path: Path, qwen: str, data: str) -> None:
    (tmp_path / "disk").mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"']
    inside.append(str(tmp_path / "disk"))
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody but root mount a file system")
    arguments = [data, qwen, str(tmp_path / "disk"), as_json(SETTINGS)]
    code = LAUNCHER.replace("tests.unlucky_worker", "training.worker")
    done = subprocess.run([*inside, sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert "TrainingError" in done.stderr and "disk is a mount point, and the training becomes" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["disk"]


def test_a_training_that_lacks_only_its_name_is_not_repeated(
    alone: Alone, tmp_path: Path, qwen: str, data: str
) -> None:
    shutil.copytree(alone[0], tmp_path / ".out.partial")
    (tmp_path / ".out.partial" / "state" / "checkpoint-4").mkdir(parents=True)
    seen: list[StepRecord] = []
    assert launch.train(data, qwen, str(tmp_path / "out"), SETTINGS, watch=seen.append) == alone[1]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"checkpoint-000003", "checkpoint-000006", "train_log.jsonl", "training.json"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("tensorbord",), "there is no tracker 'tensorbord'"), (("swanlab",), "run `pip install swanlab`")],
)
def test_a_tracker_that_is_not_there_is_refused_before_the_training(names: tuple[str, ...], expected: str) -> None:
    with pytest.raises(TrainingError, match=expected):
        trackers.require(names)
    trackers.require(("none",))


def test_time_in_which_a_launcher_was_stopped_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    tail = Tail(tmp_path / "out")
    for _ in range(5):
        tail.wait(0.2)
    assert tail.silence_s == pytest.approx(1.0)


def test_a_full_disk_is_told_as_one() -> None:
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raised = failure_of(error).error("process 0")
    assert isinstance(raised, OSError) and raised.errno == errno.ENOSPC


def test_an_output_is_trained_by_one_at_a_time(tmp_path: Path, qwen: str, data: str) -> None:
    with held(tmp_path / "out"), pytest.raises(TrainingError, match=r"another process trains into .*out right now"):
        launch.train(data, qwen, str(tmp_path / "out"), SETTINGS)
    assert list(tmp_path.iterdir()) == []
    # as a kill -9 leaves it
    (tmp_path / ".out.run").mkdir()
    for name in ("lock", "job.json", "rank-0.log"):
        (tmp_path / ".out.run" / name).touch()
    with held(tmp_path / "out") as taken:
        assert [path.name for path in taken.run.iterdir()] == ["lock"]
    assert list(tmp_path.iterdir()) == []


def test_only_a_training_that_diverged_takes_its_state_with_it(
    tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise TrainingError("this machine cannot do that")

    with monkeypatch.context() as patch:
        patch.setattr(sft, "fit", refused)
        with pytest.raises(TrainingError, match="cannot do that"):
            sft.train(data, qwen, str(tmp_path / "out"), SETTINGS)
    partial = tmp_path / ".out.partial"
    assert (partial / "plan.json").is_file()
    state = saved_state(partial, 2)
    seal(state, 1)
    with pytest.raises(
        OtherStateError, match=r"state of another training that was killed \(settings.seed was 0, is 1\)"
    ):
        sft.train(data, qwen, str(tmp_path / "out"), SETTINGS.model_copy(update={"seed": 1}))
    assert state.is_dir(), "it may be hours of work"
    (partial / "layout.json").unlink()
    with pytest.raises(TrainingError, match=r"layout.json.* cannot be read .*Remove .*\.out\.partial to begin again"):
        sft.train(data, qwen, str(tmp_path / "out"), SETTINGS)
    assert state.is_dir()


def test_a_training_that_has_lost_a_checkpoint_is_not_taken_for_done(
    alone: Alone, tmp_path: Path, qwen: str, data: str
) -> None:
    for name in ("out", ".out.partial"):
        shutil.copytree(alone[0], tmp_path / name)
        shutil.rmtree(tmp_path / name / "checkpoint-000003")
        with pytest.raises(OutputExistsError, match=rf"{name}/checkpoint-000003 is missing.*remove .*{name} to train"):
            sft.train(data, qwen, str(tmp_path / "out"), SETTINGS)
        shutil.rmtree(tmp_path / name)
