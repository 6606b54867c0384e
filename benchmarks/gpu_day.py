"""What one GPU makes of the project, in eight minutes: rates, shares of the peak, memory.

    pip install -e '.[torchao]'
    python benchmarks/gpu_day.py --output results.jsonl

Each part is a process of its own with a time limit. A line of JSON is written as soon as a part is
over, whatever became of it: ok, failed, out of memory, out of time, or skipped. At the end there is
a table. The whole ends after `--seconds`, and nothing is downloaded: weights are random, in the
sizes of Qwen2.5-1.5B and Qwen2.5-7B.

    machine            the GPU, and what a multiplication of two large matrices in bfloat16 reaches
    lora-7b            training of an adapter: tokens/s, MFU (`gpu/flops.py`), memory; goal 45%
    gradients-7b       gradients: samples/s, share of the floor (goal 0.9), memory
    full-1.5b          training of all weights by adamw_8bit_sr
    lora-1.5b, gradients-1.5b
    lora-7b-twice      with gradient checkpointing, and twice as many rows
    lora-7b-tf32       with the adapter's float32 multiplications in TF32, to see what they cost
    generation-1.5b    tokens/s of the project's engine with vLLM, if it is installed

Memory is what torch has allocated at the most, beside the prediction of `training/memory.py` or
`training/gradient_memory.py` without what the CUDA runtime takes. Without a GPU, or with `--tiny`,
the same parts run on a tiny model on the CPU: that shows only that they work.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

LIMITS_S = {
    "machine": 60,
    "lora-7b": 120,
    "gradients-7b": 120,
    "full-1.5b": 150,
    "lora-1.5b": 90,
    "gradients-1.5b": 90,
    "lora-7b-twice": 120,
    "lora-7b-tf32": 120,
    "generation-1.5b": 180,
}
"""Seconds that each part may take, in the order in which they run."""
LEAST_S = 2.0
RESERVE_S = 3.0
FULL = ("CUDA out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
STEPS, BATCHES = 8, 4


def main() -> int:
    """Run the parts, or one of them if this is its process."""
    begun, options = time.monotonic(), arguments()
    if options.child:
        return child(options)
    is_tiny, end = options.tiny or not has_gpu(), begun + options.seconds
    results: list[dict[str, Any]] = []
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("")
    for part in options.parts:
        result = run_part(part, is_tiny, options, min(LIMITS_S[part], end - time.monotonic() - RESERVE_S))
        with options.output.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(result) + "\n")
        print(f"{part}: {result['status']} after {result['seconds']:.0f} s {result.get('error', '')}", flush=True)
        results.append(result)
    print(table(results))
    return 0


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=LIMITS_S, default=list(LIMITS_S), metavar="PART")
    parser.add_argument("--output", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--seconds", type=float, default=480, help="the whole ends after so many")
    parser.add_argument("--rows", type=int, default=4, help="rows of a batch, halved until the prediction fits")
    parser.add_argument("--length", type=int, default=1024, help="tokens of a row")
    parser.add_argument("--rank", type=int, default=64, help="rank of the adapters")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in bfloat16, if the table does not know it")
    parser.add_argument("--tiny", action="store_true", help="a tiny model; so it is without a GPU")
    parser.add_argument("--child", choices=LIMITS_S, help=argparse.SUPPRESS)
    return parser.parse_args()


def has_gpu() -> bool:
    """Whether torch sees one. It is asked in another process: this one shall not hold it."""
    words = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 3)"
    return subprocess.run([sys.executable, "-c", words], env=environment(), capture_output=True).returncode == 0


def environment() -> dict[str, str]:
    """That of a part: it sees one GPU."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return {**os.environ, "CUDA_VISIBLE_DEVICES": first, "TOKENIZERS_PARALLELISM": "false"}


# -- the processes ---------------------------------------------------------------------------------


