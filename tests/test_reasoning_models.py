"""A reasoning model and a plain one, through the teacher, its labels and an evaluation.

The server on loopback is a plain model, or one that thinks: in tags within its text (`tags`), with
the opening tag in the prompt (`half`), or in a field of its own (`field`). Its thinking is full of
drafts, digits and code, all of them wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

import scoder
from builders import benchmarks, checkpoints, evaluations, sandbox
from builders.engines import OpenAISettings
from builders.engines.checkpoints import last_checkpoint
from builders.pairs import render
from builders.recipe import Benchmark, Evaluation
from store import ASPECTS, Store, content_id
from tests.fault_server import FaultServer, question, servers
from tests.made_benchmarks import benchmark, number_of
from tests.rows import put
from tests.tiny_recipes import read, recipe, teacher

KINDS = ("plain", "tags", "half", "field")
THINKING = 50
"""Tokens that the model thinks. Whoever gives it fewer gets no answer."""
THOUGHT = f"Maybe {render('DRAFT.', 'draft = 0')}\nI would say 0, or 1.\n```python\ndef plus_0(x):\n    return None\n```\nNo, better:"


class Model:
    """Answers as the kind of model does; see the module."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, body: dict, _: int) -> web.Response:
        text = self.text(body)
        is_choice = "logprobs" in body
        room = body["max_tokens"] - (1 if is_choice else 0)
        if self.kind != "plain" and room < THINKING:
            return self.said(THOUGHT[: 4 * room], None, "length", None)
        logprobs = [text] if is_choice else None
        return self.said(THOUGHT, text, "stop", logprobs)

    def text(self, body: dict) -> str:
        if "logprobs" in body:
            return "8"
        if match := re.search(r"def g(\d+)\(", question(body)):
            return render(f"Number {match[1]}.", f"def g{match[1]}():\n    return {match[1]}")
        number = number_of(body)
        return f"```python\ndef plus_{number}(x):\n    return x + {number}\n```"

    def said(self, thought: str, text: str | None, reason: str, logprobs: list[str] | None) -> web.Response:
        tokens = logprobs or []
        message = {"role": "assistant", "content": text}
        if self.kind == "field":
            message["reasoning_content"] = thought
        elif self.kind != "plain":
            opening, closing = ("<think>" if self.kind == "tags" else ""), ("" if text is None else "</think>\n\n")
            message["content"] = f"{opening}{thought}{closing}{text or ''}"
            tokens = [opening, *re.findall(r"\d|\D+", thought), closing, *tokens]
        choice: dict = {"message": message, "finish_reason": reason}
        if logprobs:
            # While it thinks, every digit is as probable as any other.
            wrong = [{"token": str(d), "logprob": -2.3} for d in range(10)]
            right = [{"token": "8", "logprob": -0.01}, {"token": "2", "logprob": -5.0}]
            choice["logprobs"] = {
                "content": [{"token": t, "top_logprobs": right if t == "8" else wrong} for t in tokens]
            }
        usage = {"prompt_tokens": 10, "completion_tokens": 5 if self.kind == "plain" else 5 + THINKING}
        return web.json_response({"choices": [choice], "usage": usage})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], FaultServer]]:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    with servers() as start:
        yield lambda kind: start(Model(kind), lambda body: 0.0)


def pooled(path: Path, count: int) -> Store:
    rows = [{"name": f"g{n}", "code": f"def g{n}():\n    'Number {n}.'\n    return {n}\n"} for n in range(count)]
    rows = [row | {"snippet_id": content_id("python", row["code"]), "license": "MIT"} for row in rows]
    store = Store(path)
    put(store, "raw_pool", rows)
    put(store, "raw_pool", [], origin="import")
    put(store, "pool", [{"snippet_id": row["snippet_id"], "position": n} for n, row in enumerate(rows)])
    return store


def thinking(kind: str) -> int:
    return 0 if kind == "plain" else THINKING


@pytest.mark.parametrize("kind", KINDS)
def test_samples_and_labels_of_a_teacher_that_thinks(serve, tmp_path, kind) -> None:
    server = serve(kind)
    asked = teacher(server.url, num_snippets=8, run_examples=False, max_tokens=20, max_thinking_tokens=thinking(kind))
    shares = {"reference_share": 0.0, "validation_share": 0.5, "scorer_share": 1.0}
    made = recipe(tmp_path, teacher=asked | shares, scorer={"labels": "teacher", "training": {}})
    store = pooled(tmp_path / "store", 8)
    scoder.build_teacher(store, made)
    samples = read(store, "teacher_samples")
    assert sorted(row["problem"] for row in samples) == [f"Number {n}." for n in range(8)]
    assert all((row["reasoning"] is not None) == (kind != "plain") for row in samples)
    assert kind == "plain" or all(row["reasoning"] == THOUGHT for row in samples)
    scores = read(store, "aspect_scores", item_kind="label")
    assert {row["aspect"] for row in scores} == set(ASPECTS)
    assert {row["score"] for row in scores} == {8}, "the digit of the answer, not those of the thinking"
    assert all(7.9 < row["expected"] < 8 and row["mass"] > 0.9 for row in scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")
def test_an_evaluation_of_a_model_that_thinks(serve, tmp_path, kind) -> None:
    server = serve(kind)
    given = Benchmark(name="made", path=str(benchmark(tmp_path / "made.jsonl", 3)))
    store = Store(tmp_path / "store")
    checkpoints.build_base(store, "m", None, "coder-base")
    benchmarks.build(store, given)
    engine = OpenAISettings(base_url=server.url, max_thinking_tokens=thinking(kind))
    settings = Evaluation(engine=engine, forms=("chat",), max_tokens=20)
    checkpoint = last_checkpoint(store, "coder-base")
    evaluations.build(store, settings, checkpoint, [given], 0)
    found = read(store, "evaluations", checkpoint=checkpoint["checkpoint_id"], benchmark="made")
    assert [row["is_passed"] for row in found] == [True] * 3
    assert all((row["reasoning"] == THOUGHT) == (kind == "field") for row in found)


@pytest.mark.parametrize("kind", ["tags", "field"])
def test_thinking_that_takes_all_tokens_is_unfinished_and_says_what_helps(serve, tmp_path, kind) -> None:
    server = serve(kind)
    made = recipe(tmp_path, teacher=teacher(server.url, num_snippets=4, run_examples=False, max_tokens=20))
    store = pooled(tmp_path / "store", 4)
    with pytest.raises(RuntimeError, match="unfinished: 4"):
        scoder.build_teacher(store, made)
    for row in read(store, "unusable_answers"):
        assert row["finish_reason"] == "length" and "max_thinking_tokens" in row["reason"]
        assert row["answer"] == "" and row["reasoning"].startswith("Maybe")
