"""What a model's configuration says about its attention, and how long its rows may be.

In: the configuration of a causal language model. Out: the attention that computes what the model
was trained with, and the number of its positions.

    config = pretrained.read_config("recipes/tiny-base")
    attention(config)     # None: transformers takes sdpa, or eager where the model has no sdpa
    positions(config)     # 1024
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers import PretrainedConfig


def attention(config: PretrainedConfig) -> str | None:
    """The implementation of attention to ask transformers for.

    What `config.json` names is not asked for: it may be a kernel that is downloaded. None lets
    transformers choose: sdpa, or eager for a model that has no sdpa. Only eager attention caps its
    logits, as Gemma 2 does. In transformers, sdpa leaves the cap out and says nothing.
    """
    has_cap = any(getattr(part, "attn_logit_softcapping", None) is not None for part in _parts(config))
    return "eager" if has_cap else None


def positions(config: PretrainedConfig) -> int | None:
    """The tokens that the model has positions for, or None for a model without such a limit."""
    for part in (config, config.get_text_config()):
        found = getattr(part, "max_position_embeddings", None)
        if isinstance(found, int) and found > 0:
            return found
    return None


def longest(config: PretrainedConfig, max_tokens: int) -> int:
    """The tokens that a row may have: the settings allow them, and the model has places for them.

    longest(config, 2048)    # 1024 for a model of 1024 positions
    """
    return min(max_tokens, positions(config) or max_tokens)


def _parts(config: PretrainedConfig) -> Iterator[PretrainedConfig]:
    """The configuration, and those of its parts, such as the text model of one that sees images."""
    yield config
    for name in config.sub_configs:
        if isinstance(part := getattr(config, name, None), PretrainedConfig):
            yield from _parts(part)
