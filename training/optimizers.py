"""The optimizers of a training: which class it is, and how the weights are kept for it.

In: the settings of a training. Out: what SFTTrainer, SFTConfig and `load_model` take for them.

    optimizer       moments     weights, if all are trained       bytes per weight, with gradient
    adamw           float32     float32                           16
    adamw_8bit_sr   8 bits      the training's number format      6 in bfloat16, 10 in float32
    adafactor       factored    float32                           8

A weight in bfloat16 has 8 bits of precision. At a learning rate of 1e-5 almost every update is
smaller than half of its last bit, and rounding to the nearest number loses it. Stochastic rounding
takes the number above or below with the chance that keeps the mean right, so small updates add up.

An adapter is float32 always. Then `adamw_8bit_sr` has nothing to round.

    config = SFTConfig(bf16=is_autocast(settings), ...)
    SFTTrainer(model, config, optimizer_cls_and_kwargs=choice(settings))
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError
from training.settings import DtypeName, SftSettings

if TYPE_CHECKING:
    import torch

Choice = tuple[type["torch.optim.Optimizer"], dict[str, Any]]
"""A class and the arguments it is made with, beside the parameters and their weight decay."""

COMPILERS = ("cc", "gcc", "clang")


def choice(settings: SftSettings) -> Choice | None:
    """What SFTTrainer takes as `optimizer_cls_and_kwargs`. None for AdamW: `optim` chooses it.

    TrainingError where `require` raises one.
    """
    require(settings)
    if settings.optimizer == "adamw_8bit_sr":
        from training.adamw_8bit import AdamW8bit

        return AdamW8bit, {"lr": settings.learning_rate, "seed": settings.seed}
    if settings.optimizer == "adafactor":
        from training.adafactor import Adafactor

        return Adafactor, {"lr": settings.learning_rate, "scale_parameter": False, "relative_step": False}
    return None


def weights_dtype(settings: SftSettings) -> DtypeName:
    """The number format that a model is loaded in.

    It is float32 where AdamW or Adafactor train all weights, and the training's elsewhere: weights
    beside an adapter are not trained, and those of `adamw_8bit_sr` are rounded well.
    """
    is_rounded = settings.optimizer == "adamw_8bit_sr"
    return settings.dtype if settings.lora is not None or is_rounded else "float32"


def is_autocast(settings: SftSettings) -> bool:
    """Whether float32 weights are computed with in bfloat16: the field `bf16` of SFTConfig.

    An adapter's weights are float32 always. Weights in bfloat16 need nothing.
    """
    from training.precision import resolved

    is_float32 = settings.lora is not None or weights_dtype(settings) == "float32"
    return is_float32 and resolved(settings.dtype) == "bfloat16"


def require(settings: SftSettings) -> None:
    """TrainingError if this machine lacks what the optimizer needs.

    Call it before anything is paid for.
    """
    if settings.optimizer != "adamw_8bit_sr":
        return
    if importlib.util.find_spec("torchao") is None:
        raise TrainingError(
            "optimizer is adamw_8bit_sr, but torchao is not installed. Install it with "
            "`pip install 'scoder[torchao]'`, or set optimizer to adafactor."
        )
    import torch

    if torch.cuda.is_available() and not has_compiler():
        raise TrainingError(
            f"optimizer is adamw_8bit_sr, whose step is compiled on a GPU, but no C compiler ({', '.join(COMPILERS)}) "
            "is in PATH. Install one (`apt-get install gcc`), name it in the variable CC, or set optimizer to adafactor."
        )


def has_compiler() -> bool:
    """Whether triton finds a C compiler: the variable CC, or one in PATH."""
    return bool(os.environ.get("CC")) or any(shutil.which(name) for name in COMPILERS)
