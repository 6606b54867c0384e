"""What engines need is asked for before any work: vLLM, and the keys of endpoints."""

import importlib.util
import json
from pathlib import Path

import pytest

from builders.engines.needed import checks
from builders.recipe import Recipe, files
from store import Store
from store.errors import InputError, MissingLibraryError
from tests.smoke_run import RECIPE

KEY = "A_TEACHER_KEY"
ASKED = {"engine": "openai", "base_url": "https://provider.example/v1", "api_key_env": KEY}
no_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")


def recipe_with(**changes: object) -> Recipe:
    return files.load(RECIPE, [f"{name}={json.dumps(value)}" for name, value in changes.items()])


def refused(store: Path, recipe: Recipe, *stages: str) -> list[str]:
    found = []
    for check in checks(Store(store), recipe, stages):
        try:
            check()
        except (InputError, MissingLibraryError) as error:
            found.append(str(error))
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.delenv(KEY, raising=False)
    return recipe_with(**{"teacher.engine": ASKED, "teacher.model": "m", "teacher.prompt": "teacher"})


def test_a_key_is_asked_for_before_the_pool_is_built(
    asked: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (said,) = refused(tmp_path, asked, "pool", "teacher")
    assert said.startswith(f"teacher.engine: the environment variable {KEY} is not set")
    assert refused(tmp_path, asked, "pool") == [], "a run that ends before asks nobody"
    monkeypatch.setenv(KEY, "k" * 20)
    assert refused(tmp_path, asked, "pool", "teacher") == []


def test_an_engine_whose_answers_are_there_needs_nothing(asked: Recipe, smoke_store: Path) -> None:
    assert refused(smoke_store, asked, "pool", "teacher") == []


@no_vllm
def test_vllm_is_asked_for_once_with_all_fields(tmp_path: Path) -> None:
    vllm = {"engine": "vllm", "max_model_tokens": 512}
    recipe = recipe_with(**{"synthesizer.engine": vllm, "evaluation.engine": vllm})
    stages = ["pool", "teacher", "scorer", "bootstrap", "evaluation"]
    (said,) = refused(tmp_path, recipe, *stages)
    assert said.startswith("synthesizer.engine, evaluation.engine are vllm, which is not installed: `pip install vllm`")
    (said,) = refused(tmp_path, recipe, *stages[:-1])
    assert said.startswith("synthesizer.engine is vllm")
    gpu = {"gpus_per_node": 1, "replicas": 1, "host": "127.0.0.1", "cpus_per_gpu": 1, "mem_per_gpu_gb": 1}
    nodes = {"kind": "slurm", "partition": "cpu", "time": "01:00:00", "gpu": gpu}
    there = recipe_with(**{"synthesizer.engine": vllm, "executor": nodes})
    assert refused(tmp_path, there, *stages) == [], "the nodes have it, not the coordinator"
