"""Requests as token ids, and token ids as text: shared by the engines that run in this process.

`tokenizer` is a Hugging Face tokenizer throughout.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from os.path import commonprefix
from typing import Any

from builders.engines import thinking
from builders.engines.types import Message, Request
from store.errors import InputError, JobError
from training import plain_text
from training.encoding import ChoicePlace, choice_place, encoder, render
from training.errors import TrainingError

FEWEST_BEFORE, MOST_BEFORE = 4, 24
"""How many tokens of a prompt are decoded together with the answer, as in vLLM."""


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
    """Prompt token ids of each request, in order. A raw prompt begins as the tokenizer begins texts
    (`<s>`), and ends where its text ends: a model that has read an end token has nothing to add.
    """
    chats = iter(encode_chats(tokenizer, [request.messages for request in requests if request.messages]))
    texts = [request.prompt for request in requests if request.prompt]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    start = _start_ids(tokenizer) if texts else []
    raw = iter([start + of_text for of_text in ids])
    return [next(chats) if request.messages else next(raw) for request in requests]


def _start_ids(tokenizer: Any) -> list[int]:
    """What the tokenizer puts in front of a text."""
    whole, text = tokenizer("a")["input_ids"], tokenizer("a", add_special_tokens=False)["input_ids"]
    found = (place for place in range(len(whole)) if whole[place : place + len(text)] == text)
    return whole[: next(found, 0)]


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


def decode(tokenizer: Any, token_ids: Sequence[int], before: Sequence[int] = ()) -> str:
    """The text without special tokens. Its spaces stay as they are: code must not be tidied.

    `before` are the tokens in front of it. Sentencepiece tokenizers put a blank before every text,
    and take one away from the text of all ids: an answer that begins indented would lose a blank.
    So some tokens of `before` are decoded too, and their text is cut off.
    """
    for num in range(min(len(before), FEWEST_BEFORE), min(len(before), MOST_BEFORE) + 1):
        tail = list(before[-num:])
        start = _text(tokenizer, tail)
        # a tail may begin within a character of several bytes, and special tokens have no text
        if start and "\ufffd" not in start:
            whole = _text(tokenizer, [*tail, *token_ids])
            if whole.startswith(start):
                return whole[len(start) :]
            break
    return _text(tokenizer, token_ids)


def _text(tokenizer: Any, token_ids: Sequence[int]) -> str:
    return tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def answer_of(tokenizer: Any, text: str, request: Request) -> str:
    """The answer in the text that a model wrote, as a training row has it: without the blank that
    some templates put in front of it (Mistral's, Llama 2's).

    Where the prompt ends with the tag that opens the thinking, the tag stands before the text: else
    nobody knows that the model thinks.
    """
    if not request.messages:
        return text
    blank, tag = _lead(tokenizer, str(tokenizer.chat_template))
    return tag + text.removeprefix(blank)


@lru_cache(maxsize=16)
def _lead(tokenizer: Any, template: str) -> tuple[str, str]:
    """The blank that a template writes between the prompt and the answer, and the tag that opens
    the thinking at the end of the prompt.
    """
    question, answer = ({"role": "user", "content": "Say a word."}, {"role": "assistant", "content": "yes"})
    prompt = encoder(tokenizer).asked(render(tokenizer, [question], add_generation_prompt=True))
    whole = render(tokenizer, [question, answer])
    lead, found, _ = whole.removeprefix(prompt).partition("yes")
    return lead if found and whole.startswith(prompt) and not lead.strip() else "", thinking.opened_by(prompt)


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
