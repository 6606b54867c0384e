"""evaluations: the engine that a user asks for is the one that answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import checkpoints, evaluations, sandbox
from builders.engines import TransformersSettings
from builders.engines.checkpoints import last_checkpoint
from builders.harness.tasks import Task
from builders.recipe import Benchmark, Evaluation
from store import Store
from tests.engine_models import save_model
from tests.rows import put
from tests.tiny_recipes import read

TASK = {
    "task_id": "T/0",
    "prompt": "def f(x):\n",
    "tests": "assert f(1) == 1\n",
    "entry_point": "f",
    "language": "python",
    "completion": "def f(x):\n",
}
needs_sandbox = pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")


def short(max_model_tokens: int) -> Evaluation:
    engine = TransformersSettings(max_model_tokens=max_model_tokens, num_threads=1)
    return Evaluation(engine=engine, max_tokens=4)


@needs_sandbox
@pytest.mark.parametrize(("max_model_tokens", "answers"), [(4, False), (64, True)])
def test_a_model_without_a_store_is_asked_by_the_engine_of_the_settings(
    tmp_path: Path, max_model_tokens: int, answers: bool
) -> None:
    """A prompt that does not fit the engine's window gets no tokens."""
    model = save_model(tmp_path / "model")
    task = Task(solution=None, **TASK)
    (row,) = evaluations.evaluate(str(model), [task], short(max_model_tokens), None, 0, is_base=True)
    assert bool(row["completion_tokens"]) is answers


@needs_sandbox
@pytest.mark.parametrize(("max_model_tokens", "answers"), [(4, False), (64, True)])
def test_a_checkpoint_is_asked_by_the_engine_of_the_recipe(
    tmp_path: Path, max_model_tokens: int, answers: bool
) -> None:
    store = Store(tmp_path / "store")
    checkpoints.build_base(store, str(save_model(tmp_path / "model")), None, "coder-base")
    put(store, "benchmarks", [{"benchmark": "b", **TASK}], benchmark="b")
    checkpoint = last_checkpoint(store, "coder-base")
    benchmark = Benchmark(name="b", path="b.jsonl")
    record = evaluations.build(store, short(max_model_tokens), checkpoint, benchmark, 0, is_base=True)
    assert set(record.plan.inputs) == {"benchmarks/benchmark-b", "checkpoints/role-coder-base"}
    (row,) = read(store, "evaluations", checkpoint=checkpoint["checkpoint_id"], benchmark="b")
    assert bool(row["completion_tokens"]) is answers
