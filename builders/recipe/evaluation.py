"""`evaluation`: how models are asked and graded on the benchmarks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings, check_arguments, check_sampling
from training.settings import TemplateArguments


class Grading(Settings):
    """How long an answer may run, and in which environment. All answers run in the sandbox."""

    min_case_s: float = Field(
        1.0,
        gt=0,
        description="seconds that one test input may take at least, however fast the task's own solution is",
    )
    reference_factor: float = Field(
        4.0, gt=0, description="an input may also take so many times as long as the task's own solution needs for it"
    )
    wall_s: float = Field(
        10.0,
        gt=0,
        description="seconds that an answer may take for all of its tests, beside reference_factor × the time of the "
        "task's own solution",
    )
    memory_mb: int = Field(4096, gt=0, description="MiB of memory that an answer may use")
    workers: int | None = Field(None, ge=1, description="answers that are judged at once; null: one per usable CPU")
    environment: str | None = Field(
        None,
        description="folder of a virtual environment with the libraries that benchmarks need, as `scoder environment` "
        "makes it; null: the standard library alone",
    )

    def identity(self) -> dict[str, Any]:
        """The part of the settings that can change a verdict, for the plan of a table."""
        return self.model_dump(mode="json", exclude={"workers"})


class Evaluation(Settings):
    """How many answers a model gives to each benchmark task, and in which form it is asked.

    In the form `chat` the task is a turn of a chat, in the form `completion` it is a text that the
    model continues. Numbers of two forms say nothing about each other, so they are never compared.
    The answers are run in the sandbox. The result is pass@1, and pass@k for k up to `num_samples`.
    """

    engine: EngineSettings = Field(TransformersSettings(), description="the engine that runs the models under test")
    forms: tuple[Literal["completion", "chat"], ...] = Field(
        ("completion", "chat"),
        min_length=1,
        description="forms in which every model is asked; one that a model cannot be asked in is left out, and said",
    )
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="for `scoder evaluate`: arguments of the model's chat template, such as {enable_thinking: false}; "
        "a run takes those of `coder`",
    )
    num_samples: int = Field(1, ge=1, description="answers per task and form; more than 1 need a temperature above 0")
    temperature: float | None = Field(
        0.0, ge=0, description="sampling temperature; 0 always takes the most probable token; null: the endpoint's own"
    )
    top_p: float | None = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the probability mass that tokens are drawn from; null: the endpoint's own",
    )
    max_tokens: int = Field(512, ge=1, description="tokens of an answer at most")
    max_error_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="if more than this share of the answers is missing, because of errors, there is no number, 0 to 1",
    )
    grading: Grading = Field(Grading(), description="limits of the answers, and the libraries that they find")

    @model_validator(mode="before")
    @classmethod
    def _says_where_wall_s_is(cls, given: Any) -> Any:
        if isinstance(given, dict) and "wall_s" in given:
            raise ValueError(f"wall_s is a limit of grading now: set grading.wall_s to {given['wall_s']!r} instead")
        return given

    @model_validator(mode="after")
    def _samples_differ(self) -> Evaluation:
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError(
                f"num_samples is {self.num_samples}, but at temperature 0 all answers to a task are the same: set "
                "temperature above 0 (0.2 and 0.8 are usual), or num_samples to 1"
            )
        return self

    @model_validator(mode="after")
    def _is_sampled_somehow(self) -> Evaluation:
        check_sampling(self.engine, self, "")
        return self

    @model_validator(mode="after")
    def _a_server_renders_the_template(self) -> Evaluation:
        check_arguments(self.engine, self.template_arguments, "template_arguments")
        return self

    @model_validator(mode="after")
    def _forms_are_named_once(self) -> Evaluation:
        if len(set(self.forms)) < len(self.forms):
            raise ValueError(f"forms names one form twice: {', '.join(self.forms)}")
        return self
