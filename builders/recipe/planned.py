"""The plan of a run with what it takes of the machine: memory, GPU-hours, dollars and disk.

In: a recipe, and the memory of the GPUs that are seen. Out: one dictionary per step, then one with
the totals, and the sentences that say what they rest on. None is unknown, and 0 is none.

    for row in rows(files.load("tiny"), []):
        print(row["stage"], row["gpu_gb"], row["gpu_hours"])
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from builders.engines.settings import LocalSettings
from builders.recipe import GpuTasks, Recipe
from builders.recipe.checking import told
from builders.recipe.estimate import plan
from builders.recipe.hours import RATED_WEIGHTS, gpu_hours
from builders.recipe.model_shapes import model_shape, why_unknown
from builders.recipe.needs import GB, MARGIN, Gpus, Need, disk_of, gpus_of, longest_kept, need_of
from builders.recipe.step import ASPECT_TOKENS, PAIR_TOKENS, RUBRICS_TOKENS, SNIPPET_TOKENS, Step, pair_tokens
from builders.recipe.unnamed import unnamed
from builders.recipe.work import Asking, Gradients, Training, Work
from store import ASPECTS
from training.gpus import SIMULATED, is_simulated

NONE = Need(0, 0, 0, 0, 0, 0, 0)
Row = dict[str, Any]


def rows(recipe: Recipe, visible: Sequence[float | None], stages: Collection[str] | None = None) -> list[Row]:
    """One row per step, then the row `total`; only of some stages, if they are given."""
    gpus = gpus_of(recipe.machine, visible, recipe.executor.gpu)
    found = [_row(step, recipe, gpus) for step in plan(recipe) if stages is None or step.stage in stages]
    return [*found, _total(found)]


def _row(step: Step, recipe: Recipe, gpus: Gpus) -> Row:
    need = need_of(step.work, gpus) if step.work is not None else NONE
    hours, disk = gpu_hours(step.work, recipe.machine, gpus), disk_of(step.work)
    price = recipe.machine.price_per_gpu_hour
    working = _working(step.work, need, gpus, recipe.executor.gpu)
    return {
        **{k: getattr(step, k) for k in ("stage", "what", "rows", "model_calls", "tokens", "cost_usd")},
        "field": step.work.field if step.work is not None else None,
        "model": step.work.model if step.work is not None else None,
        "gpus": working,
        "weights_gb": _gb(need.weights),
        "states_gb": _gb(need.states),
        "activations_gb": _gb(need.activations),
        "cache_gb": _gb(need.cache),
        "gpu_gb": _gb(need.total),
        "least_gb": _gb(need.least),
        "fits": True if need.gpus == 0 else need.fits(gpus),
        "is_tight": need.is_tight(gpus),
        "needed_gb": _gb(need.most),
        "room_gb": None if gpus.memory is None else gpus.memory * need.share / GB,
        "gpu_hours": hours,
        "hours": None if hours is None else hours / max(1, working),
        "gpu_usd": 0.0 if hours == 0 else None if hours is None or price is None else hours * price,
        "cpu_hours": step.cpu_hours,
        "disk_gb": _gb(disk.kept),
        "passing_disk_gb": _gb(disk.passing),
        "is_billed": isinstance(step.work, Asking) and step.work.engine.is_endpoint,
    }


def _working(work: Work | None, need: Need, gpus: Gpus, cluster: GpuTasks | None) -> int:
    """GPUs that work at once: a training's own, or so many groups of them as answer or compute."""
    if need.gpus == 0:
        return 0
    if isinstance(work, Training):
        return need.gpus
    own = work.engine.replicas if isinstance(work, Asking) and isinstance(work.engine, LocalSettings) else None
    if cluster is not None:
        return (own or cluster.replicas) * need.gpus
    groups = max(1, gpus.count // need.gpus)
    if isinstance(work, Gradients):
        return min(work.workers or groups, groups)
    return (own or groups) * need.gpus


def _gb(size: int | None) -> float | None:
    return None if size is None else size / GB


def _total(found: list[Row]) -> Row:
    """Sums; None where a part is unknown. What passes is there one at a time."""
    sums = {k: _sum(row[k] for row in found) for k in ("gpu_hours", "hours", "gpu_usd", "cpu_hours", "disk_gb")}
    passing = [row["passing_disk_gb"] for row in found]
    return {
        **dict.fromkeys(found[0]),
        "stage": "total",
        "what": "",
        "cost_usd": _sum(row["cost_usd"] for row in found if row["is_billed"]),
        **sums,
        "passing_disk_gb": None if None in passing else max(passing),
        "gpu_gb": _largest(row["gpu_gb"] for row in found),
        "least_gb": max((row["least_gb"] for row in found if row["least_gb"] is not None), default=None),
        "fits": False if any(row["fits"] is False for row in found) else _all_fit(found),
        "is_tight": any(row["is_tight"] for row in found),
        **_tightest(found),
        "margin": MARGIN,
        # what is known of them: at least so much
        "known_gpu_hours": sum(row["gpu_hours"] or 0 for row in found),
        "known_hours": sum(row["hours"] or 0 for row in found),
        "known_cpu_hours": sum(row["cpu_hours"] or 0 for row in found),
        "known_cost_usd": sum(row["cost_usd"] or 0 for row in found),
        "known_disk_gb": sum(row["disk_gb"] or 0 for row in found),
    }


def _tightest(found: list[Row]) -> Row:
    """The step that needs the most of what it may take, among those whose need is known.

    A step that does not fit at all goes before all others.
    """
    named = ("field", "needed_gb", "room_gb", "gpus")
    known = [row for row in found if row["gpus"] and row["needed_gb"] is not None and row["room_gb"] is not None]
    if not known:
        return dict.fromkeys(named)
    worst = max(known, key=lambda row: (row["fits"] is False, row["is_tight"], row["needed_gb"] / row["room_gb"]))
    return {name: worst[name] for name in named}


def _all_fit(found: list[Row]) -> bool | None:
    return True if all(row["fits"] for row in found) else None


def _sum(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    return None if None in listed else sum(value for value in listed if value is not None)


def _largest(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    return None if None in listed else max((value for value in listed if value is not None), default=None)


def grounds(recipe: Recipe, visible: Sequence[float | None], stages: Collection[str] | None = None) -> list[str]:
    """What the numbers of a plan rest on, in sentences for people."""
    machine, gpus = recipe.machine, gpus_of(recipe.machine, visible, recipe.executor.gpu)
    price = "unknown (machine.price_per_gpu_hour)"
    if machine.price_per_gpu_hour is not None:
        price = f"{machine.price_per_gpu_hour:g} dollars an hour"
    return [
        f"machine: {_there(recipe, gpus)}; price of a GPU: {price}",
        "memory: predicted from the models' sizes, per GPU, in 10^9 bytes; training bytes were counted at the layer "
        f"sizes of Qwen2.5-7B (training/memory.py), and are right within {MARGIN:.0%}; 1.5 GB of a runtime and 3 GB of an "
        "engine are ours, not measured. Only what would not fit even so is refused; what may not fit is called close",
        _assumed(recipe),
        *_ends(recipe),
        f"hours: stated, not measured on your GPUs: {machine.peak_tflops:g} TFLOP/s a GPU, of which trainings reach "
        f"{machine.training_use:.0%}, gradients {machine.gradients_use:.0%} and reading {machine.reading_use:.0%}; writing "
        f"{machine.decoded_tokens_per_second:g} tokens/s a GPU with {RATED_WEIGHTS / 1e9:g} billion weights. Put your own "
        "into machine. The start of engines and trainings, a few minutes each, is not in them, nor what CPUs do",
        *_checking(recipe, gpus, stages),
        *_unknown(recipe),
        *_idle(recipe),
        *_recomputed(recipe, gpus),
        "disk: checkpoints and gradients that stay, and what the largest training keeps to resume from; models from the "
        "Hub and texts are not in it",
    ]


def _checking(recipe: Recipe, gpus: Gpus, stages: Collection[str] | None) -> list[str]:
    """What decontamination by execution and by meaning costs."""
    planned = [step for step in plan(recipe) if stages is None or step.stage in stages]
    steps = [step for step in planned if step.cpu_hours != 0 and step.stage != "pool"]
    texts = sum(step.rows or 0 for step in steps)
    return told(recipe, texts, all(step.rows is not None for step in steps), gpus.are_there)


def _ends(recipe: Recipe) -> list[str]:
    """Where the plan ends because a model is not named."""
    lacking = unnamed(recipe)
    return [f"stages: the plan ends before {s}, which needs {f}: it is not set" for s, f in lacking.items()][:1]


def _there(recipe: Recipe, gpus: Gpus) -> str:
    """The GPUs of a plan, and who says that there are so many."""
    if recipe.machine.gpus == 0 and recipe.executor.gpu is None:
        return (
            "the recipe names a machine without a GPU (machine.gpus=0): all is told for one GPU, and nothing is refused"
        )
    if not gpus.are_there:
        return "no GPU is seen here, and machine names none: all is told for one GPU, and nothing is refused"
    size = "of unknown memory" if gpus.memory is None else f"of {gpus.memory / GB:.1f} GB"
    source = f"simulated by {SIMULATED}" if is_simulated() else "seen here"
    if recipe.executor.gpu is not None:
        source = "on a node (executor.gpu)"
    if recipe.machine.gpus is not None or recipe.machine.gpu_memory_gb is not None:
        source = "as the recipe names"
    return f"{gpus.count} GPU{'s' * (gpus.count != 1)} {size}, {source}"


def _assumed(recipe: Recipe) -> str:
    """How many tokens a text is taken to have, and how many of them are computed."""
    pair, item = pair_tokens(recipe), SNIPPET_TOKENS + pair_tokens(recipe)
    bounded = " (sampling.max_tokens)" if pair < PAIR_TOKENS else ""
    whole, shared = RUBRICS_TOKENS + item + ASPECT_TOKENS, item / len(ASPECTS) + ASPECT_TOKENS
    read = (
        f"{whole:,}, as an endpoint bills each whole"
        if recipe.scorer.engine.is_endpoint
        else f"{shared:,.0f} in the mean, as the {len(ASPECTS)} questions about a pair share its tokens; an endpoint would "
        f"read {whole:,} each time"
    )
    return (
        f"tokens: our estimates: {SNIPPET_TOKENS} of a snippet, {PAIR_TOKENS} of a pair, {pair} of one that is written"
        f"{bounded}; a row is never longer than the max_tokens of its training. The scorer computes for a question {read}"
    )


def _unknown(recipe: Recipe) -> list[str]:
    """Why the sizes of a model are unknown, and for which settings."""
    said: dict[str, dict[str, None]] = {}
    for step in plan(recipe):
        work = step.work
        if work is None or (isinstance(work, Asking) and work.engine.is_endpoint):
            continue
        if (why := why_unknown(work.model, work.revision)) is not None:
            said.setdefault(why, {})[work.field] = None
    return [f"unknown for {', '.join(fields)}: {why}" for why, fields in said.items()]


def _idle(recipe: Recipe) -> list[str]:
    """How many GPUs a cluster lends to engines and gradients, and that it could lend more."""
    cluster = recipe.executor.gpu
    if cluster is None:
        return []
    tasks = f"{cluster.replicas} task{'s' * (cluster.replicas != 1)} at a time (executor.gpu.replicas)"
    said = f"tasks: a training takes {cluster.gpus_per_node} GPUs of a node (executor.gpu.gpus_per_node)"
    said += f"; engines and gradients run as {tasks}, of one GPU each or of tensor_parallel"
    if cluster.replicas < cluster.gpus_per_node:
        idle = cluster.gpus_per_node - cluster.replicas
        said += (
            f". So {idle} of the {cluster.gpus_per_node} GPUs that a training takes are idle then: set executor.gpu."
        )
        said += f"replicas={cluster.gpus_per_node} to use as many"
    return [said]


def _recomputed(recipe: Recipe, gpus: Gpus) -> list[str]:
    """Which gradients are computed forward twice, and whether the hours count it."""
    work = next((step.work for step in plan(recipe) if isinstance(step.work, Gradients)), None)
    if work is None or model_shape(work.model, work.revision) is None:
        return []
    kept, twice = longest_kept(work, gpus), "are computed forward twice, which takes half as long again"
    if kept is None:
        return [f"gradients: rows that do not fit an unknown GPU {twice}; the hours do not count it"]
    if kept >= work.settings.max_tokens:
        return []
    mean = work.tokens / work.rows if work.rows and work.tokens else 0
    counted = "count it" if mean > kept else f"do not count it, as a row has {mean:,.0f} tokens in the mean"
    which = f"rows of more than {kept:,} tokens {twice}" if kept else f"every row is {twice.removeprefix('are ')}"
    return [f"gradients: {which}; the hours {counted}"]
