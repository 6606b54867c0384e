"""A process that does jobs on one device, and is looked after.

In: a place (the GPU that it sees), and jobs one by one. Out: what came of each, in a queue.

    worker = Worker(0, "3", threads=4, came=came)
    worker.give(7, function, job)
    worker.look(TICK_S)      # again and again: ends the process if it is stopped, or hangs
    came.get()               # Outcome(number=7, result=…)
    worker.end()

A process is stopped if it is in state T for STOPPED_S. It hangs if it gives no sign of life for
SILENT_S. A sign is a call of `Keeper.alive`, or WORK_S of its own computing before the first one:
a large model takes long to load. It ends when the process that started it is gone. When that one is
stopped, it waits.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from builders.executors.endings import ended
from training.host_memory import HostMemory
from training.library_notes import hush
from training.watchdog import end_with, is_stopped

TICK_S = 0.25
STOPPED_S = 10.0
SILENT_S = 900.0
WORK_S = 1.0
"""Seconds of computing that are a sign of life. The thread that watches the parent needs less than
that in SILENT_S."""
GONE_S = 5.0
ALIVE = b"alive"


class Keeper:
    """The model that was asked for last. Jobs that share a model load it once.

    The old model is let go before the next one is loaded, so no two exist at the same time.
    """

    def __init__(self, alive: Callable[[], None] = lambda: None) -> None:
        self._key: Hashable = None
        self._model: Any = None
        self.alive = alive
        """To be called now and then in a long job: it gets on."""

    def get(self, load: Callable[..., Any], *arguments: Hashable) -> Any:
        """`load(*arguments)`, or its last result if the last call was the same."""
        if self._key != (load, arguments):
            self._key = self._model = None
            self._model, self._key = load(*arguments), (load, arguments)
        return self._model


@dataclass(frozen=True)
class Outcome:
    """What came of a job: a result, or an error and where it was raised."""

    number: int
    result: Any = None
    error: BaseException | None = None
    raised_at: str = ""


class Worker:
    """See the module. One thread calls its methods."""

    def __init__(self, name: int, place: str, threads: int, came: SimpleQueue[Outcome]) -> None:
        self.name, self.place, self._threads, self._came = name, place, threads, came
        self.job: int | None = None
        self.losses = 0
        """How often it died in a row without a result in between."""
        self._process: Any = None

    def __str__(self) -> str:
        return f"worker {self.name} on {f'GPU {self.place}' if self.place else 'the CPU'}"

    def give(self, number: int, function: Callable[..., Any], job: Any) -> None:
        """Give it a job. It must have none. A process that is dead is started again."""
        packed = bytes(ForkingPickler.dumps((number, function, job)))
        if self._process is None or self.has_ended():
            self._start()
        self.job, self._seconds_stopped = number, 0.0
        self._begin_life()
        self._is_early = True
        # In a thread: a process that is stopped may read nothing, or have sent a part of a message.
        self._reader = threading.Thread(target=self._attend, args=(self._connection, packed), daemon=True)
        self._reader.start()

    def look(self, seconds: float) -> None:
        """End the process if it is stopped, or hangs, now that so many seconds have passed.

        Seconds in which this process was stopped are not counted: nobody has passed them.
        """
        if self.job is None or self.has_ended():
            return
        self._seconds_stopped = self._seconds_stopped + seconds if is_stopped(self._process.pid) else 0.0
        self._silent_s += seconds
        if self._is_early and _work_of(self._process.pid) - self._worked_s >= WORK_S:
            self._begin_life()
        if self._seconds_stopped >= STOPPED_S:
            self._end(f"was stopped by a signal for {STOPPED_S:g} s, and was ended")
        elif self._silent_s >= SILENT_S:
            self._end(f"gave no sign of life for {SILENT_S:g} s, and was ended")

    def has_ended(self) -> bool:
        """Whether its process is dead. Its last message is in the queue then."""
        if self._process is None or self._process.exitcode is None:
            return False
        self._hang_up()
        self._reader.join(GONE_S)
        return True

    def bury(self) -> str:
        """The process died with a job: count the loss. Return how it ended."""
        self.job = None
        self.losses += 1
        return self._why or f"ended {ended(self._process.exitcode, self._memory)}"

    def dismiss(self) -> None:
        """Let the process go: one that has no job ends by itself, the others are killed."""
        if self._process is not None:
            self._hang_up()
            if self.job is not None:
                self._process.kill()

    def end(self) -> None:
        """End the process at once, if there is one that does not end by itself."""
        if self._process is not None:
            self._process.join(GONE_S)
            self._process.kill()
            self._process.join(GONE_S)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._why, self._memory = "", HostMemory()
        self._connection, there = context.Pipe()
        arguments = (there, self.place, self._threads, os.getpid())
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        there.close()

    def _hang_up(self) -> None:
        """End the connection, also where a process that nobody knows of inherited its other end.

        It is not closed: the thread may read it.
        """
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as other:
            other.shutdown(socket.SHUT_RDWR)

    def _end(self, why: str) -> None:
        self._why = why
        self._process.kill()
        self._process.join(GONE_S)

    def _begin_life(self) -> None:
        self._silent_s, self._worked_s = 0.0, _work_of(self._process.pid)

    def _attend(self, connection: Connection, packed: bytes) -> None:
        """Send a job, and put what comes of it in the queue. If the process dies, nothing comes."""
        try:
            connection.send_bytes(packed)
            while (message := connection.recv_bytes()) == ALIVE:
                self._silent_s, self._is_early = 0.0, False
            self._came.put(pickle.loads(message))
        except (OSError, EOFError):
            pass


def _work_of(pid: int) -> float:
    """Seconds that a process has computed. It is 0 where nobody can tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


# -- in the process of the worker ------------------------------------------------------------------


def _work(connection: Connection, place: str, threads: int, coordinator: int) -> None:
    """Do jobs until the coordinator is gone. Torch comes with the first of them."""
    end_with(coordinator, patience_s=math.inf, dies_with=True)  # Ctrl-Z stops a run, and it goes on
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator gets Ctrl-C, too, and ends this
    hush()
    if place:
        os.environ["CUDA_VISIBLE_DEVICES"] = place
    os.environ["OMP_NUM_THREADS"] = str(threads)
    keeper = Keeper(lambda: connection.send_bytes(ALIVE))
    # It breaks off when the coordinator is gone, or needs nothing more.
    with suppress(EOFError, OSError):
        while True:
            number, function, job = pickle.loads(connection.recv_bytes())
            outcome = _packed(_outcome(number, function, job, keeper))
            sys.stdout.flush()
            connection.send_bytes(outcome)


def _outcome(number: int, function: Callable[..., Any], job: Any, keeper: Keeper) -> Outcome:
    try:
        return Outcome(number, function(job, keeper))
    except BaseException as error:
        return Outcome(number, error=error, raised_at=traceback.format_exc())


def _packed(outcome: Outcome) -> bytes:
    """An outcome as bytes that can be read. What cannot be sent is an error with its text."""
    try:
        packed = bytes(ForkingPickler.dumps(outcome))
        pickle.loads(packed)
        return packed
    except Exception as error:  # whatever an object's own code raises
        told = f"{type(outcome.error).__name__}: {outcome.error}" if outcome.error else f"no result to send: {error}"
        return pickle.dumps(Outcome(outcome.number, error=RuntimeError(told), raised_at=outcome.raised_at))
