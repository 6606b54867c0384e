"""The system call filter of every program: a list of calls that it has no use for is refused.

In: the name of the processor. Out: a seccomp filter, as the bytes of a BPF program. Sockets may be
of the family AF_UNIX only. New namespaces, `ptrace`, anonymous memory files, System V memory, key
rings and other ways around the limits are refused with EPERM. `clone3` does not exist for the
program, because a filter cannot see its flags. The C library then uses `clone`.

    filter_for("x86_64")[:8].hex()    # '2000000004000000': load the architecture
"""

from __future__ import annotations

import errno
import socket
import struct

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PROCESSORS = tuple(_ARCHITECTURES)
"""The processors that we know the numbers of the system calls of."""

# name: (number on x86_64, number on aarch64); None where the processor has no such call
_REFUSED: dict[str, tuple[int, int | None]] = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmdt": (67, 197),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "ptrace": (101, 117),
    "kcmp": (312, 272),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "userfaultfd": (323, 282),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "vmsplice": (278, 75),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "lookup_dcookie": (212, 18),
    "personality": (135, 92),
    "syslog": (103, 116),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_SOCKETS = {"x86_64": (41, 53), "aarch64": (198, 199)}
_NEW_NAMESPACES = 0x7E020000
"""The flags CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of `clone`."""
_X32 = 0x40000000
"""Numbers from here on are calls of the x32 ABI, which has numbers of its own for them."""

_LOAD, _IF_EQUAL, _IF_ANY_BIT, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS


def filter_for(processor: str) -> bytes:
    """The filter for a processor of PROCESSORS. ValueError for any other."""
    if processor not in _ARCHITECTURES:
        raise ValueError(f"no system call table for {processor}: known are {', '.join(PROCESSORS)}")
    steps = [
        _step(_LOAD, 0, 0, _ARCHITECTURE),
        _step(_IF_EQUAL, 1, 0, _ARCHITECTURES[processor]),
        _step(_RETURN, 0, 0, _KILL),
        _step(_LOAD, 0, 0, _NUMBER),
        _step(_IF_AT_LEAST, 0, 1, _X32),
        _step(_RETURN, 0, 0, _ENOSYS),
    ]
    return b"".join([*steps, *_tree(sorted(_answers(processor).items()))])


def _answers(processor: str) -> dict[int, list[bytes]]:
    """What is done about each call that is not simply allowed, by its number."""
    column = PROCESSORS.index(processor)
    numbers = [pair[column] for pair in _REFUSED.values()]
    answers = {number: [_step(_RETURN, 0, 0, _EPERM)] for number in numbers if number is not None}
    answers[_CLONE3] = [_step(_RETURN, 0, 0, _ENOSYS)]
    answers[_CLONE[processor]] = _by_argument(_step(_IF_ANY_BIT, 0, 1, _NEW_NAMESPACES))
    for number in _SOCKETS[processor]:
        answers[number] = _by_argument(_step(_IF_EQUAL, 1, 0, socket.AF_UNIX))
    return answers


def _tree(answers: list[tuple[int, list[bytes]]]) -> list[bytes]:
    """A binary search for the number. A list would be walked through at every call."""
    if len(answers) == 1:
        ((number, steps),) = answers
        return [_step(_IF_EQUAL, 0, len(steps), number), *steps, _step(_RETURN, 0, 0, _ALLOW)]
    middle = len(answers) // 2
    lower, upper = _tree(answers[:middle]), _tree(answers[middle:])
    return [_step(_IF_AT_LEAST, len(lower), 0, answers[middle][0]), *lower, *upper]


def _by_argument(test: bytes) -> list[bytes]:
    """Refuse the call with EPERM where `test` of its first argument goes on with the next step."""
    return [
        _step(_LOAD, 0, 0, _FIRST_ARGUMENT),
        test,
        _step(_RETURN, 0, 0, _EPERM),
        _step(_RETURN, 0, 0, _ALLOW),
    ]


def _step(code: int, if_true: int, if_false: int, operand: int) -> bytes:
    """One instruction, as `struct sock_filter`."""
    return struct.pack("<HBBI", code, if_true, if_false, operand)
