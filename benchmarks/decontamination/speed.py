"""How many functions a second one core decontaminates, beside peers in the same run.

About two minutes:

    SCODER_DATA=DIR python benchmarks/decontamination/speed.py
    SCODER_DATA=DIR python benchmarks/decontamination/speed.py --functions 40000 --rounds 5

In: documented functions and methods of the standard library and the installed packages, in one
Parquet file; HumanEval, MBPP, LiveCodeBench and BigCodeBench-Hard together.

Ours: from that file to a table of hits with all default detectors, in one process and on one
thread. The peers get a part of the same functions, in turn with ours:

    bigcode    the loop of github.com/bigcode-project/bigcode-dataset,
               decontamination/find_substrings.py (Apache-2.0), over the strings of the same
               benchmarks
    datatrove  its NGramsDecontFilter as installed, 12-grams of statements and solutions. Its
               indexer wants lighteval even for documents of one's own, so the index is filled with
               the filter's own hashes. Its English words need `pip install spacy`; without it
               datatrove is skipped

Seconds are processor seconds, the best of the rounds: a busy machine disturbs them less than wall
time. Wall time is printed too. Kernels are compiled once per machine, and that time is not
included. `NUMBA_CACHE_DIR=$(mktemp -d)` before the command measures it.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.decontamination.peers import ordinary_functions
from builders.harness.files import read_tasks
from builders.harness.tasks import Task
from builders.recipe import Decontamination
from store import content_id

DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILES = {
    "humaneval": "human-eval/HumanEval.jsonl.gz",
    "mbpp": "mbpp/mbpp_test.jsonl",
    "livecodebench": "livecodebench/o1-mini_eval_all.json",
    "bigcodebench-hard": "bigcodebench-hard/bigcodebench_hard.json",
}
BATCH_ROWS = 4000


def functions(wanted: int) -> list[str]:
    """Distinct functions, from files in the order of a hash of their path."""
    folders = {Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib")}
    files = sorted({p for folder in folders for p in folder.rglob("*.py")}, key=lambda p: content_id(str(p)))
    found: dict[str, None] = {}
    for path in files:
        try:
            found |= dict.fromkeys(ordinary_functions([path.read_text("utf-8")]))
        except (OSError, UnicodeDecodeError):
            continue
        if len(found) >= wanted:
            break
    return list(found)[:wanted]


def ours(tasks: dict[str, list[Task]], file: str) -> tuple[Callable[[], int], dict[str, float]]:
    """From Parquet to the number of hits; and the seconds of what happens once."""
    seconds = {}
    start = time.process_time()
    from builders.decontamination import detectors

    seconds["import"] = time.process_time() - start
    rows = [{**vars(task), "benchmark": name} for name, found in tasks.items() for task in found]
    detectors.hits(detectors.index(rows[:1], Decontamination()), pa.array(["a"]), pa.array(["x"]))
    seconds["load or compile the kernels"] = time.process_time() - start - seconds["import"]
    start = time.process_time()
    index = detectors.index(rows, Decontamination())
    seconds["index"] = time.process_time() - start

    def run() -> int:
        batches = pq.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS, use_threads=False)
        return sum(len(detectors.hits(index, batch["id"], batch["code"])) for batch in batches)

    return run, seconds


def bigcode(tasks: dict[str, list[Task]], texts: Sequence[str]) -> Callable[[], int]:
    """The substring filter: each benchmark string is lower-cased anew for each text, up to the
    first hit.
    """
    strings = [part for found in tasks.values() for task in found for part in (task.prompt, task.solution) if part]

    def find(text: str) -> bool:
        content = text.lower()
        return any(string.lower() in content for string in strings)

    return lambda: sum(map(find, texts))


def datatrove(tasks: dict[str, list[Task]], texts: Sequence[str], folder: str) -> Callable[[], int]:
    """The n-gram filter with an index of statements and solutions."""
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    config = NGramsDecontConfig()
    peer = NGramsDecontFilter(folder, config)
    known: dict[int, str] = {}
    for name, found in tasks.items():
        for part in (part for task in found for part in (task.prompt, task.solution) if part):
            tokens = peer.tokenizer.word_tokenize(simplify_text(part, config.norm_config))
            known |= {peer.hash_func(" ".join(gram)): name for gram in ngrams(tokens, config.n_grams)}
    peer._index_hashes = known  # type: ignore[assignment]

    def run() -> int:
        return sum(peer.filter(Document(text=text, id=str(k))) is not True for k, text in enumerate(texts))

    return run


def timed(run: Callable[[], int]) -> tuple[float, float, int]:
    """Processor seconds, wall seconds, and what was counted."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = run()
    return time.process_time() - cpu, time.perf_counter() - wall, count


def peers(tasks: dict[str, list[Task]], texts: list[str], folder: str) -> dict[str, tuple[Callable[[], int], int]]:
    """Name -> the peer, ready and warm, and on how many functions it runs."""
    found = {"bigcode": (bigcode(tasks, texts), len(texts))}
    try:
        found["datatrove"] = (datatrove(tasks, texts, folder), len(texts))
    except ImportError as error:
        print(f"datatrove is skipped: {error}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", type=int, default=20_000)
    parser.add_argument("--peer-functions", type=int, default=1_000, help="of them, for the peers")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    pa.set_cpu_count(1)
    tasks = {name: list(read_tasks(DATA / file)) for name, file in FILES.items() if (DATA / file).is_file()}
    if not tasks:
        raise SystemExit(
            f"no benchmark files in {DATA}; set SCODER_DATA to a folder that has {', '.join(FILES.values())}"
        )
    texts = functions(arguments.functions)
    chars = sum(map(len, texts))
    print(
        f"{len(texts):,} functions, {chars / 1e6:.1f} MB; {sum(map(len, tasks.values())):,} tasks of {', '.join(tasks)}"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/functions.parquet"
        pq.write_table(pa.table({"id": [str(k) for k in range(len(texts))], "code": texts}), file)
        run, once = ours(tasks, file)
        print("once: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in once.items()))
        runs = {"ours": (run, len(texts))} | peers(
            tasks, texts[:: max(1, len(texts) // arguments.peer_functions)], folder
        )
        measured = {name: [timed(one) for one, _ in [pair]] for name, pair in runs.items()}
        for _ in range(arguments.rounds - 1):
            for name, (one, _) in runs.items():
                measured[name].append(timed(one))
    print(f"{'':12}{'functions/s':>13}{'MB/s':>9}{'wall':>13}{'ours is':>10}   counted")
    best = {name: runs[name][1] / min(cpu for cpu, _, _ in times) for name, times in measured.items()}
    for name, times in measured.items():
        wall = runs[name][1] / min(wall for _, wall, _ in times)
        mega = best[name] * chars / len(texts) / 1e6
        what = "hits of 0.2 or more" if name == "ours" else "functions flagged"
        print(
            f"{name:12}{best[name]:13,.0f}{mega:9.2f}{wall:13,.0f}{best['ours'] / best[name]:9.0f}x   {times[0][2]} {what}"
        )


if __name__ == "__main__":
    main()
