"""The recipe: every choice of a run, with its type, its default and its meaning.

There is one module per section. The description of each field is what users read in the guide.
`files` reads a recipe from YAML. `estimate` says what a run of it would do, `planned` what it would
take of the machine and cost, and `fitting` refuses what does not fit the GPUs.

    recipe = files.load("tiny", ["selection.min_score=5"])
    recipe.selection.min_score    # 5.0
"""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator, model_validator

from builders.recipe.benchmarks import Benchmark, Decontamination, MeaningModel
from builders.recipe.coder import Coder, Mix
from builders.recipe.evaluation import Evaluation, Grading
from builders.recipe.executor import Executor, GpuTasks
from builders.recipe.influence import Influence
from builders.recipe.machine import Machine
from builders.recipe.near_duplicates import NearDuplicates
from builders.recipe.pool import DocstringJudge, Pool
from builders.recipe.scorer import Scorer, Scoring
from builders.recipe.selection import Final, Selection
from builders.recipe.settings import Settings, check_arguments, check_sampling
from builders.recipe.source import Source
from builders.recipe.synthesizer import Sampling, Synthesizer
from builders.recipe.teacher import Teacher
from store import check_name

__all__ = [
    "Benchmark", "Coder", "Decontamination", "DocstringJudge", "Evaluation", "Executor", "Final", "GpuTasks", "Grading", "Influence",
    "Machine", "MeaningModel", "Mix", "NearDuplicates", "Pool", "Recipe", "Sampling", "Scorer", "Scoring", "Selection", "Settings",
    "Source", "Synthesizer", "Teacher", "contexts", "estimate", "files", "fitting", "planned", "sharing", "unnamed",
]  # fmt: skip


