"""Adapters that are added to the weights answer as PEFT's, and leave the base as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from builders.engines.lora_adapters import LoraAdapters, can_merge
from training.errors import TrainingError

IDS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])


def biased() -> Qwen2ForCausalLM:
    """A small model whose linear layers have biases."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=40, num_hidden_layers=2, **sizes)).eval()


def tied(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """A small model whose head and embedding are one parameter."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=40, num_hidden_layers=2, tie_word_embeddings=True, **sizes)
    return LlamaForCausalLM(config).to(dtype).eval()


def adapter(folder: Path, seed: int, make: Callable[[], PreTrainedModel] = tied, **settings: object) -> str:
    torch.manual_seed(seed)
    config = LoraConfig(r=2, **{"target_modules": "all-linear", "init_lora_weights": False, **settings})
    model = get_peft_model(make(), config)
    for name, weight in model.named_parameters():
        if "magnitude" in name or "modules_to_save" in name:
            weight.data *= 1 + torch.rand_like(weight)
        elif weight.requires_grad and (name.endswith("bias") or "lora_B" in name):
            weight.data += torch.rand_like(weight)
    model.save_pretrained(folder)
    return str(folder)


@torch.inference_mode()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="linear layers"),
        pytest.param({"target_modules": ["q_proj", "lm_head"]}, id="a head that is tied to the embedding"),
        pytest.param({"use_dora": True}, id="dora, which cannot be added"),
        pytest.param({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, id="a head of its own"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_answers_as_in_peft_and_the_base_keeps_its_bits(tmp_path: Path, settings: dict, dtype: torch.dtype):
    folders = {f"step-{seed}.5": adapter(tmp_path / str(seed), seed, **settings) for seed in (1, 2)}
    base = logits(tied(dtype))
    adapters = LoraAdapters(tied(dtype), folders, "cpu")
    for name in [None, "step-1.5", "step-2.5", "step-1.5", None, "step-2.5", None]:
        with adapters.selected(name) as model:
            found = logits(model)
        if name is None:
            assert torch.equal(found, base)
        else:
            expected = logits(PeftModel.from_pretrained(tied(dtype), folders[name]).eval())
            assert torch.allclose(found, expected, atol=1e-5 if dtype is torch.float32 else 0), name
            assert (found - base).abs().max() > 1e-3


def test_adapters_of_different_layers_do_not_mix(tmp_path: Path):
    folders = {
        "attention": adapter(tmp_path / "attention", 1, target_modules=["q_proj", "v_proj"]),
        "mlp": adapter(tmp_path / "mlp", 2, target_modules=["up_proj", "down_proj"]),
    }
    adapters = LoraAdapters(tied(), folders, "cpu")
    for name in ("attention", "mlp", "attention"):
        with adapters.selected(name) as model:
            found = logits(model)
        assert torch.allclose(found, logits(PeftModel.from_pretrained(tied(), folders[name])), atol=1e-5), name


def test_without_adapters_the_model_is_as_it_was():
    model = tied()
    with LoraAdapters(model, {}, "cpu").selected(None) as used:
        assert used is model
    with pytest.raises(ValueError, match="adapters \\['x'\\] are unknown"):
        LoraAdapters(model, {}, "cpu").check([None, "x"])


def test_a_saved_model_is_loaded_and_answers(tmp_path: Path):
    tied().save_pretrained(tmp_path)
    with LoraAdapters(AutoModelForCausalLM.from_pretrained(tmp_path), {}, "cpu").selected(None) as model:
        assert torch.equal(logits(model), logits(tied()))


CHANGES_THE_BASE = [
    pytest.param(tied, {"init_lora_weights": "pissa"}, id="pissa"),
    pytest.param(tied, {"init_lora_weights": "olora"}, id="olora"),
    pytest.param(tied, {"layer_replication": [[0, 2], [1, 2]], "target_modules": ["q_proj"]}, id="layers twice"),
    pytest.param(biased, {"bias": "all", "target_modules": ["q_proj"]}, id="biases of the base"),
]


@pytest.mark.parametrize(("make", "settings"), CHANGES_THE_BASE)
def test_an_adapter_that_changes_the_base_is_used_alone(tmp_path: Path, make, settings: dict):
    plain = adapter(tmp_path / "plain", 1, make, target_modules=["q_proj"])
    other = adapter(tmp_path / "other", 2, make, **settings)
    for folders in ({"plain": plain, "other": other}, {"other": other, "plain": plain}):
        with pytest.raises(
            TrainingError, match=f"the adapter {other} changes the weights of the base.*in an engine of"
        ):
            LoraAdapters(make(), folders, "cpu")
    adapters = LoraAdapters(make(), {"other": other}, "cpu")
    adapters.check(["other"])
    with adapters.selected("other") as model:
        assert torch.allclose(logits(model), logits(PeftModel.from_pretrained(make(), other).eval()), atol=1e-5)
    with pytest.raises(TrainingError, match=f"the adapter {other} changes.*the base would answer wrongly"):
        adapters.check(["other", None])


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"bias": "all"}, id="biases, of which the model has none"),
        pytest.param({"target_modules": ["q_proj", "embed_tokens"]}, id="an embedding that is saved too"),
        pytest.param({"target_modules": ["q_proj"], "trainable_token_indices": [3, 4]}, id="tokens"),
        pytest.param({"init_lora_weights": "gaussian"}, id="another beginning"),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`")
@pytest.mark.filterwarnings("ignore:Careful, disabling adapter layers with bias")
def test_an_adapter_that_leaves_the_base_alone_has_neighbours(tmp_path: Path, settings: dict):
    folders = {"plain": adapter(tmp_path / "plain", 1), "other": adapter(tmp_path / "other", 2, **settings)}
    adapters, base = LoraAdapters(tied(), folders, "cpu"), logits(tied())
    for name in ["other", "plain", None]:
        adapters.check([name])
        with adapters.selected(name) as model:
            found = logits(model)
        alone = LoraAdapters(tied(), {name: folders[name]}, "cpu") if name else None
        if alone is None:
            assert torch.allclose(found, base, atol=1e-5)
        else:
            with alone.selected(name) as model:
                assert torch.allclose(found, logits(model), atol=1e-5)


def test_an_adapter_that_fits_only_alone_says_so(tmp_path: Path):
    """Its saved biases are those of layers that the adapter before it has wrapped."""
    plain = adapter(tmp_path / "plain", 1, biased)
    other = adapter(tmp_path / "other", 2, biased, bias="all", target_modules=["q_proj"])
    with pytest.raises(TrainingError, match=f"the adapter {other} does not fit .*an engine of its own"):
        LoraAdapters(biased(), {"plain": plain, "other": other}, "cpu")


def test_a_model_without_adapted_layers_is_not_merged():
    prompt = get_peft_model(tied(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    assert not can_merge(prompt)
    assert can_merge(get_peft_model(tied(), LoraConfig(r=2, target_modules=["q_proj"])))
