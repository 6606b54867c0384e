"""One of two processes that load a model with FSDP2, for a test that counts bytes.

    python -m tests.loading_worker BASE MEETING RANK OUT

Out: JSON with what the process holds of the host's memory for the loaded model, the peak of tensors
while the model is shared out (on a GPU, all of them are there), and its own part at the end.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from tests import cpu_fsdp
from tests.counted_bytes import CountedBytes
from training import fitting, processes, sharded, sharded_loading
from training.examples import load_tokenizer


def anonymous() -> int:
    """Bytes of this process's own memory: no file can give them back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def main(base: str, meeting: str, rank: int, out: str) -> None:
    cpu_fsdp.allow()
    with processes.joined(meeting, rank, 2):
        before = anonymous()
        model = sharded_loading.load(base, torch.float32)
        loaded = anonymous() - before
        config = SFTConfig(output_dir=out, use_cpu=True, max_steps=1, report_to="none", **sharded.arguments(model))
        rows = fitting.Dataset.from_dict({"input_ids": [[5, 6, 7]] * 4, "labels": [[5, 6, 7]] * 4})
        trainer = SFTTrainer(model, config, train_dataset=rows, processing_class=load_tokenizer(base))
        sharded.prepare(trainer)
        trainer.create_optimizer()
        with CountedBytes() as counted:
            prepared: Any = trainer.accelerator.prepare(trainer.model, trainer.optimizer)[0]
        parts = [sharded.local_part(weight) for weight in prepared.parameters()]
        held = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in parts}
        found = {"loaded": loaded, "peak": counted.peak, "part": sum(held.values())}
        (Path(out) / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    os._exit(0)
