"""A member of a pool: a place, the process that is there now, what was sent to it, and how long it
has not been heard of.

In: what the pool sends, hears and sees. Out: whether the process hangs.

    member.heard()                  # an answer came, or the engine made a step
    member.hangs(job, seconds=0.25)    # called again and again: "it made no step for 900 s, …"
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from builders.engines.grounds import Started
from builders.engines.messages import Job, Name
from builders.engines.places import Place
from builders.engines.runs import Part


class Member:
    """See the module. But for `hangs`, all is done with the lock of the pool held."""

    def __init__(self, number: int, place: Place) -> None:
        self.number, self.place = number, place
        self.process: Started | None = None
        self.reader: threading.Thread | None = None
        self.parts: dict[int, Part] = {}
        self.load = 0  # prompts that were sent and are not answered
        self.deaths, self.attempt = 0, -1
        self.begin_anew()

    def begin_anew(self) -> None:
        """Another process is to come."""
        self.connection: Connection | None = None
        self.is_ready = False
        self.recalled: tuple[int, ...] = ()
        """Runs that were called back; it has not said yet which of them it had begun."""
        self.hung: str | None = None
        self._silent_s = 0.0
        self.attempt += 1

    @property
    def name(self) -> Name:
        """What the process that is there now is called."""
        return self.number, self.attempt

    @property
    def is_near(self) -> bool:
        """Whether it is ready or will be soon: it does not wait in the queue of a cluster."""
        return self.is_ready or self.process is None or not self.process.is_waiting

    def send(self, message: Any) -> None:
        """Send something. If the process is dead, the watching thread will see that."""
        assert self.connection is not None
        with suppress(OSError):
            self.connection.send(message)

    def give(self, part: Part) -> None:
        """Send a run of requests."""
        if not self.parts:
            self.heard()  # until now it had nothing to do
        self.parts[part.number] = part
        self.load += part.num_prompts
        self.send(part.sent())

    def answered(self, number: int, request_id: str) -> Part | None:
        """The run of an answer. None for one that came before, or that nobody wants any more."""
        part = self.parts.get(number)
        if part is None or request_id not in part.left:
            return None
        self.load -= part.left.pop(request_id)
        if not part.left:
            del self.parts[number]
        return part

    def take_back(self, number: int) -> Part | None:
        """A run that it will not answer. None if it was asked for none of this number."""
        part = self.parts.pop(number, None)
        if part is not None:
            self.load -= sum(part.left.values())
        return part

    def unbegun(self) -> list[Part]:
        """Runs that it may not have begun, as far as is known."""
        return [part for part in list(self.parts.values())[1:] if not part.is_begun]

    def heard(self) -> None:
        """Its engine gets on."""
        self._silent_s = 0.0

    def hangs(self, job: Job, seconds: float) -> str | None:
        """Whether it hangs, and how, now that so many seconds have passed.

        Seconds in which this process was stopped are not counted: nobody has passed them.
        """
        is_asked = bool(self.parts) if self.is_ready else not (self.process is None or self.process.is_waiting)
        self._silent_s = self._silent_s + seconds if is_asked else 0.0
        if self._silent_s <= (job.silent_s if self.is_ready else job.opening_s):
            return None
        if not self.is_ready:
            return f"is not open after {job.opening_s:g} s"
        return f"made no step for {job.silent_s:g} s with {self.load} prompts open"

    def hang_up(self) -> None:
        """End the connection, also where a process that nobody knows of inherited its other end."""
        if self.connection is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(self.connection.fileno())) as other:
                other.shutdown(socket.SHUT_RDWR)
