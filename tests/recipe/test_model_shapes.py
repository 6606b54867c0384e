"""A model whose sizes nobody knows here is told with the reason and a way on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builders.recipe import files, planned
from builders.recipe.model_shapes import model_shape, why_unknown
from tests.tiny_recipes import recipe


def test_a_model_of_the_hub_that_is_in_no_cache_is_to_be_looked_up() -> None:
    said = why_unknown("no/such-model", "abc")
    assert said is not None and "does not ask the Hub" in said
    assert "`hf download no/such-model config.json --revision abc`" in said
    assert why_unknown("Qwen/Qwen2.5-Coder-7B-Instruct") is None
    assert why_unknown(str(files.SHIPPED / "tiny-base")) is None


@pytest.mark.parametrize("path", ["/nowhere/at/all", "recipes/a/b", "./mine"])
def test_a_path_that_is_not_there_is_called_so(path: str) -> None:
    assert why_unknown(path) == f"there is no folder {path}: check the path"


def test_a_folder_without_sizes_says_what_it_lacks(tmp_path: Path) -> None:
    assert "has no config.json" in str(why_unknown(str(tmp_path)))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "mixtral", "hidden_size": 8}))
    assert "not that of a plain decoder" in str(why_unknown(str(other)))


@pytest.mark.parametrize("text", [b"{bad", b"[1]", b"\xff\xfe{}"])
def test_a_config_that_is_no_json_has_no_sizes(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config.json").write_bytes(text)
    assert model_shape(str(tmp_path)) is None
    assert "not that of a plain decoder" in str(why_unknown(str(tmp_path)))


def test_a_plan_says_for_which_settings_and_why(tmp_path: Path) -> None:
    made = recipe(tmp_path, coder={"model": "no/such-model"}, benchmarks=[{"name": "b", "path": "b", "evaluate": True}])
    lines = [line for line in planned.grounds(made, [80.0]) if line.startswith("unknown for")]
    (coder,) = [line for line in lines if "no/such-model" in line]
    assert coder.startswith("unknown for coder.training, evaluation.engine: a plan does not ask the Hub")
    known = planned.grounds(files.load("qwen2.5-coder-7b"), [80.0])
    assert not [line for line in known if line.startswith("unknown for")]


def test_a_plan_does_not_load_torch(tmp_path: Path) -> None:
    """It would take longer than all the rest."""
    code = (
        "import sys, scoder\nfrom builders.recipe import files, planned\nfrom store import Store\n"
        "made = files.load('smoke')\nplanned.rows(made, [80.0])\nscoder.refusals(Store(sys.argv[1]), made, None, [80.0])\n"
        "print(sorted({'torch', 'transformers', 'trl', 'peft'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
