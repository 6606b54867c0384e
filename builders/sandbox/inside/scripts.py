"""Inside a box: a solution that is a program. It runs anew, as `__main__`, for each input.

In: what runs first, the program's pieces, and a frame with all inputs. Out: for each input, in
order, how the run ended and what it printed. Each run is a forked child, which ends as Python does,
with its threads and exit functions. All its descendants and the files that it has left end with it.
What it prints is the answer, so more than MAX_PRINTED bytes are an error; of its standard error the
end is kept.

`SystemExit` is an end like any other, whatever its code, as for LiveCodeBench's judge: a program
that has printed its answer often leaves so. Another exception, a signal, and `os._exit` with
another code than 0 are errors: after those nobody knows whether all was printed.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from builders.sandbox.inside import codec, isolation, pieces
from builders.sandbox.inside.wire import Wire

_ANSWER = struct.Struct("<IIBd")
_PIPE_BYTES = 1 << 15
MAX_PRINTED = 1 << 24
_ERRORS_KEPT = 1 << 16


def serve(solution: Sequence[str], wire: Wire, fds: dict[str, int]) -> None:
    """Answer frames of inputs until the checker is done. Gone is raised then."""
    while True:
        codec.decode(wire.receive())
        content = wire.receive()
        isolation.set_dumpable(False)
        place = 0
        while place < len(content):
            length = int.from_bytes(content[place : place + 4], "little")
            state, printed, message, seconds = _run(solution, content[place + 4 : place + 4 + length], fds)
            place += 4 + length
            wire.send_raw(_ANSWER.pack(len(printed), len(message), state, seconds) + printed + message)


def _run(solution: Sequence[str], given: bytes, fds: dict[str, int]) -> tuple[int, bytes, bytes, float]:
    """One run: 0 or 1 for an end without or with an error, standard output, the last line of
    standard error, seconds.
    """
    stdin = _as_file(given)
    (out, out_w), (err, err_w) = os.pipe(), os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        _become(solution, (stdin, out_w, err_w), fds)
    for fd in (stdin, out_w, err_w):
        os.close(fd)
    code, printed, errors = _watched(child, out, err)
    seconds = time.perf_counter() - started
    for folder in ("/tmp", "/dev/shm"):
        _empty(folder)
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    message = (lines[-1] if lines else f"exit code {code}") if code else ""
    return int(code != 0), printed, message[:2000].encode(), seconds


def _as_file(given: bytes) -> int:
    """A descriptor to read the input from: a pipe that holds it already, or a file without name."""
    if len(given) <= _PIPE_BYTES:
        read, write = os.pipe()
        os.write(write, given)
        os.close(write)
        return read
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(given)
        file.seek(0)
        return os.dup(file.fileno())


def _become(solution: Sequence[str], streams: tuple[int, ...], fds: dict[str, int]) -> None:
    code = 1
    leave = os._exit
    try:
        for place, fd in enumerate(streams):
            os.dup2(fd, place)
        os.closerange(3, isolation.MOST_FDS)
        isolation.set_dumpable(True)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  open as long as the program runs
        code = _main(solution)
    finally:
        leave(code)


def _main(solution: Sequence[str]) -> int:
    scope = pieces.module("__main__")
    try:
        pieces.load(solution, pieces.names_of(solution, "solution"), scope)
        code = 0
    except SystemExit:
        code = 0
    except BaseException as error:  # whatever the program raises is its result
        pieces.show(error, skipped=2)
        code = 1
    pieces.finish()
    scope.clear()  # so that files that it has left open are written
    return code


def _watched(child: int, out: int, err: int) -> tuple[int, bytes, bytes]:
    """The exit code, and both streams. All that the run has left is killed."""
    texts: dict[int, Any] = {out: bytearray(), err: bytearray()}
    poll = select.poll()
    ended = os.pidfd_open(child)
    for fd in (out, err, ended):
        poll.register(fd, select.POLLIN)
    is_flood = is_over = False
    while not is_over and not is_flood:
        for fd, _ in poll.poll():
            if fd == ended:
                is_over = True
                continue
            _take(fd, texts[fd], poll)
            is_flood = len(texts[out]) > MAX_PRINTED
            del texts[err][:-_ERRORS_KEPT]
    os.kill(-1, signal.SIGKILL)  # this process is the first of its namespace, so it lives on
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _reap()
    # Nobody is left who could write. But the pipes need not have ended: their other ends may lie in
    # messages that nobody takes.
    poll.unregister(ended)
    while ready := poll.poll(0):
        for fd, _ in ready:
            _take(fd, texts[fd], poll)
    for fd in (out, err, ended):
        os.close(fd)
    return (1 if is_flood else code), bytes(texts[out]), b"too much output" if is_flood else bytes(texts[err])


def _take(fd: int, text: bytearray, poll: select.poll) -> None:
    """Read what has arrived, and look at the pipe no longer once it has ended."""
    chunk = os.read(fd, 1 << 16)
    text += chunk
    if not chunk:
        poll.unregister(fd)


def _empty(folder: str) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def _reap() -> None:
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass
