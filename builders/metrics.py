"""metrics: one row is one measured number of a run.

In: tables and checkpoints of a store. Out: `metrics/name-N/[iteration-t]`. The names are
    heldout_nll         loss of G_t on the teacher's validation split, in nats per completion token
    parse_rate          share of an iteration's candidates that are a problem with a valid solution
    mean_score          mean score of an iteration's scored candidates
    selection_overlap   Jaccard overlap of the snippets that the selections of t and t-1 keep
    scorer_auc          per aspect, on held-out pairs: labels 5..9 against labels 0..4
    pass_at_1           share of samples that pass, per checkpoint and benchmark
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

import queries
from builders import aspect_weights
from builders.engines import ChoiceRequest
from builders.engines.checkpoints import checkpoint_input, input_of, last_checkpoint, open_checkpoints, weights
from builders.harness.rows import NOT_JUDGED
from builders.pairs import labels
from builders.recipe import Benchmark, Scorer
from store import ASPECTS, CONTRACTS, Plan, Record, Store
from store.catalog import connect
from training.settings import SftSettings

OUTSIDE = -1
"""The iteration of numbers that belong to no iteration."""


def build_query(store: Store, name: str, iteration: int, inputs: dict[str, str], **values: Any) -> Record:
    """A metric that one query computes: `queries/metric_<name>.sql`."""
    given = {"iteration": iteration, **values}
    plan = Plan(
        table="metrics",
        partition={"name": name, "iteration": iteration},
        inputs=inputs,
        fields=given,
        texts=queries.versions(f"metric_{name}"),
    )
    return store.materialize_stream(plan, lambda: queries.stream(connect(store, inputs), f"metric_{name}", given))


def build_heldout_nll(store: Store, training: SftSettings, iteration: int) -> Record:
    """The held-out loss of G_t on the validation split, which lies beside its training data."""
    from training.heldout import heldout_nll

    last = last_checkpoint(store, "synthesizer", iteration)
    plan = Plan(
        table="metrics",
        partition={"name": "heldout_nll", "iteration": iteration},
        inputs=checkpoint_input(store, "synthesizer", iteration),
        num_shards=1,
    )

    def make(index: int) -> pa.Table:
        model, adapter, revision = weights(store, last)
        dataset = f"{store.root}/{last['location'].split('/checkpoint-')[0].replace('_models', '_datasets', 1)}"
        report = heldout_nll(
            model, adapter, dataset, "validation", training.max_tokens, training.dtype, base_revision=revision
        )
        return _table([_row("heldout_nll", iteration, f"G{iteration}", report.nll, report.num_rows)])

    return store.materialize(plan, make)


def build_scorer_auc(store: Store, settings: Scorer, seed: int, scorer: dict[str, Any]) -> Record:
    """The AUC of the scorer's expected digit per aspect, on labelled pairs of split validation."""
    plan = Plan(
        table="metrics",
        partition={"name": "scorer_auc"},
        inputs=labels.inputs(store, settings) | input_of(store, scorer),
        fields={
            "scorer": scorer["checkpoint_id"],
            "engine": settings.engine.identity(),
            "corruptions_per_sample": settings.corruptions_per_sample,
            "seed": seed,
        },
        texts=labels.texts(settings),
        num_shards=1,
    )
    return store.materialize(plan, lambda index: _table(_scorer_auc(store, settings, seed, scorer)))


def _scorer_auc(store: Store, settings: Scorer, seed: int, scorer: dict[str, Any]) -> list[dict[str, Any]]:
    from builders.aspect_scores import question

    examples = labels.labels(store, settings, seed, "validation")
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
    with open_checkpoints(store, settings.engine, [scorer]) as engine:
        answers = {int(c.request_id): c.probabilities for c in engine.choose(requests) if c.probabilities}
    rows = []
    for z, aspect in enumerate(ASPECTS):
        expected = np.array([sum(d * p for d, p in enumerate(found[z])) for found in answers.values()])
        is_good = np.array([float(examples[n].labels[aspect] >= 5) for n in answers])
        value = aspect_weights.auc(expected, is_good)
        if value is not None:
            rows.append(_row("scorer_auc", OUTSIDE, aspect, value, len(answers)))
    return rows


def build_pass_at_1(store: Store, checkpoint: dict[str, Any], subject: str, benchmark: Benchmark) -> Record:
    """pass@1 of one checkpoint on one benchmark, by form: the share of judged answers that pass."""
    where = {"checkpoint": checkpoint["checkpoint_id"], "benchmark": benchmark.name}
    label = f"{subject} on {benchmark.name}"
    plan = Plan(
        table="metrics",
        partition={"name": f"pass_at_1-{subject}-{benchmark.name}"},
        inputs=store.input("evaluations", **where),
        num_shards=1,
    )

    def make(index: int) -> pa.Table:
        found = [row for table in store.read("evaluations", **where) for row in table.to_pylist()]
        judged = [row for row in found if row["status"] not in NOT_JUDGED]
        passed = {form: [r["is_passed"] for r in judged if r["form"] == form] for form in {r["form"] for r in judged}}
        return _table(
            [
                _row("pass_at_1", OUTSIDE, f"{label} ({form})", sum(each) / len(each), len(each))
                for form, each in sorted(passed.items())
            ]
        )

    return store.materialize(plan, make)


def _row(name: str, iteration: int, subject: str, value: float, num_items: int) -> dict[str, Any]:
    return {"name": name, "iteration": iteration, "subject": subject, "value": value, "num_items": num_items}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=CONTRACTS["metrics"].schema)
