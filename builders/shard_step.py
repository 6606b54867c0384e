"""The datatrove pipeline step that builds one shard per rank (a module of its own: importing datatrove takes seconds)."""

from __future__ import annotations

from typing import Any

from datatrove.pipeline.base import PipelineStep
from loguru import logger

from builders.tasks import run_one
from store.runs import Partition


class ShardStep(PipelineStep):
    """Rank r builds the r-th missing shard."""

    name = "shard"
    type = "builder"

    def __init__(self, root: str, table: str, partition: Partition, plan_id: str, function: str, missing: list[int]):
        super().__init__()
        self.arguments = (root, table, partition, plan_id, function)
        self.missing = missing
        quiet()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a worker process."""
        self.__dict__.update(state)
        quiet()

    def run(self, data=None, rank: int = 0, world_size: int = 1):  # type: ignore[no-untyped-def]
        """Build the shard of this rank."""
        with self.track_time():
            run_one(*self.arguments, self.missing[rank])
        yield from ()


def quiet() -> None:
    """datatrove logs a dozen lines per task, whole tracebacks included; the store announces what was built."""
    logger.disable("datatrove")
