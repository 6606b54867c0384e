"""A million requests through an engine that answers at once: rows per second, and memory.

    .venv/bin/python benchmarks/engines/memory.py [--requests 1000000]

In: requests made as they are read. Out: one line per tenth of the run with the resident memory,
then the peak. Memory must stay flat.

All of `builders.engines.answers` takes part: the stream over shards, the journal on the disk,
reading back in order. Only the model is missing. `ahead` is how many answers the engine was ahead
of the reader. The journal takes about 1 KB of disk per request.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from builders.engines import ChoiceCompletion, ChoiceRequest, Completion, Engine, OpenAISettings, Request
from builders.engines.answers import open_answers

TEXT = "### Problem\nAdd two numbers.\n\n### Solution\n```python\ndef add(a, b):\n    return a + b\n```" * 6
SHARD = 4096


class NullEngine(Engine):
    """Answers at once. Of each pair of requests the second is answered first."""

    def __init__(self) -> None:
        self.num_answered = 0

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        held: Request | None = None
        for request in requests:
            if held is None:
                held = request
                continue
            for each in (request, held):
                self.num_answered += 1
                yield Completion(each.request_id, TEXT, "stop", 300, 150, None)
            held = None
        if held is not None:
            yield Completion(held.request_id, TEXT, "stop", 300, 150, None)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def resident_mb() -> float:
    """Resident memory of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where the journal goes; the temporary folder of the system by default")
    options = parser.parse_args()
    settings = OpenAISettings(price_per_million_input=1, price_per_million_output=4)
    shards = range(-(-options.requests // SHARD))

    def names(shard: int) -> list[str]:
        return [f"{n:032x}" for n in range(shard * SHARD, min(options.requests, (shard + 1) * SHARD))]

    def requests_of(shard: int) -> list[Request]:
        message = {"role": "user", "content": TEXT}
        return [Request(name, messages=(message,), seed=int(name, 16)) for name in names(shard)]

    engine, began, cpu, num_rows = NullEngine(), time.perf_counter(), time.process_time(), 0
    print(f"{'rows':>10}{'ahead':>10}{'rows/s':>9}{'resident MB':>13}")
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        open_answers(Path(folder), shards, settings, engine.generate, requests_of) as answers,
    ):
        for shard in shards:
            before, num_rows = num_rows, num_rows + len(answers.of(shard, names(shard)))
            if num_rows * 10 // options.requests > before * 10 // options.requests:
                rate = num_rows / (time.perf_counter() - began)
                print(
                    f"{num_rows:>10,}{engine.num_answered - num_rows:>10,}{rate:>9,.0f}{resident_mb():>13.0f}",
                    flush=True,
                )
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{num_rows:,} rows in {wall:.1f} s, {1e6 * cpu / num_rows:.0f} us of CPU per row, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
