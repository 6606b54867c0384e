"""A model folder's own code is never run, all loading goes through one place, and what is loaded is
whole.
"""

import ast
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import (
    AdaptionPromptConfig,
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    VBLoRAConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file

from builders.decontamination.meaning import Meaning
from builders.engines import TransformersSettings, VllmSettings, open_engine
from builders.engines.forms import without_chat
from builders.recipe import MeaningModel
from tests.tiny_models import tiny_llama, tiny_qwen
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
        lambda place: Meaning(MeaningModel(model=place), []),
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
        for call in [*calls(tree, "from_pretrained"), *calls(tree, "from_config"), *calls(tree, "LLM")]:
            if not _is_of_an_adapter(call):
                found.add(place)
                given = {k.arg: k.value for k in call.keywords}.get("trust_remote_code")
                assert isinstance(given, ast.Constant) and given.value is False, f"{place}:{call.lineno}"
    others = {"builders/decontamination/meaning.py", "builders/engines/vllm.py", "builders/models/smollm2.py"}
    assert found == LOADERS | others


def _is_of_an_adapter(call: ast.Call) -> bool:
    """PEFT loads weights over a model that is there: it has no code to run."""
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in ("PeftModel", "PeftConfig")


def rewritten(folder: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], **config: object):
    """The same folder with other weights, and other values in its config.json."""
    (file,) = Path(folder).glob("*.safetensors")
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    path = Path(folder, "config.json")
    if config:
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def without(part: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda weights: {name: weight for name, weight in weights.items() if part not in name}


def same(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights


@pytest.mark.parametrize(
    ("change", "config", "says"),
    [
        pytest.param(without("layers.1.mlp"), {}, r"3 are not there \(model.layers.1.mlp.down_proj.*up", id="an MLP"),
        pytest.param(without("embed_tokens"), {}, "are not there .*model.embed_tokens.weight", id="the embedding"),
        pytest.param(without("lm_head"), {}, r"1 are not there \(lm_head.weight\)", id="a head that is not tied"),
        pytest.param(same, {"num_hidden_layers": 3}, r"9 are not there \(model.layers.2.*…\)", id="a layer"),
        pytest.param(
            same, {"intermediate_size": 50}, r"6 have another shape .*\(32, 48\) for \(32, 50\)", id="another shape"
        ),
    ],
)
def test_a_model_that_is_not_whole_is_refused(tmp_path, change, config, says) -> None:
    folder = rewritten(tiny_llama(tmp_path / "model"), change, **config)
    for load in (lambda place: load_model(place), lambda place: open_engine(TransformersSettings(), place)):
        with pytest.raises(TrainingError, match=f"model is not whole.*{says}.*Copy the whole folder again"):
            load(folder)


class Program:
    """What a pickle runs when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_pickle_that_holds_a_program_is_refused_and_does_not_run(tmp_path: Path) -> None:
    base = tiny_qwen(tmp_path / "model")
    model = load_model(base, dtype="float32")
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    for folder, held, written in (
        ("model", "model.safetensors", "pytorch_model.bin"),
        ("adapter", "adapter_model.safetensors", "adapter_model.bin"),
    ):
        (tmp_path / folder / held).rename(tmp_path / f"{folder}.safetensors")
        torch.save({"x": Program(tmp_path / "ran")}, tmp_path / folder / written)
        with pytest.raises(TrainingError, match="never run"):
            load_model(base, str(tmp_path / "adapter") if folder == "adapter" else None, dtype="float32")
        (tmp_path / f"{folder}.safetensors").rename(tmp_path / folder / held)
        (tmp_path / folder / written).unlink()
    assert not (tmp_path / "ran").exists()


def test_a_configuration_that_contradicts_itself_is_a_mistake_to_mend(tmp_path) -> None:
    # the same file lists the kinds of two layers
    folder = rewritten(tiny_qwen(tmp_path / "model"), same, num_hidden_layers=3)
    with pytest.raises(TrainingError, match="num_hidden_layers"):
        load_model(folder)


def test_what_is_rightly_absent_or_too_much_does_not_matter(tmp_path) -> None:
    """A head that is tied to the embedding, and the old buffer of rotary angles in every layer."""
    folder = tiny_qwen(tmp_path / "model")
    angles = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(4) for n in range(2)}
    rewritten(folder, lambda weights: without("lm_head")(weights) | angles, tie_word_embeddings=True)
    model = load_model(folder, dtype="float32")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def saved_adapter(base: str, folder: Path, config: PeftConfig) -> str:
    torch.manual_seed(0)
    model = get_peft_model(pretrained.read_model(base, torch.float32), config)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += torch.rand_like(weight)
    model.save_pretrained(folder)
    return str(folder)


def renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("model.layers", "model.language_model.layers"): weight for name, weight in weights.items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(renamed, r"lacks 8 weights \(such as \S+lora_A.weight\), and has 8 \S+ \(such", id="other names"),
        pytest.param(without("layers.1"), r"lacks 4 weights \(such as \S+layers.1\S+\), and has no", id="half of it"),
        pytest.param(
            lambda weights: weights | {"base_model.model.model.layers.7.lora_A.weight": torch.ones(1)},
            r"lacks no weights, and has 1 weights \(such as base_model.model.model.layers.7.lora_A.weight\)",
            id="a layer more",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(tmp_path, recwarn, change, says) -> None:
    base = tiny_qwen(tmp_path / "model")
    whole = saved_adapter(base, tmp_path / "whole", LoraConfig(task_type="CAUSAL_LM", r=2))
    adapter = rewritten(saved_adapter(base, tmp_path / "lora", LoraConfig(task_type="CAUSAL_LM", r=2)), change)
    load_model(base, whole, "float32")
    for load in (
        lambda: load_model(base, adapter, "float32"),
        lambda: load_model(base, adapter, "float32", is_trainable=True),
        lambda: open_engine(TransformersSettings(), base, {"a": adapter}),
        lambda: open_engine(TransformersSettings(), base, {"b": whole, "a": adapter}),
    ):
        with pytest.raises(TrainingError, match=f"the adapter {adapter} does not fit the model: it {says}"):
            load()
    assert not [w for w in recwarn if "adapter keys" in str(w.message)], "the error says it"


@pytest.mark.parametrize(
    "config",
    [
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=4, adapter_layers=2),
    ],
)
def test_adapters_that_are_no_weights_are_refused(tmp_path, config) -> None:
    base = tiny_llama(tmp_path / "model")
    adapter = saved_adapter(base, tmp_path / "other", config)
    for load in (
        lambda: load_model(base, adapter, "float32"),
        lambda: load_model(base, adapter, "float32", is_trainable=True),
        lambda: open_engine(TransformersSettings(), base, {"a": adapter}),
    ):
        with pytest.raises(TrainingError, match=f"other is an adapter of the kind {config.peft_type.value}.*LoRA and"):
            load()


def test_an_adapter_that_saves_a_shared_weight_once_is_whole(tmp_path) -> None:
    base = tiny_qwen(tmp_path / "model")
    shared = VBLoRAConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], vector_length=16, num_vectors=16)
    load_model(base, saved_adapter(base, tmp_path / "shared", shared), "float32")


def test_an_adapter_as_the_model_is_read_over_its_base(tmp_path) -> None:
    base = tiny_qwen(tmp_path / "model")
    adapter = saved_adapter(base, tmp_path / "lora", LoraConfig(task_type="CAUSAL_LM", r=2))
    ids = torch.tensor([[1, 2, 3]])
    found = pretrained.read_model(adapter, torch.float32)(input_ids=ids).logits
    assert torch.allclose(found, load_model(base, adapter, "float32")(input_ids=ids).logits, atol=1e-5)
