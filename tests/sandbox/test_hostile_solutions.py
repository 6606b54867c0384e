"""Wrong solutions that try to pass all the same: each fails where tests and solution are apart.

Each is run against tests that a right solution passes. After each, the same box is asked to run
that right solution, which must pass: nothing stays from one program to the next.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders import sandbox
from builders.sandbox import SandboxLimits, SandboxResult, Trial, run_many
from tests.benchmark_rows import PROJECT

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")

CASES = Path(os.environ.get("SCODER_CASES", PROJECT.parent / "shared" / "cases")) / "sandbox" / "solutions"
NUMBERS = {1: 918273, 2: 645546, 3: 119922}
TESTS = {
    "equal": f"assert f(1) == {NUMBERS[1]}",
    "close": f"assert abs(f(2) - {NUMBERS[2]}) < 1e-6",
    "all": f"def check(f):\n    assert all(map(lambda p: f(p[0]) == p[1], {list(NUMBERS.items())}))\ncheck(f)",
    "sorted": f"assert sorted([f(3), 1]) == [1, {NUMBERS[3]}]",
    "unittest": (
        "import unittest\nclass Cases(unittest.TestCase):\n    def test(self):\n"
        f"        self.assertEqual(f(3), {NUMBERS[3]})\n        self.assertEqual(f(1), {NUMBERS[1]})\n"
        "found = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(Cases))\n"
        "assert found.wasSuccessful() and found.testsRun == 1"
    ),
    "caught": f"try:\n    found = f(1)\nexcept:\n    found = {NUMBERS[1]}\nassert found == {NUMBERS[1]} and f(3) > 1",
}
"""The same tests in several words. A hostile solution must fail all of them."""
IN_PLACE = "given = [3, 1, 2]\nassert ordered(given) == sorted(given)"
RIGHT = f"def f(x):\n    return {NUMBERS}[x]\n\ndef ordered(x):\n    return sorted(x)\n"
BY_CASES = """
import trial
wanted = trial.decode(trial.data)
inputs = [trial.encode((n,)) for n in wanted]
seen = 0
for (n, answer), (state, payload, seconds) in zip(wanted.items(), trial.answers(inputs, [1.0] * len(inputs))):
    assert state == 'value' and trial.decode(payload) == answer, (n, state)
    seen += 1
assert seen == len(wanted)
"""
FORGE = """
import os, pickle, struct
def forge(message, fds=range(3, 256)):
    content = pickle.dumps(message, 5)
    for fd in fds:
        try: os.write(fd, struct.pack('<I', len(content)) + content)
        except OSError: pass
"""
WRONG = "\ndef f(x):\n    return 0\n"
REPLACED = """
import gc, types
B = b'cbuiltins\\n__build_class__\\n'
def name(kind): return B + b'(Vtype\\nV' + kind + b'\\ntR'
def replace(answer, changes=b')'):
    def encoded(message):
        if type(message) is tuple and message and message[0] == 'ready':
            return old(message)
        if type(message) is tuple and message and message[0] == 'return':
            return b'(Vreturn\\n' + answer + changes + b't.'
        return answer + b'.'
    for server in gc.get_objects():
        if type(server).__name__ == '_Server':
            old, server._encoded = server._encoded, encoded
"""
"""The solution's process sends other bytes than the codec makes."""
LIAR = (
    "made = name(b'type') + b'(VX\\n(' + name(b'object') + b't(V__eq__\\n' + name(b'type') + b'V__ne__\\n'"
    " + name(b'range') + b'dtR'\n"
)
"""The bytes of a class whose instances equal everything."""

