"""A drill: an endpoint fails in the middle of an evaluation, and the evaluation is killed.

    # 300 tasks in two forms, a fifth of the attempts faulty, three kills
    .venv/bin/python benchmarks/harness/fault_drill.py
    # a quick look
    .venv/bin/python benchmarks/harness/fault_drill.py --tasks 60 --kills 1

The tasks are made up (`tests/made_benchmarks.py`). An endpoint answers every fifth of them wrongly,
so that the right number is known. Faults hit a share of the attempts. `scoder evaluate -o DIR` runs
in a process of its own. The scenes are

- kills: it is killed with SIGKILL at seeded moments and started again, until it ends. A few tasks
  are refused for ever, fewer than `max_error_share`. The number must be right, the rows those of an
  evaluation without any fault, and nothing that was kept may be asked again.
- half refused: half of the tasks are refused. There must be no number, and exit code 1.
- key revoked: in the middle every answer becomes 401. There must be no number. With the key in
  order again, the same command must give the right number, and ask nothing again.
- no endpoint: it is gone from the start. There must be no number.

Prints a line per check. Exits 1 when a check fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fault_server import FaultServer, chance, ok, status
from tests.made_benchmarks import answer, benchmark, is_chat, number_of
from tests.smoke_run import ROOT, command

FAULTS = ("429", "500", "503", "cut", "cut-midway", "truncated", "wrong-schema")
# Fewer than the retries of the engine, so that all but the refused tasks are answered in the end.
MOST_FAULTS = 4
WRONG_EVERY = 5
REFUSED_EVERY = 101
IN_FLIGHT = 16
FORMS = ("chat", "completion")


@dataclass
class Provider:
    """An endpoint. `refuses` says which tasks get a 400. `is_open` is false for a bad key."""

    faults: float
    seed: int
    refuses: Callable[[int], bool] = lambda number: number % REFUSED_EVERY == 7
    is_open: Callable[[int], bool] = lambda num_seen: True
    server: FaultServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = FaultServer(self._said, lambda body: 0.02 + 0.08 * chance(self.seed, json.dumps(body)))

    def _said(self, body: dict[str, Any], attempt: int) -> web.Response | str:
        number = number_of(body)
        if not self.is_open(len(self.server.seen)):
            return status(401, "revoked")
        if attempt < MOST_FAULTS and chance(self.seed, json.dumps(body), attempt) < self.faults:
            return FAULTS[int(chance("which", json.dumps(body), attempt) * len(FAULTS))]
        if number >= 0 and self.refuses(number):
            return status(400, "this task is refused")
        return ok("def nothing(): pass") if number >= 0 and number % WRONG_EVERY == 0 else answer(body)

    def asked(self) -> list[tuple[str, int]]:
        """The form and task of every attempt, without the questions of one token before."""
        found = [("chat" if is_chat(body) else "completion", number_of(body)) for _, body, _ in self.server.seen]
        return [pair for pair in found if pair[1] >= 0]


def evaluation(url: str, tasks: Path, folder: Path) -> subprocess.Popen[str]:
    """The command, started."""
    arguments = ["evaluate", "m", "--benchmarks", f"made={tasks}", "--engine", "openai", "--base-url", url]
    arguments += [word for form in FORMS for word in ("--form", form)]
    arguments += ["--max-tokens", "64", "-o", str(folder), "--json"]
    arguments += ["--set", f"engine.max_in_flight={IN_FLIGHT}", "--set", "engine.timeout_s=5"]
    environment = os.environ | {"OPENAI_API_KEY": "drill"}
    return subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def kept(folder: Path) -> set[tuple[str, int]]:
    """The form and task of every answer that is on disk and needs no second request."""
    names = {one["name"]: (one["form"], one["task"]) for one in json.loads((folder / "names.json").read_text())}
    lines = [
        line
        for path in (folder / "out" / "answers").glob("shard-*.jsonl")
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]
    records = [json.loads(line) for line in lines]
    return {names[r["request_id"]] for r in records if r["finish_reason"] in ("stop", "length")}


def write_names(folder: Path, tasks: Path) -> None:
    """Which request id stands for which task."""
    from builders.benchmarks import named
    from builders.harness.jobs import jobs
    from builders.standalone.evaluation import read

    found = jobs(read([named(f"made={tasks}")]), FORMS, 1)
    names = [{"name": job.name, "form": job.form, "task": int(job.task.task_id.split("/")[1])} for job in found]
    (folder / "names.json").write_text(json.dumps(names))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of an evaluation, without what the clock says."""
    found = pq.read_table(folder / "out" / "rows.parquet").to_pylist()
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code of a command, what it printed, and what it said."""
    out, said = process.communicate()
    return process.returncode, json.loads(out) if out.strip() else [], said


def right_rate(num_tasks: int, refuses: Callable[[int], bool]) -> float:
    """pass@1 over the tasks that are not refused."""
    judged = [n for n in range(num_tasks) if not refuses(n)]
    return round(sum(n % WRONG_EVERY != 0 for n in judged) / len(judged), 4)


Check = tuple[str, Any, Any]


def kills(folder: Path, options: argparse.Namespace) -> list[Check]:
    """Kills and faults, and at the end the right number."""
    tasks = prepared(folder, options)
    provider, draw = Provider(options.faults, options.seed), random.Random(options.seed)
    asked_again, num_kills = 0, 0
    for kill in range(options.kills):
        at = int((kill + draw.uniform(0.5, 1.2)) / (options.kills + 1) * 2 * options.tasks)
        before, num_seen = kept(folder), len(provider.asked())
        process = evaluation(provider.server.url, tasks, folder / "out")
        while process.poll() is None and len(kept(folder)) < at:
            time.sleep(0.05)
        num_kills += process.poll() is None
        process.kill()
        process.communicate()
        asked_again += len(before & set(provider.asked()[num_seen:]))
        print(f"  killed with {len(kept(folder))} of {2 * options.tasks} answers on disk")
    before, num_seen = kept(folder), len(provider.asked())
    code, told, said = ended(evaluation(provider.server.url, tasks, folder / "out"))
    asked_again += len(before & set(provider.asked()[num_seen:]))
    provider.server.close()

    calm = Provider(0.0, options.seed)
    other = folder / "calm"
    other.mkdir()
    calm_code, _, _ = ended(evaluation(calm.server.url, tasks, other / "out"))
    calm.server.close()
    rate = right_rate(options.tasks, calm.refuses)
    return [
        ("kills that hit a running evaluation", num_kills, options.kills),
        ("exit code of the last run", (code, calm_code), (0, 0)),
        ("pass@1 by form", [one["pass@1"] for one in told], [rate, rate]),
        ("refused tasks, said by form", [one["unanswered"] for one in told], [num_refused(options.tasks)] * 2),
        ("rows equal to those without faults", code == 0 and rows_of(folder) == rows_of(other), True),
        ("asked again, though on disk", asked_again, 0),
    ] + ([] if code == 0 else [("what it said", said, "")])


def num_refused(num_tasks: int) -> int:
    """Tasks that are refused for ever."""
    return sum(n % REFUSED_EVERY == 7 for n in range(num_tasks))


def half_refused(folder: Path, options: argparse.Namespace) -> list[Check]:
    """More than the evaluation bears: no number."""
    tasks = prepared(folder, options)
    provider = Provider(options.faults, options.seed, refuses=lambda number: number % 2 == 1)
    code, told, said = ended(evaluation(provider.server.url, tasks, folder / "out"))
    provider.server.close()
    return [
        ("exit code", code, 1),
        ("numbers printed", [one["pass@1"] for one in told if one["pass@1"] is not None], []),
        ("says what was refused", "400: this task is refused" in said, True),
    ]


def key_revoked(folder: Path, options: argparse.Namespace) -> list[Check]:
    """A key that goes bad in the middle, and comes back."""
    tasks = prepared(folder, options)
    bad_from = [options.tasks]
    provider = Provider(options.faults, options.seed, is_open=lambda num_seen: num_seen < bad_from[0])
    code, told, said = ended(evaluation(provider.server.url, tasks, folder / "out"))
    before, num_seen = kept(folder), len(provider.asked())
    bad_from[0] = 10**9
    again, right, _ = ended(evaluation(provider.server.url, tasks, folder / "out"))
    provider.server.close()
    rate = right_rate(options.tasks, provider.refuses)
    return [
        ("exit code with the bad key", code, 1),
        ("numbers printed with the bad key", [one["pass@1"] for one in told if one["pass@1"] is not None], []),
        ("says that it is the key", "OPENAI_API_KEY" in said, True),
        ("answers kept from before", len(before) > 0, True),
        ("exit code and pass@1 afterwards", (again, [one["pass@1"] for one in right]), (0, [rate, rate])),
        ("asked again, though on disk", len(before & set(provider.asked()[num_seen:])), 0),
    ]


def no_endpoint(folder: Path, options: argparse.Namespace) -> list[Check]:
    """Nobody listens, or nobody knows the host."""
    tasks = prepared(folder, options)
    began = time.monotonic()
    code, told, said = ended(evaluation("http://no-such-host.invalid/v1", tasks, folder / "out"))
    return [
        ("exit code for an unknown host", code, 1),
        ("numbers printed for an unknown host", told, []),
        ("says that the host is not known", "the host 'no-such-host.invalid'" in said, True),
        ("within a minute", time.monotonic() - began < 60, True),
    ]


def prepared(folder: Path, options: argparse.Namespace) -> Path:
    """The file of the tasks, in a folder of this scene."""
    folder.mkdir()
    tasks = benchmark(folder / "made.jsonl", options.tasks)
    write_names(folder, tasks)
    return tasks


def main() -> int:
    """Run all scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--faults", type=float, default=0.2, help="share of the attempts")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # The server would print each connection that a killed client leaves.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    is_right = True
    with tempfile.TemporaryDirectory(prefix="evaluation-drill-") as folder:
        for scene in (kills, half_refused, key_revoked, no_endpoint):
            began = time.monotonic()
            print(f"\n{scene.__name__.replace('_', ' ')}")
            for name, found, right in scene(Path(folder, scene.__name__), options):
                is_right &= found == right
                print(f"  {name:<40} {found!s:>12}  {'ok' if found == right else f'VIOLATED, right is {right}'}")
            print(f"  {time.monotonic() - began:.0f} s")
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
