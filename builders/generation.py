"""Asking an engine for one shard's completions, without paying twice.

In: an engine and the requests of a shard. Out: the completions in the order of the requests. Answers of engines that
cannot repeat themselves are journalled as they arrive: after a kill only unanswered requests are sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from builders.engines import Completion, Engine, Request
from builders.engines.settings import EngineSettings
from store import Plan, Store, Usage


def journal_path(store: Store, plan: Plan, index: int) -> Path:
    """Where the answers of a shard are kept until the shard is written."""
    return Path(store.scratch(f"journal-{plan.table}-{plan.fingerprint}")) / f"shard-{index:05d}.jsonl"


def answer(engine: Engine, requests: Sequence[Request], settings: EngineSettings, journal: Path) -> list[Completion]:
    """One completion per request, in their order."""
    if settings.engine == "transformers":
        # bit-identical for whole shards: leaving out the answered ones would change the micro-batches
        found = {c.request_id: c for c in engine.generate(requests)}
    else:
        found = _journalled(engine, requests, journal)
    lost = [r.request_id for r in requests if r.request_id not in found]
    if lost:
        raise RuntimeError(f"the engine gave no answer to {len(lost)} of {len(requests)} requests, first {lost[0]}")
    return [found[r.request_id] for r in requests]


def _journalled(engine: Engine, requests: Sequence[Request], journal: Path) -> dict[str, Completion]:
    found = {c.request_id: c for c in read_journal(journal)}
    journal.parent.mkdir(parents=True, exist_ok=True)
    with open(journal, "a", encoding="utf-8") as handle:
        for completion in engine.generate(r for r in requests if r.request_id not in found):
            found[completion.request_id] = completion
            if completion.finish_reason != "error":  # an error was not paid for, and is asked again after a kill
                handle.write(json.dumps(asdict(completion)) + "\n")
                handle.flush()
                os.fsync(handle.fileno())
    return found


def read_journal(journal: Path) -> Iterable[Completion]:
    """Completions of a journal; a last line that was cut by a kill is left out."""
    if not journal.exists():
        return
    data = journal.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        with open(journal, "r+b") as handle:
            handle.truncate(len(whole))
    for line in whole.decode("utf-8").splitlines():
        yield Completion(**json.loads(line))


def usage(settings: EngineSettings, completions: Iterable[Completion]) -> Usage:
    """Tokens and cost of a shard."""
    total = Usage()
    for c in completions:
        total = total.add(
            Usage(
                prompt_tokens=c.num_prompt_tokens,
                completion_tokens=c.num_completion_tokens,
                cost_usd=settings.cost(c.num_prompt_tokens, c.num_completion_tokens),
            )
        )
    return total
