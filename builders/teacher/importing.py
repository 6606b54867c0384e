"""Existing (snippet, problem, solution) triples from a file, as teacher samples.

In: a file in any form that `builders/datasets/rows.py` reads, with the text fields
`snippet`, `problem` and `solution`, and perhaps `license` and `id`. Out: rows of `raw_pool`
and of `teacher_samples`.

    found = list(triples("triples.jsonl"))
    sample_rows(found, recipe.teacher)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from builders.code.functions import functions, parsed
from builders.datasets.rows import rows
from builders.pairs import Parsed, is_python, render
from builders.recipe import Teacher
from builders.sources import license_choices
from builders.teacher import rows as teacher_rows
from store import content_id
from store.errors import InputError, MissingError

Triple = dict[str, str]

FORMS = "JSON lines, one JSON array, CSV, Parquet or Arrow"
TEXTS = ("snippet", "problem", "solution")


def triples(path: str) -> Iterator[Triple]:
    """The triples of a file, each with its licence.

    InputError names the row that cannot be used.
    """
    return (triple for _, triple in named_triples(path))


def named_triples(path: str, *, has_own_ids: bool = False) -> Iterator[tuple[str, Triple]]:
    """The triples of a file, each with the name of its row: `row 3 (id 'a')`, or `row 3`.

    With `has_own_ids`, an `id` that two rows have is an InputError, too.
    """
    seen: dict[str, int] = {}
    if not Path(path).is_file():
        raise MissingError(f"there is no file {path}: give one of {FORMS}")
    for number, row in enumerate(_rows(path), 1):
        absent = [k for k in TEXTS if not isinstance(row.get(k), str) or not row[k].strip()]
        if absent:
            raise InputError(f"{path} row {number}: needs text in {', '.join(absent)}; its fields are {sorted(row)}")
        license_ = license_choices.listed(row.get("license")) or "unknown"
        triple = {k: row[k].replace("\r\n", "\n") for k in TEXTS} | {"license": license_}
        try:
            render(triple["problem"], triple["solution"])
            "".join(triple.values()).encode("utf-8")
        except ValueError as error:
            raise InputError(f"{path} row {number}: {error}") from None
        if row.get("id") is None:
            yield f"row {number}", triple
            continue
        if has_own_ids and (first := seen.setdefault(repr(row["id"]), number)) != number:
            raise InputError(
                f"{path}: rows {first} and {number} have the same id {row['id']!r}. Give each row its own, or none"
            )
        yield f"row {number} (id {row['id']!r})", triple


def _rows(path: str) -> Iterator[dict[str, Any]]:
    """The rows of a file. InputError for a row that is no object, or for bytes that are no text."""
    for number, row in enumerate(rows(path), 1):
        if not isinstance(row, dict):
            raise InputError(f"{path} row {number} is not a JSON object, but a {type(row).__name__}")
        yield row


def chosen(named: list[tuple[str, Triple]], num_snippets: int) -> list[tuple[str, Triple]]:
    """The triples of the first `num_snippets` snippets, in the order of their hashes.

    That is a fixed random choice, whatever the order of the file.
    """
    first = set(sorted({content_id("python", t["snippet"]) for _, t in named})[:num_snippets])
    return [(name, t) for name, t in named if content_id("python", t["snippet"]) in first]


def keys(triple: Triple) -> tuple[str, str]:
    """The keys of a triple: (sample id, snippet id)."""
    snippet_id = content_id("python", triple["snippet"])
    return content_id(snippet_id, triple["problem"], triple["solution"]), snippet_id


def repeated(path: str) -> list[str]:
    """The rows of a file that say the same as an earlier one, in words; they are not used."""
    first: dict[str, str] = {}
    found = []
    for name, triple in named_triples(path):
        earlier = first.setdefault(keys(triple)[0], name)
        if earlier != name:
            found.append(f"{name} is the same as {earlier}")
    return found


def faults(named: list[tuple[str, Triple]]) -> dict[int, str]:
    """Why triples are left out, by their places: a text is not Python, or stands there twice."""
    found: dict[int, str] = {}
    seen: dict[tuple[str, str], str] = {}
    for place, (name, triple) in enumerate(named):
        first = seen.setdefault(keys(triple), name)
        bad = [f"its {what} {reason}" for what in ("snippet", "solution") if (reason := _fault(triple[what]))]
        if bad:
            found[place] = " and ".join(bad)
        elif first != name:
            found[place] = f"it is the same as {first}"
    return found


def _fault(code: str) -> str | None:
    if is_python(code):
        return None
    if code.lstrip().startswith("```"):
        return "stands in a fence (```): leave the fence out"
    try:
        parsed(code)
    except SyntaxError as error:
        return f"is not valid Python ({error.msg}, line {error.lineno})"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"is not valid Python ({error})"
    return None


def pair_of(triple: Triple) -> Parsed:
    """The pair of a triple. Its status is `syntax_error` if the solution is not valid Python."""
    status = "ok" if is_python(triple["solution"]) else "syntax_error"
    return Parsed(status, triple["problem"], triple["solution"])


def require_python(path: str) -> None:
    """InputError, with the first rows, where solutions are not valid Python."""
    named = list(named_triples(path))
    bad = [(name, reason) for name, triple in named if (reason := _fault(triple["solution"]))]
    if bad:
        told = shown([f"{name}: it {reason}" for name, reason in bad])
        raise InputError(
            f"{path}: {len(bad)} of {len(named)} solutions are not valid Python. {told}. Mend them or leave them out"
        )


def shown(items: list[str], most: int = 5) -> str:
    """The first items and how many there are besides.

    shown(["a", "b", "c"], most=2)    # 'a; b; and 1 more'
    """
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return "; ".join(items[:most] + more)


def sample_rows(
    found: list[Triple],
    teacher: Teacher,
    verified: Callable[[list[Parsed]], list[Parsed]] = lambda pairs: pairs,
) -> list[dict[str, Any]]:
    """Rows of `teacher_samples` in the order of their hashes, each with its `status` beside them.

    So the splits do not depend on the order of the file. All samples of a snippet are in one split:
    a held-out sample must not be about a snippet that is trained on. `verified` gives pairs that
    cannot be used another status.
    """
    snippet_ids = sorted({content_id("python", t["snippet"]) for t in found})
    positions = {snippet_id: position for position, snippet_id in enumerate(snippet_ids)}
    counted = teacher.model_copy(update={"num_snippets": len(positions)})
    named: dict[str, dict[str, Any]] = {}
    for t, pair in zip(found, verified([pair_of(t) for t in found]), strict=True):
        snippet_id = content_id("python", t["snippet"])
        sample = teacher_rows.row({"snippet_id": snippet_id, "position": positions[snippet_id]}, pair, counted)
        named.setdefault(sample["sample_id"], sample)
    return [named[name] for name in sorted(named)]


def snippet_rows(found: list[Triple]) -> list[dict[str, Any]]:
    """The snippets of triples as rows of `raw_pool`, in the order of their keys."""
    rows = {}
    for t in found:
        name = content_id("python", t["snippet"])
        function = next(functions(t["snippet"]), None) if is_python(t["snippet"]) else None
        rows[name] = {
            "snippet_id": name,
            "language": "python",
            "name": function.name if function else "",
            "code": t["snippet"],
            "signature": function.signature if function else "",
            "docstring": function.docstring if function else "",
            "license": t["license"],
            "license_source": "none" if t["license"] == "unknown" else "dataset",
            "num_lines": t["snippet"].count("\n") + 1,
            "num_chars": len(t["snippet"]),
            "is_method": False,
            "is_async": bool(function and function.is_async),
            "imports": None,
            "context": None,
            "is_generated": False,
        }
    return [rows[k] for k in sorted(rows)]
