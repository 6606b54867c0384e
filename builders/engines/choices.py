"""Choices: how one is asked for, and which one an answer names, with how probable each of them was.

In: a question and its choices, mostly the digits 0 to 9; then an answer of any shape. Out: the body
that is sent, and the probability of each choice. `NoChoiceError` where the answer names none.

    named_in("Score: 8", DIGITS)    # Named('8', 7)
    named_in("8/10", DIGITS)        # NoChoiceError: the answer '8/10' is none of the choices 0 to 9

The rules of reading a digit. Thinking is set apart first.

- The digit is the number with which the answer begins. If it begins with a word, it is the number
  behind "score:", "Clarity:" and the like, or else the only number in it, where a sentence ends
  with it. Numbers inside of code and in "2 bugs" are no digits.
- A number that is off the scale is no digit: 10, 7.5, -1, 80% and 8/10 are refused, and never read
  as their first digit or rescaled. So are two numbers where one was asked for, such as 7-8. 8/9 is
  8, and "from 0 to 9" names the scale alone.
- The probabilities are those of the token that holds the digit, where its endpoint tells them. An
  answer without any number has those of its first token; their `mass` says how little that is.
- A few tokens are asked for, as many tokenizers write 10 as two: after one token, it would be 1.
"""

from __future__ import annotations

import math
import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from builders.engines import thinking
from builders.engines.dialect import CHOICE_TOKENS, most_tokens
from builders.engines.malformed import Json, quoted
from builders.engines.protocol import is_cut, parts
from builders.engines.types import Message

if TYPE_CHECKING:
    from training.chat_templates import Arguments

DIGITS = tuple("0123456789")
# The most that the protocol allows.
TOP_LOGPROBS = 20
# Enough to see that "1" goes on as 10, "8" as 8/10 or 8 out of 10, and "7" as 7.5.
LABEL_TOKENS = 4

_FOUND = re.compile(
    r"(?<![\w.,])(?P<value>[-+\u2212]?\d+(?:[.,]\d+)*(?!\w)(?:\s?%)?)"
    r"(?:(?:\spoints?)?\s{0,3}\(?(?:/|out of|of)\s{0,3}(?P<of>\d+(?:[.,]\d+)*)"
    r"|(?P<more>\s?(?:[-\u2013\u2014/]|to|or)\s?\d))?",
    re.IGNORECASE,
)
_SCALE = re.compile(r"\bscale\s(?:(?:of|from)\s)?(?:\d+\s?(?:-|to|\u2013)\s?)?(\d+)", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:(?:score|rating|rate|grade|label|answer|digit|value)\b\W{0,9}(?:(?:is|of|as|at|be)\b\W{0,9})?|\w\W{0,4}[:=]\W{0,6})\Z",
    re.IGNORECASE,
)
_ENDS = re.compile(r"[\s.!)}\]*_\"'`]*(?:\Z|\n|[,;:\u2013\u2014]|-\s|\b(?:because|since|as|for)\b)", re.IGNORECASE)
_CODE = re.compile(
    r"```|^\s*(?:def|return|import|from|class|for|while|if)\b|\w\(|\s[=+*/<>]{1,2}\s\d|\d\s[=+*/<>]{1,2}\s",
    re.MULTILINE,
)
_OF_A_LIST = re.compile(r"1[.)]\s+\w")
_NEAR = 40
_MOST_NUMBERS = 99


class NoChoiceError(Exception):
    """An answer that names none of the choices."""


class Named(NamedTuple):
    """The choice that a text names, and where its number or word begins."""

    choice: str
    start: int


def choice_body(question: tuple[Message, ...], model: str, template_arguments: Arguments) -> Json:
    """One question whose answer is one of a few choices."""
    return {
        "model": model,
        "messages": list(question),
        "max_tokens": LABEL_TOKENS,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
        **({"chat_template_kwargs": dict(template_arguments)} if template_arguments else {}),
    }


def probabilities(answer: Json, choices: tuple[str, ...]) -> tuple[float, ...]:
    """The probability of each choice, from the logprobs of the token that names it.

    Without logprobs, the choice that the text names has probability 1.
    """
    choice = answer["choices"][0]
    named = _named(choice, choices)
    mass = _mass_by_choice(choice, choices, named)
    if not sum(mass.values()):
        if named is None:
            raise NoChoiceError(_why_none(choice))
        mass[named.choice] = 1.0
    total = sum(mass.values())
    return tuple(mass[name] / total for name in choices)


def choice_mass(answer: Json, choices: tuple[str, ...]) -> float | None:
    """The probability that the model gave to all choices together; None without logprobs.

    An endpoint tells the most probable tokens alone, so it may be a little more. Where none of
    these is a choice, it is 0.
    """
    choice = answer["choices"][0]
    try:
        named = _named(choice, choices)
    except NoChoiceError:
        named = None
    if not _top_logprobs(choice, named):
        return None
    return min(1.0, sum(_mass_by_choice(choice, choices, named).values()))


