"""weighting: noise leaves weights equal, a real aspect is found, held-out items are held out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from builders.statistics.weighting import FOLDS, contrast, cross_validated, folds
from store.errors import InputError

# Shape suffixes: N items, Z aspects.
EQUAL = np.full(8, 1 / 8)


def digits(num_teacher: int, num_candidates: int, gap: float, seed: int, aspect: int = 3):
    """Digits of 8 aspects as scores, where the teacher's are higher in one by `gap` deviations."""
    rng = np.random.default_rng(seed)
    is_teacher_N = np.array([1.0] * num_teacher + [0.0] * num_candidates)
    raw_NZ = rng.normal(5, 1.5, (len(is_teacher_N), 8))
    raw_NZ[:num_teacher, aspect] += 1.5 * gap
    return np.clip(np.round(raw_NZ), 0, 9) / 9, is_teacher_N


def alone(is_teacher_N):
    """Every item in a cluster of its own."""
    return np.arange(len(is_teacher_N))


def is_taken(scores_NZ, is_teacher_N) -> bool:
    low = cross_validated(scores_NZ, is_teacher_N, alone(is_teacher_N), 1.0).low
    return low is not None and low > 0.5


def test_pure_noise_seldom_gives_other_than_equal_weights():
    taken = [is_taken(*digits(24, 210, 0.0, seed)) for seed in range(100)]
    assert sum(taken) <= 10


@pytest.mark.parametrize("num_teacher, num_candidates", [(24, 210), (200, 2000)])
def test_a_fit_on_noise_stays_near_equal_however_many_items_there_are(num_teacher, num_candidates):
    fits = [contrast(*digits(num_teacher, num_candidates, 0.0, seed), 1.0) for seed in range(10)]
    assert max(w.max() for w in fits) < 0.2 and min(w.min() for w in fits) > 0.06


def test_one_real_aspect_among_seven_of_noise_gets_the_most_weight():
    fits = [contrast(*digits(24, 210, 1.5, seed), 1.0) for seed in range(30)]
    assert sum(w.argmax() == 3 for w in fits) >= 29
    assert sum(is_taken(*digits(24, 210, 1.5, seed)) for seed in range(10)) >= 9


def test_the_more_items_the_more_the_data_decide():
    weights = [contrast(*digits(n, 5 * n, 1.5, 0), 1.0)[3] for n in (5, 50, 500, 5000)]
    assert weights == sorted(weights) and weights[0] < 0.3 and weights[-1] > 0.8


def test_only_the_smaller_side_makes_the_data_many():
    """Twenty times as many candidates say no more about 24 teacher samples."""
    few, many = (np.mean([contrast(*digits(24, n, 1.5, s), 1.0)[3] for s in range(3)]) for n in (210, 4200))
    assert many == pytest.approx(few, abs=0.05)


def test_a_good_aspect_is_found_where_all_others_are_reversed():
    """Under equal weights, the teacher's samples score below: the best slope is 0 there."""
    scores_NZ, is_teacher_N = digits(200, 300, 2.0, 0)
    reversed_NZ = scores_NZ - 0.1 * is_teacher_N[:, None] * (np.arange(8) != 3)
    weight_Z = contrast(reversed_NZ, is_teacher_N, 1.0)
    assert weight_Z.argmax() == 3 and weight_Z[3] > 0.5


def plain_loss(weight_Z, slope, bias, scores_NZ, is_teacher_N, l2):
    """What the docstring says, written down once more."""
    p_N = 1 / (1 + np.exp(-(slope * (scores_NZ @ weight_Z) + bias)))
    sides = -np.log(p_N[is_teacher_N == 1]).mean() - np.log(1 - p_N[is_teacher_N == 0]).mean()
    smaller = min(is_teacher_N.sum(), (1 - is_teacher_N).sum())
    return smaller * sides / 2 + l2 / 2 * ((len(weight_Z) * weight_Z - 1) ** 2).sum()


