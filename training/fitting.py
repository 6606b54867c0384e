"""The trainer of a training: TRL's, with what this project sets.

In: a model, and a `Fit`, which says what it is given. Out: the model is trained, and the recorder
has seen each step (`training/checkpoints.py`).

    fit(model, tokenizer, Fit(examples, order, ...), recorder)

Assertions check what the trainer has seen: TRL drops rows without saying so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from peft import PeftModel
from peft.helpers import disable_input_dtype_casting
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig, SFTTrainer

from training import optimizers, processes, sharded, signs
from training.checkpoints import Recorder
from training.errors import StoppedError
from training.examples import Example, device
from training.layout import Layout, num_pads
from training.resuming import STATE, remove
from training.seals import seal
from training.settings import SftSettings
from training.state_keeper import EVERY_S, StateKeeper


@dataclass(frozen=True)
class Fit:
    """What the trainer is given, besides the model."""

    examples: Sequence[Example]
    order: Sequence[int]
    num_steps: int
    settings: SftSettings
    layout: Layout
    partial: Path
    state: Path | None
    state_every_s: float = EVERY_S
    stop: Path | None = None
    """A file that asks the training to end after a step."""


def fit(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, job: Fit, recorder: Recorder) -> None:
    """Train the model. StoppedError if the training was asked to end before its last step."""
    rows = _padded(tokens(job.examples).select(job.order), job.layout, tokenizer.pad_token_id)
    keeper = StateKeeper(job.state_every_s, job.stop)
    trainer = _Trainer(
        model=model,
        args=_config(job, model),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[recorder, keeper],
        optimizer_cls_and_kwargs=optimizers.choice(job.settings),
    )
    if job.layout.is_sharded:
        sharded.prepare(trainer)
    recorder.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    # By itself PEFT casts every input of an adapter to float32, and multiplies in it: on an H100
    # that takes a third of the step.
    with disable_input_dtype_casting(model, active=trainer.args.bf16):
        trainer.train(resume_from_checkpoint=str(job.state) if job.state else None)
    if keeper.has_stopped:
        raise StoppedError
    # a row that is added has one token
    num_tokens = sum(job.examples[row].num_tokens for row in job.order) + len(rows) - len(job.order)
    seen = trainer.train_dataset
    assert isinstance(seen, Dataset) and len(seen) == len(rows), (seen, len(rows))
    assert recorder.num_tokens_seen == num_tokens, (recorder.num_tokens_seen, num_tokens)
    assert trainer.state.global_step == job.num_steps, (trainer.state.global_step, job.num_steps)


class _Trainer(SFTTrainer):
    """TRL's trainer without the model card that it writes beside every state.

    The state before is removed when the new one is whole and on the disk.
    """

    def create_model_card(self, *_: Any, **__: Any) -> None: ...

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        states = Path(str(self.args.output_dir))
        with signs.saving(states.parent, is_first=processes.is_first()):
            super()._save_checkpoint(model, trial)
            processes.wait()
            if processes.is_first():
                new = states / f"checkpoint-{self.state.global_step}"
                seal(new, processes.num_processes())
                for old in states.iterdir():
                    if old != new:
                        remove(old)
            processes.wait()


def _config(job: Fit, model: Any) -> SFTConfig:
    settings, is_cpu = job.settings, device().type == "cpu"
    return SFTConfig(
        output_dir=str(job.partial / STATE),
        max_steps=job.num_steps,
        per_device_train_batch_size=job.layout.rows,
        gradient_accumulation_steps=job.layout.passes,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=math.ceil(settings.warmup_share * job.num_steps),
        optim="adamw_torch",
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        seed=settings.seed,
        use_cpu=is_cpu,
        bf16=optimizers.is_autocast(settings),
        gradient_checkpointing=settings.gradient_checkpointing,
        **(sharded.arguments(model) if job.layout.is_sharded else {"ddp_find_unused_parameters": False}),
        dataloader_pin_memory=not is_cpu,
        max_length=None,
        packing=False,
        shuffle_dataset=False,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        save_strategy="no",  # StateKeeper says when
        logging_steps=1,
        # By default transformers reports a loss that is no number as one of the steps before it.
        logging_nan_inf_filter=False,
        report_to=list(settings.report_to) or "none",
        run_name=job.partial.name.removeprefix(".").removesuffix(".partial"),
        disable_tqdm=True,
    )


def _padded(rows: Dataset, shape: Layout, token_id: int) -> Dataset:
    """The rows, and at their end as many of one token without a loss as the layout needs."""
    missing = num_pads(len(rows), shape)
    if not missing:
        return rows
    added = {"input_ids": [np.array([token_id], np.int32)], "labels": [np.array([-100], np.int32)]}
    pads = Dataset.from_dict({name: column * missing for name, column in added.items()}, features=rows.features)
    return concatenate_datasets([rows, pads])


def tokens(examples: Sequence[Example]) -> Dataset:
    """What the trainer takes: all ids, and labels that are -100 on the prompt."""
    return Dataset.from_dict(
        {
            "input_ids": [np.array(e.prompt_ids + e.completion_ids, np.int32) for e in examples],
            "labels": [np.array([-100] * len(e.prompt_ids) + e.completion_ids, np.int32) for e in examples],
        }
    )
