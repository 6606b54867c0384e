"""What can be chosen about training and gradients, as frozen models that a recipe can hold.

In: values of a recipe or of the command line. Out: checked settings. Importing this module loads
pydantic and nothing heavier.
"""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

DtypeName = Literal["float32", "bfloat16", "auto"]
"""The number formats of a training and of gradients; see `training/precision.py`."""

# What transformers gives to every template, or takes for itself. An argument of the same name would
# have no effect.
RESERVED = (
    *("messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "tokenize"),
    *("strftime_now", "raise_exception"),
)


def _named_well(arguments: dict[str, bool | int | float | str]) -> dict[str, bool | int | float | str]:
    wrong = sorted(n for n in arguments if not n.isidentifier() or n in RESERVED or n.endswith("_token"))
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: an argument of a chat template is a name such as enable_thinking, and none of "
            f"{', '.join(RESERVED)} or a special token"
        )
    return arguments


TemplateArguments = Annotated[dict[str, bool | int | float | str], AfterValidator(_named_well)]
"""Arguments of a model's chat template, such as `{enable_thinking: false}`."""


class LoraSettings(BaseModel):
    """The low-rank adapter that is trained instead of all weights (LoRA, Hu et al. 2021)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(default=16, gt=0, description="rank of each adapter; a higher one learns more and needs more memory")
    alpha: int = Field(default=32, gt=0, description="scale of the adapter: its update is multiplied by alpha / r")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of the adapter's inputs that are dropped while training; 0: none"
    )
    target_modules: Literal["all-linear"] | list[str] = Field(
        default="all-linear",
        description="names of the linear layers to adapt; all-linear: all but lm_head",
    )


class SftSettings(BaseModel):
    """How a model is fine-tuned. Every field changes the weights, so each is part of the plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=3.0, gt=0, description="passes over the rows; a fraction such as 0.5 stops early")
    learning_rate: float = Field(default=2e-4, gt=0, description="highest learning rate of AdamW")
    batch_size: int = Field(default=8, gt=0, description="rows per forward pass")
    gradient_accumulation: int = Field(default=1, gt=0, description="forward passes per step of the optimizer")
    max_tokens: int = Field(
        default=2048, gt=1, description="tokens of a row at most, prompt and completion; longer rows are rejected"
    )
    warmup_share: float = Field(
        default=0.03, ge=0, le=1, description="share of the steps in which the learning rate rises from 0, 0 to 1"
    )
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = Field(
        default="cosine", description="how the learning rate goes on after the warm-up"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="weight decay of AdamW, not on norms and biases; 0: none"
    )
    max_gradient_norm: float = Field(default=1.0, gt=0, description="norm that the gradient of a step is clipped to")
    lora: LoraSettings | None = Field(
        default_factory=LoraSettings, description="the adapter to train; null: train all weights"
    )
    num_checkpoints: int = Field(
        default=1, gt=0, description="checkpoints to keep, evenly spaced; the last is the end of the training"
    )
    seed: int = Field(
        default=0, ge=0, description="seed of the adapter's first weights, of dropout and of the order of the rows"
    )
    dtype: DtypeName = Field(
        default="auto",
        description="number format; auto: bfloat16 on a GPU that computes it, else float32; with bfloat16, the "
        "weights that are trained are still kept in float32",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations twice instead of keeping them: slower, less memory"
    )


class GradientSettings(BaseModel):
    """How the gradient of one sample becomes a short vector, its features.

    `max_tokens`, `batch_size` and `batch_tokens` do not change a feature. The other fields do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: int = Field(default=4096, gt=0, description="numbers per gradient after it is sketched")
    seed: int = Field(default=0, ge=0, description="seed of the sketch, and of an adapter where the model has none")
    optimizer_map: Literal["sgd", "adam"] = Field(
        "sgd",
        description="sgd: the gradient itself; adam: the step that Adam would make of it, as in LESS",
    )
    max_tokens: int = Field(
        default=2048, gt=1, description="tokens of a row at most, prompt and completion; longer rows are rejected"
    )
    batch_size: int = Field(default=16, gt=0, description="rows per backward pass at most")
    batch_tokens: int = Field(
        default=16_384, gt=0, description="tokens per backward pass at most, with padding; a single row may have more"
    )


class WarmupSettings(BaseModel):
    """The short training that a model without an adapter gets before its gradients are taken.

    It follows LESS, with an adapter of smaller rank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=0.05, gt=0, le=1, description="share of the candidates to train on, 0 to 1")
    min_rows: int = Field(default=256, gt=0, description="rows to train on at least, where there are as many")
    training: SftSettings = Field(
        default_factory=lambda: SftSettings(epochs=4, num_checkpoints=4, scheduler="linear", batch_size=8),
        description="how it is trained; by default four epochs with a checkpoint after each",
    )

    @model_validator(mode="after")
    def _trains_an_adapter(self) -> "WarmupSettings":
        if self.training.lora is None:
            raise ValueError(
                "training.lora is null, but gradients are taken of an adapter, which this training makes: leave out "
                "training.lora, or set it to {r: 16, alpha: 32}"
            )
        return self


# Part of `features_name`. Change it when a change of training/gradients.py, or of the tokens in
# training/encoding.py, changes the features.
FEATURES_VERSION = "mean-completion-nll lora-a-b countsketch-splitmix64 2"


def features_name(settings: GradientSettings, prompt_hash: str) -> str:
    """12 hex digits of what makes features comparable: prompt form, loss, map, dimension, seed."""
    parts = [FEATURES_VERSION, prompt_hash, settings.optimizer_map, settings.dimension, settings.seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
