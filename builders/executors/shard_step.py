"""What datatrove runs: a pipeline of one step that builds shards (a module of its own: importing datatrove takes seconds).

In: the work of a table and its missing shards in batches. Out: shards in the store.
"""

from __future__ import annotations

from typing import Any

from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import PipelineStats
from loguru import logger

from builders.executors.work import Work, run_one


class ShardStep(PipelineStep):
    """Rank r builds the shards of the r-th batch, one after the other."""

    name = "shard"
    type = "builder"

    def __init__(self, work: Work, batches: list[list[int]]):
        super().__init__()
        self.work = work
        self.batches = batches
        quiet()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a worker process."""
        self.__dict__.update(state)
        quiet()

    def run(self, data=None, rank: int = 0, world_size: int = 1):  # type: ignore[no-untyped-def]
        """Build the batch of this rank."""
        for index in self.batches[rank]:
            with self.track_time():
                run_one(self.work, index)
        yield from ()


class Ranks:
    """The part of an executor that runs one rank, to stand before one of datatrove's classes.

    datatrove's own opens log handlers, writes statistics and a completion marker, 45 ms of CPU per task, all to be ignored.
    """

    pipeline: list[Any]
    world_size: int

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        for _ in self.pipeline[0].run(None, rank, self.world_size):
            pass
        return PipelineStats()


def quiet() -> None:
    """datatrove logs a dozen lines per task, whole tracebacks included; the store announces what was built."""
    logger.disable("datatrove")
