"""The pair in the answer of a model: its thinking is set apart first, and is never read as a pair.

In: a `Completion` of any engine, and how its text is read. Out: `Answer`.

    answer(completion).pair.status    # 'ok'

A text that is just as `pairs.render` writes it is read as it is, whatever tags stand in it. An
answer that only thinks gives no pair, whatever drafts are in its thinking: a model would be trained
on them. An evaluation is not as strict with a tag that is never closed (`harness/blocks.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from builders.engines import Completion, thinking
from builders.pairs import Parsed, exact, parse

_MORE = "raise max_tokens, or max_thinking_tokens of the engine"


@dataclass(frozen=True)
class Answer:
    """The pair, the text that it was read from, and the thinking before it (None without any)."""

    pair: Parsed
    text: str
    reasoning: str | None


def answer(completion: Completion, read: Callable[[str, str], Parsed] = parse) -> Answer:
    """What a completion says. `read` is `parse` of the tagged form or of the JSON form."""
    finish_reason = completion.finish_reason
    if finish_reason in ("error", "prompt_too_long") or exact(completion.text) is not None:
        pair = read(completion.text, finish_reason)
        return Answer(_told(pair, completion.error), completion.text, completion.reasoning)
    found = thinking.split(completion.text)
    thoughts = [thought for thought in (completion.reasoning, found.reasoning) if thought]
    reasoning = "\n".join(thoughts) or None
    if not completion.text.strip() and not reasoning and finish_reason == "length":
        return Answer(_cut_before_text(), completion.text, None)
    if found.answer.strip() or not (reasoning or found.is_open):
        return Answer(read(found.answer, finish_reason), found.answer, reasoning)
    return Answer(_only_thought(found.is_open or finish_reason == "length"), found.answer, reasoning)


def _only_thought(is_unfinished: bool) -> Parsed:
    if is_unfinished:
        return Parsed("unfinished", reason=f"the model was still thinking: {_MORE}")
    return Parsed("no_answer", reason="the model thought, and wrote no answer after it")


def _cut_before_text() -> Parsed:
    return Parsed("unfinished", reason=f"the answer was cut before its first character: {_MORE}")


def _told(pair: Parsed, error: str | None) -> Parsed:
    return replace(pair, reason=error) if error and pair.status == "engine_error" else pair
