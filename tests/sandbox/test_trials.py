"""Trials: a solution and its tests in two processes, and what the tests see of the solution."""

from __future__ import annotations

import sys
import threading

import pytest

from builders import sandbox
from builders.sandbox import SandboxLimits, SandboxResult, Trial, run_many

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")


@pytest.fixture(scope="module")
def box():
    from builders.sandbox.box import Box

    with Box() as box:
        yield box


def ended(box, solution: str, tests: str, limits: SandboxLimits | None = None, **more) -> SandboxResult:
    trial = Trial((solution,), (tests,), **{"entry_point": "f", **more})
    return box.run(sandbox.job_of(trial), limits or SandboxLimits(wall_s=5))


def last_line(result: SandboxResult) -> str:
    return result.stderr.rstrip().rpartition("\n")[2]


# -- what the tests see ----------------------------------------------------------------------------

SHAPES = """
import collections, enum
LIMIT = [1, 2]
class Wrong(ValueError): pass
class Stack:
    size = 7
    def __init__(self, *items): self.items = list(items)
    def push(self, item): self.items.append(item); return self
    def __len__(self): return len(self.items)
    def __getitem__(self, n): return self.items[n]
    def __contains__(self, item): return item in self.items
    def __iter__(self): return iter(self.items)
    def __str__(self): return 'Stack' + str(self.items)
    @staticmethod
    def made(*items): return Stack(*items)
def fails(x): raise Wrong('no', x)
def numbers(n):
    for i in range(n): yield i
def apply(function, *values): return [function(v) for v in values]
def total(values): return sum(values)
def same(x): return x
def squares(d): return {k: v * v for k, v in d.items()}
def attribute(thing): return thing.name + thing.method(2)
async def later(): return 1
"""


@pytest.mark.parametrize(
    "tests",
    [
        "s = Stack(1)\nassert len(s.push(2)) == 2 and s[1] == 2 and list(s) == [1, 2] and 2 in s and 5 not in s",
        "s = Stack.made(3)\nassert s.items == [3] and str(s) == 'Stack[3]' and s.size == 7",
        "s = Stack()\ns.items = [4]\nassert list(s) == [4] and list(s) == [4]",
        "assert LIMIT == [1, 2] and type(LIMIT) is list",
        "assert list(numbers(3)) == [0, 1, 2] and next(numbers(1)) == 0 and next(numbers(0), 'end') == 'end'",
        "assert apply(lambda v: v + 1, 1, 2) == [2, 3] and apply(abs, -1) == [1]",
        "assert total(iter([1, 2])) == 3 and total(v for v in (1, 2)) == 3 and total({1: 0}) == 1",
        "try:\n    fails(3)\nexcept Wrong as error:\n    assert error.args == ('no', 3) and isinstance(error, ValueError)\nelse:\n    raise KeyError",
        "import unittest\nwith unittest.TestCase().assertRaises(ValueError): fails(3)",
        "try:\n    apply(len, 1)\nexcept TypeError as error:\n    assert 'has no len' in str(error)\nelse:\n    raise KeyError",
        "x = [1]\nassert same(x) == x and same(Stack) and same({1, (2,)}) == {1, (2,)}",
        "a = same(Stack(1))\nassert a == a and a != Stack(1) and same(a) is a",
        "assert squares(d={'a': 2}) == {'a': 4}",
        "class Thing:\n    name = 'a'\n    def method(self, n): return 'b' * n\nassert attribute(Thing()) == 'abb'",
        "def total(values): return 5\nassert total([1]) == 5",
        "assert numbers.__name__ == 'numbers' and callable(Stack)",
        "assert __name__ == 'tests'\nimport tests\nassert LIMIT is tests.LIMIT",
    ],
)
def test_the_tests_see_the_solution(box, tests):
    result = ended(box, SHAPES, tests, entry_point=None)
    assert (result.status, result.stderr) == ("passed", "")


def test_the_tests_own_objects_are_shown_with_care(box):
    peek = """
def f(thing):
    found = []
    for name in ('_secret', '__class__', '__init__', 'gi_frame', 'shown'):
        try:
            found.append(thing._ask(('back get', thing._number, name)))
        except AttributeError:
            pass
    return found
"""
    hidden = (
        "class Thing:\n    _secret = 5\n    shown = 6\n"
        "assert f(Thing()) == [6] and f(v for v in [1]) == [] and f(len) == []"
    )
    result = ended(box, peek, hidden)
    assert (result.status, result.stderr) == ("passed", "")


