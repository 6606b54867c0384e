"""What a coordinator and a replica of an engine say to each other.

A coordinator sends one `Job`, then any number of `Run`, `Drop` and `Recall`, and at last `Close`. A
replica sends its name, `Ready` or `Failed`, then `Answer`, `Failed`, `Steps` and `Returned`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from builders.engines.settings import LocalSettings
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request

Kind = Literal["generate", "choose"]
Address = str | tuple[str, int]
Name = tuple[int, int]
"""The number of a replica, and how often it was started."""

SILENT_S = 900.0
"""Seconds in which an engine that is asked makes at least one step. Half of one layer of a 7B with
many long prompts takes minutes on two CPU cores; nothing on a GPU takes one."""
OPENING_S = 3600.0
"""Seconds in which an engine is open. A model of 140 GB from a slow disk takes half of it."""


@dataclass(frozen=True)
class Job:
    """What a replica opens. `opens` is the dotted name of the function that opens the engine.

    A replica that makes no step for `silent_s`, or is not open after `opening_s`, hangs.
    """

    settings: LocalSettings
    model: str
    adapters: dict[str, str]
    revision: str | None = None
    template_arguments: Mapping[str, Any] | None = None
    opens: str = "builders.engines.local:open_local"
    silent_s: float = SILENT_S
    opening_s: float = OPENING_S

    def open(self) -> Engine:
        """The engine, in this process."""
        module, name = self.opens.split(":")
        opens = getattr(importlib.import_module(module), name)
        return opens(self.settings, self.model, self.adapters, self.revision, self.template_arguments)


@dataclass(frozen=True)
class Run:
    """Requests to answer. With `is_whole` they are all that one call of the engine gets."""

    number: int
    kind: Kind
    requests: Sequence[Request | ChoiceRequest]
    is_whole: bool


class Drop:
    """All that was sent before this is not wanted any more."""


@dataclass(frozen=True)
class Recall:
    """Another replica could answer these runs. Those that were not begun are to be given back."""

    runs: tuple[int, ...]


class Close:
    """Nothing more will come: close the engine and end."""


class Ready:
    """The engine is open."""


@dataclass(frozen=True)
class Answer:
    """An answer to a request of a run."""

    run: int
    answer: Completion | ChoiceCompletion


@dataclass(frozen=True)
class Failed:
    """The engine raised an error: while it was opened, or while these runs were under way."""

    runs: frozenset[int]
    error: bytes
    told: str


@dataclass(frozen=True)
class Steps:
    """The engine has made so many steps: it gets on, also where no answer is ready."""

    number: int


@dataclass(frozen=True)
class Returned:
    """Of the runs that were called back, those that were not begun. They will not be answered."""

    runs: tuple[int, ...]


Sent = Run | Drop | Recall | Close
Told = Ready | Answer | Failed | Steps | Returned
