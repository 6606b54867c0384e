"""Graded programs per second: trivial programs in one process, and apart from their tests.

In: nothing, or the folder of an older checkout to compare with. Out: a table: programs per second
of wall time, CPU seconds per program of the whole process tree, and the peak of its resident
memory. Each row is measured in a process of its own, on two workers, one after the other.

    python -m benchmarks.harness.throughput
    python -m benchmarks.harness.throughput --checkout ../older --programs 200

An older checkout is asked with plain texts, as its sandbox knows nothing else. CPU time is that of
a control group, because what runs inside of bubblewrap is not all reported to its parent. It
depends less than wall time on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from meters import CpuTime, Peak

ROOT = Path(__file__).resolve().parents[2]
SOLUTION = "def add(a, b):\n    return a + b\n"
TESTS = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n\ncheck(add)\n"
MODES = ("text", "one process", "apart")


def measured(mode: str, count: int, workers: int) -> dict[str, float]:
    """Run `count` programs in this process, and measure."""
    from builders import sandbox

    programs = [(number, program(mode)) for number in range(count)]
    list(sandbox.run_many(programs[:workers], workers))
    peak, group = Peak(), CpuTime()
    cpu, started = group.seconds(), time.monotonic()
    statuses = [result.status for _, result in sandbox.run_many(iter(programs), workers)]
    wall = time.monotonic() - started
    cpu = group.seconds() - cpu
    group.close()
    assert statuses == ["passed"] * count, statuses
    return {"per_second": count / wall, "cpu_ms": 1000 * cpu / count, "peak_mb": peak.stop()}


def program(mode: str) -> object:
    """The program of one mode."""
    from builders import sandbox

    if mode == "text":
        return sandbox.tested_program(SOLUTION, TESTS)
    return sandbox.Trial((SOLUTION,), (TESTS,), entry_point="add", is_apart=mode == "apart")


def in_a_process(checkout: Path, mode: str, count: int, workers: int) -> dict[str, float]:
    """The numbers of one row, from a process that imports the checkout."""
    code = (
        f"import sys; sys.path.insert(0, {str(checkout)!r})\n"
        f"import importlib.util as u; s = u.spec_from_file_location('throughput', {__file__!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
        f"import json; print(json.dumps(m.measured({mode!r}, {count}, {workers})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="an older checkout, asked with plain texts")
    parser.add_argument("--programs", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    rows = [(ROOT, mode, asked.programs) for mode in MODES]
    if asked.checkout is not None:
        rows.insert(0, (asked.checkout.resolve(), "text", max(20, asked.programs // 10)))
    print("| checkout | mode | programs/s | CPU ms/program | peak MiB |\n|---|---|---|---|---|")
    for checkout, mode, count in rows:
        found = in_a_process(checkout, mode, count, asked.workers)
        numbers = f"{found['per_second']:.1f} | {found['cpu_ms']:.1f} | {found['peak_mb']:.0f}"
        print(f"| {'this' if checkout == ROOT else checkout.name} | {mode} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
