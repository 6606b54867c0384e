"""metrics: one row is one measured number of a run, with its interval.

In: tables and checkpoints of a store. Out: `metrics/name-N/[iteration-t]`. The names are
    heldout_nll         loss of G_t on the teacher's validation split, in nats per completion token
    parse_rate          share of an iteration's candidates that are a problem with a valid solution
    mean_score          mean score of an iteration's scored candidates, all iterations weighed alike
    selection_overlap   Jaccard overlap of the snippets that the selections of t and t-1 keep
    scorer_auc          per aspect, on held-out pairs: labels 5..9 against labels 0..4
    pass_at_1           mean over tasks of the share of graded samples that pass, per checkpoint,
                        benchmark and form; pass_at_2 and so on, as far as there are samples

The first three also have a row NAME_change: the difference to the iteration before. The intervals
are those of `builders/statistics`. What is drawn independently is a snippet with its candidates, a
task with its samples, a pair with its corrupted copies, or an item of the split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import queries
from builders import aspect_weights
from builders.engines import ChoiceRequest
from builders.engines.checkpoints import checkpoint_input, input_of, last_checkpoint, open_checkpoints, weights
from builders.executors import gpu_jobs
from builders.executors.devices import Keeper
from builders.executors.gpu_tasks import cluster_of
from builders.harness import statistics
from builders.pairs import labels
from builders.pairs.corruptions import Labelled
from builders.recipe import Benchmark, Executor, Recipe, Scoring
from builders.statistics import areas, comparison, intervals
from store import ASPECTS, CONTRACTS, Plan, Record, Store
from store.catalog import connect
from training.settings import DtypeName, SftSettings

if TYPE_CHECKING:
    from training.heldout import HeldoutReport

Row = dict[str, Any]
Measured = intervals.Estimate | comparison.Difference

OUTSIDE = -1
"""The iteration of numbers that belong to no iteration."""


def build_parse_rate(store: Store, iteration: int, subject: str, before: int | None = None) -> Record:
    """The parse rate of an iteration, and how it differs from that of the iteration `before`.

    Example:
        build_parse_rate(store, 2, "G1", before=1)
    """
    return _build_clusters(store, "parse_rate", "candidates", iteration, subject, before)


def build_mean_score(store: Store, scoring: Scoring, iteration: int, subject: str, before: int | None = None) -> Record:
    """The mean score of an iteration, and how it differs from that of the iteration `before`.

    All iterations of a run have one weighting here, so that their means are on one scale: the
    recipe's weights if it fixes them, else equal weights. Fitted weights change from iteration to
    iteration, so a mean of `scored.score` would change with them. The method of the row names the
    weighting.
    """
    weights = dict(zip(aspect_weights.ALL, map(float, aspect_weights.fixed(scoring)), strict=True))
    kind = "fixed" if scoring.method == "fixed" and scoring.weights else "equal"
    return _build_clusters(store, "mean_score", "scored", iteration, subject, before, weights, f", {kind} weights")


def _build_clusters(
    store: Store,
    name: str,
    table: str,
    iteration: int,
    subject: str,
    before: int | None,
    weights: dict[str, float] | None = None,
    said: str = "",
) -> Record:
    """A metric of candidates: `queries/metric_<name>.sql` gives sums and numbers per snippet.

    `said` stands behind the method of each row.
    """
    values: Row = {"iteration": iteration, "before": before} | ({} if weights is None else {"weights": weights})
    inputs = store.input(table, iteration=iteration)
    if before is not None:
        inputs |= store.input(table, iteration=before)
    plan = _plan(name, iteration, inputs, values | {"subject": subject}, f"metric_{name}")

    def make(index: int) -> pa.Table:
        found = queries.table(connect(store, inputs), f"metric_{name}", values)
        sums_S = [found[c].to_numpy() for c in ("total_before", "num_before", "total", "num")]
        is_share = name == "parse_rate"
        rows = [_row(name, iteration, subject, (intervals.share if is_share else intervals.mean)(*sums_S[2:]))]
        if before is not None:
            compare = comparison.of_shares if is_share else comparison.of_clusters
            rows.append(_row(f"{name}_change", iteration, subject, compare(*sums_S)))
        return _table([row | {"method": row["method"] + said} for row in rows])

    return store.materialize(plan, make)


def build_selection_overlap(store: Store, iteration: int, selection: str) -> Record:
    """The overlap of a named selection with that of the iteration before."""
    inputs = store.input("selected", iteration=iteration, selection=selection)
    inputs |= store.input("selected", iteration=iteration - 1, selection=selection)
    values = {"iteration": iteration, "subject": selection}
    plan = _plan("selection_overlap", iteration, inputs, values, "metric_selection_overlap")

    def make(index: int) -> pa.Table:
        (found,) = queries.rows(connect(store, inputs), "metric_selection_overlap", values)
        is_in_both = np.arange(found["num_either"]) < found["num_both"]
        overlap = intervals.share(is_in_both, np.ones(len(is_in_both)))
        return _table([_row("selection_overlap", iteration, selection, overlap)])

    return store.materialize(plan, make)


def _plan(name: str, iteration: int, inputs: dict[str, str], fields: Row, *query_names: str) -> Plan:
    return Plan(
        table="metrics",
        partition={"name": name, "iteration": iteration},
        inputs=inputs,
        fields=fields,
        texts=queries.versions(*query_names),
        num_shards=1,
    )


def build_heldout_nll(store: Store, training: SftSettings, iteration: int, executor: Executor | None = None) -> Record:
    """The held-out loss of G_t on the validation split, which lies beside its training data.

    From iteration 1 on, it is compared with that of G_{t-1} on the same items.
    """
    last = last_checkpoint(store, "synthesizer", iteration)
    inputs = checkpoint_input(store, "synthesizer", iteration)
    if iteration > 0:
        inputs |= store.input("metrics", name="heldout_nll", iteration=iteration - 1)
    plan = _plan("heldout_nll", iteration, inputs, {})
    return store.materialize(plan, lambda index: _table(_heldout_nll(store, training, iteration, last, executor)))


def _heldout_nll(
    store: Store, training: SftSettings, iteration: int, last: Row, executor: Executor | None
) -> list[Row]:
    dataset = f"{store.root}/{last['location'].split('/checkpoint-')[0].replace('_models', '_datasets', 1)}"
    job = (*weights(store, last), dataset, training.max_tokens, training.dtype)
    (report,) = gpu_jobs.run(_measured, [job], 1, cluster_of(store, executor))
    losses, subject = np.array(report.losses), f"G{iteration}"
    rows = [_row("heldout_nll", iteration, subject, intervals.mean(losses)) | {"losses": report.losses}]
    if iteration > 0:
        (given,) = store.read("metrics", ["name", "losses"], name="heldout_nll", iteration=iteration - 1)
        before = np.array(next(r["losses"] for r in given.to_pylist() if r["name"] == "heldout_nll"))
        rows.append(_row("heldout_nll_change", iteration, subject, _change_of_losses(before, losses)))
    return rows


def _measured(job: tuple[str, str | None, str | None, str, int, DtypeName], keeper: Keeper) -> HeldoutReport:
    """The loss on the validation split, in a process of its own where there is a GPU."""
    from training.heldout import heldout_nll

    model, adapter, revision, dataset, max_tokens, dtype = job
    return heldout_nll(model, adapter, dataset, "validation", max_tokens, dtype, base_revision=revision)


def _change_of_losses(before: np.ndarray, after: np.ndarray) -> comparison.Difference:
    """Both are of the same items, in one order, unless the split was made anew in between."""
    if len(before) != len(after):
        return comparison.independent(intervals.mean(before), intervals.mean(after))
    each = np.ones(len(before))
    return comparison.of_clusters(before, each, after, each)


def build_scorer_auc(store: Store, recipe: Recipe, scorer: Row) -> Record:
    """The AUC of the scorer's expected digit per aspect, on labelled pairs of split validation."""
    plan = Plan(
        table="metrics",
        partition={"name": "scorer_auc"},
        inputs=labels.inputs(store, recipe) | input_of(store, scorer),
        fields={
            "scorer": scorer["checkpoint_id"],
            "engine": recipe.scorer.engine.identity(),
            **labels.fields(recipe),
        },
        texts=labels.texts(recipe),
        num_shards=1,
    )
    return store.materialize(plan, lambda index: _table(_scorer_auc(store, recipe, scorer)))


