"""teacher_samples: the superior samples that bootstrap the synthesizer.

In: the first snippets of the pool and a teacher: the function's own docstring and body (offline), any generation engine, or
a file of triples. Out: `teacher_samples`, split by the place in the seeded pool order into reference (influence only),
validation (metrics only) and train, of which a share is set aside for the scorer. A sample that an engine wrote must
parse, and pass its own examples in the sandbox where it carries any.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders import sandbox
from builders.code.functions import functions, without_docstring
from builders.engines import Completion, Request, open_engine, prompts
from builders.engines import answers as generation
from builders.engines.settings import Pace
from builders.pairs import Parsed, as_json, examples, is_python, parse, render
from builders.pool import snippets
from builders.recipe import Recipe, Teacher
from store import CONTRACTS, Plan, Record, Store, Usage, content_id, fingerprint, seed_from

SHARD = 500


def build(store: Store, recipe: Recipe) -> Record:
    """Ask the teacher about the first `num_snippets` snippets of the pool."""
    teacher = recipe.teacher
    plan = Plan(
        table="teacher_samples",
        inputs=store.input("pool"),
        fields=_identity(teacher) | {"seed": recipe.seed},
        texts=prompts.versions(teacher.prompt) if teacher.engine != "docstring" else {},
        num_shards=-(-teacher.num_snippets // SHARD),
    )
    existing = store.record("teacher_samples")
    if existing is not None and existing.status == "complete" and not is_asked(store):
        store.announce(f"teacher_samples: {existing.rows:,} imported samples")
        return existing
    if teacher.engine == "docstring":
        return store.materialize(plan, lambda shard: _offline(_snippets(store, teacher, shard), teacher))
    return _asked(store, recipe, plan)


def is_asked(store: Store) -> bool:
    """Whether a teacher was asked about the pool, rather than a file imported."""
    record = store.record("teacher_samples")
    return record is not None and "file" not in record.plan.fields


def _identity(teacher: Teacher) -> dict[str, Any]:
    """What of the teacher's settings changes its samples."""
    return teacher.model_dump(mode="json", exclude={"base_url", *Pace.model_fields})


def _snippets(store: Store, teacher: Teacher, shard: int) -> list[dict[str, Any]]:
    return snippets(store, shard * SHARD, min((shard + 1) * SHARD, teacher.num_snippets))


def _offline(found: list[dict[str, Any]], teacher: Teacher) -> pa.Table:
    return _table([_row(s, _from_docstring(s), teacher) for s in found])


def _asked(store: Store, recipe: Recipe, plan: Plan) -> Record:
    teacher, settings = recipe.teacher, recipe.teacher.engine_settings()
    if teacher.run_examples:
        _require_sandbox()  # before the first answer is paid for
    if (built := store.built(plan)) is not None:
        return built
    read = as_json.parse if teacher.answer_form == "json" else parse

    def requests_of(shard: int) -> list[Request]:
        return [_request(s, recipe) for s in _snippets(store, teacher, shard)]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        found = _snippets(store, teacher, shard)
        completions = answers.of(shard, [_request(s, recipe).request_id for s in found])
        pairs = _verified(store, teacher, [read(c.text, c.finish_reason) for c in completions])
        rows = [
            _row(snippet, pair, teacher) | _price(teacher, completion)
            for snippet, pair, completion in zip(found, pairs, completions, strict=True)
        ]
        return _table(rows), generation.usage(settings, completions)

    spent, state = generation.spent(store, plan.table, settings), generation.batches(store, plan)
    with (
        open_engine(settings, teacher.model, spent=spent, state=state) as engine,
        generation.Answers(
            generation.journals(store, plan), store.missing(plan), settings, engine.generate, requests_of,
            is_usable=lambda c: read(c.text, c.finish_reason).status == "ok", max_reasks=teacher.max_reasks,
        ) as answers,
    ):  # fmt: skip
        return store.materialize(plan, make)


def _require_sandbox() -> None:
    try:
        sandbox.require()
    except RuntimeError as error:
        raise RuntimeError(f"{error} Or set teacher.run_examples to false: samples are then only parsed.") from None


