"""Requests as token ids, and token ids as text: shared by the engines that run in this process.

`tokenizer` is a Hugging Face tokenizer throughout.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any

from builders.engines.types import Message, Request
from store.errors import InputError, JobError
from training import plain_text
from training.encoding import ChoicePlace, choice_place, encoder, render
from training.errors import TrainingError


def with_template(tokenizer: Any, adapters: Mapping[str, str]) -> Any:
    """The tokenizer. If it has no chat template, it gets the one its adapters were trained with."""
    if tokenizer.chat_template is None:
        for path in adapters.values():
            if Path(path, "tokenizer_config.json").exists():
                from training import pretrained

                tokenizer.chat_template = pretrained.read_tokenizer(path).chat_template
                break
    return tokenizer


def chat_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The chat as the model's template writes it, up to where the assistant's answer begins."""
    if tokenizer.chat_template is None:
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no chat template for messages: "
            "use an instruction-tuned model, add a template to its tokenizer, or send a raw prompt"
        )
    return render(tokenizer, messages, add_generation_prompt=True)


def end_ids(tokenizer: Any) -> frozenset[int]:
    """The token that ends an answer in the chat template, at which generation stops.

    Empty if there is no template, or none that can be rendered: then chats are refused when they
    come.
    """
    try:
        end = encoder(tokenizer).end_id if tokenizer.chat_template else None
    except TrainingError:
        end = None
    return frozenset() if end is None else frozenset((end,))


def encode_chats(tokenizer: Any, chats: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Token ids of each chat, up to where a trained answer begins.

    The template writes the special tokens itself, so none are added.
    """
    texts = [encoder(tokenizer).asked(chat_text(tokenizer, chat)) for chat in chats]
    return plain_text.ids(tokenizer, texts)


def encode_choices(tokenizer: Any, choices: tuple[str, ...], chats: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Token ids of each chat, up to where a trained answer has one of the choices."""
    questions, lead = encode_questions(tokenizer, chats), list(place_of(tokenizer, choices).lead_ids)
    return [question + lead for question in questions]


def encode_questions(tokenizer: Any, chats: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Token ids of chats that begin alike, as the template renders them. The start is encoded once.

    The texts are cut before the last line of which all share more than blanks. The first text is
    encoded whole and in parts. If both give the same tokens, the cut is harmless for all: where a
    tokenizer divides a text at a line break depends on the blanks and the character next to it, and
    these are the same. One exception is a slash, which may belong to what is before it (`[\r\n/]*`
    in the patterns of Mistral and gpt-oss). Where the tokens differ, as with a tokenizer that puts
    a space before every text, all texts are encoded whole.
    """
    texts = [chat_text(tokenizer, chat) for chat in chats]
    shared = commonprefix(texts).rstrip()  # noqa: RUF071 characters, not folders, are compared
    cut = shared.rfind("\n") + 1
    if shared[cut:].lstrip().startswith("/"):
        return plain_text.ids(tokenizer, texts)
    whole, *tails = plain_text.ids(tokenizer, [texts[0], *(text[cut:] for text in texts)])
    head, last = whole[: len(whole) - len(tails[0])], whole[len(whole) - len(tails[0]) :]
    if last == tails[0]:
        return [head + tail for tail in tails]
    return plain_text.ids(tokenizer, texts)


def encode_requests(tokenizer: Any, requests: Sequence[Request]) -> list[list[int]]:
    """Prompt token ids of each request, in order."""
    chats = iter(encode_chats(tokenizer, [request.messages for request in requests if request.messages]))
    texts = [request.prompt for request in requests if request.prompt]
    raw: Iterator[list[int]] = iter(tokenizer(texts)["input_ids"] if texts else [])
    return [next(chats) if request.messages else next(raw) for request in requests]


def place_of(tokenizer: Any, choices: tuple[str, ...]) -> ChoicePlace:
    """Where a trained answer has a choice, and the token of each. InputError where a choice is not
    one token of its own.
    """
    try:
        return choice_place(tokenizer, choices)
    except TrainingError as error:
        raise InputError(str(error)) from None


def common_prefix_length(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix that all share. Each sequence keeps an element of its own."""
    length = min(len(sequence) for sequence in sequences) - 1
    first = sequences[0]
    for sequence in sequences[1:]:
        while length and sequence[:length] != first[:length]:
            length = next(i for i in range(length) if sequence[i] != first[i])
    return length


def decode(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """The text without special tokens. Its spaces stay as they are: code must not be tidied."""
    return tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def require_numbers(values: Iterable[float | None], folder: str, request_id: str) -> None:
    """JobError if the model in the folder answered a request with something that is no number."""
    broken = [value for value in values if value is not None and not math.isfinite(value)]
    if broken:
        raise JobError(
            f"{folder} answers request {request_id!r} with a probability that is no number ({broken[0]}): its weights "
            "are broken, or overflow in the engine's dtype. Train it again with a lower learning_rate, or set the "
            "engine's dtype to float32"
        )


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the first of the stop strings begins in the text; None where there is none."""
    found = [position for position in (text.find(string) for string in stop) if position >= 0]
    return min(found, default=None)
