"""benchmarks/gpu_day.py: all of it on the CPU with a tiny model, and parts that fail."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import gpu_day
from benchmarks.gpu.flops import flops_per_token, peak_tflops
from tests.run_faults import is_alive
from tests.smoke_run import ROOT
from training.model_shape import ModelShape
from training.settings import LoraSettings, SftSettings

SEVEN = ModelShape(3584, 18_944, 28, 28, 4, 128, 152_064, False)


def run(output: Path, *words: str) -> tuple[str, dict[str, dict]]:
    script = str(ROOT / "benchmarks" / "gpu_day.py")
    done = subprocess.run(
        [sys.executable, script, "--tiny", "--output", str(output), *words], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout, {line["part"]: line for line in map(json.loads, output.read_text().splitlines())}


@pytest.mark.drill
def test_every_part_says_its_figures(tmp_path: Path) -> None:
    text, found = run(tmp_path / "results.jsonl")
    assert list(found) == list(gpu_day.LIMITS_S)
    assert {part: line["status"] for part, line in found.items()} == dict.fromkeys(found, "ok"), found
    for part in ("lora-7b", "full-1.5b", "lora-1.5b", "lora-7b-twice", "lora-7b-tf32"):
        assert found[part]["tokens_per_s"] > 0 and found[part]["predicted_gb"] > 0, part
        assert abs(found[part]["last_loss"] - 8.3) < 0.2, "of random weights it is the logarithm of 4,096"
    assert found["lora-7b-twice"]["rows"] == 2 * found["lora-7b"]["rows"]
    for part in ("gradients-7b", "gradients-1.5b"):
        assert 0 < found[part]["share_of_floor"] < 5 and found[part]["own_rows"] == 8, part
    assert 24 <= found["generation-1.5b"]["num_completion_tokens"] <= 32
    assert all(f"| {part} " in text for part in found)


def test_a_part_that_fails_is_a_line(tmp_path: Path) -> None:
    """A rank of 0 is refused."""
    text, found = run(tmp_path / "results.jsonl", "--rank", "0", "--parts", "lora-7b", "machine")
    assert found["lora-7b"]["status"] == "failed" and found["machine"]["status"] == "ok"
    assert "greater than 0" in " ".join(found["lora-7b"]["log"])
    assert "| lora-7b | failed | –" in text


def test_parts_for_which_no_time_is_left_are_said(tmp_path: Path) -> None:
    _, found = run(tmp_path / "results.jsonl", "--seconds", "4", "--parts", "machine", "lora-7b")
    assert {line["status"] for line in found.values()} == {"out of time"}


def test_a_part_is_ended_in_time_with_what_it_started(tmp_path: Path) -> None:
    words = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    start = time.monotonic()
    assert gpu_day.ended([sys.executable, "-c", words], tmp_path / "log", 2.0) is None
    assert time.monotonic() - start < 10
    started, until = int((tmp_path / "log").read_text()), time.monotonic() + 10
    while is_alive(started) and time.monotonic() < until:  # it dies at its next turn
        time.sleep(0.05)
    assert not is_alive(started)
    assert gpu_day.failure(None, tmp_path / "log", 2.0)["status"] == "out of time"


def test_memory_that_runs_out_has_its_own_word(tmp_path: Path) -> None:
    words = "import torch; torch.empty(10**16)"
    code = gpu_day.ended([sys.executable, "-c", words], tmp_path / "log", 60.0)
    found = gpu_day.failure(code, tmp_path / "log", 60.0)
    assert (found["status"], "can't allocate memory" in found["error"]) == ("out of memory", True)


def test_operations_of_a_token() -> None:
    """Qwen2.5-7B has 7.07 billion weights that are multiplied: 7.62 without the embedding."""
    everything, adapter = SftSettings(lora=None), SftSettings(lora=LoraSettings(r=64))
    assert flops_per_token(SEVEN, everything, 0) == pytest.approx(6 * 7.07e9, rel=1e-3)
    assert flops_per_token(SEVEN, adapter, 0) == pytest.approx(4 * 7.07e9 + 6 * 161.5e6, rel=1e-3)
    longer = flops_per_token(SEVEN, adapter, 1024) - flops_per_token(SEVEN, adapter, 0)
    assert longer == 6 * 28 * 1024 * 28 * 128
    more = replace(SEVEN, num_layers=56)
    assert flops_per_token(more, adapter, 1024) > 1.9 * flops_per_token(SEVEN, adapter, 1024)


def test_peaks_of_gpus() -> None:
    assert peak_tflops("NVIDIA H100 80GB HBM3") == peak_tflops("NVIDIA H200") == 989
    assert peak_tflops("NVIDIA H100 PCIe") == 756
    assert peak_tflops("NVIDIA GeForce GT 710") is None
