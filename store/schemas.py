"""The contract of every table: what one row is, its key, its Arrow schema and how it is partitioned.

In: nothing. Out: `CONTRACTS`, name -> `Contract`. `docs/tables.md` is generated from this file (`python -m store.schemas`).

A column is required unless it is written with `opt(...)`. Text is stored once; everything derived from it is a sidecar
table joined by key. There are no JSON and no metadata columns: what is worth keeping has a name and a type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

VERSION = 2
"""Version of the contracts as a whole. A store built under another version is refused, with the way to rebuild it."""

ITEM_KINDS = ("snippet", "teacher", "candidate")
PARSE_STATUSES = ("ok", "no_problem", "no_solution", "syntax_error", "unfinished", "prompt_too_long", "engine_error")
SPLITS = ("train", "reference", "validation")
ROLES = ("base", "synthesizer", "scorer", "coder-base", "coder")

STRING, BOOL = pa.string(), pa.bool_()
INT8, INT32, INT64 = pa.int8(), pa.int32(), pa.int64()
FLOAT, DOUBLE = pa.float32(), pa.float64()


@dataclass(frozen=True)
class Contract:
    """What a table promises. `partition` names the path segments that may split it, in their order."""

    name: str
    grain: str
    key: tuple[str, ...]
    schema: pa.Schema
    kind: Literal["sharded", "global"]
    partition: tuple[str, ...] = ()


def req(name: str, kind: pa.DataType, note: str = "") -> pa.Field:
    """A required column."""
    return pa.field(name, kind, nullable=False, metadata={"note": note})


def opt(name: str, kind: pa.DataType, note: str = "") -> pa.Field:
    """A column that may be NULL; the note says what NULL means."""
    return pa.field(name, kind, nullable=True, metadata={"note": note})


def contract(
    name: str,
    grain: str,
    key: str,
    kind: Literal["sharded", "global"],
    columns: list[pa.Field],
    partition: str = "",
) -> Contract:
    """A contract; `key` and `partition` are space-separated names, and every key must be a required column."""
    schema = pa.schema(columns)
    keys = tuple(key.split())
    for part in keys:
        if part not in schema.names or schema.field(part).nullable:
            raise ValueError(f"contract {name}: key {part!r} must be a required column, has {schema.names}")
    return Contract(name, grain, keys, schema, kind, tuple(partition.split()))


ASPECTS = ("consistency", "correctness", "completeness", "clarity", "relevance", "difficulty")
"""The aspects that a scorer model judges, in the order of the columns of `scored`."""
CODE_ASPECTS = ("parses", "lint")
"""The aspects that are computed in code."""

_ALL = [
    contract(
        "raw_pool",
        "one distinct function text",
        "snippet_id",
        "sharded",
        [
            req("snippet_id", STRING, "hash of language and code"),
            req("language", STRING),
            req("name", STRING, "function name, with its class for a method"),
            req("code", STRING, "the function as found, dedented, decorators kept"),
            req("signature", STRING, "the def line(s) without decorators"),
            req("docstring", STRING, "cleaned as by inspect.cleandoc"),
            req("license", STRING, "licence of the first occurrence; 'unknown' when the source names none"),
            req("num_lines", INT32),
            req("num_chars", INT32),
            req("is_method", BOOL),
            req("is_async", BOOL),
        ],
        "origin",
    ),
    contract(
        "snippet_occurrences",
        "one place where a function text was found",
        "snippet_id source path line",
        "sharded",
        [
            req("snippet_id", STRING),
            req("source", STRING, "name of the source in the recipe"),
            req("path", STRING, "relative to the source's root"),
            req("line", INT32, "1-based line of the first decorator or def"),
            req("num_lines", INT32),
            opt("repo", STRING, "NULL when the source has no repositories"),
            req("license", STRING),
        ],
    ),
    contract(
        "snippet_checks",
        "the static measurements of one snippet",
        "snippet_id",
        "sharded",
        [
            req("snippet_id", STRING),
            req("is_parsed", BOOL, "as one function, alone; otherwise what is read off its tree is zero"),
            req("num_tokens", INT32, "Python lexical tokens, without comments and newlines"),
            req("num_statements", INT32, "statements of the body without its docstring"),
            req("num_arguments", INT32, "without self and cls"),
            req("cyclomatic", INT32, "decision points + 1"),
            req("num_literals", INT32, "numbers and strings without the docstring; a data table has many per token"),
            req("num_docstring_words", INT32),
            req("docstring_ascii", FLOAT, "share of ASCII characters"),
            req("docstring_english", FLOAT, "share of English among the function words of a dozen languages, 0..1"),
            req(
                "docstring_name_overlap", FLOAT, "share of the arguments that the docstring names; 1 without arguments"
            ),
            req("docstring_sufficiency", FLOAT, "estimate that the function could be written again from it, 0..1"),
            req("returns_value", BOOL, "has a return with a value of its own, or a yield"),
            req("is_trivial", BOOL, "body is only pass, raise, a constant, or a single delegating call"),
            req("is_test", BOOL, "test or example code by its name, its calls or its imports"),
            req("is_dunder", BOOL),
            req("is_generated", BOOL, "says that a program wrote it"),
            req(
                "num_undefined_names",
                INT32,
                "names that nothing binds (ruff F821, F823) and no inferred import explains, or that only its package has",
            ),
            req("inferred_imports", pa.list_(STRING), "statements that bind names of one meaning, such as np or re"),
            req("modules", pa.list_(STRING), "top-level modules that it imports or, by an inferred import, uses"),
            opt("num_type_errors", INT32, "NULL with undefined names, or where the checker gave no answer"),
            req("secrets", pa.list_(STRING), "kinds of credentials in it, such as aws_access_key"),
            req("personal_data", pa.list_(STRING), "email, ip_address, phone"),
            req("license_choices", pa.list_(pa.list_(STRING)), "alternatives of licences that hold together"),
        ],
    ),
    contract(
        "near_duplicates",
        "one snippet and a better one that it resembles: the head of a cluster",
        "snippet_id cluster_id",
        "global",
        [
            req("snippet_id", STRING),
            req("cluster_id", STRING, "snippet_id of the head; it is kept rather than the snippet"),
            req("similarity_raw", FLOAT, "Jaccard similarity of both as sets of token grams, 0..1"),
            req("similarity_renamed", FLOAT, "the same up to the names that a function binds"),
            req("method", STRING, "equal: without comments and layout; renamed: equal but for names; similar"),
        ],
    ),
    contract(
        "benchmarks",
        "one benchmark task",
        "benchmark task_id",
        "sharded",
        [
            req("benchmark", STRING),
            req("task_id", STRING),
            req("prompt", STRING),
            opt("solution", STRING, "NULL where the file has none"),
            req("tests", STRING),
            opt("entry_point", STRING, "a name, or Solution().name; NULL for tasks that read standard input"),
            req("language", STRING),
            req("file_hash", STRING, "SHA-256 of the file; of a dataset folder or Hub dataset a hash of its tasks"),
        ],
        "benchmark",
    ),
    contract(
        "contamination",
        "one hit of one detector on one item",
        "item_id item_kind benchmark task_id detector",
        "sharded",
        [
            req("item_id", STRING),
            req("item_kind", STRING, "snippet, teacher or candidate"),
            req("benchmark", STRING),
            req("task_id", STRING),
            req("detector", STRING, "string, ngram, renamed, prose, literals, combined or execution"),
            req("strength", FLOAT, "0..1, calibrated: at 0.5 a hit leaves an item out by default"),
            req("similarity", FLOAT, "0..1: the share of the task's information that the item holds"),
            req("information", FLOAT, "bits of what is looked for: a task of few bits is in every other text"),
            req("evidence", STRING, "the longest piece of the item that matches, shortened"),
        ],
        "item_kind iteration benchmark",
    ),
    contract(
        "pool",
        "a snippet that passed queries/pool.sql: the decontaminated pool",
        "snippet_id",
        "global",
        [
            req("snippet_id", STRING),
            req("position", INT64, "place in the seeded order from which snippets are drawn, from 0"),
            req("license", STRING),
            req("num_tokens", INT32),
            req("cyclomatic", INT32),
        ],
    ),
    contract(
        "rejects",
        "one reason why one item was left out at one stage",
        "stage item_kind item_id reason",
        "global",
        [
            req("stage", STRING),
            opt("iteration", INT32, "NULL for stages outside the loop"),
            opt("selection", STRING, "NULL for stages other than selection"),
            req("item_kind", STRING, "file, functions (of one file), or the kinds of items"),
            req("item_id", STRING, "for unreadable files the hash of their path"),
            req("reason", STRING),
            opt("value", DOUBLE, "what was measured; NULL where the reason has no number"),
            opt("threshold", DOUBLE, "what it was compared with"),
        ],
        "stage iteration selection",
    ),
    contract(
        "teacher_samples",
        "a superior sample: snippet, problem and solution of the teacher",
        "sample_id",
        "sharded",
        [
            req("sample_id", STRING, "hash of snippet, problem and solution"),
            req("snippet_id", STRING),
            req("problem", STRING),
            req("solution", STRING),
            req("split", STRING, "train, reference or validation"),
            req("model", STRING, "who wrote it: a model name, 'docstring' offline, 'import' for files"),
            req("prompt_version", STRING),
            req("is_for_scorer", BOOL, "of the train split: used to fine-tune the scorer, so not for the contrast fit"),
            req("prompt_tokens", INT32),
            req("completion_tokens", INT32),
            opt("cost_usd", DOUBLE, "NULL when the recipe gives no price"),
        ],
    ),
    contract(
        "checkpoints",
        "a saved model state",
        "checkpoint_id",
        "global",
        [
            req("checkpoint_id", STRING, "hash of the training plan and the step"),
            req("role", STRING, "base, synthesizer, scorer, docstring-judge, coder-base or coder"),
            opt("iteration", INT32, "the t of G_t; NULL for models outside the loop"),
            req("step", INT32),
            req("is_final", BOOL),
            req("is_adapter", BOOL, "a LoRA adapter over base_model, else full weights"),
            req("base_model", STRING),
            opt("base_revision", STRING, "NULL for a local path"),
            opt("location", STRING, "relative to the store; NULL for a base that is loaded by its name"),
            req("learning_rate", DOUBLE, "mean since the previous checkpoint of its run"),
            opt("train_loss", DOUBLE, "NULL where nothing was trained"),
            req("num_rows", INT32, "training rows"),
        ],
        "role iteration",
    ),
    contract(
        "candidates",
        "one generation for one snippet by one checkpoint",
        "candidate_id",
        "sharded",
        [
            req("candidate_id", STRING, "hash of checkpoint, snippet, sample index, seed, prompt and sampling"),
            req("iteration", INT32, "1..T of the loop, T+1 the final generation, 0 the untrained base"),
            req("snippet_id", STRING),
            req("checkpoint_id", STRING),
            req("sample_index", INT32),
            opt("problem", STRING, "NULL when parse_status says that none was found"),
            opt("solution", STRING, "NULL when parse_status says that none was found"),
            req("completion", STRING, "all that the model wrote, so that parsing can be repeated"),
            req("parse_status", STRING, ", ".join(PARSE_STATUSES)),
            opt("text_hash", STRING, "hash of the normalised problem and solution; NULL unless parsed"),
            req("finish_reason", STRING),
            req("prompt_version", STRING),
            req("prompt_tokens", INT32),
            req("completion_tokens", INT32),
            opt("logprob", FLOAT, "sum over the completion's tokens; NULL where the engine gives none"),
            opt("cost_usd", DOUBLE, "NULL when the engine has no price"),
        ],
        "iteration",
    ),
    contract(
        "aspect_scores",
        "one aspect of one item by one scorer",
        "item_id item_kind aspect scorer",
        "sharded",
        [
            req("item_id", STRING),
            req("item_kind", STRING, "candidate, teacher, snippet, or label: a pair that a scorer learns from"),
            req("aspect", STRING),
            req("scorer", STRING, "checkpoint_id or model name, 'code' for facts computed in code"),
            req("prompt_version", STRING, "'' for facts computed in code"),
            req("score", INT8, "0..9, the most probable digit"),
            req("expected", FLOAT, "0..9, the mean of the digit distribution"),
        ],
        "item_kind iteration",
    ),
    contract(
        "aspect_weights",
        "the weight of one aspect in one named weighting",
        "weights iteration aspect",
        "global",
        [
            req("weights", STRING),
            req("iteration", INT32),
            req("aspect", STRING),
            req("weight", DOUBLE, "non-negative; the weights of one fit sum to 1"),
            req("method", STRING, "contrast or fixed"),
            opt("coefficient", DOUBLE, "before normalisation; NULL for fixed weights"),
            opt("fit_auc", DOUBLE, "AUC of the fitted score on its data; NULL for fixed weights"),
            req("num_teacher", INT32),
            req("num_candidates", INT32),
        ],
        "iteration weights",
    ),
    contract(
        "scored",
        "a parsed candidate with its aspects side by side and the default score",
        "candidate_id",
        "global",
        [
            req("candidate_id", STRING),
            req("iteration", INT32),
            req("snippet_id", STRING),
            *(req(aspect, INT8) for aspect in ASPECTS),
            req("parses", INT8, "9 when the solution defines a function with a body, 5 when it only parses"),
            req("lint", INT8, "9 minus the lint findings of the solution, at least 0"),
            req("score", DOUBLE, "sum of weight times score under the recipe's weights, 0..9"),
            req("expected_score", DOUBLE, "the same over expected values, which breaks ties"),
        ],
        "iteration",
    ),
    contract(
        "gradients",
        "the projected gradient of one item at one checkpoint",
        "item_id item_kind checkpoint_id features",
        "sharded",
        [
            req("item_id", STRING),
            req("item_kind", STRING),
            req("checkpoint_id", STRING),
            req("features", STRING, "hash of prompt form, loss, optimizer map, dimension and seed"),
            req("gradient", pa.binary(), "float16, little-endian, unit length; as many as the recipe's dimension"),
            req("norm", FLOAT, "length before it was made a unit"),
            req("loss", FLOAT, "mean completion loss in nats per token"),
            req("num_tokens", INT32, "supervised tokens"),
        ],
        "item_kind iteration batch",
    ),
    contract(
        "influence",
        "the influence of one candidate on one reference",
        "candidate_id reference features",
        "global",
        [
            req("candidate_id", STRING),
            req("iteration", INT32),
            req("reference", STRING, "name of the reference set"),
            req("features", STRING),
            req("batch", STRING, "'main', or the selection for which missing ones were filled in"),
            req("influence", DOUBLE, "learning-rate weighted mean cosine, -1..1"),
            req("influence_max", DOUBLE, "the same with the reference sample that it is greatest for"),
            req("loss", FLOAT, "mean over checkpoints"),
            req("norm", FLOAT, "mean over checkpoints"),
        ],
        "iteration reference batch",
    ),
    contract(
        "selected",
        "a candidate kept by a named selection",
        "selection iteration candidate_id",
        "global",
        [
            req("selection", STRING),
            req("iteration", INT32),
            req("candidate_id", STRING),
            req("snippet_id", STRING),
            req("rank", INT32, "from 1, best first"),
            req("score", DOUBLE),
            req("influence", DOUBLE),
        ],
        "iteration selection",
    ),
    contract(
        "instructions",
        "a pair of the final dataset",
        "candidate_id",
        "global",
        [
            req("candidate_id", STRING),
            req("snippet_id", STRING),
            req("problem", STRING),
            req("solution", STRING),
            req("license", STRING),
            req("score", DOUBLE),
            req("is_contaminated", BOOL, "always false here; the verdict travels with the row"),
        ],
    ),
    contract(
        "evaluations",
        "one sample of one model on one task",
        "checkpoint_id benchmark task_id sample_index",
        "sharded",
        [
            req("checkpoint_id", STRING),
            req("benchmark", STRING),
            req("task_id", STRING),
            req("sample_index", INT32),
            req("completion", STRING),
            req("is_passed", BOOL),
            req("status", STRING, "passed, failed, timeout, memory, output or error"),
            req("completion_tokens", INT32),
        ],
        "checkpoint benchmark",
    ),
    contract(
        "metrics",
        "one measured number of a run",
        "name iteration subject",
        "global",
        [
            req("name", STRING),
            req("iteration", INT32, "-1 for numbers outside the loop"),
            req("subject", STRING),
            req("value", DOUBLE),
            req("num_items", INT64, "how many items it was measured on"),
        ],
        "name iteration",
    ),
    contract(
        "comparisons",
        "one judged pair or one utility run: the input of the weight fits",
        "comparison_id",
        "sharded",
        [
            req("comparison_id", STRING),
            req("method", STRING, "preference or utility"),
            req("iteration", INT32),
            opt("preferred_id", STRING, "NULL for a utility run"),
            opt("other_id", STRING, "NULL for a utility run"),
            opt("subset", pa.list_(STRING), "the candidates of a utility run; NULL for a pair"),
            opt("utility", DOUBLE, "held-out loss or pass rate; NULL for a pair"),
            req("judge", STRING),
        ],
        "iteration",
    ),
]

CONTRACTS: dict[str, Contract] = {c.name: c for c in _ALL}


def markdown() -> str:
    """`docs/tables.md`: every contract as a section with its columns."""
    lines = ["# Tables", "", "Generated from `store/schemas.py` by `python -m store.schemas > docs/tables.md`.", ""]
    for item in _ALL:
        where = "/".join(f"[{part}-…/]" for part in item.partition).replace("]/[", "][")
        lines += [f"## {item.name}", "", f"One row is {item.grain}. Key: {', '.join(item.key)}.", ""]
        lines += [f"`{item.name}/{where}part-00000.parquet`, {item.kind}.", "", "| column | type | |", "|---|---|---|"]
        for field in item.schema:
            note = (field.metadata or {}).get(b"note", b"").decode()
            kind = f"{field.type}" + (" or NULL" if field.nullable else "")
            lines.append(f"| {field.name} | {kind} | {note} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(), end="")
