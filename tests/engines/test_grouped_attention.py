"""One new token attends as in transformers, for any number of heads that share keys and values."""

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from builders.engines import grouped_attention


def model(num_key_value_heads: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=40, num_key_value_heads=num_key_value_heads, **sizes)
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).eval()


@torch.inference_mode()
def next_logits(model: LlamaForCausalLM, num_new: int, padding: int) -> torch.Tensor:
    """The logits of `num_new` tokens after 9 in the cache, of which one row pads the first."""
    ids_BT = torch.arange(3 * (9 + num_new)).reshape(3, -1) % 37
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[1, :padding] = 0
    position_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    for part in (slice(0, 9), slice(9, None)):
        found = model(
            input_ids=ids_BT[:, part],
            attention_mask=mask_BT[:, : part.stop],
            position_ids=position_BT[:, part],
            past_key_values=cache,
        ).logits
    return found


@pytest.mark.parametrize("num_key_value_heads", [1, 2, 4])
@pytest.mark.parametrize("num_new", [1, 3])
@pytest.mark.parametrize("padding", [0, 4])
def test_logits_are_those_of_transformers(num_key_value_heads: int, num_new: int, padding: int):
    ours, theirs = model(num_key_value_heads), model(num_key_value_heads)
    grouped_attention.use(ours)
    assert ours.config._attn_implementation == "grouped_sdpa" and theirs.config._attn_implementation == "sdpa"
    found = next_logits(ours, num_new, padding)
    assert torch.allclose(found, next_logits(theirs, num_new, padding), atol=1e-5)
    assert not torch.allclose(found[1], next_logits(ours, num_new, 4 - padding)[1], atol=1e-3), "the mask counts"


def test_keys_and_values_are_not_copied():
    """A step allocates less than the keys have, where transformers' own copies them eight times."""
    query, key = torch.randn(8, 16, 1, 32), torch.randn(8, 2, 4000, 32)
    mask = torch.ones(8, 1, 1, 4000, dtype=torch.bool)
    module = torch.nn.Module()
    module.num_key_value_groups = 8
    with torch.profiler.profile(profile_memory=True) as seen, torch.inference_mode():
        found, _ = grouped_attention.attend(module, query, key, key, mask)
    assert found.shape == (8, 1, 16, 32)
    allocated = sum(max(event.self_cpu_memory_usage, 0) for event in seen.key_averages())
    assert allocated < key.nbytes
