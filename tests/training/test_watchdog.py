"""A process ends with the one that started it, also if it was stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.watchdog import is_stopped

CHILD = """
import os, sys, time
from pathlib import Path
from training.watchdog import end_with

end_with(int(sys.argv[1]), dies_with=sys.argv[2] == "True")
print(os.getpid(), flush=True)
while True:
    time.sleep(0.01)
    Path(sys.argv[3]).write_text(str(os.getppid()))
"""
PARENT = (
    "import os, subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], str(os.getpid()), *sys.argv[2:]],"
    " start_new_session=True)"
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
@pytest.mark.parametrize("dies_with", [True, False])
def test_a_stopped_process_ends_with_a_killed_launcher(dies_with: bool, tmp_path: Path) -> None:
    arguments = [CHILD, str(dies_with), str(tmp_path / "written")]
    launcher = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    child = int(launcher.stdout.readline())
    _until(lambda: (tmp_path / "written").exists())
    os.kill(child, signal.SIGSTOP)
    _until(lambda: is_stopped(child))
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    try:
        _until(lambda: not _runs(child))
    finally:
        if _runs(child):
            os.kill(child, signal.SIGKILL)
    if dies_with:  # the child never went on without its launcher
        assert (tmp_path / "written").read_text() in ("", str(launcher.pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(is_so: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
