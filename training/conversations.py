"""What the rows of any dataset say: one list of layouts, and names for columns that are in none.

In: a row, and perhaps the columns that the user names. Out: its turns, as chat templates take them.
Decontamination reads more than turns: `training/said.py`.

The layouts, in the order in which they are tried:

    messages, conversations, conversation    turns: OpenAI's (role, content, tool_calls), ShareGPT's
                                             (from, value), Capybara's pairs (input, output), or
                                             texts, the user's first; also as JSON text
    a question and an answer                 the first of QUESTIONS and of ANSWERS with text; with
                                             the texts of BESIDE; both texts, or lists of turns
                                             (also as JSON text); `history` before them, as pairs;
                                             `input` alone is a question, Nemotron's as turns
    prompt, completion, query, response      query and response, as in LeetCodeDataset: its prompt
                                             is the imports that its tests need
    data                                     UltraChat's turns: only what has the form of turns, and
                                             only if no other column holds another text
    system, beside any                       a turn of the system, before the others

Of texts without roles, the user says the first, the assistant the second, and so on: an odd number
of them is unusable. So are turns of a question that end with the role that the answer begins with.
What only a search can use is in ONLY_SEARCHED, with the reason.

With columns that the user names, BESIDE still belongs to the problem, unless a field has it.
Without them, a second question that says what the first does not is an error: nobody knows which
one counts.

    turns({"instruction": "Add.", "input": "1, 2", "output": "3"})
    turns({"ask": "Add 1 and 2.", "code": "3"}, {"problem": "ask", "solution": "code"})
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from training.errors import TrainingError, UnusableRowError
from training.said import said
from training.tool_calls import called, is_given, shown
from training.turns import Turn, are_turns, have_speakers, is_talk, listed, unpacked

Columns = Mapping[str, str]
"""A field of FIELDS -> the column that holds it."""

TURNS = ("messages", "conversations", "conversation")
SHAPED = ("data",)
"""Columns that hold turns where the value has their form. Datasets call other things so, too."""
QUESTIONS = ("problem", "instruction", "prompt", "question", "query")
ANSWERS = ("solution", "output", "completion", "response", "answer", "code")
BESIDE = ("input", "context", "starter_code")
"""Columns that belong to a question: Alpaca's, Dolly's and APPS'."""
SYSTEM = ("system", "system_prompt")
FIELDS = ("messages", "system", "problem", "input", "solution", "text")
ONLY_SEARCHED = {
    "text": "one text has no answer",
    "content": "one text has no answer",
    "code": "one text has no answer",
    "chosen": "nobody says that the preferred text is to be learnt",
    "rejected": "nobody says that the preferred text is to be learnt",
    "solutions": "nobody says which of several solutions is to be learnt",
}
"""Columns that only decontamination reads, and why they make no conversation."""
LAYOUTS = f"{', '.join((*TURNS, *SHAPED[:-1]))} or {SHAPED[-1]}; or one of {', '.join(QUESTIONS)} with one of {', '.join(ANSWERS)}"
NOTHING = "no_conversation"
"""Why a row is unusable that has text in none of the layouts."""
NO_WORDS = "no_words: the question has no letter and no digit"
"""Why a row is unusable whose question stands elsewhere: OpenCodeReasoning writes "-" then."""
_LEETCODE = ("query", "response")


def mapping(given: Iterable[str]) -> dict[str, str]:
    """The columns that a user names, each as `problem=COLUMN`, and several with commas.

    mapping(["problem=ask,solution=code"])    # {"problem": "ask", "solution": "code"}
    """
    found: dict[str, str] = {}
    for item in (item.strip() for text in given for item in text.split(",")):
        field, sign, column = (part.strip() for part in item.partition("="))
        if not sign or not column or field not in FIELDS:
            raise TrainingError(f"{item!r} names no column: write FIELD=COLUMN, where FIELD is {', or '.join(FIELDS)}")
        if found.setdefault(field, column) != column:
            raise TrainingError(f"{field} is given two columns, {found[field]} and {column}: name one")
    check(found)
    return found


def check(columns: Columns) -> None:
    """TrainingError for fields that are none, or that make no text together."""
    if unknown := [field for field in columns if field not in FIELDS]:
        raise TrainingError(f"{', '.join(unknown)} is no field of a row: there are {', '.join(FIELDS)}")
    is_whole = "messages" in columns or "text" in columns or {"problem", "solution"} <= columns.keys()
    if columns and not is_whole:
        raise TrainingError(
            f"the columns {', '.join(columns)} make no text: name messages, or problem and solution, or text"
        )


