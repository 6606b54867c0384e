"""Which texts hold a benchmark task: tasks become an index, and a batch of texts becomes hits.

    index = detectors.index(tasks, recipe.decontamination)   # once, for all benchmarks together
    table = detectors.hits(index, item_ids, texts)           # per batch of some thousand texts

In: `tasks` are rows of the table `benchmarks` (benchmark, task_id, prompt, solution or None,
tests). `item_ids` and `texts` are string arrays of one length; a NULL text has no hits. Out: a
table with the schema HITS. One row is an (item, benchmark, task, detector) with a strength of FLOOR
or more. Rows follow the order of the items, then of the tasks.

Nothing is read or written here. A hit depends on the text, its task, the settings, and the other
tasks of that benchmark, because what tasks have in common says nothing. It never depends on the
other texts or the other benchmarks. So hits are the same however the work is cut into batches.

    string    the statement or the solution stands in the item (detectors/strings.py): strength 1
    ngram     the item holds the raw token n-grams of the solution, or of prompt and solution
    renamed   the same, whatever the names are
    prose     the item's comments, docstrings and prose say what the statement says, in its words,
              in other forms of them, or in words that mean the same (detectors/concepts.py,
              detectors/prose.py)
    literals  the item holds the numbers and strings of the prompt's examples or of the tests, in
              their order
    combined  code, prose and literals together: 1 - (1 - code)(1 - prose)(1 - literals). Code is
              the stronger of ngram and renamed. Only where two of the three agree on the task

How: an n-gram weighs its bits of information (detectors/background.py), less one bit for each
doubling of the number of the benchmark's tasks that have it. The share of a task's weight that a
text holds becomes a strength by detectors/calibration.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from builders.code import tokens as lexing
from builders.code.tokens import Grams, Lexed
from builders.decontamination.detectors import background, concepts, features, prose, strings, units
from builders.decontamination.detectors.calibration import CALIBRATIONS, FLOOR, PROSE
from builders.decontamination.detectors.combination import Rows, combined
from builders.decontamination.detectors.postings import Shares, longest_run, shares
from builders.decontamination.detectors.statements import asked, statement
from builders.decontamination.detectors.units import Task
from builders.recipe import Decontamination

__all__ = ["FLOOR", "HITS", "Index", "asked", "hits", "index", "kept", "rules"]

EVIDENCE_CHARS = 200

HITS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("strength", pa.float32(), nullable=False),
        pa.field("similarity", pa.float32(), nullable=False),
        pa.field("information", pa.float32(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
    ]
)
"""strength: 0..1, a verdict from 0.5 on by default. similarity: the detector's own measure, 0..1.
information: bits of the task.
"""

Sets = dict[str, tuple[Lexed, Grams]]


@dataclass(frozen=True)
class Index:
    """What the detectors look for. `benchmarks` and `task_ids` have one entry per task."""

    benchmarks: list[str]
    task_ids: list[str]
    ngram: int
    patterns: strings.Strings
    views: dict[str, units.View]

    def bits(self, detector: str) -> np.ndarray:
        """The information of each task for a detector, in bits, float64 (tasks,).

        A task below CALIBRATIONS[detector].floor is not found by that detector alone. Of prose, one
        with fewer than prose.MIN_SHARED concepts is not.
        """
        return self.views[detector].bits(len(self.task_ids))


def index(tasks: Sequence[Task], settings: Decontamination) -> Index:
    """The index over tasks of one or more benchmarks."""
    texts = [(i, text) for i, task in enumerate(tasks) for text in (statement(task["prompt"]), task["solution"] or "")]
    wanted = settings.detectors
    return Index(
        [str(task["benchmark"]) for task in tasks],
        [str(task["task_id"]) for task in tasks],
        settings.ngram,
        strings.patterns(texts if "string" in wanted else [], settings.min_string_chars),
        {name: units.view(name, tasks, settings.ngram) for name in features.VIEWS if name in wanted and tasks},
    )


def rules() -> dict[str, Any]:
    """What decides about hits besides the settings, as plain values.

    It is part of the plan of a table of hits.
    """
    return {
        "tasks": units.TASKS_VERSION,
        "background": background.digest(),
        "thesaurus": concepts.digest(),
        "calibrations": {name: asdict(calibration) for name, calibration in CALIBRATIONS.items()}
        | {"prose": asdict(PROSE) | prose.rules()},
    }


def hits(index: Index, item_ids: pa.Array, texts: pa.Array) -> pa.Table:
    """The hits of a batch of texts, as HITS. ValueError when there are not as many ids as texts."""
    if len(item_ids) != len(texts):
        raise ValueError(f"{len(item_ids)} item ids are given for {len(texts)} texts: give one id per text")
    texts = features.normalised(texts)
    found = [_strings(index, texts)]
    if index.views:
        sets = features.of_tokens(lexing.lex(texts), index.views, index.ngram)
        found += [
            (_said if name == "prose" else _contained)(name, view, sets[name]) for name, view in index.views.items()
        ]
    found.append(combined(found, len(index.task_ids)))
    return _table(index, item_ids, [rows for rows in found if len(rows.texts)])


def _strings(index: Index, texts: pa.Array) -> Rows:
    best: dict[tuple[int, int], int] = {}
    for text, pattern in strings.matches(index.patterns, texts):
        for task in index.patterns.tasks[pattern]:
            held = best.setdefault((text, task), pattern)
            if len(index.patterns.patterns[pattern]) > len(index.patterns.patterns[held]):
                best[text, task] = pattern
    pairs = np.array(sorted(best), np.int64).reshape(-1, 2)
    patterns = [best[text, task] for text, task in pairs.tolist()]
    # The entropy of English is about one bit per letter (C. E. Shannon, 1951).
    sizes = np.array([len(index.patterns.patterns[p]) for p in patterns], float)
    ones = np.ones(len(pairs))
    return Rows(
        "string",
        pairs[:, 0],
        pairs[:, 1],
        ones,
        ones,
        sizes,
        [_shortened(index.patterns.originals[p]) for p in patterns],
    )


def _contained(name: str, view: units.View, sets: Sets) -> Rows:
    """The best unit of each task in each text."""
    calibration = CALIBRATIONS[name]
    found = shares(view.postings, [grams for _, grams in sets.values()], calibration.min_share(FLOOR))
    bits = view.postings.totals[found.units]
    tokens = np.diff(next(iter(sets.values()))[0].offsets)[found.texts]
    return _best(name, view, sets, found, calibration.strengths(found.shares, bits, tokens))


def _said(name: str, view: units.View, sets: Sets) -> Rows:
    """The statements that each text says."""
    assert view.said is not None, "units.view makes it for prose"
    (_, singles), (_, pairs) = sets.values()
    found = prose.scores(view.postings, view.said, singles, pairs, PROSE.weak)
    strengths = PROSE.strengths(found.scores, found.shares)
    return _best(name, view, sets, Shares(found.texts, found.units, found.shares), strengths)


def _best(name: str, view: units.View, sets: Sets, found: Shares, strengths: np.ndarray) -> Rows:
    """Of the units of one task in a text, the strongest."""
    bits = view.postings.totals[found.units]
    tasks = view.tasks[found.units]
    order = np.lexsort((found.units, -strengths, tasks, found.texts))
    is_best = np.ones(len(order), bool)
    same_text = found.texts[order][1:] == found.texts[order][:-1]
    is_best[1:] = ~(same_text & (tasks[order][1:] == tasks[order][:-1]))
    kept = order[is_best & (strengths[order] >= FLOOR)]
    evidence = list(_evidence(view, found, kept, list(sets.values())))
    return Rows(name, found.texts[kept], tasks[kept], strengths[kept], found.shares[kept], bits[kept], evidence)


def _evidence(view: units.View, found: Shares, rows: np.ndarray, sets: list[tuple[Lexed, Grams]]) -> Iterator[str]:
    """The longest run of shared n-grams of each row, as text.

    Of several lengths of n-grams, the longest that are shared.
    """
    for row in rows.tolist():
        text = int(found.texts[row])
        for lexed, grams in sorted(sets, key=lambda made: -made[1].n):
            first, last = longest_run(view.postings, grams, text, int(found.units[row]))
            if first >= 0:
                shift = int(lexed.offsets[text] - grams.offsets[text])
                yield _shortened(lexed.text(first + shift, last + shift + grams.n - 1))
                break


def _shortened(text: str) -> str:
    return " ".join(text[: 4 * EVIDENCE_CHARS].split())[:EVIDENCE_CHARS]


def _table(index: Index, item_ids: pa.Array, found: list[Rows]) -> pa.Table:
    if not found:
        return HITS.empty_table()
    texts, tasks = (np.concatenate([getattr(rows, name) for rows in found]) for name in ("texts", "tasks"))
    order = np.lexsort((np.repeat(np.arange(len(found)), [len(r.texts) for r in found]), tasks, texts))
    texts, tasks = texts[order], tasks[order]
    names = np.repeat([rows.detector for rows in found], [len(rows.texts) for rows in found])[order]
    numbers = {
        name: np.concatenate([getattr(rows, name) for rows in found])[order]
        for name in ("strengths", "similarities", "bits")
    }
    evidence = [text for rows in found for text in rows.evidence]
    columns = [
        item_ids.take(pa.array(texts)).cast(pa.string()),
        pa.array(index.benchmarks, pa.string()).take(pa.array(tasks)),
        pa.array(index.task_ids, pa.string()).take(pa.array(tasks)),
        pa.array(names, pa.string()),
        pa.array(rounded_up(numbers["strengths"])),
        pa.array(rounded_up(numbers["similarities"])),
        pa.array(numbers["bits"].astype(np.float32)),
        pa.array(evidence, pa.string()).take(pa.array(order)),
    ]
    return pa.Table.from_arrays(columns, schema=HITS)


def rounded_up(shares: np.ndarray) -> np.ndarray:
    """Shares as 4-byte floats that are never below the exact value.

    A share of 7/10 stored as 0.69999999 would pass a threshold of 0.7.
    """
    stored = shares.astype(np.float32)
    return np.where(stored.astype(np.float64) >= shares, stored, np.nextafter(stored, np.float32(2)))