def test_a_solution_sees_nothing_that_the_tests_define(box):
    look = "import sys, __main__\ndef f(): return ['SECRET' in vars(m) for m in (sys.modules['__main__'], __main__)], __name__"
    tests = "SECRET = 1\nassert f() == ([False, False], 'solution')"
    assert ended(box, look, tests).status == "passed"


def test_the_prelude_is_on_both_sides_and_its_instances_travel(box):
    prelude = "from typing import *\nclass Node:\n    def __init__(self, v, next=None):\n        self.v, self.next = v, next\n"
    solution = "class Solution:\n    def reversed(self, n: Optional[Node]):\n        last = None\n        while n: n.next, last, n = last, n, n.next\n        return last\n"
    tests = (
        "def check(candidate):\n    made = candidate(n=Node(1, Node(2)))\n"
        "    assert type(made) is Node and (made.v, made.next.v, made.next.next) == (2, 1, None)\n"
        "check(Solution().reversed)"
    )
    result = ended(box, solution, tests, prelude=prelude, entry_point="Solution().reversed")
    assert (result.status, result.stderr) == ("passed", "")


def test_a_helper_in_the_prelude_is_the_tests_own(box):
    hostile = "def close(a, b): return True\ndef f(): return 0"
    prelude = "def close(a, b): return a == b"
    assert ended(box, hostile, "assert close(f(), 5)", prelude=prelude).status == "failed"


ODD = """
import weakref
class Raises(type):
    def __getattribute__(kind, name): raise KeyError(name)
    def __instancecheck__(kind, value): raise KeyError
class Thing: __class__ = property(lambda self: 1 / 0)
class Odd(metaclass=Raises): pass
class Wrong(Exception, metaclass=Raises): pass
gone = weakref.proxy(Thing())
thing, odd = Thing(), Odd()
def f(n):
    if n == 3: raise Wrong
    return (n, gone, thing, odd)[n]
"""


def test_values_that_raise_when_they_are_looked_at_do_no_harm(box):
    tests = (
        "import trial\nfound = [s for s, _, _ in trial.answers([trial.encode((n,)) for n in range(4)], [1] * 4)]\n"
        "assert found == ['value', 'value', 'value', 'raised'], found\nassert f(0) == 0\n"
        "for n in (1, 2, 3):\n    try: assert f(n) != n\n    except Exception: pass\nassert f(0) == 0"
    )
    for result in (ended(box, ODD, tests), ended(box, ODD, "assert f(0) == 0", prelude=ODD)):
        assert (result.status, result.stderr) == ("passed", "")


# -- how a trial ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solution", "tests", "status", "line"),
    [
        ("def f(): return 1", "assert f() == 1", "passed", ""),
        ("def f(): return 1", "assert f() == 2, 'a reason'", "failed", "AssertionError: a reason"),
        ("import nothing_here", "assert f()", "failed", "ModuleNotFoundError: No module named 'nothing_here'"),
        ("def f(:", "f()", "failed", "SyntaxError: invalid syntax"),
        ("x = 1", "f()", "failed", "NameError: name 'f' is not defined"),
        ("def f(): raise KeyError('k')", "f()", "failed", "KeyError: 'k'"),
        ("def f(): return 1", "import sys\nsys.exit(0)", "failed", "SystemExit: 0"),
        ("import os\ndef f(): os._exit(0)", "f()", "failed", "SolutionGone: its process has ended"),
        ("def f():\n    while True: pass", "f()", "timeout", ""),
        ("while True: pass", "f()", "timeout", ""),
        ("def f(): return 1", "while True: pass", "timeout", ""),
        ("def f(): return [0] * 10**9", "f()", "memory", "MemoryError"),
        ("x = [0] * 10**9", "f()", "memory", "MemoryError"),
        ("def f(): return 1", "x = [0] * 10**9", "memory", "MemoryError"),
        ("def f():\n    while True: print('x' * 9999)", "f()", "timeout", ""),
    ],
)
def test_a_trial_ends_as(box, solution, tests, status, line):
    result = ended(box, solution, tests, SandboxLimits(wall_s=1, memory_mb=512))
    assert (result.status, last_line(result)) == (status, line)


