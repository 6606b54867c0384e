"""Asking a model for superior samples: the request, reading its answer, verifying the sample.

A sample must parse. Where it carries examples, it must pass them in the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from builders import sandbox
from builders.engines import Completion, Request, prompts
from builders.executors.cpus import usable_cpus
from builders.pairs import Parsed, as_json, examples, parse, reading
from builders.recipe import Teacher
from builders.teacher.importing import shown
from builders.teacher.rows import row
from store import Announce, content_id, seed_from
from store.errors import JobError


def weights(teacher: Teacher) -> dict[str, str]:
    """What the plan of a table names of a teacher that is loaded here: the content of its folder.

    Nothing for an endpoint, which alone knows what it serves, and for the offline teachers.
    """
    from training.fingerprints import model_fingerprint

    if isinstance(teacher.engine, str) or teacher.engine.is_endpoint:
        return {}
    return {"weights": model_fingerprint(teacher.model)}


def template(teacher: Teacher) -> dict[str, Any]:
    """What the plan of a table names of the arguments of the teacher's chat template, if any."""
    return {"template_arguments": teacher.template_arguments} if teacher.template_arguments else {}


def reader(teacher: Teacher) -> Callable[[str, str], Parsed]:
    """How an answer is read: as the tagged form, or as JSON."""
    return as_json.parse if teacher.answer_form == "json" else parse


def pair(teacher: Teacher, completion: Completion) -> Parsed:
    """The pair in an answer. Its examples are not run."""
    return reading.answer(completion, reader(teacher)).pair


def request(snippet: dict[str, Any], teacher: Teacher, seed: int) -> Request:
    """The question about one snippet."""
    text = prompts.render(teacher.prompt, code=snippet["shown"])
    name = content_id("teacher", teacher.model, snippet["snippet_id"], text)
    return Request(
        request_id=name,
        messages=({"role": "user", "content": text},),
        max_tokens=teacher.max_tokens + teacher.engine_settings().max_thinking_tokens,
        temperature=teacher.temperature,
        seed=seed_from(name, seed),
        json_schema=as_json.SCHEMA if teacher.answer_form == "json" else None,
    )


def require_sandbox() -> None:
    """JobError where no sandbox can run the examples of samples, before an answer is paid for."""
    try:
        sandbox.require()
    except RuntimeError as error:
        raise JobError(f"{error} Or set teacher.run_examples to false: then samples are only parsed.") from None


def verified(pairs: list[Parsed], announce: Announce, names: Sequence[str] = ()) -> list[Parsed]:
    """The pairs. Those that fail their own examples have the status `failed_examples`.

    `names` are what the pairs are called. Where they are given, those that fail are named.
    """
    programs = (
        (n, examples.program(p.problem or "", p.solution or "")) for n, p in enumerate(pairs) if p.status == "ok"
    )
    carrying = [(n, program) for n, program in programs if program is not None]
    results = sandbox.run_many(carrying, workers=usable_cpus())
    failed = {n: f"it fails an example of its own: {_said(result)}" for n, result in results if _fails(result)}
    if failed:
        which = f": {shown([names[n] for n in sorted(failed)])}" if names else ""
        announce(
            f"teacher_samples: {len(failed)} of {len(carrying)} samples with examples fail them and are left out{which}"
        )
    return [
        Parsed("failed_examples", p.problem, p.solution, failed[n]) if n in failed else p for n, p in enumerate(pairs)
    ]


def _fails(result: sandbox.SandboxResult) -> bool:
    return result.status != "passed"


def _said(result: sandbox.SandboxResult) -> str:
    """The last line of its error, or how it ended."""
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return (lines[-1] if lines and result.status == "failed" else result.status)[:300]


def rows(
    teacher: Teacher,
    snippets: Sequence[dict[str, Any]],
    completions: Sequence[Completion],
    announce: Announce,
) -> list[dict[str, Any]]:
    """The rows of answers, usable or not, with what the tables teacher_samples and unusable_answers
    say of them.
    """
    answers = [reading.answer(completion, reader(teacher)) for completion in completions]
    pairs = [answer.pair for answer in answers]
    if teacher.run_examples:
        pairs = verified(pairs, announce)
    return [
        row(snippet, pair, teacher)
        | {"request_id": c.request_id, "answer": answer.text, "reasoning": answer.reasoning}
        | {"finish_reason": c.finish_reason}
        | price(teacher, c)
        for snippet, pair, answer, c in zip(snippets, pairs, answers, completions, strict=True)
    ]


def price(teacher: Teacher, completion: Completion) -> dict[str, Any]:
    """The tokens of an answer, and what they cost in dollars."""
    tokens = completion.num_prompt_tokens, completion.num_completion_tokens
    return {
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[1],
        "cost_usd": teacher.engine_settings().cost(*tokens),
    }
