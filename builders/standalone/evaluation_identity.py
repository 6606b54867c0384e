"""What tells one evaluation from another, and what is kept of it to be found again.

In: a model, tasks by benchmark, and settings. Out: the `Plan` of the run. Whoever goes on with kept
answers, or judges them again, compares it.

    hashes_of({"humaneval": tasks})    # {"humaneval": {"asked": "…", "all": "…"}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.engines import EngineSettings
from builders.harness.jobs import ASKED, answers_per_shard, tasks_hash
from builders.harness.tasks import Task
from builders.recipe import Benchmark, Evaluation
from store import Plan


def found_again(benchmark: Benchmark) -> dict[str, Any]:
    """A benchmark as it is kept. A file is named by its whole path, to be found again."""
    path = Path(benchmark.path)
    return benchmark.model_dump(mode="json") | ({"path": str(path.absolute())} if path.exists() else {})


def hashes_of(tasks: Mapping[str, Sequence[Task]]) -> dict[str, dict[str, str]]:
    """By benchmark, a hash of what is `asked`, and one of `all` that tasks hold, also the tests."""
    return {name: {"asked": tasks_hash(part, ASKED), "all": tasks_hash(part)} for name, part in tasks.items()}


def plan_of(
    model: str,
    tasks: Mapping[str, Sequence[Task]],
    settings: Evaluation,
    adapter: str | None,
    revision: str | None,
    seed: int,
) -> Plan:
    """What identifies a run: whoever differs in any of this must not go on with its answers."""
    engine = settings.engine
    return Plan(
        table="evaluations",
        fields={
            "model": _identity(model, revision, engine),
            "adapter": _identity(adapter, None, engine) if adapter else None,
            "engine": [*engine.identity(), getattr(engine, "base_url", None)],
            "benchmarks": hashes_of(tasks),
            "seed": seed,
            **({"template_arguments": settings.template_arguments} if settings.template_arguments else {}),
            **settings.model_dump(mode="json", include={"forms", "num_samples", "temperature", "top_p", "max_tokens"}),
        },
        rows_per_shard=answers_per_shard(engine),
    )


def _identity(model: str, revision: str | None, engine: EngineSettings) -> str:
    if engine.is_endpoint:
        return model
    from training.fingerprints import model_fingerprint

    return f"{Path(model).name} {model_fingerprint(model, revision)}"
