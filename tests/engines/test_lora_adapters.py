"""Adapters that are added to the weights answer as PEFT's, and leave the base as it was."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from builders.engines.lora_adapters import LoraAdapters

IDS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])


def tied(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """A small model whose head and embedding are one parameter."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=40, num_hidden_layers=2, tie_word_embeddings=True, **sizes)
    return LlamaForCausalLM(config).to(dtype).eval()


def adapter(folder: Path, seed: int, **settings: object) -> str:
    torch.manual_seed(seed)
    config = LoraConfig(r=2, init_lora_weights=False, **{"target_modules": "all-linear", **settings})
    model = get_peft_model(tied(), config)
    for name, weight in model.named_parameters():
        if "magnitude" in name or "modules_to_save" in name:
            weight.data *= 1 + torch.rand_like(weight)
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
