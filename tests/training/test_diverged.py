"""Numbers that are none end a training, a measurement and gradients, with what to do about it."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny_models import tiny_qwen
from training import gradients, heldout, sft
from training.checkpoints import require_numbers
from training.errors import TrainingError
from training.settings import GradientSettings, LoraSettings, SftSettings

ROWS = [
    [{"role": "user", "content": f"add {n}"}, {"role": "assistant", "content": f"def add():\n    return {n}\n"}]
    for n in range(8)
]
WILD = SftSettings(
    epochs=3, learning_rate=1e30, batch_size=4, max_tokens=200, warmup_share=0, scheduler="constant_with_warmup",
    max_gradient_norm=1e9, dtype="float32", lora=LoraSettings(r=2, alpha=4), num_checkpoints=3,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    pq.write_table(pa.table({"messages": ROWS}), folder / "train.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: str, data: str) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    calm = WILD.model_copy(update={"epochs": 1, "learning_rate": 1e-3, "num_checkpoints": 1})
    return run / sft.train(data, base, str(run), calm).checkpoints[-1].folder


@pytest.fixture
def broken(base: str, tmp_path: Path) -> str:
    """A base that knows only the tokens 0 to 4. The other ones are embedded as no numbers."""
    shutil.copytree(base, tmp_path / "broken")
    path = tmp_path / "broken" / "model.safetensors"
    weights = load_file(path)
    weights["model.embed_tokens.weight"][5:] = math.nan
    save_file(weights, path, {"format": "pt"})
    return str(tmp_path / "broken")


def test_a_training_that_diverges_ends_with_its_step_and_rate_and_leaves_nothing(data, base, tmp_path) -> None:
    with pytest.raises(TrainingError, match=r"diverged at step 2 of 6, at a learning rate of 1e\+30: loss nan"):
        sft.train(data, base, str(tmp_path / "out"), WILD)
    assert list(tmp_path.iterdir()) == []


def test_broken_weights_that_no_loss_shows_are_not_saved(data, base, tmp_path) -> None:
    shutil.copytree(base, tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    weights = load_file(path)
    weights["model.embed_tokens.weight"][0] = math.inf  # of the padding, which no row has
    save_file(weights, path, {"format": "pt"})
    calm = WILD.model_copy(update={"epochs": 1, "learning_rate": 1e-3, "num_checkpoints": 1, "lora": None})
    with pytest.raises(TrainingError, match=r"at step 2 of 2, at a learning rate of 0.001: largest weight (inf|nan)\."):
        sft.train(data, str(tmp_path / "base"), str(tmp_path / "out" / "run"), calm)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_infinite_gradient_norm_is_no_number() -> None:
    require_numbers({"loss": 0.0, "gradient norm": 1e30}, "at step 1")
    for values in ({"loss": 1.0, "gradient norm": math.inf}, {"loss": math.nan, "gradient norm": 1.0}):
        with pytest.raises(TrainingError, match=r"Lower learning_rate"):
            require_numbers(values, "at step 1")


def test_a_held_out_loss_that_is_no_number_names_the_weights(data, base, broken, adapter) -> None:
    with pytest.raises(
        TrainingError, match=rf"^{broken} gives 8 of 8 rows of {data} a loss that is no number .nan.: its"
    ):
        heldout.heldout_nll(broken, None, data, split="train")
    with pytest.raises(TrainingError, match=rf"^{adapter} over {broken} gives 8 of 8 rows"):
        heldout.heldout_nll(broken, str(adapter), data, split="train")


def test_gradients_that_are_all_no_numbers_name_the_weights(broken, adapter) -> None:
    rows = [(str(number), turns) for number, turns in enumerate(ROWS)]
    with pytest.raises(TrainingError, match=rf"all gradients of {adapter} over {broken} are no numbers, 8 rows so far"):
        list(gradients.stream_gradients(broken, str(adapter), rows, GradientSettings(dimension=64)))


def test_a_head_over_no_numbers_is_not_taken_for_another_kind_of_head(broken, adapter, base) -> None:
    weights = load_file(Path(broken, "model.safetensors"))
    weights["model.norm.weight"][:] = math.nan
    save_file(weights, Path(broken, "model.safetensors"), {"format": "pt"})
    with pytest.raises(TrainingError, match=rf"^{adapter} over {broken} gives logits that are no numbers .nan.: its"):
        gradients.GradientModel(broken, str(adapter), GradientSettings(dimension=64))


def test_a_gradient_that_is_no_number_is_a_reject_once_another_was_one(base, adapter) -> None:
    rows = [(str(number), turns) for number, turns in enumerate(ROWS)]
    model = gradients.GradientModel(base, str(adapter), GradientSettings(dimension=64))
    (batch,) = model.stream(rows)
    assert len(batch.ids) == 8
    with torch.no_grad():
        next(iter(model.model.parameters())).fill_(math.nan)
    (batch,) = model.stream(rows)
    assert (len(batch.ids), {reject.reason for reject in batch.rejects}) == (0, {"no_direction"})