def _verified(store: Store, teacher: Teacher, pairs: list[Parsed]) -> list[Parsed]:
    """The pairs, with a status of their own for those that fail their examples."""
    if not teacher.run_examples:
        return pairs
    programs = (
        (n, examples.program(p.problem or "", p.solution or "")) for n, p in enumerate(pairs) if p.status == "ok"
    )
    carrying = [(n, program) for n, program in programs if program is not None]
    results = sandbox.run_many(carrying, workers=os.cpu_count() or 1)
    failed = {n for n, result in results if result.status != "passed"}
    if failed:
        store.announce(
            f"teacher_samples: {len(failed)} of {len(carrying)} samples with examples fail them and are left out"
        )
    return [Parsed("failed_examples", p.problem, p.solution) if n in failed else p for n, p in enumerate(pairs)]


def _price(teacher: Teacher, completion: Completion) -> dict[str, Any]:
    tokens = completion.num_prompt_tokens, completion.num_completion_tokens
    return {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "cost_usd": teacher.cost(*tokens)}


def _request(snippet: dict[str, Any], recipe: Recipe) -> Request:
    teacher = recipe.teacher
    text = prompts.render(teacher.prompt, code=snippet["code"])
    name = content_id("teacher", teacher.model, snippet["snippet_id"], text)
    return Request(
        request_id=name,
        messages=({"role": "user", "content": text},),
        max_tokens=teacher.max_tokens,
        temperature=teacher.temperature,
        seed=seed_from(name, recipe.seed),
        json_schema=as_json.SCHEMA if teacher.answer_form == "json" else None,
    )


def _from_docstring(snippet: dict[str, Any]) -> Parsed:
    """The offline teacher: problem from signature and docstring, solution from the body, checked to parse."""
    signature = snippet["signature"].split("def ", 1)[1].rstrip(":")
    problem = f"Write a function `{signature}`.\n\n{snippet['docstring']}"
    if "###" in problem or "```" in problem:
        return Parsed("no_problem")
    try:
        solution = without_docstring(snippet["code"])
    except (SyntaxError, ValueError):
        return Parsed("no_solution", problem)
    return Parsed("ok" if is_python(solution) else "syntax_error", problem, solution)


def _row(snippet: dict[str, Any], pair: Parsed, teacher: Teacher) -> dict[str, Any]:
    split, for_scorer = split_of(snippet["position"], teacher)
    return {
        "status": pair.status,
        "sample_id": content_id(snippet["snippet_id"], pair.problem or "", pair.solution or ""),
        "snippet_id": snippet["snippet_id"],
        "problem": pair.problem,
        "solution": pair.solution,
        "split": split,
        "model": teacher.model,
        "prompt_version": "" if teacher.engine == "docstring" else prompts.version(teacher.prompt),
        "is_for_scorer": for_scorer,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cost_usd": None,
    }


