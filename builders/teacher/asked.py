"""The plan of samples that a teacher is asked for, and its answers.

In: a store with its pool, and a teacher. Out: the plan, and the answers of its shards from the
journal or from the engine.

    with answers(store, teacher, plan, None, requests_of, store.missing(plan)) as given:
        given.of(0, ids)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import queries
from builders.engines import Completion, Request, open_engine, prompts
from builders.engines.answers import (
    JournalledStream,
    WholeShards,
    batches,
    journals,
    open_answers,
    spent_before,
)
from builders.engines.any_engine import ROWS_PER_SHARD
from builders.executors.gpu_tasks import Cluster
from builders.recipe import Teacher
from builders.teacher import asking
from builders.teacher.unusable_share import UnusableShare
from store import Plan, Store


def identity(teacher: Teacher) -> dict[str, Any]:
    """Those of the teacher's settings that change its samples. Of a file, the content does."""
    engine = teacher.engine if isinstance(teacher.engine, str) else teacher.engine.identity()
    fields = teacher.model_dump(mode="json", exclude={"engine", "path", "template_arguments", "max_unusable_share"})
    return fields | asking.template(teacher) | {"engine": engine}


def plan(store: Store, teacher: Teacher, seed: int) -> Plan:
    """The plan of samples that a teacher is asked for, or that docstrings stand in for."""
    size = ROWS_PER_SHARD if teacher.is_offline else teacher.engine_settings().rows_per_shard
    return Plan(
        table="teacher_samples",
        inputs=store.input("pool") | store.input("raw_pool"),
        fields=identity(teacher) | asking.weights(teacher) | {"seed": seed},
        texts=queries.versions("snippets") | ({} if teacher.is_offline else prompts.versions(teacher.prompt)),
        num_shards=-(-teacher.num_snippets // size),
        rows_per_shard=size,
    )


@contextmanager
def answers(
    store: Store,
    teacher: Teacher,
    plan: Plan,
    cluster: Cluster | None,
    requests_of: Callable[[int], Sequence[Request]],
    shards: Sequence[int],
) -> Iterator[JournalledStream[Request, Completion] | WholeShards[Request, Completion]]:
    """The answers of these shards of a plan, for as long as the block lasts."""
    settings, folder = teacher.engine_settings(), journals(store, plan)
    share = UnusableShare(teacher, folder)
    spent, state = spent_before(store, plan.table, settings), batches(store, plan)
    with (
        open_engine(
            settings, teacher.model, template_arguments=teacher.template_arguments, spent=spent, state=state, cluster=cluster
        ) as engine,
        open_answers(
            folder, shards, settings, engine.generate, requests_of,
            is_usable=lambda c: asking.pair(teacher, c).status == "ok", max_reasks=teacher.max_reasks,
            cluster=cluster, watch=share, first=share.first,
        ) as given,
    ):  # fmt: skip
        yield given
