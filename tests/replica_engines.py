"""Engines that replicas open in tests: they answer at once, and do as the prompts say.

The model is a folder. There `asked` gets a line for each request, as it is read: the process, and
the id. `opened` gets one for each engine.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from builders.engines import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request
from builders.engines.messages import Job
from builders.engines.places import Place
from builders.engines.settings import LocalSettings, TransformersSettings, VllmSettings
from builders.engines.types import EngineDiedError
from store.errors import InputError

IN_FLIGHT = 8
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


class UnpicklableError(Exception):
    """An error that the coordinator cannot be given."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")
        self.file = open(os.devnull)  # noqa: SIM115, it is what cannot be pickled


def job(folder: Path, settings: LocalSettings | None = None, opens: str = "open_scripted", **fields) -> Job:
    """A job for an engine of this module."""
    folder.mkdir(exist_ok=True, parents=True)
    return Job(settings or VllmSettings(), str(folder), {}, opens=f"tests.replica_engines:{opens}", **fields)


def open_scripted(settings, model, adapters, revision, template_arguments) -> Engine:
    return Scripted(settings, Path(model))


def open_never(settings, model, adapters, revision, template_arguments) -> Engine:
    raise InputError("there is no such model: name another one")


def open_slowly(settings, model, adapters, revision, template_arguments) -> Engine:
    time.sleep(600)
    raise AssertionError("somebody waited")


def open_dead(settings, model, adapters, revision, template_arguments) -> Engine:
    print("no memory is left on this GPU", file=sys.stderr, flush=True)
    os._exit(7)


def open_noted_vllm(settings, model, adapters, revision, template_arguments) -> Engine:
    """A real vLLM, and a note of each request that it reads."""
    from builders.engines.vllm import VllmEngine

    engine = VllmEngine(settings, model, adapters, revision, template_arguments)
    generate = engine.generate

    def noted(requests: Iterable[Request | None]) -> Iterator[Request | None]:
        for request in requests:
            if request is not None:
                note(Path(model, "asked"), f"{os.getpid()} {request.request_id}")
            yield request

    engine.generate = lambda requests: generate(noted(requests))
    return engine


class Scripted(Engine):
    """It keeps a few requests under way and answers the last one first, as real engines do."""

    def __init__(self, settings: LocalSettings, folder: Path) -> None:
        self._folder, self._settings = folder, settings
        if (folder / "opened").exists() and (folder / "is_slow").exists():
            time.sleep(1.0)
        note(folder / "opened", f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
        is_second = len(notes(folder / "opened")) == 2
        self._slowness = 4.0 if is_second and (folder / "second_is_slow").exists() else 1.0
        self._child = None
        if (folder / "has_child").exists():
            self._child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
            assert self._child.stdout is not None
            self._child.stdout.readline()
            note(folder / "opened", f"{self._child.pid} child")

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Completion]:
        held: list[Request] = []
        calls = 0
        for request in requests:
            if request is None:
                assert held, "the stream has nothing, and nothing is under way"
                yield self._answer(held.pop())
                continue
            calls += 1
            note(self._folder / "asked", f"{os.getpid()} {request.request_id}")
            held.append(request)
            if len(held) == IN_FLIGHT:
                yield self._answer(held.pop())
        while held:
            yield self._answer(held.pop())

    def choose(self, requests: Iterable[ChoiceRequest | None]) -> Iterator[ChoiceCompletion]:
        for request in requests:
            if request is not None:
                note(self._folder / "asked", f"{os.getpid()} {request.request_id}")
                yield ChoiceCompletion(request.request_id, ((0.5, 0.5),) * len(request.questions), 2, "stop")

    def close(self) -> None:
        note(self._folder / "closed", str(os.getpid()))

    def _answer(self, request: Request) -> Completion:
        prompt = str(request.prompt)
        self._act(*prompt.split())
        return Completion(request.request_id, prompt, "stop", 1, 1, 0.0)

    def _act(self, word: str, *rest: str) -> None:
        if word == "sleep":
            time.sleep(float(rest[0]) * self._slowness)
        elif word in ("kill", "stop") and self._is_first(rest):
            os.kill(os.getpid(), signal.SIGKILL if word == "kill" else signal.SIGSTOP)
        elif word == "work":
            for _ in range(int(rest[0])):  # longer than an engine may be silent
                time.sleep(0.1)
                self.steps += 1
        elif word in ("hang", "hang-alone") and self._is_first(rest):
            time.sleep(600) if word == "hang" else re.match("(a+)+$", "a" * 60 + "b")
        elif word == "always-hang":
            time.sleep(600)
        elif word == "always-kill":
            print("the last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "core-died":
            if self._is_first(rest):
                raise EngineDiedError("a process of it died")
        elif word == "refuse":
            raise InputError("this request cannot be: write another one")
        elif word == "odd":
            raise UnpicklableError("one", "two")

    def _is_first(self, name: tuple[str, ...]) -> bool:
        """Whether nobody has done this before, in any process."""
        path = self._folder / ("did-" + "-".join(name))
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def note(path: Path, line: str) -> None:
    with open(path, "a") as file:
        file.write(line + "\n")


def notes(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(is_so, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


TWO = [Place(), Place()]
WHOLE = TransformersSettings(micro_batch=1, num_threads=1)
