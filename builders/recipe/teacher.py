"""`teacher`: who writes the superior samples, and how they are split."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from builders.engines.settings import BLOCK, ENGINES, EngineSettings, OpenAISettings
from builders.recipe.settings import Settings, filled_as

TeacherEngine = Annotated[
    Annotated[Literal["docstring"], Tag("docstring")] | Annotated[EngineSettings, Tag(BLOCK)],
    Discriminator(lambda value: "docstring" if isinstance(value, str) else BLOCK),
]


class Teacher(Settings):
    """The superior samples."""

    engine: TeacherEngine = Field(
        "docstring",
        description="docstring: the function's own docstring and body, offline; else the block of an engine, such as "
        "{engine: openai, base_url: …}",
    )
    model: str = "docstring"
    num_snippets: int = Field(1000, ge=1)
    reference_share: float = Field(0.15, ge=0, lt=1)
    validation_share: float = Field(0.15, ge=0, lt=1)
    scorer_share: float = Field(0.5, ge=0, le=1, description="of the train split, used to fine-tune the scorer")
    prompt: Annotated[str, filled_as("teacher")] = "teacher"
    max_tokens: int = Field(2048, ge=1)
    temperature: float = Field(0.7, ge=0)
    answer_form: Literal["tagged", "json"] = Field(
        "tagged", description="json: held to a schema by the endpoint, with a prompt that asks for it"
    )
    max_reasks: int = Field(0, ge=0, description="how often an answer that holds no valid pair is asked for again")
    run_examples: bool = Field(True, description="run the examples that a sample carries, and reject it if one fails")

    @model_validator(mode="before")
    @classmethod
    def _engine_is_a_block(cls, given: Any) -> Any:
        """Recipes of before had the engine's keys beside the teacher's own: say how they are spelt now."""
        if not isinstance(given, dict):
            return given
        beside = sorted(given.keys() & OpenAISettings.model_fields.keys() - {"engine"})
        engine = given.get("engine", "docstring")
        if isinstance(engine, str) and engine not in {"docstring", *ENGINES}:
            raise ValueError(f"engine is docstring, or the block of {', '.join(ENGINES)}; got {engine!r}")
        name = engine if isinstance(engine, str) and engine in ENGINES else None
        if beside or name:
            keys = ", ".join([f"engine: {name or 'openai'}", *(f"{key}: …" for key in beside)])
            raise ValueError(f"the engine is a block of its own, as everywhere else: write engine: {{{keys}}}")
        return given

    @model_validator(mode="after")
    def _form_can_be_had(self) -> Teacher:
        if self.answer_form == "json" and not isinstance(self.engine, OpenAISettings):
            name = self.engine if isinstance(self.engine, str) else self.engine.engine
            raise ValueError(f"answer_form json needs engine openai, got {name}: use tagged")
        if self.answer_form == "json" and self.prompt == "teacher":
            raise ValueError("answer_form json needs a prompt that asks for JSON: set prompt to teacher-json")
        return self

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Teacher:
        held_out = self.reference_share + self.validation_share
        if held_out >= 1:
            raise ValueError(f"reference_share and validation_share add up to {held_out}: nothing is left to train on")
        return self

    def engine_settings(self) -> EngineSettings:
        """The engine that asks the teacher; ValueError for the docstring teacher, which asks nobody."""
        if isinstance(self.engine, str):
            raise ValueError("the docstring teacher needs no engine")
        return self.engine
