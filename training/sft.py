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
import time
from collections.abc import Sequence
from pathlib import Path

from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel, set_seed

from training import fingerprints, optimizers, pretrained, processes, sharded_loading, trackers, train_log
from training.adapters import add_lora
from training.chat_templates import Arguments
from training.checkpoints import Recorder, checkpoint_steps
from training.encoding import choice_place, encoder
from training.errors import DivergedError, TrainingError
from training.examples import device, encode_rows, load_model, load_rows, load_tokenizer
from training.fitting import Fit, fit
from training.layout import layout
from training.model_config import longest
from training.order import training_order
from training.precision import torch_dtype
from training.reports import REPORT, TrainingPlan, TrainingReport, finished, require_folders
from training.resuming import newest, partial_of, remove, step_of
from training.seals import to_disk
from training.settings import SftSettings
from training.state_keeper import EVERY_S
from training.under_way import begin, publish, require_place, whole
from training.whole_files import write_whole


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
    stop: Path | None = None,
) -> TrainingReport:
    """Train and return the report. If the same training is already in `output`, return its report.

    If it was killed before, it goes on from its last state, which is saved every `state_every_s`
    seconds. With `keeps_optimizer`, checkpoints of an adapter have the optimizer's state.

    `adapter` is a LoRA folder over `base` whose training continues with these rows. Its rank and
    layers must be those of the settings. `template_arguments` are written into the chat template,
    and saved with it. ValueError for a dataset of other columns, for no usable row, for fewer steps
    than checkpoints, and for a training that diverges. FileExistsError if `output` holds anything
    else. `choices` are the answers of a model that is asked for one token: ValueError if they are
    more. A file at `stop` asks the training to end after its step: StoppedError.
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
    require_place(Path(output))
    if report := whole(partial_of(Path(output)), plan):
        publish(Path(output))
        return report
    if choices:
        choice_place(tokenizer, tuple(choices))
    num_places = longest(pretrained.read_config(base, base_revision), settings.max_tokens)
    examples, rejects = encode_rows(tokenizer, rows, num_places)
    order = training_order([example.num_tokens for example in examples], settings)
    num_steps = math.ceil(len(order) / (settings.batch_size * settings.gradient_accumulation))
    steps = checkpoint_steps(num_steps, settings.num_checkpoints)

    set_seed(settings.seed)
    shape = layout(settings, processes.num_processes(), device().type == "cuda")
    model = _model(base, adapter, settings, base_revision, is_sharded=shape.is_sharded)
    partial = begin(Path(output), plan, shape)
    state = newest(partial)
    done = train_log.read(partial, step_of(state)) if state else []
    recorder = Recorder(
        partial, steps, tokenizer, encoder(tokenizer).end_id, keeps_optimizer=plan.keeps_optimizer, done=done
    )
    job = Fit(examples, order, num_steps, settings, shape, partial, state, state_every_s, stop)
    try:
        fit(model, tokenizer, job, recorder)
    except DivergedError:
        if processes.num_processes() == 1:  # else others may write; the launcher removes it
            remove(partial)
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
        require_folders(partial, report)
        for path in filter(Path.is_file, partial.glob("checkpoint-*/**/*")):
            to_disk(path)
        write_whole(partial / REPORT, report.model_dump_json(indent=2) + "\n")
    publish(Path(output))
    return report


def _model(
    base: str, adapter: str | None, settings: SftSettings, revision: str | None, *, is_sharded: bool
) -> PreTrainedModel | PeftModel:
    if settings.lora is None:
        if adapter:
            raise TrainingError(
                f"settings.lora is null, but the adapter {adapter} is given. Set settings.lora, or give no adapter."
            )
        dtype = optimizers.weights_dtype(settings)
        if is_sharded:
            return sharded_loading.load(base, torch_dtype(dtype), revision)
        return load_model(base, dtype=dtype, revision=revision)
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
