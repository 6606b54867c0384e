"""The GPUs that are seen: what nvidia-smi says, what is chosen, and what a test simulates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.gpus import chosen_of, parsed, simulated, visible

ROOT = Path(__file__).parents[2]
SAID = "GPU-5e1a, 81559\nGPU-77b2, 81559\nGPU-9c03, 24564\n"


def test_a_simulated_machine_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulated("8") == [None] * 8 and simulated("2x80") == [80.0, 80.0] and simulated("0") == []
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "3x24.5")
    assert [(gpu.name, gpu.memory_gb) for gpu in visible()] == [("0", 24.5), ("1", 24.5), ("2", 24.5)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [gpu.name for gpu in visible()] == ["5", "7"]


def test_simulated_gpus_are_refused_beside_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + SAID + "END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert len(visible()) == 3
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "8x80")
    with pytest.raises(TrainingError, match=r"this machine has 3 GPUs.*Unset SCODER_SIMULATED_GPUS.*machine\.gpus"):
        visible()


@pytest.mark.parametrize("given", ["many", "8x", "x80", "-1", "2x-3", "2xnan", "1.5"])
def test_a_simulated_machine_that_cannot_be_read_is_refused(given: str) -> None:
    if given == "8x":
        assert simulated(given) == [None] * 8
        return
    with pytest.raises(TrainingError, match="SCODER_SIMULATED_GPUS"):
        simulated(given)


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        (None, [85.5, 85.5, 25.8]),
        ("2,0", [25.8, 85.5]),
        ("GPU-77", [85.5]),
        ("", []),
        ("-1", []),
        ("0,7,1", [85.5]),
        ("MIG-x", [None]),
    ],
)
def test_only_the_chosen_gpus_are_seen(chosen: str | None, kept: list[float | None]) -> None:
    found = chosen_of(parsed(SAID.splitlines()), chosen)
    assert [None if gpu.memory_gb is None else round(gpu.memory_gb, 1) for gpu in found] == kept


def test_nvidia_smi_is_asked_and_torch_is_not_loaded(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + SAID + "END\n")
    program.chmod(0o755)
    code = "import sys; from training.gpus import visible\nprint(len(visible()), 'torch' in sys.modules)"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["3", "False"], done.stderr
    nothing = {"PATH": str(tmp_path / "empty")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=nothing, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["0", "False"]
