"""The process of a replica: an engine that answers what a coordinator sends.

In: the address of a coordinator, and the key that it knows. Out: nothing; answers go back over the
connection, each as soon as it is there. The coordinator (`builders/engines/pooled.py`) starts this
process on its own machine, or as a task on a node of a cluster.

    serve(("10.0.0.1", 5000), key, name=(3, 1))

The coordinator sends one `Job`, then runs of requests. Runs of one kind go through one call of the
engine, so that it stays full; a thread reads them meanwhile. When the coordinator is gone, this
process ends at once, and with it all that it started: vLLM has a process of its own, which holds
the GPU and watches nobody.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from typing import Any

from builders.engines.inbox import Inbox, Waiting
from builders.engines.messages import (
    Address,
    Answer,
    Close,
    Drop,
    Failed,
    Job,
    Name,
    Ready,
    Recall,
    Returned,
    Run,
    Sent,
    Steps,
    Told,
)
from builders.engines.places import OURS_ALONE
from builders.engines.pulse import Pulse
from builders.engines.types import ChoiceRequest, EngineDiedError, Request
from store.errors import JobError
from training import watchdog
from training.library_notes import hush

CODE = "from builders.engines.replica import main; main()"
"""What Python runs as the process of a replica."""


def serve(address: Address, key: bytes, name: Name, parent: int | None = None) -> None:
    """Answer a coordinator until it says that it is done.

    `parent` is its process, if it runs on this machine.
    """
    if parent is not None:
        watchdog.end_with(parent, patience_s=math.inf)  # Ctrl-Z stops a run, and it goes on
    connection = _connected(address, key)
    connection.send(name)
    job: Job = connection.recv()
    line = _Line(connection)
    try:
        replica = _opened(line, job)
        if replica is not None:
            replica.answer_all()
            replica.engine.close()
    except EngineDiedError:
        traceback.print_exc()
        os._exit(1)  # without waiting for what is dead


def _connected(address: Address, key: bytes) -> Connection:
    try:
        return Client(address, authkey=key)
    except (OSError, AuthenticationError) as error:
        sys.exit(
            f"this replica cannot reach its coordinator at {address} ({error}): if that lives, set executor.gpu.host to a "
            "name or an address under which the nodes reach it"
        )


def _opened(line: _Line, job: Job) -> _Replica | None:
    """The engine, ready to answer. None if the coordinator was told why it cannot be opened."""
    try:
        replica = _Replica(line, job)
    except EngineDiedError:
        raise
    except Exception as error:
        line.send(_failed(error, frozenset()))
        return None
    line.send(Ready())
    return replica


def main() -> None:
    """Serve the coordinator that the first line of the standard input names."""
    hush()
    start = json.loads(sys.stdin.readline())
    cores = start["cores"]
    if cores:
        os.sched_setaffinity(0, cores)
    for name in os.environ.keys() & set(OURS_ALONE):
        del os.environ[name]
    address = start["address"]
    found = address if isinstance(address, str) else (address[0], address[1])
    # On a node it is started by another process, whose number nobody knows before.
    serve(found, bytes.fromhex(start["key"]), (start["name"][0], start["name"][1]), start["parent"] or os.getppid())


class _Line:
    """The connection to the coordinator. Several threads may send, one may read.

    If the coordinator is gone, all ends: an exception would end one thread alone.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, message: Told) -> None:
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            watchdog.end()

    def read(self) -> Sent:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            watchdog.end()


class _Replica:
    """An engine, and what came for it."""

    def __init__(self, line: _Line, job: Job) -> None:
        self._line, self._inbox = line, Inbox()
        self._num_drops = self._num_dropped = 0
        self._next: Waiting | None = None
        self._open: dict[str, int] = {}
        self._left: deque[tuple[int, Request | ChoiceRequest]] = deque()
        # The thread reads while the engine is opened, too: the coordinator may end meanwhile.
        threading.Thread(target=self._read, daemon=True).start()
        self._pulse = Pulse(lambda steps: line.send(Steps(steps)), job.silent_s, job.opening_s)
        self.engine = job.open()
        self._pulse.begin(self.engine)

    def _read(self) -> None:
        """Take what comes at once, so that the coordinator never waits for this process."""
        while True:
            message = self._line.read()
            if isinstance(message, Recall):
                self._line.send(Returned(self._inbox.withdraw(message.runs)))
                continue
            if isinstance(message, Drop | Close):
                self._num_drops += 1
            self._inbox.put(message)
            if isinstance(message, Close):
                return

    @property
    def _is_dropped(self) -> bool:
        return self._num_drops > self._num_dropped

    def answer_all(self) -> None:
        """Answer runs until the coordinator is done."""
        while not isinstance(message := self._take(), Close):
            if isinstance(message, Drop):
                self._num_dropped += 1
            elif not self._is_dropped:
                self._pulse.asked()
                self._answer(message)
                self._pulse.idle()

    def _take(self) -> Waiting:
        message, self._next = self._next or self._inbox.take(), None
        return message

    def _taken_when_idle(self) -> Waiting:
        self._pulse.idle()
        message = self._inbox.take()
        self._pulse.asked()
        return message

    def _answer(self, first: Run) -> None:
        """Answer a run, and those that follow it in the same call of the engine."""
        self._open = {}
        self._left.clear()
        stream = self._whole(first) if first.is_whole else self._stream(first)
        ask: Any = self.engine.generate if first.kind == "generate" else self.engine.choose
        try:
            with closing(ask(stream)) as answers:
                for answer in answers:
                    if self._is_dropped:
                        return
                    self._line.send(Answer(self._open.pop(answer.request_id), answer))
            if self._open and not self._is_dropped:
                name = next(iter(self._open))
                raise JobError(f"the engine gave no answer to {len(self._open)} requests, first {name}")
        except EngineDiedError:
            raise
        except Exception as error:
            runs = frozenset([*self._open.values(), *(number for number, _ in self._left)])
            self._line.send(_failed(error, runs))

    def _whole(self, run: Run) -> Sequence[Request | ChoiceRequest]:
        self._open = {request.request_id: run.number for request in run.requests}
        return run.requests

    def _stream(self, first: Run) -> Iterator[Request | ChoiceRequest | None]:
        """The requests of this run and of the next ones of its kind.

        None while nothing is there and something is under way; see `builders/engines/types.py`.
        """
        self._left.extend((first.number, request) for request in first.requests)
        while True:
            while self._left and not self._is_dropped:
                number, request = self._left.popleft()
                self._open[request.request_id] = number
                yield request
            message = self._next or (self._inbox.taken() if self._open else self._taken_when_idle())
            if message is None:
                yield None
                continue
            if not isinstance(message, Run) or message.is_whole or message.kind != first.kind:
                self._next = message  # it ends this call of the engine
                return
            self._left.extend((message.number, request) for request in message.requests)


def _failed(error: Exception, runs: frozenset[int]) -> Failed:
    """An error for the coordinator. What it would not know has its name and its text."""
    told = "".join(traceback.format_exception(error))
    print(told, file=sys.stderr, flush=True)
    try:
        # The coordinator must not load torch or vLLM to read an error.
        is_known = type(error).__module__.partition(".")[0] in ("builtins", "store", "training", "builders")
        packed = pickle.dumps(error)
        if is_known and str(pickle.loads(packed)) == str(error):
            return Failed(runs, packed, told)
    except Exception:  # whatever an error's own code raises, its text is told instead
        pass
    return Failed(runs, pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}\n\n{told}")), told)
