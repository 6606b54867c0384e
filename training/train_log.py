"""The log of a training: one line of JSON per step, written as the training goes.

    {"step": 3, "num_steps": 60, "loss": 1.21, "learning_rate": 9.8e-05, "gradient_norm": 0.7,
     "num_tokens": 9120, "tokens_per_second": 5230.0, "gpu_memory_gb": 41.2, "seconds": 5.9,
     "num_processes": 4}

`num_tokens` is a sum since the first step, `seconds` the time of this step. A training that goes on
after a kill goes on with this file: lines after the state that it starts from are removed.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training.whole_files import write_whole

LOG = "train_log.jsonl"


class StepRecord(BaseModel):
    """One step of the optimizer, which `num_processes` made together, one per GPU.

    `gpu_memory_gb` is the peak of the first process; None without a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    num_steps: int
    loss: float
    learning_rate: float
    gradient_norm: float | None
    num_tokens: int
    tokens_per_second: float | None
    gpu_memory_gb: float | None
    seconds: float
    num_processes: int = 1

    def text(self) -> str:
        """For people: `loss 1.213, 5,230 tokens/s, on 4 GPUs, 41.2 GB each`."""
        rate = [f"{self.tokens_per_second:,.0f} tokens/s"] if self.tokens_per_second else []
        return ", ".join([f"loss {self.loss:.3f}", *rate, self._where()])

    def _where(self) -> str:
        number = self.num_processes
        if self.gpu_memory_gb is None:
            return "1 process on the CPU" if number == 1 else f"{number} processes on the CPU"
        if number == 1:
            return f"on 1 GPU, {self.gpu_memory_gb:.1f} GB"
        return f"on {number} GPUs, {self.gpu_memory_gb:.1f} GB each"


def read(folder: Path, until: int | None = None) -> list[StepRecord]:
    """The steps in the log of a folder, up to a step. A line that a kill has cut is left out."""
    found: list[StepRecord] = []
    try:
        text = (folder / LOG).read_text(encoding="utf-8")
    except FileNotFoundError:  # the folder may get its own name at any time
        return []
    for line in text.splitlines():
        try:
            found.append(StepRecord.model_validate(json.loads(line)))
        except ValueError:
            break
    return [record for record in found if until is None or record.step <= until]


def write(folder: Path, records: list[StepRecord]) -> None:
    """Replace the log of a folder."""
    write_whole(folder / LOG, "".join(_line(record) for record in records))


def append(folder: Path, record: StepRecord) -> None:
    """Add a step. The line is in the hands of the operating system when this returns."""
    with open(folder / LOG, "a", encoding="utf-8") as log:
        log.write(_line(record))


def _line(record: StepRecord) -> str:
    return record.model_dump_json() + "\n"
