"""Supervised fine-tuning on the completion of every row, with evenly spaced checkpoints.

In: a dataset (folder or Hub) and a base model (folder or Hub). Out: a folder that appears whole or
not at all:

    training.json                 the `TrainingReport`
    checkpoint-000012/            adapter or full weights, tokenizer with its chat template,
        optimizer.pt              AdamW's state (weights_only loads it), whose integer keys are
        parameter_names.json      the places in this list

How: rows are tokenised and rejected here, before TRL's trainer, which drops rows without saying so.
Assertions then check what the trainer sees. The trainer gets the rows in their final order, so that
a seed fixes the order. It is one process.

    report = train("data", "base", "out", SftSettings(num_checkpoints=4))
"""

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from training import fingerprints, pretrained
from training.adapters import add_lora
from training.chat_templates import Arguments
from training.checkpoints import Recorder, checkpoint_steps
from training.encoding import choice_place, encoder
from training.errors import TrainingError
from training.examples import (
    Example,
    device,
    encode_rows,
    load_model,
    load_rows,
    load_tokenizer,
)
from training.model_config import longest
from training.precision import torch_dtype
from training.progress import StepBar
from training.reports import REPORT, TrainingPlan, TrainingReport, finished
from training.settings import SftSettings

# Within windows of this many batches, rows of similar length are put together. The batches are then
# shuffled.
BATCHES_PER_WINDOW = 50


def train(
    dataset: str,
    base: str,
    output: str,
    settings: SftSettings,
    *,
    split: str = "train",
    revision: str | None = None,
    base_revision: str | None = None,
    adapter: str | None = None,
    template_arguments: Arguments | None = None,
    expects: str = "a conversation in every row, the last turn the assistant's",
    choices: Sequence[str] = (),
) -> TrainingReport:
    """Train and return the report. If the same training is already in `output`, return its report.

    `adapter` is a LoRA folder over `base` whose training continues with these rows. Its rank and
    layers must be those of the settings. `template_arguments` are written into the chat template,
    and saved with it. ValueError for a dataset of other columns, for no usable row, for fewer steps
    than checkpoints, and for a training that diverges. FileExistsError if `output` holds anything
    else. `choices` are the answers of a model that is asked for one token: ValueError if they are
    more.
    """
    start = time.monotonic()
    rows = load_rows(dataset, split, revision, expects)
    tokenizer = load_tokenizer(base, adapter, base_revision, template_arguments)
    plan = TrainingPlan(
        dataset_fingerprint=fingerprints.dataset_fingerprint(rows),
        base_fingerprint=fingerprints.model_fingerprint(base, base_revision),
        adapter_fingerprint=fingerprints.model_fingerprint(adapter) if adapter else None,
        settings=settings,
        template_arguments=dict(template_arguments or {}),
        encoding=encoder(tokenizer).changes(),
    )
    if report := finished(Path(output), plan):
        return report
    if choices:
        choice_place(tokenizer, tuple(choices))
    num_places = longest(pretrained.read_config(base, base_revision), settings.max_tokens)
    examples, rejects = encode_rows(tokenizer, rows, num_places)
    order = training_order([example.num_tokens for example in examples], settings)
    num_steps = math.ceil(len(order) / (settings.batch_size * settings.gradient_accumulation))
    steps = checkpoint_steps(num_steps, settings.num_checkpoints)

    set_seed(settings.seed)
    model = _model(base, adapter, settings, base_revision)
    partial = _empty_sibling(Path(output))
    recorder = Recorder(partial, steps, tokenizer, encoder(tokenizer).end_id)
    try:
        _fit(model, tokenizer, examples, order, num_steps, settings, partial, recorder)
    except TrainingError:
        shutil.rmtree(partial)
        raise
    report = TrainingReport(
        dataset=dataset,
        split=split,
        revision=revision,
        base=base,
        base_revision=base_revision,
        adapter=adapter,
        plan=plan,
        num_rows=len(examples),
        num_tokens=sum(example.num_tokens for example in examples),
        num_completion_tokens=sum(len(example.completion_ids) for example in examples),
        num_steps=num_steps,
        rejects=rejects,
        checkpoints=recorder.checkpoints(),
        wall_seconds=round(time.monotonic() - start, 3),
    )
    (partial / REPORT).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.rename(output)
    return report