def test_what_both_sides_print_is_kept(box):
    result = ended(box, "import sys\nprint('a')\ndef f(): print('b'); print('c', file=sys.stderr)", "print('d')\nf()")
    assert (result.stdout, result.stderr) == ("a\nb\nd\n", "c\n")


def test_what_a_solution_prints_decides_nothing(box):
    loud = "import sys\ndef f():\n    for _ in range(40): print('x' * 99_999); print('y' * 99_999, file=sys.stderr)\n    {}"
    for is_apart in (True, False):
        result = ended(box, loud.format("return 1"), "assert f() == 1", is_apart=is_apart)
        assert (result.status, result.output_truncated, result.stdout) == ("passed", True, "x" * 65536)
        result = ended(box, loud.format("\nf()\nnothing"), "assert f() == 1", is_apart=is_apart)
        assert last_line(result) == "NameError: name 'nothing' is not defined"


IN_FLIGHT = """
import array, socket
a, b = socket.socketpair()
for s, t in ((a, b), (b, a)):
    s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [a.fileno(), b.fileno(), 1, 2]))])
"""


def test_pipes_that_stay_open_keep_nobody_waiting(box):
    held = IN_FLIGHT + "print('x' * 50_000)\ndef f(): return 1"
    for _ in range(3):
        result = ended(box, held, "assert f() == 1", SandboxLimits(wall_s=2))
        assert (result.status, result.stdout, result.wall_s < 1) == ("passed", "x" * 50_000 + "\n", True)
    script = IN_FLIGHT + "print(input() * 20_000)"
    tests = "import trial\nassert [t for _, t, _, _ in trial.outputs('abc', [1] * 3)] == [c * 20_000 + '\\n' for c in 'abc']"
    result = ended(box, script, tests, is_script=True, entry_point=None)
    assert (result.status, result.stderr) == ("passed", "")


LATE = "import fcntl, os\nfcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)\n{}os.write(1, b'x' * 300_000)\nos._exit(0)"
IDLE = (
    "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    "os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0))\n"
    "os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0))\n"
)
"""The process that reads gets to it only when the script has ended."""


def test_what_lies_in_the_pipes_at_the_end_is_kept(box):
    tests = "import trial\nassert [len(t) for _, t, _, _ in trial.outputs('a', [30])] == [300_000]"
    result = ended(box, LATE.format(IDLE), tests, SandboxLimits(wall_s=60), is_script=True, entry_point=None)
    assert (result.status, result.stderr) == ("passed", "")
    results: list[SandboxResult] = []
    limits = SandboxLimits(output_bytes=1 << 20)
    reader = threading.Thread(target=lambda: results.append(box.run(sandbox.job_of(LATE.format("")), limits)))
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.02)  # now the reader has to wait whenever it has read something
    try:
        reader.start()
        while reader.is_alive():
            pass
    finally:
        sys.setswitchinterval(before)
    assert len(results[0].stdout) == 300_000


# -- the stack -------------------------------------------------------------------------------------

DEEP = (
    "import sys, functools\nsys.setrecursionlimit(10**6)\n@functools.lru_cache(None)\ndef f(n): return n and f(n - 1)\n"
)


def test_the_stack_is_deep(box):
    assert ended(box, DEEP, "assert f(30_000) == 0").status == "passed"
    by_sorting = (
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return n and sorted([n], key=lambda n: f(n - 1))[0]"
    )
    assert ended(box, by_sorting, "assert f(8_000) == 8_000").status == "passed"
    tests = "import trial\nassert [t for _, t, _, _ in trial.outputs(['40000'], [5])] == ['0\\n']"
    result = ended(box, DEEP + "print(f(int(input())))", tests, is_script=True, entry_point=None)
    assert (result.status, result.stderr) == ("passed", "")


def test_threads_have_small_stacks(box):
    many = (
        "import threading\ndef f():\n    all_here = threading.Barrier(9)\n"
        "    threads = [threading.Thread(target=all_here.wait) for _ in range(8)]\n"
        "    for thread in threads: thread.start()\n    all_here.wait(2)\n    return len(threads)"
    )
    result = ended(box, many, "assert f() == 8")
    assert (result.status, result.stderr) == ("passed", "")


