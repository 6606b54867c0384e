"""`teacher`: who writes the superior samples, how it is asked, and how its samples are split."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.settings import BLOCK, ENGINES, EngineSettings
from builders.recipe.settings import Settings, check_sampling, filled_as
from training.settings import TemplateArguments

TeacherEngine = Annotated[
    Annotated[Literal["docstring", "samples"], Tag("docstring")] | Annotated[EngineSettings, Tag(BLOCK)],
    Discriminator(lambda value: "docstring" if isinstance(value, str) else BLOCK),
]


class Teacher(Settings):
    """Who writes the superior samples that the synthesizer learns from, and how they are split.

    A part is held out: as the reference set of influence, and to measure the scorer.
    """

    engine: TeacherEngine = Field(
        "docstring",
        description="docstring: no model, a function's own docstring and body are the pair; samples: no "
        "model, the samples of the file `path`; else the block of an engine, such as "
        "{engine: openai, base_url: …}",
    )
    path: str | None = Field(
        None,
        description="file of samples for engine samples: JSON lines or Parquet with snippet, problem and "
        "solution, and perhaps license",
    )
    model: str = Field("docstring", description="name of the model at the endpoint, its folder, or its Hub id")
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="arguments of the model's chat template, such as {enable_thinking: false}; empty: none",
    )
    num_snippets: int = Field(
        1000,
        ge=1,
        description="snippets that the teacher is asked about, one sample each; with engine samples: "
        "snippets of the file at most",
    )
    reference_share: float = Field(
        0.15, ge=0, lt=1, description="share of the samples that influence compares with, 0 to 1"
    )
    validation_share: float = Field(0.15, ge=0, lt=1, description="share of the samples kept for measurements, 0 to 1")
    scorer_share: float = Field(
        0.5, ge=0, le=1, description="share of the remaining samples that the scorer is trained on"
    )
    prompt: Annotated[str, filled_as("teacher")] = Field(
        "teacher", description="prompt template; teacher-json: asks for the JSON form"
    )
    max_tokens: int = Field(2048, ge=1, description="tokens of an answer at most")
    temperature: float | None = Field(
        0.7, ge=0, description="sampling temperature; 0 always takes the most probable token; null: the endpoint's own"
    )
    answer_form: Literal["tagged", "json"] = Field(
        "tagged",
        description="tagged: text under two headings; json: an object that the endpoint holds to a "
        "schema, which needs engine openai and prompt teacher-json",
    )
    max_reasks: int = Field(0, ge=0, description="how often an answer without a valid pair is asked for again")
    max_unusable_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="stop when more than this share of the answers gives no pair, 0 to 1, from the 20th answer on; "
        "1: go on whatever they are",
    )
    run_examples: bool = Field(
        True,
        description="run the examples in a sample and reject it if one fails; needs the sandbox",
    )

    @model_validator(mode="before")
    @classmethod
    def _engine_is_a_block(cls, given: Any) -> Any:
        """Where the engine's keys stand beside the teacher's own, say how to write them."""
        if not isinstance(given, dict):
            return given
        beside = sorted(given.keys() & OpenAISettings.model_fields.keys() - {"engine"})
        engine = given.get("engine", "docstring")
        if isinstance(engine, str) and engine not in {"docstring", "samples", *ENGINES}:
            raise ValueError(f"engine is docstring, samples, or the block of {', '.join(ENGINES)}; got {engine!r}")
        name = engine if isinstance(engine, str) and engine in ENGINES else None
        if beside or name:
            keys = ", ".join([f"engine: {name or 'openai'}", *(f"{key}: …" for key in beside)])
            raise ValueError(f"the engine is a block of its own, as in the other sections: write engine: {{{keys}}}")
        return given

    @model_validator(mode="after")
    def _is_sampled_somehow(self) -> Teacher:
        check_sampling(self.engine, self, "")
        return self

    @model_validator(mode="after")
    def _form_can_be_had(self) -> Teacher:
        if self.answer_form == "json" and not isinstance(self.engine, OpenAISettings):
            name = self.engine if isinstance(self.engine, str) else self.engine.engine
            raise ValueError(f"answer_form json needs engine openai, here it is {name}: set answer_form to tagged")
        if self.answer_form == "json" and self.prompt == "teacher":
            raise ValueError("answer_form json needs a prompt that asks for JSON: set prompt to teacher-json")
        return self

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Teacher:
        held_out = self.reference_share + self.validation_share
        if held_out >= 1:
            raise ValueError(
                f"reference_share and validation_share add up to {held_out}, so no sample is left to train on: "
                "make them smaller"
            )
        return self

    @model_validator(mode="after")
    def _a_model_is_named(self) -> Teacher:
        if not self.is_offline and self.model == "docstring":
            raise ValueError("an engine asks a model: name it in teacher.model, such as gpt-4o")
        return self

    @model_validator(mode="after")
    def _a_file_is_named(self) -> Teacher:
        if (self.engine == "samples") != (self.path is not None):
            raise ValueError(
                "engine samples and path belong together, as in {engine: samples, path: teacher-samples.jsonl}; got "
                f"engine {self.engine if self.is_offline else 'as a block'} and path {self.path}"
            )
        return self

    @property
    def is_offline(self) -> bool:
        """Whether no model is asked: samples come from docstrings or from a file."""
        return isinstance(self.engine, str)

    def engine_settings(self) -> EngineSettings:
        """The engine that asks the teacher. ValueError for an offline teacher: it has none."""
        if isinstance(self.engine, str):
            raise ValueError(f"the {self.engine} teacher asks nobody, so it has no engine")
        return self.engine
