"""`evaluation`: how models are asked and graded on the benchmarks."""

from __future__ import annotations

from pydantic import Field

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings


class Evaluation(Settings):
    """How many answers a model gives to each benchmark task, and how long a test may run.

    The answers are run in the sandbox. The result is pass@1, and pass@k for k = `num_samples`.
    """

    engine: EngineSettings = Field(TransformersSettings(), description="the engine that runs the models under test")
    num_samples: int = Field(1, ge=1, description="answers per task")
    temperature: float = Field(0.0, ge=0, description="sampling temperature; 0 always takes the most probable token")
    max_tokens: int = Field(512, ge=1, description="tokens of an answer at most")
    wall_s: float = Field(10.0, gt=0, description="seconds that one answer and its tests may run; longer is a failure")
