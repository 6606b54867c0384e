"""Do intervals hold the true value in 95 of 100 measurements, and are equal models called equal?

    python benchmarks/harness/intervals.py [--repeats 400] [--seed 0]

Made data of the sizes of real evaluations: 164 and 378 tasks with 1 and 10 answers each, 60 items
of a scorer, 40 items of a split, candidates of 30 snippets. Tasks have a rate of their own from a
beta distribution whose correlation within a task is 0.5. Prints

- coverage: the share of repeats whose interval holds the true value, and the mean width, for the
  interval that SCoder takes (`ours`) and for one that it does not take there,
- equal: the share of repeats in which two equal models are called equal, and different models, too.

The error of a share of 0.95 over 400 repeats is 0.011.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from builders.statistics import areas, comparison, intervals
from builders.statistics.intervals import Estimate

CORRELATION = 0.5
Made = Callable[[np.random.Generator], tuple[float, dict[str, Estimate]]]


def rates(rng: np.random.Generator, rate: float, num_tasks: int) -> np.ndarray:
    """The rate of each task."""
    sharpness = 1 / CORRELATION - 1
    return rng.beta(rate * sharpness, (1 - rate) * sharpness, num_tasks)


# -- coverage --------------------------------------------------------------------------------------


def of_tasks(num_tasks: int, rate: float, num_answers: int) -> Made:
    """pass@1. The other interval is Wilson's where ours is a bootstrap over tasks, and vice versa.

    Wilson's then takes each task as one item, whatever its number of answers.
    """

    def make(rng: np.random.Generator) -> tuple[float, dict[str, Estimate]]:
        passed_T = rng.binomial(num_answers, rates(rng, rate, num_tasks)) / num_answers
        ours = intervals.share(passed_T, np.ones(num_tasks))
        if ours.method == "bootstrap":
            low, high = intervals.wilson(passed_T.mean(), num_tasks)
            return rate, {"ours": ours, "wilson": replace(ours, low=low, high=high, method="wilson")}
        return rate, {"ours": ours, "bootstrap": intervals.mean(passed_T)}

    return make


def of_losses(num_items: int) -> Made:
    """A mean of skewed losses. The other interval is the mean plus and minus 1.96 errors."""

    def make(rng: np.random.Generator) -> tuple[float, dict[str, Estimate]]:
        losses = rng.lognormal(-0.5, 0.6, num_items)
        ours = intervals.mean(losses)
        reach = intervals.Z * losses.std(ddof=1) / num_items**0.5
        normal = replace(ours, low=losses.mean() - reach, high=losses.mean() + reach, method="normal")
        return float(np.exp(-0.5 + 0.18)), {"ours": ours, "normal": normal}

    return make


def of_candidates(num_snippets: int, rate: float) -> Made:
    """A parse rate with 8 candidates per snippet. The other interval takes all as independent."""

    def make(rng: np.random.Generator) -> tuple[float, dict[str, Estimate]]:
        parsed_S = rng.binomial(8, rates(rng, rate, num_snippets))
        ours = intervals.share(parsed_S, np.full(num_snippets, 8))
        low, high = intervals.wilson(parsed_S.mean() / 8, 8 * num_snippets)
        return rate, {"ours": ours, "wilson": replace(ours, low=low, high=high, method="wilson")}

    return make


def of_areas(num_items: int, value: float, copies: int) -> Made:
    """An AUC of half good and half bad items. With copies, items come in clusters of so many.

    Then the other interval takes all items as independent.
    """
    shift = NormalDist().inv_cdf(value) * 2**0.5

    def make(rng: np.random.Generator) -> tuple[float, dict[str, Estimate]]:
        cluster = np.arange(num_items) // copies
        alike = rng.normal(0, 1, num_items)[cluster] if copies > 1 else np.zeros(num_items)
        own = rng.normal(0, 1, num_items)
        level = (alike * 0.6**0.5 + own * 0.4**0.5) if copies > 1 else own
        is_good = rng.permutation(num_items) % 2 == 0
        score = level + shift * is_good
        ours = areas.area(score, is_good, cluster)
        return value, {"ours": ours} | ({"delong": areas.area(score, is_good)} if copies > 1 else {})

    return make


def coverage(make: Made, repeats: int, seed: int) -> Iterator[tuple[str, str, float, float]]:
    """(interval, methods, coverage, mean width) of each interval of some made data."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[bool, float, str]]] = {}
    for _ in range(repeats):
        true, estimates = make(rng)
        for name, e in estimates.items():
            if e.low is not None and e.high is not None:
                found.setdefault(name, []).append((e.low <= true <= e.high, e.high - e.low, e.method))
    for name, results in found.items():
        methods = ", ".join(sorted({method for *_, method in results}))
        yield name, methods, sum(r[0] for r in results) / repeats, sum(r[1] for r in results) / repeats


