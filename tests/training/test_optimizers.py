"""The optimizers: memory, what bfloat16 loses and rounding keeps, states that resume to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW
from transformers import AutoModelForCausalLM

from tests import training_worker
from tests.training_worker import BASE, Job, num_bytes
from training import optimizers
from training.adafactor import Adafactor
from training.adamw_8bit import AdamW8bit
from training.adapters import add_lora
from training.errors import TrainingError
from training.settings import LoraSettings, SftSettings

ROOT = Path(__file__).parents[2]
FULL = SftSettings(lora=None, dtype="bfloat16", learning_rate=1e-5, batch_size=4)
ROUNDED = FULL.model_copy(update={"optimizer": "adamw_8bit_sr"})
ADAFACTOR = FULL.model_copy(update={"optimizer": "adafactor"})
ALL = [FULL, ROUNDED, ADAFACTOR]
IDS = torch.randint(10, 4000, (2, 64), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def base(dtype: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=getattr(torch, dtype))


def optimizer_of(model: Any, settings: SftSettings) -> torch.optim.Optimizer:
    """The optimizer that a trainer makes of the settings."""
    chosen = optimizers.choice(settings) or (AdamW, {"lr": settings.learning_rate})
    return chosen[0]([p for p in model.parameters() if p.requires_grad], weight_decay=0.0, **chosen[1])


def step(model: Any, optimizer: torch.optim.Optimizer, num_steps: int) -> list[float]:
    losses = []
    for _ in range(num_steps):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def same(some: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    "optimizer, dtype, lora, weights, autocast",
    [
        ("adamw", "bfloat16", False, "float32", True),
        ("adafactor", "bfloat16", False, "float32", True),
        ("adamw_8bit_sr", "bfloat16", False, "bfloat16", False),
        ("adamw", "float32", False, "float32", False),
        ("adamw_8bit_sr", "float32", False, "float32", False),
        ("adamw", "bfloat16", True, "bfloat16", True),
        ("adamw_8bit_sr", "bfloat16", True, "bfloat16", True),
        ("adamw", "float32", True, "float32", False),
    ],
)
def test_weights_are_float32_where_updates_would_be_lost(optimizer, dtype, lora, weights, autocast) -> None:
    settings = SftSettings(optimizer=optimizer, dtype=dtype, lora=LoraSettings() if lora else None)
    assert optimizers.weights_dtype(settings) == weights
    assert optimizers.is_autocast(settings) == autocast


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.optimizer)
def test_the_loss_falls_and_states_are_as_small_as_told(settings: SftSettings) -> None:
    model = base(optimizers.weights_dtype(settings))
    optimizer = optimizer_of(model, settings)
    losses = step(model, optimizer, 4)
    assert losses == sorted(losses, reverse=True) and losses[0] - losses[-1] > 0.1
    moments = [v for state in optimizer.state.values() for v in state.values() if torch.is_tensor(v)]
    per_weight = sum(map(num_bytes, moments)) / sum(p.numel() for p in model.parameters())
    assert per_weight == pytest.approx(
        {"adamw": 8, "adamw_8bit_sr": 2.05, "adafactor": 0.03}[settings.optimizer], abs=0.005
    )


@pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.optimizer)
def test_an_adapter_trains_by_each(settings: SftSettings) -> None:
    torch.manual_seed(0)
    model = add_lora(base("bfloat16"), LoraSettings(r=8))
    optimizer = optimizer_of(model, settings.model_copy(update={"learning_rate": 1e-3, "lora": LoraSettings(r=8)}))
    losses = step(model, optimizer, 4)
    assert losses[-1] < losses[0] - 0.05
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


def test_bfloat16_loses_updates_and_stochastic_rounding_keeps_them() -> None:
    falls, changed = {}, {}
    for name, dtype in (("exact", "float32"), ("nearest", "bfloat16"), ("rounded", "bfloat16")):
        model = base(dtype)
        before = [p.detach().clone() for p in model.parameters()]
        settings = ROUNDED if name == "rounded" else FULL
        losses = step(model, optimizer_of(model, settings), 4)
        falls[name] = losses[0] - losses[-1]
        pairs = zip(before, model.parameters(), strict=True)
        changed[name] = sum((a != b).sum().item() for a, b in pairs) / sum(map(torch.numel, before))
    assert falls["nearest"] < 0.2 * falls["exact"]
    assert falls["rounded"] == pytest.approx(falls["exact"], rel=0.1)
    assert changed["nearest"] < 0.5 * changed["rounded"] < 0.5 * changed["exact"]


def test_rounding_has_the_right_mean_and_leaves_other_randomness_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    # One step of AdamW is the learning rate, 1e-4. The numbers of bfloat16 below 1 are 4e-3 apart.
    weights = {seed: torch.nn.Parameter(torch.ones(400, 1024, dtype=torch.bfloat16)) for seed in (0, 1, 2)}
    for seed, weight in weights.items():
        optimizer = AdamW8bit([weight], lr=1e-4, seed=min(seed, 1), weight_decay=0.0)
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    first, second, third = (weight.detach().float() for weight in weights.values())
    assert set(first.unique().tolist()) == {1.0, 1.0 - 2**-8}
    assert (1 - first.mean()).item() == pytest.approx(1e-4, rel=0.05)
    assert not torch.equal(first, second) and torch.equal(second, third)
    before = first.clone()
    weights[0].data.fill_(1)
    weights[0].grad = torch.ones_like(weights[0])
    second_step = AdamW8bit([weights[0]], lr=1e-4, seed=0, weight_decay=0.0)
    second_step.step()
    assert torch.equal(weights[0].detach().float(), before)
    weights[0].data.fill_(1)
    second_step.step()
    assert not torch.equal(weights[0].detach().float(), before), "each step rounds by other numbers"
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("settings", [ROUNDED, ADAFACTOR], ids=lambda settings: settings.optimizer)
def test_a_saved_state_goes_on_with_the_same_bits(settings: SftSettings, tmp_path: Path) -> None:
    model = base(optimizers.weights_dtype(settings))
    optimizer = optimizer_of(model, settings)
    step(model, optimizer, 2)
    torch.save({"optimizer": optimizer.state_dict(), "model": model.state_dict()}, tmp_path / "state.pt")
    losses = step(model, optimizer, 2)

    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other = base(optimizers.weights_dtype(settings))
    other.load_state_dict(saved["model"])
    resumed = optimizer_of(other, settings)
    resumed.load_state_dict(saved["optimizer"])
    torch.manual_seed(99)
    assert step(other, resumed, 2) == losses
    assert same(model, other)


@pytest.mark.parametrize(
    "settings", [ROUNDED, pytest.param(ADAFACTOR, marks=pytest.mark.drill)], ids=lambda settings: settings.optimizer
)
def test_a_killed_trainer_resumes_with_the_same_bits(settings: SftSettings, tmp_path: Path) -> None:
    whole = Job(folder=tmp_path / "whole", settings=settings, num_saved_steps=2)
    cut = Job(folder=tmp_path / "cut", settings=settings, num_saved_steps=2, killed=(0, 3))
    resumed = Job(folder=tmp_path / "again", settings=settings, resumed=cut.folder / "state" / "checkpoint-2")
    for job in (whole, cut, resumed):
        job.folder.mkdir()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, str(ROOT / "tests" / "training_worker.py"), cut.model_dump_json()]
    killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -9, killed.stderr[-3000:]
    training_worker.main(whole)
    training_worker.main(resumed)
    files = [(job.folder / "checkpoint" / "model.safetensors").read_bytes() for job in (whole, resumed)]
    assert files[0] == files[1]
    told = [json.loads((job.folder / "0.json").read_text()) for job in (whole, resumed)]
    assert told[0]["losses"] == told[1]["losses"] and told[0]["norms"] == told[1]["norms"]


def test_what_is_missing_is_told_with_the_way_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(TrainingError, match=r"torchao is not installed.*scoder\[torchao\].*optimizer to adafactor"):
        optimizers.choice(ROUNDED)
    assert optimizers.choice(FULL) is None
    assert optimizers.choice(ADAFACTOR)[0] is Adafactor
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not optimizers.has_compiler()
    (tmp_path / "gcc").touch(mode=0o755)
    assert optimizers.has_compiler()
