"""Does influence find 200 planted samples among 2,000 others, and does training on its choice help?

    SCODER_DATA=DIR python benchmarks/influence/planted.py [--seeds 3] [--rows 2000] [--planted 200]

    planted    MBPP problems with their solutions
    others     code_alpaca rows of other languages and of prose, MBPP problems with another
               problem's solution, and MBPP problems whose solution is cut in half
    reference  further MBPP problems
    model      recipes/tiny-base (4M parameters), first trained on Python rows of code_alpaca and on
               short LeetCode problems, so that it answers instructions at all; then under a LoRA
               that is warmed up on a seeded 5 % of the candidates

Prints precision@planted of rankings by influence, at random, by loss only and by length; what the
top consists of; and the held-out loss of models trained on the top, a random and the bottom 20 % by
influence. The data folder needs the folders mbpp, codealpaca and leetcode.
"""

import argparse
import gzip
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.datasets.conversations import conversation
from training import sft
from training.gradients import GradientModel
from training.heldout import heldout_nll
from training.ranking import Ranking, Reference, learning_rate_shares
from training.settings import GradientSettings, SftSettings, WarmupSettings
from training.warmup import warm_up

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SCODER_DATA", ROOT.parent / "shared" / "data"))
BASE = str(ROOT / "recipes" / "tiny-base")
MAX_TOKENS = 320

Row = dict[str, str]


