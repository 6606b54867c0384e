"""How many rows of real instruction data get a verdict; and verdicts beside their tasks, to be
read.

    # about half a minute
    SCODER_DATA=DIR python benchmarks/decontamination/precision.py
    # and 50 verdicts, drawn evenly over the detectors that decided them
    SCODER_DATA=DIR python benchmarks/decontamination/precision.py --read 50
    # with execution, about two minutes more
    SCODER_DATA=DIR python benchmarks/decontamination/precision.py --execute

The data are CodeAlpaca and Evol-Teacher (2,017 rows each), against HumanEval, MBPP (test),
LiveCodeBench and BigCodeBench-Hard. Nobody knows which of their rows are true leaks. So read
verdicts to judge the rate.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import textwrap
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow.parquet as pq

from builders.benchmarks import named, task_rows
from builders.datasets import rows as dataset_rows
from builders.standalone import contamination as checking

DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
DATASETS = {"codealpaca": "codealpaca/code_alpaca_2k.json", "evol-teacher": "evol-teacher/converted_alpaca_2k.json"}
BENCHMARKS = {
    "humaneval": "human-eval/HumanEval.jsonl.gz",
    "mbpp": "mbpp/mbpp_test.jsonl",
    "livecodebench": "livecodebench/o1-mini_eval_all.json",
    "bigcodebench": "bigcodebench-hard/bigcodebench_hard.json",
}
Row = dict[str, Any]


def verdicts(place: Path, execute: bool, overrides: list[str]) -> tuple[list[Row], list[Row], checking.Report]:
    """The hits and verdicts of a dataset, and the report."""
    with tempfile.TemporaryDirectory(prefix="precision-") as folder:
        files = {name: f"{folder}/{name}.parquet" for name in ("hits", "verdicts")}
        request = checking.Request(
            dataset=named(str(place)),
            benchmarks=[named(f"{name}={DATA / file}") for name, file in BENCHMARKS.items()],
            settings=checking.settings(overrides),
            execute=execute,
            workers=2,
            **files,
        )
        report = checking.check(request)
        return *(pq.read_table(file).to_pylist() for file in files.values()), report


def drawn(found: list[Row], count: int, seed: int) -> list[Row]:
    """Verdicts drawn evenly over the detectors of their strongest hits."""
    rng = random.Random(seed)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        groups[row["detector"]].append(row)
    for group in groups.values():
        rng.shuffle(group)
    chosen: list[Row] = []
    while len(chosen) < count and any(groups.values()):
        for name in sorted(groups):
            if groups[name] and len(chosen) < count:
                chosen.append(groups[name].pop())
    return sorted(chosen, key=lambda row: (row["detector"], row["row"]))


def print_pair(number: int, verdict: Row, hits: list[Row], item: str, task: str) -> None:
    """One verdict: what said so, and the two texts."""
    said = ", ".join(f"{h['detector']} {h['strength']:.2f} ({h['information']:.0f} bits)" for h in hits)
    print(
        f"\n{'=' * 20} {number}: row {verdict['row']} is {verdict['task_id']}: {said}\nevidence: {verdict['evidence']!r}"
    )
    for what, text in (("item", item), ("task", task)):
        print(f"-- {what}\n" + textwrap.indent(text.strip()[:900], "   "))


def main() -> int:
    """Print rates and pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--read", type=int, default=0, help="verdicts to print, of the first dataset")
    parser.add_argument("--dataset", choices=list(DATASETS), help="this one only")
    parser.add_argument("--execute", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="decontamination.key=value")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if absent := [f for f in [*DATASETS.values(), *BENCHMARKS.values()] if not (DATA / f).is_file()]:
        print(f"no {', '.join(absent)} under {DATA}: set SCODER_DATA")
        return 1
    tasks = {(b, r["task_id"]): r for b, f in BENCHMARKS.items() for r in task_rows(named(f"{b}={DATA / f}"))}
    for name, file in DATASETS.items():
        if options.dataset in (None, name):
            left, options.read = options.read, 0
            show(name, DATA / file, tasks, left, options)
    return 0


def show(name: str, place: Path, tasks: dict[tuple[str, str], Row], read: int, options: argparse.Namespace) -> None:
    """The rates of one dataset, and verdicts to read."""
    started = time.monotonic()
    hits, found, report = verdicts(place, options.execute, options.set)
    flagged = [v for v in found if v["is_contaminated"]]
    share = 100 * len(flagged) / report.num_rows
    print(
        f"\n== {name}: {len(flagged):,} of {report.num_rows:,} rows ({share:.2f}%), {time.monotonic() - started:.0f} s"
    )
    for row in report.rows():
        print(
            f"   {row['benchmark']:15}{row['detector']:11}{row['rows with a hit']:6} hits{row['rows with a verdict']:6} verdicts"
        )
    print("   decided by: " + ", ".join(f"{d} {n}" for d, n in Counter(v["detector"] for v in flagged).most_common()))
    most = Counter(v["task_id"] for v in flagged).most_common(12)
    print("   most frequent tasks: " + ", ".join(f"{task} {n}" for task, n in most))
    for line in report.lines():
        print(f"   {line}")
    rows = list(dataset_rows.rows(place)) if read else []
    for number, verdict in enumerate(drawn(flagged, read, options.seed), start=1):
        key = verdict["benchmark"], verdict["task_id"]
        same = [h for h in hits if h["row"] == verdict["row"] and (h["benchmark"], h["task_id"]) == key]
        item = "\n".join(str(rows[verdict["row"]].get(column) or "") for column in report.columns)
        print_pair(number, verdict, same, item, f"{tasks[key]['prompt']}\n{tasks[key]['solution'] or ''}")


if __name__ == "__main__":
    raise SystemExit(main())