def check_turns(columns: Columns) -> None:
    """TrainingError for fields that make no conversation: a text is none."""
    check(columns)
    if "text" in columns:
        raise TrainingError(
            f"the column {columns['text']} is named as a text, and a text is no conversation: name messages, or problem "
            "and solution"
        )


def require(known: Collection[str], columns: Columns, place: str) -> None:
    """TrainingError, with the columns that there are, if some of those that the user names lack."""
    if lacking := [name for name in columns.values() if name not in known and name.split(".")[0] not in known]:
        raise TrainingError(f"{place} has no column {', '.join(lacking)}. It has {', '.join(known) or 'no columns'}.")


def has_layout(names: Collection[str]) -> bool:
    """Whether a dataset with these columns can hold conversations."""
    pair = any(q in names for q in (*QUESTIONS, "input")) and any(a in names for a in ANSWERS)
    return pair or any(name in names for name in (*TURNS, *SHAPED))


def value_of(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column; None without one. `data.question` is a field inside of `data`."""
    if column in row or "." not in column:
        return row.get(column)
    first, _, rest = column.partition(".")
    inside = row.get(first)
    return value_of(inside, rest) if isinstance(inside, Mapping) else None


def has(row: Mapping[str, Any], column: str) -> bool:
    """Whether a row has a column. What lies inside of a column without a value is not known."""
    if column in row or "." not in column:
        return column in row
    first, _, rest = column.partition(".")
    inside = row.get(first)
    return isinstance(inside, Mapping) and has(inside, rest)


def turns(row: Any, columns: Columns | None = None) -> list[Turn]:
    """The conversation of a row. UnusableRowError says why there is none."""
    if isinstance(row, list) and row and is_talk(row):
        row = {TURNS[0]: row}  # a row that is itself a list of turns
    if not isinstance(row, Mapping):
        raise UnusableRowError(f"a row is a {type(row).__name__}, and no object with columns")
    found = _by_name(row, columns) if columns else _by_layout(row)
    for turn in found:
        _require_characters(turn)
    asked = "".join(turn["content"] for turn in found[:-1] if turn["role"] == "user").strip()
    if asked and not any(sign.isalnum() for sign in asked):
        raise UnusableRowError(NO_WORDS)
    return found


def _by_name(row: Mapping[str, Any], columns: Columns) -> list[Turn]:
    given = {field: value_of(row, column) for field, column in columns.items()}
    if "messages" in given:
        if not is_given(given["messages"]):
            raise UnusableRowError(NOTHING)
        return _led(given.get("system"), listed(given["messages"], None))
    more = _unnamed(row, columns) | ({"input": given["input"]} if "input" in columns else {})
    return _led(given.get("system"), _pair(given.get("problem"), more, given.get("solution")))


def _unnamed(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The texts of BESIDE that nobody named. They belong to the problem."""
    if not may_have_input(columns):
        return {}
    texts = {name: row.get(name) for name in BESIDE if name not in columns.values()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def may_have_input(columns: Columns) -> bool:
    """Whether a column `input`, if there is one, belongs to the problem: it has no other field."""
    return "problem" in columns and "input" not in columns and "input" not in columns.values()


def _by_layout(row: Mapping[str, Any]) -> list[Turn]:
    system = _first(row, SYSTEM)
    if is_given(talk := _first(row, TURNS)):
        return _led(system, listed(talk, None))
    is_leetcode = all(is_given(row.get(name)) for name in ("prompt", *_LEETCODE))
    questions, answers = ((name,) for name in _LEETCODE) if is_leetcode else (QUESTIONS, ANSWERS)
    question, more = _first(row, questions), {name: row.get(name) for name in BESIDE}
    if question is None and (isinstance(more["input"], str) or have_speakers(more["input"])):
        question = more.pop("input")  # OpenCodeInstruct's columns are input and output
    answer = _first(row, answers)
    if not (is_given(question) and is_given(answer)):
        for name in SHAPED:
            if are_turns(row.get(name)):
                return _led(system, _shaped(row, name))
    if question is None or answer is None:
        raise UnusableRowError(_why_not(row))
    pair = _pair(question, more, answer)
    used = next((name for name in questions if row.get(name) is question), "input")
    others = (name for name in QUESTIONS if name != used and not (is_leetcode and name == "prompt"))
    unread = {name: row[name] for name in others if is_given(row.get(name))}
    if lost := _lost(unread, (question, *more.values(), answer), pair[:-1]):
        raise UnusableRowError(
            f"two questions: {used} and {lost} differ. Name the columns with --columns problem=…,solution=…"
        )
    return _led(system, [*_history(row.get("history")), *pair])


def _shaped(row: Mapping[str, Any], name: str) -> list[Turn]:
    """The turns in a column of SHAPED. UnusableRowError for another text beside them."""
    found = listed(row[name], None)
    others = (*QUESTIONS, *BESIDE, *ANSWERS, *ONLY_SEARCHED)
    beside = {other: row[other] for other in others if is_given(row.get(other))}
    if lost := _lost(beside, [turn["content"] for turn in found], found):
        raise UnusableRowError(f"two texts: {name} and {lost} differ. Name the column with --columns messages={name}")
    return found


def _why_not(row: Mapping[str, Any]) -> str:
    """NOTHING, and why, for a row that only a search can use."""
    why = next((f": {name}, {ONLY_SEARCHED[name]}" for name in ONLY_SEARCHED if is_given(row.get(name))), "")
    return f"{NOTHING}{why}"


def _lost(unread: Mapping[str, Any], read: Iterable[Any], told: Sequence[Turn]) -> str | None:
    """The first column of another question whose text would be lost.

    It is not where the turns that are `told` hold it, and not where it holds all that is read: then
    it is the row as a prompt, such as the `prompt` beside an Alpaca instruction.
    """
    asked = _plain(" ".join(turn["content"] for turn in told))
    parts = [_plain(part) for part in read if isinstance(part, str)]
    texts = ((n, _plain(text if isinstance(text, str) else said(text, holds_turns=True))) for n, text in unread.items())
    return next((n for n, text in texts if text not in asked and not all(part in text for part in parts)), None)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _history(given: Any) -> list[Turn]:
    """Alpaca's turns before the question: pairs of a question and its answer."""
    if not is_given(given):
        return []
    pairs: list[Any] = given if isinstance(given, list) else [None]
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise UnusableRowError(f"the history is a list of pairs, but a row has {shown(given)}")
    texts = [str(text) if isinstance(text, int | float) else text for pair in pairs for text in pair]
    return listed(texts, None, is_end=False)


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first value with text; without any the first that is blank, which has its own reason."""
    blank = next((row[name] for name in names if isinstance(row.get(name), str)), None)
    return next((row[name] for name in names if is_given(row.get(name))), blank)


def _pair(question: Any, more: Mapping[str, Any], answer: Any) -> list[Turn]:
    """A question, with what belongs to it by the names of BESIDE, and an answer. One that is there,
    but blank, is a turn without text.

    A question that is turns as JSON text is these turns, and so is its answer then.
    """
    if not all(isinstance(part, str) or is_given(part) for part in (question, answer)):
        raise UnusableRowError(NOTHING)
    if isinstance(question, str) and (held := unpacked(question)) is not None:
        question = held
        answer = (unpacked(answer) or answer) if isinstance(answer, str) else answer
    asked, answered = listed(question, "user", is_end=False), listed(answer, "assistant")
    if (role := asked[-1]["role"]) == answered[0]["role"]:
        raise UnusableRowError(f"two_turns: the question ends with a turn of the {role}, and so begins the answer")
    for name, part in more.items():
        if not is_given(part):
            continue
        if not isinstance(part, str | int | float):
            raise UnusableRowError(f"the {name} beside a question is text, but a row has {shown(part)}")
        # a question often holds its starter code already
        if name != "starter_code" or _plain(str(part)) not in _plain(asked[-1]["content"]):
            asked[-1]["content"] += f"\n\n{part}"
    return [*asked, *answered]


def _led(system: Any, found: list[Turn]) -> list[Turn]:
    """The turns after the system's, which a column of its own holds, as text or as a turn."""
    if not is_given(system) or found[0]["role"] == "system":
        return found
    turns_ = [{"role": "system", **system}] if isinstance(system, Mapping) else system
    said = "\n\n".join(turn["content"] for turn in listed(turns_, "system"))
    return [{"role": "system", "content": said}, *found] if said.strip() else found


def _require_characters(turn: Turn) -> None:
    """UnusableRowError for half of a character, which JSON can write and no file can hold."""
    try:
        for text in (*(value for value in turn.values() if isinstance(value, str)), *called(turn)):
            text.encode("utf-8")
    except UnicodeEncodeError:
        raise UnusableRowError("a text holds half of a character (a lone surrogate)") from None
