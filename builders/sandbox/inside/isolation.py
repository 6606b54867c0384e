"""Inside a box: a process for each program, which sees and reaches nothing of the others.

In: the limits of a program, and its descriptors. Out: a process in namespaces of its own, with a
fresh /tmp, /dev/shm and /proc, without capabilities, under the limits and the system call filter.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
from typing import Any

_NEW_NAMESPACES = 0x20000 | 0x8000000 | 0x20000000
"""CLONE_NEWNS, CLONE_NEWIPC and CLONE_NEWPID."""
_SET_TID, _CLEAR_TID = 0x01000000, 0x00200000
_CLONE = {"x86_64": 56, "aarch64": 220}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_NO_NEW_PRIVS, _PR_GET_TID_ADDRESS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 40, 47, 4
_LAST_CAPABILITY = 40
_NOSUID_NODEV, _NOEXEC = 2 | 4, 8
_CAPABILITY_HEADER = bytes.fromhex("22050820") + bytes(4)
"""struct __user_cap_header_struct: version 3, this process."""
FIRST_FD = 240
"""The descriptors of the sandbox lie here and above, so that a program's own begin with 3."""
MOST_FDS = 256

_THREAD_STACK = 8 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_python = ctypes.PyDLL(None)
_python.syscall.restype = ctypes.c_long


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def harden() -> None:
    """Give up, for this process and its children, what starting a program could give back."""
    for capability in range(_LAST_CAPABILITY + 1):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    set_dumpable(False)
    _keep_thread_stacks_small()


def _keep_thread_stacks_small() -> None:
    """Give threads stacks of the usual size, for which there is room in a program's memory.

    The C library would make them as large as the stack of the process may be.
    """
    attributes = ctypes.create_string_buffer(256)
    if hasattr(_libc, "pthread_setattr_default_np"):  # another C library has a size of its own
        _libc.pthread_attr_init(attributes)
        _libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_THREAD_STACK))
        _libc.pthread_setattr_default_np(attributes)


def set_dumpable(is_dumpable: bool) -> None:
    """Allow or forbid other processes of this user to look into this one."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, int(is_dumpable), 0, 0, 0), "PR_SET_DUMPABLE")


def spawn() -> int:
    """Fork into new namespaces. Returns 0 in the child, and its process number in the parent.

    `os.fork` cannot ask for namespaces, so we make the system call and run Python's own hooks
    around it. The C library keeps the thread's number in a place that the kernel must write.
    """
    place = ctypes.c_void_p()
    known = _libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(place), 0, 0, 0) == 0 and bool(place.value)
    flags = _NEW_NAMESPACES | signal.SIGCHLD | (_SET_TID | _CLEAR_TID if known else 0)
    tid, nothing = (place if known else None), ctypes.c_void_p()
    machine = platform.machine()
    rest = (tid, nothing) if machine == "x86_64" else (nothing, tid)
    number = ctypes.c_long(_CLONE[machine])
    _python.PyOS_BeforeFork()
    pid = _python.syscall(number, ctypes.c_ulong(flags), nothing, nothing, *rest)
    if pid == 0:
        _python.PyOS_AfterFork_Child()
    else:
        _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError("clone into new namespaces was refused")
    return int(pid)


def settle(limits: dict[str, Any], fds: dict[str, int], system_calls: bytes) -> dict[str, int]:
    """Make the child what a program may be. Returns where its descriptors lie now.

    `fds` has `stdout` and `stderr`, which become 1 and 2, and what the sandbox itself needs. All
    other descriptors are closed.
    """
    # A signal to the process group would reach the zygote, across process namespaces.
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    places = _arrange(fds)
    _mount_private(limits["file_mb"])
    set_limits(limits)
    set_dumpable(True)
    _checked(_libc.capset(_CAPABILITY_HEADER, bytes(24)), "capset")
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")
    program = _Filter(len(system_calls) // 8, system_calls)
    _checked(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp")
    return places


def _arrange(fds: dict[str, int]) -> dict[str, int]:
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(fds["stdout"], 1)
    os.dup2(fds["stderr"], 2)
    own = [name for name in fds if name not in ("stdout", "stderr")]
    # No descriptor here lies at FIRST_FD or above, so that none is overwritten.
    places = {name: FIRST_FD + position for position, name in enumerate(own)}
    for name, place in places.items():
        os.dup2(fds[name], place, inheritable=False)
    os.closerange(3, FIRST_FD)
    os.closerange(FIRST_FD + len(own), MOST_FDS)
    return places


def _mount_private(file_mb: int) -> None:
    options = f"size={file_mb}m,mode=1777,nr_inodes=16384".encode()
    for folder in (b"/tmp", b"/dev/shm"):
        _checked(_libc.mount(b"tmpfs", folder, b"tmpfs", _NOSUID_NODEV, options), folder.decode())
    _checked(_libc.mount(b"proc", b"/proc", b"proc", _NOSUID_NODEV | _NOEXEC, None), "/proc")
    os.chdir("/tmp")


def set_limits(limits: dict[str, Any]) -> None:
    """Set the limits of this process. Its children inherit them and cannot raise them."""
    mebibyte = 1024 * 1024
    values = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_CPU: (limits["cpu_s"], limits["cpu_s"] + 1),
        resource.RLIMIT_AS: (limits["memory_mb"] * mebibyte,) * 2,
        resource.RLIMIT_FSIZE: (limits["file_mb"] * mebibyte,) * 2,
        resource.RLIMIT_NPROC: (limits["processes"],) * 2,
        resource.RLIMIT_NOFILE: (MOST_FDS, MOST_FDS),
    }
    for name, pair in values.items():
        resource.setrlimit(name, pair)


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what} was refused: {os.strerror(ctypes.get_errno())}")
