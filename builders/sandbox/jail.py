"""What the program sees: the command line of bubblewrap, which shows the system and nothing else.

In: the descriptor that the report goes to, and the size of /tmp. Out: the arguments of the process.
"""

from __future__ import annotations

import functools
import os
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


def command(report_fd: int, file_mb: int) -> list[str]:
    """The command line of the sandbox. It holds the runner's text, but not the program's."""
    bwrap = _program("bwrap")
    runner = [_interpreter(), "-s", "-P", "-B", "-c", _runner_text(), str(report_fd)]
    size = ["--size", str(file_mb * 1024 * 1024)]
    inner = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--uid", _NOBODY, "--gid", _NOBODY]
    inner += ["--die-with-parent", "--new-session", "--hostname", "sandbox"]
    inner += [*_read_only_system(), "--proc", "/proc", "--dev", "/dev"]
    inner += [
        *size,
        "--tmpfs",
        "/dev/shm",
        *size,
        "--tmpfs",
        "/tmp",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
    ]
    inner += ["--chdir", "/tmp", "--clearenv"]
    for name, value in _ENVIRONMENT.items():
        inner += ["--setenv", name, value]
    return [*_give_up_root(bwrap), *inner, "--", *runner]


def _give_up_root(bwrap: str) -> list[str]:
    """What comes before the sandbox when this process is root: it becomes `nobody` first.

    The kernel does not hold root to RLIMIT_NPROC, not even under another name in a user namespace.
    The outer bwrap is needed because the Python installation may lie in root's home, which the user
    `nobody` may not enter.
    """
    if os.geteuid() != 0:
        return []
    setpriv = _program("setpriv")
    outer = [bwrap, "--die-with-parent", *_read_only_system(), "--dir", "/tmp"]
    for program in (bwrap, setpriv):
        if not program.startswith("/usr/bin/"):
            outer += [*_parents(program), "--ro-bind", program, program]
    outer += ["--bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev"]
    outer += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*outer, "--", setpriv, "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups", "--"]


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
def _runner_text() -> str:
    return Path(__file__).with_name("runner.py").read_text(encoding="utf-8")
