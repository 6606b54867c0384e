"""How many re-implementations of benchmark tasks are found by running the benchmarks' tests.

Ours by execution, beside our default detectors, which see only the code. About two minutes:

    SCODER_DATA=DIR python benchmarks/decontamination/by_execution.py
    SCODER_DATA=DIR python benchmarks/decontamination/by_execution.py --tasks 1570 --list

1. LeetCodeDataset has for each task a solution and, apart from it, a model's answer. The answers
   are the items; the tasks with their solutions are the benchmark. We count how many answers are
   traced to their very task. Answers may be wrong: one that fails its task's own tests cannot be
   found by execution.
2. CodeAlpaca (2,017 rows of a proprietary model's code) against HumanEval and MBPP (test). We count
   the rows with a function that passes a task's tests, and how many of them the default detectors
   find too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow as pa

from builders import sandbox
from builders.benchmarks import named, task_rows
from builders.datasets import rows as dataset_rows
from builders.decontamination import detectors, execution
from builders.harness import grading, references
from builders.harness.extraction import candidate
from builders.harness.tasks import Task
from builders.recipe import Decontamination, Grading

DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LEET_CODE = DATA / "leetcode" / "LeetCodeDataset-v0.1.0-train.jsonl.gz"
CODE_ALPACA = DATA / "codealpaca" / "code_alpaca_2k.json"
BENCHMARKS = {"humaneval": "human-eval/HumanEval.jsonl.gz", "mbpp": "mbpp/mbpp_test.jsonl"}
Pairs = set[tuple[str, str]]
"""Items, and the tasks that they are traced to."""


def by_execution(oracle: execution.Oracle, ids: list[str], texts: list[str], stats: Counter[str]) -> Pairs:
    """The pairs that pass the tests."""
    hits = execution.hits(oracle, pa.array(ids), pa.array(texts, pa.string()), 2, stats)
    return set(zip(hits["item_id"].to_pylist(), hits["task_id"].to_pylist(), strict=True))


def by_detectors(tasks: list[dict[str, Any]], ids: list[str], texts: list[str]) -> Pairs:
    """The pairs that the default detectors flag under the default rule."""
    settings = Decontamination()
    hits = detectors.hits(detectors.index(tasks, settings), pa.array(ids), pa.array(texts, pa.string())).to_pylist()
    return {(h["item_id"], h["task_id"]) for h in hits if h["strength"] >= settings.min_strength}


def leet_code(count: int) -> None:
    """Answers of a model against the tasks that they answer."""
    started = time.monotonic()
    rows = list(dataset_rows.rows(LEET_CODE))
    chosen = rows[:: max(1, len(rows) // count)][:count]
    wanted = {row["task_id"] for row in chosen}
    tasks = [row for row in task_rows(named(f"leetcode={LEET_CODE}")) if row["task_id"] in wanted]
    oracle = execution.record_oracle(tasks, workers=2)
    runnable = {task.task_id: task for _, task in oracle.tasks}
    reasons = "; ".join(f"{n}: {reason}" for reason, n in oracle.left_out.most_common())
    print(f"LeetCodeDataset: {len(tasks)} tasks, {len(runnable)} can be run ({reasons})")
    answers = {
        row["task_id"]: candidate(runnable[row["task_id"]], row["response"], "chat").code
        for row in chosen
        if row["task_id"] in runnable
    }
    right = correct(runnable, answers)
    ids, texts = list(answers), list(answers.values())
    stats: Counter[str] = Counter()
    found = {"execution": by_execution(oracle, ids, texts, stats), "detectors": by_detectors(tasks, ids, texts)}
    print(f"  {len(ids)} answers, {len(right)} of them pass their task's tests")
    for who, pairs in found.items():
        own = {item for item, task in pairs if item == task}
        others = len({item for item, task in pairs if item != task})
        print(f"  {who:10} traced to its task: {len(own):4} ({100 * len(own) / len(ids):.1f}% of all, "
              f"{100 * len(own & right) / max(1, len(right)):.1f}% of the right ones); to another task: {others}")  # fmt: skip
    print("  " + ", ".join(f"{n} {what}" for what, n in stats.items()) + f"; {time.monotonic() - started:.0f} s")


def correct(tasks: dict[str, Task], answers: dict[str, str]) -> set[str]:
    """The answers that pass their own task's tests."""
    settings = Grading(workers=2)
    ready = references.prepare(list(tasks.values()), settings, print)
    known = [(name, tasks[name], "chat", text) for name, text in answers.items() if not ready[name].ungradable]
    return {name for name, verdict in grading.verdicts(known, ready, settings) if verdict.is_passed}


def code_alpaca(show: bool) -> None:
    """Instruction data against HumanEval and MBPP."""
    started = time.monotonic()
    tasks = [row for name, file in BENCHMARKS.items() for row in task_rows(named(f"{name}={DATA / file}"))]
    oracle = execution.record_oracle(tasks, workers=2)
    rows = list(dataset_rows.rows(CODE_ALPACA))
    ids = [str(number) for number in range(len(rows))]
    stats: Counter[str] = Counter()
    run = by_execution(oracle, ids, [row["output"] for row in rows], stats)
    seen = by_detectors(tasks, ids, ["\n\n".join((r["instruction"], r["input"], r["output"])) for r in rows])
    items = {item for item, _ in run}
    print(f"\nCodeAlpaca: {len(rows):,} rows against {len(tasks)} tasks, {len(oracle.tasks)} can be run")
    print(
        f"  {len(run)} (row, task) pairs pass, in {len(items)} rows; the detectors flag {len({i for i, _ in seen})} rows"
    )
    print(
        f"  of the pairs that pass {len(run & seen)} are flagged by the detectors too; {len(items - {i for i, _ in seen})} rows by execution only"
    )
    print("  " + ", ".join(f"{n} {what}" for what, n in stats.items()) + f"; {time.monotonic() - started:.0f} s")
    statements = {row["task_id"]: row["prompt"] for row in tasks}
    for item, task_id in sorted(run - seen, key=lambda pair: int(pair[0])) if show else ():
        asked, told = (
            " ".join(text.split())[:110] for text in (rows[int(item)]["instruction"], statements[task_id][-400:])
        )
        print(f"  row {item}: {asked}\n      {task_id}: {told}")


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=300, help="tasks of LeetCodeDataset, evenly drawn")
    parser.add_argument("--list", action="store_true", help="list the rows of CodeAlpaca that only execution finds")
    options = parser.parse_args()
    if absent := [
        str(p) for p in (LEET_CODE, CODE_ALPACA, *(DATA / f for f in BENCHMARKS.values())) if not p.is_file()
    ]:
        print(f"no {', '.join(absent)}: set SCODER_DATA to a folder with these files")
        return 1
    if not sandbox.is_available():
        print("no sandbox: `scoder doctor` says what is missing")
        return 1
    leet_code(options.tasks)
    code_alpaca(options.list)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
