"""What can be chosen about training and gradients, as frozen models that a recipe can hold.

In: values of a recipe or of the command line. Out: checked settings. Importing this module costs nothing but
pydantic.
"""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

DtypeName = Literal["float32", "bfloat16", "auto"]


class LoraSettings(BaseModel):
    """A low-rank adapter (Hu et al. 2021)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(default=16, gt=0, description="rank of every adapter matrix pair")
    alpha: int = Field(default=32, gt=0, description="the update is scaled by alpha / r")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout on the adapter's input while training")
    target_modules: Literal["all-linear"] | list[str] = Field(
        default="all-linear",
        description="names of the linear layers that are adapted; all-linear leaves lm_head out",
    )


class SftSettings(BaseModel):
    """One supervised fine-tuning. Every field changes the weights, so every field identifies the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=3.0, gt=0, description="passes over the rows; a fraction stops early")
    learning_rate: float = Field(default=2e-4, gt=0, description="peak learning rate of AdamW")
    batch_size: int = Field(default=8, gt=0, description="rows per forward pass")
    gradient_accumulation: int = Field(default=1, gt=0, description="forward passes per optimizer step")
    max_tokens: int = Field(
        default=2048, gt=1, description="a row with more tokens, prompt and completion together, is rejected"
    )
    warmup_share: float = Field(default=0.03, ge=0, le=1, description="share of the steps that warm up linearly")
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = Field(
        default="cosine", description="learning rate after the warm-up"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay, not on norms and biases")
    max_gradient_norm: float = Field(default=1.0, gt=0, description="gradients of a step are clipped to this norm")
    lora: LoraSettings | None = Field(
        default_factory=LoraSettings, description="the adapter that is trained; null trains all weights"
    )
    num_checkpoints: int = Field(
        default=1, gt=0, description="evenly spaced checkpoints that are kept, the last at the final step"
    )
    seed: int = Field(
        default=0, ge=0, description="seeds the adapter's initial weights, dropout and the order of the rows"
    )
    dtype: DtypeName = Field(
        default="auto",
        description="auto is bfloat16 on a GPU and float32 on the CPU; with bfloat16 an adapter stays "
        "float32 over a bfloat16 base, and full fine-tuning keeps float32 weights under bfloat16 autocast",
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations to save memory")


class GradientSettings(BaseModel):
    """Per-sample gradient features. The bounds of a batch and `max_tokens` do not change a feature, the others do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: int = Field(default=4096, gt=0, description="length of a sketched gradient")
    seed: int = Field(default=0, ge=0, description="seeds the sketch, and the adapter where none is given")
    optimizer_map: Literal["sgd", "adam"] = Field(
        "sgd",
        description="sgd: the gradient itself; adam: LESS's preconditioning with the checkpoint's moments",
    )
    max_tokens: int = Field(
        default=2048, gt=1, description="a row with more tokens, prompt and completion together, is rejected"
    )
    batch_size: int = Field(default=16, gt=0, description="rows per backward pass")
    batch_tokens: int = Field(
        default=16_384, gt=0, description="tokens per backward pass, padding included; one row may have more"
    )


class WarmupSettings(BaseModel):
    """The training that a model without an adapter gets before its gradients are taken; after LESS, with a smaller rank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=0.05, gt=0, le=1, description="share of the candidates that it trains on")
    min_rows: int = Field(default=256, gt=0, description="rows that it trains on at least, where there are as many")
    training: SftSettings = Field(
        default_factory=lambda: SftSettings(epochs=4, num_checkpoints=4, scheduler="linear", batch_size=8),
        description="one checkpoint per epoch",
    )


# Part of `features_name`: change it with anything in training/gradients.py that changes the features themselves.
FEATURES_VERSION = "mean-completion-nll lora-a-b countsketch-splitmix64 1"


def features_name(settings: GradientSettings, prompt_hash: str) -> str:
    """Short hash of all that makes features comparable: prompt form, loss, optimizer map, dimension, seed."""
    parts = [FEATURES_VERSION, prompt_hash, settings.optimizer_map, settings.dimension, settings.seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
