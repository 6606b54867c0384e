"""The one place that loads tokenizers, models and adapters.

In: a folder or a Hub id. Out: what it holds, or a TrainingError that says why not. Two things are
the same for all of them. A folder may bring Python code of its own, which is never run: without
the answer that is given here, transformers would ask on stdin. And a chat template is rendered in
another process first, so that one without an end cannot stop us (`training/chat_templates.py`).

    tokenizer = read_tokenizer("recipes/tiny-base")
    model = read_model("recipes/tiny-base", dtype=torch.float32)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from training import chat_templates, tokenizer_files
from training.chat_templates import Arguments
from training.errors import TrainingError, loading
from training.progress import quiet


def read_tokenizer(
    place: str, revision: str | None = None, arguments: Arguments | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer as its folder has it, except that its chat template has the arguments.

    TrainingError for a template that does not end in time, or that does not know an argument.
    """
    with without_own_code(place):
        tokenizer = tokenizer_files.read_tokenizer(place, revision)
    chat_templates.require_end(tokenizer)
    chat_templates.set_arguments(tokenizer, arguments or {})
    return tokenizer


def read_model(place: str, dtype: torch.dtype, revision: str | None = None, **options: Any) -> PreTrainedModel:
    """The causal language model, on the CPU. `options` are those of `from_pretrained`."""
    with quiet(), loading(f"the model {place}"), without_own_code(place):
        return AutoModelForCausalLM.from_pretrained(
            place, dtype=dtype, revision=revision, trust_remote_code=False, **options
        )


def read_adapters(model: PreTrainedModel, adapters: Mapping[str, str], **options: Any) -> PeftModel:
    """The model with LoRA adapters, by their names. An adapter holds weights and no code."""
    (first, first_folder), *others = adapters.items()
    with quiet(), loading(f"the adapter {', '.join(adapters.values())}"):
        adapted = PeftModel.from_pretrained(model, first_folder, adapter_name=first, **options)
        for name, folder in others:
            adapted.load_adapter(folder, adapter_name=name)
    return adapted


@contextmanager
def without_own_code(place: str) -> Iterator[None]:
    """Say in our words that a folder needs code of its own.

    The libraries' own words are to pass `trust_remote_code=True`, which nobody can do here.
    """
    try:
        yield
    except (TrainingError, ValueError) as error:
        if "trust_remote_code" not in str(error):
            raise
        raise TrainingError(
            f"{place} can be loaded only with Python code of its own{_named(place)}, and code of a model folder is "
            "never run here. Use a model whose architecture transformers has itself, or save it in the form of one"
        ) from None


def _named(place: str) -> str:
    """The files of code that a local folder names."""
    names: set[str] = set()
    for file in ("config.json", "tokenizer_config.json"):
        path = Path(place, file)
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8")).get("auto_map") or {}
            names |= {str(value) for value in found.values()} if isinstance(found, dict) else set()
    return f" ({', '.join(sorted(names))})" if names else ""