def test_the_trial_has_its_own_time(box):
    slow = "import time\ndef f(): time.sleep(1.2)"
    assert ended(box, slow, "f()", SandboxLimits(wall_s=1)).status == "timeout"
    assert ended(box, slow, "f()", SandboxLimits(wall_s=1), wall_s=10).status == "passed"
    with pytest.raises(ValueError, match=r"Trial.wall_s is 0"):
        Trial(("",), ("",), wall_s=0)


LARGE = sandbox.codec.encode("a" * (90 << 20))
HALF = "x = bytearray(b'x') * (150 << 20)\n"
"""150 MiB, which are really there."""


def test_memory_of_the_solution_is_bounded_with_its_children(box):
    children = (
        HALF
        + "def f():\n    import os, time\n    if not os.fork(): y = bytearray(b'y') * (150 << 20)\n    time.sleep(60)"
    )
    result = ended(box, children, "f()", SandboxLimits(memory_mb=200))
    assert result.status == "memory" and result.wall_s < 5


def test_memory_of_the_tests_is_not_the_solutions(box):
    waits = "def f():\n    import time; time.sleep(0.5)"
    limits = SandboxLimits(memory_mb=200)
    assert ended(box, HALF + waits, HALF + "f()", limits).status == "passed"
    assert ended(box, HALF * 2 + waits, "f()", limits).status == "memory"
    assert ended(box, HALF + waits, "x = bytearray(2 << 30)\nf()", limits).status == "memory"


def test_a_large_answer_passes_in_little_memory(box):
    tests = (
        "import trial\n((_, payload, _),) = trial.answers([trial.encode((1,))], [9])\n"
        "assert payload == trial.data and trial.decode(payload) == 'a' * (90 << 20)"
    )
    result = ended(box, "def f(n): return 'a' * (90 << 20)", tests, SandboxLimits(memory_mb=400), data=LARGE)
    assert result.status == "passed", result
    result = ended(box, "def f(n): return 'a' * (500 << 20)", tests, SandboxLimits(memory_mb=400), data=LARGE)
    assert result.status == "memory", result


def test_inputs_do_not_count_as_the_solutions_memory(box):
    tests = (
        "import trial\ninputs = [trial.encode((n, 'a' * (12 << 20))) for n in range(20)]\n"
        "got = [trial.decode(answer) for _, answer, _ in trial.answers(inputs, [1] * 19 + [9])]\n"
        "assert got == [(n, 12 << 20) for n in range(20)]"
    )
    solution = "def f(n, text): return n, len(text)"
    assert ended(box, solution, tests, SandboxLimits(memory_mb=200)).status == "passed"


def test_data_that_lies_elsewhere_is_read_when_the_trial_runs(box):
    class Counted:
        reads = 0

        def __len__(self):
            return 9

        def __iter__(self):
            Counted.reads += 1
            yield from (b"abc", b"def", b"ghi")

    trials = [(n, Trial(("",), ("import trial\nassert trial.data == b'abcdefghi'",), data=Counted())) for n in range(3)]
    assert Counted.reads == 0
    assert [result.status for _, result in run_many(trials, 1)] == ["passed"] * 3
    assert Counted.reads == 3


# -- the module `trial` ----------------------------------------------------------------------------

ASK = """
import trial
for state, payload, seconds in trial.answers([trial.encode(v) for v in INPUTS], LIMITS):
    print(state, payload if state == 'raised' else trial.decode(payload), seconds < 1)
trial.give(b'done')
"""


def test_answers_come_in_order_with_their_state(box):
    solution = (
        "def f(a, b=0):\n    a.append(b)\n    if b == 3: raise ValueError('no\\nway')\n    return a, 1 // (2 - b)"
    )
    tests = "INPUTS = [([n], n) for n in range(5)]\nLIMITS = [1] * 5\n" + ASK
    result = ended(box, solution, tests)
    assert result.stdout.splitlines() == [
        "value ([0, 0], 0) True",
        "value ([1, 1], 1) True",
        "raised ZeroDivisionError: integer division or modulo by zero True",
        "raised ValueError: no",
        "way True",
        "value ([4, 4], -1) True",
    ]
    assert (result.status, result.given) == ("passed", b"done")


