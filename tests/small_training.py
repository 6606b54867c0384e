"""A training of seconds, for tests: its rows, its settings, its faults, and what to compare.

SETTINGS train an adapter, FULL all weights. Both make six steps, the last of them a short one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from training import attempt, train_log
from training.settings import LoraSettings, SftSettings
from training.train_log import StepRecord

# 11 rows, so that the last step is short for two processes.
SETTINGS = SftSettings(
    epochs=2,
    learning_rate=1e-2,
    batch_size=2,
    gradient_accumulation=2,
    max_tokens=200,
    num_checkpoints=2,
    lora=LoraSettings(r=4, alpha=8),
    dtype="float32",
)
FULL = SETTINGS.model_copy(update={"lora": None, "sharding": "fsdp2", "learning_rate": 1e-3})
NUM_STEPS = 6
LAUNCHER = (
    "import sys, json; from training import attempt, launch; from training.settings import SftSettings\n"
    "attempt.WORKER = 'tests.unlucky_worker'\n"
    "launch.train(sys.argv[1], sys.argv[2], sys.argv[3], SftSettings(**json.loads(sys.argv[4])), state_every_s=0.0)"
)
"""A launcher in a process of its own: dataset, base, output, settings as JSON."""


def write_rows(folder: Path) -> str:
    rows = [
        [
            {"role": "user", "content": f"add {n} and {n}" + " please" * n},
            {"role": "assistant", "content": f"def add():\n    return {n} + {n}\n"},
        ]
        for n in range(11)
    ]
    pq.write_table(pa.table({"messages": rows}), folder / "train-00000.parquet")
    return str(folder)


def as_json(settings: SftSettings) -> str:
    return json.dumps(settings.model_dump(mode="json"))


def weights(output: Path, step: int = NUM_STEPS) -> np.ndarray:
    """All weights that were trained, one after another: of an adapter, or of the whole model."""
    (file,) = (output / f"checkpoint-{step:06d}").glob("*model.safetensors")
    found = load_file(file)
    return np.concatenate([found[name].ravel() for name in sorted(found)])


def distance(output: Path, other: Path, step: int = NUM_STEPS) -> float:
    ours, theirs = weights(output, step), weights(other, step)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def saved_state(partial: Path, step: int, processes: int = 1) -> Path:
    """A state as a training saves it, with the log up to there. It is not sealed yet."""
    state = partial / "state" / f"checkpoint-{step}"
    state.mkdir(parents=True)
    ranks = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    for part in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", *ranks):
        (state / part).write_bytes(part.encode() * 20_000)
    (state / "trainer_state.json").write_text("{}")
    values = {"num_steps": 9, "loss": 1.0, "learning_rate": 0.1, "gradient_norm": None, "tokens_per_second": None}
    records = [StepRecord(step=n, num_tokens=n, gpu_memory_gb=None, seconds=1.0, **values) for n in range(1, step + 1)]
    train_log.write(partial, records)
    return state


def trains_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `launch.train` train in this process. That saves the seconds that a process loads for."""
    from training import launch, sft

    monkeypatch.setattr(launch, "train", sft.train)


def unlucky(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """What happens to the processes of the next trainings (`tests/unlucky_worker.py`)."""
    monkeypatch.setattr(attempt, "WORKER", "tests.unlucky_worker")
    monkeypatch.setenv("UNLUCKY", what)


def processes_of(output: Path) -> list[int]:
    """The processes that train into a folder."""
    job = f".{output.name}.run/job.json"
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if f"{output.parent}/{job}" in line:
            found.append(int(entry.name))
    return found
