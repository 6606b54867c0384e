"""The Hugging Face datasets that leave a store: training sets of the three models, and tables.

In: tables of a store. Out: a dataset folder at `target`, and its rows per split. Training reads
such folders and nothing else of the store.

    num_rows = sets.instructions(store, recipe.name, "out/instructions")["train"]
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

import queries
from builders import raw_pool
from builders.aspect_scores import question
from builders.datasets import mixes
from builders.gradients import conversation
from builders.pairs import fenced, labels
from builders.pairs.corruptions import taught
from builders.publishing.card import Card, render
from builders.publishing.folder import write_dataset
from builders.publishing.places import without_places
from builders.recipe import Mix, Recipe
from store import CONTRACTS, ContractError, Plan, Store, markers
from store.catalog import connect
from store.counts import counted

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
PAIRS = pa.schema([("messages", MESSAGES), ("item_id", pa.string()), ("origin", pa.string()), ("license", pa.string())])
MIXED = PAIRS.set(0, pa.field("messages", mixes.MESSAGES))
LABELS = pa.schema(
    [("messages", MESSAGES), ("aspect", pa.string()), ("corruption", pa.string()), ("license", pa.string())]
)
INSTRUCTIONS = pa.schema(
    {
        "messages": MESSAGES,
        "candidate_id": pa.string(),
        "snippet_id": pa.string(),
        "license": pa.string(),
        "score": pa.float64(),
        "is_snippet_trained_on": pa.bool_(),
    }
)
SELECTED = pa.schema(
    {
        "messages": MESSAGES,
        "candidate_id": pa.string(),
        "snippet_id": pa.string(),
        "rank": pa.int32(),
        "score": pa.float64(),
        "influence": pa.float64(),
        "problem": pa.string(),
        "solution": pa.string(),
        "license": pa.string(),
    }
)
_COLUMNS = {"messages": "user and assistant turns", "license": "licence of the snippet that inspired the row"}


def synthesizer(
    store: Store,
    prompt: str,
    min_strength: float,
    iterations: list[int],
    selection: str,
    target: str,
    *,
    inputs: Mapping[str, str],
    plan: str = "",
) -> dict[str, int]:
    """The training set of the synthesizer: snippet -> problem and solution.

    It holds the teacher's train split and the selections of the given iterations. Like all sets
    here, it is read from the `inputs` of a plan alone, and its marker names the `plan`.
    """
    values = {
        "iterations": iterations,
        "selection": selection,
        "min_strength": min_strength,
    }

    def split(name: str) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
        reader = queries.stream(connect(store, inputs), "synthesizer_rows", values | {"split": name})
        rows = (
            {**_kept(r, "item_id", "origin", "license"), "messages": conversation(prompt, r)} for r in _rows(reader)
        )
        return PAIRS, batches(rows, PAIRS)

    card = Card("SCoder synthesizer training set", "Conversations (snippet -> problem and solution).", columns=_COLUMNS)
    return write_dataset(target, {"train": split("train"), "validation": split("validation")}, card, plan)


def scorer(store: Store, recipe: Recipe, target: str, *, plan: str = "") -> dict[str, int]:
    """The training set of the scorer: an item and an aspect -> the digit that the aspect deserves.

    Items are teacher pairs and corrupted copies of them. Labels that the teacher gave are all kept.
    """
    settings = recipe.scorer

    def split(name: str, split_seed: int) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
        licenses = {p["code"]: p["license"] for p in labels.pairs(store, recipe, name)}
        rng = random.Random(split_seed)
        rows = (
            {
                "messages": [
                    {"role": "user", "content": question(settings.prompt, e.code, e.problem, e.solution, aspect)},
                    {"role": "assistant", "content": str(digit)},
                ],
                "aspect": aspect,
                "corruption": e.corruption,
                "license": licenses[e.code],
            }
            for e in labels.labels(store, recipe, name)
            for aspect, digit in (e.labels if settings.labels == "teacher" else taught(e, rng)).items()
        )
        return LABELS, batches(rows, LABELS)

    by = "by the teacher" if settings.labels == "teacher" else "in code"
    card = Card("SCoder scorer training set", f"One digit per aspect, labelled {by}.", columns=_COLUMNS)
    splits = {"train": split("train", recipe.seed), "validation": split("validation", recipe.seed + 1)}
    return write_dataset(target, splits, card, plan)


def instructions(store: Store, recipe_name: str, target: str) -> dict[str, int]:
    """The final dataset: problem -> solution."""
    columns = ("candidate_id", "snippet_id", "license", "score", "is_snippet_trained_on")
    card = _instructions_card(recipe_name)
    rows = (
        {**_kept(r, *columns), "messages": problem_and_solution(r)}
        for t in store.read("instructions")
        for r in t.to_pylist()
    )
    plan = _instructions_plan(store, card)
    return write_dataset(target, {"train": (INSTRUCTIONS, batches(rows, INSTRUCTIONS))}, card, plan)


def keep_instructions(store: Store, recipe_name: str) -> None:
    """The final dataset in the store itself: `_datasets/instructions`. It is written once.

    It is written again when the rows, the columns or the card are others. ContractError if somebody
    changed the folder.
    """
    folder = f"{store.root}/_datasets/instructions"
    if not store.builds:
        return
    if markers.is_up_to_date(Path(folder), _instructions_plan(store, _instructions_card(recipe_name))):
        store.announce("_datasets/instructions: up to date")
        return
    counts = instructions(store, recipe_name, folder)
    store.announce(f"_datasets/instructions: {counted(counts['train'], 'row')}")


def _instructions_card(recipe_name: str) -> Card:
    text = (
        "Code instructions written by a small model that was bootstrapped into a data synthesizer (SCoder, "
        f"arXiv 2509.07858) from real functions. Recipe: {recipe_name}. Decontaminated against the recipe's benchmarks."
    )
    notes = {
        "score": "weighted aspect score, 0..9",
        "is_snippet_trained_on": "the synthesizer had been trained on another pair of the same snippet, so it may "
        "repeat what it learned; leave these rows out to see only what it writes for new snippets",
    }
    return Card("SCoder instructions", text, columns=_COLUMNS | notes)


def _instructions_plan(store: Store, card: Card) -> str:
    """What decides every byte of the folder: the rows, the columns, the card."""
    said = {"card": render(card, {}, {}), "columns": str(INSTRUCTIONS)}
    return Plan(table="instructions", fields=said, inputs=store.input("instructions")).fingerprint


def coder(store: Store, mixed: Sequence[Mix], target: str, *, plan: str = "") -> dict[str, int]:
    """The training set of the coder: the instructions, and the public sets that the recipe mixes
    in.
    """

    def rows() -> Iterator[dict[str, Any]]:
        for part in store.read("instructions"):
            for row in part.to_pylist():
                yield {
                    "messages": problem_and_solution(row),
                    "item_id": row["candidate_id"],
                    "origin": "instructions",
                } | {"license": row["license"]}
        for mix in mixed:
            left_out: Counter[str] = Counter()
            for number, row in enumerate(mixes.conversations(mix, left_out)):
                yield row | {"messages": mixes.stored(row["messages"]), "item_id": str(number), "origin": mix.dataset}
            for reason, num_rows in left_out.most_common(3):
                store.announce(f"the mix {mix.dataset}: {counted(num_rows, 'row')} left out: {reason}")

    card = Card("SCoder coder training set", "Conversations (problem -> solution).", columns=_COLUMNS)
    schema = MIXED if mixed else PAIRS
    return write_dataset(target, {"train": (schema, batches(rows(), schema))}, card, plan)


def problem_and_solution(row: dict[str, Any]) -> list[dict[str, str]]:
    """Problem -> solution, as a user and an assistant turn: the coder's training form."""
    return [
        {"role": "user", "content": row["problem"]},
        {"role": "assistant", "content": fenced(row["solution"])},
    ]


