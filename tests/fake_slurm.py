"""A Slurm cluster of one machine: `sbatch`, `squeue`, `sacct` and `scancel` over local processes.

In: the four commands' arguments as the executor gives them, and SLURM_FAKE, a folder that holds a
subfolder per job with a file per array task (its state). Out: what the real ones print. A task is a
process of its own, with a log, an exit code and the variables that Slurm sets; what no test needs
is not there. A job that is no array has one task. A file `jobs/../held` keeps jobs
in the queue that begin after it is there: all, or those after the job whose number is in it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scancel")


def install(folder: Path) -> Path:
    """Put the commands into `folder/bin`, the jobs into `folder/jobs`; returns what PATH needs."""
    (folder / "bin").mkdir()
    (folder / "jobs").mkdir()
    for command in COMMANDS:
        path = folder / "bin" / command
        path.write_text(f'#!/bin/sh\nSLURM_FAKE={folder}/jobs exec {sys.executable} {__file__} {command} "$@"\n')
        path.chmod(0o755)
    return folder / "bin"


def states(folder: Path) -> list[str]:
    """The states of all tasks of all jobs, by job and number."""
    return [(p.read_text().split() or ["PENDING"])[0] for p in sorted((folder / "jobs").glob("*/task-*"))]


def _option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def _directives(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", script, re.M))


def sbatch(jobs: Path, arguments: list[str]) -> None:
    """Accept a script, start its runner and print the number of the job."""
    script = Path(arguments[-1]).read_text()
    asked = _directives(script)
    assert arguments[0].startswith("--export=ALL,RUN_OFFSET=0") or "array" not in asked, arguments
    if asked["partition"] == "closed":
        sys.exit("sbatch: error: invalid partition specified: closed")
    number = len(list(jobs.iterdir())) + 1
    job = jobs / str(number)
    job.mkdir()
    (job / "script").write_text(script)
    (job / "name").write_text(asked["job-name"])
    last = int(re.match(r"0-(\d+)", asked.get("array", "0-0"))[1])  # type: ignore[index]
    for task in range(last + 1):
        (job / f"task-{task:03d}").write_text("PENDING Priority")
    running = subprocess.Popen(
        [sys.executable, __file__, "runner", str(job)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (job / "runner").write_text(str(running.pid))
    print(f"Submitted batch job {number}")


def runner(job: Path) -> None:
    """Run the tasks of a job, as many at a time as its array says, two by default."""
    asked = _directives((job / "script").read_text())
    while _is_held(job):
        time.sleep(0.05)
    at_a_time = int(asked.get("array", "").partition("%")[2] or 2)
    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(lambda state: _task(job, state, asked["output"]), sorted(job.glob("task-*"))))


def _is_held(job: Path) -> bool:
    try:
        return int(job.name) > int((job.parents[1] / "held").read_text() or 0)
    except FileNotFoundError:
        return False


def _task(job: Path, state: Path, output: str) -> None:
    number = str(int(state.name.removeprefix("task-")))
    state.write_text("RUNNING None")
    environment = os.environ | {"SLURM_JOB_ID": job.name, "SLURM_ARRAY_TASK_ID": number, "RUN_OFFSET": "0"}
    with open(output.replace("%A", job.name).replace("%a", number), "wb") as log:
        code = subprocess.call(["bash", str(job / "script")], env=environment, stdout=log, stderr=subprocess.STDOUT)
    state.write_text({0: "COMPLETED", 137: "OUT_OF_MEMORY"}.get(code, f"FAILED {code}"))


def squeue(jobs: Path, arguments: list[str]) -> None:
    """Print the tasks that wait or run; it fails once for every line of the file `jobs/../busy`."""
    busy = jobs.parent / "busy"
    lines = busy.read_text().splitlines() if busy.exists() else []
    if lines:
        busy.write_text("\n".join(lines[1:]))
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    for job in _named(jobs, arguments):
        texts = [path.read_text() for path in sorted(job.glob("task-*"))]
        name = (job / "name").read_text() + " " if "%j" in _option(arguments, "--format") else ""
        print("\n".join(name + text for text in texts if text.startswith(("PENDING", "RUNNING"))))


def sacct(jobs: Path, arguments: list[str]) -> None:
    """Print the state of every task of a job."""
    for path in sorted((jobs / _option(arguments, "--jobs")).glob("task-*")):
        print(path.read_text().split()[0])


def scancel(jobs: Path, arguments: list[str]) -> None:
    """End the tasks of the jobs with a name."""
    for job in _named(jobs, arguments):
        subprocess.run(["kill", "-KILL", "--", f"-{(job / 'runner').read_text()}"], capture_output=True, check=False)
        for path in job.glob("task-*"):
            if path.read_text().startswith(("PENDING", "RUNNING")):
                path.write_text("CANCELLED by 0")


def _named(jobs: Path, arguments: list[str]) -> list[Path]:
    wanted = _option(arguments, "--name").split(",")
    return [job for job in sorted(jobs.iterdir()) if (job / "name").read_text() in wanted]


if __name__ == "__main__":
    if sys.argv[1] == "runner":
        runner(Path(sys.argv[2]))
    else:
        globals()[sys.argv[1]](Path(os.environ["SLURM_FAKE"]), sys.argv[2:])
