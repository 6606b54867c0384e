"""The plan of a run, printed: `scoder run RECIPE --dry-run`.

In: a recipe. Out: what each stage would do and cost, what it takes of the machine, and the totals.
What nobody can know before is called unknown. With --json it is null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from commands.terminal import announce, console

if TYPE_CHECKING:
    from builders.recipe import Recipe
    from store import Store

Row = dict[str, Any]
UNKNOWN = "unknown"
SIZES = {
    "weights_gb": "weights",
    "states_gb": "states",
    "activations_gb": "activations",
    "cache_gb": "cache",
}
FITS = {True: "fits", False: "DOES NOT FIT", None: UNKNOWN}
CLOSE = "close"
"""A prediction that is so near the limit that it may not fit."""


def show(recipe: Recipe, visible: list[float | None], as_json: bool) -> None:
    """Print the plan: two tables and the totals for people, one list of rows for programs."""
    from builders.recipe import fitting, planned

    found = planned.rows(recipe, visible)
    if as_json:
        print(json.dumps(found, default=str))
        return
    from commands.reports import print_rows

    *steps, total = found
    print_rows(console, [_work(row) for row in steps], f"plan of {recipe.name}")
    print_rows(console, [_machine(row) for row in steps if row["gpus"]], "what it takes of the machine, per GPU in GB")
    near = fitting.close(recipe, {row["stage"] for row in steps}, visible)
    for line in [*totals(steps, total), *near, *planned.grounds(recipe, visible)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _work(row: Row) -> Row:
    counts = {k: UNKNOWN if row[k] is None else row[k] for k in ("rows", "model_calls", "tokens")}
    cost = UNKNOWN if row["is_billed"] and row["cost_usd"] is None else row["cost_usd"]
    return {"stage": row["stage"], "what": row["what"], **counts, "cost_usd": cost}


def _machine(row: Row) -> Row:
    return {
        "stage": row["stage"],
        "settings": row["field"],
        "GPUs": row["gpus"],
        **{title: _number(row[k]) for k, title in SIZES.items()},
        "GB a GPU": _taken(row),
        "fits": _fits(row),
        "GPU-hours": _number(row["gpu_hours"], 2),
        "hours": _number(row["hours"], 2),
        "dollars": _number(row["gpu_usd"], 2),
        "disk": _number(row["disk_gb"]),
    }


def _fits(row: Row) -> str:
    return CLOSE if row["is_tight"] and row["fits"] is not False else FITS[row["fits"]]


def _taken(row: Row) -> str:
    """What is taken of a GPU. Where that depends on an unknown GPU: what it needs at least."""
    if row["gpu_gb"] is None and row["least_gb"] is not None:
        return f"≥ {_number(row['least_gb'])}"
    return _number(row["gpu_gb"])


def _number(value: float | None, digits: int = 1) -> str:
    """A number, or unknown. What would be rounded to 0 is less than the last digit."""
    if value is None:
        return UNKNOWN
    least = 10**-digits
    return f"< {least:g}" if 0 < value < least / 2 else f"{value:.{digits}f}"


def totals(steps: list[Row], total: Row) -> list[str]:
    """The sums in sentences. Where a part is unknown, they say which, and what is known."""
    lacking = [row["field"] for row in steps if row["gpu_hours"] is None]
    unknown = f", and unknown for {', '.join(dict.fromkeys(lacking))}" if lacking else ""
    unpriced = any(row["is_billed"] and row["cost_usd"] is None for row in steps)
    known = sum(row["gpu_usd"] or 0 for row in steps)
    gpus = f"{'at least ' if total['gpu_usd'] is None else ''}{known:.2f}"
    if total["gpu_usd"] is None and not known:
        gpus = UNKNOWN
    disk = f"{_number(total['passing_disk_gb'])} GB"
    at_least = "" if total["disk_gb"] is not None else "at least "
    return [
        f"total: {_number(total['known_gpu_hours'])} GPU-hours, which are {_number(total['known_hours'])} hours, one stage "
        f"after another, on {_working(steps)}{unknown}",
        f"dollars: endpoints {'at least ' if unpriced else ''}{total['known_cost_usd']:.2f}, GPUs {gpus}",
        f"disk: {at_least}{_number(total['known_disk_gb'])} GB stay, and {disk} more while the largest training runs",
        _tightest(steps, total),
    ]


def _working(steps: list[Row]) -> str:
    """The most GPUs that work at once."""
    used = max(row["gpus"] for row in steps)
    return f"{used} GPU{'s' * (used != 1)}"


def _tightest(steps: list[Row], total: Row) -> str:
    """How the tightest step stands, and what is unknown. One that does not fit outweighs the rest."""
    blind = dict.fromkeys(row["field"] for row in steps if row["fits"] is None)
    unknown = f"; unknown for {', '.join(blind)}" if blind else ""
    if total["field"] is None:
        return f"memory: {UNKNOWN} for {', '.join(blind)}" if blind else "memory: no stage uses a GPU"
    lacking = dict.fromkeys(row["field"] for row in steps if row["fits"] is False)
    others = f" (and so do not {', '.join(f for f in lacking if f != total['field'])})" if len(lacking) > 1 else ""
    known = {**total, "fits": not lacking}
    return (
        f"memory: the tightest stage is {total['field']}, which needs {_number(total['needed_gb'])} of the "
        f"{_number(total['room_gb'])} GB that it may take of a GPU, predicted within {total['margin']:.0%}: "
        f"{_fits(known)}{others}{unknown}"
    )


def refuse(store: Store, recipe: Recipe, visible: list[float | None], until: str | None) -> None:
    """Say all that a run would be refused for, as the run itself says it.

    What does not fit the machine, or can never work, is an error, and so exit code 2: another plan
    is needed. What only has to be brought, such as a file, a library or a key, is told.
    """
    import scoder
    from store.errors import SettingError
    from store.refusals import together

    found = scoder.refusals(store, recipe, until, visible)
    if any(isinstance(error, SettingError) for error in found):
        raise together(found)
    if found:
        announce(f"this run would be refused now: {together(found)}")
