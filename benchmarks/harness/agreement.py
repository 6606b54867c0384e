"""Do our verdicts agree with EvalPlus's? More than 2,000 answers to HumanEval+ and MBPP+.

    python benchmarks/harness/agreement.py --evalplus PYTHON --folder DIR
    python benchmarks/harness/agreement.py --evalplus PYTHON --folder DIR --every 10
    python benchmarks/harness/agreement.py --evalplus PYTHON --folder DIR --extraction

`PYTHON` is the interpreter of an environment with evalplus 0.3.1. The answers are made from the
canonical solutions by the operators of `mutations.py`. EvalPlus judges them as its own pipeline
does: `sanitize`, then `check_correctness` with all base and plus inputs, its time limits and
fast_check. We judge them by `extraction`, `references` and `grading`. The benchmark files are
looked for in `--data`, or in the folder SCODER_DATA.

With `--extraction` no sandbox is used. EvalPlus checks both its own sanitized code and the code
that we extract, so that only the extraction is compared.

In: HumanEvalPlus.jsonl.gz and MbppPlus.jsonl.gz. Out: the agreement, overall and for each operator,
every disagreement with its class, seconds of both, and how many tests each runs. Verdicts are kept
in the folder, so that a run that was ended goes on.

A disagreement has a class if a policy is the reason, which `POLICIES` names with its argument. All
others are "unexplained" and have to be looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import mutations

from builders.harness.extraction import candidate
from builders.harness.files import read_tasks
from builders.harness.tasks import Task

DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILES = {"humaneval": "humaneval-plus/HumanEvalPlus.jsonl.gz", "mbpp": "mbpp-plus/MbppPlus.jsonl.gz"}
WORKERS = 2

POLICIES = {
    "long draft, then final": "draft: EvalPlus takes the longest code, we take the last whole version",
    "thinking": "draft: EvalPlus takes the longest code, we take what follows the thinking",
    "short draft, then final": "draft: EvalPlus takes the longest code, we take the last whole version",
    "final, then another": "draft: EvalPlus takes the longest code, we take the last whole version",
    "two in one block": "two in one block: EvalPlus takes the first, we and Python take the last",
    "helper in another fence": "joined: EvalPlus sees one run of lines, we find a helper in another block",
    "decorated helper": "decorated: EvalPlus loses functions with decorators",
    "non-breaking spaces": "mended: EvalPlus refuses blanks that are no blanks",
    "notebook": "mended: EvalPlus loses what stands above a notebook's command",
    "guarded import": "set-up: EvalPlus loses `try: import`",
    "indented fence": "mended: EvalPlus refuses code that is indented as a list's item is",
    "wrong the second time": "state: EvalPlus runs base and plus inputs in a process each",
    "iterator": "iterator: where EvalPlus compares sets, it makes one of an iterator; we want a value",
    "equal to all": "hostile: EvalPlus compares with the answer's own `==`, we compare values",
}
"""Operators whose disagreements are wanted, and why."""
TASK_POLICIES = {
    "HumanEval/32": "find_zero: EvalPlus 0.3.1 never counts its cases as done, so no answer passes there",
}
"""Tasks whose disagreements are wanted. (`continue` stands before `details[i] = True`.)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evalplus", required=True, help="Python interpreter of an environment with evalplus 0.3.1")
    parser.add_argument("--folder", required=True, type=Path, help="where answers and verdicts are kept")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the benchmark files (SCODER_DATA)")
    parser.add_argument("--every", type=int, default=1, help="only every n-th task")
    parser.add_argument("--per-task", type=int, default=4, help="answers a task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--extraction", action="store_true", help="compare the extracted code only")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    paths = {name: options.data / file for name, file in FILES.items()}
    rows = [row for path in paths.values() for row in _rows(path)][:: options.every]
    answers = mutations.answers(rows, options.per_task, options.seed)
    print(f"{len(answers)} answers to {len(rows)} tasks, {len({a.operator for a in answers})} operators")
    tasks = {task.task_id: _as_equal(task) for path in paths.values() for task in read_tasks(path)}
    peer = _evalplus(options, paths, answers)
    ours = _extracted(options, paths, answers, tasks, peer) if options.extraction else _ours(options, answers, tasks)
    report(answers, peer | _alone(options, paths, answers, peer, ours), ours)


