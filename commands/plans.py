"""The plan of a run, printed: `scoder run RECIPE --dry-run`.

In: a recipe. Out: what each stage would do and cost, what it takes of the machine, and the totals.
What nobody can know before is called unknown. With --json it is null, and what a run would be
refused for is there by keys.
"""

from __future__ import annotations

import json
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any

from commands.terminal import announce, console
from store.counts import dollars

if TYPE_CHECKING:
    from builders.recipe import Recipe
    from store import Store

Row = dict[str, Any]
UNKNOWN = "unknown"
SIZES = {
    "weights_gb": "weights",
    "states_gb": "gradients\nand states",
    "activations_gb": "activations",
    "cache_gb": "cache",
}
FITS = {True: "fits", False: "DOES NOT FIT", None: UNKNOWN}
EACH = "; what is said of several iterations is so for each of them"
CLOSE = "close"
"""A prediction that is so near the limit that it may not fit."""


def as_object(store: Store, recipe: Recipe, visible: list[float | None], until: str | None) -> None:
    """Print for programs what `show` and `refuse` say for people, as one object.

    Its `plan` is a list of steps, and the total last. `refused` has an object for each error that a
    run would end with, and `passed_over` a text for each thing that nobody looked at.
    """
    import scoder
    from builders.recipe import planned

    found = scoder.refusals(store, recipe, until, visible, opens=True)
    refused = [{"error": type(error).__name__, "message": str(error)} for error in found]
    plan = {"plan": planned.rows(recipe, visible, scoder.stages_until(recipe, until)), "refused": refused}
    print(json.dumps(plan | {"passed_over": scoder.passed_over(recipe, until)}, default=str))
    _tell(found)


def show(recipe: Recipe, visible: list[float | None], until: str | None) -> None:
    """Print the plan for people: two tables and the totals."""
    import scoder
    from builders.recipe import fitting, planned

    wanted = scoder.stages_until(recipe, until)
    found = planned.rows(recipe, visible, wanted)
    from commands.reports import print_rows

    *steps, total = found
    shown = merged(steps)
    print_rows(console, [_work(row) for row in shown], f"plan of {recipe.name}" + EACH * (len(shown) < len(steps)))
    _print_machine([_machine(row) for row in shown if row["gpus"]])
    for line in totals(steps, total):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    near = fitting.close(recipe, {row["stage"] for row in steps}, visible)
    for note in [*near, *planned.grounds(recipe, visible, wanted)]:
        folded = textwrap.fill(
            note, console.width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        console.print(folded, markup=False, highlight=False, soft_wrap=True)


def merged(steps: list[Row]) -> list[Row]:
    """The steps, with iterations that are alike as one, named `iteration-1 to 2`."""
    found = list[tuple[str, str, list[Row]]]()
    for stage, group in groupby(steps, key=lambda row: str(row["stage"])):
        rows = list(group)
        if found and _is_alike(found[-1][2], rows):
            found[-1] = (found[-1][0], stage, found[-1][2])
        else:
            found.append((stage, stage, rows))
    return [_named(row, first, last) for first, last, rows in found for row in rows]


def _is_alike(one: list[Row], other: list[Row]) -> bool:
    """Whether two iterations differ in nothing but their number."""
    if not all(str(rows[0]["stage"]).startswith("iteration-") for rows in (one, other)):
        return False
    return [_unnumbered(row) for row in one] == [_unnumbered(row) for row in other]


def _unnumbered(row: Row) -> Row:
    return row | {"stage": None, "what": str(row["what"]).replace(_model(row["stage"]), "G")}


def _model(stage: str) -> str:
    """The synthesizer that an iteration trains."""
    return f"G{stage.removeprefix('iteration-')}"


def _named(row: Row, first: str, last: str) -> Row:
    if first == last:
        return row
    what = str(row["what"]).replace(_model(first), f"{_model(first)} to {_model(last)}")
    return row | {"stage": f"{first} to {last.removeprefix('iteration-')}", "what": what}


def _print_machine(rows: list[Row]) -> None:
    """The table of the machine. No name and no number is broken, however narrow the terminal is."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(title="what it takes of the machine, per GPU in GB", title_justify="left", padding=0)
    widths = [
        max(len(line) for text in (name, *(row[name] for row in rows)) for line in str(text).split("\n"))
        for name in rows[0]
    ]
    for name, width in zip(rows[0], widths, strict=True):
        table.add_column(name, justify="left" if name in ("stage", "settings", "fits") else "right", min_width=width)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    needed = sum(widths) + len(widths) + 1
    console.print(table, width=max(console.width, needed), crop=False, soft_wrap=True)


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
        "GB a\nGPU": _taken(row),
        "fits": _fits(row),
        "GPU-\nhours": _number(row["gpu_hours"], 2),
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
        f"dollars: endpoints {'at least ' if unpriced else ''}{dollars(total['known_cost_usd'])}, GPUs {gpus}",
        f"disk: {at_least}{_number(total['known_disk_gb'])} GB stay, and {disk} more while the largest training runs",
        _tightest(steps, total),
    ]


def _working(steps: list[Row]) -> str:
    """The most GPUs that work at once."""
    used = max(row["gpus"] for row in steps)
    return f"{used} GPU{'s' * (used != 1)}"


def _tightest(steps: list[Row], total: Row) -> str:
    """How the tightest step stands, and what is unknown. What does not fit goes before all else."""
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

    for told in scoder.passed_over(recipe, until):
        announce(f"not looked at: {told}")
    _tell(scoder.refusals(store, recipe, until, visible, opens=True))


def _tell(found: list[Exception]) -> None:
    from store.errors import SettingError
    from store.refusals import together

    if any(isinstance(error, SettingError) for error in found):
        raise together(found)
    if found:
        announce(f"this run would be refused now: {together(found)}")
