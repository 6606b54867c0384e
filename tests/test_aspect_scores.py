"""aspect_scores: the judge is asked once about what would be the pool; a query decides."""

from pathlib import Path

import pytest

import scoder
from builders import aspect_scores, checkpoints, pool
from builders.engines import ChoiceRequest, TransformersSettings, open_engine, prompts
from builders.engines.checkpoints import last_checkpoint
from builders.recipe import Recipe
from queries.verify import verify
from store import ASPECTS, Store
from tests.engine_models import save_model
from tests.rows import put
from tests.test_pool import DUPLICATE, GOOD_CHECKS, GOOD_TEXT
from tests.tiny_recipes import read, recipe, tree

ENGINE = {"max_model_tokens": 1024}
SNIPPETS = {f"s{n}": f'def f{n}(x):\n    """Add {n} to x."""\n    return x + {n}\n' for n in range(5)}
LEFT_OUT = {"short": {"num_lines": 1}, "twin": {}}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("judge"))


def judging(folder: Path, model: str, least: float = 0.0) -> Recipe:
    judge = {"model": model, "engine": ENGINE}
    return recipe(folder, pool={"min_docstring_score": least}, docstring_judge=judge)


def filled(root: Path) -> Store:
    """Five snippets that only a judge can keep out, one too short, one that resembles another."""
    store = Store(root)
    names = {name: {} for name in SNIPPETS} | LEFT_OUT
    texts = [GOOD_TEXT | {"snippet_id": n, "code": SNIPPETS.get(n, n), "docstring": f"Add {n} to x."} for n in names]
    put(store, "raw_pool", [row | names[row["snippet_id"]] for row in texts])
    put(store, "snippet_checks", [GOOD_CHECKS | {"snippet_id": n, "docstring_sufficiency": 0.5} for n in names])
    put(store, "snippet_occurrences", [])
    put(store, "near_duplicates", [DUPLICATE | {"snippet_id": "twin", "cluster_id": "s0"}])
    return store


def build(store: Store, made: Recipe) -> list[dict]:
    assert made.docstring_judge is not None
    checkpoints.build_base(store, made.docstring_judge.model, None, "docstring-judge")
    aspect_scores.build_snippets(store, made, last_checkpoint(store, "docstring-judge"))
    return read(store, "aspect_scores", item_kind="snippet")


def test_the_judge_reads_the_docstring_of_each_snippet_that_passes_all_else(tmp_path, model):
    rows = build(filled(tmp_path / "store"), judging(tmp_path, model))
    assert {r["aspect"] for r in rows} == {"sufficiency"}
    by_code = {r["item_id"]: r["expected"] for r in rows if r["scorer"] == "code"}
    assert by_code == dict.fromkeys(SNIPPETS, 4.5)
    said = {r["item_id"]: r for r in rows if r["scorer"] != "code"}
    texts = {n: prompts.render("docstring-judge", code=c, docstring=f"Add {n} to x.") for n, c in SNIPPETS.items()}
    asked = [ChoiceRequest(n, (({"role": "user", "content": text},),)) for n, text in texts.items()]
    with open_engine(TransformersSettings(**ENGINE), model) as engine:
        for answer in engine.choose(asked):
            assert answer.probabilities is not None
            digits = answer.probabilities[0]
            expected = sum(d * p for d, p in enumerate(digits))
            assert said[answer.request_id]["expected"] == pytest.approx(expected, abs=1e-4)
            assert said[answer.request_id]["score"] == digits.index(max(digits))
            assert answer.masses is not None and 0 < answer.masses[0] < 0.99
            assert said[answer.request_id]["mass"] == pytest.approx(answer.masses[0], abs=1e-4)
    assert {r["mass"] for r in rows if r["scorer"] == "code"} == {None}


def test_another_threshold_asks_the_judge_nothing(tmp_path, model):
    store = filled(tmp_path / "store")
    rows = build(store, judging(tmp_path, model))
    digits = sorted(r["expected"] for r in rows if r["scorer"] != "code")
    for least, number in ((0.0, 5), (digits[2], 3), (9.0, 0)):
        made = judging(tmp_path, model, least)
        before = store.record("aspect_scores", item_kind="snippet")
        forced = Store(store.root, force=True)
        assert build(forced, made) == rows
        assert store.record("aspect_scores", item_kind="snippet") == before
        pool.build(forced, made)
        assert len(read(store, "pool")) == number


def test_a_docstring_that_is_too_long_for_the_judge_is_a_reject(tmp_path, model):
    store = filled(tmp_path / "store")
    made = recipe(tmp_path, docstring_judge={"model": model, "engine": {"max_model_tokens": 16}})
    assert {r["scorer"] for r in build(store, made)} == {"code"}
    pool.build(store, made)
    assert read(store, "pool") == []


