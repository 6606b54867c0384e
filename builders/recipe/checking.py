"""What decontamination by execution and by meaning costs, for the plan of a run.

In: a recipe, and how many texts are compared with its benchmarks. Out: hours of one CPU core, and
sentences that say what they rest on. All texts are compared with each benchmark: the functions of
the sources, the teacher's samples, and the candidates of every iteration. The detectors are so fast
that they are left out.

How: by the seconds that `benchmarks/decontamination/costs.py` measured on HumanEval and MBPP. All
texts are run, but a model of sentences reads those only that a detector has a weak hit of.

    cpu_hours(recipe, 80_000)    # 0.0 where neither is on
"""

from __future__ import annotations

from dataclasses import dataclass

from builders.recipe import Recipe


@dataclass(frozen=True)
class Costs:
    """Seconds of one core for one text and one benchmark, as measured."""

    run_s: float
    """In the sandbox."""
    read_share: float
    """Of the texts: those that some detector has a weak hit of. A model of sentences reads them."""
    read_s: float
    """Of a text that all-MiniLM-L6-v2 reads on a CPU."""


ANSWERS = Costs(run_s=0.0065, read_share=0.19, read_s=0.066)
"""Of the teacher's samples and of candidates: the mean of 200 answers of CodeAlpaca each."""
FUNCTIONS = Costs(run_s=0.012, read_share=0.015, read_s=0.026)
"""Of the functions of sources: the mean of 200 of the standard library and of packages each."""
PER = 100_000
"""Functions for which the cost is told where their number is unknown."""
HOUR = 3600


def checked_by(recipe: Recipe) -> str:
    """What else than the detectors looks for benchmarks, in words for a step of the plan."""
    ways = [name for name, hours in _hours(recipe, 1).items() if hours]
    return f", also by {' and by '.join(ways)}" if ways else ""


def cpu_hours(recipe: Recipe, texts: int | None) -> float | None:
    """Hours of one core for so many texts, on all benchmarks together; None for unknown many."""
    if not checked_by(recipe):
        return 0.0
    return None if texts is None else sum(_hours(recipe, texts).values())


def _hours(recipe: Recipe, texts: int, costs: Costs | None = None) -> dict[str, float]:
    costs = costs or ANSWERS
    times, settings = len(recipe.benchmarks) * texts / HOUR, recipe.decontamination
    return {
        "execution": times * costs.run_s if settings.execution else 0.0,
        "meaning": times * costs.read_share * costs.read_s if settings.meaning is not None else 0.0,
    }


def told(recipe: Recipe, texts: int, is_whole: bool, is_gpu_there: bool) -> list[str]:
    """The sentences. `texts` are those whose number is known; `is_whole` says that no others come
    but the functions of the pool. With 0 texts only these are checked.
    """
    if not recipe.benchmarks:
        return []
    hours, each, meaning = _hours(recipe, texts), _hours(recipe, PER, FUNCTIONS), recipe.decontamination.meaning
    num = len(recipe.benchmarks)
    against = f"{num} benchmark{'s' * (num != 1)}"
    many = (
        f"{texts:,} texts (the teacher's samples and candidates{'' if is_whole else ', without the rest of the pool'})"
        if texts
        else "all functions of the sources"
    )
    said = []
    if recipe.decontamination.execution:
        said.append(
            f"decontamination.execution: {many} are run in the sandbox on the calls of {against}: "
            f"{_amount(hours['execution'], each['execution'])}. Measured: {ANSWERS.run_s:g} s of a core per text and "
            f"benchmark, {FUNCTIONS.run_s:g} s of a function; workers share them"
        )
    if meaning is not None:
        place = "on a GPU it was not measured" if is_gpu_there else "there is no GPU to take them"
        said.append(
            f"decontamination.meaning: of {many}, {meaning.model} reads those that a detector has a weak hit of, "
            f"{ANSWERS.read_share:.0%} for each of {against}: {_amount(hours['meaning'], each['meaning'])}. Measured on "
            f"a CPU with all-MiniLM-L6-v2: {1000 * ANSWERS.read_s:g} ms a text; {place}"
        )
    return said


def _amount(hours: float, each: float) -> str:
    known = f"{hours:.2g} hours of one core, and {each:.2g}" if hours else f"{each:.2g} hours of one core"
    return f"{known} for every {PER:,} functions of the sources, whose number is known after extraction"
