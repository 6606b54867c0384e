"""`machine`: the GPUs that a run has, what they cost, and how fast they are taken to be."""

from __future__ import annotations

from pydantic import Field

from builders.recipe.settings import Settings


class Machine(Settings):
    """The GPUs that a run has, for its plan: whether each stage fits, how long it takes, its price.

    Without this section, the GPUs that are seen count. Nothing here changes a row. The throughputs
    are stated, not measured on your machine: put in your own where you know them.
    """

    gpus: int | None = Field(None, ge=0, description="GPUs of the machine; null: those that are seen")
    gpu_memory_gb: float | None = Field(
        None, gt=0, description="memory of one GPU, in 10^9 bytes; null: that of the smallest that is seen"
    )
    check: bool = Field(
        True, description="refuse a stage whose predicted memory exceeds a GPU; false: only say it, and run"
    )
    price_per_gpu_hour: float | None = Field(
        None, ge=0, description="dollars for one GPU for an hour; null: unknown, GPUs are not in the dollars"
    )
    peak_tflops: float = Field(
        989.0, gt=0, description="TFLOP/s of a GPU in bfloat16; 989: an H100 SXM, dense, from NVIDIA's data sheet"
    )
    training_use: float = Field(
        0.35,
        gt=0,
        le=1,
        description="share of peak_tflops that a training reaches, 0 to 1; 0.35: an adapter of 7 billion weights on an "
        "H100, 4 rows of 1,024 tokens; smaller models and batches reach less",
    )
    gradients_use: float = Field(
        0.22,
        gt=0,
        le=1,
        description="share of peak_tflops that gradients of single samples reach; 0.22: of 7 billion weights on an H100, "
        "4 rows of 1,024 tokens",
    )
    reading_use: float = Field(
        0.4, gt=0, le=1, description="share of peak_tflops that vLLM reaches when it reads prompts; ours, not measured"
    )
    decoded_tokens_per_second: float = Field(
        4000.0,
        gt=0,
        description="tokens that vLLM writes per second on one GPU with a model of 7 billion weights, and "
        "proportionally fewer with a larger one; ours, not measured",
    )