def test_the_fit_is_the_minimum_of_the_loss_written_down_again():
    scores_NZ, is_teacher_N = digits(40, 90, 1.0, 0)
    fitted_Z = contrast(scores_NZ, is_teacher_N, l2=2.0)

    def value(p):
        return plain_loss(p[:8], p[8], p[9], scores_NZ, is_teacher_N, 2.0)

    bounds = [(0.0, 1.0)] * 8 + [(0.0, 100.0), (None, None)]
    one = {"type": "eq", "fun": lambda p: p[:8].sum() - 1}
    other = minimize(value, [*EQUAL, 5.0, -2.0], method="SLSQP", bounds=bounds, constraints=one, tol=1e-12)
    assert fitted_Z == pytest.approx(other.x[:8], abs=2e-3)


def test_the_penalty_draws_the_weights_to_equal_ones():
    far = [np.linalg.norm(contrast(*digits(50, 50, 1.5, 0), l2) - EQUAL) for l2 in (0.1, 10.0, 1000.0)]
    assert far[0] > far[1] > far[2] and far[2] < 0.01


def test_constant_scores_give_equal_weights():
    scores_NZ, is_teacher_N = np.full((10, 8), 0.5), np.array([1.0] * 5 + [0.0] * 5)
    assert contrast(scores_NZ, is_teacher_N, 1.0) == pytest.approx(EQUAL)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30),
    st.floats(0.0, 10),
)
def test_any_weighting_is_non_negative_and_sums_to_one(rows, l2):
    is_teacher_N = np.array([float(r[0]) for r in rows])
    scores_NZ = np.array([r[1:] for r in rows]) / 9.0
    if len(set(is_teacher_N)) < 2:
        with pytest.raises(InputError, match="compares teacher samples with candidates"):
            contrast(scores_NZ, is_teacher_N, l2)
        return
    weight_Z = contrast(scores_NZ, is_teacher_N, l2)
    assert (weight_Z >= 0).all() and weight_Z.sum() == pytest.approx(1.0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=1, max_size=40))
def test_a_cluster_lies_in_one_fold_and_every_fold_has_both_sides(rows):
    is_teacher_N = np.array([float(t) for t, _ in rows])
    cluster_N = np.array([c + 100 * t for t, c in rows])
    fold_N, num_folds = folds(is_teacher_N, cluster_N)
    sides = [len(set(cluster_N[is_teacher_N == side])) for side in (0, 1)]
    assert num_folds == min(FOLDS, *sides)
    assert all(len(set(fold_N[cluster_N == c])) == 1 for c in cluster_N)
    for fold in range(num_folds):
        assert set(is_teacher_N[fold_N == fold]) == {0.0, 1.0}


def test_items_of_a_snippet_are_not_fitted_on_and_measured_at_once():
    """Twenty copies of one candidate are one candidate: they say no more about others."""
    scores_NZ, is_teacher_N = digits(24, 20, 0.0, 5)
    copied = np.concatenate([np.arange(24), np.repeat(np.arange(24, 44), 20)])
    one = cross_validated(scores_NZ[copied], is_teacher_N[copied], copied, 1.0)
    apart = cross_validated(scores_NZ[copied], is_teacher_N[copied], np.arange(len(copied)), 1.0)
    assert one.high - one.low > 1.2 * (apart.high - apart.low)


def test_with_one_snippet_on_a_side_there_is_no_number():
    scores_NZ, is_teacher_N = digits(3, 20, 2.0, 0)
    found = cross_validated(scores_NZ, is_teacher_N, np.where(is_teacher_N == 1, 99, np.arange(23)), 1.0)
    assert (found.value, found.low, found.method) == (None, None, "none: one side has fewer than two snippets")
    two = cross_validated(
        scores_NZ, is_teacher_N, np.where(is_teacher_N == 1, 90 + np.arange(23) % 2, np.arange(23)), 1.0
    )
    assert two.value is not None, "two snippets on a side make two folds"


def test_the_auc_is_that_of_items_that_were_not_fitted_on():
    """Without a penalty, noise is fitted: on the items of the fit itself the AUC is above 0.6."""
    found = [cross_validated(*made, alone(made[1]), 0.0).value for made in (digits(24, 60, 0.0, s) for s in range(8))]
    assert np.mean(found) < 0.56
