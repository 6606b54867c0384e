"""The sandbox holds hostile programs: each test runs one for real and looks at what it could do."""

import os
import sys
import time
from pathlib import Path

import pytest

from builders import sandbox
from builders.sandbox import SandboxLimits, SandboxResult, run_many, run_python

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")

PROJECT = Path(__file__).resolve().parents[2]
ADD = "def add(a, b):\n    return a + b\n"
WRONG_ADD = "def add(a, b):\n    return a - b\n"
ADD_TESTS = "assert add(1, 2) == 3\n"
WRITE_EVERYWHERE = """
import os
for fd in range(1, 256):
    try:
        os.write(fd, b'P' + (32).to_bytes(4, 'little') + bytes(32))
    except OSError:
        pass
os._exit(0)
"""


def printed(program: str, **limits) -> str:
    """What a program printed that must come to its end."""
    result = run_python(program, SandboxLimits(**limits))
    assert result.status == "passed", result
    return result.stdout


def tried(solution: str, tests: str) -> SandboxResult:
    """How a solution and its tests end, as the callers of the sandbox run them."""
    ((_, result),) = run_many([("one", sandbox.tested_program(solution, tests))], workers=1)
    return result


def test_a_right_solution_passes_and_a_wrong_one_fails():
    assert tried(ADD, ADD_TESTS).status == "passed"
    wrong = tried(WRONG_ADD, ADD_TESTS)
    assert (wrong.status, wrong.exit_code) == ("failed", 1)
    assert "assert add(1, 2) == 3\n" in wrong.stderr and "AssertionError" in wrong.stderr


def test_output_exit_code_and_syntax_errors_are_reported():
    result = run_python("import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(7)\n")
    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("failed", 7, "out\n", "err\n")
    assert "SyntaxError" in run_python("def f(:\n").stderr
    assert run_python("x = '\ud800'").status == "failed"


@pytest.mark.parametrize(
    "forgery",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit",
        "import atexit, os; atexit.register(os._exit, 0); 1 / 0",
        "import os, signal; os.kill(os.getppid(), signal.SIGKILL); import time; time.sleep(5)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        WRITE_EVERYWHERE,
        "exec = compile = globals = print = len = lambda *a, **k: None\ndef add(a, b): return 0",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef add(a, b): return 0",
        "import os\ndef add(a, b): os._exit(0)",
        "import sys\ndef add(a, b): sys.exit(0)",
        # An open string or bracket must not swallow the tests.
        "def add(a, b): return 0\nx = '''",
        "def add(a, b): return 0\nx = (",
        "def add(a, b): return 0\nif False:\\",
    ],
)
def test_leaving_early_is_not_a_pass(forgery):
    tests = ADD_TESTS + "x = ''' '''\n)\n" if forgery.endswith("(") else ADD_TESTS + "'''tests'''\n"
    assert tried(forgery, tests).status == "failed"


def test_a_program_that_forks_still_ends():
    result = tried("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n" + ADD, ADD_TESTS)
    assert result.status == "passed" and result.wall_s < 5, result


def test_the_supervisor_cannot_be_looked_into():
    program = """
import os
seen = []
for pid in filter(str.isdigit, os.listdir('/proc')):
    if int(pid) == os.getpid():
        continue
    for name in ('mem', 'environ', 'fd'):
        try:
            path = f'/proc/{pid}/{name}'
            if name == 'fd':
                seen += [(pid, fd, os.readlink(f'{path}/{fd}')) for fd in os.listdir(path)]
            else:
                seen.append((pid, name, open(path, 'rb').read(1)))
        except OSError:
            pass
print([entry for entry in seen if entry[0] == str(os.getppid())])
# The namespace's init process holds the three standard streams and nothing that reports go to.
print([entry for entry in seen if entry[1] not in ('mem', 'environ', '0', '1', '2') and 'pipe' in entry[2]])
"""
    assert printed(program).split() == ["[]", "[]"]


def test_there_is_no_network():
    program = """
import socket
for name in ('AF_INET', 'AF_INET6', 'AF_NETLINK', 'AF_VSOCK', 'AF_ALG', 'AF_PACKET'):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW):
        try:
            socket.socket(getattr(socket, name), kind)
            print('opened', name)
        except OSError as error:
            print(error.errno)
        try:
            socket.socketpair(getattr(socket, name), kind)
            print('opened', name)
        except OSError as error:
            print(error.errno)
one, other = socket.socketpair()
one.send(b'x')
print(other.recv(1), socket.socket(socket.AF_UNIX).connect_ex('/tmp/none'))
"""
    assert printed(program) == "1\n" * 48 + "b'x' 2\n"


