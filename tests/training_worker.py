"""One process of a short training of all weights, for tests that compare one process with two.

In: a `Job` as JSON, in the first argument. Out, in its folder: `checkpoint`, and for each process
`<rank>.json` with losses, gradient norms, and the bytes of its weights and states after one step.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from pydantic import BaseModel
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from tests import cpu_fsdp
from training import optimizers, sharded
from training.checkpoints import save_checkpoint
from training.examples import load_model
from training.settings import SftSettings

BASE = "recipes/tiny-base"
ROWS_PER_STEP = 4
END = 5


class Job(BaseModel):
    folder: Path
    settings: SftSettings
    num_rows: int = 16
    num_pads: int = 0
    num_saved_steps: int | None = None
    killed: tuple[int, int] | None = None
    """The process that kills itself, and after which step."""
    resumed: Path | None = None


class Watch(TrainerCallback):
    """Counts bytes after the first step, and kills the process where the job says so."""

    def __init__(self, killed: tuple[int, int] | None) -> None:
        self.killed = killed
        self.seen: dict[str, Any] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer, model = kwargs["optimizer"], kwargs["model"]
        if not self.seen:
            moments = [v for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
            self.seen = {"largest": sharded.largest(model)}
            self.seen |= {"weights": sum(map(num_bytes, model.parameters())), "moments": sum(map(num_bytes, moments))}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.killed == (args.process_index, state.global_step):
            os.kill(os.getpid(), signal.SIGKILL)


def num_bytes(tensor: torch.Tensor) -> int:
    """Bytes that this process holds of a tensor."""
    part = sharded.local_part(tensor)
    if hasattr(part, "__tensor_flatten__"):
        return sum(getattr(part, name).nbytes for name in part.__tensor_flatten__()[0])
    return part.nbytes


def rows(num_rows: int, num_pads: int) -> Dataset:
    """Rows of 20 to 80 random ids, a third of them prompt, and pads: one token without a label."""
    random = np.random.default_rng(0)
    ids = [random.integers(10, 4000, size=n, dtype=np.int32) for n in random.integers(20, 80, size=num_rows)]
    labels = [np.where(np.arange(len(row)) < len(row) // 3, -100, row).astype(np.int32) for row in ids]
    pads = [np.array([2], np.int32)] * num_pads
    return Dataset.from_dict({"input_ids": ids + pads, "labels": labels + [np.array([-100], np.int32)] * num_pads})


def config(job: Job, model: Any, num_processes: int) -> SFTConfig:
    settings = job.settings
    return SFTConfig(
        output_dir=str(job.folder / "state"),
        max_steps=math.ceil(job.num_rows / ROWS_PER_STEP),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=ROWS_PER_STEP // settings.batch_size // num_processes,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=1,
        optim="adamw_torch",
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        seed=settings.seed,
        use_cpu=True,
        bf16=optimizers.is_autocast(settings),
        gradient_checkpointing=settings.gradient_checkpointing,
        dataloader_pin_memory=False,
        max_length=None,
        shuffle_dataset=False,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        save_strategy="steps" if job.num_saved_steps else "no",
        save_steps=job.num_saved_steps or 1,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        **(sharded.arguments(model) if num_processes > 1 else {}),
    )


def trainer_of(job: Job) -> tuple[SFTTrainer, Watch]:
    """The trainer of a job, before it trains."""
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes > 1:
        cpu_fsdp.allow()
    set_seed(job.settings.seed)
    model = load_model(BASE, dtype=optimizers.weights_dtype(job.settings))
    watch = Watch(job.killed)
    trainer = SFTTrainer(
        model=model,
        args=config(job, model, num_processes),
        train_dataset=rows(job.num_rows, job.num_pads),
        processing_class=AutoTokenizer.from_pretrained(BASE),
        callbacks=[watch],
        optimizer_cls_and_kwargs=optimizers.choice(job.settings),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, watch


def main(job: Job) -> None:
    torch.set_num_threads(1)
    trainer, watch = trainer_of(job)
    is_sharded = trainer.args.world_size > 1
    if is_sharded:
        sharded.prepare(trainer)
    trainer.train(resume_from_checkpoint=str(job.resumed) if job.resumed else None)
    tokenizer = trainer.processing_class
    if is_sharded:
        sharded.save(job.folder / "checkpoint", trainer, tokenizer, END)
    else:
        save_checkpoint(job.folder / "checkpoint", trainer.model, tokenizer, trainer.optimizer, END)
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    told = watch.seen | {"losses": [e["loss"] for e in logs], "norms": [e["grad_norm"] for e in logs]}
    (job.folder / f"{trainer.args.process_index}.json").write_text(json.dumps(told))
    if is_sharded:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Job.model_validate_json(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # as training/worker.py ends: threads of gloo may abort the interpreter's own end