class Recipe(Settings):
    """Everything that one run of the method is told, from the sources of code to the evaluation."""

    name: str = Field(description="name of the run, for people")
    seed: int = Field(
        0,
        description="number that all random choices follow from; the same seed gives the same choices again",
    )
    iterations: int = Field(2, ge=1, description="how often the synthesizer samples, selects and is trained again (T)")
    sources: tuple[Source, ...] = Field(min_length=1, description="where code comes from; at least one source")
    pool: Pool = Field(Pool(), description="what a function must be like to enter the clean pool")
    docstring_judge: DocstringJudge | None = Field(
        None, description="a model that judges docstrings, as the last check; null: no judge"
    )
    near_duplicates: NearDuplicates = Field(
        NearDuplicates(), description="how functions that resemble each other are found"
    )
    benchmarks: tuple[Benchmark, ...] = Field(
        (), description="benchmarks that must not leak into the data; empty: none is looked for"
    )
    decontamination: Decontamination = Field(
        Decontamination(), description="how benchmarks are looked for, and when a hit counts"
    )
    teacher: Teacher = Field(Teacher(), description="who writes the superior samples")
    sampling: Sampling = Field(Sampling(), description="how much the synthesizer writes, and at which temperature")
    synthesizer: Synthesizer = Field(
        Synthesizer(), validate_default=True, description="the small model that learns to write the data"
    )
    scorer: Scorer = Field(
        Scorer(), validate_default=True, description="the model that scores each candidate by aspect"
    )
    scoring: Scoring = Field(Scoring(), description="how much each aspect counts in the score")
    influence: Influence = Field(
        Influence(), description="the gradients of candidates, and what they are compared with"
    )
    selection: Selection = Field(Selection(), description="which candidates the synthesizer is trained on next")
    selection_name: str = Field(
        "default", description="name of the selection that training reads; several live side by side"
    )
    final: Final = Field(Final(), description="the final generation, and which pairs are published")
    coder: Coder = Field(Coder(), description="the code model that is trained on the final dataset")
    evaluation: Evaluation = Field(Evaluation(), description="how models are asked and graded on the benchmarks")
    executor: Executor = Field(Executor(), description="where tables are built: here, on Ray or on Slurm")
    machine: Machine = Field(
        Machine(), description="the GPUs of the run and what they cost, for its plan; by default those that are seen"
    )

    @field_validator("synthesizer")
    @classmethod
    def _saves_as_many_as_write(cls, given: Synthesizer, found: ValidationInfo) -> Synthesizer:
        """Where the number of checkpoints is left out, a training saves those that are sampled."""
        training, sampling = given.training, found.data.get("sampling")
        if sampling is None or "num_checkpoints" in training.model_fields_set:
            return given
        whole = training.model_copy(update={"num_checkpoints": sampling.checkpoints})
        return given.model_copy(update={"training": whole})

    @field_validator("scorer")
    @classmethod
    def _reads_the_form_of_its_model(cls, given: Scorer, found: ValidationInfo) -> Scorer:
        """A scorer whose model is the synthesizer's reads the same form, if it says none itself."""
        synthesizer = found.data.get("synthesizer")
        if synthesizer is None or given.model is not None or "template_arguments" in given.model_fields_set:
            return given
        return given.model_copy(update={"template_arguments": synthesizer.template_arguments})

    @model_validator(mode="after")
    def _names_are_path_segments(self) -> Recipe:
        check_name(self.selection_name, "selection_name")
        for what, names in (
            ("source", [s.name for s in self.sources]),
            ("benchmark", [b.name for b in self.benchmarks]),
        ):
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(
                    f"two entries of {what}s have the same name: {', '.join(twice)}. The names are names of files "
                    "in the store: give each its own"
                )
        if self.sampling.checkpoints > self.synthesizer.training.num_checkpoints:
            raise ValueError(
                f"sampling.checkpoints is {self.sampling.checkpoints}, but a training saves only "
                f"synthesizer.training.num_checkpoints={self.synthesizer.training.num_checkpoints}: make the two fit"
            )
        training, gradients = self.synthesizer.training, self.influence.gradients
        if training.lora is None and gradients.optimizer_map == "adam":
            raise ValueError(
                "influence.gradients.optimizer_map is adam, but synthesizer.training.lora is null: Adam's map is made of "
                "the optimizer's state of a LoRA adapter, and a training of all weights has none. Set optimizer_map to "
                "sgd, or synthesizer.training.lora to {r: 16, alpha: 32}"
            )
        if self.scorer.labels == "teacher" and (self.teacher.is_offline or self.scorer.training is None):
            raise ValueError(
                "scorer.labels is teacher, so the scorer learns scores that the teacher gives. That needs "
                "scorer.training, and a teacher that can be asked: set teacher.engine to the block of an engine"
            )
        return self

    @model_validator(mode="after")
    def _is_sampled_somehow(self) -> Recipe:
        check_sampling(self.synthesizer.engine, self.sampling, "sampling.")
        return self

    @model_validator(mode="after")
    def _adams_map_has_adams_moments(self) -> Recipe:
        optimizer = self.synthesizer.training.optimizer
        if self.influence.gradients.optimizer_map == "adam" and optimizer != "adamw":
            raise ValueError(
                f"influence.gradients.optimizer_map is adam, which reads AdamW's moments in float32, but "
                f"synthesizer.training.optimizer is {optimizer}: set the one to sgd, or the other to adamw"
            )
        return self

    @model_validator(mode="after")
    def _templates_are_given_one_form(self) -> Recipe:
        """A model reads the same form everywhere, and an endpoint can be told of it."""
        for name in ("docstring_judge", "teacher", "synthesizer", "scorer"):
            if (section := getattr(self, name)) is not None:
                check_arguments(section.engine, section.template_arguments, f"{name}.template_arguments")
        check_arguments(self.evaluation.engine, self.coder.template_arguments, "coder.template_arguments")
        for where, given, owner, own in (
            ("scorer", self.scorer.template_arguments, "synthesizer", self.synthesizer.template_arguments),
            ("evaluation", self.evaluation.template_arguments, "coder", self.coder.template_arguments),
        ):
            is_same_model = where == "scorer" and self.scorer.model is None
            if given != own and (is_same_model or (where == "evaluation" and given)):
                raise ValueError(
                    f"{where}.template_arguments is {given}, but it is the model of {owner}, whose template_arguments is "
                    f"{own}: write the same in both"
                )
        return self