def test_the_pool_stage_accounts_for_every_snippet_that_was_judged(tmp_path, model):
    function = 'def f{0}(x, y):\n    """Add {0} to the larger one of x and y and return the sum."""\n    if x > y:\n        return x + {0}\n    return y + {0}\n'
    folder = tree(tmp_path / "code", {f"m{n}.py": function.format(n) + f"\n\nVALUE_{n} = {n}\n" for n in range(6)})
    judge = {"model": model, "engine": ENGINE}
    near = {"min_similarity_raw": 1.0, "min_similarity_renamed": 1.0}
    store, messages = Store(tmp_path / "all"), list[str]()
    everything = recipe(folder, pool={"min_docstring_score": 0}, docstring_judge=judge, near_duplicates=near)
    scoder.build_pool(store, everything)
    scores = sorted(r["expected"] for r in read(store, "aspect_scores", item_kind="snippet") if r["scorer"] != "code")
    assert len(scores) == len(read(store, "pool")) == 6
    half = recipe(folder, pool={"min_docstring_score": scores[3]}, docstring_judge=judge, near_duplicates=near)
    store = Store(tmp_path / "half", messages.append)
    scoder.build_pool(store, half)
    reasons = {r["item_id"]: r["reason"] for r in read(store, "rejects", stage="pool")}
    assert len(read(store, "pool")) == 3 and list(reasons.values()) == ["judged_insufficient"] * 3
    assert verify(store) == []
    messages.clear()
    scoder.build_pool(store, half)
    assert messages and all("up to date" in message for message in messages)
    assert staged_files(store) == {}


# -- candidates ------------------------------------------------------------------------------------

SMALL = {"max_model_tokens": 1024, "micro_batch": 1, "num_threads": 1}
"""Eight items are a shard."""


def to_score(root: Path, model: str) -> tuple[Store, dict]:
    """Twenty parsed candidates about three snippets, one that did not parse, and a scorer."""
    store = Store(root)
    put(store, "raw_pool", [{"snippet_id": f"s{n}", "code": code} for n, code in enumerate(SNIPPETS.values())])
    rows = [
        {"candidate_id": f"c{n:02d}", "snippet_id": f"s{n % 3}", "problem": f"p{n}", "solution": f"x = {n}"}
        for n in range(20)
    ]
    put(store, "candidates", [r | {"iteration": 1, "parse_status": "ok"} for r in rows] + [BROKEN], iteration=1)
    checkpoints.build_base(store, model, None, "scorer")
    return store, last_checkpoint(store, "scorer")


BROKEN = {"candidate_id": "c99", "snippet_id": "s0", "iteration": 1, "parse_status": "syntax_error"}


def staged_files(store: Store) -> dict[Path, tuple[int, int]]:
    """The staged files of a store, and what changes when one is written again."""
    paths = Path(store.scratch("staged")).rglob("*.parquet")
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def test_items_are_read_once_even_if_a_build_is_killed_and_each_is_scored_once(tmp_path, model):
    scorer = recipe(tmp_path, scorer={"prompt": "scorer-short", "engine": SMALL}).scorer
    whole, checkpoint = to_score(tmp_path / "whole", model)
    record = aspect_scores.build(whole, scorer, checkpoint, 1)
    assert (record.plan.rows_per_shard, record.plan.num_shards) == (8, 3)
    rows = read(whole, "aspect_scores", item_kind="candidate", iteration=1)
    assert len(rows) == 20 * (len(ASPECTS) + 2) and len({(r["item_id"], r["aspect"]) for r in rows}) == len(rows)
    order = list(dict.fromkeys(r["item_id"] for r in rows))
    assert set(order[:8]) == {f"c{n:02d}" for n in (*range(0, 20, 3), 1)}, "candidates of a snippet come together"
    assert staged_files(whole) == {}

    store, _ = to_score(tmp_path / "killed", model)

    def stop_after_one(items, label):
        yield items[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aspect_scores.build(Store(store.root, track=stop_after_one), scorer, checkpoint, 1)
    left = staged_files(store)
    assert len(left) == 1
    seen = []

    def look(items, label):
        for item in items:
            seen.append(staged_files(store))
            yield item

    aspect_scores.build(Store(store.root, track=look), scorer, checkpoint, 1)
    assert seen == [left, left], "two shards are made of the file that was there"
    assert read(store, "aspect_scores", item_kind="candidate", iteration=1) == rows and staged_files(store) == {}


def test_the_plan_names_the_checkpoint_and_all_that_is_read(tmp_path, model):
    store, checkpoint = to_score(tmp_path / "store", model)
    scorer = recipe(tmp_path, scorer={"prompt": "scorer-short", "engine": SMALL}).scorer
    plan = aspect_scores.build(store, scorer, checkpoint, 1).plan
    assert set(plan.inputs) == {"candidates/iteration-1", "raw_pool", "checkpoints/role-scorer"}
    put(store, "teacher_samples", [])
    plan = aspect_scores.build(store, scorer, checkpoint).plan
    assert set(plan.inputs) == {"teacher_samples", "raw_pool", "checkpoints/role-scorer"}


def test_the_plan_of_a_judge_names_its_checkpoint(tmp_path, model):
    store = filled(tmp_path / "store")
    build(store, judging(tmp_path, model))
    record = store.record("aspect_scores", item_kind="snippet")
    assert record is not None and "checkpoints/role-docstring-judge" in record.plan.inputs
