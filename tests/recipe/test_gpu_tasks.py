"""`executor.gpu`: what is refused as it is read, and that plans count the GPUs of a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import scoder
from builders import executors
from builders.recipe import Executor, fitting, planned
from store.errors import InputError
from tests.tiny_recipes import recipe

SLURM = {"kind": "slurm", "partition": "cpu", "time": "01:00:00"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"gpu": {}}, "executor.gpu is only for ray and slurm"),
        ({"kind": "ray", "gpu": {"partition": "h100"}}, "executor.gpu.partition is only for slurm"),
        ({"kind": "ray", "gpu": {"gres": "gpu"}}, "executor.gpu.gres is only for slurm"),
        (SLURM | {"gpu": {"time": 36000}}, "write it in quotes"),
        (SLURM | {"gpu": {"gres": "gpu 8"}}, "should match pattern"),
        (SLURM | {"gpu": {"replica": 8}}, "not permitted"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Executor.model_validate(given)


def test_a_plan_counts_the_gpus_of_a_node(tmp_path: Path) -> None:
    eight = {"model": "deepseek-ai/deepseek-coder-6.7b-base", "training": {"dtype": "bfloat16", "devices": 8}}
    here = recipe(tmp_path, coder=eight)
    with pytest.raises(InputError, match=r"coder\.training\.devices is 8, but there is 1 GPU"):
        fitting.check(here, scoder.stages(here), [None])
    on_nodes = here.model_copy(update={"executor": Executor.model_validate(SLURM | {"gpu": {}})})
    fitting.check(on_nodes, scoder.stages(on_nodes), [None])
    small = here.model_copy(update={"executor": Executor.model_validate(SLURM | {"gpu": {"gpus_per_node": 4}})})
    with pytest.raises(InputError, match=r"devices is 8, but there are 4 GPUs"):
        fitting.check(small, scoder.stages(small), [80.0] * 8)
    assert "4 GPUs of unknown memory, on a node (executor.gpu)" in planned.grounds(small, fitting.seen_by(small))[0]


def test_a_machine_that_nodes_cannot_find_is_told_to_name_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors.shutil, "which", lambda name: name)
    monkeypatch.setattr(executors.socket, "getfqdn", lambda: "localhost")
    with pytest.raises(InputError, match=r"'localhost' stands for the address 127\.0\.0\.1: set executor\.gpu\.host"):
        executors.check(Executor.model_validate(SLURM | {"gpu": {}}))
    executors.check(Executor.model_validate(SLURM | {"gpu": {"host": "127.0.0.1"}}))
    executors.check(Executor.model_validate(SLURM))
