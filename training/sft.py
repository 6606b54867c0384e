"""Supervised fine-tuning on the completion of every row, with evenly spaced checkpoints.

In: a dataset (folder or Hub) and a base model (folder or Hub). Out: a folder that appears whole or
not at all:

    training.json                 the `TrainingReport`
    train_log.jsonl               one line per step, written as the training goes
    checkpoint-000012/            adapter or full weights, tokenizer with its chat template; of an
        optimizer.pt              adapter also AdamW's state (weights_only loads it), whose integer
        parameter_names.json      keys are the places in this list

How: rows are tokenised and rejected here, before TRL's trainer, which drops rows without saying so.
Assertions then check what the trainer sees. The trainer gets the rows in their final order, so that
a seed fixes the order. While it runs, the folder has another name and holds the state from which a
killed training goes on.

This is the training in this process, or this process's part of it. `training/launch.py` starts the
processes, and is what a user calls.

    report = train("data", "base", "out", SftSettings(num_checkpoints=4))
"""

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from training import fingerprints, optimizers, pretrained, processes, sharded, trackers, train_log
from training.adapters import add_lora
from training.chat_templates import Arguments
from training.checkpoints import Recorder, checkpoint_steps
from training.encoding import choice_place, encoder
from training.errors import DivergedError, TrainingError
from training.examples import (
    Example,
    device,
    encode_rows,
    load_model,
    load_rows,
    load_tokenizer,
)
from training.layout import Layout, layout, num_pads
from training.model_config import longest
from training.reports import PLAN, REPORT, SHAPE, TrainingPlan, TrainingReport, finished
from training.resuming import STATE, newest, partial_of, remove, step_of
from training.settings import SftSettings
from training.state_keeper import EVERY_S, StateKeeper
from training.whole_files import write_whole

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
    keeps_optimizer: bool = True,
    state_every_s: float = EVERY_S,
) -> TrainingReport:
    """Train and return the report. If the same training is already in `output`, return its report.

    If it was killed before, it goes on from its last state, which is saved every `state_every_s`
    seconds. With `keeps_optimizer`, checkpoints of an adapter have the optimizer's state.

    `adapter` is a LoRA folder over `base` whose training continues with these rows. Its rank and
    layers must be those of the settings. `template_arguments` are written into the chat template,
    and saved with it. ValueError for a dataset of other columns, for no usable row, for fewer steps
    than checkpoints, and for a training that diverges. FileExistsError if `output` holds anything
    else. `choices` are the answers of a model that is asked for one token: ValueError if they are
    more.
    """
    start = time.monotonic()
    optimizers.require(settings)
    trackers.require(settings.report_to)
    rows = load_rows(dataset, split, revision, expects)
    tokenizer = load_tokenizer(base, adapter, base_revision, template_arguments)
    plan = TrainingPlan(
        dataset_fingerprint=fingerprints.dataset_fingerprint(rows),
        base_fingerprint=fingerprints.model_fingerprint(base, base_revision),
        adapter_fingerprint=fingerprints.model_fingerprint(adapter) if adapter else None,
        settings=settings,
        template_arguments=dict(template_arguments or {}),
        encoding=encoder(tokenizer).changes(),
        keeps_optimizer=keeps_optimizer and settings.lora is not None,
    )
    if report := finished(Path(output), plan):
        return report
    _require_place(Path(output))
    if report := _whole(partial_of(Path(output)), plan):
        _publish(Path(output))
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
    shape = layout(settings, processes.num_processes(), device().type == "cuda")
    partial = _begun(Path(output), plan, shape)
    state = newest(partial)
    done = train_log.read(partial, step_of(state)) if state else []
    recorder = Recorder(
        partial, steps, tokenizer, encoder(tokenizer).end_id, keeps_optimizer=plan.keeps_optimizer, done=done
    )
    job = _Job(examples, order, num_steps, settings, shape, partial, state, state_every_s)
    try:
        _fit(model, tokenizer, job, recorder)
    except DivergedError:
        if processes.is_first():
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
        layout=shape,
        rejects=rejects,
        checkpoints=recorder.checkpoints(),
        wall_seconds=round(time.monotonic() - start, 3),
    )
    if processes.is_first():
        write_whole(partial / REPORT, report.model_dump_json(indent=2) + "\n")
    _publish(Path(output))
    return report


def _require_place(output: Path) -> None:
    """TrainingError for an output that no folder can be renamed to. It is known before the first
    step."""
    if output.is_symlink() or output.is_mount():
        what = "a symbolic link" if output.is_symlink() else "a mount point"
        raise TrainingError(
            f"{output} is {what}, and the training becomes a new folder of this name at its end: give a folder that is "
            f"not there, such as {output / 'model'}"
        )


