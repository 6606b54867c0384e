"""What runs inside the sandbox: many functions are tried on the recorded calls of many tasks.

`builders/decontamination/execution/oracle.py` sends this text, with a line below it that calls
`main(request)`. In: a request as JSON text. Out: JSON lines on standard output.

    {"mode": "record", "tasks": [{"parts", "entry_point", "tests"}], "panel", "seconds"}
        runs each task's own solution through its tests and answers {"index", "passed", "seconds",
        "calls": [[arguments, answer]], "trivial": the function of the panel that gives the same
        answers, or null}; arguments and answers are Python literals
    {"mode": "screen", "tasks": [{"arity", "calls"}], "items": [{"code", "functions"}], "seconds",
     "call_seconds"}
        answers {"item", "function", "task"} for each function that gives a task's recorded answers.
        Order, number type and kind of sequence do not count. It answers {"item", "gave_up"} for
        what was not tried to the end

How: each task or item has a forked child of its own. One that exits, hangs or fills the memory
harms only itself.

The answers are suggestions, because an item could write such lines itself. So
`builders/decontamination/execution/__init__.py` runs the tests again, one program per pair.
"""

import ast
import functools
import json
import mmap
import os
import pickle
import select
import signal
import struct
import sys
import time
import typing

MAX_CALLS = 200
"""The most calls that are recorded of one task."""
MAX_LITERAL = 20000
"""Characters of a call's arguments or answer. Longer ones are not recorded."""
MAX_RESTARTS = 3
ADDRESS_SPACE = 512 * 1024 * 1024


class Late(BaseException):
    """A call took too long. It is no Exception, so the function under test seldom catches it."""


def main(text):
    """Answer one request."""
    request = json.loads(text)
    signal.signal(signal.SIGALRM, raise_late)
    if request["mode"] == "record":
        for index, task in enumerate(request["tasks"]):
            answer = lines_of(lambda send, task=task: record(task, request["panel"], send), request["seconds"])
            emit({"index": index, **(answer[-1] if answer else {"passed": False, "seconds": request["seconds"]})})
        return
    tasks = [Loaded(task) for task in request["tasks"]]
    for index, item in enumerate(request["items"]):
        screen_item(index, item, tasks, request)


def raise_late(signum, frame):
    """The handler of the alarm."""
    raise Late


