"""The one place that loads tokenizers, models and adapters.

In: a folder or a Hub id. Out: what it holds, or a TrainingError that says why not. Two things are
the same for all of them. A folder may bring Python code of its own, which is never run: without
the answer that is given here, transformers would ask on stdin. And a chat template is rendered in
another process first, so that one without an end cannot stop us (`training/chat_templates.py`).

A model or an adapter that was loaded is whole. transformers fills weights that it does not find
with random numbers, and PEFT leaves an adapter out that fits no layer. Both only warn.

    tokenizer = read_tokenizer("recipes/tiny-base")
    model = read_model("recipes/tiny-base", dtype=torch.float32)
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from training import chat_templates, hub, tokenizer_files
from training.chat_templates import Arguments
from training.errors import TrainingError, loading
from training.model_config import attention
from training.progress import quiet

ALONE = " If it fits when no other adapter is there, open it in an engine of its own."


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


def read_config(place: str, revision: str | None = None) -> PretrainedConfig:
    """What the model's `config.json` says. No weights are read."""
    hub.require("model", place, revision)
    with loading(f"the configuration of {place}"), without_own_code(place):
        return AutoConfig.from_pretrained(_with_config(place), revision=revision, trust_remote_code=False)


def read_model(place: str, dtype: torch.dtype, revision: str | None = None) -> PreTrainedModel:
    """The causal language model, on the CPU.

    TrainingError for a folder that lacks weights of the model, or has them in other shapes.
    """
    config = read_config(place, revision)
    config._attn_implementation = attention(config)
    with quiet(), loading(f"the model {place}"), without_own_code(place):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place,
            config=config,
            dtype=dtype,
            revision=revision,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by their names
        )
    model, found = loaded
    assert isinstance(model, PreTrainedModel), type(model)
    _require_whole(place, found)
    return model


def read_shape(place: str, dtype: torch.dtype, revision: str | None = None) -> PreTrainedModel:
    """The same model without weights: its tensors have a size and no memory (`meta`)."""
    config = read_config(place, revision)
    config._attn_implementation = attention(config)
    with quiet(), loading(f"the model {place}"), without_own_code(place), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    assert isinstance(model, PreTrainedModel), type(model)
    return model


def _with_config(place: str) -> str:
    """Where the configuration is: an adapter's folder may have none, then it is the base's."""
    adapter = Path(place, "adapter_config.json")
    if adapter.is_file() and not Path(place, "config.json").is_file():
        return str(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])
    return place


def _require_whole(place: str, found: Mapping[str, Any]) -> None:
    """TrainingError for weights that transformers has made up.

    Weights that are tied to others are not among those that it misses.
    """
    missing = sorted(found["missing_keys"])
    others = sorted(f"{name} {tuple(saved)} for {tuple(own)}" for name, saved, own in found["mismatched_keys"])
    problems = [f"{len(missing)} are not there ({_first(missing)})"] if missing else []
    problems += [f"{len(others)} have another shape ({_first(others)})"] if others else []
    if problems:
        raise TrainingError(
            f"the model {place} is not whole. Of the weights that its config.json asks for, {' and '.join(problems)}: "
            "they would be random numbers. Copy the whole folder again, or correct its config.json."
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], *(["…"] if len(names) > 3 else [])])


def read_adapters(
    model: PreTrainedModel | PeftModel, adapters: Mapping[str, str], is_trainable: bool = False
) -> PeftModel:
    """The model with LoRA adapters, by their names. An adapter holds weights and no code.

    A model that has adapters gets these too. TrainingError for an adapter whose weights do not fit
    the model, and for one that is no adapter of weights, such as a prompt that was tuned.
    """
    for name, folder in adapters.items():
        with quiet(), loading(f"the adapter {folder}"):
            model = _with_adapter(model, name, folder, is_trainable)
    assert isinstance(model, PeftModel), type(model)
    return model


def _with_adapter(model: PreTrainedModel | PeftModel, name: str, folder: str, is_trainable: bool) -> PeftModel:
    config = PeftConfig.from_pretrained(folder)
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise _other_kind(folder, config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found missing adapter keys")  # they are refused below
        if not isinstance(model, PeftModel):
            model = PeftModel.from_pretrained(model, folder, adapter_name=name, is_trainable=is_trainable)
        # An adapter that is there is only filled again. This call alone says which weights fit.
        found = model.load_adapter(folder, adapter_name=name, is_trainable=is_trainable)
    if not any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise _other_kind(folder, config)
    missing = _not_filled(model, found.missing_keys)
    if missing or found.unexpected_keys:
        raise TrainingError(
            f"the adapter {folder} does not fit the model: it lacks {_such_as(missing, name)}, and has "
            f"{_such_as(found.unexpected_keys, name)} that no layer takes. Give the base that it was trained over, or copy "
            f"its folder again.{ALONE if len(model.peft_config) > 1 else ''}"
        )
    return model


def _other_kind(folder: str, config: PeftConfig) -> TrainingError:
    kind = getattr(config.peft_type, "value", config.peft_type)
    return TrainingError(
        f"{folder} is an adapter of the kind {kind}, which changes no weights of linear layers. LoRA and other "
        "adapters of weights can be used here."
    )


def _not_filled(model: PeftModel, missing: Collection[str]) -> list[str]:
    """The missing names of weights that were not filled under another name either.

    Some adapters share one weight between all layers, and save it once.
    """
    weights = list(model.named_parameters(remove_duplicate=False))
    filled = {id(weight) for name, weight in weights if name not in missing}
    shared = {name for name, weight in weights if id(weight) in filled}
    return [name for name in missing if name not in shared]


def _such_as(weights: Collection[str], adapter: str) -> str:
    """How many weights, and one of them, by its name in the adapter's file."""
    return f"{len(weights)} weights (such as {min(weights).replace(f'.{adapter}', '')})" if weights else "no weights"


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
