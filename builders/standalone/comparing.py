"""Two kept evaluations, or verdicts on samples, made ready for a comparison task by task.

In: two folders of `evaluate -o` or `grade -o`. Out: how many answers of each task were graded and
passed, in both, and sentences about what makes the comparison smaller or weaker.

    found = shared(Path("my-base"), Path("my-coder"))
    found.counts["humaneval", "chat"]    # ({"HumanEval/0": (1, 0), …}, {"HumanEval/0": (1, 1), …})

Two models can only be compared on the same tests, and in the same form. Other tests under the same
name are refused. What is in one folder alone, or differs in its limits, is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.harness import saved
from builders.harness.statistics import Counts
from builders.harness.summary import first_names
from store.errors import InputError

Key = tuple[str, str]
"""A benchmark and a form."""
ASKED = ("num_samples", "temperature", "top_p", "max_tokens")
"""What of an evaluation's settings changes the answers. The limits change the verdicts."""
PLACE = ("path", "config", "split", "revision", "contest_from", "contest_until")
FORMS_APART = "Numbers of two forms say nothing about each other"


@dataclass(frozen=True)
class Shared:
    """By benchmark and form the counts of both, and what people should know of them."""

    counts: dict[Key, tuple[Counts, Counts]]
    remarks: list[str]


def shared(before: Path, after: Path) -> Shared:
    """What two folders have in common.

    InputError if that is nothing, or if they hold verdicts of other tests under the same name.
    """
    first, second = saved.task_counts(before), saved.task_counts(after)
    both = [key for key in first if key in second]
    if not both:
        raise InputError(
            f"{before} and {after} have no benchmark in the same form: they hold {_listed(first)} and "
            f"{_listed(second)}. {FORMS_APART}: ask both models in the same one"
        )
    settings = (_settings(before), _settings(after))
    for benchmark in dict.fromkeys(name for name, _ in both):
        _check_tests(benchmark, (before, after), settings)
    remarks = [
        *_alone(before, first, second),
        *_alone(after, second, first),
        *_otherwise(*settings),
        *(f"{name} (samples): nobody knows in which form the models were asked" for name, f in both if f == "samples"),
    ]
    for key in both:
        remarks += [*_left_out(key, first, second, after), *_left_out(key, second, first, before)]
    return Shared({key: (first[key], second[key]) for key in both}, remarks)


def _settings(folder: Path) -> dict[str, Any]:
    if not (folder / saved.SETTINGS).exists():
        raise InputError(
            f"{folder} does not say which tests its verdicts come from: `scoder grade {folder} --benchmarks … "
            f"-o {folder}` judges the same samples again, and keeps it"
        )
    return saved.settings_of(folder)


def _check_tests(benchmark: str, folders: tuple[Path, Path], settings: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """InputError if the verdicts of the two come from other tests or other tasks."""
    hashes = [_judged_by(kept)["benchmarks"][benchmark] for kept in settings]
    if hashes[0]["all"] == hashes[1]["all"]:
        return
    places = [next(one for one in kept["benchmarks"] if one["name"] == benchmark) for kept in settings]
    what = "tests" if hashes[0]["asked"] == hashes[1]["asked"] else "tasks"
    differs = [f"  {name}: {places[0][name]} -> {places[1][name]}" for name in PLACE if _differ(places, name)]
    where = "\n".join(differs) or f"  the content of {places[0]['path']}, which has changed meanwhile"
    raise InputError(
        f"{benchmark} has other {what} in {folders[1]} than in {folders[0]}, so no difference would mean anything:\n"
        f"{where}\nEvaluate both models on the same file, of the same dates. If only the tests of a file have changed, "
        "`scoder grade` judges the answers in a folder by its new tests"
    )


def _differ(pair: Iterable[Mapping[str, Any]], name: str) -> bool:
    one, other = (each.get(name) for each in pair)
    return bool(one != other)


def _judged_by(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The tests and the limits of the verdicts in a folder."""
    first = {"benchmarks": kept["plan"]["fields"]["benchmarks"], "grading": kept["evaluation"]["grading"]}
    return first | dict(kept.get(saved.JUDGED) or {})


def _alone(folder: Path, mine: Mapping[Key, Counts], theirs: Mapping[Key, Counts]) -> list[str]:
    only = [key for key in mine if key not in theirs]
    return [f"only {folder} has a number for {_listed(only)}: left out"] if only else []


def _left_out(key: Key, mine: Mapping[Key, Counts], theirs: Mapping[Key, Counts], other: Path) -> list[str]:
    """The tasks that one folder has verdicts on, and the other has not."""
    lacking = [task for task, (graded, _) in mine[key].items() if graded and not theirs[key].get(task, (0, 0))[0]]
    if not lacking:
        return []
    verb = "has" if len(lacking) == 1 else "have"
    return [
        f"{_listed([key])}: {len(lacking):,} of {len(mine[key]):,} tasks {verb} no verdict in {other}: left out are "
        f"{first_names(lacking)}"
    ]


def _otherwise(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """How the answers were asked for and judged, where it differs. Samples do not say how."""
    one, other = _how(first), _how(second)
    differ = [name for name in one if name in other and one[name] != other[name]]
    told = "; ".join(f"{name} {one[name]} -> {other[name]}" for name in differ)
    return [f"not asked or judged alike, which may be all that differs: {told}"] if told else []


def _how(kept: Mapping[str, Any]) -> dict[str, Any]:
    settings, limits = kept["evaluation"], _judged_by(kept)["grading"]
    asked = {name: settings[name] for name in ASKED if name in settings}
    return asked | {f"grading.{name}": value for name, value in limits.items() if name != "workers"}


def _listed(keys: Iterable[Key]) -> str:
    return ", ".join(f"{benchmark} ({form})" for benchmark, form in keys) or "nothing"
