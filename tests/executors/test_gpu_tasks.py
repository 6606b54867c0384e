"""Tasks with GPUs: trainings, jobs and what is left when somebody dies, on a Slurm of one machine.

The commands are those of `tests/fake_slurm.py`, which run the tasks as real processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from builders.executors import gpu_jobs, gpu_tasks, node_trainings
from builders.executors.gpu_tasks import Cluster, Tasks
from builders.recipe import Executor
from store.errors import JobError
from store.lock import coordinator
from tests import fake_slurm
from tests.gpu_job import Report, measure
from tests.replica_engines import is_alive, wait_until
from tests.small_training import SETTINGS
from tests.tiny_models import tiny_qwen
from training import launch
from training.errors import LostTrainingError, TrainingError

ROOT = Path(__file__).parents[2]
GPU = {"gpus_per_node": 2, "replicas": 2, "cpus_per_gpu": 3, "mem_per_gpu_gb": 10, "host": "127.0.0.1"}
SLURM = {"kind": "slurm", "partition": "cpu", "time": "00:10:00", "poll_s": 0.1, "gpu": GPU}
LONG = SETTINGS.model_copy(update={"epochs": 20})
"""55 steps, so that there is time to kill it."""


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """The folder of a Slurm whose commands stand first on PATH."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{fake_slurm.install(folder)}:{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(gpu_tasks, "LAG_S", 0.5)
    return folder


@pytest.fixture
def cluster(slurm, tmp_path):
    """A cluster for a store that this process coordinates, and what it announced."""
    said: list[str] = []
    made = Cluster(str(tmp_path / "store"), Executor.model_validate(SLURM), said.append)
    with coordinator(made.root):
        yield made


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("data")
    rows = [
        [
            {"role": "user", "content": f"add {n} and {n}" + " please" * n},
            {"role": "assistant", "content": f"def add():\n    return {n} + {n}\n"},
        ]
        for n in range(11)
    ]
    pq.write_table(pa.table({"messages": rows}), folder / "train-00000.parquet")
    return str(folder)


