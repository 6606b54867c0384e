"""The checkpoints at which `scoder influence` takes gradients: given adapters, or one it trains.

In: a `Request`. Out: a `Maker` for each checkpoint, which knows how its gradients are made and
under which key they are kept, and the weight of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from builders.datasets.conversations import Conversation, Index, texts
from builders.executors import devices
from builders.standalone.gradient_shards import Maker
from builders.standalone.influence_request import Request
from store import fingerprint
from store.errors import InputError
from training.ranking import learning_rate_shares
from training.settings import DtypeName, features_name


def makers_of(
    request: Request, folder: Path, index: Index, announce: Callable[[str], None]
) -> tuple[list[Maker], dict[str, float]]:
    """What makes the gradients at each checkpoint, and the weight of each by its key."""
    from training.fingerprints import model_fingerprint
    from training.warmup import saved

    found = [c for a in request.adapters for c in saved(a)] or _warmed_up(request, folder, index, announce)
    rates: list[float | None] = list(request.learning_rates) or [c.learning_rate for c in found]
    if len(rates) != len(found):
        raise InputError(f"{len(rates)} learning rates are given for {len(found)} checkpoints: give one per checkpoint")
    if any(rate is None for rate in rates):
        if any(rate is not None for rate in rates):
            raise InputError(
                "the learning rates of some adapters are not known. Give --learning-rate for every adapter."
            )
        announce(f"no learning rates are known: all {len(found)} checkpoints get the same weight")
    base = model_fingerprint(request.model, request.revision)
    name = features_name(request.choices.gradients, "chat template")
    arguments = tuple(sorted(request.choices.template_arguments.items()))
    precision = _precision(request.choices.dtype)
    made = []
    for checkpoint in found:
        adapter = model_fingerprint(checkpoint.folder)
        parts = [base, adapter, name, request.choices.gradients.max_tokens, precision]
        key = fingerprint([*parts, *([dict(arguments)] if arguments else [])])[:24]
        made.append(
            Maker(
                request.model,
                checkpoint.folder,
                request.revision,
                request.choices.gradients,
                request.choices.dtype,
                key,
                arguments,
            )
        )
    if len({m.key for m in made}) < len(made):
        raise InputError("an adapter is given twice: give each adapter once")
    return made, learning_rate_shares({m.key: r or 0.0 for m, r in zip(made, rates, strict=True)})


def _warmed_up(request: Request, folder: Path, index: Index, announce: Callable[[str], None]) -> list[Any]:
    from training.fingerprints import model_fingerprint
    from training.warmup import REPORT, sample, saved, warm_up

    chosen = sample(index.texts, request.choices.warmup)
    arguments = request.choices.template_arguments
    parts = [model_fingerprint(request.model, request.revision), request.choices.warmup.model_dump(mode="json"), chosen]
    parts += [arguments] if arguments else []
    where = folder / "_warmup" / fingerprint(parts)[:24]
    if (where / "run" / REPORT).is_file():
        return saved(str(where / "run"))
    announce(
        f"no adapter is given: training a LoRA on {len(chosen):,} of {len(index.texts):,} texts first, as LESS does"
    )
    rows: dict[str, Conversation] = dict(texts(request.dataset, set(chosen)))
    return warm_up(
        [rows[text_id] for text_id in chosen],
        request.model,
        where,
        request.choices.warmup,
        request.revision,
        arguments,
    )


def _precision(dtype: DtypeName) -> str:
    """What `auto` means on this machine. Gradients of another precision are other gradients."""
    (found,) = devices.run(_resolved, [dtype], devices.devices(1))
    return found


def _resolved(dtype: DtypeName, keeper: devices.Keeper) -> str:
    from training.precision import resolved

    return resolved(dtype)


def plain(makers: Sequence[Maker]) -> list[Maker]:
    """The makers of reference gradients. LESS takes these without Adam's map."""
    settings = [m.settings.model_copy(update={"optimizer_map": "sgd"}) for m in makers]
    keys = [
        m.key if m.settings == s else fingerprint([m.key, "sgd"])[:24] for m, s in zip(makers, settings, strict=True)
    ]
    return [replace(m, settings=s, key=key) for m, s, key in zip(makers, settings, keys, strict=True)]
