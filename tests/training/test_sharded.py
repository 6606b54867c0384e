"""Two processes train all weights with FSDP2: the numbers of one process, half of its memory."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GenerationConfig

from tests import training_worker
from tests.training_worker import BASE, END, Job
from training import sharded
from training.errors import TrainingError
from training.settings import SftSettings

ROOT = Path(__file__).parents[2]
FULL = SftSettings(lora=None, dtype="float32", learning_rate=2e-5, batch_size=4)
ROUNDED = FULL.model_copy(update={"optimizer": "adamw_8bit_sr", "dtype": "bfloat16"})
ADAFACTOR = FULL.model_copy(update={"optimizer": "adafactor"})
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def train(job: Job, num_processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run the job in processes of its own."""
    job.folder.mkdir(parents=True, exist_ok=True)
    start = TWO if num_processes == 2 else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, *start, str(ROOT / "tests" / "training_worker.py"), job.model_dump_json()]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def two(folder: Path, settings: SftSettings, **fields: object) -> Path:
    """The folder of a job that two processes have finished. Each takes half of a step's rows."""
    half = settings.model_copy(update={"batch_size": settings.batch_size // 2})
    done = train(Job(folder=folder, settings=half, **fields))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def one(folder: Path, settings: SftSettings, **fields: object) -> Path:
    """The folder of the same job in one process."""
    done = train(Job(folder=folder, settings=settings, **fields), num_processes=1)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    return {name: w.float() for name, w in load_file(Path(folder) / "model.safetensors").items()}


def told(folder: Path, rank: int = 0) -> dict:
    return json.loads((folder / f"{rank}.json").read_text())


def distance(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    assert some.keys() == others.keys()
    return math.sqrt(sum((some[name] - others[name]).square().sum().item() for name in some))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 rows, 4 a step: the last step is short."""
    return one(tmp_path_factory.mktemp("one"), FULL, num_rows=14)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows, and two pads that fill the last step."""
    return two(tmp_path_factory.mktemp("two"), FULL, num_rows=14, num_pads=2)


def test_two_processes_train_what_one_trains(alone: Path, together: Path) -> None:
    some, others = weights(alone / "checkpoint"), weights(together / "checkpoint")
    size = math.sqrt(sum(w.square().sum().item() for w in some.values()))
    moved = distance(some, weights(BASE))
    # AdamW makes whole steps of gradients that are only rounding, so 1% of what is learned differs.
    assert distance(some, others) < 1e-5 * size
    assert distance(some, others) < 0.02 * moved
    assert told(together)["losses"] == pytest.approx(told(alone)["losses"], rel=1e-5)
    # The norm before clipping. All of these are clipped to 1.
    assert told(together)["norms"] == pytest.approx(told(alone)["norms"], rel=1e-5)
    assert min(told(alone)["norms"]) > 2
    assert len(told(alone)["losses"]) == 4


def test_each_process_holds_half_of_the_weights_and_of_the_moments(alone: Path, together: Path) -> None:
    for rank in (0, 1):
        for kind in ("weights", "moments"):
            assert told(together, rank)[kind] == pytest.approx(told(alone)[kind] / 2, rel=1e-3), (rank, kind)


def test_both_processes_see_the_largest_weight_of_all(alone: Path, together: Path) -> None:
    seen = [told(folder, rank)["largest"] for folder, rank in ((alone, 0), (together, 0), (together, 1))]
    assert seen == pytest.approx([max(w.abs().max().item() for w in weights(BASE).values())] * 3, rel=1e-3)


def test_the_checkpoint_is_like_that_of_one_process(alone: Path, together: Path) -> None:
    ours, theirs = together / "checkpoint", alone / "checkpoint"
    only_theirs = {"optimizer.pt", "parameter_names.json"}
    assert {p.name for p in ours.iterdir()} == {p.name for p in theirs.iterdir()} - only_theirs
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (ours / name).read_text() == (theirs / name).read_text(), name
    assert (ours / "model.safetensors").stat().st_size == (theirs / "model.safetensors").stat().st_size
    assert END in GenerationConfig.from_pretrained(ours).eos_token_id
    loaded = AutoModelForCausalLM.from_pretrained(ours, dtype=torch.float32)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    named = dict(loaded.named_parameters())
    assert all(torch.equal(named[name], weight) for name, weight in weights(ours).items())


@pytest.mark.drill
@pytest.mark.parametrize(
    "settings",
    [ROUNDED, FULL, ADAFACTOR],
    ids=lambda settings: settings.optimizer,
)
def test_a_killed_process_ends_all_and_a_resumed_training_is_equal_to_the_bit(
    tmp_path: Path, settings: SftSettings
) -> None:
    whole = two(tmp_path / "whole", settings, num_saved_steps=2)
    half = settings.model_copy(update={"batch_size": 2})
    cut = Job(folder=tmp_path / "cut", settings=half, num_saved_steps=2, killed=(1, 3))
    assert train(cut).returncode != 0
    assert not (cut.folder / "checkpoint").exists()
    again = two(tmp_path / "again", settings, num_saved_steps=2, resumed=cut.folder / "state" / "checkpoint-2")
    files = [(folder / "checkpoint" / "model.safetensors").read_bytes() for folder in (whole, again)]
    assert files[0] == files[1]
    assert told(whole)["losses"] == told(again)["losses"]


def test_in_bfloat16_losses_and_sums_of_gradients_keep_their_digits(tmp_path: Path) -> None:
    settings = FULL.model_copy(update={"dtype": "bfloat16"})
    alone = one(tmp_path / "one", settings, num_rows=14)
    losses = torch.tensor(told(two(tmp_path / "two", settings, num_rows=14, num_pads=2))["losses"])
    # Numbers of bfloat16 are 0.06 apart here. Weights and states stay float32.
    assert (losses.bfloat16().float() != losses).all()
    assert losses.tolist() == pytest.approx(told(alone)["losses"], abs=0.02)
    assert told(tmp_path / "two")["weights"] == pytest.approx(told(alone)["weights"] / 2, rel=1e-3)


def test_gradient_checkpointing_changes_no_bit(tmp_path: Path, together: Path) -> None:
    settings = FULL.model_copy(update={"gradient_checkpointing": True})
    folder = two(tmp_path, settings, num_rows=14, num_pads=2)
    assert distance(weights(folder / "checkpoint"), weights(together / "checkpoint")) == 0


@pytest.mark.drill
def test_adafactor_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    some = weights(one(tmp_path / "one", ADAFACTOR) / "checkpoint")
    others = weights(two(tmp_path / "two", ADAFACTOR) / "checkpoint")
    # The same rows in other micro-batches, in one process, differ by 2.6% of what is learned.
    assert distance(some, others) < 0.05 * distance(some, weights(BASE))
    rows_and_columns = told(tmp_path / "two", 1)["moments"] / told(tmp_path / "one")["moments"]
    assert 0.5 < rows_and_columns < 0.7  # rows are sharded, columns are not


@pytest.mark.drill
def test_stochastic_rounding_of_two_processes_learns_what_one_learns(tmp_path: Path) -> None:
    exact, base = weights(one(tmp_path / "exact", FULL) / "checkpoint"), weights(BASE)
    folder = two(tmp_path / "two", ROUNDED)
    learned = weights(folder / "checkpoint")
    # Rounding adds noise of mean zero. Along the exact update, the two are as long as each other.
    along = sum(((learned[n] - base[n].bfloat16().float()) * (exact[n] - base[n])).sum().item() for n in base)
    assert along / distance(exact, base) ** 2 == pytest.approx(1, abs=0.1)
    alone = one(tmp_path / "one", ROUNDED)
    assert told(folder)["losses"] == pytest.approx(told(alone)["losses"], abs=0.02)
    assert told(folder, 1)["moments"] == pytest.approx(told(alone)["moments"] / 2, rel=0.02)


def test_a_trainer_that_does_not_shard_is_refused(tmp_path: Path) -> None:
    trainer, _ = training_worker.trainer_of(Job(folder=tmp_path, settings=FULL))
    with pytest.raises(TrainingError, match=r"does not shard here \(NO, 1 processes\).*set sharding to ddp"):
        sharded.prepare(trainer)


def test_a_model_is_split_by_its_own_layers() -> None:
    model = AutoModelForCausalLM.from_pretrained(BASE)
    assert sharded.arguments(model)["fsdp_config"]["transformer_layer_cls_to_wrap"] == ["Qwen2DecoderLayer"]
    model._no_split_modules = {"LlamaDecoderLayer"}
    with pytest.raises(TrainingError, match="Qwen2ForCausalLM does not name the class of its layers"):
        sharded.arguments(model)