def table(store: Store, name: str, target: str) -> dict[str, int]:
    """Any table as it is, but for the paths of this machine (see `places`).

    ContractError for a name that is no table.
    """
    if name not in CONTRACTS:
        raise ContractError(f"no table {name!r}. The tables are {', '.join(CONTRACTS)}.")
    schema = pa.schema([f.remove_metadata() for f in CONTRACTS[name].schema])
    tables = (t.cast(schema) for p in store.partitions(name) for t in store.read(name, **p))
    found = (without_places(batch, store.root) for table in tables for batch in table.to_batches())
    card = Card(f"SCoder {name}", f"One row is {CONTRACTS[name].grain}.", columns=_notes(name))
    return write_dataset(target, {"train": (schema, found)}, card)


def selected(
    store: Store, prompt: str, iteration: int, selection: str, target: str, *, inputs: Mapping[str, str]
) -> dict[str, int]:
    """A selection in the synthesizer's training form, best first.

    Each row also has its texts, score and influence. `selection_inputs` gives its `inputs`.
    """
    values = {"iteration": iteration, "selection": selection}
    reader = queries.stream(connect(store, inputs), "selected_rows", values)
    columns = ("candidate_id", "snippet_id", "rank", "score", "influence", "problem", "solution", "license")
    rows = ({**_kept(r, *columns), "messages": conversation(prompt, r)} for r in _rows(reader))
    card = Card(
        f"SCoder selection {selection} of iteration {iteration}",
        "Candidates that a selection keeps, best first, as conversations (snippet -> problem and solution).",
        columns=_COLUMNS,
    )
    return write_dataset(target, {"train": (SELECTED, batches(rows, SELECTED))}, card)


def selection_inputs(store: Store, iteration: int, selection: str) -> dict[str, str]:
    """The partitions that a selection and its texts are read from.

    Raises ContractError when one is not complete.
    """
    found = store.input("selected", iteration=iteration, selection=selection)
    return found | store.input("candidates", iteration=iteration) | raw_pool.inputs(store)


def batches(rows: Iterable[dict[str, Any]], schema: pa.Schema, size: int = 1000) -> Iterator[pa.RecordBatch]:
    """Rows as record batches, a thousand at a time."""
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == size:
            yield pa.RecordBatch.from_pylist(held, schema=schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, schema=schema)


def _rows(reader: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    for batch in reader:
        yield from batch.to_pylist()


def _kept(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {n: row[n] for n in names}


def _notes(name: str) -> dict[str, str]:
    return {f.name: (f.metadata or {}).get(b"note", b"").decode() for f in CONTRACTS[name].schema}
