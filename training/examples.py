"""Rows become token ids, and names become tokenizers and models, for training and gradients alike.

In: a row of a Hugging Face dataset, in any layout of `training/conversations.py`; the last turn is
the assistant's. Out: an `Example`, or the `Flaw` that makes the row unusable.

The completion is the last assistant turn as the chat template renders it, up to its end-of-turn
token. The prompt is what the model is given at generation (training/encoding.py).
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from datasets.config import HF_DATASETS_CACHE
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training import conversations, hub, pretrained
from training.chat_templates import Arguments
from training.encoding import RefusedTurnsError, encoder
from training.errors import TrainingError, UnusableRowError, loading
from training.precision import torch_dtype
from training.progress import quiet
from training.reports import Reject
from training.settings import DtypeName
from training.tool_calls import without_filled

Message = conversations.Turn

# For bases without a template, such as DeepSeek-Coder. Only the assistant turn ends in the
# end-of-text token, so generation stops with the tokenizer's own eos. The newline after it
# separates turns and is never trained on.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}### Response:\n{{ message['content'] }}{{ eos_token }}"
    "{% elif message['role'] == 'user' %}### Instruction:\n{{ message['content'] }}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% if not loop.last or add_generation_prompt %}{{ '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Response:\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one usable row; the loss is on the completion."""

    prompt_ids: list[int]
    completion_ids: list[int]

    @property
    def num_tokens(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a row cannot be used: the measured value, and the threshold that it misses."""

    reason: str
    value: int
    threshold: int


def load_rows(dataset: str, split: str, revision: str | None, expects: str) -> Dataset:
    """The split of a dataset folder or Hub dataset.

    TrainingError for a dataset with other columns; `expects` says in it what the caller trains on.
    """
    hub.require("dataset", dataset, revision)
    with quiet(), loading(f"the dataset {dataset} (split {split})"):
        rows = load_dataset(dataset, split=split, revision=revision, cache_dir=_cache(dataset))
    if not conversations.has_layout(rows.column_names):
        raise TrainingError(
            f"{dataset} (split {split}) has the columns {', '.join(sorted(rows.column_names))}. It needs "
            f"{conversations.LAYOUTS}. Expected is {expects}. Name other columns with --columns."
        )
    return rows


def _cache(dataset: str) -> str | None:
    """The cache of a local folder, named by the folder's files.

    Without it `datasets` may serve an older folder of the same name.
    """
    folder = Path(dataset)
    if not folder.is_dir():
        return None
    files = sorted((str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file())
    return os.path.join(HF_DATASETS_CACHE, "folders", hashlib.sha256(repr(files).encode()).hexdigest()[:16])


def as_messages(row: Mapping[str, Any]) -> list[Message]:
    """The conversation of a row of a `Dataset`. UnusableRowError says why it has none."""
    return conversations.turns(without_filled(dict(row)))


def encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], max_tokens: int) -> Example | Flaw:
    """Token ids of a conversation, or the `Flaw` that makes it unusable.

    TrainingError for a chat template that cannot be trained with, such as one that renders the
    prompt differently once the answer follows: the model would be trained in another context than
    it meets at generation.
    """
    if flaw := _flaw(messages):
        return flaw
    encoding = encoder(tokenizer)
    try:
        ids = encoding.split(messages)
    except RefusedTurnsError as error:
        return Flaw(str(error), 0, 1)
    if ids is None:
        return Flaw(f"the answer does not begin after {encoding.lead_asked!r}, as it would be asked for", 0, 1)
    prompt_ids, completion_ids = ids
    if (
        not prompt_ids or not completion_ids
    ):  # a template that leaves a turn out: nothing to predict, or nothing before it
        return Flaw("all_masked", len(completion_ids), 1)
    example = Example(prompt_ids, completion_ids)
    return example if example.num_tokens <= max_tokens else Flaw("too_long", example.num_tokens, max_tokens)


def encode_rows(
    tokenizer: PreTrainedTokenizerBase, rows: Dataset, max_tokens: int
) -> tuple[list[Example], list[Reject]]:
    """The usable rows in their order, and the other rows with their reasons."""
    examples: list[Example] = []
    rejects: list[Reject] = []
    for index, row in enumerate(rows):
        match _encoded(tokenizer, row, max_tokens):
            case Flaw(reason, value, threshold):
                rejects.append(Reject(row=index, reason=reason, value=value, threshold=threshold))
            case example:
                examples.append(example)
    if not examples:
        reasons = sorted({reject.reason for reject in rejects})
        raise TrainingError(
            f"none of {len(rejects)} rows can be trained on (reasons: {', '.join(reasons) or 'none'}; "
            f"a row has room for {max_tokens} tokens). Look at the rows, or raise max_tokens up to the model's positions."
        )
    return examples, rejects


def _encoded(tokenizer: PreTrainedTokenizerBase, row: Mapping[str, Any], max_tokens: int) -> Example | Flaw:
    try:
        return encode(tokenizer, as_messages(row), max_tokens)
    except UnusableRowError as error:
        return Flaw(str(error), 0, 1)


def _flaw(messages: Sequence[Message]) -> Flaw | None:
    said = [bool(message["content"].strip() or message.get("tool_calls")) for message in messages]
    if not any(said):
        return Flaw("empty", 0, 1)
    if messages[-1]["role"] != "assistant":
        return Flaw("no_assistant_turn", 0, 1)
    if not said[-1]:
        return Flaw("empty_completion", 0, 1)
    if not any(said[:-1]):
        return Flaw("empty_prompt", 0, 1)
    return None


def load_tokenizer(
    base: str, adapter: str | None = None, revision: str | None = None, arguments: Arguments | None = None
) -> PreTrainedTokenizerBase:
    """The adapter folder's tokenizer if it has one, else the base's.

    It always has a chat template and a pad token. The template has the `arguments`.
    """
    has_own = adapter is not None and os.path.exists(os.path.join(adapter, "tokenizer_config.json"))
    place, commit = (str(adapter), None) if has_own else (base, revision)
    hub.require("model", place, commit)
    tokenizer = pretrained.read_tokenizer(place, commit, arguments)
    if tokenizer.eos_token is None:
        raise TrainingError(f"the tokenizer of {base} has no eos_token. Set one in its tokenizer_config.json.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        first = tokenizer("a")["input_ids"][:1]
        starts_with_bos = tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]
        tokenizer.chat_template = ("{{ bos_token }}" if starts_with_bos else "") + PLAIN_TEMPLATE
    tokenizer.padding_side = "right"
    return tokenizer


def load_model(
    base: str,
    adapter: str | None = None,
    dtype: DtypeName = "auto",
    revision: str | None = None,
    is_trainable: bool = False,
) -> PreTrainedModel | PeftModel:
    """The causal language model on `device()`, with its LoRA adapter if one is given."""
    if os.path.exists(os.path.join(base, "adapter_config.json")):
        raise TrainingError(f"{base} is an adapter. Give its base model as base, and this folder as adapter.")
    hub.require("model", base, revision)
    if adapter is not None:
        hub.require("adapter", adapter)
    model = pretrained.read_model(base, torch_dtype(dtype), revision)
    torch.nn.Module.to(model, device())
    if adapter is None:
        return model
    return pretrained.read_adapters(model, {"default": adapter}, is_trainable=is_trainable)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