def training_order(lengths: Sequence[int], settings: SftSettings) -> list[int]:
    """Rows in the order of training, for all epochs.

    They are shuffled in each epoch, and rows of a batch are of similar length.
    """
    random = np.random.default_rng(settings.seed)
    num_epochs = math.ceil(settings.epochs)
    stream = np.concatenate([random.permutation(len(lengths)) for _ in range(num_epochs)])
    stream = stream[: max(1, round(settings.epochs * len(lengths)))]
    order: list[int] = []
    window = BATCHES_PER_WINDOW * settings.batch_size
    for start in range(0, len(stream), window):
        by_length = sorted(stream[start : start + window].tolist(), key=lambda row: (-lengths[row], row))
        batches = [by_length[i : i + settings.batch_size] for i in range(0, len(by_length), settings.batch_size)]
        # Only the last batch of all may be short: elsewhere it would shift all batches after it.
        num_full = len(by_length) // settings.batch_size
        for place in [*random.permutation(num_full).tolist(), *range(num_full, len(batches))]:
            order += batches[place]
    return order


def _empty_sibling(output: Path) -> Path:
    """A fresh folder beside the output, on the same file system.

    What a killed training left there is deleted.
    """
    partial = output.parent / f".{output.name}.partial"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    return partial


def _model(base: str, adapter: str | None, settings: SftSettings, revision: str | None) -> PreTrainedModel | PeftModel:
    if settings.lora is None:
        if adapter:
            raise TrainingError(
                f"settings.lora is null, but the adapter {adapter} is given. Set settings.lora, or give no adapter."
            )
        return load_model(base, dtype="float32", revision=revision)
    model = load_model(base, adapter, settings.dtype, revision, is_trainable=True)
    if adapter is None:
        return add_lora(model, settings.lora)
    lora = model.peft_config["default"]
    assert isinstance(lora, LoraConfig), type(lora)
    if (lora.r, lora.lora_alpha) != (settings.lora.r, settings.lora.alpha):
        raise TrainingError(
            f"the adapter {adapter} has r={lora.r} and alpha={lora.lora_alpha}, but the settings have "
            f"r={settings.lora.r} and alpha={settings.lora.alpha}. Give the settings the adapter's values."
        )
    lora.target_modules = sorted(lora.target_modules or [])
    return model


def _fit(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    order: Sequence[int],
    num_steps: int,
    settings: SftSettings,
    scratch: Path,
    recorder: Recorder,
) -> None:
    is_cpu = device().type == "cpu"
    config = SFTConfig(
        output_dir=str(scratch),
        max_steps=num_steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=math.ceil(settings.warmup_share * num_steps),
        optim="adamw_torch",
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        seed=settings.seed,
        use_cpu=is_cpu,
        # An adapter is float32 over a base of any dtype. Only full fine-tuning needs autocast.
        bf16=settings.lora is None and torch_dtype(settings.dtype) is torch.bfloat16,
        gradient_checkpointing=settings.gradient_checkpointing,
        dataloader_pin_memory=not is_cpu,
        max_length=None,
        packing=False,
        shuffle_dataset=False,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        save_strategy="no",
        logging_steps=1,
        # By default transformers reports a loss that is no number as one of the steps before it.
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=tokens(examples).select(order),
        processing_class=tokenizer,
        callbacks=[recorder, StepBar()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    num_tokens = sum(examples[row].num_tokens for row in order)
    seen = trainer.train_dataset
    assert isinstance(seen, Dataset) and len(seen) == len(order), (seen, len(order))
    assert recorder.num_tokens_seen == num_tokens, (recorder.num_tokens_seen, num_tokens)
    assert trainer.state.global_step == num_steps, (trainer.state.global_step, num_steps)


def tokens(examples: Sequence[Example]) -> Dataset:
    """What the trainer takes: all ids, and labels that are -100 on the prompt."""
    return Dataset.from_dict(
        {
            "input_ids": [np.array(e.prompt_ids + e.completion_ids, np.int32) for e in examples],
            "labels": [np.array([-100] * len(e.prompt_ids) + e.completion_ids, np.int32) for e in examples],
        }
    )
