"""What a scorer learns from: pairs labelled by their corruption, or by a teacher over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import load_dataset

import scoder
from builders import aspect_scores, metrics, teacher_samples
from builders.aspect_scores import question
from builders.engines import prompts
from builders.engines.budget import BudgetError
from builders.pairs import labels as scorer_pairs
from builders.pairs import render
from builders.publishing import sets
from builders.recipe import Recipe
from queries.verify import verify
from store import ASPECTS, ContractError, Record, Store, content_id
from tests import fault_server
from tests.fault_server import FaultServer, ok
from tests.rows import put
from tests.tiny_recipes import read, recipe, teacher


@pytest.fixture
def server(monkeypatch) -> Iterator[FaultServer]:
    """A teacher whose digit follows from the text.

    For the clarity of one problem it gives no digit.
    """
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")

    def answer(body: dict, attempt: int) -> object:
        text = fault_server.question(body)
        is_scored = any(text.endswith(f"{aspect.capitalize()}:") for aspect in ASPECTS)
        said = digit(text) if is_scored else render("Add to a number.", "def f(a):\n    return a")
        return said if said == "400" else ok(said, "stop", 100, 1)

    made = FaultServer(answer, lambda body: 0.0)
    yield made
    made.close()


REFUSED = "Add 5 to a number"


def digit(text: str) -> str:
    if REFUSED in text and text.endswith("Clarity:"):
        return "I would rather not."
    return str(int(content_id(text), 16) % 10)


def snippets(path: Path, count: int) -> Store:
    store = Store(path)
    texts = [f"def f{n}(a):\n    'Add {n}.'\n    return a + {n}\n" for n in range(count)]
    put(store, "raw_pool", [{"snippet_id": f"s{n}", "code": code} for n, code in enumerate(texts)])
    return store


def pooled(path: Path, count: int) -> Store:
    """A store with a pool of so many snippets."""
    store = snippets(path, count)
    put(store, "pool", [{"snippet_id": f"s{n}", "position": n} for n in range(count)])
    return store


def sampled(path: Path, count: int) -> Store:
    """A store with teacher samples: half to train the scorer on, a quarter to measure it on."""
    store = snippets(path, count)
    splits = [("train", True), ("train", True), ("validation", False), ("train", False)]
    samples = [
        {
            "sample_id": f"t{n}",
            "snippet_id": row["snippet_id"],
            "problem": f"Add {n} to a number.",
            "solution": row["code"],
        }
        | dict(zip(("split", "is_for_scorer"), splits[n % 4], strict=True))
        for n, row in enumerate(read(store, "raw_pool"))
    ]
    put(store, "teacher_samples", samples)
    return store


def build(store: Store, made: Recipe) -> Record:
    return teacher_samples.build(store, made.teacher, made.seed)


def asking(folder: Path, url: str, labels: str = "teacher", **given: object) -> Recipe:
    whole = teacher(url, **{"max_error_share": 0.2} | given)
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
        assert split == "validation" or any(REFUSED in text_of(e, "clarity") for e in by_code)
        assert [(e.code, e.problem, e.solution, e.corruption) for e in learnt] == [
            (e.code, e.problem, e.solution, e.corruption) for e in by_code if REFUSED not in text_of(e, "clarity")
        ]
        assert all(str(e.labels[a]) == digit(text_of(e, a)) for e in learnt for a in ASPECTS)
    assert set(server.paid) == asked and set(server.paid.values()) == {1}
    rows = read(store, "aspect_scores", item_kind="label")
    assert {(r["scorer"], r["prompt_version"]) for r in rows} == {("loopback", prompts.version("scorer"))}
    assert verify(store) == []


def test_the_plan_of_a_local_teachers_digits_names_its_files(tmp_path):
    store, model = sampled(tmp_path / "store", 16), tmp_path / "model"
    put(store, "aspect_scores", [], item_kind="label")
    model.mkdir()
    (model / "config.json").write_text("{}")
    engine = {"engine": "transformers"}
    made = recipe(
        tmp_path, teacher={"model": str(model), "engine": engine}, scorer={"labels": "teacher", "training": {}}
    )
    first = named(store, made)
    os.utime(model / "config.json", (1, 1))
    assert named(store, made) == first
    (model / "config.json").write_text('{"a": 1}')
    assert named(store, made) != first


def named(store: Store, made: Recipe) -> str:
    """What the plan of the teacher's digits says of its weights, told as it is refused."""
    with pytest.raises(ContractError) as refused:
        aspect_scores.build_labels(store, made)
    return next(line for line in str(refused.value).splitlines() if "fields.weights" in line)


