"""Boxes: what works in one, what ends with it, and which packages it shows."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path

import pytest

from builders import sandbox
from builders.sandbox import SandboxLimits, Trial, modules_missing, run_many, run_python
from builders.sandbox.box import Box, BoxLostError
from store.errors import InputError

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def box():
    with Box() as box:
        yield box


def printed(box, program: str) -> str:
    result = box.run(sandbox.job_of(program), SandboxLimits())
    assert (result.status, result.stderr) == ("passed", ""), result
    return result.stdout


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import threading\nt = threading.Thread(target=print, args=('thread',))\nt.start(); t.join()", "thread\n"),
        ("import subprocess\nprint(subprocess.run(['echo', 'sub'], capture_output=True, text=True).stdout)", "sub\n\n"),
        ("import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'print(1)']))", "b'1\\n'\n"),
        ("import multiprocessing\nwith multiprocessing.Pool(2) as p: print(p.map(abs, [-1, -2]))", "[1, 2]\n"),
        (
            "from concurrent.futures import ThreadPoolExecutor as T\nwith T(4) as t: print(sum(t.map(abs, [-1, -2])))",
            "3\n",
        ),
        (
            "import asyncio\nasync def m():\n    await asyncio.sleep(0)\n    p = await asyncio.create_subprocess_exec('true')\n"
            "    print(await p.wait())\nasyncio.run(m())",
            "0\n",
        ),
        ("import tempfile\nwith tempfile.TemporaryFile() as f: print(f.write(b'abc'))", "3\n"),
        ("import sqlite3\nprint(sqlite3.connect('/tmp/a').execute('select 1').fetchone())", "(1,)\n"),
        (
            "import signal, time\nsignal.signal(14, lambda *a: print('alarm'))\nsignal.alarm(1)\ntime.sleep(2)",
            "alarm\n",
        ),
        (
            "import time, datetime\nprint(time.tzname[0], datetime.datetime.fromtimestamp(0))",
            "UTC 1970-01-01 00:00:00\n",
        ),
        ("try: exit(0)\nexcept SystemExit: print('exit')", "exit\n"),
        ("print(hash('a') == hash('a'), __name__, open(0).read())", "True __main__ \n"),
        ("import mmap\nm = mmap.mmap(-1, 4096)\nm[0] = 1\nprint(m[0])", "1\n"),
        ("import warnings\nprint([w for w in warnings.filters if w[0] == 'error'])", "[]\n"),
        ("def f() -> undefined: pass", None),
    ],
)
def test_what_programs_do_works(box, program, expected):
    if expected is None:  # no `from __future__` of ours reaches the program
        assert "NameError" in box.run(sandbox.job_of(program), SandboxLimits()).stderr
    else:
        assert printed(box, program) == expected


def test_random_numbers_differ_between_programs(box):
    draw = "import random\nprint(random.random())"
    assert printed(box, draw) != printed(box, draw)


CALLS = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
column = {'x86_64': 0, 'aarch64': 1}[platform.machine()]
for name, numbers in %r.items():
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(numbers[column]), *[ctypes.c_long(v) for v in numbers[2]])
    print(name, result, ctypes.get_errno())
"""


def test_refused_system_calls_fail(box):
    calls = {
        "shmget": (29, 194, (0, 4096, 0o1600)),
        "msgget": (68, 186, (0, 0o1600)),
        "ptrace": (101, 117, (0, 0, 0, 0)),
        "memfd_create": (319, 279, (0, 0)),
        "userfaultfd": (323, 282, (1,)),
        "keyctl": (250, 219, (0, -3, 0)),
        "bpf": (321, 280, (0, 0, 0)),
        "io_uring_setup": (425, 425, (1, 0)),
        "unshare": (272, 97, (0x10000000,)),
        "mount": (165, 40, (0, 0, 0, 0, 0)),
        "clone with a namespace": (56, 220, (0x10000000 | 17, 0, 0, 0, 0)),
    }
    lines = printed(box, CALLS % calls).splitlines()
    assert lines == [f"{name} -1 1" for name in calls]
    # clone3 does not exist; a call of the x32 ABI neither
    absent = {"clone3": (435, 435, (0, 0)), "x32": (0x40000000 + 39, 0x40000000 + 39, ())}
    assert printed(box, CALLS % absent).splitlines() == ["clone3 -1 38", "x32 -1 38"]


