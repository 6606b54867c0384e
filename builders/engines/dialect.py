"""How an endpoint departs from the protocol: what it refuses, and how it is asked then.

In: the body of a request, and the raw text of a refusal (400, 422). Out: the body as the endpoint
takes it, and in words what is different about it.

Each field has a ladder of lessons. A refusal that names the field learns the next one: a seed is
folded before it is left out, and `json_schema` becomes `json_object` before it goes. The refused
call is asked again at once. If it is answered then, the lesson is confirmed: it is said once, and
holds for all calls. If it is refused again, the field was not the reason, and other calls never
knew of it. The model and the messages are in no ladder: whoever refuses them refuses the request.

    dialect, body = Dialect(), {"model": "m", "seed": 7}
    lesson = dialect.lesson_of(body, '{"error": {"param": "seed"}}')
    dialect.spoken(body, [lesson])[0]    # {"model": "m"}
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from builders.engines.complaints import is_a_minimum, is_of_a_number, is_same, is_too_long, named, words

Json = dict[str, Any]

# Without logprobs the digit is read from the text, where a word may come before it. OpenAI's
# Responses give no fewer.
CHOICE_TOKENS = 16
# A model that thinks needs as many before it names its choice.
THINKING_CHOICE_TOKENS = 1024
# OpenAI's own service takes no more.
FEWEST_STOPS = 4
# Endpoints that limit them take five.
FEWEST_LOGPROBS = 5
LARGEST_SEED = 2**31
_RANGE = re.compile(
    r"int32|int64|too (?:large|big|long)|less than|greater than|out of range|at most|maximum|max allowed|between"
)
# Of a name, and not of a number that is too large.
_OTHER_NAME = re.compile(
    r"max_completion_tokens|instead|unsupported|(?:not|n't) (?:\w+ )?(?:support|allow|permit)|unknown|unrecognized"
    r"|unexpected|extra"
)
_USE_IT = re.compile(r"\buse .{0,20}max_completion_tokens")
_NO_ROOM = "model output limit was reached"


class Lesson(NamedTuple):
    """One way to depart from the protocol: its field, what it is in words, when it is learnt, what
    it does."""

    field: str
    told: str
    fits: Callable[[Json, str], bool]
    change: Callable[[Json], None]


def _leave_out(*names: str) -> Callable[[Json], None]:
    def change(said: Json) -> None:
        for name in names:
            said.pop(name, None)

    return change


def _always(said: Json, refusal: str) -> bool:
    return True


def _fold_seed(said: Json) -> None:
    said["seed"] %= LARGEST_SEED


def _shorten_stops(said: Json) -> None:
    said["stop"] = said["stop"][:FEWEST_STOPS]


def _any_json(said: Json) -> None:
    said["response_format"] = {"type": "json_object"}


def _few_logprobs(said: Json) -> None:
    said["top_logprobs"] = FEWEST_LOGPROBS


def _no_logprobs(said: Json) -> None:
    _leave_out("logprobs", "top_logprobs")(said)
    said["max_tokens"] = max(said["max_tokens"], CHOICE_TOKENS)


def _more_tokens(said: Json) -> None:
    said["max_tokens"] = max(said["max_tokens"], CHOICE_TOKENS)


def _rename_max_tokens(said: Json) -> None:
    said["max_completion_tokens"] = said.pop("max_tokens")


def _is_renamed(refusal: str) -> bool:
    """Whether max_tokens is refused for its name. Under another name a cap would be passed over."""
    if _NO_ROOM in refusal:
        return False
    return bool(_USE_IT.search(refusal) or (_OTHER_NAME.search(refusal) and not is_of_a_number(refusal)))


def _more_room(said: Json) -> None:
    if said["max_tokens"] <= CHOICE_TOKENS:
        said["max_tokens"] = THINKING_CHOICE_TOKENS


# `top_p` before `temperature`: where both may not be given together, it is the one to go.
LADDERS: dict[str, tuple[Lesson, ...]] = {
    "seed": (
        Lesson(
            "seed",
            "the endpoint takes seeds of 31 bits: they are folded",
            lambda said, refusal: said["seed"] >= LARGEST_SEED and bool(_RANGE.search(refusal)),
            _fold_seed,
        ),
        Lesson(
            "seed",
            "the endpoint takes no seed: it is left out, so answers cannot be repeated",
            _always,
            _leave_out("seed"),
        ),
    ),
    "top_p": (Lesson("top_p", "the endpoint takes no such top_p: it is left out", _always, _leave_out("top_p")),),
    "temperature": (
        Lesson(
            "temperature",
            "the endpoint takes no such temperature: it is left out, so the model's own holds",
            _always,
            _leave_out("temperature"),
        ),
    ),
    "stop": (
        Lesson(
            "stop",
            f"the endpoint takes {FEWEST_STOPS} stop texts: answers are cut at the others here",
            lambda said, refusal: len(said["stop"]) > FEWEST_STOPS,
            _shorten_stops,
        ),
        Lesson("stop", "the endpoint takes no stop texts: answers are cut at them here", _always, _leave_out("stop")),
    ),
    "response_format": (
        Lesson(
            "response_format",
            "the endpoint takes no JSON schema: it is asked for any JSON object",
            lambda said, refusal: said["response_format"].get("type") == "json_schema",
            _any_json,
        ),
        Lesson(
            "response_format",
            "the endpoint takes no response_format: the prompt alone asks for JSON",
            _always,
            _leave_out("response_format"),
        ),
    ),
    "top_logprobs": (
        Lesson(
            "top_logprobs",
            f"the endpoint tells {FEWEST_LOGPROBS} logprobs: probabilities are those of the most probable choices",
            lambda said, refusal: said["top_logprobs"] > FEWEST_LOGPROBS and bool(_RANGE.search(refusal)),
            _few_logprobs,
        ),
        Lesson("top_logprobs", "the endpoint tells no logprobs: choices are read from its text", _always, _no_logprobs),
    ),
    "max_tokens": (
        Lesson(
            "max_tokens",
            f"the endpoint gives no fewer tokens than {CHOICE_TOKENS}: a choice gets as many",
            lambda said, refusal: most_tokens(said) < CHOICE_TOKENS and is_a_minimum(refusal),
            _more_tokens,
        ),
        Lesson(
            "max_tokens",
            f"the endpoint gives no few tokens: a choice gets {THINKING_CHOICE_TOKENS:,}",
            lambda said, refusal: most_tokens(said) <= CHOICE_TOKENS and is_a_minimum(refusal),
            _more_room,
        ),
        Lesson(
            "max_tokens",
            f"the model thinks before it answers: a choice gets {THINKING_CHOICE_TOKENS:,} tokens",
            lambda said, refusal: most_tokens(said) <= CHOICE_TOKENS and _NO_ROOM in refusal,
            _more_room,
        ),
        Lesson(
            "max_tokens",
            "the endpoint calls max_tokens max_completion_tokens",
            lambda said, refusal: "max_tokens" in said and _is_renamed(refusal),
            _rename_max_tokens,
        ),
    ),
}
ROOM = LADDERS["max_tokens"][-2]
# In which order lessons change a body: the room before the new name, shorter before left out.
_ORDER = [lesson for ladder in LADDERS.values() for lesson in ladder]


@dataclass
class Trial:
    """The lessons of one call that is not answered yet, in the order in which it learnt them."""

    lessons: list[Lesson] = field(default_factory=list)
    _idle: list[Lesson] = field(default_factory=list)
    _refusal: str | None = None

    def learn(self, lesson: Lesson, refusal: str) -> None:
        """Add what a refusal taught. The same words again: the lesson before did not help."""
        if self._refusal is not None and is_same(refusal, self._refusal):
            self._idle.append(self.lessons[-1])
        self.lessons.append(lesson)
        self._refusal = refusal

    def helped(self) -> list[Lesson]:
        """Those to confirm. If another was needed after all, the next call learns it again."""
        return [lesson for lesson in self.lessons if lesson not in self._idle]


@dataclass
class Dialect:
    """See the module. All methods are called from one thread."""

    known: list[Lesson] = field(default_factory=list)
    """What is confirmed: a refused call was answered when it was said so."""

    def spoken(self, body: Json, own: Collection[Lesson] = ()) -> tuple[Json, tuple[str, ...]]:
        """The body as this endpoint takes it, and in words what is different about it.

        `own` are lessons of this one call that are not confirmed yet.
        """
        if not self.known and not own:
            return body, ()
        said, told = dict(body), []
        for lesson in sorted({*self.known, *own}, key=_ORDER.index):
            before = dict(said)
            if lesson.field in said:
                lesson.change(said)
            if said != before:
                told.append(lesson.told)
        return said, tuple(told)

    def lesson_of(self, said: Json, refusal: str, but: Collection[Lesson] = ()) -> Lesson | None:
        """The next lesson of a field that this refusal of a body names. None if there is none.

        `said` is the body as it was sent, and `but` are the lessons that it was said with.
        """
        if is_too_long(refusal):
            return None
        told = words(refusal)
        fitting = [lesson for name in named(refusal, said, LADDERS) for lesson in LADDERS[name]]
        return next((one for one in fitting if one not in but and one.fits(said, told)), None)

    def confirm(self, lessons: Iterable[Lesson]) -> None:
        """A call that was refused before was answered when said so. Say it to people, once."""
        for lesson in lessons:
            if lesson not in self.known:
                self.known.append(lesson)
                print(lesson.told, file=sys.stderr, flush=True)


def most_tokens(said: Json) -> int:
    """The most tokens that an answer to a body can have."""
    return int(said["max_tokens"] if "max_tokens" in said else said["max_completion_tokens"])
