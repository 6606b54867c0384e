"""Memory of judging a benchmark, by how much its tests hold: it should not grow with them.

    python benchmarks/harness/memory.py [--gigabytes 0.2 1] [--code DIR] [--answers 4] [--workers 2]

In: nothing. It makes tasks in LiveCodeBench's format (`livecodebench_tasks.py`). Out: a table with
a line for each size: the peak of the resident memory of the process that reads, prepares and
judges, and the peak of this process with all of its sandboxes. Each line is measured in a process
of its own. `--code` measures the code of another checkout. Files and cache lie in a folder that is
removed at the end, and that needs four times as much space as the largest size.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.2, 1.0])
    parser.add_argument("--code", type=Path, default=HERE.parents[2])
    parser.add_argument("--answers", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file is not None:
        judge(options.file, options.answers, options.workers)
        return
    print(
        "| GB of tests | tasks | peak of the process | with its sandboxes | seconds |\n|---|---|---|---|---|",
        flush=True,
    )
    for size in options.gigabytes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
            file = Path(folder, "tasks.jsonl")
            subprocess.run(
                [sys.executable, HERE.with_name("livecodebench_tasks.py"), file, "--gigabytes", str(size)], check=True
            )
            command = [sys.executable, HERE, "--file", file, "--answers", options.answers, "--workers", options.workers]
            environment = os.environ | {"PYTHONPATH": str(options.code), "XDG_CACHE_HOME": folder}
            subprocess.run([*map(str, command)], check=True, env=environment, cwd=options.code)


def judge(file: Path, num_answers: int, workers: int) -> None:
    """Read and prepare the tasks, judge answers to the first ones, and print a line."""
    sys.path.insert(0, str(HERE.parent))
    from livecodebench_tasks import large_answer
    from meters import Peak

    from builders.benchmarks import named
    from builders.harness.grading import verdicts
    from builders.recipe import Grading
    from builders.standalone.evaluation import prepared, read

    peak, started = Peak(), time.monotonic()
    grading = Grading(workers=workers)
    tasks = read([named(f"large={file}")])
    known = prepared(tasks, grading, lambda message: None)
    given = [(number, task, "chat", large_answer()) for number, task in enumerate(tasks["large"][:num_answers])]
    found = [verdict.status for _, verdict in verdicts(given, known["large"], grading)]
    assert found == ["passed"] * num_answers, found
    seconds, with_boxes = time.monotonic() - started, peak.stop()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    num_bytes = sum(len(case.input) + len(case.output or "") for task in tasks["large"] for case in task.cases)
    print(
        f"| {num_bytes / 1e9:.2f} | {len(tasks['large'])} | {own:,.0f} MiB | {with_boxes:,.0f} MiB | {seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
