"""Who scores for `aspect_scores`: a checkpoint of the store, or the teacher.

In: sections of the recipe. Out: `Asked`, which opens the engine and names what a plan depends on.

    asked = teacher(recipe.teacher, recipe.scorer.prompt, cluster)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from builders.engines import Engine, EngineSettings, open_engine
from builders.engines.checkpoints import open_checkpoints
from builders.executors.gpu_tasks import Cluster, cluster_of
from builders.recipe import DocstringJudge, Executor, Scorer, Teacher
from builders.teacher import asking
from store import Store


@dataclass(frozen=True)
class Asked:
    """Who scores.

    `name` stands in its rows, and `account` is the table whose budget pays for it. `inputs` are the
    rows of the table checkpoints that it comes from, `fields` what else a plan names of it.
    """

    name: str
    prompt: str
    settings: EngineSettings
    adapter: str | None
    open: Callable[..., Engine]
    account: str
    inputs: dict[str, str]
    fields: dict[str, Any]
    cluster: Cluster | None


def checkpoint(
    store: Store, role: str, section: Scorer | DocstringJudge, row: dict[str, Any], executor: Executor | None
) -> Asked:
    """A checkpoint of the store, given as its row, with the section of the recipe that uses it."""
    name, settings, arguments = row["checkpoint_id"], section.engine, section.template_arguments
    cluster = cluster_of(store, executor)
    opened = partial(open_checkpoints, store, settings, [row], template_arguments=arguments, cluster=cluster)
    given = store.input("checkpoints", role=role)
    return Asked(name, section.prompt, settings, name, opened, "aspect_scores", given, {}, cluster)


def teacher(section: Teacher, prompt: str, cluster: Cluster | None) -> Asked:
    """The teacher, whose budget pays for what it scores."""
    settings, model = section.engine_settings(), section.model
    opened = partial(open_engine, settings, model, template_arguments=section.template_arguments, cluster=cluster)
    return Asked(
        model,
        prompt,
        settings,
        None,
        opened,
        "teacher_samples",
        {},
        asking.weights(section) | asking.template(section),
        cluster,
    )