def processes_with(text: str) -> list[int]:
    """Living processes whose command has this text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in command and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def folders(cluster: Cluster) -> list[Path]:
    return list(Path(cluster.root, "_runs", "_scratch", "gpu-tasks").iterdir())


# -- the tasks themselves --------------------------------------------------------------------------


def test_a_task_asks_for_its_share_of_a_node_and_tells_how_it_ended(cluster, slurm):
    said = "import os; print('to', os.environ['SLURM_JOB_ID'], input()); raise SystemExit(3)"
    given = Path(cluster.root, "given")
    given.write_text("you\n")
    with Tasks(cluster, "test") as tasks:
        task = tasks.start("one", ["-c", said], 2, given)
        assert not task.has_ended()
        wait_until(task.has_ended)
        assert task.code == 3 and "with exit code 3" in task.ending() and "to 1 you" in task.ending()
    script = (slurm / "jobs" / "1" / "script").read_text()
    for line in ("gres=gpu:2", "mem=20G", "cpus-per-task=6", "time=00:10:00", "nodes=1", "no-requeue"):
        assert f"#SBATCH --{line}\n" in script
    assert folders(cluster) == []


def test_other_spellings_of_gpus_and_the_section_before_the_executor(cluster, slurm):
    gpu = GPU | {"gres": None, "time": "08:00:00", "partition": "h100", "sbatch": {"constraint": "fast"}}
    other = Cluster(cluster.root, Executor.model_validate(SLURM | {"account": "me", "gpu": gpu}))
    with Tasks(other, "test") as tasks:
        wait_until(tasks.start("one", ["-c", "pass"], 1).has_ended)
    script = (slurm / "jobs" / "1" / "script").read_text()
    for line in ("gpus-per-node=1", "time=08:00:00", "partition=h100", "constraint=fast", "account=me"):
        assert f"#SBATCH --{line}\n" in script
    assert "gres" not in script


def test_a_task_that_was_killed_on_its_node_has_ended(cluster):
    with Tasks(cluster, "test") as tasks:
        task = tasks.start("one", ["-c", "import time; time.sleep(600)"], 1)
        wait_until(lambda: bool(processes_with(str(task.folder))))
        for pid in processes_with(f"builders.executors.node\0{task.folder}"):
            os.kill(pid, signal.SIGKILL)
        wait_until(task.has_ended)
        assert task.code is None and "without an exit code (Slurm job 1: FAILED)" in task.ending()


def test_what_a_command_leaves_behind_is_ended_before_its_task_has(cluster, tmp_path):
    """Another task may go on with the same files."""
    leaves = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        f"start_new_session=True); open({str(tmp_path / 'left')!r}, 'w').write(str(child.pid)); raise SystemExit(1)"
    )
    with Tasks(cluster, "test") as tasks:
        task = tasks.start("one", ["-c", leaves], 1)
        wait_until(lambda: task.code is not None)
        assert not is_alive(int((tmp_path / "left").read_text()))


def test_closing_ends_what_runs_and_what_waits(cluster, slurm):
    tasks = Tasks(cluster, "test")
    running = tasks.start("one", ["-c", "import time; time.sleep(600)"], 1)
    wait_until(lambda: bool(processes_with(str(running.folder))))
    (slurm / "held").touch()
    waiting = tasks.start("two", ["-c", "pass"], 1)
    assert not waiting.has_ended() and waiting.is_waiting
    tasks.close()
    assert fake_slurm.states(slurm) == ["CANCELLED", "CANCELLED"] and folders(cluster) == []


def test_what_the_cluster_refuses_is_said(cluster):
    closed = Cluster(cluster.root, Executor.model_validate(SLURM | {"gpu": GPU | {"partition": "closed"}}))
    with (
        pytest.raises(JobError, match=r"invalid partition specified: closed\): check partition"),
        Tasks(closed, "t") as t,
    ):
        t.start("one", ["-c", "pass"], 1)


# -- jobs ------------------------------------------------------------------------------------------


def test_jobs_run_in_tasks_and_a_lost_task_is_given_out_again(cluster, tmp_path):
    said: list[str] = []
    cluster = Cluster(cluster.root, cluster.executor, said.append)
    jobs = [(str(tmp_path), number, "die once" if number == 4 else "") for number in range(6)]
    found = list(gpu_jobs.run(measure, jobs, 1, cluster))
    assert sorted(found, key=lambda r: r.number) == [Report(number=n, square=n * n) for n in range(6)]
    done = [line.split() for line in (tmp_path / "done").read_text().splitlines()]
    assert sorted(number for number, _ in done) == list("012345"), "each job was done once"
    assert len({pid for _, pid in done}) == 3, "two tasks, and one that was started again"
    assert [line for line in said if "was lost, and is started again" in line]


def test_the_error_of_a_job_arrives(cluster, tmp_path):
    with pytest.raises(JobError, match=r"^no memory for 1: use less$"):
        list(gpu_jobs.run(measure, [(str(tmp_path), n, "fail" if n == 1 else "") for n in range(4)], 1, cluster))
    with pytest.raises(JobError, match=r"(?s)lost 3 times without any progress; .*exit code 9.*my last words"):
        list(gpu_jobs.run(measure, [(str(tmp_path), 0, "die")], 1, cluster))


# -- trainings -------------------------------------------------------------------------------------


def weights(output: Path) -> np.ndarray:
    found = load_file(sorted(output.glob("checkpoint-*"))[-1] / "adapter_model.safetensors")
    return np.concatenate([found[name].ravel() for name in sorted(found)])


def test_a_training_on_a_node_is_that_of_this_machine_also_when_it_is_killed(cluster, slurm, tmp_path, qwen, data):
    local = launch.train(data, qwen, str(tmp_path / "local"), LONG, state_every_s=0)
    said, steps, killed = list[str](), list[int](), list[int]()
    cluster = Cluster(cluster.root, cluster.executor, said.append)

    def watch(record) -> None:
        steps.append(record.step)
        if not killed:
            killed.extend(processes_with(".remote.node/job.json"))
            os.kill(killed[0], signal.SIGKILL)

    with node_trainings.training_node(cluster, "test") as node:
        report = launch.train(
            data,
            qwen,
            str(tmp_path / "remote"),
            LONG,
            state_every_s=0,
            watch=watch,
            announce=said.append,
            node=node,
        )
    assert report.plan == local.plan and report.checkpoints == local.checkpoints
    assert np.array_equal(weights(tmp_path / "remote"), weights(tmp_path / "local"))
    assert set(range(35, 56)) <= set(steps)
    assert killed and [line for line in said if "was lost, it goes on after step" in line]
    assert len(list((slurm / "jobs").iterdir())) == 2 and "gres=gpu:2" in (slurm / "jobs" / "2" / "script").read_text()
    assert sorted(p.name for p in tmp_path.iterdir() if "remote" in p.name) == ["remote"]


def test_the_error_of_a_training_arrives_and_a_lost_one_ends(cluster, tmp_path, qwen, data):
    with node_trainings.training_node(cluster, "test") as node:
        with pytest.raises(TrainingError, match="40 checkpoints do not fit") as raised:
            many = SETTINGS.model_copy(update={"num_checkpoints": 40})
            launch.train(data, qwen, str(tmp_path / "many"), many, node=node)
        assert type(raised.value) is TrainingError

    def dead(arguments: list[str], gpus: int | None):
        return tasks.start("node", ["-c", "print('no driver'); raise SystemExit(5)"], gpus or 2)

    with Tasks(cluster, "train") as tasks, pytest.raises(LostTrainingError, match=r"(?s)second time.*5.*no driver"):
        launch.train(data, qwen, str(tmp_path / "dead"), SETTINGS, node=dead)


# -- whoever dies ----------------------------------------------------------------------------------

COORDINATOR = """
import sys
from builders.executors.gpu_tasks import Cluster, Tasks
from builders.executors import node_trainings
from builders.recipe import Executor
from store.lock import coordinator
from tests.executors.test_gpu_tasks import SLURM, SETTINGS
from training import launch

