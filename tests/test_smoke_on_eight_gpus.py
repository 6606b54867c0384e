"""The smoke recipe on a machine with eight GPUs. They are simulated: all runs on the CPU."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from store import Store
from tests.smoke_run import RECIPE, ROOT, command
from training.gpus import SIMULATED
from training.reports import REPORT, TrainingReport

NAMES = [str(number) for number in range(8)]
MARK = "SMOKE_ON_EIGHT_GPUS"
KINDS = {"training.worker": "training", "builders.engines.replica": "replica"}
POLL_S = 0.1
BEFORE_A_TRAINING = {"raw_pool", "snippet_checks", "near_duplicates", "pool", "teacher_samples", "benchmarks"}
"""Tables that no training touches, so these are equal. Others differ by what rounding does."""


class Watched:
    """Which GPUs the processes of a run see, for each kind of process (CUDA_VISIBLE_DEVICES)."""

    def __init__(self, mark: str) -> None:
        self.gpus: dict[str, set[str]] = {kind: set() for kind in KINDS.values()}
        self._mark = f"{MARK}={mark}".encode()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(POLL_S):
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal():
                    self._note(entry)

    def _note(self, entry: Path) -> None:
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            line = (entry / "cmdline").read_bytes().decode()
        except OSError:
            return
        if self._mark not in variables:
            return
        gpus = next((v.partition(b"=")[2] for v in variables if v.startswith(b"CUDA_VISIBLE_DEVICES=")), b"all")
        for module, kind in KINDS.items():
            if module in line:
                self.gpus[kind].add(gpus.decode())


def shapes(store: Path) -> dict[str, tuple[int, int, int]]:
    """Of each training its processes, and the rows and passes of each process in a step."""
    found = {}
    for path in (store / "_models").rglob(REPORT):
        layout = TrainingReport.model_validate_json(path.read_text(encoding="utf-8")).layout
        assert layout is not None
        found[path.parent.name.rpartition("-")[0]] = (layout.processes, layout.rows, layout.passes)
    return found


def partitions(store: Path) -> dict[str, str | None]:
    """Each partition, with what it holds."""
    return {f"{record.plan.table} {record.plan.partition}": record.content for record in Store(store).records()}


@pytest.mark.drill
def test_a_run_on_eight_gpus_uses_all_of_them(smoke_store: Path, tmp_path: Path) -> None:
    """Slow: most trainings and engines are eight processes, and each of them loads torch."""
    store = tmp_path / "store"
    environment = {**os.environ, SIMULATED: "8", MARK: str(tmp_path)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    with Watched(str(tmp_path)) as processes:
        done = subprocess.run(
            command("run", str(RECIPE), "--store", str(store)),
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert processes.gpus["replica"] == set(NAMES), "one replica on each GPU"
    # As many processes as share the rows of a step evenly: 16, 4 and 8 rows.
    assert processes.gpus["training"] == {",".join(NAMES), ",".join(NAMES[:4])}
    assert shapes(store) == {
        "scorer": (8, 2, 1),
        "synthesizer-0": (4, 1, 1),
        "synthesizer-1": (4, 1, 1),
        "synthesizer-2": (4, 1, 1),
        "coder": (8, 1, 1),
    }
    ours, theirs = partitions(store), partitions(smoke_store)
    before = [where for where in theirs if where.split()[0] in BEFORE_A_TRAINING]
    assert len(before) >= len(BEFORE_A_TRAINING)
    assert {where: ours[where] for where in before} == {where: theirs[where] for where in before}
    assert {where.split()[0] for where in ours} == {where.split()[0] for where in theirs}
    counts = "SELECT iteration, count(*) FROM candidates GROUP BY ALL ORDER BY ALL"
    assert Store(store).sql(counts).fetchall() == Store(smoke_store).sql(counts).fetchall()
