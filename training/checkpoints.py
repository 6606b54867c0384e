"""Which steps of a training are kept, and what is written at each of them.

In: a running trainer. Out: checkpoint folders, and their learning rates and losses for the report.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from training.adapters import saved_name
from training.errors import TrainingError
from training.progress import quiet
from training.reports import SavedCheckpoint


def checkpoint_steps(num_steps: int, num_checkpoints: int) -> list[int]:
    """Evenly spaced steps, the last the final one."""
    if num_checkpoints > num_steps:
        raise TrainingError(
            f"{num_checkpoints} checkpoints do not fit into {num_steps} steps: ask for at most {num_steps}, "
            "or train for more epochs or with a smaller batch_size or gradient_accumulation"
        )
    return [math.ceil(i * num_steps / num_checkpoints) for i in range(1, num_checkpoints + 1)]


class Recorder(TrainerCallback):
    """Keeps learning rate and loss of every step, and saves at the given ones."""

    def __init__(self, folder: Path, steps: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> None:
        self.folder = folder
        self.steps = steps
        self.tokenizer = tokenizer
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self.num_tokens_seen = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.learning_rates.append(kwargs["optimizer"].param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.steps:
            folder = self.folder / _folder(state.global_step)
            save_checkpoint(folder, kwargs["model"], self.tokenizer, kwargs["optimizer"])

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if "loss" in logs:
            self.losses.append(logs["loss"])
            self.num_tokens_seen = int(logs["num_tokens"])

    def checkpoints(self) -> list[SavedCheckpoint]:
        return [
            SavedCheckpoint(
                step=step,
                folder=_folder(step),
                learning_rate=float(np.mean(self.learning_rates[before:step])),
                loss=float(np.mean(self.losses[before:step])),
            )
            for before, step in zip([0, *self.steps], self.steps, strict=False)
        ]


def _folder(step: int) -> str:
    return f"checkpoint-{step:06d}"


def save_checkpoint(
    folder: Path,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Weights, tokenizer, optimizer state and the parameter names that its integer keys stand for."""
    with quiet():
        model.save_pretrained(str(folder))
    tokenizer.save_pretrained(folder)
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    in_order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    (folder / "parameter_names.json").write_text(json.dumps([saved_name(name) for name in in_order], indent=0))
