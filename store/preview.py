"""What a run would build again in a store, before it builds anything.

In: a store. Out: a store of the same rows in which nothing is built. Each builder that is called on
it begins its plan; that is compared with the record and noted. What differs counts as built, so
that the builders after it can make their plans, too: each difference is then its own, and not only
a consequence of an earlier one.

    preview = Preview("store-data", force=True)
    scoder.run(preview, recipe)  # up to NotBuiltError: from there on nothing was ever built
    preview.steps
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from store.runs import Plan, Record
from store.store import Store, segments


class NotBuiltError(Exception):
    """The rows of a partition are not there, so nobody can say what would come after it."""


@dataclass(frozen=True)
class Step:
    """One partition that a run begins. `differences` are lines `field: built -> now`."""

    where: str
    record: Record
    differences: tuple[str, ...]


class Preview(Store):
    """A store that notes what a run would build; see the module."""

    builds = False

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.steps: list[Step] = []

    def _is_current(self, record: Record, contents: dict[str, str | None]) -> bool:
        return True  # what is stale counts as built, so that the plans after it can be made

    def begin(self, plan: Plan) -> Record:
        """Note what differs. Raises NotBuiltError for a partition that has no rows."""
        old = self.record(plan.table, **plan.partition)
        if old is None or old.status != "complete":
            raise NotBuiltError(segments(plan.table, plan.partition))
        self.steps.append(Step(segments(plan.table, plan.partition), old, tuple(old.plan.differences(plan))))
        return old
