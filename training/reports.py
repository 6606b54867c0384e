"""What a training writes down: `training.json` in its output folder.

In: the plan of a training, and what came of it. Out: frozen models, and whether a folder already
holds the result of that plan.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from training.errors import OutputExistsError
from training.layout import Layout
from training.settings import SftSettings

REPORT = "training.json"
PLAN, SHAPE = "plan.json", "layout.json"


class Reject(BaseModel):
    """A row that was left out: its index or id, the value, and the threshold that it misses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int | str
    reason: str
    value: float
    threshold: float


class SavedCheckpoint(BaseModel):
    """One saved state. Learning rate and loss are means over the steps since the previous one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    folder: str = Field(description="relative to the output folder")
    learning_rate: float
    loss: float = Field(description="mean over steps of the loss per completion token")


class TrainingPlan(BaseModel):
    """Everything that decides what the weights become."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset_fingerprint: str
    base_fingerprint: str
    adapter_fingerprint: str | None
    settings: SftSettings
    template_arguments: dict[str, bool | int | float | str] = Field(default={}, description="of the chat template")
    encoding: str | None = Field(
        default=None, description="how the ids differ from those of the chat template alone; null: not at all"
    )
    keeps_optimizer: bool = Field(
        default=True,
        description="whether checkpoints of an adapter have the optimizer's state, which gradients may read",
    )

    @field_validator("settings")
    @classmethod
    def _says_nothing_of_how_it_runs(cls, settings: SftSettings) -> SftSettings:
        return settings.model_copy(update={name: defaults()[name] for name in settings.HOW_IT_RUNS})


def defaults() -> dict[str, Any]:
    """The settings that are no part of a plan, as they stand in one."""
    return {name: SftSettings.model_fields[name].default for name in SftSettings.HOW_IT_RUNS}


class TrainingReport(BaseModel):
    """What a training was made from and what came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    split: str
    revision: str | None
    base: str
    base_revision: str | None
    adapter: str | None
    plan: TrainingPlan
    num_rows: int = Field(description="rows trained on; with the rejects, the rows of the split")
    num_tokens: int = Field(description="tokens of these rows, once")
    num_completion_tokens: int = Field(description="those of them that the loss is on")
    num_steps: int
    layout: Layout | None = Field(
        default=None, description="how it ran at its end: processes, rows of a forward pass, passes of a step"
    )
    rejects: list[Reject]
    checkpoints: list[SavedCheckpoint]
    wall_seconds: float


def finished(output: Path, plan: TrainingPlan) -> TrainingReport | None:
    """The report of the same training, if it is there. OutputExistsError for anything else."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    if not (output / REPORT).is_file():
        raise OutputExistsError(
            f"{output} exists and has no {REPORT}, so it is no finished training. Choose another output, or remove it."
        )
    report = TrainingReport.model_validate_json((output / REPORT).read_text(encoding="utf-8"))
    if report.plan == plan:
        require_folders(output, report)
        return report
    differing = "; ".join(differences(report.plan, plan))
    raise OutputExistsError(f"{output} holds another training ({differing}). Choose another output, or remove it.")


def differences(then: TrainingPlan, now: TrainingPlan) -> list[str]:
    """What differs between two plans: `settings.seed was 0, is 1`."""
    return [
        f"{place}{name} was {getattr(before, name)}, is {getattr(after, name)}"
        for place, before, after in (("", then, now), ("settings.", then.settings, now.settings))
        for name in type(after).model_fields
        if name != "settings" and getattr(before, name) != getattr(after, name)
    ]


def require_folders(output: Path, report: TrainingReport) -> None:
    """OutputExistsError for a training that lacks a checkpoint which its report names."""
    for checkpoint in report.checkpoints:
        if not (output / checkpoint.folder).is_dir():
            raise OutputExistsError(
                f"{output / checkpoint.folder} is missing, though the training in {output} was ended: put it back, or remove "
                f"{output} to train again"
            )
