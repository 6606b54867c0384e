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

from training import attempt
from training.settings import LoraSettings, SftSettings

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