def _alone(
    options: argparse.Namespace,
    paths: dict[str, Path],
    answers: Sequence[mutations.Answer],
    peer: Verdicts,
    ours: Verdicts,
) -> Verdicts:
    """EvalPlus's verdicts once more, alone, on what it refuses and we pass: it may have been slow.

    Our own time-outs are tried again, too.
    """
    refused = [a for a in answers if ours[a.answer_id][0] and not peer[a.answer_id][0] and policy(a) is None]
    rows = [dataclasses.asdict(answer) | {"is_code": False} for answer in refused]
    again = _by_evalplus(options, paths, "alone", rows, workers=1) if rows else {}
    print(f"alone: {sum(v[0] for v in again.values())} of {len(again)} pass")
    return again


def policy(answer: mutations.Answer) -> str | None:
    """Why a disagreement on this answer is wanted."""
    return TASK_POLICIES.get(answer.task_id) or POLICIES.get(answer.operator)


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def _as_equal(task: Task) -> Task:
    return dataclasses.replace(task, comparison="equal")


Verdicts = dict[str, tuple[bool, bool, str, str]]
"""For each answer: passes all tests, passes the base tests, in words, and the code."""


def _evalplus(options: argparse.Namespace, paths: dict[str, Path], answers: Sequence[mutations.Answer]) -> Verdicts:
    rows = [dataclasses.asdict(answer) | {"is_code": False} for answer in answers]
    return _by_evalplus(options, paths, "evalplus", rows)