def emit(answer):
    """One line of output."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def lines_of(work, seconds):
    """What `work(send)` sends from a forked child within the time, as parsed lines.

    The child's own output is dropped.
    """
    out, into = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(out)
        run_quietly(work, into)
    os.close(into)
    content = read_until(out, time.monotonic() + seconds)
    os.close(out)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return [json.loads(line) for line in content.split(b"\n")[:-1] if line.startswith(b"{")]


def run_quietly(work, into):
    """The child: only what is sent is output, memory is limited, and it ends whatever happens."""
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        write = os.write
        work(lambda answer: write(into, json.dumps(answer).encode() + b"\n"))
    except BaseException:
        pass
    finally:
        os._exit(0)


def read_until(fd, deadline):
    """All bytes up to the end of the stream or the deadline."""
    content = b""
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(fd, 1 << 16) if ready else b""
        if not chunk:
            return content
        content += chunk


# -- recording -------------------------------------------------------------------------------------


def record(task, panel, send):
    """Run the solution through the tests with its calls written down."""
    scope = {"__name__": "solution"}
    sys.modules["solution"] = sys.modules["__main__"]
    started = time.monotonic()
    for position, part in enumerate(task["parts"]):
        exec(compile(part, f"part_{position}", "exec"), scope)
    calls: list = []
    bind(scope, task["entry_point"], recorder(eval(task["entry_point"], scope), calls))
    exec(compile(task["tests"], "tests", "exec"), scope)
    seconds = time.monotonic() - started
    distinct = list(dict(calls).items())
    send({"passed": True, "seconds": seconds, "calls": distinct, "trivial": trivial(panel, distinct)})


def recorder(function, calls):
    """The function, which now writes down its outermost calls and their answers as literals."""
    depth = [0]

    def recorded(*arguments, **named):
        arguments = (*arguments, *named.values())
        before = literal(list(arguments)) if depth[0] == 0 and len(calls) < MAX_CALLS else None
        depth[0] += 1
        try:
            answer = function(*arguments)
        finally:
            depth[0] -= 1
        after = literal(answer) if before is not None else None
        if after is not None:
            calls.append((before, after))
        return answer

    return recorded


def literal(value):
    """The text of a value that reads back as the same value; None if there is none."""
    text = repr(value)
    if len(text) > MAX_LITERAL:
        return None
    try:
        return text if ast.literal_eval(text) == value else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def bind(scope, entry_point, function):
    """Make the expression `entry_point` mean the function."""
    name, _, method = entry_point.partition("().")
    scope[name] = type(name, (), {method: staticmethod(function)}) if method else function


def trivial(panel, calls):
    """The first expression of the panel that gives all recorded answers."""
    known = [(ast.literal_eval(arguments), normal(ast.literal_eval(answer))) for arguments, answer in calls]
    for expression in panel:
        function = eval(expression, {})
        if known and all(gives(function, pickle.dumps(arguments), answer, 0.5) for arguments, answer in known):
            return expression
    return None


# -- screening -------------------------------------------------------------------------------------


class Loaded:
    """The recorded calls of a task, ready to be tried.

    Functions change their arguments, so these are unpickled again for each call.
    """

    def __init__(self, task):
        self.arity = task["arity"]
        self.calls = [(pickle.dumps(ast.literal_eval(a)), normal(ast.literal_eval(b))) for a, b in task["calls"]]


def normal(value):
    """The value without order, kind of sequence and type of number.

    Objects of other types are equal to nothing.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, complex)):  # a subclass could be equal to everything
        number: typing.Any = int if isinstance(value, int) else complex
        return number.__add__(value, 0)
    if isinstance(value, (str, bytes)):
        text: typing.Any = str if isinstance(value, str) else bytes
        return text.__getitem__(value, slice(None))
    if isinstance(value, float):
        value = float.__float__(value)
        return round(value, 6) if value == value and abs(value) < 1e15 else value
    if isinstance(value, (list, tuple, set, frozenset)):
        return sorted((normal(item) for item in value), key=repr)
    if isinstance(value, dict):
        return {normal(key) if isinstance(key, (int, float, str)) else key: normal(item) for key, item in value.items()}
    raise TypeError(type(value))


def gives(function, arguments, expected, seconds):
    """Whether the function answers as expected within the time."""
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
    try:
        return bool(normal(function(*pickle.loads(arguments))) == expected)
    except Late:
        raise
    except BaseException:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def screen_item(index, item, tasks, request):
    """Try the functions of one item.

    A child that hangs outside of Python is ended, and the next child goes on behind its pair.
    """
    place = mmap.mmap(-1, 8)
    place[:] = struct.pack("q", -1)
    deadline = time.monotonic() + request["seconds"]
    work = functools.partial(screen, item, tasks, place, request["call_seconds"])
    for _ in range(MAX_RESTARTS + 1):
        answers = lines_of(work, max(0.0, deadline - time.monotonic()))
        for answer in answers:
            if "function" in answer or answer.get("gave_up"):
                emit({"item": index, **answer})
        if any("done" in answer for answer in answers):
            return
        if time.monotonic() >= deadline:
            break
    emit({"item": index, "gave_up": 1})


def screen(item, tasks, place, call_seconds, send):
    """Send the pairs of function and task that agree, from the pair behind `place` on."""
    scope = {"__name__": "solution"}
    sys.modules["solution"] = sys.modules["__main__"]
    start = struct.unpack("q", place[:])[0] + 1
    signal.setitimer(signal.ITIMER_REAL, 2.0, 0.05)
    try:
        exec(compile(item["code"], "item", "exec"), scope)
    except BaseException:
        send({"done": 1, "gave_up": 1})
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    gave_up = 0
    for number, (expression, least, most) in enumerate(item["functions"]):
        try:
            function, late = eval(expression, scope), 0
        except BaseException:
            continue
        for position in range(max(0, start - number * len(tasks)), len(tasks)):
            task = tasks[position]
            if task.arity < least or task.arity > most:
                continue
            place[:] = struct.pack("q", number * len(tasks) + position)
            try:
                if all(gives(function, arguments, answer, call_seconds) for arguments, answer in task.calls):
                    send({"function": number, "task": position})
            except Late:
                late += 1
                if late >= 20:
                    gave_up += 1
                    break
    send({"done": 1, "gave_up": gave_up})
