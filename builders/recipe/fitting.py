"""Refuse, before any work, what does not fit the GPUs, and name the field to change.

In: a recipe, the stages of a run, and the GPUs that are seen. Out: nothing, or an UnfitError with
one line per block of settings: what it needs, what there is, and a value that fits.

    check(recipe, {"coder"}, [80.0])
    close(recipe, {"coder"}, [48.0])    # ["coder.training (…) needs 46.5 of 48.0 GB …"]

A prediction may be wrong by `needs.MARGIN`. Only what would not fit even so is refused; what may
not fit is told. `machine.check: false` turns the refusal off. Without a GPU, and with models whose
sizes are not known, nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from builders.engines.settings import TransformersSettings, VllmSettings
from builders.recipe import Recipe, estimate
from builders.recipe.model_shapes import model_shape
from builders.recipe.needs import GB, MARGIN, Gpus, gpus_of, need_of
from builders.recipe.sharing import can_share
from builders.recipe.work import Asking, Gradients, Training, Work
from store.errors import SettingError
from training import gpus
from training.layout import num_processes
from training.settings import LoraSettings

ROUND = 256
"""Suggested numbers of tokens are multiples of this."""
CLEARLY = 0.95
"""A change of what may fit must bring it below this share of what it needs now."""
Change = tuple[Work, dict[str, Any]]
"""A work under other settings, and these settings."""
SHARES = (0.92, 0.95)
"""Shares of a GPU that vLLM may be given, beside its default of 0.9."""


class UnfitError(SettingError):
    """The GPUs have no room for what a recipe asks for."""


def check(recipe: Recipe, stages: Iterable[str], visible: Sequence[float | None] | None = None) -> None:
    """UnfitError if a step of these stages cannot fit the GPUs. Each block is told once."""
    there = _gpus(recipe, visible)
    if not there.is_checked:
        return
    works, is_here = _works(recipe, stages), recipe.executor.gpu is None
    found = {work.field: _problem(work, there) for work in works if need_of(work, there).fits(there) is False}
    found |= {work.field: said for work in works if (said := _unfit_engine(work, there, is_here)) is not None}
    if found:
        lines = [f"this recipe does not fit {_told(there)}:", *(f"  {line}" for line in found.values())]
        if any(need_of(work, there).gpus <= there.count for work in works if work.field in found):
            lines.append(
                f"The bytes are predicted, within {MARGIN:.0%}. If they are wrong, run with --set machine.check=false"
            )
        raise UnfitError("\n".join(lines))


def close(recipe: Recipe, stages: Iterable[str], visible: Sequence[float | None] | None = None) -> list[str]:
    """A sentence for each block whose memory is so near the limit that it may not fit."""
    there = _gpus(recipe, visible)
    tight = [work for work in _works(recipe, stages) if need_of(work, there).is_tight(there)]
    return list({work.field: _near(work, there) for work in tight}.values())


def _works(recipe: Recipe, stages: Iterable[str]) -> list[Work]:
    wanted = set(stages)
    return [step.work for step in estimate.plan(recipe) if step.work is not None and step.stage in wanted]


def num_gpus(recipe: Recipe, visible: Sequence[float | None] | None = None) -> int:
    """GPUs that one engine can have at most; 8 where there is none, as most nodes have."""
    return _gpus(recipe, visible).count or 8


def _gpus(recipe: Recipe, visible: Sequence[float | None] | None) -> Gpus:
    """The GPUs of a plan, whose `visible` are given, or those of a run."""
    seen, machine = seen_by(recipe, visible), recipe.machine
    if visible is None and seen:
        # A run: what the recipe names may be the machine of a plan, but these are there.
        machine = machine.model_copy(
            update={"gpus": None, "gpu_memory_gb": machine.gpu_memory_gb if None in seen else None}
        )
    return gpus_of(machine, seen, recipe.executor.gpu)


def _near(work: Work, gpus: Gpus) -> str:
    need = need_of(work, gpus)
    assert need.most is not None and gpus.memory is not None, need
    return (
        f"{work.field} ({work.model}) is close to the limit: it needs {need.most / GB:.1f} GB of the "
        f"{gpus.memory * need.share / GB:.1f} that it may take, and the prediction may be wrong by {MARGIN:.0%}. If it runs "
        f"out of memory, {_mend(work, gpus)}"
    )


def seen_by(recipe: Recipe, visible: Sequence[float | None] | None = None) -> Sequence[float | None]:
    """The memories of the GPUs that a step can have: those of a node, or those of this machine.

    Those of a node are unknown.
    """
    if recipe.executor.gpu is not None:
        return [None] * recipe.executor.gpu.gpus_per_node
    return [gpu.memory_gb for gpu in gpus.visible()] if visible is None else visible


def _unfit_engine(work: Work, gpus: Gpus, is_here: bool) -> str | None:
    """What a local engine would refuse when it is opened, after much else is paid."""
    if not isinstance(work, Asking) or not isinstance(work.engine, VllmSettings | TransformersSettings):
        return None
    together = work.engine.tensor_parallel if isinstance(work.engine, VllmSettings) else 1
    wanted = (work.engine.replicas or 1) * together
    if is_here and together <= gpus.count < wanted:
        return (
            f"{work.field} asks for {wanted} GPUs (replicas {work.engine.replicas} x tensor_parallel {together}), but there "
            f"{'is' if gpus.count == 1 else 'are'} {_told(gpus)}: set {work.field}.replicas={gpus.count // together}, or leave "
            "it out"
        )
    return None


def _told(gpus: Gpus) -> str:
    size = "" if gpus.memory is None else f" of {gpus.memory / GB:.1f} GB"
    return f"{gpus.count} {'GPU' if gpus.count == 1 else 'GPUs'}{size}"


def _problem(work: Work, gpus: Gpus) -> str:
    """What does not fit, in one sentence, and the change that makes it fit."""
    need = need_of(work, gpus)
    if need.gpus > gpus.count:
        field = f"{work.field}.{'devices' if isinstance(work, Training) else 'tensor_parallel'}"
        return (
            f"{field} is {need.gpus}, but there {'is' if gpus.count == 1 else 'are'} {_told(gpus)}: {_mend(work, gpus)}"
        )
    assert need.least is not None and gpus.memory is not None, need
    room = gpus.memory * need.share / GB
    parts = {"weights": need.weights, "gradients and states": need.states, "activations": need.activations}
    told = ", ".join(f"{name} {size / GB:.1f}" for name, size in parts.items() if size)
    of = f" and may take {room:.1f} GB" if need.share < 1 else ""
    return f"{work.field} ({work.model}) needs {need.least / GB:.1f} GB of a GPU ({told}){of}: {_mend(work, gpus)}"


def _mend(work: Work, gpus: Gpus) -> str:
    """A change that fits even if the prediction is too low. Else what comes closest, called so.

    What makes another training of it is offered last.
    """
    if (found := _roomy(_changes(work, gpus), gpus)) is not None:
        return _set(work, *found, gpus)
    ways = [found for found in [_closest(work, gpus), _roomy(_others(work), gpus)] if found is not None]
    if ways:
        return ", or ".join(_set(work, *found, gpus) for found in ways)
    if isinstance(work, Training) and work.settings.lora is None:
        return "use more GPUs or larger ones, train an adapter instead of all weights (lora), or take a smaller model"
    return "use GPUs with more memory, or a smaller model"


def _roomy(changes: Iterable[Change], gpus: Gpus) -> Change | None:
    """The first change that fits with room for a wrong prediction, or whose need is unknown."""
    for changed, new in changes:
        need = need_of(changed, gpus)
        is_sure = need.least is None or (need.fits_as_predicted(gpus) and not need.is_tight(gpus))
        if need.gpus <= gpus.count and is_sure:
            return changed, new
    return None


def _closest(work: Work, gpus: Gpus) -> Change | None:
    """The first change that fits as predicted, or else that with the least need, if it may fit.

    Where it may fit now, it must need clearly less.
    """
    now, found = need_of(work, gpus), list[tuple[int, Change]]()
    for changed, new in _changes(work, gpus):
        need = need_of(changed, gpus)
        if (
            need.least is None
            or not need.fits(gpus)
            or (now.fits(gpus) and now.least and need.least > CLEARLY * now.least)
        ):
            continue
        if need.fits_as_predicted(gpus):
            return changed, new
        found.append((need.least, (changed, new)))
    return min(found, key=lambda one: one[0])[1] if found else None


def _set(work: Work, changed: Work, new: dict[str, Any], gpus: Gpus) -> str:
    """A change in words, with what it needs."""
    need = need_of(changed, gpus)
    told = " and ".join(f"{work.field}.{name}={_yaml(value)}" for name, value in new.items())
    size = "" if need.least is None else f", which needs {need.least / GB:.1f} GB"
    near = " and so is close to the limit itself" if need.is_tight(gpus) else ""
    another = " (that is another training, of shorter rows or a smaller adapter)" if _is_another(work, new) else ""
    return f"set {told}{size}{near}{another}"


def _is_another(work: Work, new: dict[str, Any]) -> bool:
    return isinstance(work, Training) and bool(new.keys() & {"max_tokens", "lora.r"})


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _changes(work: Work, gpus: Gpus) -> Iterator[Change]:
    """Changes to try, those first that cost least."""
    if isinstance(work, Training):
        yield from _of_training(work, gpus)
    elif isinstance(work, Gradients):
        yield from _of_gradients(work)
    else:
        yield from _of_engine(work, gpus)


def _of_training(work: Training, gpus: Gpus) -> Iterator[tuple[Training, dict[str, Any]]]:
    """First what changes no weight, then the optimizer, which does."""
    settings = work.settings
    most = num_processes(settings.model_copy(update={"devices": None}), gpus.count)
    if (settings.devices or 1) > gpus.count:
        yield replace(work, settings=settings.model_copy(update={"devices": most})), {"devices": most}
    for optimizer in {}.fromkeys([settings.optimizer, *([] if settings.lora else ["adamw_8bit_sr"])]):
        for again in sorted({settings.gradient_checkpointing, True}):
            for rows in _fewer(settings.micro_batch or settings.batch_size):
                new = {"optimizer": optimizer, "gradient_checkpointing": again, "micro_batch": rows}
                given = settings.model_copy(update=new)
                yield replace(work, settings=given), {k: v for k, v in new.items() if v != _now(settings, k)}
    # An adapter is not sharded (training/layout.py).
    shards = {"sharding": "fsdp2", "devices": most, "gradient_checkpointing": True, "micro_batch": 1}
    if most > 1 and settings.lora is None:
        yield replace(work, settings=settings.model_copy(update=shards)), shards


def _others(work: Work) -> Iterator[Change]:
    """What makes another training of it: shorter rows, then a smaller adapter as well."""
    if not isinstance(work, Training):
        return
    settings = work.settings
    for lora in [settings.lora, *_smaller(settings.lora)]:
        for tokens in range((settings.max_tokens - 1) // ROUND * ROUND, 0, -ROUND):
            new: dict[str, Any] = {"gradient_checkpointing": True, "micro_batch": 1, "max_tokens": tokens}
            given = settings.model_copy(update={**new, "lora": lora})
            named = {name: value for name, value in new.items() if value != _now(settings, name)}
            if lora is not None and lora != settings.lora:
                named["lora.r"] = lora.r
            yield replace(work, settings=given), named


def _smaller(lora: LoraSettings | None) -> Iterator[LoraSettings]:
    rank = 0 if lora is None else lora.r // 2
    while lora is not None and rank >= 1:
        yield lora.model_copy(update={"r": rank})
        rank //= 2


def _now(settings: Any, name: str) -> Any:
    return settings.batch_size if name == "micro_batch" and settings.micro_batch is None else getattr(settings, name)


def _fewer(rows: int) -> Iterator[int]:
    """`8, 4, 2, 1`."""
    while rows > 1:
        yield rows
        rows //= 2
    yield 1


def _of_gradients(work: Gradients) -> Iterator[tuple[Gradients, dict[str, Any]]]:
    """Batches are halved by themselves, and a single row is recomputed. So rows are too long."""
    if work.settings.memory_gb is not None:
        yield replace(work, settings=work.settings.model_copy(update={"memory_gb": None})), {"memory_gb": None}
    for tokens in range(work.settings.max_tokens // ROUND * ROUND, 0, -ROUND):
        yield replace(work, settings=work.settings.model_copy(update={"max_tokens": tokens})), {"max_tokens": tokens}


def _of_engine(work: Asking, gpus: Gpus) -> Iterator[tuple[Asking, dict[str, Any]]]:
    engine = work.engine
    changes: list[dict[str, Any]] = []
    if isinstance(engine, VllmSettings):
        changes += [{"tensor_parallel": 1}] if engine.tensor_parallel > gpus.count else []
        changes += [{"gpu_memory_utilization": share} for share in SHARES if share > engine.gpu_memory_utilization]
        shape = model_shape(work.model, work.revision)
        more = range(engine.tensor_parallel + 1, gpus.count + 1)
        halves = [n for n in more if shape is not None and can_share(shape, n)]
        changes += [{"tensor_parallel": n} for n in halves]
        shorter = range(engine.max_model_tokens // ROUND * ROUND - ROUND, 1024, -ROUND)
        changes += [{"max_model_tokens": n} for n in shorter]
    elif isinstance(engine, TransformersSettings):
        changes += [{"micro_batch": rows} for rows in _fewer(engine.micro_batch)]
    for new in changes:
        yield replace(work, engine=engine.model_copy(update=new)), new