def test_a_listening_socket_of_the_host_is_out_of_reach(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        result = run_python(f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=2)")
    assert result.status == "failed" and "PermissionError" in result.stderr


def test_home_and_project_are_unreadable(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret")
    paths = [str(secret), __file__, str(PROJECT), "/etc/passwd", "/etc/shadow", "/sys", "/var", "/usr/local"]
    prefix = Path(sys.base_prefix)
    paths = [path for path in paths if not Path(path).is_relative_to(prefix)]
    assert printed(f"import os\nprint([path for path in {paths!r} if os.path.exists(path)])") == "[]\n"
    home = Path.home()
    shown = eval(printed(f"import os\nprint(os.listdir({str(home)!r}) if os.path.isdir({str(home)!r}) else [])"))
    allowed = {prefix.relative_to(home).parts[0]} if prefix.is_relative_to(home) else set()
    assert set(shown) <= allowed


def test_writing_works_in_tmp_only():
    program = f"""
import os, sys
def can_write(path):
    try:
        open(path, 'w').close()
        return True
    except OSError:
        return False
folders = ['/', '/dev', '/usr', '/usr/bin', '/usr/lib', '/etc', '/home', '/root', '/proc', {os.path.dirname(os.__file__)!r}]
print([folder for folder in folders if can_write(folder + '/x')], can_write('/tmp/x'), os.getcwd())
"""
    assert printed(program) == "[] True /tmp\n"


def test_nothing_stays_from_one_program_to_the_next():
    printed("open('/tmp/left', 'w').close(); open('/dev/shm/left', 'w').close()")
    assert printed("import os; print(os.listdir('/tmp') + os.listdir('/dev/shm'))") == "[]\n"


@pytest.mark.parametrize("path", ["/tmp/{}", "/dev/shm/{}"])
def test_files_are_bounded_one_by_one_and_together(path):
    program = f"""
one = many = 0
try:
    with open({path.format("big")!r}, 'wb', buffering=0) as file:
        for _ in range(64):
            one += file.write(bytes(2**20))
except OSError:
    import os
    os.unlink({path.format("big")!r})
try:
    for number in range(64):
        with open({path!r}.format(number), 'wb', buffering=0) as file:
            many += file.write(bytes(2**20))
except OSError:
    pass
print(one // 2**20, many // 2**20)
"""
    assert printed(program, file_mb=4) == "4 4\n"


def test_a_fork_bomb_is_bounded():
    count = """
import os, time
children = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
        children += 1
except OSError:
    print(children)
"""
    assert printed(count, processes=8) == "7\n"
    result = run_python("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", SandboxLimits(wall_s=1))
    assert result.status == "timeout" and result.wall_s < 5


def test_a_program_ends_as_python_does():
    thread = "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\n"
    at_exit = "import atexit\natexit.register(print, 'exit')\n"
    assert printed(thread + at_exit) == "thread\nexit\n"
    early = run_python(thread + at_exit + "raise SystemExit(0)")
    assert (early.status, early.stdout) == ("failed", "thread\nexit\n")
    endless = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
    assert run_python(endless, SandboxLimits(wall_s=1)).status == "timeout"


def test_children_do_not_outlive_the_program():
    mark = "sandbox-orphan-4f1c"
    started = time.monotonic()
    program = f"import subprocess\nsubprocess.Popen(['sleep', '300', '--'], start_new_session=True)\nprint({mark!r})"
    printed(program)
    assert time.monotonic() - started < 5
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x00300\x00--" in read_if_there(path)]


def read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("bomb", ["x = bytearray(2**30)", "x = []\nwhile True: x.append(bytearray(2**20))"])
def test_a_memory_bomb_is_memory(bomb):
    result = run_python(bomb, SandboxLimits(memory_mb=256))
    assert (result.status, result.exit_code) == ("memory", 1)


def test_memory_of_all_processes_together_is_bounded():
    program = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        x = b'x' * (100 * 2**20)
        time.sleep(60)
time.sleep(60)
"""
    result = run_python(program, SandboxLimits(memory_mb=200))
    assert result.status == "memory" and result.wall_s < 5


def test_infinite_loops_time_out():
    busy = run_python("while True: pass", SandboxLimits(wall_s=1))
    idle = run_python("import time; time.sleep(60)", SandboxLimits(wall_s=1))
    cpu = run_python("while True: pass", SandboxLimits(wall_s=8, cpu_s=1))
    for result in (busy, idle, cpu):
        assert (result.status, result.timed_out) == ("timeout", True)
        assert 0.9 < result.wall_s < 6
    assert not run_python("pass").timed_out


def test_ignoring_signals_does_not_outlast_the_time_out():
    program = (
        "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\n"
    )
    result = run_python(program + "while True: pass", SandboxLimits(wall_s=1))
    assert result.status == "timeout" and result.wall_s < 5


def test_much_output_is_cut_and_a_flood_is_ended():
    much = run_python("print('x' * 100_000)", SandboxLimits(output_bytes=1000))
    assert (much.status, much.output_truncated, much.stdout) == ("output", True, "x" * 1000)
    some = run_python("print('x' * 5_000)", SandboxLimits(output_bytes=1000))
    assert (some.status, some.output_truncated, some.stdout) == ("passed", True, "x" * 1000)
    flood = run_python("import os\nwhile True: os.write(2, b'x' * 65536)")
    assert (flood.status, flood.output_truncated, len(flood.stderr)) == ("output", True, 65536)
    assert flood.wall_s < 5
    assert not run_python("print('x')").output_truncated


def test_secrets_of_the_environment_are_invisible(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    program = """
import glob, os
seen = repr(dict(os.environ))
for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):
    try:
        seen += open(path, 'rb').read().decode('utf-8', 'replace')
    except OSError:
        pass
print('sk-secret' + '-value' in seen, 'OPENAI' in os.environ, os.environ['HOME'])
"""
    assert printed(program) == "False False /tmp\n"


def test_other_processes_are_invisible():
    program = "import os\nprint(os.getpid(), len([p for p in os.listdir('/proc') if p.isdigit()]))"
    pid, visible = map(int, printed(program).split())
    assert (pid, visible) == (1, 1)
    refused = run_python(f"import os; os.kill({os.getpid()}, 0)")
    assert "ProcessLookupError" in refused.stderr


def test_a_program_has_no_capabilities_and_cannot_gain_any():
    program = """
import ctypes, os
status = open('/proc/self/status').read()
print([line.split()[1] for line in status.splitlines() if line.startswith(('CapEff', 'NoNewPrivs'))])
CLONE_NEWUSER = 0x10000000
print(ctypes.CDLL(None).unshare(CLONE_NEWUSER), os.getuid())
"""
    assert printed(program) == "['0000000000000000', '1']\n-1 65534\n"


def test_many_programs_come_back_in_order_and_are_read_lazily(monkeypatch):
    monkeypatch.setattr(sandbox, "AHEAD", 3)
    taken = []

    def programs():
        for number in range(12):
            taken.append(number)
            yield number, f"import time; time.sleep({1 if number == 0 else 0}); print({number})"

    results = run_many(programs(), workers=2)
    first_id, first = next(results)
    assert (first_id, first.stdout, len(taken)) == (0, "0\n", 6)
    assert [(key, result.stdout) for key, result in results] == [(n, f"{n}\n") for n in range(1, 12)]


def test_a_slow_program_keeps_no_other_worker_waiting():
    taken = []

    def programs():
        for number in range(20):
            taken.append(number)
            yield number, f"import time; time.sleep({3 if number == 0 else 0}); print(time.monotonic())"

    times = [float(result.stdout) for _, result in run_many(programs(), workers=2)]
    assert len(taken) == 20 and times[0] == max(times)


def test_few_large_programs_are_read_ahead(monkeypatch):
    monkeypatch.setattr(sandbox, "AHEAD_BYTES", 1 << 20)
    taken = []

    def programs():
        for number in range(12):
            taken.append(number)
            yield number, f"import time; time.sleep({1 if number == 0 else 0})\n#" + "x" * (1 << 18)

    next(run_many(programs(), workers=1))
    assert len(taken) == 4


def test_wrong_limits_and_workers_are_refused():
    with pytest.raises(ValueError, match="wall_s is 0"):
        SandboxLimits(wall_s=0)
    with pytest.raises(ValueError, match="at least 1 worker, got 0"):
        run_many([], workers=0)


def test_a_missing_bwrap_is_said_with_the_fix(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    sandbox._problem.cache_clear()
    try:
        assert not sandbox.is_available()
        with pytest.raises(RuntimeError, match=r"no bwrap on the PATH.*apt-get install bubblewrap"):
            run_python("pass")
    finally:
        sandbox._problem.cache_clear()


@pytest.mark.parametrize(
    "prefix, home, code, place",
    [
        ("/usr", "/root", "/usr/src/scoder", None),
        ("/usr/local", "/root", "/src/scoder", None),
        ("/usr/local", "/root", "/usr/local/src/scoder", "/usr/local/src/scoder"),
        # pip install, no venv
        ("/usr/local", "/root", "/usr/local/lib/python3.11/site-packages", None),
        ("/opt", "/opt/me", "/opt/lib/python3/dist-packages", "/opt/me"),
    ],
)
def test_a_python_installation_that_holds_a_users_files_is_refused(prefix, home, code, place):
    problem = sandbox._exposed(Path(prefix), Path(home), Path(code))
    assert problem == (place and f"the Python installation {prefix} contains {place}, which the program would see")
