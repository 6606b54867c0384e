"""What a step of a run does on GPUs: it trains, it asks an engine, or it takes gradients.

In: nothing. Out: frozen records that say which model, under which settings and with how many
tokens. `needs` says how much memory each takes, `hours` how long it runs. Tokens are None where
nobody can know them before.
"""

from __future__ import annotations

from dataclasses import dataclass

from builders.engines.settings import EngineSettings
from training.settings import DtypeName, GradientSettings, LoraSettings, SftSettings


@dataclass(frozen=True)
class Training:
    """A model is trained. `field` is the block of its settings in the recipe."""

    field: str
    model: str
    revision: str | None
    settings: SftSettings
    tokens: int | None
    keeps_states: bool = False
    """Whether checkpoints have the optimizer's states, which gradients may read."""
    prompt: str | None = None
    """The template in whose words every row begins; None: no certain words."""


@dataclass(frozen=True)
class Asking:
    """An engine answers. `reads` are the tokens of prompts that it computes, `writes` its own."""

    field: str
    model: str
    revision: str | None
    engine: EngineSettings
    num_adapters: int
    rank: int
    reads: int | None
    writes: int | None
    prompt: str | None = None
    """The template in whose words every question is put; None: no certain words."""
    answer: int = 1
    """Tokens of an answer at most."""
    answer_field: str | None = None
    """The field of the recipe that says so; None: an answer is one digit."""


@dataclass(frozen=True)
class Gradients:
    """Gradients of single samples are taken, of an adapter over the model."""

    field: str
    model: str
    revision: str | None
    settings: GradientSettings
    lora: LoraSettings
    dtype: DtypeName
    rows: int | None
    tokens: int | None
    workers: int | None = None
    """Processes on this machine at most; None: one per GPU."""
    prompt: str | None = None
    """The template in whose words every row begins; None: no certain words."""


Work = Training | Asking | Gradients
