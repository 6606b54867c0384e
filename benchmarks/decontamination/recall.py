"""What decontamination finds of disguised tasks, and what it flags of ordinary functions.

Ours beside the rules of peers (`peers.py`), on HumanEval and MBPP. About three minutes:

    SCODER_DATA=DIR python benchmarks/decontamination/recall.py
    # and the ids that ours misses, by disguise
    SCODER_DATA=DIR python benchmarks/decontamination/recall.py --missed
    # and ordinary functions that ours flags
    SCODER_DATA=DIR python benchmarks/decontamination/recall.py --flagged 20

    recall           the share of disguised copies with a verdict on the task that they come from
    above            the same without tasks below the information floor: by design their structure
                     alone is no evidence
    false positives  the share of documented functions of the standard library and the installed
                     packages with a verdict on any task

Functions are halved by the parity of the MD5 of their text. Thresholds were chosen on even ones
(builders/decontamination/detectors/calibration.py says on which). Results are reported on odd ones,
on which no number was chosen.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow as pa

from benchmarks.decontamination.disguises import DISGUISES, disguised, original
from benchmarks.decontamination.peers import PEERS, ordinary_functions
from builders.benchmarks import named, task_rows
from builders.decontamination import detectors
from builders.decontamination.detectors.calibration import CALIBRATIONS
from builders.harness.files import read_tasks
from builders.harness.tasks import Task
from builders.recipe import Decontamination
from store import content_id

DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILES = {"HumanEval": "human-eval/HumanEval.jsonl.gz", "MBPP": "mbpp/mbpp_test.jsonl"}
Verdicts = list[set[str]]
"""Per text, the ids of the tasks that it is flagged for."""


class Ours:
    """The default detectors under the default rule."""

    def __init__(self, paths: Sequence[Path], settings: Decontamination) -> None:
        rows = [row for number, path in enumerate(paths) for row in task_rows(named(f"b{number}={path}"))]
        self.settings = settings
        self.index = detectors.index(rows, settings)
        self.detectors: Counter[str] = Counter()

    def hits(self, texts: Sequence[str]) -> list[dict]:
        """All hits of the texts. item_id is the place of the text."""
        ids = pa.array([str(place) for place in range(len(texts))])
        return detectors.hits(self.index, ids, pa.array(texts, pa.string())).to_pylist()

    def verdicts(self, texts: Sequence[str]) -> Verdicts:
        """Per text the tasks of hits that are strong enough."""
        found: Verdicts = [set() for _ in texts]
        for hit in self.hits(texts):
            if hit["strength"] >= self.settings.min_strength:
                found[int(hit["item_id"])].add(hit["task_id"])
        return found


def above_floor(ours: Ours) -> set[str]:
    """The tasks whose code has enough information to be found alone, without any names."""
    bits = ours.index.bits("renamed")
    floor = CALIBRATIONS["renamed"].floor
    return {task_id for task_id, task_bits in zip(ours.index.task_ids, bits, strict=True) if task_bits >= floor}


def recall(ours: Ours, tasks: list[Task], above: set[str], peers: dict, show_missed: bool) -> None:
    """Print the table of one benchmark."""
    sources = [made for task in tasks if (made := original(task)) is not None]
    print(f"{'':38}{'copies':>7}{'ours':>8}{'above':>8}" + "".join(f"{name:>11}" for name in peers))
    for name in DISGUISES:
        attempts = ((task.task_id, disguised(task, name)) for task in sources)
        copies = [(task_id, copy.text) for task_id, copy in attempts if copy is not None]
        texts = [text for _, text in copies]
        found = {"ours": ours.verdicts(texts)} | {peer: [rule(text) for text in texts] for peer, rule in peers.items()}
        right = {who: [t in v for (t, _), v in zip(copies, verdicts, strict=True)] for who, verdicts in found.items()}
        kept = [ok for ok, (task_id, _) in zip(right["ours"], copies, strict=True) if task_id in above]
        cells = "".join(f"{share(right[peer]):>11}" for peer in peers)
        print(f"{name:38}{len(copies):>7}{share(right['ours']):>8}{share(kept):>8}{cells}", flush=True)
        if show_missed:
            missed = [t for (t, _), ok in zip(copies, right["ours"], strict=True) if not ok]
            print("      missed: " + " ".join(f"{t}{'' if t in above else '*'}" for t in missed))


def share(values: Sequence[bool]) -> str:
    """A percentage."""
    return f"{100 * sum(values) / len(values):.1f}%" if values else "-"


def false_positives(ours: Ours, peers: dict, functions: list[str], show: int) -> None:
    """Print the share of ordinary functions with a verdict, by half."""
    halves = {0: "tuning half", 1: "held-out half"}
    parts: dict[int, list[str]] = defaultdict(list)
    for text in functions:
        parts[hashlib.md5(text.encode()).digest()[-1] % 2].append(text)
    for parity, what in halves.items():
        texts = parts[parity]
        flags = {"ours": [bool(v) for v in ours.verdicts(texts)]}
        flags |= {peer: [bool(rule(text)) for text in texts] for peer, rule in peers.items()}
        cells = "".join(f"  {who} {100 * sum(f) / max(1, len(f)):.2f}%" for who, f in flags.items())
        print(f"{what}: {len(texts):,} functions{cells}", flush=True)
    strong = [h for h in ours.hits(parts[1]) if h["strength"] >= ours.settings.min_strength]
    counts = Counter(h["detector"] for h in strong)
    print(
        "held-out functions flagged, by detector: " + (", ".join(f"{d} {n}" for d, n in counts.most_common()) or "none")
    )
    for hit in strong[:show]:
        print(f"\n---- {hit['task_id']} {hit['detector']} {hit['strength']:.2f}: {hit['evidence']!r}")
        print(parts[1][int(hit["item_id"])][:800])


def installed(limit: int) -> list[str]:
    """Documented functions of the standard library and the installed packages.

    Files are taken at equal steps, so that `limit` functions are reached.
    """
    folders = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib")]
    files = sorted({p for folder in folders for p in folder.rglob("*.py")}, key=lambda p: content_id(str(p)))
    found: list[str] = []
    for path in files:
        if len(found) >= limit:
            break
        found += ordinary_functions([path.read_text(encoding="utf-8", errors="replace")])
    return list(dict.fromkeys(found))[:limit]


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, default=6000, help="ordinary functions, both halves together")
    parser.add_argument("--every", type=int, default=1, help="each n-th task")
    parser.add_argument("--missed", action="store_true")
    parser.add_argument("--flagged", type=int, default=0)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    paths = {name: DATA / file for name, file in FILES.items()}
    if absent := [str(path) for path in paths.values() if not path.is_file()]:
        print(f"no {', '.join(absent)}: set SCODER_DATA to a folder with these files")
        return 1
    ours = Ours(list(paths.values()), Decontamination())
    tasks = {name: list(read_tasks(path)) for name, path in paths.items()}
    everything = [task for part in tasks.values() for task in part]
    peers = {} if options.no_peers else {name: make(everything) for name, make in PEERS.items()}
    above = above_floor(ours)
    for name, part in tasks.items():
        inside = sum(t.task_id in above for t in part)
        print(f"\n== {name}: {len(part)} tasks, {inside} above the information floor; every {options.every}")
        recall(ours, part[:: options.every], above, peers, options.missed)
    print("\n== ordinary functions")
    false_positives(ours, peers, installed(options.functions), options.flagged)
    return 0


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"\n{time.monotonic() - started:.0f} s")
    raise SystemExit(code)
