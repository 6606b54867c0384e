"""metrics: every number has its interval, and iterations are compared snippet by snippet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builders import metrics
from builders.pairs.corruptions import Labelled
from builders.recipe import Benchmark, Scoring
from builders.statistics.intervals import wilson
from store import ASPECTS, CODE_ASPECTS, Store
from tests.rows import Row, put
from tests.tiny_recipes import read


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def candidates(store: Store, iteration: int, parsed: dict[str, str]) -> None:
    """Candidates of snippets: `{"s1": "+-"}` is one that parses and one that does not."""
    rows = [
        {"candidate_id": f"{iteration}{s}{n}", "iteration": iteration, "snippet_id": s}
        | {"parse_status": "ok" if sign == "+" else "no_problem"}
        for s, signs in parsed.items()
        for n, sign in enumerate(signs)
    ]
    put(store, "candidates", rows, iteration=iteration)


def measured(store: Store, name: str, iteration: int) -> dict[str, Row]:
    return {row["name"]: row for row in read(store, "metrics", name=name, iteration=iteration)}


def test_a_parse_rate_has_an_interval_over_snippets(store: Store) -> None:
    candidates(store, 0, {f"s{n}": "+" if n < 6 else "-" for n in range(20)})
    candidates(store, 1, {f"s{n}": "++++" if n % 2 else "----" for n in range(20)})
    metrics.build_parse_rate(store, 0, "base")
    metrics.build_parse_rate(store, 1, "G0")
    base, g0 = (measured(store, "parse_rate", t)["parse_rate"] for t in (0, 1))
    assert (base["value"], base["num_items"], base["method"]) == (0.3, 20, "wilson")
    assert (base["low"], base["high"]) == wilson(0.3, 20)
    assert (g0["value"], g0["num_items"], g0["method"], g0["losses"]) == (0.5, 80, "bootstrap", None)
    assert g0["high"] - g0["low"] > 0.4, "80 candidates of 20 snippets tell no more than 20"


def test_iterations_are_compared_snippet_by_snippet(store: Store) -> None:
    """Each snippet parses once more than before. Only pairs of snippets show that so clearly."""
    candidates(store, 1, {f"s{n}": "+" * (n % 4) + "-" * (4 - n % 4) for n in range(24)})
    candidates(store, 2, {f"s{n}": "+" * (n % 4 + 1) + "-" * (3 - n % 4) for n in range(24)})
    candidates(store, 3, {f"t{n}": "+" * (n % 4 + 1) + "-" * (3 - n % 4) for n in range(24)})
    metrics.build_parse_rate(store, 2, "G1", before=1)
    change = measured(store, "parse_rate", 2)["parse_rate_change"]
    assert (change["value"], change["low"], change["high"]) == pytest.approx((0.25, 0.25, 0.25))
    metrics.build_parse_rate(store, 3, "G2", before=2)
    other = measured(store, "parse_rate", 3)["parse_rate_change"]
    assert (other["value"], other["subject"]) == (0.0, "G2")
    assert other["low"] < -0.1 and other["high"] > 0.1, "other snippets: the two are independent"


def test_a_mean_score_is_a_mean_over_candidates_and_its_interval_over_snippets(store: Store) -> None:
    for t, level in ((1, 5), (2, 7)):
        rows = [
            {"candidate_id": f"{t}{n}{k}", "snippet_id": f"s{t}{n}", "iteration": t}
            | dict.fromkeys((*ASPECTS, *CODE_ASPECTS), level + n % 3)
            for n in range(30)
            for k in range(n % 2 + 1)
        ]
        put(store, "scored", rows, iteration=t)
    metrics.build_mean_score(store, Scoring(), 1, "G0")
    metrics.build_mean_score(store, Scoring(), 2, "G1", before=1)
    found = measured(store, "mean_score", 2)
    assert found["mean_score"]["value"] == pytest.approx(8.0) and found["mean_score"]["num_items"] == 45
    assert 0.4 < found["mean_score"]["high"] - found["mean_score"]["low"] < 0.8
    change = found["mean_score_change"]
    assert (
        change["value"] == pytest.approx(2.0)
        and 1.4 < change["low"] < 1.8
        and change["method"] == "bootstrap, equal weights"
    )
    assert list(measured(store, "mean_score", 1)) == ["mean_score"]


def test_what_has_no_items_has_no_number(store: Store) -> None:
    put(store, "candidates", [], iteration=1)
    put(store, "scored", [], iteration=1)
    metrics.build_parse_rate(store, 1, "G0")
    metrics.build_mean_score(store, Scoring(), 1, "G0")
    for name, weights in (("parse_rate", ""), ("mean_score", ", equal weights")):
        found = measured(store, name, 1)[name]
        assert (found["value"], found["low"], found["num_items"]) == (None, None, 0)
        assert found["method"] == f"none: no items{weights}"


def test_mean_scores_of_iterations_are_on_one_scale(store: Store) -> None:
    """The same digits in both iterations. The fitted weights, and so the scores, are others."""
    digits = dict.fromkeys((*ASPECTS, *CODE_ASPECTS), 4) | {"lint": 8}
    for t, score in ((1, 8.0), (2, 4.0)):
        rows = [{"candidate_id": f"{t}{n}", "snippet_id": f"s{n}", "iteration": t, "score": score} for n in range(9)]
        put(store, "scored", [row | digits for row in rows], iteration=t)
    metrics.build_mean_score(store, Scoring(), 2, "G1", before=1)
    found = measured(store, "mean_score", 2)
    assert (found["mean_score"]["value"], found["mean_score_change"]["value"]) == (4.5, 0.0)
    fixed = Scoring(method="fixed", weights={"lint": 3.0, "clarity": 1.0})
    metrics.build_mean_score(Store(store.root, force=True), fixed, 2, "G1", before=1)
    found = measured(store, "mean_score", 2)
    assert (found["mean_score"]["value"], found["mean_score_change"]["value"]) == (7.0, 0.0)
    assert found["mean_score"]["method"].endswith(", fixed weights")


def test_an_overlap_is_a_share_of_the_snippets_of_both_selections(store: Store) -> None:
    for t, names in ((1, "abc"), (2, "bcd")):
        rows = [{"iteration": t, "selection": "default", "candidate_id": f"{t}{s}", "snippet_id": s} for s in names]
        put(store, "selected", rows, iteration=t, selection="default")
    metrics.build_selection_overlap(store, 2, "default")
    found = measured(store, "selection_overlap", 2)["selection_overlap"]
    assert (found["value"], found["num_items"], found["method"]) == (0.5, 4, "wilson")
    assert (found["low"], found["high"]) == wilson(0.5, 4)


def labelled(code: str, digit: int, of: str = "clarity") -> Labelled:
    return Labelled(code, "p", "s", "", {a: digit if a == of else 7 for a in ASPECTS})


def certain(digit: int) -> list[list[float]]:
    """The probabilities of a scorer that is sure of one digit in every aspect."""
    return [[float(d == digit) for d in range(10)] for _ in ASPECTS]


def test_an_aspect_with_one_kind_of_label_has_a_row_that_says_so() -> None:
    pairs = [(labelled(f"code {n // 2}", 9 * (n % 2)), certain(4 + n % 2 - n // 8)) for n in range(12)]
    rows = {row["subject"]: row for row in metrics.auc_rows(pairs)}
    assert set(rows) == set(ASPECTS)
    assert (rows["relevance"]["value"], rows["relevance"]["method"]) == (None, "none: one class")
    assert rows["clarity"]["value"] > 0.5 and rows["clarity"]["low"] < rows["clarity"]["value"]
    assert rows["clarity"]["num_items"] == 12


def test_a_pair_and_its_corrupted_copies_count_as_one_item_of_the_scorer() -> None:
    """Four copies of each pair tell no more than the pair."""
    pairs = [(labelled(f"code {n}", 9 * (n % 2)), certain((n * 7) % 5 + n % 2)) for n in range(20)]
    once, copied = (
        next(row for row in metrics.auc_rows(given) if row["subject"] == "clarity") for given in (pairs, pairs * 4)
    )
    assert (once["num_items"], copied["num_items"]) == (20, 80)
    assert (copied["low"], copied["high"]) == pytest.approx((once["low"], once["high"]))


def graded(store: Store, answers: list[tuple[str, str, str, Any]]) -> list[Row]:
    """pass@k of (form, task, status, is_base_passed)."""
    put(
        store,
        "evaluations",
        [
            {"checkpoint_id": "k", "benchmark": "b", "form": form, "task_id": task, "sample_index": n}
            | {"status": status, "is_passed": status == "passed", "is_base_passed": base}
            for n, (form, task, status, base) in enumerate(answers)
        ],
        checkpoint="k",
        benchmark="b",
    )
    metrics.build_pass_at_1(store, {"checkpoint_id": "k"}, "coder", Benchmark(name="b", path="b.jsonl"))
    return read(store, "metrics", name="pass_at_1-coder-b")


def test_every_form_has_its_own_pass_at_1_over_what_was_graded(store: Store) -> None:
    chat = {"t1": "passed", "t2": "unanswered", "t3": "failed"}
    completion = {"t1": "failed", "t2": "ungradable"}
    asked = [("chat", *answer, None) for answer in chat.items()]
    found = graded(store, [*asked, *(("completion", *answer, None) for answer in completion.items())])
    assert [(r["name"], r["subject"], r["value"], r["num_items"]) for r in found] == [
        ("pass_at_1", "coder on b, chat", 0.5, 2),
        ("pass_at_1", "coder on b, completion", 0.0, 1),
    ]
    assert (found[0]["low"], found[0]["high"]) == wilson(0.5, 2)


def test_several_samples_have_pass_at_every_k_and_the_original_tests_their_own(store: Store) -> None:
    answers: list[tuple[str, str, str, Any]] = [("chat", "t1", "passed", True), ("chat", "t1", "failed", True)]
    answers += [("chat", "t2", "failed", False), ("chat", "t2", "error", None)]
    found = graded(store, answers)
    original = "coder on b, chat, original tests"
    assert {(r["name"], r["subject"]): (r["value"], r["num_items"]) for r in found} == {
        ("pass_at_1", "coder on b, chat"): (0.25, 2),
        ("pass_at_1", original): (0.5, 2),
    }, "t2 has one graded answer, so that no pass@2 is the benchmark's"
    found = graded(Store(store.root, force=True), [*answers, ("chat", "t2", "failed", True)])
    assert {(r["name"], r["subject"]): (r["value"], r["num_items"]) for r in found} == {
        ("pass_at_1", "coder on b, chat"): (0.25, 2),
        ("pass_at_2", "coder on b, chat"): (0.5, 2),
        ("pass_at_1", original): (0.75, 2),
        ("pass_at_2", original): (1.0, 2),
    }


def test_where_nothing_was_graded_there_is_no_number(store: Store) -> None:
    (found,) = graded(store, [("chat", "t1", "unanswered", None), ("chat", "t2", "ungradable", None)])
    assert (found["value"], found["method"], found["num_items"]) == (None, "none: no items", 0)