def tasks() -> list[Row]:
    """MBPP's problems and solutions."""
    with open(DATA / "mbpp" / "mbpp.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [{"problem": row["text"], "solution": row["code"].replace("\r\n", "\n")} for row in rows]


def alpaca(is_python: bool) -> list[Row]:
    """The rows of code_alpaca that look like Python, or the others."""
    rows: list[Row] = json.loads((DATA / "codealpaca" / "code_alpaca_2k.json").read_text(encoding="utf-8"))
    return [r for r in rows if is_python == ("python" in r["instruction"].lower() or "def " in r["output"])]


def purpose_model(folder: Path, epochs: float) -> str:
    """tiny-base after full training on instructions that no other part of the experiment has."""
    with gzip.open(DATA / "leetcode" / "LeetCodeDataset-v0.1.0-train.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    rows = [
        {"problem": r["query"], "solution": r["completion"]} for r in found if len(r["query"] + r["completion"]) < 1200
    ]
    data = write(folder / "purpose", [conversation(row) or [] for row in alpaca(is_python=True) + rows], "train")
    fit = SftSettings(epochs=epochs, learning_rate=1e-3, max_tokens=MAX_TOKENS, lora=None, dtype="float32")
    report = sft.train(data, BASE, str(folder / "purpose-run"), fit)
    print(f"purpose model: {report.num_rows} rows, loss {report.checkpoints[-1].loss:.2f}", file=sys.stderr, flush=True)
    return str(folder / "purpose-run" / report.checkpoints[-1].folder)


def mixture(seed: int, num_planted: int, num_others: int) -> tuple[list[tuple[str, Any]], list[Any], list[Any]]:
    """(kind, row) of all candidates in random order, the reference, the held-out rows."""
    rng = random.Random(seed)
    clean, other = tasks(), alpaca(is_python=False)
    rng.shuffle(clean)
    rng.shuffle(other)
    planted, clean = clean[:num_planted], clean[num_planted:]
    reference, clean = clean[:64], clean[64:]
    heldout, clean = clean[:100], clean[100:]
    part = min(len(clean) // 2, num_others * 3 // 20)
    moved = clean[1:part] + clean[:1]
    rows = [("planted", row) for row in planted]
    rows += [("shuffled", {**row, "solution": to["solution"]}) for row, to in zip(clean[:part], moved, strict=True)]
    rows += [("truncated", {**r, "solution": r["solution"][: len(r["solution"]) // 2]}) for r in clean[part : 2 * part]]
    rows += [("other", row) for row in other[: num_planted + num_others - len(rows)]]
    rng.shuffle(rows)
    return rows, reference, heldout


def measure(seed: int, base: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Rankings of the candidates, their kinds, and losses after training."""
    start = time.perf_counter()
    rows, reference, heldout = mixture(seed, options.planted, options.rows)
    turns = [conversation(row) or [] for _, row in rows]
    training = SftSettings(
        epochs=4,
        num_checkpoints=options.checkpoints,
        learning_rate=1e-3,
        max_tokens=MAX_TOKENS,
        seed=seed,
        dtype="float32",
    )
    sampled = random.Random(seed).sample(turns, max(1, len(turns) // 20))
    checkpoints = warm_up(sampled, base, folder / f"warmup-{seed}", WarmupSettings(training=training))
    shares = learning_rate_shares({c.folder: c.learning_rate or 0.0 for c in checkpoints})
    held, units, losses = Reference("mbpp"), {}, []
    settings = GradientSettings(dimension=4096, max_tokens=MAX_TOKENS, optimizer_map=options.optimizer_map, seed=seed)
    ids = list(map(str, range(len(rows))))
    for checkpoint in shares:
        plain = GradientModel(base, checkpoint, settings.model_copy(update={"optimizer_map": "sgd"}))
        for batch in plain.stream((str(n), conversation(row) or []) for n, row in enumerate(reference)):
            held.add(checkpoint, batch.unit_ND, [None] * len(batch.ids))
        model = GradientModel(base, checkpoint, settings)
        batches = list(model.stream(zip(ids, turns, strict=True)))
        ids_of = [i for b in batches for i in b.ids]
        units[checkpoint] = np.concatenate([b.unit_ND for b in batches])
        losses.append(np.concatenate([b.loss_N for b in batches]))
        lengths = np.concatenate([b.num_tokens_N for b in batches])
    (found,) = Ranking([held], shares).of(units)
    kinds = np.array([rows[int(i)][0] for i in ids_of])
    loss, noise = np.mean(losses, axis=0), np.random.default_rng(seed).random(len(kinds))
    scores = {"influence": found.mean_N, "influence max": found.max_N, "random (one draw)": noise}
    scores |= {
        "loss, low first": -loss,
        "loss, high first": loss,
        "length, short first": -lengths,
        "length, long first": lengths,
    }
    result: dict[str, Any] = {"left out": len(rows) - len(kinds), "kinds": Counter(kinds.tolist())}
    result["random (expected)"] = float(np.mean(kinds == "planted"))
    for name, score in scores.items():
        top = kinds[np.argsort(-score, kind="stable")[: options.planted]]
        result[name] = float(np.mean(top == "planted"))
        if name == "influence":
            result["top"] = Counter(top.tolist())
    if not options.without_training:
        order = np.argsort(-found.mean_N, kind="stable")
        share = len(order) // 5
        parts = {"top": order[:share], "random": np.argsort(noise)[:share], "bottom": order[-share:]}
        write(folder / f"heldout-{seed}", [conversation(row) or [] for row in heldout], "validation")
        for name, chosen in parts.items():
            data = write(folder / f"{name}-{seed}", [turns[int(ids_of[i])] for i in chosen], "train")
            fit = training.model_copy(update={"epochs": options.epochs, "num_checkpoints": 1})
            report = sft.train(data, base, str(folder / f"{name}-{seed}-run"), fit)
            adapter = str(folder / f"{name}-{seed}-run" / report.checkpoints[-1].folder)
            nll = heldout_nll(base, adapter, str(folder / f"heldout-{seed}"), max_tokens=MAX_TOKENS)
            result[f"loss after {name} 20 %"] = nll.nll
    result["seconds"] = time.perf_counter() - start
    return result


def write(folder: Path, conversations: list[Any], split: str) -> str:
    """A dataset folder with one split."""
    folder.mkdir()
    pq.write_table(pa.table({"messages": conversations}), folder / f"{split}.parquet")
    return str(folder)


def main() -> int:
    """Run all seeds and print a line for every number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--planted", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000, help="other candidates")
    parser.add_argument("--checkpoints", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=1, help="of the trainings on 20 %%")
    parser.add_argument("--base-epochs", type=float, default=1.5, help="of the purpose model")
    parser.add_argument("--optimizer-map", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--without-training", action="store_true")
    options = parser.parse_args()
    if not (DATA / "mbpp").is_dir():
        print(f"no {DATA}/mbpp: set SCODER_DATA to a folder with mbpp and codealpaca")
        return 2
    results = []
    with tempfile.TemporaryDirectory(prefix="influence-planted-") as folder:
        base = purpose_model(Path(folder), options.base_epochs)
        for seed in range(options.seeds):
            results.append(measure(seed, base, options, Path(folder)))
            print(f"seed {seed}: {json.dumps(results[-1])}", file=sys.stderr, flush=True)
    print(f"candidates: {dict(results[0]['kinds'])}, {results[0]['left out']} left out; {options.optimizer_map} map")
    print(f"{'':24} {'mean':>7}   per seed")
    for name in [k for k, v in results[0].items() if isinstance(v, float)]:
        values = [result[name] for result in results]
        print(f"{name:24} {np.mean(values):7.3f}   {'  '.join(f'{v:.3f}' for v in values)}")
    for seed, result in enumerate(results):
        print(f"top {options.planted} by influence, seed {seed}: {dict(result['top'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