def test_many_and_large_answers_come_back(box):
    tests = (
        "import trial\nbig = list(range(20000))\ninputs = [trial.encode((n, big)) for n in range(60)]\n"
        "wanted = trial.encode\nseen = 0\nfor n, (state, payload, _) in enumerate(trial.answers(inputs, [2] * 60)):\n"
        "    assert trial.decode(payload) == [n, big]\n    seen += 1\nassert seen == 60"
    )
    assert ended(box, "def f(n, big): return [n, big]", tests, SandboxLimits(wall_s=20)).status == "passed"


@pytest.mark.parametrize(
    ("times", "limits", "status"),
    [
        ([0.0, 5.0], [0.2, 0.2], "timeout"),
        ([0.0, 1.0], [0.2, 3.0], "passed"),
        # many quick calls before a slow one with a longer limit
        ([0.0] * 300 + [1.2] + [0.0] * 3, [0.2] * 300 + [3.0] + [0.2] * 3, "passed"),
        ([0.0] * 300 + [1.2], [0.2] * 301, "timeout"),
    ],
)
def test_a_call_over_its_time_is_a_timeout(box, times, limits, status):
    tests = f"INPUTS = [(t,) for t in {times}]\nLIMITS = {limits}\n" + ASK
    result = ended(box, "import time\ndef f(t):\n    if t: time.sleep(t)", tests, SandboxLimits(wall_s=8))
    assert result.status == status and (status == "passed" or result.wall_s < 3), result


def test_a_timeout_that_the_tests_catch_is_one_all_the_same(box):
    tests = "import trial\ntry:\n    list(trial.answers([trial.encode(())], [0.1]))\nexcept BaseException: pass"
    assert ended(box, "def f():\n    while True: pass", tests).status == "timeout"


def test_an_answer_without_memory_is_memory(box):
    tests = "import trial\nassert [s for s, _, _ in trial.answers([trial.encode(())], [1])] == ['value']"
    assert ended(box, "def f(): return [0] * 10**9", tests, SandboxLimits(memory_mb=512)).status == "memory"


def test_a_method_is_asked_for_answers_and_handles_can_be_used(box):
    solution = "class Solution:\n    def f(self, n): yield from range(n)"
    tests = "import trial\n((_, payload, _),) = trial.answers([trial.encode((3,))], [1])\nassert list(trial.decode(payload)) == [0, 1, 2]"
    assert ended(box, solution, tests, entry_point="Solution().f").status == "passed"


def test_data_and_what_is_given_may_be_large(box):
    data = bytes(range(256)) * 80_000
    tests = "import trial\ntrial.give(trial.data[::-1])\ntrial.give(trial.data[:5])"
    result = ended(box, "", tests, data=data)
    assert result.status == "passed" and result.given == data[::-1] + data[:5]
    assert ended(box, "", tests, SandboxLimits(given_bytes=1000), data=data).status == "output"


def test_answers_work_in_one_process_too(box):
    tests = "INPUTS = [(1,), (0,)]\nLIMITS = [1, 1]\n" + ASK
    result = ended(box, "def f(n): return 1 / n", tests, is_apart=False)
    assert result.stdout.splitlines()[0] == "value 1.0 True" and "raised ZeroDivisionError" in result.stdout
    assert (result.status, result.given) == ("passed", b"done")
    slow = "def f(n):\n    while True: pass"
    assert ended(box, slow, tests, is_apart=False).status == "timeout"


# -- scripts ---------------------------------------------------------------------------------------


