"""Graded answers per second: HumanEval+ with all of its plus tests, ours beside evalplus.

    SCODER_DATA=DIR python benchmarks/harness/speed.py --evalplus PYTHON
    SCODER_DATA=DIR python benchmarks/harness/speed.py --evalplus PYTHON --checkout OLD --repeat 3

The answers are the canonical solutions, each `--repeat` times. Both know the expected outputs
already, and both use two processes. `PYTHON` is the interpreter of an environment with evalplus,
whose own pool and check (`evaluate.check_correctness`, fast_check) are timed. `OLD` is a checkout
of this project before tests and solution were apart, which is timed on the same answers.

In: HumanEvalPlus.jsonl.gz. Out: a table with answers per second, and CPU seconds and peak memory of
the whole process tree (`meters.py`, which needs root), and the ratio to evalplus.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
WORKERS = 2

OURS = """
from builders.benchmarks import named, tasks
from builders.harness import grading, programs, references
from builders.recipe import Grading
found = list(tasks(named(path)))[:limit]
settings = Grading(workers=workers)
ready = references.prepare(found, settings, lambda text: None)
answers = [((n, t.task_id), t, "completion", t.solution) for n in range(repeat) for t in found]
start()
passed = sum(one.is_passed for _, one in grading.verdicts(answers, ready, settings))
report(len(answers), passed)
"""

BEFORE = """
from builders import sandbox
from builders.harness.layouts import parse_task
from builders.harness.programs import test_program
import gzip
rows = [json.loads(line) for line in gzip.open(path, "rt")][:limit]
for row in rows:
    row.pop("test", None)  # with it, only the base tests would run
found = [parse_task(row) for row in rows]
programs = [((n, t.task_id), test_program(t, t.solution)) for n in range(repeat) for t in found]
limits = sandbox.SandboxLimits(wall_s=60, cpu_s=60)
sandbox.require()
start()
passed = sum(r.status == "passed" for _, r in sandbox.run_many(programs, workers, limits))
report(len(programs), passed)
"""

PEER = """
import os
os.environ["HUMANEVAL_OVERRIDE_PATH"] = path
from concurrent.futures import ProcessPoolExecutor, as_completed
from evalplus.data import get_human_eval_plus
from evalplus.evaluate import check_correctness, get_groundtruth
problems = dict(list(get_human_eval_plus().items())[:limit])
expected = get_groundtruth(problems, f"speed-{os.getpid()}", [])
jobs = [(n, p) for n in range(repeat) for p in problems.values()]
start()
passed = 0
with ProcessPoolExecutor(max_workers=workers) as pool:
    futures = [
        pool.submit(check_correctness, "humaneval", n, p, p["prompt"] + p["canonical_solution"],
                    expected[p["task_id"]], False, True, f"{n}")
        for n, p in jobs
    ]
    for future in as_completed(futures):
        found = future.result()
        passed += found["base"][0] == "pass" and found["plus"][0] == "pass"
report(len(jobs), passed)
"""

AROUND = """
import json, os, sys, time
sys.path.append(__FOLDER__)
from meters import CpuTime, Peak
path, limit, repeat, workers = json.loads(sys.argv[1])
_cpu, _start = CpuTime(), []
def start():
    _start.extend([time.monotonic(), _cpu.seconds(), Peak()])
def report(count, passed):
    wall, cpu, peak = time.monotonic() - _start[0], _cpu.seconds() - _start[1], _start[2].stop()
    _cpu.close()
    print("RESULT", json.dumps([count, passed, wall, cpu, peak]))
""".replace("__FOLDER__", repr(str(Path(__file__).parent)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evalplus", help="Python interpreter of an environment with evalplus 0.3.1")
    parser.add_argument("--checkout", help="folder of an older checkout of this project")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--limit", type=int, default=164, help="tasks at most")
    parser.add_argument("--rounds", type=int, default=2, help="the arms run in turn, so many times")
    options = parser.parse_args()
    path = str(DATA / "humaneval-plus" / "HumanEvalPlus.jsonl.gz")
    here = str(Path(__file__).parents[2])
    arms = {"ours": (sys.executable, OURS, here)}
    if options.evalplus:
        arms["evalplus"] = (options.evalplus, PEER, tempfile.mkdtemp())
    if options.checkout:
        arms["before"] = (sys.executable, BEFORE, options.checkout)
    found: dict[str, list[list[float]]] = {name: [] for name in arms}
    for _ in range(options.rounds):
        for name, (python, code, folder) in arms.items():
            found[name].append(timed(python, AROUND + code, folder, [path, options.limit, options.repeat, WORKERS]))
    print("arm        answers passed  wall s   CPU s  answers/s  answers/CPU s  peak MB")
    for name, runs in found.items():
        for count, passed, wall, cpu, peak in runs:
            print(f"{name:10} {count:7.0f} {passed:6.0f} {wall:7.1f} {cpu:7.1f} {count / wall:10.1f} {count / cpu:14.1f} {peak:8.0f}")  # fmt: skip
    best = {name: min(run[3] / run[0] for run in runs) for name, runs in found.items()}
    for name in set(arms) - {"ours"}:
        print(f"CPU per answer: {name} / ours = {best[name] / best['ours']:.1f}")


def timed(python: str, code: str, folder: str, arguments: list[object]) -> list[float]:
    """Answers, passed ones, wall and CPU seconds, and peak memory of one arm."""
    environment = os.environ | {"PYTHONPATH": folder}
    command = [python, "-c", code, json.dumps(arguments)]
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"{python} failed after {time.monotonic() - started:.0f} s:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


if __name__ == "__main__":
    main()