# -- equal models ----------------------------------------------------------------------------------


def called_equal(
    rng: np.random.Generator, num_tasks: int, rate: float, num_answers: int, gain: float, repeats: int
) -> float:
    """The share of repeats in which two models are called equal; the second is better by `gain`."""
    equal = 0
    for _ in range(repeats):
        before_T = rates(rng, rate, num_tasks)
        after_T = before_T + gain / (1 - rate) * (1 - before_T)
        passed = [rng.binomial(num_answers, r_T) / num_answers for r_T in (before_T, after_T)]
        equal += comparison.of_tasks(*passed).verdict == "within noise"
    return equal / repeats


def losses_called_equal(rng: np.random.Generator, num_items: int, gain: float, repeats: int) -> float:
    """The same for losses of two models on the same items."""
    equal = 0
    for _ in range(repeats):
        level = rng.lognormal(-0.5, 0.6, num_items)
        before, after = (level + rng.normal(0, 0.1, num_items) - less for less in (0, gain))
        each = np.ones(num_items)
        equal += comparison.of_clusters(before, each, after, each).verdict == "within noise"
    return equal / repeats


# -- the tables ------------------------------------------------------------------------------------


def print_coverage(repeats: int, seed: int) -> None:
    """The table of coverages."""
    cases: dict[str, Made] = {
        f"pass@1, {num} tasks, {answers} each, rate {rate}": of_tasks(num, rate, answers)
        for num in (164, 378)
        for answers in (1, 10)
        for rate in (0.02, 0.1, 0.5, 0.9)
    }
    cases |= {f"parse rate, 30 snippets, rate {rate}": of_candidates(30, rate) for rate in (0.6, 0.95)}
    cases |= {f"AUC {value}, 60 items": of_areas(60, value, 1) for value in (0.6, 0.8, 0.95)}
    cases |= {f"AUC {value}, 60 items, 3 alike": of_areas(60, value, 3) for value in (0.6, 0.8, 0.95)}
    cases |= {f"mean loss, {num} items": of_losses(num) for num in (10, 40, 200)}
    print(f"{'measured':44} {'interval':10} {'method':18} {'coverage':>8} {'width':>7}")
    for name, make in cases.items():
        for interval, method, share, width in coverage(make, repeats, seed):
            print(f"{name:44} {interval:10} {method:18} {share:8.3f} {width:7.3f}", flush=True)


def print_equal(repeats: int, seed: int) -> None:
    """The table of how often models are called equal."""
    rng = np.random.default_rng(seed)
    print(f"\n{'two models':44} {'called equal':>12} {'better by':>10} {'called equal':>12}")
    for num in (164, 378):
        for answers in (1, 10):
            for rate, gain in ((0.02, 0.05), (0.1, 0.1), (0.5, 0.1), (0.85, 0.05)):
                same, better = (called_equal(rng, num, rate, answers, g, repeats) for g in (0.0, gain))
                name = f"{num} tasks, {answers} each, rate {rate}"
                print(f"{name:44} {same:12.3f} {gain:10.2f} {better:12.3f}", flush=True)
    for num in (40, 200):
        same, better = (losses_called_equal(rng, num, g, repeats) for g in (0.0, 0.05))
        print(f"{f'losses of {num} items':44} {same:12.3f} {0.05:10.2f} {better:12.3f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    print_coverage(options.repeats, options.seed)
    print_equal(options.repeats, options.seed)
    print(f"\n{options.repeats} repeats, seed {options.seed}, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
