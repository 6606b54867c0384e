"""The sizes of the models that a recipe names, before any of them is downloaded.

In: a model folder or a Hub id. Out: its `ModelShape`, or None where nobody can know it: from the
folder's config.json, from that in the Hub's cache, or from a small table of models that our recipes
name. Nothing is asked of the Hub.

    model_shape("Qwen/Qwen2.5-Coder-7B-Instruct").num_layers    # 28
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from training.model_shape import ModelShape, read_shape

KNOWN = {
    # hidden, intermediate, layers, heads, key-value heads, size of a head, vocabulary, tied, places
    "qwen/qwen2.5-coder-0.5b": ModelShape(896, 4864, 24, 14, 2, 64, 151_936, True, positions=32_768),
    "qwen/qwen2.5-coder-1.5b": ModelShape(1536, 8960, 28, 12, 2, 128, 151_936, True, positions=32_768),
    "qwen/qwen2.5-coder-7b": ModelShape(3584, 18_944, 28, 28, 4, 128, 152_064, False, positions=32_768),
    "qwen/qwen2.5-coder-14b": ModelShape(5120, 13_824, 48, 40, 8, 128, 152_064, False, positions=32_768),
    "meta-llama/llama-3.1-8b": ModelShape(4096, 14_336, 32, 32, 8, 128, 128_256, False, positions=131_072),
    "deepseek-ai/deepseek-coder-6.7b": ModelShape(4096, 11_008, 32, 32, 32, 128, 32_256, False, positions=16_384),
}
"""From the config.json of each model on the Hub. A chat model has the sizes of its base."""


@cache
def model_shape(model: str, revision: str | None = None) -> ModelShape | None:
    """The sizes of a model folder or of a Hub id; None if they are not known here."""
    if Path(model).is_dir():
        return read_shape(model)
    return _cached(model, revision) or KNOWN.get(_family(model))


def why_unknown(model: str, revision: str | None = None) -> str | None:
    """Why nobody knows the sizes of a model here, and what to do; None if they are known."""
    if model_shape(model, revision) is not None:
        return None
    if Path(model).is_dir():
        if not Path(model, "config.json").is_file():
            return f"{model} has no config.json: save the model with its configuration"
        return f"the config.json of {model} is not that of a plain decoder, and we know the sizes of no others"
    if Path(model).is_absolute() or model.count("/") > 1 or model.startswith("."):
        return f"there is no folder {model}: check the path"
    if _cached_config(model, revision) is not None:
        return f"the config.json of {model} is not that of a plain decoder, and we know the sizes of no others"
    beside = "" if "/" in model else " (nor is there such a folder beside the recipe)"
    named = f" --revision {revision}" if revision else ""
    return (
        f"a plan does not ask the Hub, and no config.json of {model} is in its cache here{beside}: `hf download {model} "
        f"config.json{named}` says whether there is such a model, and then the plan knows it"
    )


def _family(model: str) -> str:
    """The name in the table: `Qwen/Qwen2.5-Coder-7B-Instruct` is `qwen/qwen2.5-coder-7b`."""
    return model.lower().removesuffix("-instruct").removesuffix("-base")


def _cached(model: str, revision: str | None) -> ModelShape | None:
    """The sizes in the config.json that an earlier download left."""
    found = _cached_config(model, revision)
    return None if found is None else read_shape(str(Path(found).parent))


def _cached_config(model: str, revision: str | None) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model, "config.json", revision=revision)
    except ValueError:  # no name of the Hub, such as a path that is not there
        return None
    return found if isinstance(found, str) else None