def needs_room(body: Json, said: Json, answer: Json) -> bool:
    """Whether a choice is asked again with more tokens, as the model thinks before it answers.

    `body` is the question, and `said` is it as this endpoint takes it. The answers under way when
    that is learnt are paid for, and only these.
    """
    is_short = "top_logprobs" in body and most_tokens(said) <= CHOICE_TOKENS
    choice = answer["choices"][0]
    return is_short and is_cut(choice) and not _text(choice) and not _top_logprobs(choice, None)


def named_in(text: str, choices: tuple[str, ...], *, may_go_on: bool = False) -> Named | None:
    """The choice that a text names; see the module for the rules. None for a text without numbers.

    `may_go_on`: the text was cut, so a number at its end may have more digits. NoChoiceError where
    the text names what is no choice, or more than one.
    """
    if not all(name.isdecimal() for name in choices):
        words = re.finditer(r"\w+", text)
        return next((Named(word[0], word.start()) for word in words if word[0] in choices), None)
    scale = re.compile(rf"\b{choices[0]}\s?(?:-|\u2013|\u2014|to|through|\.\.)\s?{choices[-1]}\b")
    text = scale.sub(lambda found: " " * len(found[0]), text)
    found = list(islice(_FOUND.finditer(text), _MOST_NUMBERS))
    meant = _meant(text, found)
    if not found and re.match(r"\W*\d", text) is None:
        return None
    said = {_value(one, choices) for one in meant}
    (value,) = said if len(said) == 1 else (None,)
    other = _SCALE.search(text)
    if value not in choices or (other is not None and other[1] != choices[-1]):
        raise NoChoiceError(f"the answer {quoted(text)} is none of the choices {choices[0]} to {choices[-1]}")
    start = meant[0].start("value")
    is_alone = text.strip() == value
    if may_go_on and not is_alone and not text[meant[-1].end() :].strip(" \t.,/-"):
        raise NoChoiceError(f"the answer was cut at its number, which may have gone on: {quoted(text)}")
    return Named(value, start)


def _meant(text: str, found: list[re.Match[str]]) -> list[re.Match[str]]:
    """Those of the numbers that answer: the one at the beginning, those that are named, or all."""
    named = [one for one in found if _NAMED.search(text[max(0, one.start() - _NEAR) : one.start()])]
    if found and not re.search(r"\w", text[: found[0].start()]):
        if _OF_A_LIST.match(text, found[0].start()) is None:
            return found[:1]
        return named
    if named or len(found) != 1:
        return named or found
    return [one for one in found if _ENDS.match(text, one.end()) and not _CODE.search(text)]


def _value(found: re.Match[str], choices: tuple[str, ...]) -> str | None:
    """The number as it is written. None where it is of another scale, or the first of several."""
    is_of_scale = found["of"] is None or found["of"] == choices[-1]
    return found["value"].lstrip("+") if is_of_scale and found["more"] is None else None


def _named(choice: Json, choices: tuple[str, ...]) -> Named | None:
    said = thinking.split(_text(choice) or "").answer
    return named_in(said, choices, may_go_on=is_cut(choice))


def _why_none(choice: Json) -> str:
    if is_cut(choice) and not _text(choice):
        return (
            "the answer was cut before its first character, as the model thinks before it answers: raise the engine's "
            "max_thinking_tokens"
        )
    return f"the answer names none of the choices: {quoted(_text(choice) or '')}"


def _mass_by_choice(choice: Json, choices: tuple[str, ...], named: Named | None) -> dict[str, float]:
    mass = dict.fromkeys(choices, 0.0)
    for token, logprob in _top_logprobs(choice, named):
        # Some tokens hold a digit with the space before it: that is the same answer.
        if token.strip() in mass:
            # A server with broken weights sends NaN, which is never more than -inf.
            mass[token.strip()] += math.exp(min(logprob, 0.0)) if logprob > -math.inf else 0.0
    return mass


def _text(choice: Json) -> str | None:
    return parts(choice)[0]


def _top_logprobs(choice: Json, named: Named | None) -> list[tuple[str, float]]:
    """Those of the token that names the choice, or of the first token of the answer.

    They are none where the only tokens are of the thinking, or where the choice shares its token.
    """
    text, thought = parts(choice)
    if thought and not text:
        return []
    try:
        tokens = choice["logprobs"]["content"]
        place = _place([str(entry.get("token", "")) for entry in tokens], named)
        entries = tokens[place]["top_logprobs"] if place is not None else []
        return [(str(entry["token"]), float(entry["logprob"])) for entry in entries]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
        return []


def _place(tokens: list[str], named: Named | None) -> int | None:
    """The place of the token that names the choice, or of the first one of the answer."""
    if len(tokens) <= 1:
        return 0
    first = thinking.first_of_answer(tokens)
    if named is None or first is None:
        return first
    # The text of the answer begins somewhere in the tokens, and the choice so far behind that.
    whole = "".join(tokens)
    start = whole.rfind(thinking.split(whole).answer) + named.start
    end = 0
    for place, token in enumerate(tokens):
        end += len(token)
        if end > start:
            return place if token.strip() == named.choice else None
    return None