def test_a_script_runs_anew_for_each_input(box):
    script = (
        "import sys, os\nseen = globals().setdefault('seen', 0)\nline = input()\nif line == 'exit': print(1); sys.exit(3)\n"
        "if line == 'stop': os._exit(3)\nif line == 'fork': os.fork()\nif line == 'kill': os.kill(os.getpid(), 15)\n"
        "if __name__ == '__main__': print(2 * int(line or 0) if line.isdigit() else line, seen, os.listdir('.'))\n"
        "sys.modules['int'] = seen = 1"
    )
    inputs = ["4\n", "exit", "stop", "x\n", "", "kill", "5\nmore\n"]
    tests = f"import trial\nfor found in trial.outputs({inputs!r}, [2] * 7): print(found[:3])"
    result = ended(box, script, tests, is_script=True, entry_point=None)
    assert result.stdout.splitlines() == [
        "('ended', '8 0 []\\n', '')",
        "('ended', '1\\n', '')",
        "('raised', '', 'exit code 3')",
        "('ended', 'x 0 []\\n', '')",
        "('raised', '', 'EOFError: EOF when reading a line')",
        "('raised', '', 'exit code -15')",
        "('ended', '10 0 []\\n', '')",
    ]


def test_scripts_take_and_print_much(box):
    tests = "import trial\nbig = '7' * 3_000_000\nassert [t for _, t, _, _ in trial.outputs([big, 'a'], [5, 5])] == [big, 'a']"
    script = "import sys\nsys.stdout.write(sys.stdin.read())"
    assert ended(box, script, tests, is_script=True).status == "passed"


THREAD = "import threading\nthreading.Thread(target=lambda: print(2 * int(input()))).start()\n"
AT_EXIT = (
    "import sys, io, atexit\nkept = sys.stdout = io.StringIO()\n"
    "atexit.register(lambda: sys.__stdout__.write(kept.getvalue()))\nprint(2 * int(input()))\n"
)


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("import time\n" + THREAD.replace("int(input", "(time.sleep(0.1) or int)(input"), "ended"),
        (THREAD + "raise SystemExit(1)", "ended"),
        (AT_EXIT, "ended"),
        (AT_EXIT + "sys.exit(1)", "ended"),
        (AT_EXIT + "1 / 0", "raised"),
        ("out = open(1, 'w')\nout.write(f'{2 * int(input())}\\n')", "ended"),
    ],
)
def test_a_script_ends_as_python_does(box, script, state):
    tests = f"import trial\nassert [f[:2] for f in trial.outputs(['1', '2'], [2, 2])] == [({state!r}, '2\\n'), ({state!r}, '4\\n')]"
    result = ended(box, script, tests, is_script=True, entry_point=None)
    assert (result.status, result.stderr) == ("passed", "")


def test_a_script_that_prints_too_much_has_failed(box):
    script = "import sys\nif input() == 'out': print('x' * (1 << 25))\nprint('y' * (1 << 25), file=sys.stderr)\nraise KeyError"
    tests = "import trial\nfor found in trial.outputs(['out', 'err'], [9, 9]): print(found[0], found[2])"
    result = ended(box, script, tests, SandboxLimits(wall_s=20), is_script=True, entry_point=None)
    assert result.stdout == "raised too much output\nraised KeyError\n"


def test_a_script_finds_no_files_of_the_run_before(box):
    script = (
        "import os\nprint([os.listdir(folder) for folder in ('/tmp', '/dev/shm')])\n"
        "os.makedirs('a/b/c')\nos.symlink('/usr', 'usr')\nfor name in ('a/x', '/dev/shm/x', '.x'): open(name, 'w').close()"
    )
    tests = "import trial\nassert [t for _, t, _, _ in trial.outputs('ab', [2, 2])] == ['[[], []]\\n'] * 2"
    result = ended(box, script, tests, is_script=True, entry_point=None)
    assert (result.status, result.stderr) == ("passed", "")


def test_a_script_over_its_time_is_a_timeout(box):
    tests = "import trial\nlist(trial.outputs(['1', '2'], [0.3, 0.3]))"
    result = ended(box, "while True: pass", tests, is_script=True)
    assert result.status == "timeout" and result.wall_s < 3
    with pytest.raises(ValueError, match="leave is_apart"):
        Trial(("",), ("",), is_script=True, is_apart=False)


# -- many at a time --------------------------------------------------------------------------------


def test_texts_and_trials_are_mixed_and_come_in_order():
    trial = Trial(("def f(x): return x",), ("assert f(1) == 1",))
    programs = [(n, trial if n % 2 else f"print({n})") for n in range(20)]
    results = list(run_many(iter(programs), workers=2))
    assert [n for n, _ in results] == list(range(20)) and {r.status for _, r in results} == {"passed"}
    assert results[4][1].stdout == "4\n"
