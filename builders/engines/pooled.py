"""One engine behind which replicas answer, each a process of its own on its own GPU or GPUs.

In: a job (the settings of a local engine, a model and adapters) and places. Out: an engine. Whoever
asks it keeps one journal in one process, as with every other engine.

    job = Job(VllmSettings(), "recipes/tiny-base", {})
    with PooledEngine(job, [Place("0"), Place("1")]) as engine:
        ...

- Each replica has enough prompts that its engine is never idle. They go there in runs of neighbours
  and come back one by one.
- A replica that dies is started again, and what it had not answered is asked again. The same goes
  for one that was stopped. If replicas go on dying, the run ends with what the last one wrote.
- An error that an engine raises is raised here, after the answers that came before it.
- An engine whose bits depend on what is asked together gets whole runs, of always the same
  requests. Then several calls may be under way at once, in threads.

Three kinds of threads do the work: one lets replicas in, one reads from each replica, and one
watches the processes. They share one lock.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any, cast

from builders.engines.gate import StoppedError
from builders.engines.grounds import Ground, Here, Started
from builders.engines.places import Place
from builders.engines.replica import Answer, Close, Drop, Failed, Job, Kind, Name, Ready
from builders.engines.replica_process import TICK_S
from builders.engines.runs import RUN, Call, Part, even_runs, whole_runs
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request
from store.errors import JobError

PROMPTS_AT_A_REPLICA = 2048
"""More than a replica has in its engine (1,536), so that it never waits for this process."""
MOST_DEATHS_IN_A_ROW = 3
"""A replica that died so often without an answer in between would die again."""
MOST_DEATHS = 24
"""Of all replicas together. A request that kills whoever is asked ends the run here."""
CLOSE_S = 20.0
"""Seconds that an idle replica has to end by itself."""


class _Replica:
    """A place, the process that is there now, and what was sent to it."""

    def __init__(self, number: int, place: Place) -> None:
        self.number, self.place = number, place
        self.process: Started | None = None
        self.connection: Connection | None = None
        self.reader: threading.Thread | None = None
        self.is_ready = False
        self.parts: dict[int, Part] = {}
        self.load = 0  # prompts that were sent and are not answered
        self.deaths = self.attempt = 0

    @property
    def name(self) -> Name:
        """What the process that is there now is called."""
        return self.number, self.attempt

    def send(self, message: Any) -> None:
        """Send something. If the process is dead, the watching thread will see that."""
        assert self.connection is not None
        with suppress(OSError):
            self.connection.send(message)


class PooledEngine(Engine):
    """See the module."""

    def __init__(
        self, job: Job, places: Sequence[Place], *, starts_alone: bool = False, ground: Ground | None = None
    ) -> None:
        """Start the replicas, and wait for the first one. Its errors are raised.

        With `starts_alone`, the others start after it, and find what it compiled. `ground` is where
        they run, on this machine without it. The engine closes it.
        """
        self._job, self._starts_alone = job, starts_alone
        self._lock = threading.Condition()
        self._waiting: deque[Part] = deque()
        self._calls: set[Call] = set()
        self._error: BaseException | None = None
        self._num_deaths, self._keeps_logs = 0, False
        self._closing = threading.Event()
        self._replicas = [_Replica(number, place) for number, place in enumerate(places)]
        self._key = os.urandom(32)
        self._ground = ground or Here()
        self.folder = self._ground.folder
        # Who connects says in a thread of its own that it has the key: some say nothing at all.
        self._listener = Listener(self._ground.listens_at, backlog=2 * len(places) + 8)
        self._address = self._ground.address_of(self._listener)
        self._threads = [
            threading.Thread(target=self._kept, args=(f,), daemon=True) for f in (self._admit, self._watch)
        ]
        try:
            with self._lock:
                for replica in self._replicas[: 1 if starts_alone else None]:
                    self._start(replica)
            for thread in self._threads:
                thread.start()
            with self._lock:
                self._lock.wait_for(lambda: self._error or any(replica.is_ready for replica in self._replicas))
            if self._error is not None:
                raise self._error
        except BaseException:
            self.close()
            raise

    # -- what a caller sees ------------------------------------------------------------------------

    def wait_for_all(self) -> None:
        """Return when all replicas are there. The first one is, as soon as the engine is open."""
        with self._lock:
            self._lock.wait_for(lambda: self._error or all(replica.is_ready for replica in self._replicas))
            if self._error is not None:
                raise self._error

    @property
    def sessions(self) -> list[int]:
        """The processes of the replicas on this machine now.

        Each leads a session of all that it started.
        """
        return [r.process.pid for r in self._replicas if r.process is not None and r.process.pid is not None]

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        is_whole = not self._job.settings.is_journalled
        if is_whole:
            runs = whole_runs(requests, self._job.settings.rows_per_shard)
        else:
            runs = even_runs(requests, RUN["generate"], len(self._replicas))
        return cast(Iterator[Completion], self._asked("generate", runs, is_whole))

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        runs = even_runs(requests, RUN["choose"], len(self._replicas))
        return cast(Iterator[ChoiceCompletion], self._asked("choose", runs, not self._job.settings.is_journalled))

    def close(self) -> None:
        """End all replicas. An idle one ends by itself, the others are killed."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            self._fail(StoppedError("the engine was closed"))
            idle = [replica for replica in self._replicas if replica.is_ready and not replica.parts]
            for replica in idle:
                replica.send(Close())
        for replica in self._replicas:
            if replica.process is not None and replica not in idle:
                replica.process.kill()
        self._join()
        for replica in self._replicas:
            if replica.process is not None:
                replica.process.wait(CLOSE_S if replica in idle else 0)
                replica.process.kill()
            if replica.connection is not None:
                _hang_up(replica.connection)
        self._listener.close()
        self._ground.close(keeps_logs=self._keeps_logs)

    def _join(self) -> None:
        """Wait for the threads. The one that lets replicas in waits for one: this is the last."""
        if self._threads[0].is_alive():
            with suppress(OSError, EOFError):
                Client(self._listener.address).close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _asked(self, kind: Kind, runs: Iterator[list[Any]], is_whole: bool) -> Iterator[Any]:
        """The answers to runs, which are read while they are answered."""
        call = Call(kind)
        with self._lock:
            if self._error is not None:
                raise self._error
            self._calls.add(call)
        try:
            is_over = False
            while True:
                while not is_over and call.num_open_prompts < len(self._replicas) * PROMPTS_AT_A_REPLICA:
                    is_over = not self._add(call, next(runs, []), is_whole)
                if not call.open:
                    return
                answer = call.came.get()
                if isinstance(answer, BaseException):
                    raise answer
                call.end(answer)
                yield answer
        finally:
            with self._lock:
                self._forget(call)

    def _add(self, call: Call, run: list[Any], is_whole: bool) -> bool:
        """Hand out a run of a call; False if it is empty, as the stream is over."""
        if not run:
            return False
        call.begin(run)
        with self._lock:
            if call in self._calls:  # else its error is on the way
                self._waiting.append(Part(call, run, is_whole))
                self._hand_out()
        return True

    # -- with the lock held ------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Send what waits, in its order, each to the replica that has least to do."""
        while self._waiting:
            part, most = self._waiting[0], self._most()
            free = [r for r in self._replicas if r.is_ready and _takes(r, part, most)]
            if not free:
                return
            replica = min(free, key=lambda r: r.load)
            replica.parts[part.number] = part
            replica.load += part.num_prompts
            self._waiting.popleft()
            replica.send(part.sent())

    def _most(self) -> int:
        """Prompts of a replica at most. While others are starting, it leaves them their share.

        Else the first one that is ready would take all of a short stream. Those that wait in the
        queue of a cluster get none.
        """
        near = [r for r in self._replicas if r.is_ready or r.process is None or not r.process.is_waiting]
        if all(replica.is_ready for replica in near):
            return PROMPTS_AT_A_REPLICA
        open_prompts = sum(r.load for r in self._replicas) + sum(part.num_prompts for part in self._waiting)
        return min(PROMPTS_AT_A_REPLICA, -(-open_prompts // len(near)))

    def _forget(self, call: Call) -> None:
        """Nothing of a call is wanted any more. What was sent with it goes to other replicas."""
        self._calls.discard(call)
        self._waiting = deque(part for part in self._waiting if part.call is not call)
        for replica in self._replicas:
            if any(part.call is call for part in replica.parts.values()):
                replica.send(Drop())
                self._give_back(replica, without=call)
        self._hand_out()

    def _give_back(self, replica: _Replica, without: Call | None = None) -> None:
        """What a replica has not answered comes first again."""
        back = [part.again() for part in replica.parts.values() if part.call is not without]
        self._waiting.extendleft(reversed(back))
        replica.parts.clear()
        replica.load = 0

    def _fail(self, error: BaseException) -> None:
        """End all calls with an error, after the answers that came before it."""
        self._error = self._error or error
        for call in self._calls:
            call.came.put(self._error)
        self._lock.notify_all()

    def _start(self, replica: _Replica) -> None:
        if self._closing.is_set():
            return
        replica.connection, replica.is_ready = None, False
        replica.attempt += 1
        replica.process = self._ground.start(replica.name, replica.place, self._address, self._key)

    # -- the threads -------------------------------------------------------------------------------

    def _kept(self, work: Any, *arguments: Any) -> None:
        """Do the work of a thread. If it fails, all calls do."""
        try:
            work(*arguments)
        except BaseException as error:
            with self._lock:
                self._fail(error)

    def _admit(self) -> None:
        """Let in whoever connects."""
        while not self._closing.is_set():
            try:
                connection = self._listener.accept()
            except OSError:
                continue
            threading.Thread(target=self._kept, args=(self._welcome, connection), daemon=True).start()

    def _welcome(self, connection: Connection) -> None:
        """Give a replica that has the key its job, and read what it sends."""
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            name: Name = connection.recv()
        except (OSError, EOFError, AuthenticationError):
            connection.close()
            return  # it was no replica, or one that died on the way in
        replica = self._replicas[name[0]]
        with self._lock:
            if self._closing.is_set() or name != replica.name:
                connection.close()  # another one has its place by now
                return
            replica.connection, replica.reader = connection, threading.current_thread()
            replica.send(self._job)
        self._read(replica, connection)

    def _read(self, replica: _Replica, connection: Connection) -> None:
        """Take what a replica sends, until it is gone."""
        while True:
            try:
                message = connection.recv()
            except (OSError, EOFError, pickle.UnpicklingError):
                return
            with self._lock:
                if isinstance(message, Answer):
                    self._take(replica, message)
                elif isinstance(message, Ready):
                    self._admit_more(replica)
                elif isinstance(message, Failed):
                    self._take_error(replica, message)

    def _take(self, replica: _Replica, message: Answer) -> None:
        """An answer. One that came before, or that nobody wants any more, is left out."""
        replica.deaths = 0
        part = replica.parts.get(message.run)
        if part is None or message.answer.request_id not in part.left:
            return
        replica.load -= part.left.pop(message.answer.request_id)
        part.call.came.put(message.answer)
        if not part.left:
            del replica.parts[message.run]
        self._hand_out()

    def _admit_more(self, replica: _Replica) -> None:
        """A replica is ready: it may answer, and those that waited for it may start."""
        replica.is_ready = True
        for other in self._replicas:
            if other.process is None:
                self._start(other)
        self._hand_out()
        self._lock.notify_all()

    def _take_error(self, replica: _Replica, message: Failed) -> None:
        """An error of an engine ends the calls that it was asked for, or all if it never opened."""
        error = pickle.loads(message.error)
        if not hasattr(error, "exit_code"):  # nothing that the user can mend by its message alone
            self._keeps_logs = True
            assert replica.process is not None
            error.add_note(
                f"in replica {replica.number} on {replica.place}, log {replica.process.log}:\n{message.told}"
            )
        if not replica.is_ready:
            self._fail(error)
            return
        # Where no run is named, nobody knows whose it was. Where none is there, nobody wants it.
        parts = [part for number, part in replica.parts.items() if not message.runs or number in message.runs]
        for call in {part.call for part in parts}:
            call.came.put(error)
            self._forget(call)

    def _watch(self) -> None:
        """See which processes died or were stopped."""
        while not self._closing.wait(TICK_S):
            for replica in self._replicas:
                if replica.process is not None:
                    replica.process.look()
                    if replica.process.has_ended() and not self._closing.is_set():
                        self._bury(replica, replica.process)

    def _bury(self, replica: _Replica, process: Started) -> None:
        """A process is dead: take its last answers, and start another one."""
        process.kill()  # what it had started
        if replica.connection is not None:
            _hang_up(replica.connection)
        if replica.reader is not None:
            replica.reader.join()
        with self._lock:
            if self._closing.is_set() or self._error is not None:
                return
            replica.deaths += 1
            # A node that was taken away after some answers is nobody's fault.
            self._num_deaths += not (process.was_taken and replica.deaths == 1)
            self._keeps_logs = True
            self._give_back(replica)
            told = f"replica {replica.number} of engine {self._job.settings.engine!r} on {replica.place} died"
            if replica.deaths >= MOST_DEATHS_IN_A_ROW or self._num_deaths >= MOST_DEATHS:
                self._fail(JobError(self._end_of(replica, told, process)))
                return
            print(
                f"{told} and is started again, what it had not answered is asked again; {process.ending()}",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            self._start(replica)
            self._hand_out()

    def _end_of(self, replica: _Replica, told: str, process: Started) -> str:
        often = (
            f"{replica.deaths} times without an answer in between"
            if replica.deaths >= MOST_DEATHS_IN_A_ROW
            else f"and all replicas together died {self._num_deaths} times"
        )
        return f"{told} {often}; the last time {process.ending()}\nAll answers are kept: mend the cause and run again"


def _takes(replica: _Replica, part: Part, most: int) -> bool:
    """Whether a replica may get one more run. It may always get a first one."""
    if not replica.parts:
        return True
    return not part.is_whole and replica.load + part.num_prompts <= most


def _hang_up(connection: Connection) -> None:
    """End a connection, also where a process that nobody knows of has inherited its other end."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as other:
        other.shutdown(socket.SHUT_RDWR)