def test_the_training_set_of_the_scorer_holds_them(server, tmp_path):
    store, made = sampled(tmp_path / "store", 16), asking(tmp_path, server.url)
    aspect_scores.build_labels(store, made)
    sets.scorer(store, made, str(tmp_path / "set"))
    rows = load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    learnt = scorer_pairs.labels(store, made, "train")
    assert len(rows) == len(learnt) * len(ASPECTS) > 0
    for row in rows:
        user, assistant = row["messages"]
        assert assistant["content"] == digit(user["content"])
    assert "labelled by the teacher" in (tmp_path / "set" / "README.md").read_text()


@pytest.mark.parametrize("labels", ["teacher", "corruptions"])
def test_the_teacher_stage_asks_for_scores_only_where_they_are_learnt(server, tmp_path, labels):
    store = pooled(tmp_path / "store", 16)
    scoder.build_teacher(store, asking(tmp_path, server.url, labels, num_snippets=16, run_examples=False))
    assert len(read(store, "teacher_samples")) == 16
    has_scores = store.record("aspect_scores", item_kind="label") is not None
    assert has_scores == (labels == "teacher") == (sum(server.paid.values()) > 16)


def test_labels_in_code_are_those_of_the_corruptions(server, tmp_path):
    store, made = sampled(tmp_path / "store", 16), asking(tmp_path, server.url, labels="corruptions")
    assert scorer_pairs.labels(store, made, "train") == scorer_pairs.corrupted(store, made, "train")
    assert scorer_pairs.inputs(store, made) == store.input("teacher_samples") | store.input("raw_pool")


def test_an_item_is_lost_with_one_of_its_questions(server, tmp_path, monkeypatch):
    """One question in 24 is refused, and so one item in four: more than a tenth."""
    store, made = sampled(tmp_path / "store", 64), asking(tmp_path, server.url, max_error_share=0.1)
    answer = digit

    def refusing(text: str) -> str:
        return "400" if text.endswith("Clarity:") and int(content_id(text), 16) % 4 == 0 else answer(text)

    with monkeypatch.context() as patched:
        patched.setitem(globals(), "digit", refusing)
        with pytest.raises(RuntimeError, match=rf"requests \({len(ASPECTS)} for each item\) ended in an engine error"):
            aspect_scores.build_labels(store, made)
    aspect_scores.build_labels(store, made)
    pairs = [e for split in ("train", "validation") for e in scorer_pairs.corrupted(store, made, split)]
    kept = {scorer_pairs.item_id(pair) for pair in pairs if REFUSED not in text_of(pair, "clarity")}
    assert {r["item_id"] for r in read(store, "aspect_scores", item_kind="label")} == kept


def test_another_teacher_trains_another_scorer(server, tmp_path):
    store = sampled(tmp_path / "store", 8)
    seen = set()
    for model in ("one", "two"):
        made = asking(tmp_path, server.url, model=model)
        aspect_scores.build_labels(Store(store.root, force=True), made)
        seen.add(str(sorted(scorer_pairs.inputs(store, made).items())))
    assert len(seen) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "scorer-short"},
        {"corruptions_per_sample": 1},
        {"engine": {"max_model_tokens": 700}},
        {"labels": "teacher"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_scorer_is_measured_again_when_what_it_is_measured_by_changes(server, tmp_path, monkeypatch, change):
    monkeypatch.setattr(metrics, "_scorer_auc", lambda *of: [])
    store, plans = sampled(tmp_path / "store", 8), set()
    scorer_row = {"checkpoint_id": "k", "role": "scorer", "iteration": None}
    put(store, "checkpoints", [scorer_row], role="scorer")
    for scorer in ({}, {}, change):
        made = recipe(tmp_path, teacher=asking(tmp_path, server.url).teacher, scorer={"training": {}} | scorer)
        if made.scorer.labels == "teacher":
            aspect_scores.build_labels(store, made)
        record = metrics.build_scorer_auc(Store(store.root, force=True), made, scorer_row)
        plans.add(record.plan.fingerprint)
    assert len(plans) == 2


def test_samples_and_labels_are_on_one_budget(server, tmp_path):
    store = pooled(tmp_path / "store", 12)
    given = {"num_snippets": 12, "max_tokens": 100, "run_examples": False, "max_in_flight": 2}
    build(store, asking(tmp_path, server.url, **given))
    samples = sum(server.paid.values())
    assert samples == 12 and len(read(store, "teacher_samples")) == 12
    short, enough = (asking(tmp_path, server.url, **given, budget_tokens=b) for b in (samples * 101 + 2000, 10**6))
    with pytest.raises(BudgetError, match=r"budget_tokens=3,212 of which"):
        aspect_scores.build_labels(store, short)
    labels = sum(server.paid.values()) - samples
    assert 0 < labels * 101 <= 2000, "what the samples cost was counted"
    aspect_scores.build_labels(store, enough)
    assert sum(server.paid.values()) - samples > labels and set(server.paid.values()) == {1}