HOSTILE = {
    "builtins shadowed": "abs = lambda x: 0\nall = lambda x: True\nsorted = lambda x: [1, 119922]\n" + WRONG,
    "builtins replaced": "import builtins\nbuiltins.abs = builtins.all = lambda *a: True\n" + WRONG,
    "check replaced": "def check(c): pass\ndef plain(a, b): return True\n" + WRONG,
    "StopIteration": "def f(x): raise StopIteration",
    "StopIteration of its own": "class Stop(StopIteration): pass\ndef f(x): raise Stop",
    "GeneratorExit": "def f(x): raise GeneratorExit",
    "SystemExit": "def f(x): raise SystemExit(0)",
    "sys.exit while loading": "import sys\nsys.exit(0)",
    "os._exit": "import os\ndef f(x): os._exit(0)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)" + WRONG,
    "forged names of the checker": (
        "class Gone(BaseException): pass\nclass SolutionFailed(Gone): pass\nclass Late(Gone): pass\n"
        "def f(x): raise Gone('passed')"
    ),
    "an exception that claims to be another": (
        "class E(Exception): pass\nE.__name__ = 'StopIteration'\ndef f(x): raise E"
    ),
    "equal to everything": (
        "class Any:\n    def __eq__(s, o): return True\n    def __lt__(s, o): return True\n"
        "    def __sub__(s, o): return 0\n    def __rsub__(s, o): return 0\n    def __abs__(s): return 0\n"
        "    def __float__(s): return 0.0\n    __hash__ = None\ndef f(x): return Any()"
    ),
    "an int that equals everything": (
        "class N(int):\n    def __eq__(s, o): return True\n    def __sub__(s, o): return 0\n"
        "    def __lt__(s, o): return True\n    __hash__ = int.__hash__\ndef f(x): return N(0)"
    ),
    "a str, a float, a list that equal everything": (
        "def liar(kind): return type('L', (kind,), {'__eq__': lambda s, o: True, '__abs__': lambda s: 0, "
        "'__sub__': lambda s, o: s, '__lt__': lambda s, o: True, '__hash__': None})\n"
        "kinds = [liar(float), liar(str), liar(list)]\ndef f(x): return kinds[x - 1]()"
    ),
    "reduce": (
        "import builtins\nclass R:\n    def __reduce__(s): return (builtins.exec, ('import os; os._exit(0)',))\n"
        "def f(x): return R()"
    ),
    "class of a value": "class C:\n    __class__ = int\n    def __index__(s): return 918273\ndef f(x): return C()",
    "frames": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    seen = []\n    while frame:\n"
        "        seen += [c for c in frame.f_code.co_consts if isinstance(c, int) and c > 1000]\n"
        "        seen += [c for c in frame.f_globals.values() if isinstance(c, int) and c > 1000]\n"
        "        frame = frame.f_back\n    return seen[x - 1] if len(seen) >= x else 0"
    ),
    "gc": (
        "import gc, types\ndef f(x):\n    for o in gc.get_objects():\n"
        "        if isinstance(o, types.FunctionType) and o.__name__ == 'check':\n"
        "            return [c for c in o.__code__.co_consts if isinstance(c, int) and c > 1000][x - 1]\n"
        "    return 0"
    ),
    "linecache": (
        "import linecache, re\ndef f(x):\n    lines = ''.join(l for e in linecache.cache.values() for l in e[2])\n"
        "    return int(re.findall(r'f\\(%d\\) (?:==|-) (\\d{6})' % x, lines)[0])"
    ),
    "own memory": (
        "import re\ndef scan():\n    found = {}\n    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb') as mem:\n"
        "        for line in maps:\n            if ' rw-p ' not in line: continue\n"
        "            low, high = (int(n, 16) for n in line.split()[0].split('-'))\n            mem.seek(low)\n"
        "            for a, b in re.findall(rb'f\\((\\d)\\) (?:==|-) (\\d{6})', mem.read(high - low)):\n"
        "                found[int(a)] = int(b)\n    return found\n"
        "def f(x): return scan().get(x, 0)"
    ),
    "descriptors read": (
        "import os, re, select\nfound = []\nfor fd in range(3, 256):\n    try:\n"
        "        while select.select([fd], [], [], 0.05)[0] and (part := os.read(fd, 65536)):\n"
        "            found += re.findall(rb'\\d{6}', part)\n    except OSError: pass\n"
        "def f(x): return int(found[x - 1]) if len(found) >= x else 0"
    ),
    "other processes": (
        "import os, re\nfound = []\nfor pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    for name in ('cmdline', 'environ', 'mem', 'maps'):\n        try:\n            if int(pid) != os.getpid():\n"
        "                found += re.findall(rb'\\d{6}', open(f'/proc/{pid}/{name}', 'rb').read(1 << 20))\n"
        "        except OSError: pass\ndef f(x): return int(found[x - 1]) if len(found) >= x else 0"
    ),
    "files": (
        "import os, re\nfound = []\nfor place in ('/tmp', '/dev/shm', '/run', '/opt'):\n    for folder, _, names in os.walk(place):\n"
        "        for name in names: found += re.findall(r'== (\\d{6})', open(os.path.join(folder, name), errors='replace').read())\n"
        "def f(x): return int(found[x - 1]) if len(found) >= x else 0"
    ),
    "ptrace": "import ctypes\nlibc = ctypes.CDLL(None)\nfor pid in range(1, 50): libc.ptrace(16, pid, 0, 0)\n" + WRONG,
    "signals to the parent": "import os, signal\nfor p in (os.getppid(), 1, 2, 3, 0, -1):\n    try: os.kill(p, signal.SIGKILL)\n    except OSError: pass\n" + WRONG,
    "stopping the group": "import os, signal\nos.killpg(0, signal.SIGSTOP)\nos.kill(-1, signal.SIGSTOP)\n" + WRONG,
    "fork and answer": "import os\nos.fork()" + WRONG,
    "fork in a call": "import os\ndef f(x):\n    os.fork()\n    return 0",
    "a daemon that stays": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)" + WRONG
    ),
    "a thread that answers too": (
        "import threading, time\ndef late():\n    while True: forge(('return', 5, ()))\n"
        + FORGE
        + "threading.Thread(target=late, daemon=True).start()"
        + WRONG
    ),
    "modules replaced": (
        "import json, os, pickle, struct, sys\njson.loads = pickle.loads = lambda *a: None\nos.write = lambda *a: 0\n"
        "sys.modules['trial'] = sys.modules['tests'] = sys\n" + WRONG
    ),
    "unpickler replaced": (
        "import pickle\nclass P(pickle.Pickler):\n    def dump(s, v): super().dump(('return', 645546, ()))\n"
        "pickle.Pickler = P\n" + WRONG
    ),
    "forged readiness": FORGE + "forge(('ready', [('abs', 'value', None), ('check', 'function', None), ('f', 'function', None)]))" + WRONG,
    "answers before it is asked": FORGE + "for n in (645546, 119922, 918273): forge(('return', n, ()))" + WRONG,
    "answers twice": FORGE + "def f(x):\n    forge(('return', 5, ()))\n    return 0",
    "forged changes": FORGE + "def f(x):\n    forge(('return', 0, [(0, 645546), (9, [])]))\n    return 0",
    "a frame of another kind": FORGE + "def f(x):\n    forge(['passed', b'P'])\n    return 0",
    "a huge frame": "import os, struct\nfor fd in range(3, 256):\n    try: os.write(fd, struct.pack('<I', 0xffffffff))\n    except OSError: pass\n" + WRONG,
    "a deep frame": (
        "import os, struct\nd = b'\\x80\\x05' + b']' * 100000 + b'a' * 99999 + b'.'\n"
        "for fd in range(3, 256):\n    try: os.write(fd, struct.pack('<I', len(d)) + d)\n    except OSError: pass\n" + WRONG
    ),
    "a deep value": "def f(x):\n    v = []\n    for _ in range(100000): v = [v]\n    return v",
    "a circle": "def f(x):\n    v = []\n    v.append(v)\n    return v",
    "the report's frames": (
        "import os, struct\nfor fd in range(1, 256):\n    for letter in (b'P', b'G'):\n"
        "        try: os.write(fd, struct.pack('<cI', letter, 32) + bytes(32))\n        except OSError: pass\nos._exit(0)"
    ),
    "a generator that gives what is asked": "def f(x):\n    yield from (918273, 645546, 119922)",
    "a handle of the checker's": (
        "import ctypes\nclass H:\n    def __getattr__(s, n): return lambda *a, **k: 918273\ndef f(x): return H()"
    ),
    "a class made by its bytes": REPLACED + LIAR + "replace(made + b'(tR')" + WRONG,
    "a class made by NEWOBJ": (
        REPLACED + LIAR.replace("b'dtR'", "b'dt\\x81'") + "replace(made + b')\\x81')" + WRONG
    ),
    "a class that is changed": REPLACED + "replace(name(b'object') + b'}V__eq__\\n' + name(b'type') + b'sb(tR')" + WRONG,
    "a number made by a type": REPLACED + "replace(name(b'int') + b'(V918273\\ntR')" + WRONG,
    "a note that is changed": REPLACED + "replace(B + b'(Vvalue\\nI1\\ntRN}V__eq__\\n' + name(b'type') + b's\\x86b')" + WRONG,
    "the builder": REPLACED + "replace(B)" + WRONG,
    "a handle that is changed": (
        REPLACED + "replace(B + b'(Vhandle\\nVsolution\\nI0\\nV\\nV\\ntR}V__eq__\\n' + name(b'type') + b'sb')" + WRONG
    ),
    "a memoryview": REPLACED + "replace(b'\\x96' + bytes([1]) + bytes(7) + b'a\\x98')" + WRONG,
    "an endless answer": "import itertools\ndef f(x): return itertools.repeat(918273)",
}  # fmt: skip


