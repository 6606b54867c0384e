"""The contract of every table: what one row is, its key, its columns and its partitions.

In: nothing. Out: `CONTRACTS`, a dictionary from the name of a table to its `Contract`. The document
`docs/tables.md` is generated from this file: `python -m store.schemas > docs/tables.md`.

A column is required unless it is made with `opt(...)`. Each text is stored once; what is derived
from it stands in another table under the same key. There are no JSON columns and no columns for
metadata: what is worth keeping has a name and a type.

Types have the names that they have in SQL. A command that only asks DuckDB needs no more than
these, so Arrow is imported when a schema of Arrow is asked for, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from store.errors import ContractError

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 6
"""The version of all contracts together. What was built under another version is refused, and the
message says how to build it again."""

PARSE_STATUSES = (
    "ok", "no_answer", "no_problem", "no_solution", "syntax_error", "unfinished", "prompt_too_long", "engine_error",
)  # fmt: skip

UNUSABLE_STATUSES_NOTE = (
    "no_answer: it is empty, or only thinks; no_problem, no_solution: that part is missing; syntax_error: the solution is no "
    "Python; failed_examples: it fails an example of its own; unfinished: it was cut off; prompt_too_long; engine_error: the "
    "endpoint or the engine gave none"
)
"""What the column status of unusable_answers says."""

EVALUATION_STATUSES_NOTE = (
    "passed; failed: a test did not hold, or the answer is no code; timeout, memory, output: over that limit; missing: it "
    "imports a known library that the sandbox lacks; error: the sandbox failed; unanswered: the engine gave no answer; "
    "ungradable: no answer to this task can be judged here, so none was asked for. The last four are no verdicts: no "
    "number counts them, and is_passed is false"
)
"""What the column status of evaluations says."""

LICENSE_SOURCES_NOTE = (
    "what told the licence: header (of the file), file (nearest licence text), metadata (of the package), declared (by the "
    "recipe), dataset (column of its row), none"
)
"""What the column license_source says."""

STRING, BOOL, BINARY = "VARCHAR", "BOOLEAN", "BLOB"
INT8, INT32, INT64 = "TINYINT", "INTEGER", "BIGINT"
FLOAT, DOUBLE = "FLOAT", "DOUBLE"
TIMESTAMP = "TIMESTAMP"


def list_of(kind: str) -> str:
    """The type of a list: `list_of(STRING)` is `VARCHAR[]`."""
    return f"{kind}[]"


CASE = 'STRUCT("input" VARCHAR, output VARCHAR)'
"""The type of a case of a benchmark task, as DuckDB writes it: `input` is a word of SQL."""


@dataclass(frozen=True)
class Column:
    """A column: its name, its type in SQL, what stands in it, and whether it may be NULL."""

    name: str
    kind: str
    note: str
    nullable: bool


@dataclass(frozen=True)
class Contract:
    """What a table promises.

    `grain` says what one row is. `partition` names the parts of a path that may split the table, in
    their order.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    kind: Literal["sharded", "global"]
    partition: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of the columns, in their order."""
        return [column.name for column in self.columns]

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns as an Arrow schema, with their notes as metadata."""
        import pyarrow as pa

        return pa.schema(
            pa.field(c.name, arrow_type(c.kind), nullable=c.nullable, metadata={"note": c.note}) for c in self.columns
        )


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a type in SQL."""
    import pyarrow as pa

    if kind.endswith("[]"):
        return pa.list_(arrow_type(kind.removesuffix("[]")))
    if kind.startswith("STRUCT("):
        fields = [field.split(" ") for field in kind.removeprefix("STRUCT(").removesuffix(")").split(", ")]
        return pa.struct([(name.strip('"'), arrow_type(inner)) for name, inner in fields])
    return {
        STRING: pa.string(),
        BOOL: pa.bool_(),
        BINARY: pa.binary(),
        INT8: pa.int8(),
        INT32: pa.int32(),
        INT64: pa.int64(),
        FLOAT: pa.float32(),
        DOUBLE: pa.float64(),
        TIMESTAMP: pa.timestamp("us"),
    }[kind]


def req(name: str, kind: str, note: str = "") -> Column:
    """A required column."""
    return Column(name, kind, note, nullable=False)


def opt(name: str, kind: str, note: str = "") -> Column:
    """A column that may be NULL; the note says what NULL means."""
    return Column(name, kind, note, nullable=True)


def contract(
    name: str,
    grain: str,
    key: str,
    kind: Literal["sharded", "global"],
    columns: list[Column],
    partition: str = "",
) -> Contract:
    """A contract. `key` and `partition` are names with spaces between them.

    Raises ValueError if a column of the key is not required.
    """
    required = {column.name for column in columns if not column.nullable}
    keys = tuple(key.split())
    for part in keys:
        if part not in required:
            raise ValueError(f"contract {name}: key {part!r} must be a required column, has {sorted(required)}")
    return Contract(name, grain, keys, tuple(columns), kind, tuple(partition.split()))


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
            req("name", STRING, "name of the function; for a method with its class"),
            req("code", STRING, "the function as it was found, with its decorators, without indentation"),
            req("signature", STRING, "the lines of the def, without decorators"),
            req("docstring", STRING, "without indentation, as inspect.cleandoc gives it"),
            req("license", STRING, "licence of the first occurrence that has one; 'unknown' if nothing tells it"),
            req("license_source", STRING, LICENSE_SOURCES_NOTE),
            req("num_lines", INT32),
            req("num_chars", INT32),
            req("is_method", BOOL),
            req("is_async", BOOL),
            opt(
                "imports",
                list_of(STRING),
                "import statements of its file that it and its context need, without those of its own package; NULL if "
                "the text was definitions alone",
            ),
            opt(
                "context",
                STRING,
                "constants, functions and small classes of its file that it needs, in their order; NULL: none, or too long",
            ),
            req("is_generated", BOOL, "the head of each file that has it says that a program wrote the file"),
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
            req("path", STRING, "relative to the root of the source"),
            req("line", INT32, "line of the first decorator or of the def, from 1"),
            req("num_lines", INT32),
            opt("repo", STRING, "NULL if the source has no repositories"),
            req(
                "license",
                STRING,
                "SPDX expression where one is known; 'unknown' if nothing tells it, 'unknown-vendored' of code of others",
            ),
            req("license_source", STRING, LICENSE_SOURCES_NOTE),
            opt(
                "license_score",
                FLOAT,
                "share of the matched text that is this licence's; NULL unless a text was matched",
            ),
        ],
    ),
    contract(
        "snippet_checks",
        "what can be measured of one snippet without running it",
        "snippet_id",
        "sharded",
        [
            req("snippet_id", STRING),
            req("is_parsed", BOOL, "it parses as one function; if not, all that its tree would tell is zero"),
            req("num_tokens", INT32, "lexical tokens of Python as it is shown, without comments and newlines"),
            req("num_statements", INT32, "statements of the body, without its docstring"),
            req("num_arguments", INT32, "without self and cls"),
            req("cyclomatic", INT32, "decision points + 1"),
            req("num_literals", INT32, "numbers and strings, without the docstring; a data table has many per token"),
            req("num_docstring_words", INT32),
            req("docstring_ascii", FLOAT, "share of ASCII characters, 0..1"),
            req("docstring_english", FLOAT, "share of English among the function words of a dozen languages, 0..1"),
            req(
                "docstring_name_overlap", FLOAT, "share of the arguments that the docstring names; 1 without arguments"
            ),
            req("docstring_sufficiency", FLOAT, "estimate: could the function be written again from it? 0..1"),
            req("returns_value", BOOL, "has a return with a value of its own, or a yield"),
            req("is_trivial", BOOL, "its body is only pass, raise, a constant, or one call that does it all"),
            req("is_test", BOOL, "its name, calls or imports are those of tests or examples"),
            req("is_dunder", BOOL, "its name begins and ends with two underscores"),
            req("is_generated", BOOL, "it says that a program wrote it"),
            req(
                "num_undefined_names",
                INT32,
                "names that neither it, its context nor an import binds (ruff F821, F823), or that only its package has",
            ),
            req(
                "inferred_imports",
                list_of(STRING),
                "guesses where no file is known: imports for undefined names that have one meaning, such as np or re",
            ),
            req(
                "modules",
                list_of(STRING),
                "top-level modules that it imports, or uses by an import of its file or an inferred one",
            ),
            req(
                "topic", STRING, "the modules of its field that it uses, or else a word of its docstring; '' if neither"
            ),
            opt("num_type_errors", INT32, "NULL if it has undefined names or the type checker gave no answer"),
            req("secrets", list_of(STRING), "kinds of credentials in it, such as aws_access_key"),
            req("personal_data", list_of(STRING), "kinds of personal data in it: email, ip_address, phone"),
            req("license_choices", list_of(list_of(STRING)), "its licence as alternatives; each is a list of licences"),
        ],
    ),
    contract(
        "near_duplicates",
        "one snippet and a better one that it resembles, the head of a cluster",
        "snippet_id cluster_id",
        "global",
        [
            req("snippet_id", STRING),
            req("cluster_id", STRING, "snippet_id of the head, which is the better one"),
            req("similarity_raw", FLOAT, "Jaccard similarity of both as sets of token grams, 0..1"),
            req("similarity_renamed", FLOAT, "the same, where the names that a function binds do not count"),
            req("similarity_docstring", FLOAT, "Jaccard similarity of both docstrings as sets of word grams, 0..1"),
            req(
                "method",
                STRING,
                "equal (but for comments and layout), renamed (equal but for names), similar, or docstring (the code is not)",
            ),
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
            req("prompt", STRING, "as in the file, for decontamination"),
            opt("solution", STRING, "as in the file; NULL if it has none"),
            req("tests", STRING, "Python code as in the file; '' where it has none, and the cases judge"),
            opt("entry_point", STRING, "a name, or Solution().name; NULL for tasks that read standard input"),
            req("language", STRING),
            req("chat", STRING, "what the user of a chat says; '' if the task is not asked"),
            req("completion", STRING, "the text that a model continues; '' if the task is not asked"),
            req("stops", list_of(STRING), "where a continuation ends"),
            req("call_form", STRING, "function, method or stdin"),
            req("comparison", STRING, "asserts: the tests judge; equal, apps, livecodebench or text: the cases do"),
            req(
                "cases",
                list_of(CASE),
                "Python literals of the arguments and the answer, or text for stdin; "
                "without output that of the task's own solution is expected",
            ),
            req("num_base_cases", INT32, "the first cases are those of the original benchmark; 0 if not known"),
            req("atol", DOUBLE, "how far numbers may be from the expected ones, as in the file"),
            opt("oracle", STRING, "EvalPlus's comparison for this task alone; NULL for the usual one"),
            opt("case_s", DOUBLE, "seconds for one case; NULL if the benchmark has no limit of its own"),
            opt("contest_date", STRING, "ISO date; NULL if the file has none"),
            opt("ungradable", STRING, "why no answer can be judged; NULL if answers can"),
            req("file_hash", STRING, "SHA-256 of the file; for a dataset folder or Hub dataset, a hash of its tasks"),
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
            req("detector", STRING, "string, ngram, renamed, prose, literals, combined, meaning or execution"),
            req("strength", FLOAT, "calibrated, 0..1; by default a hit of 0.5 or more leaves the item out"),
            req("similarity", FLOAT, "share of the task's information that the item holds, 0..1"),
            req("information", FLOAT, "bits of what is looked for; a task of few bits stands in many other texts"),
            req("evidence", STRING, "the longest piece of the item that matches, shortened"),
        ],
        "item_kind iteration benchmark",
    ),
    contract(
        "pool",
        "one snippet that has no reason against it in queries/pool_verdicts.sql",
        "snippet_id",
        "global",
        [
            req("snippet_id", STRING),
            req("position", INT64, "place in the seeded order in which snippets are drawn, from 0"),
            req("license", STRING),
            req("num_tokens", INT32),
            req("cyclomatic", INT32),
            req(
                "repo", STRING, "repository whose share is bounded; without one, source and top-level folder or module"
            ),
            req("topic", STRING, "topic whose share is bounded, of snippet_checks"),
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
            opt("selection", STRING, "NULL for stages other than a selection"),
            req("item_kind", STRING, "snippet, teacher, candidate, file, functions (of one file), or function"),
            req(
                "item_id",
                STRING,
                "for a file or its functions source:path; for one function source:path:line",
            ),
            req("reason", STRING),
            opt("value", DOUBLE, "what was measured; NULL if the reason has no number"),
            opt("threshold", DOUBLE, "what it was compared with; NULL if the reason has no threshold"),
        ],
        "stage iteration selection",
    ),
    contract(
        "teacher_samples",
        "one superior sample: a snippet with the teacher's problem and solution",
        "sample_id",
        "sharded",
        [
            req("sample_id", STRING, "hash of snippet, problem and solution"),
            req("snippet_id", STRING),
            req("problem", STRING),
            req("solution", STRING),
            req("split", STRING, "train, reference or validation"),
            req("model", STRING, "the teacher's model, 'docstring' if none was asked, 'import' for files"),
            req("prompt_version", STRING),
            req(
                "is_for_scorer",
                BOOL,
                "in the train split: the scorer learns from it, so the weights are not fitted on it",
            ),
            req("finish_reason", STRING, "stop, or length: cut at max_tokens; '' where no model was asked"),
            opt(
                "reasoning",
                STRING,
                "what the teacher thought before it answered; NULL if it did not, or none was asked",
            ),
            req("prompt_tokens", INT32),
            req("completion_tokens", INT32),
            opt("cost_usd", DOUBLE, "NULL if the recipe gives no price"),
        ],
    ),
    contract(
        "unusable_answers",
        "one answer of the teacher that gave no sample",
        "request_id",
        "global",
        [
            req("request_id", STRING, "the id of the question; another one each time it is asked again"),
            req("snippet_id", STRING),
            req("status", STRING, UNUSABLE_STATUSES_NOTE),
            req("reason", STRING, "what is wrong with it, in words"),
            req("answer", STRING, "what the teacher wrote, without its thinking; '' if it gave none"),
            opt("reasoning", STRING, "what the teacher thought before it answered; NULL if it did not"),
            req(
                "finish_reason", STRING, "stop, length: cut at max_tokens, prompt_too_long or error; '' without a model"
            ),
            req("model", STRING),
            req("prompt_version", STRING),
            req("prompt_tokens", INT32),
            req("completion_tokens", INT32),
            opt("cost_usd", DOUBLE, "NULL if the recipe gives no price"),
        ],
    ),
    contract(
        "checkpoints",
        "one saved model state",
        "checkpoint_id",
        "global",
        [
            req("checkpoint_id", STRING, "hash of the training plan and the step"),
            req("role", STRING, "base, synthesizer, scorer, docstring-judge, coder-base or coder"),
            opt("iteration", INT32, "the t of G_t; NULL for models outside the loop"),
            req("step", INT32),
            req("is_final", BOOL),
            req("is_adapter", BOOL, "whether it is a LoRA adapter of base_model; else it is full weights"),
            req("base_model", STRING),
            opt("base_revision", STRING, "NULL for a local path"),
            opt("location", STRING, "relative to the store; NULL for a base model, which is loaded by its name"),
            req("learning_rate", DOUBLE, "mean since the previous checkpoint of the same training"),
            opt("train_loss", DOUBLE, "NULL if nothing was trained"),
            req("num_rows", INT32, "rows that it was trained on"),
        ],
        "role iteration",
    ),
    contract(
        "candidates",
        "what one checkpoint wrote for one snippet, in one sample",
        "candidate_id",
        "sharded",
        [
            req("candidate_id", STRING, "hash of checkpoint, snippet, sample index, seed, prompt and sampling"),
            req("iteration", INT32, "1..T for the loop, T+1 for the final generation, 0 for the untrained base model"),
            req("snippet_id", STRING),
            req("checkpoint_id", STRING),
            req("sample_index", INT32),
            opt("problem", STRING, "NULL if parse_status says that none was found"),
            opt("solution", STRING, "NULL if parse_status says that none was found"),
            req("completion", STRING, "what the model wrote, without its thinking, so that it can be parsed again"),
            opt("reasoning", STRING, "what the model thought before it; NULL if it did not"),
            req("parse_status", STRING, ", ".join(PARSE_STATUSES)),
            opt("text_hash", STRING, "hash of the normalised problem and solution; NULL unless parsed"),
            req("finish_reason", STRING, "stop, length: cut at max_tokens, prompt_too_long or error"),
            req("prompt_version", STRING),
            req("prompt_tokens", INT32),
            req("completion_tokens", INT32),
            opt("logprob", FLOAT, "sum over the tokens of the completion; NULL if the engine gives none"),
            opt("cost_usd", DOUBLE, "NULL if the engine has no price"),
        ],
        "iteration",
    ),
    contract(
        "aspect_scores",
        "the score of one aspect of one item by one scorer",
        "item_id item_kind aspect scorer",
        "sharded",
        [
            req("item_id", STRING),
            req("item_kind", STRING, "candidate, teacher, snippet, or label: a pair that a scorer learns from"),
            req("aspect", STRING),
            req("scorer", STRING, "checkpoint_id or name of a model; 'code' for facts that need no model"),
            req("prompt_version", STRING, "'' for facts that need no model"),
            req("score", INT8, "the most probable digit, 0..9"),
            req("expected", FLOAT, "the mean over the digits by their probability, 0..9"),
            opt(
                "mass",
                FLOAT,
                "probability that the scorer gave to all digits together, 0..1; NULL if the engine cannot tell, and for "
                "facts that need no model",
            ),
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
            req("method", STRING, "contrast, fixed, or equal: where the contrast fit is no better than chance"),
            opt(
                "coefficient", DOUBLE, "the weight of the contrast fit, whether it was taken or not; NULL without a fit"
            ),
            opt("fit_auc", DOUBLE, "AUC of the fitted score on the data of the fit; NULL for fixed weights"),
            opt("cv_auc", DOUBLE, "the same on snippets that were not fitted on; NULL if it cannot be measured"),
            opt("cv_auc_low", DOUBLE, "lower end of its interval of 95%; fitted weights are taken if it is above 0.5"),
            opt("cv_auc_high", DOUBLE, "upper end of the same interval"),
            opt("cv_method", STRING, "of the interval, or 'none: ' and why; NULL for fixed weights"),
            req("num_teacher", INT32, "teacher samples of the fit; for fixed weights, those that have digits"),
            req("num_candidates", INT32, "candidates of the fit; for fixed weights, those that have digits"),
        ],
        "iteration weights",
    ),
    contract(
        "scored",
        "one parsed candidate, with its aspects side by side and the score made of them",
        "candidate_id",
        "global",
        [
            req("candidate_id", STRING),
            req("iteration", INT32),
            req("snippet_id", STRING),
            *(req(aspect, INT8) for aspect in ASPECTS),
            req("parses", INT8, "9 when the solution defines a function with a body, 5 when it only parses"),
            req("lint", INT8, "9 minus the lint findings of the solution, at least 0"),
            *(req(f"{a}_expected", FLOAT, "mean over the digits by their probability, 0..9") for a in ASPECTS),
            *(req(f"{a}_expected", FLOAT, "the same number as the digit: no model is asked") for a in CODE_ASPECTS),
            req("score", DOUBLE, "sum of weight times digit over the aspects, 0..9"),
            req("expected_score", DOUBLE, "the same with expected digits; it breaks ties"),
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
            req(
                "gradient",
                BINARY,
                "a vector of unit length: float16 numbers, little-endian, as many as the recipe's dimension",
            ),
            req("norm", FLOAT, "length of the vector before it was scaled to 1"),
            req("loss", FLOAT, "mean loss of the completion, in nats per token"),
            req("num_tokens", INT32, "tokens that count for the loss"),
        ],
        "item_kind iteration batch",
    ),
    contract(
        "influence",
        "the influence of one candidate on one reference set",
        "candidate_id reference features",
        "global",
        [
            req("candidate_id", STRING),
            req("iteration", INT32),
            req("reference", STRING, "name of the reference set"),
            req("features", STRING),
            req("batch", STRING, "main, or fill-… for candidates that `scoder fill` added"),
            req("influence", DOUBLE, "mean cosine over the checkpoints, weighted by learning rate, -1..1"),
            req("influence_max", DOUBLE, "the same for the one reference sample with the greatest value"),
            req("loss", FLOAT, "mean over checkpoints"),
            req("norm", FLOAT, "mean over checkpoints"),
        ],
        "iteration reference batch",
    ),
    contract(
        "selected",
        "one candidate that a named selection keeps",
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
        "one (problem, solution) pair of the final dataset",
        "candidate_id",
        "global",
        [
            req("candidate_id", STRING),
            req("snippet_id", STRING),
            req("problem", STRING),
            req("solution", STRING),
            req("license", STRING),
            req("score", DOUBLE),
            req("is_contaminated", BOOL, "always false in this table; the row says so wherever it is copied to"),
            req(
                "is_snippet_trained_on",
                BOOL,
                "the synthesizer that wrote it was trained on candidates of the same snippet",
            ),
        ],
    ),
    contract(
        "evaluations",
        "one answer of one model to one task, asked in one form, and its verdict",
        "checkpoint_id benchmark form task_id sample_index",
        "sharded",
        [
            req("checkpoint_id", STRING),
            req("benchmark", STRING),
            req("form", STRING, "how the model was asked: chat, or completion (it continued a text)"),
            req("task_id", STRING),
            req("sample_index", INT32),
            req("completion", STRING, "all that the model wrote; empty if it was not asked or gave no answer"),
            opt(
                "reasoning", STRING, "what an endpoint gave as the model's thinking; thinking in tags is in completion"
            ),
            req("extracted", STRING, "the code in it that was judged; empty if there was no verdict"),
            req("is_passed", BOOL),
            opt(
                "is_base_passed",
                BOOL,
                "whether the tests of the original benchmark alone hold; NULL if it has no others, or without a verdict",
            ),
            req("status", STRING, EVALUATION_STATUSES_NOTE),
            req(
                "finish_reason", STRING, "stop, length (cut at max_tokens), prompt_too_long, error, or '' if not asked"
            ),
            opt("error", STRING, "why there is no answer; NULL if there is one, or if the model was not asked"),
            opt(
                "message",
                STRING,
                "what the verdict goes by: the last line of an error; NULL if there is nothing to say",
            ),
            req("seconds", DOUBLE, "that the answer and its tests took; 0 without a verdict"),
            req(
                "is_apart",
                BOOL,
                "answer and tests ran in processes of their own; false if in one, or without a verdict",
            ),
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
            opt("value", DOUBLE, "NULL if there was nothing to measure; the method says why"),
            opt("low", DOUBLE, "lower end of its interval of 95%; NULL if there is none"),
            opt("high", DOUBLE, "upper end of the same interval; NULL if there is none"),
            req(
                "method",
                STRING,
                "of the interval: wilson, bootstrap, delong, …, or 'none: ' and why; for mean_score, the weights too",
            ),
            req("num_items", INT64, "how many items it was measured on"),
            opt("losses", list_of(DOUBLE), "of heldout_nll: the loss of each item, in order; NULL for other metrics"),
        ],
        "name iteration",
    ),
    contract(
        "comparisons",
        "one judged pair or one utility run, which a fit of the weights reads",
        "comparison_id",
        "sharded",
        [
            req("comparison_id", STRING),
            req("method", STRING, "preference or utility"),
            req("iteration", INT32),
            opt("preferred_id", STRING, "NULL for a utility run"),
            opt("other_id", STRING, "NULL for a utility run"),
            opt("subset", list_of(STRING), "the candidates of a utility run; NULL for a pair"),
            opt("utility", DOUBLE, "held-out loss or pass rate that the run reached; NULL for a pair"),
            req("judge", STRING),
        ],
        "iteration",
    ),
]

CONTRACTS: dict[str, Contract] = {c.name: c for c in _ALL}

RUNS = (
    req("table_name", STRING),
    req("partition", STRING, "its path below the store, such as candidates/iteration-1"),
    req("status", STRING, "building, complete or stale"),
    req("is_seen", BOOL, "whether queries see its rows; they do not while it is built"),
    req("num_rows", INT64),
    req("num_files", INT64),
    req("num_bytes", INT64),
    req("seconds", DOUBLE, "how long it took to build, over all tries"),
    req("prompt_tokens", INT64),
    req("completion_tokens", INT64),
    opt("cost_usd", DOUBLE, "NULL if no price is known"),
    req("started", TIMESTAMP, "in UTC"),
    opt("finished", TIMESTAMP, "in UTC; NULL while it is built"),
    req("command", STRING, "the command that built it"),
    req("code_version", STRING, "commit of the checkout, or version of the package"),
)
"""The columns of `runs`. It is no table of the store: a statement that names it gets it made of the
run records."""


def contract_of(table: str) -> Contract:
    """The contract of a table. Raises ContractError, which lists the tables, when there is none."""
    if table not in CONTRACTS:
        raise ContractError(f"no table {table!r}; the tables are {', '.join(CONTRACTS)}")
    return CONTRACTS[table]


def markdown() -> str:
    """`docs/tables.md`: every contract as a section with its columns."""
    lines = ["# Tables", "", "Generated from `store/schemas.py` by `python -m store.schemas > docs/tables.md`.", ""]
    for item in _ALL:
        where = "/".join(f"[{part}-…/]" for part in item.partition).replace("]/[", "][")
        lines += [f"## {item.name}", "", f"One row is {item.grain}.", "", f"Key: {', '.join(item.key)}.", ""]
        lines += [f"`{item.name}/{where}part-00000.parquet`, {item.kind}.", "", "| column | type | |", "|---|---|---|"]
        lines += _rows_of(item.columns)
        lines.append("")
    lines += ["## runs", "", "One row is one partition: how it was built, and what that took.", ""]
    lines += ["It has no files. `scoder sql` and `store.sql` make it of the run records.", ""]
    lines += ["| column | type | |", "|---|---|---|", *_rows_of(RUNS), ""]
    return "\n".join(lines)


def _rows_of(columns: Iterable[Column]) -> list[str]:
    return [f"| {c.name} | {arrow_type(c.kind)}{' or NULL' if c.nullable else ''} | {c.note} |" for c in columns]


if __name__ == "__main__":
    print(markdown(), end="")
