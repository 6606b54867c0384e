"""What can be chosen about training and gradients, as frozen models that a recipe can hold.

In: values of a recipe or of the command line. Out: checked settings. Importing this module loads
pydantic and nothing heavier.
"""

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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


def _one_or_many(value: Any) -> Any:
    """A single name is a list of one."""
    return (value,) if isinstance(value, str) else value


class LoraSettings(BaseModel):
    """The low-rank adapter that is trained instead of all weights (LoRA, Hu et al. 2021)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(default=16, gt=0, description="rank of each adapter; a higher one learns more and needs more memory")
    alpha: int = Field(default=32, gt=0, description="scale of the adapter: its update is multiplied by alpha / r")
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the adapter's inputs that are dropped while training; 0: none. With dropout, "
        "the weights depend on the number of processes and on micro_batch: each draws what it drops",
    )
    target_modules: Literal["all-linear"] | list[str] = Field(
        default="all-linear",
        description="names of the linear layers to adapt; all-linear: all but lm_head",
    )


class SftSettings(BaseModel):
    """How a model is fine-tuned.

    Most fields decide what the weights become. Those of `HOW_IT_RUNS` say only how the same
    training runs on a machine, and change a weight by rounding at most. They are no part of a plan,
    so that they can be changed when memory runs out, and the training goes on where it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    HOW_IT_RUNS: ClassVar[frozenset[str]] = frozenset(
        {"micro_batch", "gradient_checkpointing", "devices", "sharding", "report_to"}
    )

    epochs: float = Field(default=3.0, gt=0, description="passes over the rows; a fraction such as 0.5 stops early")
    optimizer: Literal["adamw", "adamw_8bit_sr", "adafactor"] = Field(
        default="adamw",
        description="adamw: AdamW; adamw_8bit_sr: AdamW with moments of 8 bits, over weights that are kept in the "
        "training's number format and rounded stochastically (6 bytes a weight instead of 16, where all weights are "
        "trained); adafactor: Adafactor, which keeps almost no moments",
    )
    learning_rate: float = Field(default=2e-4, gt=0, description="highest learning rate of the optimizer")
    batch_size: int = Field(
        default=8, gt=0, description="rows of similar length that stand together; times gradient_accumulation: a step"
    )
    gradient_accumulation: int = Field(default=1, gt=0, description="such batches per step of the optimizer")
    micro_batch: int | None = Field(
        default=None,
        gt=0,
        description="rows per forward pass of one device at most, fewer if memory runs out; null: batch_size",
    )
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
        default=1,
        gt=0,
        description="checkpoints to keep, evenly spaced; the last is the end of the training; left out for the "
        "synthesizer: as many as sampling.checkpoints",
    )
    seed: int = Field(
        default=0, ge=0, description="seed of the adapter's first weights, of dropout and of the order of the rows"
    )
    dtype: DtypeName = Field(
        default="auto",
        description="number format; auto: bfloat16 on a GPU that computes it, else float32; with bfloat16, the "
        "weights that are trained are still kept in float32, but for adamw_8bit_sr",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations twice instead of keeping them: slower, less memory"
    )
    devices: int | None = Field(
        default=None,
        gt=0,
        description="processes that train together, one per GPU; null: as many as there are GPUs, or one without",
    )
    sharding: Literal["auto", "ddp", "fsdp2"] = Field(
        default="auto",
        description="what several devices share: ddp: nothing, each has the whole model; fsdp2: weights, gradients and "
        "moments; auto: ddp for an adapter and on CPUs, fsdp2 for all weights",
    )
    report_to: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = Field(
        default=(),
        description="trackers that follow the training live, such as tensorboard, trackio, wandb or mlflow; empty: only "
        "train_log.jsonl",
    )

    def identity(self) -> dict[str, Any]:
        """What decides the weights, as plain JSON values: the part of the settings for a plan."""
        return self.model_dump(mode="json", exclude=set(self.HOW_IT_RUNS))


class GradientSettings(BaseModel):
    """How the gradient of one sample becomes a short vector, its features.

    `max_tokens` decides which rows have a feature. Those of `HOW_IT_RUNS` bound the batches; they
    change neither a feature nor which rows have one, and are no part of a plan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    HOW_IT_RUNS: ClassVar[frozenset[str]] = frozenset({"batch_size", "batch_tokens", "memory_gb"})

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
    memory_gb: float | None = Field(
        default=None,
        gt=0,
        description="GB that a backward pass may take beside the model, as predicted from its sizes; null: 80% of what "
        "is free on the GPU, or 4 without one",
    )

    def identity(self) -> dict[str, Any]:
        """What decides the features and which rows have one, as plain JSON values for a plan."""
        return self.model_dump(mode="json", exclude=set(self.HOW_IT_RUNS))


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
