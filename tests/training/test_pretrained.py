"""A model folder's own code is never run, and all loading goes through one place."""

import ast
import io
import json
from pathlib import Path

import pytest
import torch

from builders.engines import TransformersSettings, VllmSettings, open_engine
from builders.engines.forms import without_chat
from tests.tiny_models import tiny_qwen
from training import pretrained
from training.errors import TrainingError
from training.examples import load_model, load_tokenizer

ROOT = Path(__file__).parents[2]
LOADERS = {"training/pretrained.py", "training/tokenizer_files.py"}
"""The modules in which `from_pretrained` may stand."""


@pytest.fixture
def own_code(tmp_path, monkeypatch) -> Path:
    """A folder whose config and tokenizer need its own code, and a user who says yes to all."""
    folder = Path(tiny_qwen(tmp_path / "mine"))
    (folder / "own.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nfrom transformers import PretrainedConfig, Qwen2ForCausalLM\n"
        "class Config(PretrainedConfig):\n    model_type = 'mine'\n"
    )
    for file, names in (
        ("config.json", {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["own.Tokenizer", None]}),
    ):
        written = json.loads((folder / file).read_text()) | {"auto_map": names}
        written |= {"model_type": "mine"} if file == "config.json" else {"tokenizer_class": "Mine"}
        (folder / file).write_text(json.dumps(written))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    return folder


def test_a_folder_that_needs_its_own_code_is_refused_and_the_code_does_not_run(own_code) -> None:
    for load in (
        lambda place: load_tokenizer(place),
        lambda place: load_model(place, dtype="float32"),
        lambda place: without_chat(place),
        lambda place: open_engine(TransformersSettings(), place),
        lambda place: pretrained.read_model(place, torch.float32),
    ):
        with pytest.raises(TrainingError, match=r"only with Python code of its own .*own\.\w+.*never run here"):
            load(str(own_code))
    assert not (own_code.parent / "ran").exists()


def test_vllm_refuses_own_code_too(own_code) -> None:
    pytest.importorskip("vllm", reason="vLLM is not in this environment")
    with pytest.raises(TrainingError, match="never run here"):
        open_engine(VllmSettings(), str(own_code))
    assert not (own_code.parent / "ran").exists()


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """The calls of a method or a class of this name."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [c for c in found if name in (getattr(c.func, "attr", None), getattr(c.func, "id", None))]


def test_nothing_is_loaded_elsewhere_and_nothing_may_run_its_code() -> None:
    sources = [
        path for folder in ("training", "builders", "commands", "store") for path in ROOT.glob(f"{folder}/**/*.py")
    ]
    assert len(sources) > 100
    found = set()
    for path in sources:
        tree, place = ast.parse(path.read_text()), str(path.relative_to(ROOT))
        for call in [*calls(tree, "from_pretrained"), *calls(tree, "LLM")]:
            found.add(place)
            if not _is_of_an_adapter(call):
                given = {k.arg: k.value for k in call.keywords}.get("trust_remote_code")
                assert isinstance(given, ast.Constant) and given.value is False, f"{place}:{call.lineno}"
    assert found == LOADERS | {"builders/engines/vllm.py", "builders/models/smollm2.py"}


def _is_of_an_adapter(call: ast.Call) -> bool:
    """PEFT loads weights over a model that is there: it has no code to run."""
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "PeftModel"
