"""Training all weights on several processes, each of which holds a part of them (FSDP2).

In: a model, and the trainer of it. Out: what SFTConfig takes, a trainer that really shards, and
checkpoints like those of one process: whole weights, written by one process.

    config = SFTConfig(..., **arguments(model))
    trainer = SFTTrainer(model, config, ...)
    prepare(trainer)
    trainer.train()
    save("out/checkpoint-000012", trainer, tokenizer)    # on every process

A resume state of such a trainer is also sharded: torch writes a file per process, and it is read by
the same number of processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

from training.errors import TrainingError
from training.progress import quiet
from training.sharded_loading import is_by_parts
from training.stop_token import stop_at
from training.whole_files import open_like_folder


def arguments(model: PreTrainedModel) -> dict[str, Any]:
    """The fields of SFTConfig that shard the model by its decoder layers.

    `gradient_checkpointing` stays a field of its own. FSDP's `activation_checkpointing` does not
    keep the state of the random numbers, so a model with dropout gets wrong gradients from it.
    """
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "transformer_layer_cls_to_wrap": layer_classes(model),
            "state_dict_type": "SHARDED_STATE_DICT",
        },
    }


def layer_classes(model: PreTrainedModel) -> list[str]:
    """Names of the classes of the decoder layers, such as Qwen2DecoderLayer."""
    present = {type(module).__name__ for module in model.modules()}
    names = sorted(set(model._no_split_modules or ()) & present)
    if not names:
        raise TrainingError(
            f"{type(model).__name__} does not name the class of its layers (_no_split_modules), so it cannot be split "
            "over devices. Set sharding to ddp, or devices to 1."
        )
    return names


def prepare(trainer: Trainer) -> None:
    """Check that the trainer shards, and add up gradients in float32. Call it before `train`.

    accelerate trains by DDP where it does not shard, and says nothing. With bf16 it also adds up
    gradients in bfloat16, and rounds the model's outputs, so that a loss has three digits.
    """
    if not trainer.is_fsdp_enabled:
        raise TrainingError(
            f"sharding is fsdp2, but accelerate does not shard here ({trainer.accelerator.distributed_type.value}, "
            f"{trainer.accelerator.num_processes} processes). It needs a GPU per process, and two at least: set "
            "sharding to ddp, or devices to 1."
        )
    plugin = trainer.accelerator.state.fsdp_plugin
    param_dtype = torch.bfloat16 if trainer.args.bf16 else None
    # Each process gets its part of the weights that the first one has loaded.
    plugin.cpu_ram_efficient_loading = is_by_parts(model_of(trainer))
    plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=param_dtype, reduce_dtype=torch.float32)


def local_part(tensor: torch.Tensor | None) -> Any:
    """The part of a tensor that this process holds: all of it where nothing is sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def largest(model: torch.nn.Module) -> float:
    """The largest of the trained weights, the same on every process. NaN if one of them is.

    A process alone sees only its part. If it stopped there alone, the others would wait for it.
    """
    parts = [weight.detach().abs().max().float() for weight in model.parameters() if weight.requires_grad]
    found = torch.stack(parts).max()
    return float(found.full_tensor() if isinstance(found, DTensor) else found)


def whole_weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All weights by name, on the CPU of the first process. Every process must call this.

    Weights that are tied to another are left out, as `save_pretrained` does: one stands for both.
    """
    tied = model_of(trainer).all_tied_weights_keys
    weights = trainer.accelerator.get_state_dict(trainer.model)
    return {name: weight for name, weight in weights.items() if name not in tied}


def model_of(trainer: Trainer) -> PreTrainedModel:
    assert isinstance(trainer.model, PreTrainedModel), type(trainer.model)
    return trainer.model


def save(folder: str | Path, trainer: Trainer, tokenizer: PreTrainedTokenizerBase, end_id: int | None = None) -> None:
    """Write whole weights and tokenizer, on the first process. Every process must call this.

    It returns when all is written. `end_id` is as in `checkpoints.save_checkpoint`. The moments are
    not written: no gradient reads those of all weights.
    """
    model = model_of(trainer)
    weights = whole_weights(trainer)
    if trainer.accelerator.is_main_process:
        if end_id is not None and end_id != tokenizer.eos_token_id:
            stop_at(model, end_id, Path(folder))
        with quiet():
            model.save_pretrained(str(folder), state_dict=weights)
        tokenizer.save_pretrained(folder)
        open_like_folder(Path(folder))
    trainer.accelerator.wait_for_everyone()
