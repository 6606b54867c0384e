"""Public instruction sets that the coder is trained on, besides the store's own instructions.

In: a `Mix` of the recipe: a Hub dataset, a dataset folder, or a JSON(L) or Parquet file. Out:
conversations with their licence, in the order of the source. The names of the columns tell the
layout: messages, or a question and an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from builders.recipe import Mix
from store.errors import InputError
from training import hub
from training.errors import loading

QUESTIONS = ("problem", "instruction", "prompt", "question")
ANSWERS = ("solution", "output", "completion", "response", "answer")


def conversations(mix: Mix) -> Iterator[dict[str, Any]]:
    """`{"messages", "license"}` of up to `max_rows` rows. ValueError lists columns that are not
    known.
    """
    for row in islice(_rows(mix), mix.max_rows):
        yield {"messages": messages(row), "license": str(row.get("license") or mix.license)}


def messages(row: dict[str, Any]) -> list[dict[str, str]]:
    """The turns of a row: its messages, or its question and answer.

    An `input`, as in Alpaca's layout, is added to the question.
    """
    if row.get("messages"):
        return [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
    question = next((row[c] for c in QUESTIONS if row.get(c)), None)
    answer = next((row[c] for c in ANSWERS if row.get(c)), None)
    if question is None or answer is None:
        raise InputError(
            f"a row has the columns {sorted(row)}. It needs `messages`, or one of {QUESTIONS} and one of {ANSWERS}."
        )
    if row.get("input"):
        question = f"{question}\n\n{row['input']}"
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _rows(mix: Mix) -> Iterator[dict[str, Any]]:
    import datasets

    path = Path(mix.dataset)
    if path.is_file():
        kind = "parquet" if path.suffix == ".parquet" else "json"
        where: dict[str, Any] = {"path": kind, "data_files": str(path), "split": "train"}
    else:
        where = {"path": mix.dataset, "revision": mix.revision, "split": mix.split}
        hub.require("dataset", mix.dataset, mix.revision)
    with loading(f"the dataset {mix.dataset}"):
        rows = datasets.load_dataset(**where, streaming=True)
    yield from rows
