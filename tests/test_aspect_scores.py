"""aspect_scores: the judge of docstrings is asked about what would be the pool, once, and its threshold is a query."""

from pathlib import Path

import pytest

import scoder
from builders import aspect_scores, checkpoints, pool
from builders.engines import ChoiceRequest, TransformersSettings, open_engine, prompts
from builders.engines.checkpoints import last_checkpoint
from builders.recipe import Recipe
from queries.verify import verify
from store import Store
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
    """Five snippets that only a judge can keep out, one that is too short and one that resembles another."""
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
    assert not Path(store.scratch("unjudged")).exists()
