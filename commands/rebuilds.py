"""What `scoder run --force` and `--rebuild` will build again, said before they start.

In: a store and a recipe. Out: notes for people: what differs, what came from it, and what all this
took when it was last built. With `--rebuild`, also the request that the store then keeps.
"""

from __future__ import annotations

import scoder
from builders.recipe import Recipe
from commands.terminal import announce as say
from scoder import Foresight
from store import CONTRACTS, Record, Store
from store.counts import dollars
from store.errors import InputError
from store.fork import stage_name, where_of
from store.rebuild import requested

MOST_LINES = 12


def announce(store: Store, recipe: Recipe, until: str | None, rebuild: str | None) -> None:
    """Say what will be built again. With `rebuild`, the store is told what to build again."""
    seen = scoder.foresee(store, recipe, until)
    wanted = set[str]()
    if rebuild is not None:
        wanted = _named(store, seen, rebuild, recipe, until)
        store.rebuild = requested(store.root, rebuild, wanted)
        wanted = {w for w in wanted if (record := store.at(w)) is not None and store.rebuild.wants(w, record)}
    for line in lines(store, seen, wanted):
        say(line)


def lines(store: Store, seen: Foresight, wanted: set[str]) -> list[str]:
    """The notes: a line for each partition that gives way, with why, and the sum."""
    steps = {step.where: step for of_stage in seen.steps.values() for step in of_stage}
    told, again = list[str](), dict[str, Record]()
    for where in [*steps, *sorted(wanted - steps.keys())]:
        step = steps.get(where)
        record = step.record if step else store.at(where)
        differences = step.differences if step and store.force else ()
        if record is None or not (differences or where in wanted):
            continue
        again[where] = record
        told.append(f"{where} will be built again: {'it was asked for' if where in wanted else 'its plan differs'}")
        told += [f"    {line}" for line in differences[:MOST_LINES]]
    later = [r for r in store.downstream(again) if r.status != "building" and where_of(r) not in again]
    in_run = [r for r in later if seen.ends_in is not None or where_of(r) in steps]
    if in_run:
        told.append(f"what came from this will be built again where it comes out otherwise: {_names(in_run)}")
    if left := [r for r in later if r not in in_run]:
        told.append(f"this run ends before what else came from it, which may be stale then: {_names(left)}")
    if again:
        took = _took([*again.values(), *in_run])
        told.append(f"when they were last built, these {len(again) + len(in_run)} partitions took {took}")
    if seen.ends_in is not None:
        told.append(f"what comes after stage {seen.ends_in} cannot be said before that stage is built")
    return told or ["nothing differs from the plans of this recipe, so nothing that is built is built again"]


def _names(records: list[Record]) -> str:
    names = ", ".join(where_of(r) for r in records[:MOST_LINES])
    return names + (f" and {len(records) - MOST_LINES} more" if len(records) > MOST_LINES else "")


def _took(records: list[Record]) -> str:
    spent = [record.usage for record in records]
    seconds, tokens = sum(u.wall_s for u in spent), sum(u.prompt_tokens + u.completion_tokens for u in spent)
    costs = [u.cost_usd for u in spent if u.cost_usd is not None]
    words = [f"{seconds:,.0f} seconds", f"{tokens:,} tokens"]
    return ", ".join(words + ([f"{dollars(sum(costs))} dollars"] if costs else []))


def _named(store: Store, seen: Foresight, rebuild: str, recipe: Recipe, until: str | None) -> set[str]:
    """The partitions of a stage or a table: those on record, and those of this run."""
    planned, records = list(scoder.stages(recipe)), store.records()
    if rebuild in planned:
        if until is not None and planned.index(rebuild) > planned.index(until):
            raise InputError(f"--rebuild {rebuild}: this stage comes after {until}, where the run ends (--until)")
        found = {where_of(r) for r in records if stage_name(r, recipe.iterations) == rebuild}
        found |= {step.where for step in seen.steps.get(rebuild, [])}
    elif rebuild in CONTRACTS:
        found = {where_of(r) for r in records if r.plan.table == rebuild}
    else:
        raise InputError(
            f"--rebuild {rebuild}: no stage and no table has this name. The stages are {', '.join(planned)}. "
            f"The tables are {', '.join(CONTRACTS)}"
        )
    # Why an item has no gradient is only known while its gradient is computed.
    computed = {i for r in records if where_of(r) in found and r.plan.table == "rejects" for i in r.plan.inputs}
    return found | {where for where in computed if where.startswith("gradients/")}