def _scorer_auc(store: Store, recipe: Recipe, scorer: Row) -> list[Row]:
    from builders.aspect_scores import question

    settings, examples = recipe.scorer, labels.labels(store, recipe, "validation")
    requests = [
        ChoiceRequest(
            request_id=str(number),
            questions=tuple(
                ({"role": "user", "content": question(settings.prompt, e.code, e.problem, e.solution, a)},)
                for a in ASPECTS
            ),
            adapter=scorer["checkpoint_id"],
        )
        for number, e in enumerate(examples)
    ]
    arguments = settings.template_arguments
    with open_checkpoints(
        store, settings.engine, [scorer], template_arguments=arguments, cluster=cluster_of(store, recipe.executor)
    ) as engine:
        answers = {int(c.request_id): c.probabilities for c in engine.choose(requests) if c.probabilities}
    return auc_rows([(examples[n], found) for n, found in sorted(answers.items())])


def auc_rows(answered: list[tuple[Labelled, Any]]) -> list[Row]:
    """A row per aspect, from labelled pairs and the probabilities of the digits of each aspect.

    A pair and its corrupted copies are about one snippet, so they are drawn together. An aspect
    whose labels are all good, or all bad, has a row without a number.
    """
    snippet = np.array([example.code for example, _ in answered], dtype=object)
    rows = []
    for z, aspect in enumerate(ASPECTS):
        expected = np.array([sum(d * p for d, p in enumerate(found[z])) for _, found in answered])
        is_good = np.array([example.labels[aspect] >= 5 for example, _ in answered])
        rows.append(_row("scorer_auc", OUTSIDE, aspect, areas.area(expected, is_good, snippet)))
    return rows


