"""The counts of a check of a dataset, and how they are told: to people, and to programs.

In: the hits and the verdicts of batches. Out: a table, sentences, or one object.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from builders.datasets.places import Place
from store.counts import counted
from store.errors import JobError


@dataclass
class Report:
    """What was found: the counts of a check.

    Columns that were read, and those with text that were not; the dataset and, by name, the
    benchmarks, with the config and the split that were read; rows, rows without text (in which
    at least the answer could not be read) and contaminated rows; per (benchmark, detector) the
    rows with a hit and with a verdict; tasks, tasks that execution can use, the reasons why it
    cannot use the others, and what was executed.
    """

    columns: tuple[str, ...]
    not_read: tuple[str, ...]
    place: Place
    benchmarks: dict[str, Place]
    num_tasks: int
    is_executed: bool
    num_rows: int = 0
    num_without_text: int = 0
    why_without_text: Counter[str] = field(default_factory=Counter)
    num_contaminated: int = 0
    with_hit: Counter[tuple[str, str]] = field(default_factory=Counter)
    with_verdict: Counter[tuple[str, str]] = field(default_factory=Counter)
    num_runnable: int = 0
    not_runnable: Counter[str] = field(default_factory=Counter)
    executed: Counter[str] = field(default_factory=Counter)

    def rows(self) -> list[dict[str, Any]]:
        """The counts of each benchmark and detector, as a table."""
        return [
            {"benchmark": b, "detector": d, "rows with a hit": n, "rows with a verdict": self.with_verdict[b, d]}
            for (b, d), n in sorted(self.with_hit.items())
        ]

    def lines(self) -> list[str]:
        """The other counts, as sentences."""
        lines = [
            f"{self.num_contaminated:,} of {counted(self.num_rows, 'row')} {'is' if self.num_rows == 1 else 'are'} contaminated"
        ]
        if self.num_without_text:
            lines.append(f"{counted(self.num_without_text, 'row')} had no text and could not be checked: {self._why()}")
        if self.not_read:
            lines.append(f"columns with text that were not read: {', '.join(self.not_read)}. Name them with --text.")
        if self.is_executed:
            reasons = "; ".join(f"{n:,}: {reason}" for reason, n in self.not_runnable.most_common())
            lines += [
                f"{self.num_runnable:,} of {self.num_tasks:,} tasks can be run" + (f" ({reasons})" if reasons else "")
            ]
            lines += [", ".join(f"{n:,} {what}" for what, n in self.executed.items())]
        return lines

    def _why(self) -> str:
        return "; ".join(f"{reason} ({n:,})" for reason, n in self.why_without_text.most_common(3))

    def require_text(self, most: float) -> None:
        """JobError if a larger share of the rows than `most` has no text: nobody looked at them."""
        if self.num_without_text > most * self.num_rows:
            raise JobError(
                f"{self.num_without_text:,} of {counted(self.num_rows, 'row')} had no text in "
                f"{', '.join(self.columns)}, so they were not checked: {self._why()}. Name the columns with --text or "
                f"--columns, or allow it with --max-without-text (now {most:g})."
            )

    def as_dict(self) -> dict[str, Any]:
        """All counts, for programs."""
        counts = [{key.replace(" ", "_"): value for key, value in row.items()} for row in self.rows()]
        found: dict[str, Any] = {"dataset": asdict(self.place)}
        found |= {"benchmarks": [{"name": name, **asdict(place)} for name, place in self.benchmarks.items()]}
        found |= {"columns": list(self.columns), "columns_not_read": list(self.not_read)}
        found |= {"rows": self.num_rows, "rows_without_text": self.num_without_text}
        found |= {"why_without_text": dict(self.why_without_text)}
        found |= {"contaminated": self.num_contaminated, "tasks": self.num_tasks, "detectors": counts}
        if self.is_executed:
            found |= {"runnable_tasks": self.num_runnable, "not_runnable": self.not_runnable, "executed": self.executed}
        return found

    def count(self, hits: pa.Table, verdicts: pa.Table, min_strength: float) -> None:
        """Add the hits and the verdicts of a batch."""
        self.num_rows += verdicts.num_rows
        self.num_without_text += verdicts.num_rows - pa.compute.sum(verdicts["has_text"]).as_py()
        self.num_contaminated += pa.compute.sum(verdicts["is_contaminated"]).as_py()
        threshold = pa.scalar(min_strength, pa.float32())
        for counts, part in (
            (self.with_hit, hits),
            (self.with_verdict, hits.filter(pa.compute.greater_equal(hits["strength"], threshold))),
        ):
            for group in part.group_by(["benchmark", "detector"]).aggregate([("row", "count_distinct")]).to_pylist():
                counts[group["benchmark"], group["detector"]] += group["row_count_distinct"]
