"""`evaluation`: how models are asked and graded on the benchmarks."""

from __future__ import annotations

from pydantic import Field

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings


class Evaluation(Settings):
    """pass@k in the sandbox."""

    engine: EngineSettings = TransformersSettings()
    num_samples: int = Field(1, ge=1)
    temperature: float = 0.0
    max_tokens: int = 512
    wall_s: float = 10.0
