"""Existing (snippet, problem, solution) triples from a file, as teacher samples.

In: JSON lines or Parquet with the text fields `snippet`, `problem`, `solution` and perhaps
`license`. Out: rows of `raw_pool` and of `teacher_samples`.

    found = list(triples("triples.jsonl"))
    sample_rows(found, recipe.teacher)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from builders.code.functions import functions
from builders.pairs import Parsed, is_python, render
from builders.recipe import Teacher
from builders.teacher import rows as teacher_rows
from store import content_id
from store.errors import InputError, MissingError
from training.errors import loading


def triples(path: str) -> Iterator[dict[str, str]]:
    """The triples of a file, each with its licence.

    InputError names the row that cannot be used.
    """
    if not Path(path).is_file():
        raise MissingError(f"there is no file {path}: give one of JSON lines, or of Parquet (*.parquet)")
    rows = _parquet_rows(path) if path.endswith(".parquet") else _json_lines(path)
    for number, row in enumerate(rows, 1):
        absent = [
            k for k in ("snippet", "problem", "solution") if not isinstance(row.get(k), str) or not row[k].strip()
        ]
        if absent:
            raise InputError(f"{path} row {number}: needs text in {', '.join(absent)}; its fields are {sorted(row)}")
        license_ = str(row.get("license") or "unknown")
        triple = {k: row[k].replace("\r\n", "\n") for k in ("snippet", "problem", "solution")} | {"license": license_}
        try:
            render(triple["problem"], triple["solution"])
            "".join(triple.values()).encode("utf-8")
        except ValueError as error:
            raise InputError(f"{path} row {number}: {error}") from None
        yield triple


def _parquet_rows(path: str) -> list[dict[str, Any]]:
    with loading(path):
        return pq.read_table(path).to_pylist()


def _json_lines(path: str) -> Iterator[dict[str, Any]]:
    # Bad bytes are let through here, so that the error can name their row.
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(f"{path} line {number} is not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise InputError(f"{path} line {number} is not a JSON object")
                yield row


def chosen(found: list[dict[str, str]], num_snippets: int) -> list[dict[str, str]]:
    """The triples of the first `num_snippets` snippets, in the order of their hashes.

    That is a fixed random choice, whatever the order of the file.
    """
    first = set(sorted({content_id("python", t["snippet"]) for t in found})[:num_snippets])
    return [t for t in found if content_id("python", t["snippet"]) in first]


def keys(triple: dict[str, str]) -> tuple[str, str]:
    """The keys of a triple: (sample id, snippet id)."""
    snippet_id = content_id("python", triple["snippet"])
    return content_id(snippet_id, triple["problem"], triple["solution"]), snippet_id


def pair_of(triple: dict[str, str]) -> Parsed:
    """The pair of a triple. Its status is `syntax_error` if the solution is not valid Python."""
    status = "ok" if is_python(triple["solution"]) else "syntax_error"
    return Parsed(status, triple["problem"], triple["solution"])


def sample_rows(
    found: list[dict[str, str]],
    teacher: Teacher,
    verified: Callable[[list[Parsed]], list[Parsed]] = lambda pairs: pairs,
) -> list[dict[str, Any]]:
    """Rows of `teacher_samples` in the order of their hashes, each with its `status` beside them.

    So the splits do not depend on the order of the file. All samples of a snippet are in one split:
    a held-out sample must not be about a snippet that is trained on. `verified` gives pairs that
    fail their examples another status. InputError where a solution is not valid Python.
    """
    snippet_ids = sorted({content_id("python", t["snippet"]) for t in found})
    positions = {snippet_id: position for position, snippet_id in enumerate(snippet_ids)}
    counted = teacher.model_copy(update={"num_snippets": len(positions)})
    named = {}
    for t, pair in zip(found, verified([pair_of(t) for t in found]), strict=True):
        snippet_id = content_id("python", t["snippet"])
        sample = teacher_rows.row({"snippet_id": snippet_id, "position": positions[snippet_id]}, pair, counted)
        named[sample["sample_id"]] = sample
    rows = [named[name] for name in sorted(named)]
    if rejected := [r for r in rows if r["status"] == "syntax_error"]:
        raise InputError(
            f"{len(rejected)} of {len(rows)} solutions are not valid Python, first: "
            f"{rejected[0]['solution'][:200]!r}. Mend them or leave them out"
        )
    return rows


def snippet_rows(found: list[dict[str, str]]) -> list[dict[str, Any]]:
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
            "num_lines": t["snippet"].count("\n") + 1,
            "num_chars": len(t["snippet"]),
            "is_method": False,
            "is_async": bool(function and function.is_async),
        }
    return [rows[k] for k in sorted(rows)]
