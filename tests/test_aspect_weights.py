"""aspect_weights: fitted where the fit tells more than chance, else equal; what is weak is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import aspect_weights
from builders.aspect_weights import ALL, auc
from store import Plan, Store
from tests.rows import put, table
from tests.tiny_recipes import read, recipe


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=20))
def test_auc_is_that_of_all_pairs(rows):
    positive = [s for is_positive, s in rows if is_positive]
    negative = [s for is_positive, s in rows if not is_positive]
    found = auc(np.array([float(s) for _, s in rows]), np.array([float(p) for p, _ in rows]))
    if not positive or not negative:
        assert found is None
    else:
        wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
        assert found == pytest.approx(wins / (len(positive) * len(negative)))


# -- the table -------------------------------------------------------------------------------------


def scores(item_id: str, item_kind: str, default: int, **digits: int) -> list[dict]:
    return [
        {"item_id": item_id, "item_kind": item_kind, "aspect": a, "scorer": "s", "score": digits.get(a, default)}
        for a in ALL
    ]


def scored_store(
    path, teacher: list[dict[str, int]], candidates: list[dict[str, int]], other: int = 0, **said
) -> Store:
    """A store with these digits (5 for the rest), and `other` candidates of another iteration.

    Every item is about a snippet of its own.
    """
    store = Store(path, **said)
    samples = [{"sample_id": f"t{n}", "snippet_id": f"st{n}"} for n in range(len(teacher))]
    put(store, "teacher_samples", samples)
    rows = [{"candidate_id": f"c{n}", "snippet_id": f"sc{n}", "iteration": 1} for n in range(len(candidates))]
    put(store, "candidates", rows, iteration=1)
    put(store, "candidates", [{"candidate_id": f"o{n}", "iteration": 2} for n in range(other)], iteration=2)
    asked = [row for n, d in enumerate(teacher) for row in scores(f"t{n}", "teacher", 5, **d)]
    put(store, "aspect_scores", asked, item_kind="teacher")
    made = [row for n, d in enumerate(candidates) for row in scores(f"c{n}", "candidate", 5, **d)]
    put(store, "aspect_scores", made, item_kind="candidate", iteration=1)
    later = [row for n in range(other) for row in scores(f"o{n}", "candidate", 0)]
    put(store, "aspect_scores", later, item_kind="candidate", iteration=2)
    return store


def built(store: Store, tmp_path, scoring: dict, **sections) -> dict[str, dict]:
    aspect_weights.build(store, recipe(tmp_path, scoring=scoring, **sections), 1)
    return {r["aspect"]: r for r in read(store, "aspect_weights", iteration=1, weights="default")}


def the(rows: dict[str, dict], column: str):
    """What all rows of a weighting say."""
    (found,) = {row[column] for row in rows.values()}
    return found


GOOD = [{"clarity": 7 + n % 3, "difficulty": 2 + n % 2} for n in range(24)]
BAD = [{"clarity": 1 + n % 3, "difficulty": 7 + n % 2} for n in range(30)]


def test_the_fit_of_a_store_reads_its_own_iteration(tmp_path):
    said: list[str] = []
    store = scored_store(tmp_path / "store", GOOD, BAD, other=50, announce=said.append)
    rows = built(store, tmp_path, {"method": "contrast"})
    assert set(rows) == set(ALL)
    assert (the(rows, "num_teacher"), the(rows, "num_candidates"), the(rows, "method")) == (24, 30, "contrast")
    assert max(rows.values(), key=lambda r: r["weight"])["aspect"] == "clarity"
    assert rows["clarity"]["weight"] > 1 / 8 > rows["difficulty"]["weight"] == rows["difficulty"]["coefficient"]
    assert the(rows, "fit_auc") == the(rows, "cv_auc") == the(rows, "cv_auc_high") == 1.0
    assert (the(rows, "cv_method"), the(rows, "cv_auc_low") > 0.8) == ("newcombe", True)
    (words,) = [w for w in said if w.startswith("weights of iteration 1: fitted, AUC 1.000 [")]
    assert f"Heaviest: clarity {rows['clarity']['weight']:.2f}, " in words


def noise(num: int, seed: int) -> list[dict[str, int]]:
    rng = np.random.default_rng(seed)
    return [{a: int(rng.integers(3, 8)) for a in ALL} for _ in range(num)]


def test_where_the_fit_is_no_better_than_chance_weights_are_equal_and_that_is_said(tmp_path):
    said: list[str] = []
    store = scored_store(tmp_path / "store", noise(24, 0), noise(60, 1), announce=said.append)
    rows = built(store, tmp_path, {"method": "contrast"})
    assert (the(rows, "method"), the(rows, "weight")) == ("equal", 1 / 8)
    assert len({r["coefficient"] for r in rows.values()}) == 8, "what the fit would have been is kept"
    assert the(rows, "cv_auc_low") < 0.5 < the(rows, "fit_auc")
    (words,) = [w for w in said if "all aspects weigh the same" in w]
    assert "weights of iteration 1" in words and f"AUC {the(rows, 'cv_auc'):.3f} [" in words


def test_with_too_few_snippets_weights_are_equal_and_the_row_has_the_reason(tmp_path):
    said: list[str] = []
    store = scored_store(tmp_path / "store", GOOD[:1], BAD, announce=said.append)
    rows = built(store, tmp_path, {"method": "contrast"})
    assert (the(rows, "method"), the(rows, "weight"), the(rows, "cv_auc")) == ("equal", 1 / 8, None)
    assert the(rows, "cv_method") == "none: one side has fewer than two snippets"
    assert any("one side has fewer than two snippets" in words for words in said)


def test_contaminated_teacher_samples_stay_out_of_the_fit(tmp_path):
    store = scored_store(tmp_path / "store", GOOD, BAD)
    hits = [{"item_id": f"t{n}", "item_kind": "teacher", "benchmark": "b", "strength": n / 10} for n in range(10)]
    put(store, "contamination", hits, item_kind="teacher", benchmark="b")
    benchmarks = [{"name": "b", "path": "b.jsonl"}]
    for least, left in ((0.5, 19), (0.8, 22)):
        chosen = {"benchmarks": benchmarks, "decontamination": {"min_strength": least}}
        rows = built(Store(store.root, force=True), tmp_path, {"method": "contrast"}, **chosen)
        assert the(rows, "num_teacher") == left


def test_aspects_that_say_little_are_named_before_the_fit(tmp_path):
    said: list[str] = []
    store = scored_store(tmp_path / "store", GOOD, BAD, announce=said.append)
    auc_rows = [
        {"name": "scorer_auc", "iteration": -1, "subject": subject, "method": "delong", "num_items": 40}
        | {"value": value, "low": low, "high": high}
        for subject, value, low, high in (("clarity", 0.57, 0.43, 0.7), ("consistency", 0.5, 0.4, 0.6))
    ]
    plan = Plan(table="metrics", partition={"name": "scorer_auc"}, num_shards=1)
    store.materialize(plan, lambda index: table("metrics", auc_rows))
    said.clear()
    built(store, tmp_path, {"method": "contrast"})
    weak = [words for words in said if "say little" in words]
    assert weak[0] == (
        "digits that say little, AUC no better than chance (AUC on held-out pairs): "
        "clarity 0.570 [0.430, 0.700] of 40 items, consistency 0.500 [0.400, 0.600] of 40 items"
    )
    assert weak[1].startswith("digits that say little, its digits do not vary (share of the digit 5): ")
    assert "relevance 1.000 of 54 items" in weak[1] and len(weak) == 2
    assert not [words for words in weak if "difficulty" in words]


def test_an_item_without_all_aspects_is_left_out_of_the_fit(tmp_path):
    store = scored_store(tmp_path / "store", [{"clarity": 8}], [{"clarity": 1}])
    put(store, "candidates", [{"candidate_id": "half", "iteration": 3}], iteration=3)
    put(store, "aspect_scores", scores("half", "candidate", 9)[:-1], item_kind="candidate", iteration=3)
    with pytest.raises(ValueError, match=r"there are 1 teacher samples and 0 candidates; set scoring\.method: fixed"):
        aspect_weights.build(store, recipe(tmp_path), 3)


@pytest.mark.parametrize("teacher, candidates", [([], [{}]), ([{}], [])])
def test_one_side_missing_is_an_error_with_both_counts(tmp_path, teacher, candidates):
    store = scored_store(tmp_path / "store", teacher, candidates)
    counts = f"there are {len(teacher)} teacher samples and {len(candidates)} candidates"
    with pytest.raises(ValueError, match=counts):
        aspect_weights.build(store, recipe(tmp_path), 1)


def test_fixed_weights_are_normalised(tmp_path):
    weights = {"clarity": 3.0, "lint": 1.0}
    store = scored_store(tmp_path / "store", [{}], [{}])
    rows = built(store, tmp_path, {"method": "fixed", "weights": weights})
    assert {a: r["weight"] for a, r in rows.items() if r["weight"]} == {"clarity": 0.75, "lint": 0.25}
    assert {(r["coefficient"], r["fit_auc"], r["method"]) for r in rows.values()} == {(None, None, "fixed")}
    assert (the(rows, "num_teacher"), the(rows, "num_candidates"), the(rows, "cv_method")) == (1, 1, None)


def test_fixed_weights_read_no_digits(tmp_path):
    """Half of the items lack an aspect. A matrix would not have them, their number has."""
    store = scored_store(tmp_path / "store", [{}, {}], [{}])
    half = [row for n in range(4) for row in scores(f"c{n}", "candidate", 5)[: 8 - n % 2]]
    put(Store(store.root, force=True), "aspect_scores", half, item_kind="candidate", iteration=1)
    rows = built(store, tmp_path, {"method": "fixed"})
    assert (the(rows, "num_teacher"), the(rows, "num_candidates")) == (2, 4)
    record = store.record("aspect_weights", iteration=1, weights="default")
    assert list(record.plan.texts) == ["queries/scored_items_count.sql"]


def test_fixed_weights_need_no_teacher_and_are_equal_by_default(tmp_path):
    rows = built(scored_store(tmp_path / "store", [], [{}]), tmp_path, {"method": "fixed"})
    assert {r["weight"] for r in rows.values()} == {1 / len(aspect_weights.ALL)}