def test_both_halves_of_a_trial_are_isolated():
    look = (
        "import os, ctypes\ndef own():\n    return [p for p in os.listdir('/proc') if p.isdigit()], "
        "[int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)]\n"
        "def f(): return [own(), os.listdir('/tmp'), ctypes.CDLL(None).unshare(0x10000000)]\n"
    )
    leave = "open('/tmp/solution', 'w').close(); open('/dev/shm/solution', 'w').close()\n"
    tests = (
        "assert f() == [(['1'], [0, 1, 2, 240, 241]), ['solution'], -1], f()\n"
        "assert mine() == (['1'], [0, 1, 2, 240, 241, 243, 244]), mine()\n"
        "assert os.listdir('/tmp') + os.listdir('/dev/shm') == []"
    )
    ours = look.replace("own()", "mine()").replace("def f", "def g")
    ((_, result),) = run_many([(0, Trial((look + leave,), (ours, tests)))], 1)
    assert result.status == "passed", result.stderr


# -- boxes end -------------------------------------------------------------------------------------


def children(pid: int) -> set[int]:
    with contextlib.suppress(OSError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return {int(child) for task in tasks for child in (task / "children").read_text().split()}
    return set()


def descendants(pid: int) -> set[int]:
    found, pending = set[int](), [pid]
    while pending:
        below = children(pending.pop())
        found |= below
        pending += below
    return found


def are_gone(pids: set[int], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(is_alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_closed_box_leaves_no_process():
    before = descendants(os.getpid())
    with Box() as box:
        printed(box, "import os\nif os.fork() == 0:\n    os.setsid()\n    import time; time.sleep(60)")
        made = descendants(os.getpid()) - before
        assert len(made) >= 2
    assert are_gone(made)


CLIENT = """
from builders.sandbox import Trial, run_many
hang = Trial(("import os, time\\nos.fork()\\ntime.sleep(300)",), ("f()",))
print("ready", flush=True)
list(run_many([(n, hang) for n in range(2)], 2))
"""


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_killed_client_leaves_no_process(is_stopped):
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, cwd=PROJECT, start_new_session=True
    )
    assert client.stdout is not None and client.stdout.readline() == b"ready\n"
    deadline = time.monotonic() + 20
    while len(made := descendants(client.pid)) < 12 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(made) >= 12, made
    if is_stopped:
        for pid in made:
            os.kill(pid, signal.SIGSTOP)
    client.kill()
    client.wait()
    assert are_gone(made), [Path(f"/proc/{pid}/stat").read_text() for pid in made if is_alive(pid)]


def test_a_lost_box_is_replaced_and_its_program_tried_again():
    ours = os.getpid()

    def programs():
        yield 0, "print('before')"
        yield 1, "import time\ntime.sleep(1.5)\nprint('lost')"
        yield 2, "print('after')"

    results = run_many(programs(), workers=1)
    killed = False
    before = descendants(ours)

    def kill() -> None:
        nonlocal killed
        time.sleep(0.8)
        # The outermost process only: all others end with it, and none can tell before that.
        for pid in (descendants(ours) - before) & children(ours):
            os.kill(pid, signal.SIGKILL)
            killed = True

    thread = threading.Thread(target=kill)
    thread.start()
    found = [(n, result.status, result.stdout) for n, result in results]
    thread.join()
    assert killed and found == [(0, "passed", "before\n"), (1, "passed", "lost\n"), (2, "passed", "after\n")]


def test_a_box_that_hangs_is_lost():
    before = descendants(os.getpid())
    box = Box()
    made = descendants(os.getpid()) - before
    for pid in made:
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(BoxLostError, match="did not answer"):
        box.run(sandbox.job_of("pass"), SandboxLimits(wall_s=0.5))
    assert time.monotonic() - started < 10
    box.kill()
    assert are_gone(made)


def test_no_more_boxes_than_programs_are_started():
    before = descendants(os.getpid())
    results = run_many(((n, "print(1)") for n in range(1)), workers=8)
    assert descendants(os.getpid()) == before
    assert [result.stdout for _, result in results] == ["1\n"]
    assert are_gone(descendants(os.getpid()) - before)


def test_results_that_nobody_reads_end_their_boxes():
    before = descendants(os.getpid())
    results = run_many(((n, f"import time; time.sleep({n and 30})") for n in range(50)), 2, SandboxLimits(wall_s=60))
    next(results)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 10
    assert are_gone(descendants(os.getpid()) - before)


# -- environments ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "our_library.py").write_text("def answer(): return 42\n")
    (packages / "more.pth").write_text("more\n")
    (packages / "more").mkdir()
    (packages / "more" / "another_library.py").write_text("")
    (folder.parent / "secret.txt").write_text("secret")
    return str(folder)


def test_an_environments_packages_are_there_on_both_sides(environment):
    trial = Trial(
        ("import our_library\ndef f(): return our_library.answer()",), ("import our_library\nassert f() == 42",)
    )
    child = "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'import our_library']))"
    results = dict(run_many([(0, trial), (1, child)], 1, environment=environment))
    assert [results[n].status for n in (0, 1)] == ["passed", "passed"], results
    ((_, without),) = run_many([(0, trial)], 1)
    assert "No module named 'our_library'" in without.stderr


def test_an_environment_is_read_only_and_nothing_beside_it_is_seen(environment):
    program = f"""
import os, our_library
place = os.path.dirname(our_library.__file__)
try:
    open(place + '/x', 'w')
except OSError as error:
    print(error.errno)
try:
    exit(0)
except SystemExit:
    print('exit')
print(os.path.exists({environment!r} + '/../secret.txt'), os.listdir('/opt'), os.path.exists(place + '/../../../../secret.txt'))
"""
    ((_, result),) = run_many([(0, program)], 1, environment=environment)
    assert result.stdout == "30\nexit\nFalse ['environment'] False\n", result
    assert "False" in run_python("import os\nprint(os.path.exists('/opt'))").stdout


def test_the_packages_of_this_machine_are_hidden(environment):
    """Those of the Python installation, such as pip, and those of the system, for children too."""
    look = """
import glob, importlib.util, os, subprocess, sys
for root in (sys.base_prefix, '/usr'):
    for folder in glob.glob(root + '/lib*/python3*/*-packages'):
        if os.listdir(folder) or os.access(folder, os.W_OK):
            print(folder)
child = subprocess.run([sys.executable, '-c', 'import pip'], capture_output=True, text=True)
print(importlib.util.find_spec('pip'), child.stderr.strip().splitlines()[-1])
"""
    for place in (None, environment):
        ((_, result),) = run_many([(0, look)], 1, environment=place)
        assert result.stdout == "None ModuleNotFoundError: No module named 'pip'\n", result


def test_nltk_finds_its_data_in_an_environment(environment):
    data = Path(environment, "nltk_data", "corpora")
    data.mkdir(parents=True)
    program = "import os\nprint(os.listdir(os.environ['NLTK_DATA']))"
    ((_, result),) = run_many([(0, program)], 1, environment=environment)
    assert result.stdout == "['corpora']\n", result


def test_the_path_file_of_an_editable_install_breaks_nothing_and_shows_nothing(environment, tmp_path):
    (tmp_path / "in_development.py").write_text("")
    (packages,) = Path(environment).glob("lib/python3*/site-packages")
    (packages / "editable.pth").write_text(f"{tmp_path}\nimport os; os.stat({str(tmp_path)!r})\n")
    program = "import our_library\nimport in_development"
    ((_, result),) = run_many([(0, program)], 1, environment=environment)
    (packages / "editable.pth").unlink()
    assert result.stderr.endswith("ModuleNotFoundError: No module named 'in_development'\n"), result


def test_missing_modules_are_named(environment):
    assert modules_missing(["json", "our_library", "no.such.thing", "another_library"]) == [
        "our_library",
        "no",
        "another_library",
    ]
    assert modules_missing(["json", "our_library", "no", "another_library"], environment) == ["no"]


def test_a_folder_that_is_no_environment_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no pyvenv.cfg: make one with `python3"):
        run_many([], 1, environment=str(tmp_path))
    (tmp_path / "pyvenv.cfg").write_text("version = 3.4.0\n")
    (tmp_path / "lib" / "python3.4" / "site-packages").mkdir(parents=True)
    with pytest.raises(InputError, match=r"is for python3.4, the sandbox for 3\."):
        run_many([], 1, environment=str(tmp_path))