def split_of(position: int, teacher: Teacher) -> tuple[str, bool]:
    """Split and scorer flag by the place among the teacher's snippets, whose order is already a seeded shuffle."""
    held_out = teacher.reference_share + teacher.validation_share
    shares = (teacher.reference_share, held_out, held_out + teacher.scorer_share * (1 - held_out))
    # 0.1 + 0.2 is 0.30000000000000004: what is a whole number but for rounding is that number
    reference_end, validation_end, scorer_end = (math.ceil(teacher.num_snippets * s - 1e-6) for s in shares)
    if position < reference_end:
        return "reference", False
    if position < validation_end:
        return "validation", False
    return "train", position < scorer_end


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows that verify; the others are rejects, which rejects_teacher.sql finds by their absence."""
    kept = [{k: v for k, v in row.items() if k != "status"} for row in rows if row["status"] == "ok"]
    return pa.Table.from_pylist(kept, schema=CONTRACTS["teacher_samples"].schema)


# -- existing triples --------------------------------------------------------------------------------------------------


def import_file(store: Store, path: str, teacher: Teacher) -> Record:
    """Read (snippet, problem, solution) triples from JSONL or Parquet as the teacher samples of a store."""
    triples = list(_triples(path))
    known = {i for t in store.read("raw_pool", ["snippet_id"]) for i in t.column(0).to_pylist()}
    rows = _imported_rows(triples, teacher)
    plan = Plan(
        table="teacher_samples",
        fields={"file": fingerprint(triples), "teacher": _identity(teacher)},
        num_shards=1,
    )
    # before the snippets: a plan that is refused must leave none of them in the store
    if (built := store.built(plan)) is not None:
        return built
    _import_snippets(store, [t for t in triples if content_id("python", t["snippet"]) not in known])
    return store.materialize(plan, lambda index: _table(rows))


def _triples(path: str) -> Iterator[dict[str, str]]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    rows = pq.read_table(path).to_pylist() if path.endswith(".parquet") else _json_lines(path)
    for number, row in enumerate(rows, 1):
        absent = [
            k for k in ("snippet", "problem", "solution") if not isinstance(row.get(k), str) or not row[k].strip()
        ]
        if absent:
            raise ValueError(f"{path} row {number}: needs text in {', '.join(absent)}; its fields are {sorted(row)}")
        license_ = str(row.get("license") or "unknown")
        triple = {k: row[k].replace("\r\n", "\n") for k in ("snippet", "problem", "solution")} | {"license": license_}
        try:
            render(triple["problem"], triple["solution"])
            "".join(triple.values()).encode("utf-8")
        except ValueError as error:
            raise ValueError(f"{path} row {number}: {error}") from None
        yield triple


def _json_lines(path: str) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as handle:  # bad bytes are told with their row
        for number, line in enumerate(handle, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path} line {number} is not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{path} line {number} is not a JSON object")
                yield row


def _imported_rows(triples: list[dict[str, str]], teacher: Teacher) -> list[dict[str, Any]]:
    """Rows in the order of their hashes, so that the splits do not depend on the order of the file.

    All samples of a snippet are in one split: a held-out sample about a snippet of the train split would not be unseen.
    """
    snippet_ids = sorted({content_id("python", t["snippet"]) for t in triples})
    positions = {snippet_id: position for position, snippet_id in enumerate(snippet_ids)}
    counted = teacher.model_copy(update={"num_snippets": len(positions), "engine": "docstring", "model": "import"})
    named = {}
    for t in triples:
        snippet_id = content_id("python", t["snippet"])
        pair = Parsed("ok" if is_python(t["solution"]) else "syntax_error", t["problem"], t["solution"])
        row = _row({"snippet_id": snippet_id, "position": positions[snippet_id]}, pair, counted)
        named[row["sample_id"]] = row
    rows = [named[name] for name in sorted(named)]
    if rejected := [r for r in rows if r["status"] != "ok"]:
        raise ValueError(
            f"{len(rejected)} of {len(rows)} solutions are not valid Python, first: {rejected[0]['solution'][:200]!r}"
        )
    return rows


def _import_snippets(store: Store, triples: list[dict[str, str]]) -> None:
    """Snippets that the pool does not know become a partition of raw_pool of their own, so that text is written once."""
    rows = {}
    for t in triples:
        name = content_id("python", t["snippet"])
        found = next(functions(t["snippet"]), None) if is_python(t["snippet"]) else None
        rows[name] = {
            "snippet_id": name,
            "language": "python",
            "name": found.name if found else "",
            "code": t["snippet"],
            "signature": found.signature if found else "",
            "docstring": found.docstring if found else "",
            "license": t["license"],
            "num_lines": t["snippet"].count("\n") + 1,
            "num_chars": len(t["snippet"]),
            "is_method": False,
            "is_async": bool(found and found.is_async),
        }
    plan = Plan(table="raw_pool", partition={"origin": "import"}, fields={"snippets": sorted(rows)}, num_shards=1)
    ordered = [rows[k] for k in sorted(rows)]
    store.materialize(plan, lambda index: pa.Table.from_pylist(ordered, schema=CONTRACTS["raw_pool"].schema))