def build_pass_at_1(store: Store, checkpoint: Row, subject: str, benchmark: Benchmark) -> Record:
    """pass@1 of one checkpoint on one benchmark, in each form in which it was asked, and pass@k.

    Where EvalPlus added tests to the original ones, there are also rows for the original ones. What
    was never graded does not count: see `builders.harness.statistics.NOT_GRADED`.
    """
    where = {"checkpoint": checkpoint["checkpoint_id"], "benchmark": benchmark.name}
    inputs = store.input("evaluations", **where)
    plan = Plan(
        table="metrics",
        partition={"name": f"pass_at_1-{subject}-{benchmark.name}"},
        inputs=inputs,
        texts=queries.versions("evaluated_tasks"),
        num_shards=1,
    )

    def make(index: int) -> pa.Table:
        tasks = queries.rows(connect(store, inputs), "evaluated_tasks")
        return _table([row for form in _forms(tasks) for row in pass_rows(f"{subject} on {benchmark.name}", form)])

    return store.materialize(plan, make)


def _forms(tasks: list[Row]) -> list[list[Row]]:
    return [[t for t in tasks if t["form"] == form] for form in sorted({t["form"] for t in tasks})]


def pass_rows(subject: str, tasks: list[Row]) -> list[Row]:
    """The rows of pass@k, from the rows of `queries/evaluated_tasks.sql` of one form."""
    form, rows = tasks[0]["form"], []
    for kind, label in (("", f"{subject}, {form}"), ("base_", f"{subject}, {form}, original tests")):
        graded_T, passed_T = (np.array([t[f"num_{kind}{what}"] for t in tasks]) for what in ("graded", "passed"))
        if kind and not graded_T.any():
            continue
        found = statistics.passes(graded_T, passed_T)
        rows += [_row(f"pass_at_{k}", OUTSIDE, label, estimate) for k, estimate in found.items()]
    return rows


def _row(name: str, iteration: int, subject: str, of: Measured) -> Row:
    return {
        "name": name,
        "iteration": iteration,
        "subject": subject,
        "value": of.value,
        "low": of.low,
        "high": of.high,
        "method": of.method,
        "num_items": of.num_items,
        "losses": None,
    }


def _table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=CONTRACTS["metrics"].schema)
