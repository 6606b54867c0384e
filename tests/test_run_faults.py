"""tests/run_faults.py: which faults are drawn, and which processes belong to a run."""

import os
import subprocess
import sys
from pathlib import Path

from tests.run_faults import KINDS, MARK, Process, _until, drawn, is_alive, processes_of


def test_a_seed_draws_the_same_faults_and_every_kind_once_before_one_comes_again() -> None:
    assert drawn(11, seed=2) == drawn(11, seed=2)
    assert len({tuple(drawn(5, seed)) for seed in range(9)}) > 3
    assert set(drawn(5, seed=5)) == set(KINDS) == set(drawn(10, seed=5)[5:])


def test_the_processes_of_a_run_are_found_by_their_mark_or_by_the_path_of_the_store(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    store, other = tmp_path / "store", tmp_path / "other"
    marked = subprocess.Popen(words, env={**os.environ, MARK: str(store)})
    named = subprocess.Popen([*words, str(store / "_models")])
    foreign = subprocess.Popen(words, env={**os.environ, MARK: str(other)})
    try:
        assert {process.pid for process in processes_of(store)} == {marked.pid, named.pid}
    finally:
        for process in (marked, named, foreign):
            process.kill()
    assert _until(lambda: not is_alive(marked.pid), 10.0) is not None, "dead, though nobody has asked for it"
    for process in (marked, named, foreign):
        process.wait()
    assert processes_of(store) == []


def test_a_training_has_begun_with_its_first_step(tmp_path: Path) -> None:
    job = tmp_path / "_models" / ".coder-0a1b.run" / "job.json"
    training = Process(1, f"python -m training.worker {job} 0")
    assert training.name == "coder-0a1b" and not training.has_begun
    log = tmp_path / "_models" / ".coder-0a1b.partial" / "train_log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("{}\n")
    assert training.has_begun
