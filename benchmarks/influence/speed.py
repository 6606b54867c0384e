"""Samples per second of per-sample gradient features, beside the backward pass they need and peers.

    python benchmarks/influence/speed.py [--rounds 5] [--samples 32] [--threads 2]
    python benchmarks/influence/speed.py --device cuda --hidden 4096 --layers 32 --vocab 32000 \\
        --length 1024 --dtype bfloat16 --without-less

Random weights, LoRA on q, k, v, o, loss on the second half of every sample, sketches of 4096. All
variants run in turn within each round. The table has medians over rounds.

    floor        one forward and backward pass of a batch for LoRA training, with the head on
                 supervised positions only
    plain floor  the same with all logits
    LESS         the loop of its repository: batch size 1; gradients are stacked 16 at a time and
                 projected by a dense Rademacher matrix that is generated anew, 128 columns at a
                 time, in every call (trak's BasicProjector; here in float32, because half precision
                 is slow on processors)
    dattri-llm, bergson
                 where they can be imported (`peers.py` says how to install them), after a check
                 that the lengths of their unprojected gradients are ours. bergson's own pass
                 computes all logits, as the plain floor does
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.influence.peers import PEERS, Variant, lengths
from training import sketch
from training.adapters import add_lora, lora_matrices
from training.completion_loss import Batch, hidden_states, pad
from training.examples import Example
from training.gradients import per_sample_gradients
from training.settings import LoraSettings

# In some virtual machines new pages of big buffers cost more than the work on them. So the
# allocator keeps its memory, for all variants alike.
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "OMP_WAIT_POLICY": "PASSIVE"}

LESS_COLUMNS = 128
LESS_ROWS = 16
DIMENSION = 4096

# Largest relative difference of a gradient's length between a peer and us.
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}


def model_of(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """A random Llama under a LoRA whose B is not zero."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        intermediate_size=int(options.hidden * 2.6875),
        num_hidden_layers=options.layers,
        num_attention_heads=max(4, options.hidden // 128),
        num_key_value_heads=max(4, options.hidden // 128),
        max_position_embeddings=max(512, options.length),
    )
    with torch.device(options.device):
        model = LlamaForCausalLM(config).to(getattr(torch, options.dtype))
    lora = LoraSettings(r=options.rank, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    adapted = add_lora(model, lora).eval()
    for _, matrix in lora_matrices(adapted):
        torch.nn.init.normal_(matrix.weight, std=0.02)
    return adapted


def main() -> int:
    """Time all variants and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--without-less", action="store_true")
    options = parser.parse_args()
    if any(name not in os.environ for name in MALLOC):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    torch.set_num_threads(options.threads)
    device, model = torch.device(options.device), model_of(options)
    matrices = lora_matrices(model)
    num_coordinates = sum(m.weight.numel() for _, m in matrices)
    random = torch.Generator().manual_seed(1)
    half = options.length // 2
    ids = torch.randint(3, options.vocab, (options.samples, options.length), generator=random).tolist()
    examples = [Example(row[:half], row[half:]) for row in ids]
    batches = [pad(examples[i : i + options.batch], 0, device) for i in range(0, options.samples, options.batch)]
    singles = [pad([example], 0, device) for example in examples]
    folding = {name: sketch.folding(0, name, matrix.weight.numel(), DIMENSION, device) for name, matrix in matrices}
    moments = {name: torch.rand_like(matrix.weight) * 1e-3 for name, matrix in matrices}

    def trainable(is_trainable: bool) -> None:
        model.requires_grad_(False)
        for _, matrix in matrices:
            matrix.weight.requires_grad_(is_trainable)
            matrix.weight.grad = None

    def floor(batch: Batch) -> None:
        logits = model.get_base_model().lm_head(hidden_states(model, batch)).float()
        nll = functional.cross_entropy(logits, batch.targets_S, reduction="none")
        (nll / batch.num_tokens_N[batch.samples_S]).sum().backward()

    def plain_floor(batch: Batch) -> None:
        logits = model(input_ids=batch.ids_NL, use_cache=False).logits
        logits = logits.flatten(0, 1).float()
        labels = torch.full((len(logits),), -100, device=device)
        labels[batch.positions_S] = batch.targets_S
        functional.cross_entropy(logits, labels).backward()

    def ours(batch: Batch, is_adam: bool = False) -> None:
        sketch_N2D = torch.zeros(len(batch.ids_NL), 2 * DIMENSION, device=device)
        square_N = torch.zeros(len(batch.ids_NL), device=device)

        def take(name: str, grads_NOI: torch.Tensor) -> None:
            if is_adam:
                m_NOI = 0.9 * moments[name] + 0.1 * grads_NOI
                grads_NOI = m_NOI / (0.999 * moments[name] + 0.001 * grads_NOI.square() + 1e-8).sqrt()
            vectors_NP = grads_NOI.flatten(1)
            square_N.add_(torch.linalg.vecdot(vectors_NP, vectors_NP))
            sketch.add(sketch_N2D, folding[name], vectors_NP)

        per_sample_gradients(model, batch, take)
        functional.normalize(sketch.fold(sketch_N2D), dim=1).to(torch.float16).cpu().numpy()

    def our_gradients(batch: Batch) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        per_sample_gradients(model, batch, found.__setitem__)
        return found

    def batch_1(project: Callable[[torch.Tensor], torch.Tensor] | None) -> None:
        held = []
        for single in singles:
            for _, matrix in matrices:
                matrix.weight.grad = None
            plain_floor(single)
            held.append(
                torch.cat([matrix.weight.grad.flatten() for _, matrix in matrices if matrix.weight.grad is not None])
            )
            if len(held) == LESS_ROWS:
                if project:
                    project(torch.stack(held).float())
                held = []

    def regenerated(grads_NP: torch.Tensor) -> torch.Tensor:
        found = torch.empty(len(grads_NP), DIMENSION, device=device)
        for column in range(0, DIMENSION, LESS_COLUMNS):
            generator = torch.Generator(device).manual_seed(int(1e4) * column)
            signs = torch.empty(num_coordinates, LESS_COLUMNS, dtype=torch.int8, device=device)
            signs.bernoulli_(generator=generator)
            found[:, column : column + LESS_COLUMNS] = grads_NP @ signs.float().mul_(2).sub_(1)
        return found

    def each(call: Callable[[Batch], object]) -> Callable[[], object]:
        return lambda: [call(batch) for batch in batches]

    variants = {
        "floor: head on supervised positions": Variant(True, each(floor)),
        "plain floor: all logits": Variant(True, each(plain_floor)),
        "ours": Variant(False, each(ours)),
        "ours with the Adam map": Variant(False, each(lambda batch: ours(batch, True))),
    }
    if not options.without_less:
        cached = torch.randint(0, 2, (num_coordinates, DIMENSION), dtype=torch.int8).float().mul_(2).sub_(1)
        # nothing to warm up for LESS that batch 1 has not warmed up
        variants["batch 1, nothing projected"] = Variant(True, lambda: batch_1(None))
        variants["LESS: batch 1, cached matrix"] = Variant(
            True, lambda: batch_1(lambda grads_NP: grads_NP @ cached), is_warmed_up=False
        )
        variants["LESS: batch 1, as shipped"] = Variant(True, lambda: batch_1(regenerated), is_warmed_up=False)
    trainable(False)
    our_lengths = lengths([our_gradients(batch) for batch in batches])
    for peer, (variants_of, packages) in PEERS.items():
        try:
            theirs = variants_of(model, batches, floor, DIMENSION)
        except ImportError as error:
            print(f"{peer} skipped: {error} (pip install --no-deps {packages})")
            continue
        for name, variant in theirs.items():
            if variant.is_exact:
                trainable(variant.is_trainable)
                with variant.ready():
                    difference = float((lengths(variant.run()) / our_lengths - 1).abs().max())
                print(f"{name}: lengths of gradients differ from ours by at most {difference:.1e} of them")
                if not difference < TOLERANCE[options.dtype]:
                    raise ValueError(f"{name}: not our gradients, {difference} is over {TOLERANCE[options.dtype]}")
        variants |= theirs
    print(f"{num_coordinates:,} LoRA coordinates, {sum(p.numel() for p in model.parameters()):,} parameters, {device}")
    times: dict[str, list[float]] = {name: [] for name in variants}
    processor: dict[str, list[float]] = {name: [] for name in variants}
    peak: dict[str, float] = {}
    for round_ in range(options.rounds + 1):
        for name, variant in variants.items():
            if round_ == 0 and not variant.is_warmed_up:
                continue
            trainable(variant.is_trainable)
            with variant.ready():
                if device.type == "cuda":
                    torch.cuda.synchronize()
                    torch.cuda.reset_peak_memory_stats()
                start, start_processor = time.perf_counter(), time.process_time()
                variant.run()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                    peak[name] = torch.cuda.max_memory_allocated() / 2**30
                if round_:
                    times[name].append(time.perf_counter() - start)
                    processor[name].append(time.process_time() - start_processor)
    rate = {name: options.samples / float(np.median(found)) for name, found in times.items()}
    best = {name: options.samples / min(found) for name, found in times.items()}
    base, mine = rate["floor: head on supervised positions"], rate["ours"]
    print(f"{'':38} {'samples/s':>9} {'x floor':>8} {'ours /':>8} {'best':>9} {'processor s':>12}")
    for name in variants:
        seconds = float(np.median(processor[name]))
        ratios = (
            f"{rate[name]:9.2f} {rate[name] / base:8.2f} {mine / rate[name]:8.2f} {best[name]:9.2f} {seconds:12.2f}"
        )
        print(f"{name:38} {ratios}")
    by_round = np.array(times["floor: head on supervised positions"]) / np.array(times["ours"])
    print(f"ours x floor by round: {'  '.join(f'{share:.2f}' for share in by_round)}, median {np.median(by_round):.2f}")
    for name, gibibytes in peak.items():
        print(f"peak memory of {name}: {gibibytes:.1f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
