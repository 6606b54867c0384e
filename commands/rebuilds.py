"""What `scoder run --force` and `--rebuild` will build again, said before they start.

In: a store and a recipe. Out: notes for people: what differs, what came from it, and what all this
took when it was last built. With `--rebuild`, also the request that the store then keeps.
"""

from __future__ import annotations

import scoder
from builders.recipe import Recipe
from commands.terminal import announce as say
from store import CONTRACTS, Record, Store, segments
from store.errors import InputError
from store.preview import Step
from store.rebuild import requested

MOST_LINES = 12


def announce(store: Store, recipe: Recipe, until: str | None, rebuild: str | None) -> None:
    """Say what will be built again. With `rebuild`, the store is told what to build again."""
    found = scoder.foresee(store, recipe, until)
    steps = [step for of_stage in found.values() for step in of_stage]
    wanted = set[str]()
    if rebuild is not None:
        wanted = _named(found, rebuild, recipe, until)
        store.rebuild = requested(store.root, rebuild, wanted)
        wanted = {w for w in wanted if (record := _record(steps, w)) is None or store.rebuild.wants(w, record)}
    for line in lines(store, steps, wanted):
        say(line)


def lines(store: Store, steps: list[Step], wanted: set[str]) -> list[str]:
    """The notes: a line for each partition that gives way, with why, and the sum."""
    differing = {s.where: s for s in steps if (s.differences and store.force) or s.where in wanted}
    if not differing:
        return ["nothing differs from the plans of this recipe, so nothing that is built is built again"]
    told = []
    for where, step in differing.items():
        told.append(f"{where} will be built again: {'it was asked for' if where in wanted else 'its plan differs'}")
        told += [f"    {line}" for line in step.differences[:MOST_LINES]]
    later = [r for r in store.downstream(differing) if _where(r) not in differing]
    if later:
        names = ", ".join(_where(r) for r in later[:MOST_LINES])
        more = f" and {len(later) - MOST_LINES} more" if len(later) > MOST_LINES else ""
        told.append(f"what came from this will be built again where it comes out otherwise: {names}{more}")
    told.append(
        f"when they were last built, these {len(differing) + len(later)} partitions took {_took(differing, later)}"
    )
    return told


def _took(differing: dict[str, Step], later: list[Record]) -> str:
    spent = [step.record.usage for step in differing.values()] + [record.usage for record in later]
    seconds, tokens = sum(u.wall_s for u in spent), sum(u.prompt_tokens + u.completion_tokens for u in spent)
    costs = [u.cost_usd for u in spent if u.cost_usd is not None]
    words = [f"{seconds:,.0f} seconds", f"{tokens:,} tokens"]
    return ", ".join(words + ([f"{sum(costs):,.2f} dollars"] if costs else []))


def _where(record: Record) -> str:
    return segments(record.plan.table, record.plan.partition)


def _record(steps: list[Step], where: str) -> Record | None:
    return next((s.record for s in steps if s.where == where), None)


def _named(found: dict[str, list[Step]], rebuild: str, recipe: Recipe, until: str | None) -> set[str]:
    """The partitions that a stage or a table of this run consists of, as far as they are built."""
    planned = list(scoder.stages(recipe))
    if rebuild in planned:
        if until is not None and planned.index(rebuild) > planned.index(until):
            raise InputError(f"--rebuild {rebuild}: this stage comes after {until}, where the run ends (--until)")
        return {step.where for step in found.get(rebuild, [])}
    if rebuild in CONTRACTS:
        steps = [step for of_stage in found.values() for step in of_stage]
        return {step.where for step in steps if step.record.plan.table == rebuild}
    raise InputError(
        f"--rebuild {rebuild}: no stage and no table has this name. The stages are {', '.join(planned)}. "
        f"The tables are {', '.join(CONTRACTS)}"
    )
