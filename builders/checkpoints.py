"""checkpoints: one row is one saved model state.

In: tables of the store, and a base model. Out, for a role R such as synthesizer, scorer or coder:
    checkpoints/role-R/[iteration-t]      the rows
    <store>/_datasets/R[-t]-<plan>/       the dataset that the model was trained on
    <store>/_models/R[-t]-<plan>/         its weights

How: the tables are published as a dataset, a model is trained on that folder, and each checkpoint
of the training becomes a row. An untrained base model is a row, too; its weights are not copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from builders import contamination, raw_pool
from builders.datasets.rows import digest
from builders.engines import prompts
from builders.engines.checkpoints import checkpoint_input, last_checkpoint, weights
from builders.executors.gpu_tasks import cluster_of
from builders.executors.node_trainings import training_node
from builders.pairs import labels
from builders.publishing import sets
from builders.recipe import Coder, Executor, Mix, Recipe
from store import CONTRACTS, Plan, Record, Store, content_id, markers, segments
from store.counts import counted
from store.errors import SettingError
from training.settings import SftSettings

if TYPE_CHECKING:
    from training.chat_templates import Arguments

Publish = Callable[[str, Plan], dict[str, int]]


def checks(recipe: Recipe, stages: Collection[str]) -> list[Callable[[], None]]:
    """Checks of what the trainings of these stages need: libraries, and steps that devices share.

    Each raises TrainingError for what lacks, or SettingError for devices that cannot share a step.
    """
    from training import optimizers, trackers

    trained = {
        "scorer": ("scorer.training", recipe.scorer.training),
        "bootstrap": ("synthesizer.training", recipe.synthesizer.training),
        "coder": ("coder.training", recipe.coder.training),
    }
    found: list[Callable[[], None]] = []
    for stage, (field, settings) in trained.items():
        if stage not in stages or settings is None:
            continue
        found += [
            partial(optimizers.require, settings),
            partial(trackers.require, settings.report_to),
            partial(_check_layout, field, settings),
        ]
    return found


def _check_layout(field: str, settings: SftSettings) -> None:
    from training.errors import TrainingError
    from training.layout import layout, num_processes

    try:
        layout(settings, num_processes(settings, 1))
    except TrainingError as error:
        raise SettingError(f"{field}: {error}") from None


def build_base(
    store: Store,
    model: str,
    revision: str | None,
    role: str = "base",
    template_arguments: Arguments | None = None,
) -> Record:
    """Note an untrained model as a checkpoint, so that what it writes can be told apart.

    With other arguments of its chat template it is another one.
    """
    from training.fingerprints import model_fingerprint

    identity = {"model": model_fingerprint(model, revision), "revision": revision, **_template(template_arguments)}
    plan = Plan(table="checkpoints", partition={"role": role}, fields=identity, num_shards=1)
    row = {
        "checkpoint_id": content_id(plan.fingerprint, 0),
        "role": role,
        "iteration": None,
        "step": 0,
        "is_final": True,
        "is_adapter": False,
        "base_model": model,
        "base_revision": revision,
        "location": None,
        "learning_rate": 0.0,
        "train_loss": None,
        "num_rows": 0,
    }
    return store.materialize(plan, lambda index: pa.Table.from_pylist([row], schema=CONTRACTS["checkpoints"].schema))


def build_synthesizer(store: Store, recipe: Recipe, iteration: int) -> Record:
    """Train the synthesizer G_t.

    G_0 learns from the teacher's train split. G_t learns from that split and from the selection of
    iteration t; with `synthesizer.accumulate`, from the selections of all iterations up to t.
    """
    name = recipe.selection_name
    used = list(range(1, iteration + 1)) if recipe.synthesizer.accumulate else [iteration] * (iteration > 0)
    inputs = store.input("teacher_samples") | raw_pool.inputs(store)
    inputs |= contamination.inputs(store, recipe.benchmarks, "teacher")
    for t in used:
        inputs |= sets.selection_inputs(store, t, name)
    previous = None
    if recipe.synthesizer.train_from == "previous" and iteration > 0:
        previous = last_checkpoint(store, "synthesizer", iteration - 1)
        inputs |= checkpoint_input(store, "synthesizer", iteration - 1)
    return _train(
        store,
        executor=recipe.executor,
        role="synthesizer",
        iteration=iteration,
        model=(recipe.synthesizer.base, recipe.synthesizer.revision),
        template_arguments=recipe.synthesizer.template_arguments,
        settings=recipe.synthesizer.training,
        inputs=inputs,
        extra={"min_strength": recipe.decontamination.min_strength},
        texts=prompts.versions(recipe.synthesizer.prompt),
        publish=lambda target, plan: sets.synthesizer(
            store,
            recipe.synthesizer.prompt,
            recipe.decontamination.min_strength,
            used,
            name,
            target,
            inputs=plan.inputs,
            plan=plan.fingerprint,
        ),
        previous=previous,
        # each checkpoint then has twice the size of its adapter more
        keeps_optimizer=recipe.influence.gradients.optimizer_map == "adam",
    )


def build_scorer(store: Store, recipe: Recipe) -> Record:
    """Fine-tune the scorer on labelled pairs. Without `scorer.training`, use its model as it is."""
    scorer, synthesizer = recipe.scorer, recipe.synthesizer
    model = scorer.model or synthesizer.base
    revision = scorer.revision if scorer.model else synthesizer.revision
    if scorer.training is None:
        return build_base(store, model, revision, role="scorer", template_arguments=scorer.template_arguments)
    return _train(
        store,
        executor=recipe.executor,
        role="scorer",
        iteration=None,
        model=(model, revision),
        template_arguments=scorer.template_arguments,
        settings=scorer.training,
        inputs=labels.inputs(store, recipe),
        extra=labels.fields(recipe),
        texts=labels.texts(recipe),
        publish=lambda target, plan: sets.scorer(store, recipe, target, plan=plan.fingerprint),
    )


def build_coder(store: Store, coder: Coder, executor: Executor | None = None) -> Record:
    """Fine-tune SCoder on the published instructions, where the executor says."""
    return _train(
        store,
        executor=executor,
        role="coder",
        iteration=None,
        model=(coder.base, coder.revision),
        template_arguments=coder.template_arguments,
        settings=coder.training,
        inputs=store.input("instructions"),
        extra={"mix": [_mixed(m) for m in coder.mix]},
        texts={},
        publish=lambda target, plan: sets.coder(store, coder.mix, target, plan=plan.fingerprint),
    )


def _mixed(mix: Mix) -> dict[str, Any]:
    """The settings of a set that is mixed in; for what lies on this machine also its content.

    A set of the Hub is named by its revision.
    """
    content = digest(mix.dataset)
    own = {"config": mix.config, "columns": mix.columns}
    known = mix.model_dump(mode="json", exclude=set(own)) | {key: value for key, value in own.items() if value}
    return known | ({} if content is None else {"content": content})


def _train(
    store: Store,
    *,
    executor: Executor | None,
    role: str,
    iteration: int | None,
    model: tuple[str, str | None],
    template_arguments: Arguments,
    settings: SftSettings,
    inputs: dict[str, str],
    extra: dict[str, Any],
    texts: dict[str, str],
    publish: Publish,
    previous: dict[str, Any] | None = None,
    keeps_optimizer: bool = False,
) -> Record:
    """Publish the dataset, train on the published folder, and write a row per checkpoint."""
    from training.fingerprints import model_fingerprint

    where: dict[str, Any] = {"role": role} | ({} if iteration is None else {"iteration": iteration})
    plan = Plan(
        table="checkpoints",
        partition=where,
        inputs=inputs,
        fields={
            "model": model_fingerprint(*model),
            "previous": previous["checkpoint_id"] if previous else None,
            "settings": settings.identity(),
            **_template(template_arguments),
            **({"keeps_optimizer": True} if keeps_optimizer else {}),
            **extra,
        },
        texts=texts,
        num_shards=1,
    )
    label = role if iteration is None else f"{role}-{iteration}"
    partition = segments(plan.table, plan.partition)

    def make(index: int) -> pa.Table:
        name = f"{label}-{plan.fingerprint[:8]}"
        dataset, output = f"{store.root}/_datasets/{name}", f"{store.root}/_models/{name}"
        if (begun := store.record(plan.table, **where)) is not None and begun.rebuilt_for:
            # A finished training is recognised and not repeated, and a dataset that was changed is
            # not replaced. Here they may be what is damaged.
            for folder in (dataset, output):
                shutil.rmtree(folder, ignore_errors=True)
        counts = publish(dataset, plan)
        store.announce(f"{partition}: training on {counted(counts['train'], 'row')} of {dataset}")
        adapter = weights(store, previous)[1] if previous else None
        train = trainer(role)
        with (
            store.follow(partition) as watch,
            training_node(cluster_of(store, executor), label) as node,
        ):
            report = train(
                dataset,
                model[0],
                output,
                settings,
                base_revision=model[1],
                adapter=adapter,
                template_arguments=template_arguments,
                keeps_optimizer=keeps_optimizer,
                watch=watch,
                announce=lambda text: store.announce(f"{partition}: {text}"),
                node=node,
            )
        markers.mark_new(Path(output), plan.fingerprint)
        if report.rejects:
            store.announce(
                f"{partition}: {counted(len(report.rejects), 'row')} left out, first: {report.rejects[0].reason}"
            )
        rows = [_row(plan, role, iteration, model, settings, f"_models/{name}", report, c) for c in report.checkpoints]
        return pa.Table.from_pylist(rows, schema=CONTRACTS["checkpoints"].schema)

    return store.materialize(plan, make)


def _template(arguments: Arguments | None) -> dict[str, Any]:
    """What a plan names of the arguments of a chat template. Nothing if there are none."""
    return {"template_arguments": dict(arguments)} if arguments else {}


def trainer(role: str) -> Callable[..., Any]:
    """The training function of a role."""
    if role == "synthesizer":
        from training.synthesizer import train
    elif role == "scorer":
        from training.scorer import train
    else:
        from training.coder import train
    return train


def _row(
    plan: Plan,
    role: str,
    iteration: int | None,
    model: tuple[str, str | None],
    settings: SftSettings,
    location: str,
    report: Any,
    checkpoint: Any,
) -> dict[str, Any]:
    return {
        "checkpoint_id": content_id(plan.fingerprint, checkpoint.step),
        "role": role,
        "iteration": iteration,
        "step": checkpoint.step,
        "is_final": checkpoint is report.checkpoints[-1],
        "is_adapter": settings.lora is not None,
        "base_model": model[0],
        "base_revision": model[1],
        "location": f"{location}/{checkpoint.folder}",
        "learning_rate": checkpoint.learning_rate,
        "train_loss": checkpoint.loss,
        "num_rows": report.num_rows,
    }
