"""What the program sees: the command line of bubblewrap, which shows the system and nothing else.

In: the descriptor of the socket to the host, and the folder of a virtual environment or None. Out:
the arguments of the process. Without an environment, a program has the standard library alone.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import sys
from pathlib import Path

INSTALL = (
    "install bubblewrap 0.8 or newer (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap) and "
    "allow unprivileged user namespaces; in a container, start it with --security-opt seccomp=unconfined or "
    "--privileged"
)
_SYSTEM_PATHS = (
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)
_MERGED_PATHS = ("/bin", "/lib", "/lib32", "/lib64")
_ENVIRONMENT = {
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_NOBODY = "65534"
STACK_MB = 512
"""How large the stack of a program may grow. EvalPlus gives it as much as all of its memory."""
_PLACE = "/opt/environment"
"""Where a box shows a virtual environment."""
SITE = f"{_PLACE}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
"""The packages of a virtual environment, as the box sees them."""


def command(control_fd: int, environment: str | None) -> list[str]:
    """The command line of a box. It holds the text that starts it, and nothing of a program.

    The interpreter in it keeps the capabilities that it needs to make namespaces. The programs that
    it forks lose them.
    """
    bwrap = _program("bwrap")
    inner = [bwrap, "--unshare-all", "--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY]
    inner += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"]
    inner += ["--die-with-parent", "--new-session", "--hostname", "sandbox"]
    inner += [*_read_only_system(), "--proc", "/proc", "--dev", "/dev"]
    for folder in _installed_packages():
        inner += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
    # Each program mounts its own over these.
    inner += ["--size", "4096", "--tmpfs", "/dev/shm", "--size", "4096", "--tmpfs", "/tmp"]
    variables = dict(_ENVIRONMENT)
    if environment is not None:
        inner += [*_parents(_PLACE), "--ro-bind", os.path.realpath(environment), _PLACE]
        variables |= {"PYTHONPATH": SITE, "NLTK_DATA": f"{_PLACE}/nltk_data"}
    inner += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--clearenv"]
    for name, value in variables.items():
        inner += ["--setenv", name, value]
    options = ["-s", "-P", "-B", *(["-S"] if environment is not None else [])]
    start = [_interpreter(), *options, "-c", _start_text(), str(control_fd)]
    return [*_give_up_root(bwrap, environment), *inner, "--", *_with_large_stack(), *start]


def _with_large_stack() -> list[str]:
    """What starts the interpreter. The kernel leaves as much room as the limit allows at that time.

    Nothing but a shell sets a limit between two programs without a risk for our threads.
    """
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    kibibytes = STACK_MB * 1024 if hard == resource.RLIM_INFINITY else min(STACK_MB * 1024, hard // 1024)
    return ["/bin/sh", "-c", 'ulimit -S -s "$0" && exec "$@"', str(kibibytes)]


def _give_up_root(bwrap: str, environment: str | None) -> list[str]:
    """What comes before the sandbox when this process is root: it becomes `nobody` first.

    The kernel does not hold root to RLIMIT_NPROC, not even under another name in a user namespace.
    The outer bwrap is needed because the Python installation may lie in root's home, which the user
    `nobody` may not enter. It ends with this process, but without capabilities it is not allowed to
    end a process of `nobody`. The shell between them is.
    """
    if os.geteuid() != 0:
        return []
    setpriv = _program("setpriv")
    outer = [bwrap, "--die-with-parent", *_read_only_system(), "--dir", "/tmp"]
    for program in (bwrap, setpriv):
        if not program.startswith("/usr/bin/"):
            outer += [*_parents(program), "--ro-bind", program, program]
    if environment is not None:
        folder = os.path.realpath(environment)
        outer += [*_parents(folder), "--ro-bind", folder, folder]
    outer += ["--bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev"]
    outer += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"]
    shell = ["/bin/sh", "-c", '"$@" & wait $!', "sh"]
    return [*outer, "--", *shell, setpriv, "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", "--"]


def _read_only_system() -> list[str]:
    """Binds of the system's programs and libraries and of the Python installation."""
    options: list[str] = []
    for path in _SYSTEM_PATHS:
        if os.path.exists(path):
            options += [*_parents(path), "--ro-bind", path, path]
    for path in _MERGED_PATHS:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            options += ["--ro-bind", path, path]
    prefix = os.path.realpath(sys.base_prefix)
    if prefix != "/usr":
        options += [*_parents(prefix), "--ro-bind", prefix, prefix]
    return options


def _installed_packages() -> list[str]:
    """Folders with packages that somebody installed on this machine. A box shows them empty.

    Otherwise the same program could pass on one machine and fail on another.
    """
    roots = {os.path.realpath(sys.base_prefix), "/usr"}
    found = [path for root in sorted(roots) for path in Path(root).glob("lib*/python3*/*-packages")]
    return [str(path) for path in found if path.name in ("site-packages", "dist-packages") and path.resolve() == path]


def _parents(path: str) -> list[str]:
    """Options that make the folders above a path.

    Left to bwrap, only their owner could enter them.
    """
    folders = [str(folder) for folder in reversed(Path(path).parents)][1:]
    return [option for folder in folders for option in ("--dir", folder)]


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"there is no {name} on the PATH: {INSTALL}")
    return os.path.realpath(path)


def _interpreter() -> str:
    return os.path.realpath(sys.executable)


@functools.cache
def _start_text() -> str:
    return (Path(__file__).with_name("inside") / "start.py").read_text(encoding="utf-8")