def _by_evalplus(
    options: argparse.Namespace,
    paths: dict[str, Path],
    name: str,
    rows: Sequence[dict[str, Any]],
    workers: int = WORKERS,
) -> Verdicts:
    """EvalPlus's verdicts, those of an earlier run included."""
    kept = options.folder / f"{name}.jsonl"
    done = {v["answer_id"]: v for v in _lines(kept)}
    waiting = [row for row in rows if row["answer_id"] not in done]
    if waiting:
        asked = options.folder / f"{name}-answers.jsonl"
        asked.write_text("".join(json.dumps(row) + "\n" for row in waiting))
        settings = {k: str(p) for k, p in paths.items()} | {
            "answers": str(asked),
            "verdicts": str(kept),
            "folder": str(options.folder.resolve()),
            "workers": workers,
        }
        (options.folder / "settings.json").write_text(json.dumps(settings))
        program = str(Path(__file__).with_name("evalplus_judge.py"))
        command = [options.evalplus, program, str(options.folder / "settings.json")]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        said = dict(line.split(" ", 1) for line in ended.stdout.splitlines() if line.startswith(("TESTS", "SECONDS")))
        print(f"{name}: {len(waiting)} answers, wall and CPU seconds {said['SECONDS']}")
        if name != "alone":
            (options.folder / "tests.json").write_text(said["TESTS"])
        done = {v["answer_id"]: v for v in _lines(kept)}
    wanted = [done[row["answer_id"]] for row in rows]
    sanitize_s, check_s = (sum(v[part] for v in wanted) for part in ("sanitize_s", "check_s"))
    print(f"{name}: sanitize {sanitize_s:.0f} s, check {check_s:.0f} s, of both processes")
    return {
        v["answer_id"]: (
            v["base"] == v["plus"] == "pass",
            v["base"] == "pass",
            f"base {v['base']}, plus {v['plus']}",
            v["code"],
        )
        for v in wanted
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _extracted(
    options: argparse.Namespace,
    paths: dict[str, Path],
    answers: Sequence[mutations.Answer],
    tasks: dict[str, Task],
    peer: Verdicts,
) -> Verdicts:
    """EvalPlus's verdicts on the code that we extract. The same code has the same verdict."""
    started = time.process_time()
    codes = {a.answer_id: candidate(tasks[a.task_id], a.text, a.form).code for a in answers}
    print(f"ours: extraction {time.process_time() - started:.1f} s")
    rows = [
        dataclasses.asdict(a) | {"is_code": True, "text": codes[a.answer_id]}
        for a in answers
        if codes[a.answer_id].strip() != peer[a.answer_id][3].strip()
    ]
    judged = _by_evalplus(options, paths, "extracted", rows)
    return {a.answer_id: judged.get(a.answer_id, peer[a.answer_id]) for a in answers}


def _ours(options: argparse.Namespace, answers: Sequence[mutations.Answer], tasks: dict[str, Task]) -> Verdicts:
    """Our verdicts, from the sandbox."""
    from builders.harness import grading, references
    from builders.recipe import Grading

    settings = Grading(workers=WORKERS)
    used = [tasks[task_id] for task_id in dict.fromkeys(a.task_id for a in answers)]
    started, cpu = time.monotonic(), cpu_seconds()
    ready = references.prepare(used, settings, print)
    print(f"ours: references {time.monotonic() - started:.0f} s, CPU {cpu_seconds() - cpu:.0f} s")
    for task_id, one in ready.items():
        if one.ungradable:
            print(f"  ungradable: {task_id}: {one.ungradable}")
    _print_tests(options, tasks, used)
    started, cpu = time.monotonic(), cpu_seconds()
    asked = ((a.answer_id, tasks[a.task_id], a.form, a.text) for a in answers)
    found = {
        answer_id: (v.is_passed, bool(v.is_base_passed), f"{v.status}: {v.message}", v.extracted)
        for answer_id, v in grading.verdicts(asked, ready, settings)
    }
    print(f"ours: {len(found)} answers, wall {time.monotonic() - started:.0f} s, CPU {cpu_seconds() - cpu:.0f} s")
    return found


def _print_tests(options: argparse.Namespace, tasks: dict[str, Task], used: Sequence[Task]) -> None:
    peers = json.loads((options.folder / "tests.json").read_text())
    fewer = {t.task_id: (len(t.cases), peers[t.task_id]) for t in used if len(t.cases) < peers.get(t.task_id, 0)}
    total = sum(peers.get(task.task_id, 0) for task in used)
    print(f"tests: evalplus {total}, ours {sum(len(task.cases) for task in used)}")
    print(f"tasks where we run fewer: {len(fewer)} {fewer or ''}")


def cpu_seconds() -> float:
    """Of the whole machine, as the judge of EvalPlus counts them."""
    with open("/proc/stat") as file:
        ticks = [int(tick) for tick in file.readline().split()[1:]]
    return (sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")


def report(answers: Sequence[mutations.Answer], peer: Verdicts, ours: Verdicts) -> None:
    """The agreement overall and by operator, and every disagreement."""
    print(f"passed: evalplus {sum(v[0] for v in peer.values())}, ours {sum(v[0] for v in ours.values())}")
    differing = [a for a in answers if peer[a.answer_id][0] != ours[a.answer_id][0]]
    base = [a for a in answers if peer[a.answer_id][1] != ours[a.answer_id][1]]
    by_policy = [a for a in differing if policy(a)]
    rest = [a for a in answers if not policy(a)]
    wrong = [a for a in differing if not policy(a)]
    print(f"agreement, all tests: {len(answers) - len(differing)} of {len(answers)} ({_share(answers, differing)})")
    print(f"agreement, base tests: {len(answers) - len(base)} of {len(answers)} ({_share(answers, base)})")
    print(f"outside of the policies: {len(rest) - len(wrong)} of {len(rest)} ({_share(rest, wrong)})")
    print("\noperator                              answers  evalplus  ours  differ")
    for operator in mutations.operators():
        of_it = [a for a in answers if a.operator == operator]
        print(
            f"{operator:38}{len(of_it):7}{_count(of_it, peer):10}{_count(of_it, ours):6}"
            f"{sum(a in differing for a in of_it):8}"
        )
    print("\npolicy differences")
    for reason, count in Counter(policy(a) for a in by_policy).most_common():
        print(f"{count:5}  {reason}")
    print("\ndisagreements")
    for a in [*wrong, *by_policy]:
        kind = "policy" if policy(a) else "unexplained"
        print(f"{kind:11}  {a.answer_id:45}  evalplus {peer[a.answer_id][2]:28}  ours {ours[a.answer_id][2]:.80}")


def _share(answers: Sequence[object], differing: Sequence[object]) -> str:
    return f"{1 - len(differing) / max(1, len(answers)):.2%}"


def _count(answers: Sequence[mutations.Answer], verdicts: Verdicts) -> int:
    return sum(verdicts[a.answer_id][0] for a in answers)


if __name__ == "__main__":
    main()
