"""Kill a run of the smoke recipe at random moments, resume it, and compare with an uninterrupted
run.

    python benchmarks/store/kill_drill.py --kills 10 --seed 0

Prints how many runs were killed, and for every table whether its rows and its Parquet bytes are
equal. Exits 1 on a difference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from store import CONTRACTS, Store
from tests.smoke_run import RECIPE, contents, kill_repeatedly, rows, scoder


def main() -> int:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-drill-") as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        scoder("run", str(RECIPE), "--store", str(whole)).check_returncode()
        seconds = sum(r.usage.wall_s for r in Store(whole).records())
        times = kill_repeatedly(killed, options.kills, options.seed, longest_s=max(8.0, seconds / 3))
        scoder("run", str(RECIPE), "--store", str(killed)).check_returncode()
        print(f"{times} of {options.kills} runs killed; an uninterrupted run builds for {seconds:.0f} s")
        unequal = [t for t in CONTRACTS if not rows(killed, t).equals(rows(whole, t))]
        for table in CONTRACTS:
            print(f"{table:22} {rows(whole, table).num_rows:6} rows  {'DIFFERENT' if table in unequal else 'equal'}")
        same_bytes = contents(killed) == contents(whole)
        print(f"Parquet bytes of all {len(contents(whole))} partitions: {'equal' if same_bytes else 'DIFFERENT'}")
        return int(bool(unequal) or not same_bytes)


if __name__ == "__main__":
    sys.exit(main())
