"""Which steps of a training are kept, and what is written at each of them.

In: a running trainer. Out: checkpoint folders, and for the report their learning rates and losses.
"""

import json
import math
from collections.abc import Mapping, Sequence
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
from training.stop_token import stop_at


def checkpoint_steps(num_steps: int, num_checkpoints: int) -> list[int]:
    """Evenly spaced steps; the last one is the final step."""
    if num_checkpoints > num_steps:
        raise TrainingError(
            f"{num_checkpoints} checkpoints do not fit into {num_steps} steps. Ask for at most {num_steps}, "
            "train for more epochs, or make batch_size or gradient_accumulation smaller."
        )
    return [math.ceil(i * num_steps / num_checkpoints) for i in range(1, num_checkpoints + 1)]


class Recorder(TrainerCallback):
    """Notes learning rate and loss of every step, and saves at the given steps.

    TrainingError where the training has diverged. It is raised before anything of that step is
    saved, and by then the trainer has not written its report.
    """

    def __init__(
        self, folder: Path, steps: Sequence[int], tokenizer: PreTrainedTokenizerBase, end_id: int | None
    ) -> None:
        self.folder = folder
        self.steps = steps
        self.tokenizer = tokenizer
        self.end_id = end_id
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self.num_tokens_seen = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.learning_rates.append(kwargs["optimizer"].param_groups[0]["lr"])

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs, step = kwargs["logs"], state.global_step
        if "loss" not in logs:
            return
        self.losses.append(logs["loss"])
        self.num_tokens_seen = int(logs["num_tokens"])
        where = f"at step {step} of {state.max_steps}, at a learning rate of {self.learning_rates[-1]:.3g}"
        require_numbers({"loss": logs["loss"], "gradient norm": logs.get("grad_norm", 0.0)}, where)
        if step in self.steps:
            # The step itself may have broken the weights. No loss has shown that yet.
            require_numbers({"largest weight": _largest(kwargs["model"])}, where)
            folder = self.folder / _folder(step)
            save_checkpoint(folder, kwargs["model"], self.tokenizer, kwargs["optimizer"], self.end_id)

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


def require_numbers(values: Mapping[str, float], where: str) -> None:
    """TrainingError if one of the values is no number, with the place in the training."""
    if all(math.isfinite(value) for value in values.values()):
        return
    told = ", ".join(f"{name} {value}" for name, value in values.items())
    raise TrainingError(
        f"the training diverged {where}: {told}. Nothing of it is kept. Lower learning_rate, raise warmup_share, lower "
        "max_gradient_norm, or set dtype to float32"
    )


def _largest(model: PreTrainedModel | PeftModel) -> float:
    """The largest of the trained weights. It is no number if one of them is none."""
    trained = [parameter.detach() for parameter in model.parameters() if parameter.requires_grad]
    return float(torch.stack([part.abs().max().float() for part in trained]).max())


def _folder(step: int) -> str:
    return f"checkpoint-{step:06d}"


def save_checkpoint(
    folder: Path,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    end_id: int | None = None,
) -> None:
    """Write weights, tokenizer, optimizer state, and the names behind its integer keys.

    `end_id` is the token that a trained answer ends in. If it is not the tokenizer's eos, it goes
    into the generation config, so that whoever loads the weights stops there.
    """
    if end_id is not None and end_id != tokenizer.eos_token_id:
        stop_at(model, end_id, folder)
    with quiet():
        model.save_pretrained(str(folder))
    tokenizer.save_pretrained(folder)
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    in_order = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    (folder / "parameter_names.json").write_text(json.dumps([saved_name(name) for name in in_order], indent=0))
