"""On a cluster the plan counts the GPUs that tasks take, not those of a node times all."""

from __future__ import annotations

from typing import Any

import pytest

from builders.recipe import files, fitting, planned

SEVEN = "qwen2.5-coder-7b"


def plan_of(*changes: str, **gpu: Any) -> list[dict[str, Any]]:
    inside = ", ".join(f"{key}: {value}" for key, value in gpu.items())
    executor = f'executor={{kind: slurm, partition: p, time: "02:00:00", gpu: {{{inside}}}}}'
    made = files.load(SEVEN, [executor, "machine.gpu_memory_gb=80", *changes])
    return planned.rows(made, list(fitting.seen_by(made)))


def used(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {row["field"]: row["gpus"] for row in rows if row["field"]}


@pytest.mark.parametrize("replicas", [1, 4, 16])
def test_engines_and_gradients_have_as_many_gpus_as_tasks(replicas: int) -> None:
    rows = plan_of(gpus_per_node=8, replicas=replicas)
    found = used(rows)
    assert found["synthesizer.engine"] == found["influence.gradients"] == found["scorer.engine"] == replicas
    assert found["coder.training"] == found["synthesizer.training"] == 8
    sampling = next(row for row in rows if row["field"] == "synthesizer.engine" and row["stage"] == "iteration-1")
    assert sampling["hours"] == pytest.approx(sampling["gpu_hours"] / replicas)


def test_an_engines_own_replicas_and_groups_count() -> None:
    own = used(plan_of("synthesizer.engine.replicas=3", "scorer.engine.tensor_parallel=2", gpus_per_node=8, replicas=4))
    assert (own["synthesizer.engine"], own["scorer.engine"], own["influence.gradients"]) == (3, 2 * 4, 4)


def test_a_training_has_the_gpus_of_a_node_whatever_machine_says() -> None:
    assert used(plan_of("machine.gpus=8", gpus_per_node=4))["coder.training"] == 4


def test_idle_gpus_are_told() -> None:
    def told(**gpu: Any) -> list[str]:
        inside = ", ".join(f"{key}: {value}" for key, value in gpu.items())
        made = files.load(SEVEN, [f'executor={{kind: slurm, partition: p, time: "1:00", gpu: {{{inside}}}}}'])
        return [line for line in planned.grounds(made, [None] * 8) if line.startswith("tasks:")]

    assert "7 of the 8 GPUs" in told(gpus_per_node=8)[0] and "executor.gpu.replicas=8" in told(gpus_per_node=8)[0]
    assert "idle" not in told(gpus_per_node=8, replicas=8)[0]
    assert not [line for line in planned.grounds(files.load(SEVEN), [80.0]) if line.startswith("tasks:")]


def test_workers_of_gradients_on_this_machine_count() -> None:
    made = files.load(SEVEN, ["influence.workers=2"])
    assert used(planned.rows(made, [80.0] * 8))["influence.gradients"] == 2
    assert used(planned.rows(made, [80.0]))["influence.gradients"] == 1, "two share the only one"