def run_part(part: str, is_tiny: bool, options: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """Run a part in a process of its own. What it says, or what became of it."""
    head = {"part": part, "tiny": is_tiny}
    if limit_s < LEAST_S:
        return {**head, "status": "out of time", "seconds": 0.0, "error": "no time was left for it"}
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-day-") as folder:
        said, log = Path(folder, "said.json"), Path(folder, "log.txt")
        code = ended(child_command(part, is_tiny, options, said), log, limit_s)
        result = json.loads(said.read_text(encoding="utf-8")) if code == 0 else failure(code, log, limit_s)
    return {**head, "status": "ok", "seconds": round(time.monotonic() - start, 1), **result}


def child_command(part: str, is_tiny: bool, options: argparse.Namespace, said: Path) -> list[str]:
    """This script, as the process of a part."""
    words = [sys.executable, __file__, "--child", part, "--output", str(said)]
    for name in ("rows", "length", "rank"):
        words += [f"--{name}", str(getattr(options, name))]
    words += ["--peak-tflops", str(options.peak_tflops)] if options.peak_tflops else []
    return [*words, "--tiny"] if is_tiny else words


def ended(words: list[str], log: Path, limit_s: float) -> int | None:
    """The exit code of a process; None if it ran out of time. All that it started is ended, too."""
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file, env=environment(), start_new_session=True)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def failure(code: int | None, log: Path, limit_s: float) -> dict[str, Any]:
    """A part that did not come to its end, and its last words."""
    if code is None:
        return {"status": "out of time", "error": f"it was ended after {limit_s:.0f} s"}
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["(no words)"]
    is_full = any(sign in line for sign in FULL for line in lines)
    return {"status": "out of memory" if is_full else "failed", "error": lines[-1][:400], "log": lines[-30:]}


def child(options: argparse.Namespace) -> int:
    """Compute a part and write its figures."""
    figures = computed(options.child, options)
    options.output.write_text(json.dumps(figures), encoding="utf-8")
    return 0


# -- the parts -------------------------------------------------------------------------------------


def computed(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of a part."""
    if part == "machine":
        return machine(options)
    kind, size, *variant = part.split("-")
    size, rows, length = ("tiny", 2, 32) if options.tiny else (size, options.rows, options.length)
    if kind == "gradients":
        from benchmarks.gpu.gradient_rate import gradient_rate

        return gradient_rate(size, options.rank, rows, length, BATCHES)
    if kind == "generation":
        from benchmarks.gpu.generation_rate import generation_rate

        return generation_rate(size, *((4, 16, 8) if options.tiny else (512, 512, 256)))
    return training(kind, size, variant, rows, length, options)


def training(
    kind: str, size: str, variant: list[str], rows: int, length: int, options: argparse.Namespace
) -> dict[str, Any]:
    """A training: of an adapter or of all weights."""
    import torch

    from benchmarks.gpu.training_rate import training_rate
    from training.settings import LoraSettings, SftSettings

    if "tf32" in variant:
        torch.set_float32_matmul_precision("high")
    is_twice = "twice" in variant
    settings = SftSettings(
        epochs=1,
        learning_rate=1e-5,
        batch_size=2 * rows if is_twice else rows,
        max_tokens=length,
        gradient_checkpointing=is_twice,
        lora=LoraSettings(r=options.rank, alpha=2 * options.rank) if kind == "lora" else None,
        optimizer="adamw" if kind == "lora" else "adamw_8bit_sr",
        devices=1,
    )
    return training_rate(size, settings, 2 if options.tiny else STEPS, known_peak(options))


def known_peak(options: argparse.Namespace) -> float | None:
    """TFLOPS of the GPU in bfloat16, by the command line or by its name."""
    import torch

    from benchmarks.gpu.flops import peak_tflops

    if options.peak_tflops or not torch.cuda.is_available():
        return options.peak_tflops
    return peak_tflops(torch.cuda.get_device_name(0))


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The GPU, its memory, and the TFLOPS of a multiplication, as the makers count them."""
    import torch

    from training.examples import device

    where, size = device(), 256 if options.tiny else 8192
    left, right = (torch.randn(size, size, device=where, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        left @ right
        if where.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    found = torch.cuda.get_device_properties(0) if where.type == "cuda" else None
    return {
        "gpu": found.name if found else "none",
        "memory_gb": found.total_memory / 1e9 if found else None,
        "torch": torch.__version__,
        "tflops": 2 * size**3 / sorted(seconds)[len(seconds) // 2] / 1e12,
        "peak_tflops": known_peak(options),
    }


# -- the table -------------------------------------------------------------------------------------

COLUMNS = {
    "rows": "{:.0f}",
    "length": "{:.0f}",
    "tokens_per_s": "{:,.0f}",
    "tflops": "{:.2f}",
    "mfu": "{:.2f}",
    "samples_per_s": "{:.2f}",
    "share_of_floor": "{:.2f}",
    "peak_gb": "{:.1f}",
    "predicted_gb": "{:.1f}",
    "peak_to_predicted": "{:.2f}",
}


def table(results: list[dict[str, Any]]) -> str:
    """All parts, one a line, for people and for a README."""
    lines = [["part", "status", *(name.replace("_", " ") for name in COLUMNS)]]
    for result in results:
        values = [(form, result.get(name)) for name, form in COLUMNS.items()]
        lines.append([result["part"], result["status"], *("–" if v is None else f.format(v) for f, v in values)])
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
