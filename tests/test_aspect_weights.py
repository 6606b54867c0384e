"""aspect_weights: the fits do the mathematics that the docstrings promise; weights sum to 1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from builders import aspect_weights
from builders.aspect_weights import ALL, auc, contrast, normalised
from store import Store
from tests.rows import put
from tests.tiny_recipes import read, recipe

# Shape suffixes: N items, Z aspects.


def sample(num_teacher: int, num_candidates: int, gaps: list[float], seed: int = 0):
    """Scores in 0..1 where teacher samples lie `gaps` above candidates, aspect by aspect."""
    rng = np.random.default_rng(seed)
    is_teacher_N = np.array([1.0] * num_teacher + [0.0] * num_candidates)
    noise_NZ = rng.normal(0.5, 0.1, (len(is_teacher_N), len(gaps)))
    return noise_NZ + is_teacher_N[:, None] * np.array(gaps), is_teacher_N


def plain_loss(parameters, scores_NZ, is_teacher_N, l2):
    """The regression written down once more, without a gradient and without tricks."""
    weights_Z, bias = parameters[:-1], parameters[-1]
    p_N = 1 / (1 + np.exp(-(scores_NZ @ weights_Z + bias)))
    sides = [-np.log(p_N[is_teacher_N == 1]).mean(), -np.log(1 - p_N[is_teacher_N == 0]).mean()]
    return 0.5 * sum(sides) + l2 / (2 * len(is_teacher_N)) * (weights_Z**2).sum()


def test_an_informative_aspect_gets_the_weight_and_a_reversed_one_none():
    weight_Z = normalised(contrast(*sample(200, 300, [0.3, 0.0, -0.3]), l2=1.0))
    assert weight_Z[0] > 0.9 and weight_Z[2] == 0.0
    assert weight_Z.sum() == pytest.approx(1.0)


def test_a_larger_gap_gets_a_larger_weight():
    weight_Z = normalised(contrast(*sample(500, 500, [0.05, 0.1, 0.2]), l2=1.0))
    assert 0 < weight_Z[0] < weight_Z[1] < weight_Z[2]


def test_the_fit_is_the_minimum_of_the_loss_written_down_again():
    scores_NZ, is_teacher_N = sample(40, 90, [0.1, 0.05, -0.1])
    fitted_Z = contrast(scores_NZ, is_teacher_N, l2=2.0)
    bounds = [(0.0, None)] * 3 + [(None, None)]
    other = minimize(plain_loss, np.zeros(4), (scores_NZ, is_teacher_N, 2.0), "L-BFGS-B", bounds=bounds, tol=1e-12)
    assert fitted_Z == pytest.approx(other.x[:3], abs=1e-3)


def test_the_gradient_is_that_of_finite_differences(monkeypatch):
    """The loss and gradient that the optimiser is given, caught on their way to it."""
    given_to = {}

    def caught(loss, start, **options):
        given_to["loss"] = loss
        return minimize(loss, start, **options)

    monkeypatch.setattr("scipy.optimize.minimize", caught)
    scores_NZ, is_teacher_N = sample(5, 9, [0.2, -0.1])
    contrast(scores_NZ, is_teacher_N, l2=3.0)
    for point in ([0.0, 0.0, 0.0], [1.5, 0.2, -0.7], [-2.0, 3.0, 0.4]):
        at = np.array(point)
        value, gradient = given_to["loss"](at)
        steps = np.eye(3) * 1e-6
        numeric = [
            (plain_loss(at + s, scores_NZ, is_teacher_N, 3.0) - plain_loss(at - s, scores_NZ, is_teacher_N, 3.0)) / 2e-6
            for s in steps
        ]
        assert value == pytest.approx(plain_loss(at, scores_NZ, is_teacher_N, 3.0))
        assert gradient == pytest.approx(numeric, abs=1e-7)


def test_the_sides_are_balanced():
    scores_NZ, is_teacher_N = sample(30, 60, [0.2, 0.1])
    many = np.concatenate([scores_NZ, np.tile(scores_NZ[30:], (9, 1))])
    more = np.concatenate([is_teacher_N, np.zeros(9 * 60)])
    # without a penalty, ten times the same candidates are the same problem
    assert contrast(many, more, l2=0.0) == pytest.approx(contrast(scores_NZ, is_teacher_N, l2=0.0), rel=1e-2)


def test_the_penalty_shrinks_the_coefficients():
    norms = [np.linalg.norm(contrast(*sample(50, 50, [0.1, 0.05]), l2=l2)) for l2 in (0.1, 10.0, 1000.0)]
    assert norms[0] > norms[1] > norms[2] > 0


def test_constant_scores_give_equal_weights():
    scores_NZ, is_teacher_N = np.full((10, 4), 0.5), np.array([1.0] * 5 + [0.0] * 5)
    assert normalised(contrast(scores_NZ, is_teacher_N, 1.0)) == pytest.approx([0.25] * 4)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30),
    st.floats(0.01, 10),
)
def test_any_weighting_is_non_negative_and_sums_to_one(rows, l2):
    is_teacher_N = np.array([float(r[0]) for r in rows])
    scores_NZ = np.array([r[1:] for r in rows]) / 9.0
    if len(set(is_teacher_N)) < 2:
        with pytest.raises(ValueError, match="compares teacher samples with candidates"):
            contrast(scores_NZ, is_teacher_N, l2)
        return
    weight_Z = normalised(contrast(scores_NZ, is_teacher_N, l2))
    assert (weight_Z >= 0).all() and weight_Z.sum() == pytest.approx(1.0)


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


def scored_store(path, teacher: list[dict[str, int]], candidates: list[dict[str, int]], other: int = 0) -> Store:
    """A store with these digits (5 for the rest), and `other` candidates of another iteration."""
    store = Store(path)
    rows = [{"candidate_id": f"c{n}", "iteration": 1} for n in range(len(candidates))]
    put(store, "candidates", rows, iteration=1)
    put(store, "candidates", [{"candidate_id": f"o{n}", "iteration": 2} for n in range(other)], iteration=2)
    asked = [row for n, d in enumerate(teacher) for row in scores(f"t{n}", "teacher", 5, **d)]
    put(store, "aspect_scores", asked, item_kind="teacher")
    made = [row for n, d in enumerate(candidates) for row in scores(f"c{n}", "candidate", 5, **d)]
    put(store, "aspect_scores", made, item_kind="candidate", iteration=1)
    later = [row for n in range(other) for row in scores(f"o{n}", "candidate", 0)]
    put(store, "aspect_scores", later, item_kind="candidate", iteration=2)
    return store


def built(store: Store, tmp_path, scoring: dict) -> dict[str, dict]:
    aspect_weights.build(store, recipe(tmp_path, scoring=scoring).scoring, 1)
    return {r["aspect"]: r for r in read(store, "aspect_weights", iteration=1, weights="default")}


def test_the_fit_of_a_store_reads_its_own_iteration(tmp_path):
    teacher = [{"clarity": 8, "difficulty": 2}, {"clarity": 9, "difficulty": 3}, {"clarity": 7, "difficulty": 2}]
    candidates = [{"clarity": 2, "difficulty": 8}, {"clarity": 1, "difficulty": 7}]
    rows = built(scored_store(tmp_path / "store", teacher, candidates, other=50), tmp_path, {"method": "contrast"})
    assert set(rows) == set(ALL)
    assert rows["clarity"]["weight"] == pytest.approx(1.0) and rows["difficulty"]["coefficient"] == 0.0
    assert {(r["num_teacher"], r["num_candidates"], r["fit_auc"], r["method"]) for r in rows.values()} == {
        (3, 2, 1.0, "contrast")
    }


def test_an_item_without_all_aspects_is_left_out_of_the_fit(tmp_path):
    store = scored_store(tmp_path / "store", [{"clarity": 8}], [{"clarity": 1}])
    put(store, "candidates", [{"candidate_id": "half", "iteration": 3}], iteration=3)
    put(store, "aspect_scores", scores("half", "candidate", 9)[:-1], item_kind="candidate", iteration=3)
    with pytest.raises(ValueError, match=r"there are 1 teacher samples and 0 candidates; set scoring\.method: fixed"):
        aspect_weights.build(store, recipe(tmp_path).scoring, 3)


@pytest.mark.parametrize("teacher, candidates", [([], [{}]), ([{}], [])])
def test_one_side_missing_is_an_error_with_both_counts(tmp_path, teacher, candidates):
    store = scored_store(tmp_path / "store", teacher, candidates)
    counts = f"there are {len(teacher)} teacher samples and {len(candidates)} candidates"
    with pytest.raises(ValueError, match=counts):
        aspect_weights.build(store, recipe(tmp_path).scoring, 1)


def test_fixed_weights_are_normalised(tmp_path):
    weights = {"clarity": 3.0, "lint": 1.0}
    store = scored_store(tmp_path / "store", [{}], [{}])
    rows = built(store, tmp_path, {"method": "fixed", "weights": weights})
    assert {a: r["weight"] for a, r in rows.items() if r["weight"]} == {"clarity": 0.75, "lint": 0.25}
    assert {(r["coefficient"], r["fit_auc"], r["method"]) for r in rows.values()} == {(None, None, "fixed")}


def test_fixed_weights_need_no_teacher_and_are_equal_by_default(tmp_path):
    rows = built(scored_store(tmp_path / "store", [], [{}]), tmp_path, {"method": "fixed"})
    assert {r["weight"] for r in rows.values()} == {1 / len(aspect_weights.ALL)}
