"""The GPUs that are seen: what nvidia-smi says, what is chosen, and what a test simulates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training import gpus
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


def smi_that(does: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that does this, and a torch that counts three GPUs, or COUNTED, or FAILS."""
    for name, text in (("nvidia-smi", does), ("python", "echo ${COUNTED-3}; exit ${FAILS-0}")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr(gpus, "DRIVERS", (str(folder / "nvidia-smi"),))
    monkeypatch.setattr(gpus, "SMI_S", 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv(gpus.SIMULATED, raising=False)
    gpus._counted.cache_clear()


BROKEN = ["exec sleep 9", "exit 15", "echo couldn't communicate with the driver; exit 9"]


@pytest.mark.parametrize("does", BROKEN)
def test_where_nvidia_smi_fails_torch_counts(does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi_that(does, tmp_path, monkeypatch)
    assert [(gpu.name, gpu.memory_gb) for gpu in visible()] == [("0", None), ("1", None), ("2", None)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible() == []
    assert gpus.in_use() == []


@pytest.mark.parametrize("does", BROKEN)
def test_gpus_are_never_left_out_in_silence(does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi_that(does, tmp_path, monkeypatch)
    monkeypatch.setenv("COUNTED", "0")
    said = r"nvidia-smi (said nothing for 1 s|ended with exit code \d+ \(.+\)), and torch sees no GPU, though .*/nvidia-smi"
    with pytest.raises(TrainingError, match=said):
        visible()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(TrainingError, match=said):
        visible()
    for none in ("-1", "NoDevFiles", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert visible() == []
    monkeypatch.setenv("FAILS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(TrainingError, match="could not be counted"):
        visible()


@pytest.mark.parametrize("does", BROKEN)
def test_a_container_without_a_driver_has_no_gpu(does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi_that(does, tmp_path, monkeypatch)
    monkeypatch.setattr(gpus, "DRIVERS", (str(tmp_path / "nowhere"),))
    assert visible() == []


def test_a_machine_with_a_driver_and_no_gpu_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi_that("echo No devices were found; exit 6", tmp_path, monkeypatch)
    assert visible() == []


def test_a_gpu_whose_memory_is_that_of_the_machine_is_seen() -> None:
    assert parsed(["GPU-1c, [N/A]", "GPU-2d, 81559"]) == [("GPU-1c", None), ("GPU-2d", pytest.approx(85.52, abs=0.01))]
