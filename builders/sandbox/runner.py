"""What runs inside the sandbox: a supervisor that limits one program and says how it ended.

In: standard input holds {"program", "cpu_s", "memory_mb", "file_mb", "processes"} as JSON. The
argument is the number of the descriptor for reports. Out: JSON lines on that descriptor: {"state":
"started"} and then {"state": "ended", "exit_code", "passed", "memory"}.

`builders/sandbox/__init__.py` sends this text to `python -c`. Nothing else imports or starts it.
The program runs in a forked child, which does not hold the report descriptor. Only when its last
statement is done does the child get the key that the supervisor takes as proof.
"""

import contextlib
import ctypes
import json
import linecache
import os
import resource
import signal
import sys
import traceback
import types

PR_SET_DUMPABLE = 4
KEY_BYTES = 32
# The supervisor and the init process of the namespace count against the limit as well.
OWN_PROCESSES = 2
OUT_OF_MEMORY = b"memory"


def main() -> None:
    """Run the program of standard input in a child, report, and leave no process behind."""
    # The child must not open this process's memory and descriptors in /proc.
    set_dumpable(False)
    report_fd = int(sys.argv[1])
    with open(0, "rb", closefd=False) as stdin:
        request = json.loads(stdin.read())
    key_out, key_in = os.pipe()
    proof_out, proof_in = os.pipe()
    child = os.fork()
    if child == 0:
        for fd in (report_fd, key_in, proof_out):
            os.close(fd)
        run_child(request, key_out, proof_in)
    report(report_fd, {"state": "started"})
    key = os.urandom(KEY_BYTES)  # made after the fork: the child has no copy of it
    os.write(key_in, key)
    # After a fork two processes come to the end. The second must not wait for a key.
    os.close(key_in)
    _, wait_status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    exit_code = os.waitstatus_to_exitcode(wait_status)
    os.set_blocking(proof_out, False)
    try:
        proof = os.read(proof_out, 4 * KEY_BYTES)
    except BlockingIOError:
        proof = b""
    passed = proof == key and exit_code == 0
    memory = proof == OUT_OF_MEMORY
    report(report_fd, {"state": "ended", "exit_code": exit_code, "passed": passed, "memory": memory})


def report(fd: int, message: dict) -> None:
    """Write one JSON line."""
    os.write(fd, json.dumps(message).encode() + b"\n")


def set_dumpable(is_dumpable: bool) -> None:
    """Allow or forbid other processes of this user to look into this one (PR_SET_DUMPABLE)."""
    if ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, int(is_dumpable), 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_DUMPABLE) was refused: the program could look into its supervisor")


def run_child(request: dict, key_fd: int, proof_fd: int) -> None:
    """Run the program and leave the process. Only one that ran to its end sends the key back."""
    # Bound before the program runs, as it may replace anything in these modules.
    read, write, leave = os.read, os.write, os._exit
    exit_code = 1
    try:
        stdin = os.open("/dev/null", os.O_RDONLY)
        os.dup2(stdin, 0)
        os.close(stdin)
        set_dumpable(True)
        set_limits(request)
        exit_code, proof = run_program(request["program"])
        flush_output()
        if proof is None:
            proof = read(key_fd, KEY_BYTES)
        write(proof_fd, proof)
    finally:
        leave(exit_code)


def set_limits(request: dict) -> None:
    """Set the limits of this process. Its children inherit them and cannot raise them."""
    mebibyte = 1024 * 1024
    limits = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (request["cpu_s"], request["cpu_s"] + 1),
        resource.RLIMIT_AS: (request["memory_mb"] * mebibyte,) * 2,
        resource.RLIMIT_FSIZE: (request["file_mb"] * mebibyte,) * 2,
        resource.RLIMIT_NPROC: (request["processes"] + OWN_PROCESSES,) * 2,
        resource.RLIMIT_NOFILE: (256, 256),
    }
    for name, values in limits.items():
        resource.setrlimit(name, values)


def run_program(program: str) -> tuple[int, bytes | None]:
    """Execute the text as `__main__`. Returns the exit code and what to send as proof.

    The proof is None when the last statement is done: then the key is sent.
    """
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    linecache.cache["program.py"] = (len(program), None, program.splitlines(True), "program.py")
    try:
        exec(compile(program, "program.py", "exec"), module.__dict__)
    except SystemExit as stop:
        return exit_code_of(stop), b"exit"
    except MemoryError:
        return 1, OUT_OF_MEMORY
    except BaseException as error:  # whatever the program raises is its result
        # The first frame is the runner's own, so it is left out.
        runner_frame = error.__traceback__
        traceback.print_exception(type(error), error, runner_frame and runner_frame.tb_next)
        return 1, b"error"
    return 0, None


def exit_code_of(stop: SystemExit) -> int:
    """The exit code that Python gives to a SystemExit."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1


def flush_output() -> None:
    """Flush what the program printed. It may have closed or replaced the streams."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
