"""Two replicas against one on the same cores: requests per second, CPU time and memory.

    make .venv-vllm/.ready
    VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python benchmarks/engines/replicas.py
    .venv/bin/python benchmarks/engines/replicas.py --engine transformers

All ways answer the same requests of three adapters and the base, on a random model. Nothing is
measured before all replicas are there. The CPU time and the peak memory are of the replicas and
what they started; memory that they share counts for each. On a GPU each replica has its own, so
these figures say nothing about that: they say what the second process costs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builders.engines import Request, TransformersSettings, VllmSettings
from builders.engines.answers import open_answers
from builders.engines.messages import Job
from builders.engines.places import places
from builders.engines.pooled import PooledEngine
from builders.engines.settings import LocalSettings
from tests.engine_models import save_adapter, save_model

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
SHARD = 64


def main() -> None:
    """Run both numbers of replicas and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["vllm", "transformers"], default="vllm")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--requests", type=int, default=768)
    parser.add_argument("--max-tokens", type=int, default=48)
    options = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    print(
        f"engine {options.engine}, {options.requests} requests of {options.max_tokens} tokens, load {os.getloadavg()}"
    )
    print("replicas   start s   answers s   requests/s   CPU s   peak MB")
    with tempfile.TemporaryDirectory(prefix="scoder-replicas-") as folder:
        model = save_model(Path(folder, "model"), hidden_size=256, num_layers=4)
        adapters = {f"step-{n}": save_adapter(model, Path(folder, str(n)), n) for n in range(3)}
        for number in options.replicas:
            settings: LocalSettings = (
                VllmSettings(max_model_tokens=512, enforce_eager=True, replicas=number)
                if options.engine == "vllm"
                else TransformersSettings(max_model_tokens=512, micro_batch=SHARD // 8, replicas=number)
            )
            print(_measured(Job(settings, model, adapters), Path(folder, f"journal-{number}"), options), flush=True)


def _measured(job: Job, journal: Path, options: argparse.Namespace) -> str:
    number, shards = job.settings.replicas, range(options.requests // SHARD)

    def requests_of(shard: int) -> list[Request]:
        names = [None, *job.adapters]
        return [
            Request(f"{shard}/{n}", prompt=f"def f{shard}_{n}(a, b):\n    ", adapter=names[n % len(names)], seed=n,
                    max_tokens=options.max_tokens)
            for n in range(SHARD)
        ]  # fmt: skip

    start = time.monotonic()
    with PooledEngine(job, places(job.settings)) as engine:
        engine.wait_for_all()
        began, before, peak = time.monotonic(), _cpu_s(engine.sessions), _Peak(engine.sessions)
        with open_answers(journal, shards, job.settings, engine.generate, requests_of) as answers:
            for shard in shards:
                answers.of(shard, [request.request_id for request in requests_of(shard)])
        took, used, most = time.monotonic() - began, _cpu_s(engine.sessions) - before, peak.stop()
    rate = len(shards) * SHARD / took
    return f"{number:8} {began - start:9.1f} {took:11.1f} {rate:12.1f} {used:7.1f} {most:9.0f}"


class _Peak:
    """The largest sum of the memory of all processes, looked at four times a second."""

    def __init__(self, sessions: list[int]) -> None:
        self._sessions, self._most, self._over = sessions, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            self._most = max(self._most, sum(int(fields[21]) for fields in _fields(self._sessions)) * PAGE_MB)

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._most


def _cpu_s(sessions: list[int]) -> float:
    return sum(int(fields[11]) + int(fields[12]) for fields in _fields(sessions)) / TICKS_PER_S


def _fields(sessions: list[int]) -> list[list[str]]:
    """The numbers of /proc/PID/stat, from the state on, of all processes of these sessions."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found.append(path.read_text().rpartition(")")[2].split())
    return [fields for fields in found if int(fields[3]) in sessions]


if __name__ == "__main__":
    main()