root, qwen, data = sys.argv[1:]
cluster = Cluster(root, Executor.model_validate(SLURM))
with coordinator(root), node_trainings.training_node(cluster, "test") as node:
    slow = SETTINGS.model_copy(update={"epochs": 5000})
    launch.train(data, qwen, root + "/model", slow, node=node, watch=lambda record: print(record.step, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.drill)])
def test_a_training_ends_with_its_coordinator(slurm, tmp_path, qwen, data, number):
    root = tmp_path / "store"
    process = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, str(root), qwen, data],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert b"1\n" in process.stdout, "it makes steps"
    here = [f"{root}/.model", f"{root}/_runs"]
    assert all(processes_with(text) for text in here)
    process.send_signal(number)
    process.wait(timeout=60)
    wait_until(lambda: not any(processes_with(text) for text in here), 10)
    process.stdout.close()
    cluster = Cluster(str(root), Executor.model_validate(SLURM))
    if number == signal.SIGKILL:
        assert len(folders(cluster)) == 1
        with coordinator(root), Tasks(cluster, "next"):
            assert [folder.name[:11] for folder in folders(cluster)] == ["scoder-next"], "the old ones are swept"
    else:
        assert fake_slurm.states(slurm) == ["CANCELLED"]


def test_queued_tasks_of_a_killed_coordinator_are_cancelled_by_the_next_one(cluster, slurm):
    """Its own tasks are left alone, also by other tasks of the same coordinator."""
    (slurm / "held").touch()
    with Tasks(cluster, "old") as old:
        old.start("one", ["-c", "pass"], 1)
        with Tasks(cluster, "beside"):
            assert fake_slurm.states(slurm) == ["PENDING"]
        (old.folder / gpu_tasks.OWNER).write_text("{}")
        threading.Timer(0.5, (slurm / "held").unlink).start()
        with Tasks(cluster, "next"):
            assert fake_slurm.states(slurm) == ["CANCELLED"] and not old.folder.exists()
        time.sleep(0.6)
