"""Asking an engine for the answers of a plan, shard after shard, without paying twice.

In: an engine, and the requests of each shard. Out: the answers of a shard in the order of its
requests. Most engines answer in one journalled stream (`journalled_stream`). The transformers
engine is asked for whole shards (`whole_shards`). Which of the two it is, the engine's settings
say.

    folder, missing = journals(store, plan), store.missing(plan)
    with (
        open_engine(settings, model, spent=spent_before(store, table, settings)) as engine,
        open_answers(folder, missing, settings, engine.generate, requests_of) as answers,
    ):
        store.materialize(plan, lambda shard: rows(answers.of(shard, ids_of(shard))))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builders.engines import losses
from builders.engines.budget import Spent
from builders.engines.error_share import ErrorShare, StormError, way_on
from builders.engines.journal import (
    Journal,
    answers_in,
    close,
    holds_answers,
    is_final,
    spent,
    unreadable_in,
)
from builders.engines.journalled_stream import JournalledStream
from builders.engines.journals import Journals
from builders.engines.places import Place, on_nodes, places
from builders.engines.repeats import Answered, Asked, Repeats
from builders.engines.settings import EngineSettings, TransformersSettings
from builders.engines.types import ChoiceCompletion, Completion
from builders.engines.whole_shards import WholeShards
from store import Plan, Store, Usage

if TYPE_CHECKING:
    from builders.executors.gpu_tasks import Cluster

__all__ = [
    "JournalledStream", "Journals", "StormError", "WholeShards", "answers_in", "batches", "close_journal", "finished_journals", "journals",
    "open_answers", "paid_in", "spent_before", "spent_in", "unreadable_in", "usage",
    "way_on",
]  # fmt: skip


def open_answers(
    folder: Path | Journals,
    shards: Sequence[int],
    settings: EngineSettings,
    ask: Callable[[Iterable[Asked]], Iterator[Answered]],
    requests_of: Callable[[int], Sequence[Asked]],
    *,
    is_usable: Callable[[Answered], bool] = lambda answer: True,
    max_reasks: int = 0,
    per_item: int = 1,
    keeps_whole_shards: bool = False,
    cluster: Cluster | None = None,
    watch: Callable[[Answered], Exception | None] = lambda answer: None,
    first: Sequence[int] = (),
) -> JournalledStream[Asked, Answered] | WholeShards[Asked, Answered]:
    """The answers of these shards of a plan; `answers.of(shard, request_ids)` gives those of one.

    `ask` is a method of an engine. `requests_of` gives the requests of a shard, whose ids are
    unique in the plan; it may be called in another thread. An answer that is not `is_usable` is
    asked for again up to `max_reasks` times, with another seed. An item of `per_item` requests is
    lost with one of them, and `max_error_share` is a share of items. With `keeps_whole_shards`, an
    engine that is asked for whole shards has a journal, too. `cluster` is where the engine runs.
    `watch` sees the answers that are asked for, none that an earlier run has kept. Where it gives
    an error, nothing more is sent, and the error is raised; the answers under way are kept. An
    endpoint gets the `first` requests in groups of these sizes, each when the one before it is
    answered, and then all others.
    """
    journal = folder if isinstance(folder, Journals) else Journal(folder)
    repeats = Repeats(is_usable, max_reasks)
    errors = ErrorShare(settings.max_error_share, per_item)
    if settings.is_journalled:
        return JournalledStream(journal, shards, settings, ask, requests_of, repeats, errors, watch, first)
    kept = journal if keeps_whole_shards else None
    return WholeShards(ask, requests_of, repeats, errors, kept, shards, _num_ahead(settings, cluster), watch)


def _num_ahead(settings: EngineSettings, cluster: Cluster | None) -> int:
    """How many whole shards are asked for at once: two for each replica, so that none waits."""
    if not isinstance(settings, TransformersSettings):
        return 0
    found = places(settings) if cluster is None else on_nodes(settings, cluster.gpu)
    return 0 if found == [Place()] else 2 * len(found)


def journals(store: Store, plan: Plan, account: str | None = None) -> Path:
    """The folder where the answers of a plan are kept.

    It stays when the table is built, so that lost rows are not paid for again. `account` is the
    table whose budget pays for them, where that is not the plan's own.
    """
    return Path(store.scratch(f"journal-{account or plan.table}-{plan.fingerprint}"))


def batches(store: Store, plan: Plan, account: str | None = None) -> Path:
    """The file in which the submitted batches of a plan are kept."""
    return journals(store, plan, account) / "batches.jsonl"


def spent_before(store: Store, account: str, settings: EngineSettings) -> Spent:
    """What was spent on the budget of a table before, under any plan. 0 without a budget.

    It names the file in which attempts without an answer are counted from now on.
    """
    lost = Path(store.scratch(f"journal-{account}-lost"), losses.FILE)
    if not settings.has_budget:
        return Spent(losses=lost)
    return replace(spent(sorted(Path(store.scratch("")).glob(f"journal-{account}-*"))), losses=lost)


def spent_in(folder: Path, settings: EngineSettings) -> Spent:
    """What one journal has cost, as `spent_before` says it. 0 without a budget."""
    found = spent([folder]) if settings.has_budget else Spent()
    return replace(found, losses=folder / losses.FILE)


def finished_journals(store: Store) -> list[Path]:
    """The journals whose tables are built and that still hold answers, or the batches they were
    asked in. Stale tables count as built.

    A journal is named by the plan of its table, by the `questions` of that plan, or by each time
    that a teacher was asked `again`.
    """
    built = [r.plan for r in store.records() if r.status != "building"]
    plans = {plan.fingerprint for plan in built} | {plan.fields.get("questions") for plan in built}
    plans |= {time["asked"] for plan in built for time in plan.fields.get("again", [])}
    found = sorted(Path(store.scratch("")).glob("journal-*"))
    return [f for f in found if f.name.rpartition("-")[2] in plans and holds_answers(f)]


def close_journal(folder: Path) -> None:
    """Remove the answers of a journal. What they cost stays: `spent_before` goes on counting it."""
    close(folder)


def paid_in(folder: Path) -> dict[str, Completion | ChoiceCompletion]:
    """The answers of a journal, by request id, that are not asked for again."""
    return {name: answer for name, answer in answers_in(folder).items() if is_final(answer)}


def usage(settings: EngineSettings, answers: Iterable[Completion | ChoiceCompletion]) -> Usage:
    """Tokens and cost of a shard, and what was different about its answers."""
    prompt = completion = 0
    notes: dict[str, None] = {}
    for answer in answers:
        notes.update(dict.fromkeys(answer.notes))
        prompt += answer.num_prompt_tokens
        completion += answer.num_completion_tokens
    cost = settings.cost(prompt, completion) if prompt or completion else None
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cost_usd=cost, notes=sorted(notes))
