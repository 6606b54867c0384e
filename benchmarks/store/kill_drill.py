"""Kill and stop processes of a run of the smoke recipe at random moments, and compare what it made
with an uninterrupted run.

    python benchmarks/store/kill_drill.py --kills 10 --seed 0 [--replicas 2] [--gpus 2]

The coordinator, processes that train and, with several replicas, those that answer are hit
(`tests/run_faults.py`). With simulated GPUs, each training has a process for each of them, too, in
both runs. Prints each fault: when it was, what it met, how long until that had ended
and was there again. Then for every table whether its rows are equal, whether the Parquet bytes and
the trained weights are, and which processes are left. Exits 1 on a difference, on a fault whose
processes did not end within 30 s, and on a process that is left.

Not compared are the bytes of `evaluations` and of what reads them: they hold measured seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from store import CONTRACTS
from tests.run_faults import KINDS, Fault, FaultyRun, drawn
from tests.smoke_run import RECIPE, contents, rows, scoder, trained_weights, unmeasured
from training.gpus import SIMULATED

LONGEST_RUN_S = 3600.0
ENGINES = ("synthesizer", "scorer", "evaluation")


def main() -> int:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replicas", type=int, default=1, help="processes of each engine; with 2 some are killed, too")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs to simulate: a process of each training for each")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="kinds of faults; by default all")
    options = parser.parse_args()
    kinds = tuple(options.kinds or (kind for kind in KINDS if "replica" not in kind or options.replicas > 1))
    replicas = [word for name in ENGINES for word in ("--set", f"{name}.engine.replicas={options.replicas}")]
    if options.gpus:
        os.environ[SIMULATED] = str(options.gpus)
    with tempfile.TemporaryDirectory(prefix="kill-drill-") as folder:
        whole, hit = Path(folder, "whole"), Path(folder, "hit")
        start = time.monotonic()
        scoder("run", str(RECIPE), "--store", str(whole), timeout=LONGEST_RUN_S).check_returncode()
        seconds = time.monotonic() - start
        print(f"an uninterrupted run takes {seconds:.0f} s", flush=True)
        with FaultyRun(hit, options.seed, tuple(replicas), longest_s=max(8.0, seconds / 3)) as run:
            faults = [_told(run.suffer(kind)) for kind in drawn(options.kills, options.seed, kinds)]
            code = run.finish()
            left = run.left()
        if code:
            print(f"exit code {code}; the end of the log:\n{run.log.read_text(errors='replace')[-4000:]}")
            return 1
        met = [fault for fault in faults if fault.is_met]
        late = [fault for fault in met if fault.ended_s is None]
        print(f"{len(met)} of {len(faults)} faults met the run")
        for failure in run.failures:
            print(f"a run failed and was started again: {failure}")
        print(f"processes that are left: {', '.join(process.command for process in left) or 'none'}")
        return int(not _are_equal(hit, whole) or bool(left) or bool(late))


def _told(fault: Fault) -> Fault:
    print(fault.text(), flush=True)
    return fault


def _are_equal(hit: Path, whole: Path) -> bool:
    unequal = [table for table in CONTRACTS if not rows(hit, table).equals(rows(whole, table))]
    for table in CONTRACTS:
        print(f"{table:22} {rows(whole, table).num_rows:6} rows  {'DIFFERENT' if table in unequal else 'equal'}")
    ours, theirs = unmeasured(contents(hit)), unmeasured(contents(whole))
    has_same = contents(hit).keys() == contents(whole).keys()
    print(f"Parquet bytes of {len(theirs)} of {len(contents(whole))} partitions: {_word(ours == theirs and has_same)}")
    for name in sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)):
        print(f"  {name}: {ours.get(name)}, uninterrupted {theirs.get(name)}")
    print(
        f"trained weights in {len(trained_weights(whole))} files: {_word(trained_weights(hit) == trained_weights(whole))}"
    )
    return not unequal and ours == theirs and has_same and trained_weights(hit) == trained_weights(whole)


def _word(is_equal: bool) -> str:
    return "equal" if is_equal else "DIFFERENT"


if __name__ == "__main__":
    sys.exit(main())
