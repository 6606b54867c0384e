"""Attention of one new token over a long cache, without a copy of the cache.

In many models several query heads share one head of keys and values. With a mask, transformers
copies keys and values once per query head, in each layer and for each new token. With 24 rows of
500 tokens on a CPU this copy takes most of a step. Here the query heads that share a head become
the rows of one small matrix, so that nothing is copied.

    grouped_attention.use(model)

Shapes: B rows, K heads of keys and values, G query heads that share one, T tokens, D sizes a head.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "grouped_sdpa"


def use(model: PreTrainedModel) -> None:
    """Let a model that was loaded with transformers' `sdpa` attend this way.

    Another implementation stays: it may compute what sdpa does not, such as capped logits.
    """
    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """What transformers asks of an attention: (B, tokens, query heads, D), and no weights.

    Anything but one new token goes to transformers' own.
    """
    num_sharing = query.shape[1] // key.shape[1]
    if query.shape[2] > 1 or num_sharing == 1 or any(more.get(name) is not None for name in ("position_bias", "cache")):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
    query_BKGD = query.reshape(len(query), key.shape[1], num_sharing, query.shape[-1])
    dropout: float = more.get("dropout", 0.0)
    found_BKGD = torch.nn.functional.scaled_dot_product_attention(
        query_BKGD, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
    )
    return found_BKGD.reshape(len(query), 1, query.shape[1], value.shape[-1]), None
