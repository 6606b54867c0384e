"""What vLLM could not use, or would answer wrongly with, is refused before it starts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from builders.engines.vllm_adapters import CONFIG, WEIGHTS, lora_options, require_usable
from store.errors import InputError, MissingError, UserError
from tests.engine_models import save_adapter, save_model
from training.errors import TrainingError


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def sound(model, tmp_path_factory) -> str:
    return save_adapter(model, tmp_path_factory.mktemp("adapter") / "a", 1)


@pytest.fixture
def folder(sound, tmp_path) -> Path:
    """A copy of a sound adapter, to be broken."""
    return Path(shutil.copytree(sound, tmp_path / "a"))


def changed(folder: Path, **fields: object) -> dict[str, str]:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return {"a": str(folder)}


def test_a_sound_adapter_is_taken_and_no_weights_are_read(model, sound) -> None:
    require_usable(model, None, {"a": sound})
    assert lora_options({"a": sound})["max_lora_rank"] == 8 and lora_options({}) == {}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa'"),
        ({"init_lora_weights": "olora"}, "path_initial_model_for_weight_conversion"),
        ({"bias": "all"}, "bias 'all'"),
        ({"use_dora": True}, "use_dora"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"peft_type": "PROMPT_TUNING"}, "kind PROMPT_TUNING"),
        ({"r": 1024}, "ranks from 1 to 512"),
        ({"r": 10**12}, "ranks from 1 to 512"),
        ({"r": "four"}, "r='four'"),
        ({"r": 0}, "r=0"),
        ({"r": 8}, "have another shape"),
        ({"rank_pattern": {"q_proj": 10**12}}, "rank_pattern"),
        ({"rank_pattern": 7}, "rank_pattern"),
        ({"lora_alpha": None}, "lora_alpha=None"),
        ({"target_modules": ["q_proj"]}, "fit no layer"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj", "up_proj"]}, "are not there"),
        ({"target_modules": 7}, "cannot be loaded"),
        ({"target_modules": "(("}, "cannot be loaded"),
        ({"target_modules": ["nothing"]}, "cannot be loaded"),
    ],
)
def test_a_config_that_means_something_else_is_refused(model, folder, fields, told) -> None:
    with pytest.raises((TrainingError, UserError), match=told) as raised:
        require_usable(model, None, changed(folder, **fields))
    assert str(folder) in str(raised.value)


def test_an_adapter_of_another_base_is_refused(folder, tmp_path) -> None:
    deeper = save_model(tmp_path / "deeper", num_layers=3)
    with pytest.raises(TrainingError, match=r"(?s)does not fit the model .*deeper: 6 weights are not there"):
        require_usable(deeper, None, {"a": str(folder)})
    wider = save_model(tmp_path / "wider", hidden_size=64)
    with pytest.raises(TrainingError, match=r"12 have another shape \(such as .*\(4, 32\) for \(4, 64\)"):
        require_usable(wider, None, {"a": str(folder)})


def test_folders_that_hold_something_else_are_refused(model, folder) -> None:
    (folder / CONFIG).write_text("[1]")
    with pytest.raises(TrainingError, match="no object"):
        require_usable(model, None, {"a": str(folder)})
    (folder / CONFIG).write_text("{")
    with pytest.raises(TrainingError, match="no JSON"):
        require_usable(model, None, {"a": str(folder)})
    with open(folder / CONFIG, "w") as file:
        file.truncate(1 << 30)
    with pytest.raises(TrainingError, match="1,073,741,824 bytes"):
        require_usable(model, None, {"a": str(folder)})
    (folder / CONFIG).unlink()
    with pytest.raises(MissingError, match=CONFIG):
        require_usable(model, None, {"a": str(folder)})


def test_weights_that_are_cut_or_lack_one_are_refused(model, folder) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file(dict(list(weights.items())[1:]), folder / WEIGHTS)
    with pytest.raises(TrainingError, match="1 weights are not there"):
        require_usable(model, None, {"a": str(folder)})
    save_file(weights | {"more": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(TrainingError, match=r"1 fit no layer \(such as more\)"):
        require_usable(model, None, {"a": str(folder)})
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="cannot be loaded"):
        require_usable(model, None, {"a": str(folder)})
    (folder / WEIGHTS).unlink()
    with pytest.raises((InputError, MissingError), match=WEIGHTS):
        require_usable(model, None, {"a": str(folder)})
