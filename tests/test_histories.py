"""Whatever happened to a store before: a recipe gives the rows that a fresh store would have.

A history is a list of events: runs of changing recipes with and without force, runs that are killed
at any file that appears or goes, tables that are built again, and forks. After it, a last run must
end in the contents of a fresh store. The decisions are the real ones; what a model would write,
score or differentiate follows from the inputs of its plan.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from builders import aspect_weights, instructions, pool, rejects, scored, selected, teacher_samples
from builders.gradients import features
from builders.recipe import Recipe
from store import ASPECTS, CODE_ASPECTS, ContractError, Plan, Record, Store, content_id, segments
from store.errors import InputError
from store.fork import fork
from store.rebuild import fulfilled, requested
from tests.rows import Row, table
from tests.tiny_recipes import recipe

NUM_SNIPPETS, SAMPLES, TEACHERS = 9, 3, 2
REBUILT = ("raw_pool", "pool", "rejects", "checkpoints", "candidates", "scored", "selected", "instructions")
STAGES = ("pool", "teacher", "bootstrap", "influence-1", "iteration-1", "instructions")


def digit(*parts: str | int) -> int:
    """A number from 0 to 9 that the parts decide."""
    return int(content_id(*parts)[:8], 16) % 10


def made(
    store: Store, name: str, rows: Callable[[], list[Row]], inputs: dict[str, str], fields: Row, **partition: Any
) -> Record:
    """A partition in two shards whose rows follow from its inputs and fields."""
    plan = Plan(table=name, partition=partition, inputs=inputs, fields=fields, num_shards=2)
    return store.materialize(plan, lambda half: table(name, rows()[half::2]))


def read(store: Store, name: str, **partition: Any) -> list[Row]:
    return [row for part in store.read(name, **partition) for row in part.to_pylist()]


# -- a run without models --------------------------------------------------------------------------


def run(store: Store, chosen: Recipe) -> None:
    """All tables from the sources to the instructions of one iteration."""
    build_pool(store, chosen)
    teacher_samples.build(store, chosen.teacher, chosen.seed)
    taught = store.input("teacher_samples")
    train(store, chosen, 0, taught)
    sample_and_score(store, chosen, 1)
    where = {"iteration": 1, "reference": "teacher", "batch": "main"}
    found = store.input("scored", iteration=1) | store.input("checkpoints", role="synthesizer", iteration=0)

    def influences() -> list[Row]:
        rows = read(store, "scored", iteration=1)
        common = where | {"features": features(chosen)}
        ids = [r["candidate_id"] for r in rows]
        return [common | {"candidate_id": c, "influence": digit(c, "influence") / 10} for c in ids]

    made(store, "influence", influences, found, {}, **where)
    selected.build(store, chosen, 1, "default")
    train(store, chosen, 1, taught | store.input("selected", iteration=1, selection="default"))
    sample_and_score(store, chosen, 2)
    instructions.build(store, chosen)


def build_pool(store: Store, chosen: Recipe) -> None:
    ids = [f"s{n}" for n in range(NUM_SNIPPETS + chosen.seed)]
    code = 'def {0}(a):\n    """Return what {0} makes of a, and nothing else."""\n    return a'
    texts: list[Row] = [{"snippet_id": s, "name": s, "code": code.format(s)} for s in ids]
    for row in texts:
        row["docstring"] = f"Return what {row['name']} makes of a, and nothing else."
        row |= {"signature": f"def {row['name']}(a):", "num_lines": 3}
    made(store, "raw_pool", lambda: texts, {}, {"sources": chosen.seed})
    raw = store.input("raw_pool")
    places = [{"snippet_id": s, "license": "MIT", "path": s} for s in ids]
    made(store, "snippet_occurrences", lambda: places, raw, {})
    good: Row = {"is_parsed": True, "num_statements": 3, "num_arguments": 1, "returns_value": True}
    good |= {"num_docstring_words": 9, "docstring_ascii": 1.0, "docstring_english": 1.0}
    good |= {"docstring_sufficiency": 1.0, "license_choices": [["mit"]], "cyclomatic": 1, "num_type_errors": 0}
    checks = [good | {"snippet_id": s, "num_tokens": 20 + digit(s, "tokens")} for s in ids]
    made(store, "snippet_checks", lambda: checks, raw, {})
    made(store, "near_duplicates", list, raw | store.input("snippet_checks"), {})
    find_leaks(store, chosen, "snippet", lambda: ids, raw)
    pool.build(store, chosen)


def find_leaks(
    store: Store, chosen: Recipe, kind: str, ids: Callable[[], list[str]], source: dict[str, str], **where: Any
) -> None:
    for benchmark in chosen.benchmarks:
        name = benchmark.name
        task = {"benchmark": name, "task_id": "t", "prompt": name, "tests": "", "language": "python"}
        made(store, "benchmarks", lambda task=task: [task], {}, {}, benchmark=name)  # type: ignore[misc]

        def hits(name: str = name) -> list[Row]:
            hit: Row = {"item_kind": kind, "benchmark": name, "task_id": "t", "strength": 1.0}
            return [hit | {"item_id": i} for i in ids() if digit(i, name) < (3 if kind == "snippet" else 2)]

        read_from = source | store.input("benchmarks", benchmark=name)
        made(store, "contamination", hits, read_from, {}, item_kind=kind, **where, benchmark=name)


def train(store: Store, chosen: Recipe, iteration: int, inputs: dict[str, str]) -> None:
    """A checkpoint whose id is that of its plan; its loss says whether the model comes out anew."""
    where = {"role": "synthesizer", "iteration": iteration}
    epochs = chosen.synthesizer.training.epochs
    name = content_id(str(sorted(inputs.items())), str(epochs))
    made(store, "checkpoints", lambda: [where | {"checkpoint_id": name}], inputs, {"epochs": epochs}, **where)


def sample_and_score(store: Store, chosen: Recipe, t: int) -> None:
    model = store.input("checkpoints", role="synthesizer", iteration=t - 1)
    drawn = store.input("pool") | store.input("teacher_samples") | store.input("raw_pool") | model

    def candidates() -> list[Row]:
        (by,) = (r["checkpoint_id"] for r in read(store, "checkpoints", role="synthesizer", iteration=t - 1))
        taught = {r["snippet_id"] for r in read(store, "teacher_samples")}
        rows: list[Row] = []
        for snippet in sorted({r["snippet_id"] for r in read(store, "pool")} - taught):
            for n in range(SAMPLES):
                name = content_id(by, snippet, n)
                row = {"candidate_id": name, "iteration": t, "snippet_id": snippet, "checkpoint_id": by}
                row |= {"problem": "p", "solution": "s", "parse_status": "ok", "text_hash": f"t{digit(name, 'text')}"}
                rows.append(row | {"sample_index": n})
        return rows

    made(store, "candidates", candidates, drawn, {}, iteration=t)
    source = store.input("candidates", iteration=t)

    def names() -> list[str]:
        return [r["candidate_id"] for r in read(store, "candidates", iteration=t)]

    find_leaks(store, chosen, "candidate", names, source, iteration=t)

    def scores(kind: str, ids: list[str]) -> list[Row]:
        all_of = [(i, a, digit(i, a)) for i in ids for a in ASPECTS + CODE_ASPECTS]
        return [
            {"item_id": i, "item_kind": kind, "aspect": a, "scorer": "x", "score": d, "expected": d}
            for i, a, d in all_of
        ]

    made(store, "aspect_scores", lambda: scores("candidate", names()), source, {}, item_kind="candidate", iteration=t)
    taught = [r["sample_id"] for r in read(store, "teacher_samples")]
    samples = store.input("teacher_samples")
    made(store, "aspect_scores", lambda: scores("teacher", taught), samples, {}, item_kind="teacher")
    aspect_weights.build(store, chosen, t)
    scored.build(store, t)
    rejects.build(store, "scored", source | store.input("scored", iteration=t), {"iteration": t}, iteration=t)


# -- histories -------------------------------------------------------------------------------------


RECIPES = st.builds(
    lambda folder, seed, names, epochs, tokens, weights, score, best, share: recipe(
        Path("."),
        seed=seed,
        benchmarks=[{"name": n, "path": f"{n}.jsonl"} for n in names],
        teacher={"engine": "docstring", "num_snippets": TEACHERS},
        pool={"min_tokens": tokens, "min_statements": 1, "licenses": ["MIT"]},
        scoring={"method": "fixed", "weights": weights},
        selection={"min_score": score, "max_per_snippet": best, "top_share": share},
        synthesizer={"model": "none", "training": {"epochs": epochs}},
        iterations=1,
    ),
    st.just("."),
    seed=st.sampled_from([0, 1]),
    names=st.sampled_from([(), ("a",), ("b",), ("a", "b")]),
    epochs=st.sampled_from([1.0, 2.0]),
    tokens=st.sampled_from([0, 22]),
    weights=st.sampled_from([{}, {"lint": 1.0, "clarity": 2.0}]),
    score=st.sampled_from([0.0, 4.0]),
    best=st.sampled_from([1, 2]),
    share=st.sampled_from([0.5, 1.0]),
)
EVENTS = st.one_of(
    st.tuples(st.just("run"), RECIPES, st.booleans(), st.none() | st.integers(0, 250)),
    st.tuples(st.just("rebuild"), RECIPES, st.sampled_from(REBUILT), st.none() | st.integers(0, 250)),
    st.tuples(st.just("fork"), st.sampled_from(STAGES)),
)


class Killed(BaseException):
    """Nothing of ours catches it, as nothing catches SIGKILL."""


@contextmanager
def killed_at(step: int | None) -> Iterator[None]:
    """Kill what runs in the block before or after a file appears or goes for the n-th time."""
    left = [-1 if step is None else step // 2]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == -1 and step is not None and step % 2:
                raise Killed
            result = call(*arguments, **options)
            if left[0] == -1 and step is not None:
                raise Killed
            return result

        return counting

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "link", "remove"):
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            yield
        except Killed:
            event("killed")


def happen(store: Store, number: int, what: tuple[Any, ...]) -> Store:
    """One event; the store that it ends in."""
    if what[0] == "fork":
        target = Store(f"{store.root}-{number}")
        try:
            fork(store, target, what[1])
        except InputError as refusal:
            assert "no stage" in str(refusal), "the store has not come so far"
            return store
        event("forked")
        return target
    kind, chosen, how, step = what
    with killed_at(step):
        try:
            if kind == "run":
                run(Store(store.root, force=how), chosen)
            else:
                parts = {segments(r.plan.table, r.plan.partition) for r in store.records() if r.plan.table == how}
                run(Store(store.root, rebuild=requested(store.root, how, parts)), chosen)
                fulfilled(store.root)
        except ContractError as refusal:
            assert "was built under another plan" in str(refusal)
            event("refused")
    return store


def contents(store: Store) -> dict[str, str]:
    return {segments(r.plan.table, r.plan.partition): r.content for r in store.records() if r.status == "complete"}


def check(folder: Path, events: list[tuple[Any, ...]], last: Recipe) -> None:
    store = Store(folder / "store")
    for number, what in enumerate(events):
        store = happen(store, number, what)
    run(Store(store.root, force=True), last)
    fresh = Store(folder / "fresh")
    run(fresh, last)
    expected, found = contents(fresh), contents(store)
    assert {where: found.get(where) for where in expected} == expected
    for where in expected:
        files = sorted(p.name for p in Path(fresh.root, where).glob("*") if p.is_file())
        assert sorted(p.name for p in Path(store.root, where).glob("*") if p.is_file()) == files
        for name in files:
            assert Path(store.root, where, name).read_bytes() == Path(fresh.root, where, name).read_bytes(), where


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, max_size=3), last=RECIPES)
def test_a_history_ends_in_the_rows_of_a_fresh_store(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[Any, ...]], last: Recipe
) -> None:
    check(tmp_path_factory.mktemp("history"), events, last)


LONG = st.lists(EVENTS, min_size=2, max_size=6)


@pytest.mark.drill
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=LONG, last=RECIPES)
def test_long_histories_end_in_the_rows_of_a_fresh_store(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[Any, ...]], last: Recipe
) -> None:
    check(tmp_path_factory.mktemp("history"), events, last)


@pytest.mark.drill
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=LONG, last=RECIPES)
def test_many_long_histories_end_in_the_rows_of_a_fresh_store(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[Any, ...]], last: Recipe
) -> None:
    check(tmp_path_factory.mktemp("history"), events, last)