def _whole(partial: Path, plan: TrainingPlan) -> TrainingReport | None:
    """The report of a training that was killed when only its name was left to be changed."""
    try:
        report = TrainingReport.model_validate_json((partial / REPORT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    processes.wait()  # before the first one renames it
    return report if report.plan == plan else None


def _publish(output: Path) -> None:
    """Give a training that is whole its own name, without what only its processes needed."""
    partial = partial_of(output)
    if processes.is_first():
        for left in (partial / STATE, partial / PLAN, partial / SHAPE):
            remove(left)
        partial.rename(output)
    processes.wait()


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


def _begun(output: Path, plan: TrainingPlan, shape: Layout) -> Path:
    """The folder of a training that is under way, beside the output, on the same file system.

    It keeps what a killed training of the same plan left there, and nothing else: its last state,
    the checkpoints up to there, and the log. TrainingError for a state that is shared out over
    another number of processes.
    """
    partial = partial_of(output)
    if processes.is_first():
        if begun_plan(partial) != plan:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_whole(partial / PLAN, plan.model_dump_json(indent=2) + "\n")
        _forget_after(partial, newest(partial))
    processes.wait()
    if newest(partial):
        _require_same_parts(partial, shape)
    processes.wait()
    if processes.is_first():
        write_whole(partial / SHAPE, shape.model_dump_json() + "\n")
    return partial


def begun_plan(partial: Path) -> TrainingPlan | None:
    """The plan of the training that was begun in a folder. None where nobody can tell."""
    try:
        return TrainingPlan.model_validate_json((partial / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _require_same_parts(partial: Path, shape: Layout) -> None:
    """TrainingError if the state cannot be read in this layout: each process has a part of it."""
    try:
        then = Layout.model_validate_json((partial / SHAPE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"a training of this plan was killed, and {partial / SHAPE}, which says how its state was saved, cannot be read "
            f"({error}). Remove {partial} to begin again"
        ) from None
    parts, own = (found.processes if found.is_sharded else 0 for found in (then, shape))
    if parts != own:
        how = f"its weights shared out over {then.processes} processes" if parts else "the whole model in each process"
        fix = f"devices: {then.processes} and sharding: fsdp2" if parts else "sharding: ddp"
        raise TrainingError(
            f"a training of this plan was killed, and its state in {partial} was saved with {how}. Go on with {fix}, or "
            "remove that folder to begin again"
        )


def _forget_after(partial: Path, state: Path | None) -> None:
    """Remove what a killed training made after its last state: it is made again."""
    step = step_of(state) if state else 0
    for folder in (*(partial / STATE).glob("*"), *partial.glob("checkpoint-*")):
        if folder != state and (folder.parent.name == STATE or step_of(folder) > step):
            remove(folder)
    train_log.write(partial, train_log.read(partial, step))


def _model(base: str, adapter: str | None, settings: SftSettings, revision: str | None) -> PreTrainedModel | PeftModel:
    if settings.lora is None:
        if adapter:
            raise TrainingError(
                f"settings.lora is null, but the adapter {adapter} is given. Set settings.lora, or give no adapter."
            )
        return load_model(base, dtype=optimizers.weights_dtype(settings), revision=revision)
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


@dataclass(frozen=True)
class _Job:
    """What the trainer is given, besides the model."""

    examples: Sequence[Example]
    order: Sequence[int]
    num_steps: int
    settings: SftSettings
    layout: Layout
    partial: Path
    state: Path | None
    state_every_s: float


def _fit(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, job: _Job, recorder: Recorder) -> None:
    rows = _padded(tokens(job.examples).select(job.order), job.layout, tokenizer.pad_token_id)
    trainer = _Trainer(
        model=model,
        args=_config(job, model),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[recorder, StateKeeper(job.state_every_s)],
        optimizer_cls_and_kwargs=optimizers.choice(job.settings),
    )
    if job.layout.is_sharded:
        sharded.prepare(trainer)
    recorder.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(job.state) if job.state else None)
    # a row that is added has one token
    num_tokens = sum(job.examples[row].num_tokens for row in job.order) + len(rows) - len(job.order)
    seen = trainer.train_dataset
    assert isinstance(seen, Dataset) and len(seen) == len(rows), (seen, len(rows))
    assert recorder.num_tokens_seen == num_tokens, (recorder.num_tokens_seen, num_tokens)
    assert trainer.state.global_step == job.num_steps, (trainer.state.global_step, job.num_steps)


class _Trainer(SFTTrainer):
    """TRL's trainer without the model card that it writes beside every state."""

    def create_model_card(self, *_: Any, **__: Any) -> None: ...


def _config(job: _Job, model: Any) -> SFTConfig:
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
        save_total_limit=1,
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
