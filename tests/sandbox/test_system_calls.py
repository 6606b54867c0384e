"""The system call filter, run step by step here: what it answers, on each processor."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from builders import sandbox
from builders.sandbox.system_calls import PROCESSORS, filter_for

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NUMBERS = {
    "x86_64": {"read": 0, "socket": 41, "socketpair": 53, "clone": 56, "ptrace": 101, "unshare": 272, "memfd": 319},
    "aarch64": {"read": 63, "socket": 198, "socketpair": 199, "clone": 220, "ptrace": 117, "unshare": 97, "memfd": 279},
}


def answer(processor: str, number: int, first: int = 0, architecture: int | None = None) -> int:
    """What the filter returns for a call with that first argument."""
    data = struct.pack("<IIQQ", number, architecture or ARCHITECTURES[processor], 0, first)
    steps = list(struct.iter_unpack("<HBBI", filter_for(processor)))
    place = value = 0
    while True:
        code, if_true, if_false, operand = steps[place]
        place += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:
            return operand
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            place += if_true if holds else if_false


def refused(number: int) -> int:
    return 0x50000 | number


@pytest.mark.parametrize("processor", PROCESSORS)
def test_calls_are_allowed_and_refused(processor):
    numbers = NUMBERS[processor]
    assert answer(processor, numbers["read"]) == ALLOWED
    for name in ("ptrace", "unshare", "memfd"):
        assert answer(processor, numbers[name]) == refused(errno.EPERM), name
    assert answer(processor, 435) == refused(errno.ENOSYS)
    assert answer(processor, 0x40000000 + numbers["read"]) == refused(errno.ENOSYS)
    assert answer(processor, numbers["read"], architecture=0x40000003) == KILLED


@pytest.mark.parametrize("processor", PROCESSORS)
def test_arguments_decide_about_sockets_and_clone(processor):
    numbers = NUMBERS[processor]
    for name in ("socket", "socketpair"):
        answers = {family: answer(processor, numbers[name], family) for family in range(50)}
        assert {family for family, said in answers.items() if said == ALLOWED} == {socket.AF_UNIX}
        # only the lower half of the register counts for the kernel
        assert answer(processor, numbers[name], (1 << 32) | socket.AF_INET) == refused(errno.EPERM)
    threads = 0x3D0F00  # what a thread of the C library asks for
    assert answer(processor, numbers["clone"], threads) == ALLOWED
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert answer(processor, numbers["clone"], threads | 1 << bit) == refused(errno.EPERM)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_other_number_is_allowed(processor):
    answers = [answer(processor, number) for number in range(600)]
    assert set(answers) == {ALLOWED, refused(errno.EPERM), refused(errno.ENOSYS)}
    assert 60 < sum(said != ALLOWED for said in answers) < 100


def test_another_processor_is_refused_with_a_message(monkeypatch):
    with pytest.raises(ValueError, match="no system call table for riscv64: known are x86_64, aarch64"):
        filter_for("riscv64")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    sandbox._problem.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="no system call filter for the processor riscv64"):
            sandbox.run_python("pass")
    finally:
        sandbox._problem.cache_clear()
