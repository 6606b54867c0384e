"""The text of a question, for a chat and for continuing, and where a continuation ends.

In: what a task shows to a model. Out: a `Question`. `builders/harness/layouts` puts it into the
`Task`. The texts of the chats are files in `builders/engines/prompts`.

The forms are those of the benchmarks' own programs:

- HumanEval, BigCodeBench: the model continues an open function. It is at its end where something
  else begins in the first column. (EvalPlus `provider/utility.py`, BigCodeBench the same)
- MBPP: the model writes whole code below a docstring with the statement and its asserts. Other
  functions, classes and imports may come before the one that is asked for, so that only what comes
  after it ends the answer. (EvalPlus, and InCoder's form of MBPP)
- LiveCodeBench, LeetCode: the model writes whole code in a fence that is already open. The end of
  the fence ends the answer. (LiveCodeBench shows a solved example before; we do not.)
- APPS: as in its paper (Hendrycks et al. 2021, https://arxiv.org/abs/2105.09938).

EvalPlus also begins the answer of a chat model ("Below is a Python script …"). Chat endpoints
cannot do that, so we do not. Its stops are more than ours: it lists tokens such as `</s>`, which
engines leave out of the text, and `\\ndef main(`, which `\\ndef ` covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builders.engines import prompts

PROMPTS = (
    "evaluation",
    "evaluation-mbpp",
    "evaluation-instruct",
    "evaluation-starter",
    "evaluation-stdin",
    "evaluation-apps",
)
"""The templates of the chats."""

AFTER_FUNCTION = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__", "\nprint(")
AFTER_CODE = ("\nif __name__", "\nprint(", '\n"""', "\nassert")
AFTER_FENCE = ("\n```",)
AFTER_ANSWER = ("\n```", "\nQUESTION:")


@dataclass(frozen=True)
class Question:
    """The fields of a `Task` that say how it is asked."""

    chat: str
    completion: str
    stops: tuple[str, ...]


def open_function(prompt: str) -> Question:
    """A function whose body is missing, as in HumanEval."""
    return Question(_function(prompt), prompt.strip() + "\n", AFTER_FUNCTION)


def below_docstring(docstring: str) -> Question:
    """A docstring with a statement and an assert, as in EvalPlus's MBPP+."""
    return Question(_function(docstring), docstring.strip() + "\n", AFTER_CODE)


def with_asserts(statement: str, asserts: Sequence[str]) -> Question:
    """A statement with the asserts that the code must pass, as in MBPP."""
    shown = "\n".join(line.strip() for line in asserts)
    chat = prompts.render("evaluation-mbpp", prompt=statement.strip(), tests=shown)
    return Question(chat, docstring_of(statement, asserts) + "\n", AFTER_CODE)


def docstring_of(statement: str, asserts: Sequence[str]) -> str:
    """A statement and asserts as a docstring of Python."""
    return "\n".join(['"""', statement.strip(), *(line.strip() for line in asserts), '"""'])


def instructed(instruction: str, prompt: str) -> Question:
    """A function that is described for chats, and begun for other models, as in BigCodeBench."""
    chat = prompts.render("evaluation-instruct", prompt=instruction.strip())
    return Question(chat, prompt.strip() + "\n", AFTER_FUNCTION)


def with_starter(statement: str, starter: str) -> Question:
    """A statement and the head of the code, as in LiveCodeBench's tasks from LeetCode."""
    chat = prompts.render("evaluation-starter", prompt=statement, starter=starter.rstrip())
    shown = f"### Question\n{statement}\n\n### Starter Code\n{starter.rstrip()}\n\n### Answer\n\n```python\n"
    return Question(chat, shown, AFTER_FENCE)


def reads_stdin(statement: str) -> Question:
    """A statement whose answer is a program, as in LiveCodeBench's tasks from other sites."""
    chat = prompts.render("evaluation-stdin", prompt=statement)
    return Question(chat, f"### Question\n{statement}\n\n### Answer\n\n```python\n", AFTER_FENCE)


def as_it_is(query: str) -> Question:
    """A text that says everything, as in LeetCodeDataset."""
    return Question(query.strip(), query.strip() + "\n\n```python\n", AFTER_FENCE)


def of_apps(question: str, starter: str, name: str | None) -> Question:
    """A statement in the form of the APPS paper. Without `name` the answer reads standard input."""
    head = f"{question.rstrip()}\n{starter.rstrip()}\n" if starter.strip() else f"{question.rstrip()}\n"
    if name and name not in head:
        head += f"\nThe function is called {name}.\n"
    call = "Use Call-Based format" if name else "Use Standard Input format"
    chat = prompts.render("evaluation-apps", prompt=head.strip(), call=call)
    return Question(chat, f"\nQUESTION:\n{head}\n{call}\nANSWER:\n", AFTER_ANSWER)


def _function(prompt: str) -> str:
    return prompts.render("evaluation", prompt=prompt.strip())
