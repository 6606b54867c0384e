"""What a run would build again in a store, before it builds anything.

In: a store. Out: a store of the same rows in which nothing is built. Each builder that is called on
it begins its plan; that is compared with the record and noted. What differs counts as built, so
that the builders after it can make their plans, too: each difference is then its own, and not only
a consequence of an earlier one. What was never built counts as built without rows; a builder that
cannot go on without them ends the preview.

    preview = Preview("store-data")
    scoder.build_pool(preview, recipe)
    [step.where for step in preview.steps if step.differences]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from store.runs import Plan, Record
from store.store import Store, segments

NOT_BUILT = "(not built)"
"""The content of what was never built, and of what is half built."""


@dataclass(frozen=True)
class Step:
    """One partition that a run begins: `record` is None if it has no finished one.

    `differences` are lines `field: built -> now`.
    """

    where: str
    record: Record | None
    differences: tuple[str, ...]


class Preview(Store):
    """A store that notes what a run would build; see the module."""

    builds = False

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.steps: list[Step] = []
        self._not_built: dict[str, Record] = {}

    def _is_current(self, record: Record, contents: dict[str, str | None]) -> bool:
        return True  # what is stale counts as built, so that the plans after it can be made

    def _written(self, where: str) -> Record | None:
        return self._not_built.get(where) or super()._written(where)

    def begin(self, plan: Plan) -> Record:
        """Note what differs, and take the partition for built."""
        where = segments(plan.table, plan.partition)
        old = super()._written(where)
        if old is None or old.status != "complete":
            self.steps.append(Step(where, None, ()))
            self._not_built[where] = Record(plan=plan, status="complete", content=NOT_BUILT)
            return self._not_built[where]
        self.steps.append(Step(where, old, tuple(old.plan.differences(plan))))
        return old