@pytest.fixture(scope="module")
def box():
    from builders.sandbox.box import Box

    with Box() as box:
        yield box


def ended(box, solution: str, tests: str, data: bytes = b"", **more) -> SandboxResult:
    trial = Trial((solution,), (tests,), entry_point="f", data=data, **more)
    return box.run(sandbox.job_of(trial), SandboxLimits(wall_s=3))


def data() -> bytes:
    return sandbox.codec.encode(NUMBERS)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_solution_fails_and_its_neighbour_passes(box, name):
    for tests in TESTS.values():
        result = ended(box, HOSTILE[name], tests)
        assert result.status in ("failed", "timeout", "memory"), (tests, result)
    for tests in (*TESTS.values(), IN_PLACE):
        assert ended(box, RIGHT, tests).status == "passed"


@pytest.mark.parametrize("name", HOSTILE)
def test_it_fails_by_cases_as_well(box, name):
    result = ended(box, HOSTILE[name], BY_CASES, data())
    assert result.status in ("failed", "timeout"), result
    assert ended(box, RIGHT, BY_CASES, data()).status == "passed"


def test_the_attacks_are_real(box):
    """Where one program holds solution and tests, many of them pass."""
    passes = set()
    for name, text in HOSTILE.items():
        programs = [sandbox.job_of(sandbox.tested_program(text, tests)) for tests in TESTS.values()]
        if any(box.run(program, SandboxLimits(wall_s=3)).status == "passed" for program in programs):
            passes.add(name)
    assert len(passes) >= 10, passes


