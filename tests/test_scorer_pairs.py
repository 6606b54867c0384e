"""scorer_pairs: what a scorer learns from, labelled by its corruptions or by a teacher that was asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import load_dataset

from builders import aspect_scores, prompts, releases, scorer_pairs, teacher_samples
from builders.aspect_scores import question
from builders.engines.budget import BudgetError
from builders.pairs import render
from builders.recipe import Recipe
from queries.console import verify
from store import ASPECTS, Store, content_id
from tests import fault_server
from tests.fault_server import FaultServer, ok
from tests.rows import put
from tests.tiny_recipes import read, recipe


@pytest.fixture
def server(monkeypatch) -> Iterator[FaultServer]:
    """A teacher whose digit hangs on the text alone, and that says nothing of use about the clarity of one problem."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")

    def answer(body: dict, attempt: int) -> object:
        text = fault_server.question(body)
        is_scored = any(text.endswith(f"{aspect.capitalize()}:") for aspect in ASPECTS)
        return ok(digit(text) if is_scored else render("Add to a number.", "def f(a):\n    return a"), "stop", 100, 1)

    made = FaultServer(answer, lambda body: 0.0)
    yield made
    made.close()


def digit(text: str) -> str:
    if "Add 7" in text and text.endswith("Clarity:"):
        return "I would rather not."
    return str(int(content_id(text), 16) % 10)


def sampled(path: Path, count: int) -> Store:
    """A store with teacher samples: a half to train the scorer on, a quarter to measure it on, the rest not its matter."""
    functions = {f"s{n}": f"def f{n}(a):\n    'Add {n}.'\n    return a + {n}\n" for n in range(count)}
    splits = [("train", True), ("train", True), ("validation", False), ("train", False)]
    store = Store(path)
    put(store, "raw_pool", [{"snippet_id": name, "code": code} for name, code in functions.items()])
    samples = [
        {"sample_id": f"t{n}", "snippet_id": name, "problem": f"Add {n} to a number.", "solution": code}
        | dict(zip(("split", "is_for_scorer"), splits[n % 4], strict=True))
        for n, (name, code) in enumerate(functions.items())
    ]
    put(store, "teacher_samples", samples)
    return store


def asking(folder: Path, url: str, labels: str = "teacher", **teacher: object) -> Recipe:
    whole = {"engine": "openai", "model": "loopback", "base_url": url, "max_retries": 0} | teacher
    scorer = {"labels": labels, "training": {}, "corruptions_per_sample": 2}
    return recipe(folder, teacher=whole, scorer=scorer)


def text_of(pair: scorer_pairs.Labelled, aspect: str) -> str:
    return question("scorer", pair.code, pair.problem, pair.solution, aspect)


def test_the_teachers_digits_are_learnt_and_measured_by(server, tmp_path):
    store, made = sampled(tmp_path / "store", 16), asking(tmp_path, server.url)
    aspect_scores.build_labels(store, made)
    asked = set()
    for split, pairs in (("train", 8), ("validation", 4)):
        by_code = scorer_pairs.corrupted(store, made, split)
        assert len({e.code for e in by_code}) == pairs < len(by_code)
        asked |= {text_of(e, aspect) for e in by_code for aspect in ASPECTS}
        learnt = scorer_pairs.labels(store, made, split)
        assert [(e.code, e.problem, e.solution, e.corruption) for e in learnt] == [
            (e.code, e.problem, e.solution, e.corruption) for e in by_code if "Add 7" not in text_of(e, "clarity")
        ]
        assert all(str(e.labels[a]) == digit(text_of(e, a)) for e in learnt for a in ASPECTS)
    assert set(server.paid) == asked and set(server.paid.values()) == {1}
    rows = read(store, "aspect_scores", item_kind="label")
    assert {(r["scorer"], r["prompt_version"]) for r in rows} == {("loopback", prompts.version("scorer"))}
    assert verify(store) == []


def test_the_training_set_of_the_scorer_holds_them(server, tmp_path):
    store, made = sampled(tmp_path / "store", 16), asking(tmp_path, server.url)
    aspect_scores.build_labels(store, made)
    releases.scorer(store, made, str(tmp_path / "set"))
    rows = load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) > 16
    for row in rows:
        user, assistant = row["messages"]
        assert assistant["content"] == digit(user["content"])
    assert "labelled by the teacher" in (tmp_path / "set" / "README.md").read_text()


def test_labels_in_code_ask_nobody(server, tmp_path):
    store, made = sampled(tmp_path / "store", 16), asking(tmp_path, server.url, labels="corruptions")
    assert scorer_pairs.labels(store, made, "train") == scorer_pairs.corrupted(store, made, "train")
    assert not server.paid and scorer_pairs.inputs(store, made) == store.input("teacher_samples")


def test_another_teacher_trains_another_scorer(server, tmp_path):
    store = sampled(tmp_path / "store", 8)
    seen = set()
    for model in ("one", "two"):
        made = asking(tmp_path, server.url, model=model)
        aspect_scores.build_labels(Store(store.root, force=True), made)
        seen.add(str(sorted(scorer_pairs.inputs(store, made).items())))
    assert len(seen) == 2


def test_samples_and_labels_are_on_one_budget(server, tmp_path):
    store = sampled(tmp_path / "store", 12)
    names = [r["snippet_id"] for r in read(store, "raw_pool")]
    put(store, "pool", [{"snippet_id": name, "position": n} for n, name in enumerate(names)])
    store = Store(store.root, force=True)
    teacher = {"num_snippets": 12, "max_tokens": 100, "run_examples": False, "max_in_flight": 2}
    teacher_samples.build(store, asking(tmp_path, server.url, **teacher))
    store, samples = Store(store.root), sum(server.paid.values())
    assert samples == 12 and len(read(store, "teacher_samples")) == 12
    short, enough = (asking(tmp_path, server.url, **teacher, budget_tokens=b) for b in (samples * 101 + 2000, 10**6))
    with pytest.raises(BudgetError, match=r"budget_tokens=3,212 of which"):
        aspect_scores.build_labels(store, short)
    labels = sum(server.paid.values()) - samples
    assert 0 < labels * 101 <= 2000, "what the samples cost was counted"
    aspect_scores.build_labels(store, enough)
    assert sum(server.paid.values()) - samples > labels and set(server.paid.values()) == {1}
