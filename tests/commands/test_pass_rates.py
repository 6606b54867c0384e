"""What `scoder status` says of evaluations: no gain across forms, and no score of what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.statistics.comparison import mcnemar
from commands.pass_rates import readable, report
from store import Store
from store.ledger import Ledger
from tests.rows import put
from tests.smoke_run import scoder_here


def answers(store: Store, checkpoint: str, **tasks: str) -> None:
    """Answers of a model: `chat="+-u"` is a passed, a failed and an unanswered task in a chat."""
    status = {"+": "passed", "-": "failed", "u": "unanswered", "x": "ungradable", "t": "timeout"}
    rows = [
        {"checkpoint_id": checkpoint, "benchmark": "b", "form": form, "task_id": f"t{n:02}", "status": status[sign]}
        | {"is_passed": sign == "+", "finish_reason": "length" if sign == "t" else "stop"}
        for form, signs in tasks.items()
        for n, sign in enumerate(signs)
    ]
    put(store, "evaluations", rows, checkpoint=checkpoint, benchmark="b")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A coder and its base; the base was also asked in a form that the coder was not."""
    found = Store(tmp_path)
    for name in ("coder-base", "coder"):
        put(found, "checkpoints", [{"checkpoint_id": name, "role": name}], role=name)
    answers(found, "coder-base", chat="+---------u-", completion="++++++++++++")
    answers(found, "coder", chat="+++++++-t-+x")
    return found


def test_the_coder_is_compared_with_its_base_in_the_same_form_only(store: Store) -> None:
    (gain,) = report(Ledger(store.root))["gains"]
    assert (gain["benchmark"], gain["form"], gain["num_tasks"]) == ("b", "chat", 10)
    assert (gain["base"], gain["coder"], gain["difference"]) == pytest.approx((0.1, 0.7, 0.6))
    assert (gain["p"], gain["verdict"]) == (mcnemar(0, 6), "higher")
    assert 0 < gain["difference_low"] < 0.6 < gain["difference_high"]


def test_a_difference_within_its_interval_is_called_noise(store: Store) -> None:
    answers(Store(store.root, force=True), "coder", chat="++++--------")
    (gain,) = report(Ledger(store.root))["gains"]
    assert (gain["p"], gain["verdict"]) == (0.25, "within noise")


def test_without_a_common_form_no_gain_is_said(store: Store) -> None:
    answers(Store(store.root, force=True), "coder", other="++++++++++++")
    found = report(Ledger(store.root))
    assert found["gains"] == [] and len(found["evaluations"]) == 3


def test_what_was_not_graded_is_counted_and_does_not_lower_a_number(store: Store) -> None:
    shown = {(r["model"], r["form"]): r for r in report(Ledger(store.root))["evaluations"]}
    assert list(shown) == [("coder-base", "chat"), ("coder", "chat"), ("coder-base", "completion")]
    coder = shown["coder", "chat"]
    assert (coder["num_tasks"], coder["num_graded_tasks"], coder["pass_at_1"]) == (12, 11, pytest.approx(8 / 11))
    assert (coder["num_ungradable"], coder["num_timeouts"], coder["num_truncated"]) == (1, 1, 1)
    assert shown["coder-base", "chat"]["num_unanswered"] == 1
    (first, second, _) = readable(report(Ledger(store.root)))["evaluations"]
    assert (first["tasks"], first["pass@1"]) == ("11 of 12", "0.091 [0.016, 0.377]")
    assert (second["ungradable"], second["unanswered"]) == (1, None)


@pytest.mark.parametrize(("num_of_second", "k"), [(1, None), (2, 2)])
def test_pass_at_k_is_shown_where_all_tasks_have_so_many_answers(store: Store, num_of_second: int, k: int) -> None:
    rows = [
        {"checkpoint_id": "coder", "benchmark": "b", "form": "chat", "task_id": task, "sample_index": number}
        | {"status": "passed", "is_passed": True}
        for task, count in (("t1", 2), ("t2", num_of_second))
        for number in range(count)
    ]
    put(Store(store.root, force=True), "evaluations", rows, checkpoint="coder", benchmark="b")
    (shown,) = [one for one in report(Ledger(store.root))["evaluations"] if one["model"] == "coder"]
    assert (shown["k"], shown["pass_at_1"], shown["pass_at_k"]) == (k, 1.0, k and 1.0)


def resembles(store: Store, *hits: tuple[str, float], benchmark: str = "b") -> None:
    """Instructions c0, c1 … that resemble tasks."""
    named = [(f"c{n}", *hit) for n, hit in enumerate(hits)]
    put(store, "candidates", [{"candidate_id": c, "iteration": 3} for c, *_ in named], iteration=3)
    put(store, "instructions", [{"candidate_id": c} for c, _, s in named if s < 0.5])
    rows = [
        {"item_id": c, "item_kind": "candidate", "benchmark": benchmark, "task_id": t, "strength": s, "detector": "d"}
        for c, t, s in named
    ]
    put(store, "contamination", rows, item_kind="candidate", iteration=3, benchmark=benchmark)


def test_tasks_that_the_instructions_resemble_are_told_from_the_others(store: Store) -> None:
    """The hit of 0.9 kept its candidate out of the instructions, so its task is clean."""
    resembles(store, ("t00", 0.3), ("t01", 0.45), ("t08", 0.2), ("t02", 0.9), ("t99", 0.3))
    found = {(r["model"], r["form"]): r for r in report(Ledger(store.root))["touched_tasks"]}
    coder = found["coder", "chat"]
    assert (coder["num_touched_tasks"], coder["touched"]) == (3, pytest.approx(2 / 3))
    assert (coder["num_clean_tasks"], coder["clean"]) == (8, pytest.approx(6 / 8))
    assert coder["difference"] == pytest.approx(2 / 3 - 6 / 8) and coder["verdict"] == "within noise"
    assert found["coder-base", "completion"]["num_touched_tasks"] == 3


def test_a_benchmark_that_nobody_looked_for_is_not_called_clean(store: Store) -> None:
    assert report(Ledger(store.root))["touched_tasks"] == []
    resembles(store, ("t00", 0.3), benchmark="other")
    assert report(Ledger(store.root))["touched_tasks"] == []


def test_status_prints_all_of_it(store: Store) -> None:
    resembles(store, ("t00", 0.3))
    text = scoder_here("status", "--store", store.root).stdout
    assert "coder-base to coder, in the same form" in text and "instructions resemble" in text
    assert "higher" in text and "11 of" in text


def test_a_store_without_evaluations_says_nothing_of_them(tmp_path: Path) -> None:
    put(Store(tmp_path), "pool", [])
    assert report(Ledger(tmp_path)) == {}
    put(Store(tmp_path), "evaluations", [], checkpoint="k", benchmark="b")
    assert report(Ledger(tmp_path)) == {}