@pytest.mark.parametrize("body", ["x.clear()\n    return []", "del x[:]\n    return x"])
def test_an_argument_that_is_compared_with_later_stays(box, body):
    hostile = f"def ordered(x):\n    {body}\n"
    assert ended(box, hostile, IN_PLACE, is_apart=False).status == "passed"
    assert ended(box, hostile, IN_PLACE).status == "failed"


def test_a_function_that_works_in_place_is_seen_to_do_so(box):
    right = "def f(x, y):\n    x.sort()\n    y['a'] = x\n    y.pop('b')\n"
    tests = "a, b = [2, 1], {'b': 0}\nassert f(a, y=b) is None and a == [1, 2] and b == {'a': [1, 2]}"
    assert ended(box, right, tests).status == "passed"


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no hostile solutions at {CASES} (set SCODER_CASES)")
@pytest.mark.parametrize("path", sorted(CASES.glob("*.py")), ids=lambda path: path.stem)
def test_the_known_hostile_solutions_fail(box, path):
    for tests, given in (*((text, b"") for text in TESTS.values()), (BY_CASES, data())):
        assert ended(box, path.read_text(), tests, given).status in ("failed", "timeout", "memory")
        assert ended(box, RIGHT, tests, given).status == "passed"


def test_changes_beside_an_answer_do_not_count(box):
    """The solution's process gives [] and says that the argument is [] now."""
    forged = REPLACED + "replace(b']', b'(I0\\n]t\\x85')\ndef ordered(x): return []\n"
    assert ended(box, forged, IN_PLACE).status == "failed"


