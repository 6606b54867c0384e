"""The one place where a conversation becomes token ids: for training, gradients and engines alike.

In: a tokenizer with a chat template, and turns. Out: the ids that a model is asked with, and those
that it learns to answer. Both come from the same functions, so a model is asked exactly what it was
trained on.

    encoder(tokenizer).split(turns)         # (prompt ids, completion ids) of a training row
    encoder(tokenizer).asked(text)          # the text of a prompt, up to where the answer begins
    choice_place(tokenizer, ("0", "1"))     # where the digit stands, and its tokens

What a template does is found out once per tokenizer, with a few short answers:

    lead    the text between the prompt and the answer. Qwen3 writes an empty think block there, and
            Mistral a blank. It belongs to the prompt. One exception: a blank that the tokenizer
            joins to the first word (` def` is one token) stays with the answer, as it was when the
            model was made.
    end     the token that ends the answer. Engines stop at it, and nothing after it is trained on.
            It is special to the tokenizer, and not a line break or a part of an answer.
    date    templates such as Llama 3.1's print the day. They all see the same one here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from training import plain_text
from training.errors import TrainingError
from training.template_clock import on_day
from training.tool_turns import marked_turn, named_apart, shows_calls, written

Ids = list[int]

# The day that Llama 3.1's template prints where it has no clock. Prompts must not change overnight.
DATE = datetime(2024, 7, 26)
_OTHER_DATES = (datetime(2001, 2, 3), datetime(2032, 10, 30))

_QUESTION = ({"role": "user", "content": "Write a function."},)
# Answers as they are trained: code, a digit, a fence, a word. None begins or ends in a blank, since
# some templates strip the answer.
_ANSWERS = ("def f(x):\n    return x + 1", "7", "```python\nx = 1\n```", "Write it.", "[1, 2]")
# All that a template is asked to write here, for the trial before it (training/chat_templates.py).
PROBES = (_QUESTION, *((*_QUESTION, {"role": "assistant", "content": answer}) for answer in _ANSWERS))
PROBE_DATES = (DATE, *_OTHER_DATES)


class RefusedTurnsError(TrainingError):
    """The chat template takes no such turns, for example none of the system. Says why."""


@dataclass(frozen=True)
class Encoder:
    """What was found out about a tokenizer and its template. Made by `encoder`.

    lead_asked  the part of the lead that the prompt holds: all of it, or nothing
    end_id      the token that ends an answer; None if there is none
    num_after   tokens that the template writes after it
    is_dated    whether the template prints the day
    obstacle    why nothing can be trained with this template; None if all is well
    """

    tokenizer: Any
    lead_asked: str = ""
    end_id: int | None = None
    num_after: int = 0
    is_dated: bool = False
    obstacle: str | None = None

    def asked(self, prompt: str) -> str:
        """What a model is asked with, from the text that `render` gives for a prompt."""
        return prompt + self.lead_asked

    def split(self, messages: Sequence[Mapping[str, Any]]) -> tuple[Ids, Ids] | None:
        """The ids of the prompt, and of the last turn with its end. None if another lead precedes
        the answer, such as a row's own thoughts in a think block: no model is asked like that.

        TrainingError for a template that cannot be trained with. RefusedTurnsError for turns whose
        text the template or the tokenizer changes, beyond blanks and line breaks around it.
        """
        prompt = render(self.tokenizer, messages[:-1], add_generation_prompt=True)
        whole = render(self.tokenizer, messages)
        if not whole.startswith(prompt):
            raise TrainingError(_changed_prompt(self.tokenizer, prompt, whole))
        if self.obstacle and len(whole) > len(prompt):
            raise TrainingError(self.obstacle)
        if not whole.startswith(self.asked(prompt)):
            return None
        prompt_ids, completion_ids = _split(self.tokenizer, self.asked(prompt), whole)
        kept = completion_ids[: len(completion_ids) - self.num_after]
        if kept and kept[-1] != self.end_id:
            raise TrainingError(
                f"the chat template of {self.tokenizer.name_or_path} ends this answer in {whole[-40:]!r}, but others "
                f"with the token {self.tokenizer.decode([self.end_id])!r}. Give the tokenizer a template that ends all "
                "answers alike."
            )
        if self.end_id in kept[:-1]:
            raise RefusedTurnsError("the answer holds the token that ends answers")
        if kept:
            self._require_text(messages, whole, prompt_ids + kept)
        return prompt_ids, kept

    def _require_text(self, messages: Sequence[Mapping[str, Any]], whole: str, ids: Ids) -> None:
        """RefusedTurnsError if a text is not in the chat, or not in what its tokens say.

        Answers before the last may change: templates such as Qwen3's leave their thoughts out.
        """
        rendered = plain_text.without_marks(whole)
        self._require_calls(messages, rendered)
        said = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for place, message in enumerate(messages):
            text = message["content"].strip("\r\n").rstrip()
            if message["role"] == "assistant" and place < len(messages) - 1:
                continue
            for by, shown in (("chat template", rendered), ("tokenizer", said)):
                if text not in shown:
                    raise RefusedTurnsError(f"the {by} changes the text of the {message['role']}")

    def _require_calls(self, messages: Sequence[Mapping[str, Any]], rendered: str) -> None:
        """RefusedTurnsError if the template leaves out a call of a tool, or a part of one."""
        others, words = named_apart(messages)
        if not words:
            return
        apart = plain_text.without_marks(render(self.tokenizer, others))
        if not shows_calls(messages, rendered, apart, words):
            role = next(message["role"] for message in messages if message.get("tool_calls"))
            raise RefusedTurnsError(f"the chat template leaves out a tool call of the {role}")

    def changes(self) -> str | None:
        """How ids differ from those of the template alone, for plans. None if they are the same."""
        found = [f"lead {self.lead_asked!r}"] if self.lead_asked else []
        found += [f"{self.num_after} tokens after the end left out"] if self.num_after else []
        found += [f"date {DATE:%Y-%m-%d}"] if self.is_dated else []
        return ", ".join(found) or None


def encoder(tokenizer: Any) -> Encoder:
    """The encoder of a tokenizer with a chat template. It is checked at the first call.

    TrainingError for a template that cannot be rendered, or that changes with the day.
    """
    return _encoder(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=16)
def _encoder(tokenizer: Any, template: str) -> Encoder:
    is_dated = _is_dated(tokenizer)
    prompt = render(tokenizer, _QUESTION, add_generation_prompt=True)
    wholes = [render(tokenizer, (*_QUESTION, _answer(answer))) for answer in _ANSWERS]
    for whole in wholes:
        if not whole.startswith(prompt):
            return Encoder(tokenizer, is_dated=is_dated, obstacle=_changed_prompt(tokenizer, prompt, whole))
    lead, _, tail = wholes[0][len(prompt) :].partition(_ANSWERS[0])
    if any(whole != f"{prompt}{lead}{answer}{tail}" for answer, whole in zip(_ANSWERS, wholes, strict=True)):
        written = [whole[len(prompt) :][:60] for whole in wholes[:3]]
        return Encoder(tokenizer, is_dated=is_dated, obstacle=_changed_answer(tokenizer, written))
    lead = lead if lead.strip() or _is_apart(tokenizer, prompt + lead, wholes) else ""
    tail_ids, ends = token_ids(tokenizer, tail), _ends(tokenizer)
    place = next((place for place, token in enumerate(tail_ids) if token in ends), None)
    if place is None:
        return Encoder(tokenizer, lead, is_dated=is_dated, obstacle=_no_end(tokenizer, tail))
    return Encoder(tokenizer, lead, tail_ids[place], len(tail_ids) - 1 - place, is_dated)


def _ends(tokenizer: Any) -> set[int]:
    """The tokens that may end an answer: those with a meaning of their own, and no blanks."""
    known = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    in_answers = {token for ids in plain_text.ids(tokenizer, _ANSWERS) for token in ids}
    return {token for token in known - in_answers if tokenizer.decode([token]).strip()}


@dataclass(frozen=True)
class ChoicePlace:
    """Where the token of a choice stands.

    lead_ids   what follows the ids of the rendered prompt, before the choice
    token_ids  the token of each choice
    """

    lead_ids: tuple[int, ...]
    token_ids: tuple[int, ...]


def choice_place(tokenizer: Any, choices: tuple[str, ...]) -> ChoicePlace:
    """Where a trained answer has its choice, and which token each choice is there.

    TrainingError if the trained answers do not differ in exactly one token.

        choice_place(tokenizer, tuple("0123456789"))
    """
    return _choice_place(tokenizer, str(tokenizer.chat_template), choices)


@lru_cache(maxsize=16)
def _choice_place(tokenizer: Any, template: str, choices: tuple[str, ...]) -> ChoicePlace:
    trained = [encoder(tokenizer).split((*_QUESTION, _answer(choice))) for choice in choices]
    rows = [[*ids[0], *ids[1]] for ids in trained if ids is not None]
    start = token_ids(tokenizer, render(tokenizer, _QUESTION, add_generation_prompt=True))
    is_even = len(rows) == len(choices) and len({len(row) for row in rows}) == 1
    places = [place for place, tokens in enumerate(zip(*rows, strict=is_even)) if len(set(tokens)) > 1]
    is_single = is_even and len(places) == 1 and len({row[places[0]] for row in rows}) == len(choices)
    if not is_single or any(row[: len(start)] != start for row in rows) or places[0] < len(start):
        shown = [[tokenizer.decode([token]) for token in row[len(start) :]] for row in rows[:2]]
        raise TrainingError(
            f"choices {choices} are not single tokens for {tokenizer.name_or_path!r}, where its chat template puts an "
            f"answer: the tokens are {', '.join(map(str, shown)) or 'none'}, … Each choice must be exactly one token "
            "of its own, such as a digit or a capital letter. Use a model whose tokenizer divides numbers into digits."
        )
    return ChoicePlace(tuple(rows[0][len(start) : places[0]]), tuple(row[places[0]] for row in rows))


def render(tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = False) -> str:
    """The chat as the template writes it, on the day `DATE`, with the marks of plain_text.

    RefusedTurnsError if the template takes no such turns.
    """
    return _rendered(tokenizer, messages, add_generation_prompt, DATE)


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, day: datetime) -> str:
    try:
        template = on_day(tokenizer.get_chat_template(), day)
        turns = [marked_turn(tokenizer, message) for message in messages]
        text = written(tokenizer, turns, template, add_generation_prompt)
    except TemplateError as error:
        raise RefusedTurnsError(
            f"the chat template of {tokenizer.name_or_path} refuses the turns "
            f"{', '.join(message['role'] for message in messages)}: {error}"
        ) from None
    assert isinstance(text, str), type(text)
    return text


def token_ids(tokenizer: Any, text: str) -> Ids:
    """The ids of a rendered text."""
    (found,) = plain_text.ids(tokenizer, [text])
    return found


def _split(tokenizer: Any, prompt: str, whole: str) -> tuple[Ids, Ids]:
    prompt_ids, whole_ids = token_ids(tokenizer, prompt), token_ids(tokenizer, whole)
    if whole_ids[: len(prompt_ids)] == prompt_ids:
        return prompt_ids, whole_ids[len(prompt_ids) :]
    # A token spans the boundary, such as two newlines. Generation starts after the prompt's own
    # tokens, so the completion is tokenised alone.
    return prompt_ids, token_ids(tokenizer, whole[len(prompt) :])


def _is_apart(tokenizer: Any, prompt: str, wholes: Sequence[str]) -> bool:
    """Whether no token holds both the end of the prompt and the beginning of an answer."""
    ids = token_ids(tokenizer, prompt)
    return all(token_ids(tokenizer, whole)[: len(ids)] == ids for whole in wholes)


def _is_dated(tokenizer: Any) -> bool:
    """Whether the template prints the day that it is given. TrainingError if it prints today."""
    first, other = (_rendered(tokenizer, _QUESTION, True, day) for day in (DATE, _OTHER_DATES[0]))
    for day in _OTHER_DATES:
        with _today(day):
            if (now := render(tokenizer, _QUESTION, add_generation_prompt=True)) != first:
                raise TrainingError(
                    f"the chat template of {tokenizer.name_or_path} writes another prompt on another day: {now[:200]!r}. "
                    "A model would be asked what it was never trained on. Give the tokenizer a template without a date."
                )
    return first != other


@contextmanager
def _today(day: datetime) -> Iterator[None]:
    """Another day on the clock that transformers gives to templates."""
    from transformers.utils import chat_template_utils

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return day

    real = chat_template_utils.datetime
    chat_template_utils.datetime = Clock  # type: ignore[misc]  # a class is replaced by its subclass
    try:
        yield
    finally:
        chat_template_utils.datetime = real  # type: ignore[misc]  # as above


def _answer(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def _changed_prompt(tokenizer: Any, prompt: str, whole: str) -> str:
    return (
        f"the chat template of {tokenizer.name_or_path} renders the prompt as {prompt[-80:]!r} alone, but "
        f"as {whole[: len(prompt)][-80:]!r} before an answer. Give the tokenizer a template that renders both alike."
    )


def _changed_answer(tokenizer: Any, written: Sequence[str]) -> str:
    return (
        f"the chat template of {tokenizer.name_or_path} does not put the same text around every answer: after the "
        f"prompt it writes {', '.join(map(repr, written))}. Give the tokenizer a template that writes answers as they "
        "are."
    )


def _no_end(tokenizer: Any, tail: str) -> str:
    return (
        f"the chat template of {tokenizer.name_or_path} ends an answer in {tail!r}, which holds no special token: "
        "generation would never stop. Give the tokenizer a template that ends the assistant's turn in "
        f"{tokenizer.eos_token!r}."
    )
