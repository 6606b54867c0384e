"""`auto` means the same in training, for gradients and in both engines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from builders.engines import TransformersSettings, VllmSettings, open_engine
from builders.engines.transformers import TransformersEngine
from builders.standalone.influence_checkpoints import _precision
from tests.small_training import SETTINGS, distance, weights, write_rows
from tests.tiny_models import tiny_qwen
from training.errors import TrainingError
from training.examples import load_model
from training.precision import choice
from training.settings import SftSettings
from training.sft import train

BASE = str(Path(__file__).parents[2] / "recipes" / "tiny-base")
CPU, OLD_GPU, GPU = (False, False), (True, False), (True, True)


@pytest.mark.parametrize(
    "dtype, machine, engine, training",
    [
        ("auto", CPU, "float32", "float32"),
        ("auto", OLD_GPU, "float16", "float32"),
        ("auto", GPU, "bfloat16", "bfloat16"),
        ("float32", GPU, "float32", "float32"),
        ("bfloat16", CPU, "bfloat16", "bfloat16"),
        ("bfloat16", GPU, "bfloat16", "bfloat16"),
        ("float16", OLD_GPU, "float16", "float16"),
    ],
)
def test_each_name_on_each_machine(dtype, machine, engine, training) -> None:
    assert choice(dtype, "engine", *machine) == engine
    assert choice(dtype, "training", *machine) == training


@pytest.mark.parametrize("kind, instead", [("engine", "float16"), ("training", "float32")])
def test_bfloat16_that_a_gpu_only_emulates_is_refused_with_the_way_on(kind, instead) -> None:
    with pytest.raises(TrainingError, match=f"does not compute it: set dtype to {instead}, or to auto"):
        choice("bfloat16", kind, *OLD_GPU)


def test_a_base_saved_in_bfloat16_is_loaded_alike_for_training_and_for_answers(tmp_path: Path) -> None:
    base = tiny_qwen(tmp_path / "base")
    model = load_model(base, dtype="float32")
    torch.nn.Module.to(model, torch.bfloat16).save_pretrained(base)
    assert json.loads(Path(base, "config.json").read_text())["dtype"] == "bfloat16"
    trained = load_model(base, dtype="auto").dtype
    with open_engine(TransformersSettings(dtype="auto"), base) as engine:
        assert isinstance(engine, TransformersEngine)
        with engine._adapters.selected(None) as model:
            assert model.dtype == trained == getattr(torch, _precision("auto"))


def test_engines_take_float16_and_trainings_do_not(tmp_path: Path) -> None:
    with open_engine(TransformersSettings(dtype="float16"), tiny_qwen(tmp_path / "base")) as engine:
        assert isinstance(engine, TransformersEngine)
        with engine._adapters.selected(None) as model:
            assert model.dtype == torch.float16
    assert VllmSettings.model_validate({"dtype": "float16"}).dtype == "float16"
    with pytest.raises(ValidationError, match="Input should be 'float32', 'bfloat16' or 'auto'"):
        SftSettings.model_validate({"dtype": "float16"})


def test_an_adapter_multiplies_in_bfloat16_and_learns_as_in_float32(tmp_path: Path) -> None:
    """Its weights are float32 all the same: updates are small."""
    data = write_rows(tmp_path)
    seen: set[torch.dtype] = set()

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Linear) and 4 in module.weight.shape:
            assert module.weight.dtype == torch.float32
            seen.update((inputs[0].dtype, output.dtype))

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    for dtype in ("float32", "bfloat16"):
        seen.clear()
        train(data, BASE, str(tmp_path / dtype), SETTINGS.model_copy(update={"dtype": dtype}))
        assert seen == {getattr(torch, dtype)}
    hook.remove()
    assert weights(tmp_path / "bfloat16").dtype == np.float32
    assert 0 < distance(tmp_path / "bfloat16", tmp_path / "float32") < 0.15