def test_an_exception_of_the_solutions_ends_no_loop_of_the_tests(box):
    """The tests know it by its name, and it derives from StopIteration."""
    hostile = "class Wrong(StopIteration): pass\ndef f(x): raise Wrong"
    assert ended(box, hostile, "Wrong\n" + TESTS["all"]).status == "failed"


SIZES = "assert f(1) == sys.getsizeof(1) and f(1) > 0"
CONTENT = "assert 918273 in f(1) and 645546 not in f(2)"


@pytest.mark.parametrize(
    "sys", ["class sys:\n    getsizeof = lambda v: 1", "import math as sys\nsys.getsizeof = lambda v: 1"]
)
def test_a_module_that_the_tests_use_is_their_own(box, sys):
    """The tests do not import it: the solution has to."""
    assert ended(box, f"{sys}\ndef f(x): return 1\n", SIZES).status == "failed"
    assert ended(box, "import sys\ndef f(x): return sys.getsizeof(1)\n", SIZES).status == "passed"
    assert ended(box, "def f(x): return 28\n", SIZES).status == "failed"


def test_a_function_that_is_called_like_a_module_is_the_solutions(box):
    solution = "def copy(x): return x + 1\ndef f(x): return x\n"
    assert ended(box, solution, "assert copy(1) == 2 and f(3) == 3").status == "passed"


def test_an_object_does_not_say_itself_what_is_in_it(box):
    hostile = "class A:\n    def __contains__(s, o): return o == 918273\n    def __iter__(s): return iter([])\n"
    assert ended(box, hostile + "def f(x): return A()", CONTENT).status == "failed"
    assert ended(box, "def f(x): return iter([918273, x])", CONTENT).status == "passed"


def test_answers_in_another_order_are_wrong_answers(box):
    """The solution holds all answers back and writes them itself, the last one first."""
    forged = (
        "import os, struct, pickle\nwanted = [119922, 645546, 918273]\ndef f(x):\n"
        "    for n in wanted:\n        p = pickle.dumps(n, 5)\n"
        "        for fd in range(200, 256):\n            try: os.write(fd, struct.pack('<IBd', len(p), 0, 0.0) + p)\n"
        "            except OSError: pass\n    return 0\n"
    )
    assert ended(box, forged, BY_CASES, data()).status == "failed"


def test_what_one_program_replaces_is_whole_for_the_next(box):
    spoil = (
        "import builtins, json, os, sys\nbuiltins.len = json.dumps = os.listdir = None\nsys.modules['math'] = None\n"
    )
    look = "import json, math, os\nprint(len('ab'), json.dumps(1), os.listdir('/tmp'), math.pi > 3)\n"
    programs = [(0, spoil), (1, look), (2, Trial((spoil,), ("",))), (3, look)]
    results = dict(run_many(programs, workers=1))
    assert [results[n].stdout for n in (1, 3)] == ["2 1 [] True\n"] * 2
