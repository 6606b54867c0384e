"""The smoke recipe on a Slurm cluster: trainings, engines and gradients as tasks with GPUs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from store import Store
from tests import fake_slurm
from tests.smoke_run import RECIPE, ROOT, command

EXECUTOR = (
    "executor={kind: slurm, partition: cpu, time: '01:00:00', poll_s: 0.2, gpu: {gpus_per_node: 2, replicas: 2, "
    "cpus_per_gpu: 1, mem_per_gpu_gb: 1, host: 127.0.0.1}}"
)


def contents(root: Path) -> dict[str, str | None]:
    """What each partition holds, but evaluations and what is made of them.

    These hold the seconds that answers ran, too.
    """
    found = {f"{record.plan.table} {record.plan.partition}": record.content for record in Store(root).records()}
    return {where: content for where, content in found.items() if "evaluations" not in where and "pass_at" not in where}


def verdicts(root: Path) -> set[tuple[object, ...]]:
    rows = Store(root).sql("SELECT * EXCLUDE (seconds) FROM evaluations").fetchall()
    return {tuple(map(str, row)) for row in rows}


@pytest.mark.drill
def test_a_run_on_slurm_has_the_rows_of_a_run_on_one_machine(smoke_store: Path, tmp_path: Path, monkeypatch) -> None:
    """Slow: each training, engine and batch of gradients is a job that loads torch anew."""
    monkeypatch.setenv("PATH", f"{fake_slurm.install(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    store = tmp_path / "store"
    done = subprocess.run(
        command("run", str(RECIPE), "--store", str(store), "--set", EXECUTOR),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert contents(store) == contents(smoke_store)
    assert verdicts(store) == verdicts(smoke_store)
    names = [path.read_text() for path in tmp_path.glob("jobs/*/name")]
    for kind in ("train-synthesizer-0", "train-synthesizer-1", "train-scorer", "train-coder", "replicas", "jobs"):
        assert any(name.startswith(f"scoder-{kind}-") for name in names), kind
    assert set(fake_slurm.states(tmp_path)) <= {"COMPLETED", "CANCELLED"}
    assert not list((store / "_runs" / "_scratch" / "gpu-tasks").iterdir())
