"""kill -9 and SIGSTOP of a rank and of the launcher, at random steps: adapters and all weights.

The seed is printed where a test fails. SCODER_DRILL_SEED=1234 repeats its steps.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.small_training import (
    FULL,
    LAUNCHER,
    NUM_STEPS,
    SETTINGS,
    as_json,
    processes_of,
    unlucky,
    weights,
    write_rows,
)
from tests.tiny_models import tiny_qwen
from training import launch
from training.settings import SftSettings

SEED = int(os.environ.get("SCODER_DRILL_SEED") or secrets.randbits(16))
ENDED_S = 30
"""Seconds in which no process may be left."""
KINDS = {signal.SIGKILL: "kill", signal.SIGSTOP: "stop"}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, dict[str, np.ndarray]]]:
    """The rows, the model, and what an uninterrupted training of two processes makes of them."""
    data, base = write_rows(tmp_path_factory.mktemp("data")), tiny_qwen(tmp_path_factory.mktemp("base"))
    whole = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCODER_SIMULATED_GPUS", "2")
        patch.setenv("OMP_NUM_THREADS", "1")
        unlucky(patch, "none 0 0")
        for name, settings in (("adapter", SETTINGS), ("all", FULL)):
            launch.train(data, base, str(whole / name), settings)
        yield data, base, {name: weights(whole / name) for name in ("adapter", "all")}


@pytest.mark.drill
@pytest.mark.parametrize(("name", "settings"), [("adapter", SETTINGS), ("all", FULL)])
@pytest.mark.parametrize("victim", ["rank", "launcher"])
@pytest.mark.parametrize("how", KINDS, ids=lambda how: how.name)
def test_a_fault_at_a_random_step_costs_no_bit(
    name: str,
    settings: SftSettings,
    victim: str,
    how: signal.Signals,
    places: tuple[str, str, dict[str, np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, base, expected = places
    chance = random.Random(f"{SEED} {name} {victim} {how}")
    rank, step = chance.randrange(2), chance.randrange(1, NUM_STEPS)
    print(f"SCODER_DRILL_SEED={SEED}: {how.name} of the {victim} (rank {rank}) after step {step}")
    output = tmp_path / "out"
    told: list[str] = []
    if victim == "rank":
        unlucky(monkeypatch, f"{KINDS[how]} {rank} {step}")
    else:
        unlucky(monkeypatch, f"hang {rank} {step}")
        command = [sys.executable, "-c", LAUNCHER, data, base, str(output), as_json(settings)]
        launcher = subprocess.Popen(command)
        try:
            _until(lambda: (tmp_path / "unlucky-was-here").exists(), 180)
            os.kill(launcher.pid, how)
            _until(lambda: processes_of(output) == [], ENDED_S)
        finally:
            launcher.kill()
            launcher.wait()
        assert not output.exists()
    launch.train(data, base, str(output), settings, announce=told.append, state_every_s=0.0)
    # A state is saved after the fault's own step begins, so it goes on from the step before.
    assert len(told) == (step > 1 or victim == "rank"), told
    assert all(f"goes on after step {step - 1}" in line for line in told), told
    assert np.array_equal(weights(output), expected[name])
    assert processes_of(output) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "unlucky-was-here"]


def _until(is_so: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end, f"it took longer than {seconds} s"
        time.sleep(0.2)
