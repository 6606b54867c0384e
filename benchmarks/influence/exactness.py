"""Are features exact before the sketch and unbiased after it, and does a sketch keep the ranking?

    SCODER_DATA=DIR python benchmarks/influence/exactness.py [--samples 160] [--references 24]
        [--sketch-seeds 5] [--dimension 4096]

Model: recipes/tiny-base under a LoRA (r = 8) that was trained for a few steps on other rows of
code_alpaca. Samples: code_alpaca. Prints

- the relative error of unprojected per-sample gradients against autograd at batch size 1, for
  several batch sizes and orders,
- the mean error of sketched inner products over many seeds, in standard errors,
- Spearman and top-10 % overlap of the sketched influence with the exact one, per sketch seed,
- whether two fresh processes compute the same features to the bit.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from scipy.stats import spearmanr

from builders.datasets.conversations import conversation
from training import gradients, sketch
from training.adapters import saved_name
from training.completion_loss import pad
from training.examples import Example, encode, load_model, load_tokenizer
from training.gradients import load_gradient_model, per_sample_gradients
from training.settings import GradientSettings, LoraSettings, SftSettings, WarmupSettings
from training.warmup import warm_up

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("SCODER_DATA", ROOT.parent / "shared" / "data"))
BASE = str(ROOT / "recipes" / "tiny-base")
MAX_TOKENS = 320


def autograd(adapter: str, example: Example) -> dict[str, torch.Tensor]:
    """The gradient of one sample through the whole model, as a training step would have it."""
    model = load_model(BASE, adapter, "float32", is_trainable=True).eval()
    ids = torch.tensor([example.prompt_ids + example.completion_ids])
    logits = model(input_ids=ids).logits[0, len(example.prompt_ids) - 1 : -1]
    torch.nn.functional.cross_entropy(logits, torch.tensor(example.completion_ids)).backward()
    return {saved_name(n): p.grad for n, p in model.named_parameters() if p.grad is not None}


def exact(adapter: str, examples: list[Example], batch_size: int) -> tuple[torch.Tensor, dict[str, int]]:
    """Unprojected gradients [N, P] in the order of the examples, and the size of every matrix."""
    model = load_gradient_model(BASE, adapter, 0, "float32")
    parts, sizes = [], {}
    for start in range(0, len(examples), batch_size):
        found: dict[str, torch.Tensor] = {}
        per_sample_gradients(
            model, pad(examples[start : start + batch_size], 0, torch.device("cpu")), found.__setitem__
        )
        sizes = {name: found[name][0].numel() for name in sorted(found)}
        parts.append(torch.cat([found[name].flatten(1) for name in sorted(found)], dim=1))
    return torch.cat(parts), sizes


def sketched(vectors_NP: torch.Tensor, sizes: dict[str, int], seed: int, dimension: int) -> torch.Tensor:
    """Sketches [N, D]."""
    sketch_N2D = torch.zeros(len(vectors_NP), 2 * dimension)
    place = 0
    for name, size in sizes.items():
        slots = sketch.slots(seed, name, size, dimension, torch.device("cpu"))
        sketch.add(sketch_N2D, slots, vectors_NP[:, place : place + size])
        place += size
    return sketch.fold(sketch_N2D)


def influence(vectors_NP: torch.Tensor, num_references: int) -> np.ndarray:
    """Cosine with the mean unit gradient of the last rows."""
    unit_NP = torch.nn.functional.normalize(vectors_NP, dim=1)
    mean_P = unit_NP[-num_references:].mean(0)
    return (unit_NP[:-num_references] @ mean_P / mean_P.norm()).numpy()


def digest(adapter: str) -> str:
    """A digest of the features of some rows, computed in this process."""
    rows = [(str(n), conversation(row) or []) for n, row in enumerate(real_rows()[:12])]
    settings = GradientSettings(max_tokens=MAX_TOKENS, batch_size=4)
    (batch,) = gradients.stream_gradients(BASE, adapter, rows, settings)
    return hashlib.sha256(batch.unit_ND.tobytes()).hexdigest()[:16]


def real_rows() -> list[dict[str, str]]:
    """code_alpaca."""
    found: list[dict[str, str]] = json.loads((DATA / "codealpaca" / "code_alpaca_2k.json").read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Run the four checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=160)
    parser.add_argument("--references", type=int, default=24)
    parser.add_argument("--sketch-seeds", type=int, default=5)
    parser.add_argument("--dimension", type=int, default=4096)
    parser.add_argument("--digest", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.digest:
        print(digest(options.digest))
        return 0
    if not (DATA / "codealpaca").is_dir():
        print(f"no {DATA}/codealpaca: set SCODER_DATA to a folder that has it")
        return 2
    with tempfile.TemporaryDirectory(prefix="gradients-exactness-") as folder:
        training = SftSettings(
            epochs=4,
            num_checkpoints=1,
            learning_rate=1e-3,
            max_tokens=MAX_TOKENS,
            dtype="float32",
            lora=LoraSettings(r=8),
        )
        rows = [conversation(row) or [] for row in real_rows()]
        adapter = warm_up(rows[-96:], BASE, Path(folder), WarmupSettings(training=training))[-1].folder
        tokenizer = load_tokenizer(BASE)
        encoded = [e for turns in rows[:600] if isinstance(e := encode(tokenizer, turns, MAX_TOKENS), Example)]
        examples = encoded[: options.samples + options.references]
        check_exactness(adapter, examples[:16])
        vectors_NP, sizes = exact(adapter, examples, 16)
        check_bias(vectors_NP, sizes)
        check_ranking(vectors_NP, sizes, options)
        command = [sys.executable, __file__, "--digest", adapter]
        found = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
        print(f"features of two fresh processes: {'equal to the bit' if len(found) == 1 else 'DIFFERENT'}")
    return 0


def check_exactness(adapter: str, examples: list[Example]) -> None:
    """Compare with autograd, for several batch sizes, orders and paddings."""
    truth = [autograd(adapter, example) for example in examples]
    truth_NP = torch.stack([torch.cat([grads[name].flatten() for name in sorted(grads)]) for grads in truth])
    print(
        f"{len(examples)} samples of {min(e.num_tokens for e in examples)} to {max(e.num_tokens for e in examples)} tokens"
    )
    for batch_size in (1, 3, 16):
        for name, order in (("forwards", 1), ("backwards", -1)):
            ours_NP = exact(adapter, examples[::order], batch_size)[0]
            ours_NP = ours_NP.flip(0) if order == -1 else ours_NP
            error_N = (ours_NP - truth_NP).norm(dim=1) / truth_NP.norm(dim=1)
            print(f"batches of {batch_size:2}, {name:9}: greatest relative error {error_N.max():.1e}")


def check_bias(vectors_NP: torch.Tensor, sizes: dict[str, int], num_seeds: int = 100, dimension: int = 256) -> None:
    """Sketched minus exact inner product of some pairs over seeds, in standard errors."""
    unit_NP = torch.nn.functional.normalize(vectors_NP[:8], dim=1)
    truth = (unit_NP @ unit_NP.T).numpy()[np.triu_indices(8, 1)]
    found = []
    for seed in range(num_seeds):
        rows_ND = sketched(unit_NP, sizes, 1000 + seed, dimension)
        found.append((rows_ND @ rows_ND.T).numpy()[np.triu_indices(8, 1)])
    errors = np.array(found) - truth
    z = errors.mean(0) / (errors.std(0) / num_seeds**0.5)
    print(
        f"inner products, {num_seeds} seeds at {dimension}: mean error {errors.mean():+.1e}, standard deviation {errors.std():.1e}"
    )
    print(f"  in standard errors per pair: mean {z.mean():+.2f}, greatest {np.abs(z).max():.2f} of {len(z)} pairs")


def check_ranking(vectors_NP: torch.Tensor, sizes: dict[str, int], options: argparse.Namespace) -> None:
    """Spearman and overlap with the exact ranking, per sketch seed."""
    truth_N = influence(vectors_NP, options.references)
    top = max(1, len(truth_N) // 10)
    print(f"{len(truth_N)} samples, {options.references} references, {vectors_NP.shape[1]:,} coordinates")
    for dimension in sorted({1024, options.dimension, 8192}):
        found, overlaps = [], []
        for seed in range(options.sketch_seeds):
            stored = torch.nn.functional.normalize(sketched(vectors_NP, sizes, seed, dimension), dim=1).half().float()
            ours_N = influence(stored, options.references)
            found.append(spearmanr(truth_N, ours_N).statistic)
            overlaps.append(len(set(np.argsort(-truth_N)[:top]) & set(np.argsort(-ours_N)[:top])) / top)
        line = "  ".join(f"{value:.3f}" for value in found)
        print(
            f"dimension {dimension:5}: Spearman {line}, median {np.median(found):.3f}; top 10 % shared {np.median(overlaps):.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
