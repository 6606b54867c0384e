"""Which steps of a training are kept, and what is written at each of them.

In: a running trainer. Out: checkpoint folders, and for the report their learning rates and losses.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from training import processes, sharded, signs, train_log
from training.adapters import saved_name
from training.errors import DivergedError, TrainingError
from training.progress import quiet
from training.reports import SavedCheckpoint
from training.stop_token import stop_at
from training.train_log import StepRecord
from training.whole_files import open_like_folder


def checkpoint_steps(num_steps: int, num_checkpoints: int) -> list[int]:
    """Evenly spaced steps; the last one is the final step."""
    if num_checkpoints > num_steps:
        raise TrainingError(
            f"{num_checkpoints} checkpoints do not fit into {num_steps} steps. Ask for at most {num_steps}, "
            "train for more epochs, or make batch_size or gradient_accumulation smaller."
        )
    return [math.ceil(i * num_steps / num_checkpoints) for i in range(1, num_checkpoints + 1)]


class Recorder(TrainerCallback):
    """Notes every step in the log of the training, and saves at the given steps.

    TrainingError where the training has diverged. It is raised before anything of that step is
    saved, and by then the trainer has not written its report. Every process notes the steps; only
    the first one writes.
    """

    def __init__(
        self,
        folder: Path,
        steps: Sequence[int],
        tokenizer: PreTrainedTokenizerBase,
        end_id: int | None,
        *,
        keeps_optimizer: bool,
        done: Sequence[StepRecord] = (),
    ) -> None:
        self.folder = folder
        self.steps = steps
        self.tokenizer = tokenizer
        self.end_id = end_id
        self.keeps_optimizer = keeps_optimizer
        self.trainer: Any = None
        self.records = list(done)
        self._tokens_before = self.num_tokens_seen
        self._rate = 0.0
        self._begun = time.monotonic()

    @property
    def num_tokens_seen(self) -> int:
        return self.records[-1].num_tokens if self.records else 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._begun = time.monotonic()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._rate = float(kwargs["optimizer"].param_groups[0]["lr"])

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs, step = kwargs["logs"], state.global_step
        if "loss" not in logs:
            return
        where = f"at step {step} of {state.max_steps}, at a learning rate of {self._rate:.3g}"
        require_numbers({"loss": logs["loss"], "gradient norm": logs.get("grad_norm", 0.0)}, where)
        self._note(step, state.max_steps, logs)
        if step in self.steps:
            # The step itself may have broken the weights. No loss has shown that yet.
            require_numbers({"largest weight": sharded.largest(kwargs["model"])}, where)
            self._save(self.folder / _folder(step), kwargs["model"], kwargs["optimizer"])

    def _note(self, step: int, num_steps: int, logs: Mapping[str, Any]) -> None:
        now = time.monotonic()
        # The trainer counts the tokens since this process began.
        num_tokens = self._tokens_before + int(logs["num_tokens"])
        seconds, new = now - self._begun, num_tokens - self.num_tokens_seen
        self._begun = now
        record = StepRecord(
            step=step,
            num_steps=num_steps,
            loss=logs["loss"],
            learning_rate=self._rate,
            gradient_norm=logs.get("grad_norm"),
            num_tokens=num_tokens,
            tokens_per_second=round(new / seconds, 1) if seconds > 0 else None,
            gpu_memory_gb=round(torch.cuda.max_memory_allocated() / 1e9, 3) if torch.cuda.is_available() else None,
            seconds=round(seconds, 3),
            num_processes=processes.num_processes(),
        )
        self.records.append(record)
        if processes.is_first():
            train_log.append(self.folder, record)

    def _save(self, folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> None:
        """Save in all processes, as a part of the weights may be in each."""
        with signs.saving(self.folder, is_first=processes.is_first()):
            if self.trainer.is_fsdp_enabled:
                sharded.save(folder, self.trainer, self.tokenizer, self.end_id)
            elif processes.is_first():
                save_checkpoint(folder, model, self.tokenizer, optimizer if self.keeps_optimizer else None, self.end_id)
            processes.wait()

    def checkpoints(self) -> list[SavedCheckpoint]:
        return [
            SavedCheckpoint(
                step=step,
                folder=_folder(step),
                learning_rate=float(np.mean([r.learning_rate for r in self.records[before:step]])),
                loss=float(np.mean([r.loss for r in self.records[before:step]])),
            )
            for before, step in zip([0, *self.steps], self.steps, strict=False)
        ]


def require_numbers(values: Mapping[str, float], where: str) -> None:
    """TrainingError if one of the values is no number, with the place in the training."""
    if all(math.isfinite(value) for value in values.values()):
        return
    told = ", ".join(f"{name} {value}" for name, value in values.items())
    raise DivergedError(
        f"the training diverged {where}: {told}. Nothing of it is kept. Lower learning_rate, raise warmup_share, lower "
        "max_gradient_norm, or set dtype to float32"
    )


def _folder(step: int) -> str:
    return f"checkpoint-{step:06d}"


def save_checkpoint(
    folder: Path,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer | None,
    end_id: int | None = None,
) -> None:
    """Write weights and tokenizer; with an optimizer also its state, and the names behind its
    integer keys.

    `end_id` is the token that a trained answer ends in. If it is not the tokenizer's eos, it goes
    into the generation config, so that whoever loads the weights stops there.
    """
    if end_id is not None and end_id != tokenizer.eos_token_id:
        stop_at(model, end_id, folder)
    with quiet():
        model.save_pretrained(str(folder))
    tokenizer.save_pretrained(folder)
    open_like_folder(folder)
    if optimizer is None:
        return
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    in_order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    (folder / "parameter_names.json").write_text(json.dumps([saved_name(name) for name in in_order], indent=0))
