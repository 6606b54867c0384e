"""One engine behind which replicas answer, each a process of its own on its own GPU or GPUs.

In: a job (the settings of a local engine, a model and adapters) and places. Out: an engine. Whoever
asks it keeps one journal in one process, as with every other engine.

    job = Job(VllmSettings(), "recipes/tiny-base", {})
    with PooledEngine(job, [Place("0"), Place("1")]) as engine:
        ...

- Each replica has enough prompts that its engine is never idle. They go there in runs of neighbours
  and come back one by one (`dispatch.py`).
- A replica that dies is started again, and what it had not answered is asked again. The same goes
  for one that was stopped, and for one that hangs: its engine is asked, and makes no step. If
  replicas go on so, the run ends with what the last one wrote.
- An error that an engine raises is raised here, after the answers that came before it.
- An engine whose bits depend on what is asked together gets whole runs, of always the same
  requests. Then several calls may be under way at once, in threads.

Three kinds of threads do the work: one lets replicas in (`reception.py`), one reads from each
replica, and one watches the processes. They share one lock.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, Listener
from typing import Any, cast

from builders.engines.deaths import Deaths
from builders.engines.dispatch import PROMPTS_AT_A_REPLICA, Dispatch
from builders.engines.gate import StoppedError
from builders.engines.grounds import Ground, Here, Started
from builders.engines.members import Member
from builders.engines.messages import Answer, Close, Failed, Job, Kind, Name, Ready, Returned, Told
from builders.engines.places import Place
from builders.engines.reception import Reception
from builders.engines.replica_process import TICK_S
from builders.engines.runs import RUN, Call, Part, even_runs, whole_runs
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request
from store.errors import JobError

CLOSE_S = 20.0
"""Seconds that an idle replica has to end by itself."""


class PooledEngine(Engine):
    """See the module."""

    def __init__(
        self, job: Job, places: Sequence[Place], *, starts_alone: bool = False, ground: Ground | None = None
    ) -> None:
        """Start the replicas, and wait for the first one. Its errors are raised.

        With `starts_alone`, the others start after it, and find what it compiled. `ground` is where
        they run, on this machine without it. The engine closes it.
        """
        self._job, self._lock = job, threading.Condition()
        self._calls: set[Call] = set()
        self._error: BaseException | None = None
        self._deaths, self._keeps_logs = Deaths(job.settings.engine), False
        self._closing = threading.Event()
        self._members = [Member(number, place) for number, place in enumerate(places)]
        self._dispatch = Dispatch(self._members)
        self._key = os.urandom(32)
        self._ground = ground or Here()
        self.folder = self._ground.folder
        listener = Listener(self._ground.listens_at, backlog=2 * len(places) + 8)
        self._address = self._ground.address_of(listener)
        self._reception = Reception(listener, self._key, self._welcome)
        self._watching = threading.Thread(target=self._watch, daemon=True)
        try:
            with self._lock:
                for member in self._members[: 1 if starts_alone else None]:
                    self._start(member)
            self._reception.open()
            self._watching.start()
            with self._lock:
                self._lock.wait_for(lambda: self._error or any(member.is_ready for member in self._members))
            if self._error is not None:
                raise self._error
        except BaseException:
            self.close()
            raise

    # -- what a caller sees ------------------------------------------------------------------------

    def wait_for_all(self) -> None:
        """Return when all replicas are there. The first one is, as soon as the engine is open."""
        with self._lock:
            self._lock.wait_for(lambda: self._error or all(member.is_ready for member in self._members))
            if self._error is not None:
                raise self._error

    @property
    def sessions(self) -> list[int]:
        """The processes of the replicas on this machine now.

        Each leads a session of all that it started.
        """
        return [m.process.pid for m in self._members if m.process is not None and m.process.pid is not None]

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        is_whole = not self._job.settings.is_journalled
        if is_whole:
            runs = whole_runs(requests, self._job.settings.rows_per_shard)
        else:
            runs = even_runs(requests, RUN["generate"], len(self._members))
        return cast(Iterator[Completion], self._asked("generate", runs, is_whole))

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        runs = even_runs(requests, RUN["choose"], len(self._members))
        return cast(Iterator[ChoiceCompletion], self._asked("choose", runs, not self._job.settings.is_journalled))

    def close(self) -> None:
        """End all replicas. An idle one ends by itself, the others are killed."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            self._fail(StoppedError("the engine was closed"))
            idle = [member for member in self._members if member.is_ready and not member.parts]
            for member in idle:
                member.send(Close())
        for member in self._members:
            if member.process is not None and member not in idle:
                member.process.kill()
        self._reception.close()
        if self._watching.is_alive():
            self._watching.join()
        for member in self._members:
            if member.process is not None:
                member.process.wait(CLOSE_S if member in idle else 0)
                member.process.kill()
            member.hang_up()
        self._ground.close(keeps_logs=self._keeps_logs)

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
                while not is_over and call.num_open_prompts < len(self._members) * PROMPTS_AT_A_REPLICA:
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
                self._calls.discard(call)
                self._dispatch.forget(call)

    def _add(self, call: Call, run: list[Any], is_whole: bool) -> bool:
        """Hand out a run of a call; False if it is empty, as the stream is over."""
        if not run:
            return False
        call.begin(run)
        with self._lock:
            if call in self._calls:  # else its error is on the way
                self._dispatch.add(Part(call, run, is_whole))
        return True

    # -- with the lock held ------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        """End all calls with an error, after the answers that came before it."""
        self._error = self._error or error
        for call in self._calls:
            call.came.put(self._error)
        self._lock.notify_all()

    def _start(self, member: Member) -> None:
        if not self._closing.is_set():
            member.begin_anew()
            member.process = self._ground.start(member.name, member.place, self._address, self._key)

    # -- what a replica says: a thread of each -----------------------------------------------------

    def _welcome(self, name: Name, connection: Connection) -> None:
        """Give a replica its job, and read what it sends. If that fails, all calls do."""
        try:
            member = self._members[name[0]]
            with self._lock:
                if self._closing.is_set() or name != member.name:
                    connection.close()  # another one has its place by now
                    return
                member.connection, member.reader = connection, threading.current_thread()
                member.heard()
                member.send(self._job)
            self._read(member, connection)
        except BaseException as error:
            with self._lock:
                self._fail(error)

    def _read(self, member: Member, connection: Connection) -> None:
        """Take what a replica sends, until it is gone."""
        while True:
            try:
                message: Told = connection.recv()
            except (OSError, EOFError, pickle.UnpicklingError):
                return
            with self._lock:
                member.heard()
                if isinstance(message, Answer):
                    self._take(member, message)
                elif isinstance(message, Ready):
                    self._admit_more(member)
                elif isinstance(message, Returned):
                    self._dispatch.returned(member, message.runs)
                elif isinstance(message, Failed):
                    self._take_error(member, message)

    def _take(self, member: Member, message: Answer) -> None:
        """An answer. One that came before, or that nobody wants any more, is left out."""
        member.deaths = 0
        if (part := member.answered(message.run, message.answer.request_id)) is not None:
            part.call.came.put(message.answer)
            self._dispatch.hand_out()

    def _admit_more(self, member: Member) -> None:
        """A replica is ready: it may answer, and those that waited for it may start."""
        member.is_ready = True
        for other in self._members:
            if other.process is None:
                self._start(other)
        self._dispatch.hand_out()
        self._lock.notify_all()

    def _take_error(self, member: Member, message: Failed) -> None:
        """An error of an engine ends the calls that it was asked for, or all if it never opened."""
        error = pickle.loads(message.error)
        if not hasattr(error, "exit_code"):  # nothing that the user can mend by its message alone
            self._keeps_logs = True
            assert member.process is not None
            error.add_note(f"in replica {member.number} on {member.place}, log {member.process.log}:\n{message.told}")
        if not member.is_ready:
            self._fail(error)
            return
        # Where no run is named, nobody knows whose it was. Where none is there, nobody wants it.
        parts = [part for number, part in member.parts.items() if not message.runs or number in message.runs]
        for call in {part.call for part in parts}:
            call.came.put(error)
            self._calls.discard(call)
            self._dispatch.forget(call)

    # -- who dies: a thread for all ----------------------------------------------------------------

    def _watch(self) -> None:
        """See which processes died, were stopped or hang. If that fails, all calls do."""
        try:
            while not self._closing.wait(TICK_S):
                for member in self._members:
                    if member.process is not None:
                        self._look(member, member.process)
        except BaseException as error:
            with self._lock:
                self._fail(error)

    def _look(self, member: Member, process: Started) -> None:
        process.look()
        with self._lock:
            is_new = member.hung is None
            member.hung = member.hung or member.hangs(self._job, TICK_S)
        if member.hung and is_new:
            process.kill()
        if process.has_ended() and not self._closing.is_set():
            self._bury(member, process)

    def _bury(self, member: Member, process: Started) -> None:
        """A process is dead: take its last answers, and start another one."""
        process.kill()  # what it had started
        member.hang_up()
        if member.reader is not None:
            member.reader.join()
        with self._lock:
            if self._closing.is_set() or self._error is not None:
                return
            self._keeps_logs = True
            try:
                told = self._deaths.count(member, process, self._dispatch.give_back(member))
            except JobError as error:
                self._fail(error)
                return
            print(told, file=sys.stderr, flush=True)
            self._start(member)
            self._dispatch.hand_out()
