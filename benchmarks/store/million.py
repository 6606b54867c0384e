"""A store with a million candidates: what selecting, scoring, reading and checking it costs.

    python benchmarks/store/million.py [--candidates 1000000] [--folder DIR] [--only select,verify]
    python benchmarks/store/million.py --checkout ../before     # a column for an older checkout
    python benchmarks/store/million.py --small store-data       # sql, status and show on a store

Builds a synthetic store: candidates, 6.4 digits and 0.8 influences for each, in files as the code
of the checkout writes them. The same numbers stand in it, whichever checkout wrote it. Each step is
then one command, or one function, in a fresh process. Printed are its wall time, its CPU seconds
with those of its children, and its peak memory. With `--checkout`, the older code builds a store of
its own and runs the same steps; what it does not have is left out.

An older checkout reads what is to be scored anew for each shard. A few shards are then measured,
and the whole is extrapolated; the table says so. The store takes 0.5 GB for a million candidates,
and stays in `--folder` for the next call.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]
PER_SNIPPET = 16
SCORED_SHARDS = 3
"""How many shards are measured where the whole would take hours."""
WEIGHTS = "{consistency: 1, correctness: 3, clarity: 1, difficulty: 2, lint: 1}"
OTHER = ["--set", "selection.min_score=4.5", "--set", f"selection.weights={WEIGHTS}"]


# -- the store -------------------------------------------------------------------------------------


def digits(number: str, aspect: str) -> str:
    """SQL of a digit 0..9 that depends on an item and an aspect."""
    return f"(('0x' || substr(md5({number} || {aspect}), 1, 8))::BIGINT % 10)"


def scores(items: str, kind: str, order: str) -> str:
    """SQL of the digits of items `(item_id, i)`, with expected digits that differ from them."""
    from store import ASPECTS, CODE_ASPECTS

    listed = "['" + "', '".join(ASPECTS + CODE_ASPECTS) + "']"
    return f"""
        SELECT item_id, '{kind}' AS item_kind, aspect,
            CASE WHEN aspect IN ('parses', 'lint') THEN 'code' ELSE 'sc' END AS scorer,
            'v' AS prompt_version, digit::TINYINT AS score, (digit * 0.9 + 0.3)::FLOAT AS expected
        FROM (
            SELECT item_id, i, aspect, {digits("i", "aspect")} AS digit
            FROM ({items}) CROSS JOIN (SELECT unnest({listed}) AS aspect)
        )
        ORDER BY {order}, aspect"""


def tables(num: int, reference: str, features: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], int, str]]:
    """Table, partition, inputs as partitions, rows per shard, and SQL of its rows."""
    snippets = num // PER_SNIPPET
    filler = "repeat('    x = a + ' || md5((i + 2)::VARCHAR) || chr(10), 15)"
    yield (
        "raw_pool", {}, {}, 10_000,
        f"""SELECT md5(i::VARCHAR) AS snippet_id, 'python' AS language, 'f' || i AS name,
            'def f' || i || '(a, b):' || chr(10) || {filler} || '    return x' AS code,
            'def f' || i || '(a, b):' AS signature, 'doc' AS docstring, 'MIT' AS license,
            18 AS num_lines, 900 AS num_chars, false AS is_method, false AS is_async, false AS is_generated
        FROM range({snippets}) AS t(i) ORDER BY 1""",
    )  # fmt: skip
    yield (
        "pool", {}, {"raw_pool": {}}, 10_000,
        f"""SELECT md5(i::VARCHAR) AS snippet_id, row_number() OVER (ORDER BY md5(i || 'x')) - 1 AS position,
            'MIT' AS license, 100 AS num_tokens, 3 AS cyclomatic
        FROM range({snippets}) AS t(i) ORDER BY position""",
    )  # fmt: skip
    saved = """NULL::VARCHAR AS base_revision, NULL::VARCHAR AS location, 0.1::DOUBLE AS learning_rate,
        NULL::DOUBLE AS train_loss, 1 AS num_rows"""
    yield (
        "checkpoints", {"role": "scorer"}, {}, 10,
        f"""SELECT 'sc' AS checkpoint_id, 'scorer' AS role, NULL::INTEGER AS iteration, 1 AS step,
            true AS is_final, true AS is_adapter, 'b' AS base_model, {saved}""",
    )  # fmt: skip
    yield (
        "checkpoints", {"role": "synthesizer", "iteration": 0}, {}, 10,
        f"""SELECT 'ck' || i AS checkpoint_id, 'synthesizer' AS role, 0 AS iteration, i::INTEGER AS step,
            i = 3 AS is_final, true AS is_adapter, 'b' AS base_model, {saved}
        FROM range(4) AS t(i)""",
    )  # fmt: skip
    completion = "'completion ' || md5('p' || i) || repeat(' that takes values and returns ' || md5('q' || i), 12)"
    yield (
        "candidates", {"iteration": 1}, {"pool": {}}, 256,
        f"""SELECT md5('c' || i) AS candidate_id, 1 AS iteration,
            md5((i // {PER_SNIPPET})::VARCHAR) AS snippet_id, 'ck' || (i % 4) AS checkpoint_id,
            ((i // 4) % 4)::INTEGER AS sample_index,
            CASE WHEN i % 5 > 0 THEN 'Write a function ' || md5('p' || i)
                || repeat(' that takes values and returns', 8) END AS problem,
            CASE WHEN i % 5 > 0 THEN 'def f(a):' || chr(10)
                || repeat('    a = a + ' || md5('q' || i) || chr(10), 8) || '    return a' END AS solution,
            {completion} AS completion,
            CASE WHEN i % 5 > 0 THEN 'ok' ELSE 'syntax_error' END AS parse_status,
            CASE WHEN i % 5 > 0 THEN md5('t' || (i - (i % 50 = 7)::INTEGER)) END AS text_hash,
            'stop' AS finish_reason, 'v' AS prompt_version, 300 AS prompt_tokens,
            300 AS completion_tokens, -10.0::FLOAT AS logprob, NULL::DOUBLE AS cost_usd
        FROM range({num}) AS t(i) ORDER BY i""",
    )  # fmt: skip
    parsed = f"SELECT md5('c' || i) AS item_id, i FROM range({num}) AS t(i) WHERE i % 5 > 0"
    where = {"item_kind": "candidate", "iteration": 1}
    yield "aspect_scores", where, {"candidates": {"iteration": 1}}, 4096, scores(parsed, "candidate", "i")
    taught = "SELECT md5('t' || i) AS item_id, i FROM range(300) AS t(i)"
    yield "aspect_scores", {"item_kind": "teacher"}, {}, 10_000, scores(taught, "teacher", "i")
    yield (
        "contamination", where | {"benchmark": "demo"}, {"candidates": {"iteration": 1}}, 50,
        f"""SELECT md5('c' || i) AS item_id, 'candidate' AS item_kind, 'demo' AS benchmark, 't1' AS task_id,
            'ngram' AS detector, ((i % 7) / 7.0)::FLOAT AS strength, 0.5::FLOAT AS similarity,
            40.0::FLOAT AS information, 'e' AS evidence
        FROM range({num}) AS t(i) WHERE i % 500 = 1 ORDER BY i""",
    )  # fmt: skip
    yield (
        "influence", {"iteration": 1, "reference": reference, "batch": "main"}, {}, 10_000_000,
        f"""SELECT md5('c' || i) AS candidate_id, 1 AS iteration, '{reference}' AS reference,
            '{features}' AS features, 'main' AS batch,
            (('0x' || substr(md5('i' || i), 1, 8))::BIGINT % 20001) / 10000.0 - 1 AS influence,
            0.5::DOUBLE AS influence_max, 1.0::FLOAT AS loss, 1.0::FLOAT AS norm
        FROM range({num}) AS t(i) WHERE i % 5 > 0 ORDER BY 1""",
    )  # fmt: skip


def recipe_of() -> Any:
    """The recipe `tiny` with fixed weights, which fit no teacher sample."""
    files = recipe_files()
    return files.load("./recipes/tiny.yaml", ["scoring.method=fixed"])


def recipe_files() -> Any:
    """The module that reads recipes; it had another name before."""
    try:
        from builders.recipe import files
    except ImportError:
        from builders import recipe_files as files  # type: ignore[no-redef,attr-defined]
    return files


def scoring_of(recipe: Any) -> Any:
    """What `aspect_weights.build` takes: the section, or the whole recipe in older code."""
    from builders import aspect_weights

    return recipe.scoring if "scoring" in inspect.signature(aspect_weights.build).parameters else recipe


def build(folder: str, num: int) -> None:
    """Write the store, up to what an iteration has before its first selection."""
    import duckdb

    import scoder
    from builders import aspect_weights, metrics, rejects, scored
    from builders.gradients import features
    from store import Plan, Store
    from store.lock import coordinator

    recipe = recipe_of()
    store = Store(folder)
    with coordinator(store.root):
        recipe_files().remember(store.root, recipe)
        for table, partition, inputs, rows_per_shard, sql in tables(num, recipe.influence.reference, features(recipe)):
            named: dict[str, str] = {}
            for name, where in inputs.items():
                named |= store.input(name, **where)
            plan = Plan(table=table, partition=partition, inputs=named, fields={"rows": num, "min_strength": 0.5},
                        rows_per_shard=rows_per_shard)  # fmt: skip

            def rows(sql: str = sql) -> Any:
                connection = duckdb.connect()
                connection.execute("SET memory_limit = '4GB'; SET preserve_insertion_order = true")
                return connection.sql(sql).to_arrow_reader(10_000)

            store.materialize_stream(plan, rows)
        aspect_weights.build(store, scoring_of(recipe), 1)
        scored.build(store, 1)
        both = store.input("candidates", iteration=1) | store.input("scored", iteration=1)
        rejects.build(store, "scored", both, {"iteration": 1}, iteration=1)
        rejects.build(store, "candidates", store.input("candidates", iteration=1), {"iteration": 1}, iteration=1)
        if "scoring" in inspect.signature(getattr(metrics, "build_mean_score", len)).parameters:
            metrics.build_mean_score(store, recipe.scoring, 1, "G0")
        elif hasattr(metrics, "build_mean_score"):  # older code
            metrics.build_mean_score(store, 1, "G0")
        else:  # older code
            metrics.build_query(store, "mean_score", 1, store.input("scored", iteration=1), subject="G0")
        scoder.select(store, recipe, 1, "default")


# -- steps that are functions: each runs in a fresh process ----------------------------------------


def step_scored(store: str) -> None:
    """Scores of an iteration, from the digits."""
    from builders import scored
    from store import Store

    scored.build(Store(store), 1)


def step_weights(store: str) -> None:
    """The contrast fit of the weights over all digits."""
    from builders import aspect_weights
    from store import Store

    recipe = recipe_files().load("./recipes/tiny.yaml", ["scoring.method=contrast"])
    aspect_weights.build(Store(store), scoring_of(recipe), 1, "fitted")


def step_read(store: str) -> dict[str, Any]:
    """All items that are to be scored, read twice as `aspect_scores` does: to ask, and to write."""
    import queries
    from store import Store

    opened = Store(store)
    if "start" in queries.parameters("candidates_to_score"):
        return read_by_shard(opened)
    # an older checkout has no such module
    staging = importlib.import_module("store.staging")
    from store import Plan
    from store.catalog import connect

    source = opened.input("candidates", iteration=1) | opened.input("raw_pool")
    (count,) = queries.rows(connect(opened, source), "candidates_to_score_count", {"iteration": 1})
    size, num = 4096, count["num_items"]
    where: dict[str, Any] = {"item_kind": "candidate", "iteration": 7}
    plan = Plan(table="aspect_scores", partition=where, inputs=source, num_shards=-(-num // size), rows_per_shard=size)

    def rows() -> Any:
        limited = connect(opened, source, **staging.SMALL)
        return queries.stream(limited, "candidates_to_score", {"iteration": 1})

    read = 0
    with staging.staged(opened, plan, rows, by=("snippet_id", "item_id")) as items:
        for start in range(0, num, size):
            for _ in range(2):
                read += len(items.rows(start, start + size))
    assert read == 2 * num, (read, num)
    return {}


def read_by_shard(opened: Any) -> dict[str, Any]:
    """The same in older code, which reads every shard with a query of its own."""
    import queries
    from builders import aspect_scores
    from store.catalog import connect

    shard = aspect_scores.SHARD  # type: ignore[attr-defined, unused-ignore]
    num = queries.rows(connect(opened), "candidates_to_score_count", {"iteration": 1})[0]["num_items"]
    shards = -(-num // shard)
    measured = sorted({round(n * (shards - 1) / (SCORED_SHARDS - 1)) for n in range(SCORED_SHARDS)})
    for index in measured:
        window = {"iteration": 1, "start": shard * index, "stop": shard * (index + 1)}
        queries.rows(connect(opened), "candidates_to_score", window)
    return {"factor": 2 * shards / len(measured), "note": f"{len(measured)} reads, extrapolated to {2 * shards:,}"}


def prepare_resume(store: str) -> None:
    """Write all shards of a partition without finishing it: as if it were killed just before."""
    from store import Plan, Store

    opened = Store(store)
    record = opened.record("candidates", iteration=1)
    assert record is not None, store
    paths = opened.shard_paths("candidates")
    shards = -(-record.rows // 256)
    plan = Plan(table="candidates", partition={"iteration": 7}, inputs=opened.input("pool"), num_shards=shards,
                rows_per_shard=256)  # fmt: skip
    opened.begin(plan)
    for index, rows in enumerate(chunks(paths, 256)):
        opened.write(plan, index, rows)


def chunks(paths: list[str], size: int) -> Iterator[Any]:
    """Tables of `size` rows from Parquet files, whatever their own sizes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from store.shards import rechunk

    def batches() -> Iterator[pa.RecordBatch]:
        for path in paths:
            yield from pq.read_table(path).to_batches()

    yield from rechunk(batches(), pq.read_schema(paths[0]).remove_metadata(), size)


def step_resume(store: str) -> None:
    """Resume that partition: find that no shard is missing, and finish it."""
    from store import Store

    opened = Store(store)
    record = opened.record("candidates", iteration=7)
    assert record is not None, store

    def never(index: int) -> Any:
        raise AssertionError(f"shard {index} was written, but it is made again")

    opened.materialize(record.plan, never)


# -- measuring -------------------------------------------------------------------------------------


def drop(store: str, *partitions: str) -> None:
    """Remove partitions and their records, so that a step builds them again."""
    for where in partitions:
        for folder in (Path(store, where), Path(store, "_runs", where)):
            shutil.rmtree(folder, ignore_errors=True)


def chosen(store: str, name: str) -> tuple[str, str]:
    """The partitions that `select --name` writes."""
    return f"selected/iteration-1/selection-{name}", f"rejects/stage-selected/iteration-1/selection-{name}"


def select(*options: str) -> list[str]:
    """The words of `scoder select` on the iteration of the store."""
    return ["select", "--iteration", "1", "--json", *options]


class Step:
    """One line of the table: what runs, and what must be gone or there before it."""

    def __init__(
        self,
        name: str,
        command: list[str] | str,
        before: Callable[[str], None] = lambda store: None,
        after: Callable[[str], None] = lambda store: None,
        is_small: bool = False,
    ):
        self.name, self.command, self.before, self.after, self.is_small = name, command, before, after, is_small


SCORED = "scored/iteration-1"
RESUMED = "candidates/iteration-7"
STEPS = {
    "scored": Step("`scored` of an iteration", "scored", lambda s: drop(s, SCORED)),
    "weights": Step("contrast fit of the weights", "weights", lambda s: drop(s, "aspect_weights/iteration-1/weights-fitted")),
    "select": Step("`select`: threshold and weights, written", select("--name", "strict", *OTHER), lambda s: drop(s, *chosen(s, "strict"))),
    "again": Step("the same again: up to date", select("--name", "strict", *OTHER)),
    "dry-run": Step("`select --dry-run`", select("--name", "strict", "--dry-run", *OTHER)),
    "compare": Step("`select --dry-run --compare`", select("--name", "strict", "--dry-run", "--compare", "default", *OTHER)),
    "read": Step("reading what is to be scored", "read"),
    "resume": Step("finishing a partition that is whole", "resume", lambda s: sub(s, "prepare_resume"), lambda s: drop(s, RESUMED)),
    "verify": Step("`verify`", ["verify"]),
    "sql": Step("`sql` on a small store", ["sql", "SELECT count(*) AS n FROM scored"], is_small=True),
    "status": Step("`status` on a small store", ["status"], is_small=True),
    "show": Step("`show` on a small store", ["show", "candidates", "-n", "3"], is_small=True),
}  # fmt: skip


def sub(store: str, function: str) -> None:
    """Run one of the functions above in a process of its own, unmeasured."""
    done = subprocess.run(child(os.getcwd(), function, store), env=environment(os.getcwd()), capture_output=True)
    if done.returncode:
        raise SystemExit(f"{function} failed:\n{done.stderr.decode()[-2000:]}")


def child(checkout: str, function: str, store: str) -> list[str]:
    """The command that runs one function of this file with the code of a checkout."""
    return [sys.executable, os.path.abspath(__file__), "--call", function, "--folder", store]


def environment(checkout: str) -> dict[str, str]:
    """The environment in which Python finds the packages of a checkout first."""
    return os.environ | {"PYTHONPATH": checkout}


def measured(checkout: str, step: Step, store: str) -> dict[str, Any]:
    """Wall and CPU seconds and peak memory (MB) of one step in a fresh process."""
    if isinstance(step.command, str):
        words = child(checkout, f"step_{step.command}", store)
    else:
        words = [sys.executable, "-m", "commands", *step.command, "--store", store]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen(words, cwd=checkout, env=environment(checkout), stdout=out, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        printed, told = out.read().decode(), errors.read().decode()
    found = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024, "note": ""}
    if process.returncode not in (0, 1):  # verify ends with 1 when it finds something
        return {"note": (told.strip().splitlines() or ["no message"])[-1][:100]}
    if process.returncode == 1:
        found["note"] = "exit 1: " + (told.strip().splitlines() or printed.strip().splitlines() or [""])[-1][:80]
    extra = json.loads(printed.strip().splitlines()[-1]) if step.command == "read" and printed.strip() else {}
    factor = extra.get("factor", 1)
    return (
        found
        | {"wall": found["wall"] * factor, "cpu": found["cpu"] * factor}
        | {"note": extra.get("note", found["note"])}
    )


@contextmanager
def inside(checkout: str) -> Iterator[None]:
    """The checkout as the current directory: recipes and packages are found there."""
    before = os.getcwd()
    os.chdir(checkout)
    try:
        yield
    finally:
        os.chdir(before)


def column(checkout: str, folder: Path, small: str | None, num: int, names: list[str]) -> dict[str, dict[str, Any]]:
    """All steps with the code of one checkout."""
    found = {}
    with inside(checkout):
        for store, size in ((folder / "large", num), (folder / "small", 1600)):
            if not store.exists() and not (small and store.name == "small"):
                print(f"building {store} with {checkout}", file=sys.stderr, flush=True)
                begun = store.with_name(store.name + "-begun")
                shutil.rmtree(begun, ignore_errors=True)
                words = [*child(checkout, "build", str(begun)), "--candidates", str(size)]
                subprocess.run(words, env=environment(checkout), check=True)
                begun.rename(store)
        for name in names:
            step = STEPS[name]
            store = Path(small) if small and step.is_small else folder / ("small" if step.is_small else "large")
            step.before(str(store))
            found[name] = measured(checkout, step, str(store))
            step.after(str(store))
            print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    return found


def cells(found: dict[str, Any]) -> list[str]:
    """Wall, CPU and memory as text."""
    if "wall" not in found:
        return ["–", "–", "–"]
    return [f"{found['wall']:,.1f}", f"{found['cpu']:,.1f}", f"{found['peak']:,.0f}"]


def main() -> None:
    """Build the stores, run the steps, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--folder", default="million", help="where the stores are built, and kept")
    parser.add_argument("--checkout", help="an older checkout: gives the column `before`")
    parser.add_argument("--only-before", action="store_true", help="measure that checkout alone")
    parser.add_argument("--only", help=f"steps, separated by commas: {', '.join(STEPS)}")
    parser.add_argument("--small", help="a store of this checkout for sql, status and show")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        # the directory of this file would come first
        sys.path[:] = [p for p in sys.path if p != str(Path(__file__).parent)]
        arguments = (options.candidates,) if options.call == "build" else ()
        result = globals()[options.call](options.folder, *arguments)
        if result is not None:
            print(json.dumps(result))
        return
    names = options.only.split(",") if options.only else list(STEPS)
    folder = Path(options.folder).resolve()
    checkouts = {"before": options.checkout} if options.checkout else {}
    checkouts |= {} if options.only_before else {"now": str(HERE)}
    columns = {}
    for label, checkout in checkouts.items():
        place = folder / label
        place.mkdir(parents=True, exist_ok=True)
        small = options.small if label == "now" else None
        columns[label] = column(str(Path(checkout).resolve()), place, small, options.candidates, names)
    heads = [f"{label}: {unit}" for label in columns for unit in ("wall s", "CPU s", "peak MB")]
    print(f"{options.candidates:,} candidates\n\n| step | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for name in names:
        print(f"| {STEPS[name].name} | {' | '.join(c for found in columns.values() for c in cells(found[name]))} |")
    for label, found in columns.items():
        for name in names:
            if found[name]["note"]:
                print(f"\n{label}, {STEPS[name].name}: {found[name]['note']}")


if __name__ == "__main__":
    main()
