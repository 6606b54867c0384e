"""The recipe: every choice of a run, typed, with its default and its meaning. One module per section.

`files` reads a recipe from YAML. `estimate` says what a run of it would do and cost.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.benchmarks import Benchmark, Decontamination
from builders.recipe.coder import Coder, Mix
from builders.recipe.evaluation import Evaluation
from builders.recipe.executor import Executor
from builders.recipe.influence import Influence
from builders.recipe.near_duplicates import NearDuplicates
from builders.recipe.pool import DocstringJudge, Pool
from builders.recipe.scorer import Scorer, Scoring
from builders.recipe.selection import Final, Selection
from builders.recipe.settings import Settings
from builders.recipe.source import Source
from builders.recipe.synthesizer import Sampling, Synthesizer
from builders.recipe.teacher import Teacher
from store import check_name

__all__ = [
    "Benchmark", "Coder", "Decontamination", "DocstringJudge", "Evaluation", "Executor", "Final", "Influence", "Mix",
    "NearDuplicates", "Pool", "Recipe", "Sampling", "Scorer", "Scoring", "Selection", "Settings", "Source",
    "Synthesizer", "Teacher", "estimate", "files",
]  # fmt: skip


class Recipe(Settings):
    """One run of the method."""

    name: str
    seed: int = 0
    iterations: int = Field(2, ge=1, description="T")
    sources: tuple[Source, ...] = Field(min_length=1)
    pool: Pool = Pool()
    docstring_judge: DocstringJudge | None = None
    near_duplicates: NearDuplicates = NearDuplicates()
    benchmarks: tuple[Benchmark, ...] = ()
    decontamination: Decontamination = Decontamination()
    teacher: Teacher = Teacher()
    synthesizer: Synthesizer
    sampling: Sampling = Sampling()
    scorer: Scorer = Scorer()
    scoring: Scoring = Scoring()
    influence: Influence = Influence()
    selection: Selection = Selection()
    selection_name: str = Field("default", description="the selection that training reads")
    final: Final = Final()
    coder: Coder
    evaluation: Evaluation = Evaluation()
    executor: Executor = Executor()

    @model_validator(mode="after")
    def _names_are_path_segments(self) -> Recipe:
        check_name(self.selection_name, "selection_name")
        for what, names in (
            ("source", [s.name for s in self.sources]),
            ("benchmark", [b.name for b in self.benchmarks]),
        ):
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(
                    f"{what} names must differ, as they name files of the store; twice: {', '.join(twice)}"
                )
        if self.sampling.checkpoints > self.synthesizer.training.num_checkpoints:
            raise ValueError(
                f"sampling.checkpoints is {self.sampling.checkpoints} but synthesizer.training.num_checkpoints "
                f"saves only {self.synthesizer.training.num_checkpoints}"
            )
        if self.scorer.labels == "teacher" and (self.teacher.engine == "docstring" or self.scorer.training is None):
            raise ValueError(
                "scorer.labels is teacher: that needs a teacher.engine that can be asked, and scorer.training to learn them"
            )
        return self
