"""Where replicas run: on which GPUs, with which environment; all counts are simulated."""

from __future__ import annotations

import os

import pytest

from builders.engines import TransformersSettings, VllmSettings
from builders.engines.places import Place, places
from store.errors import InputError
from training import gpus


@pytest.fixture(autouse=True)
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.SIMULATED, "8")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def names(settings) -> list[str]:
    return [place.gpus for place in places(settings)]


def test_a_replica_has_its_own_gpus() -> None:
    assert names(VllmSettings()) == list("01234567")
    assert names(TransformersSettings()) == list("01234567")
    assert names(VllmSettings(tensor_parallel=4)) == ["0,1,2,3", "4,5,6,7"]
    assert names(VllmSettings(tensor_parallel=3)) == ["0,1,2", "3,4,5"]
    assert names(VllmSettings(tensor_parallel=2, replicas=3)) == ["0,1", "2,3", "4,5"]
    assert names(VllmSettings(replicas=1)) == ["0"]


def test_only_gpus_that_this_process_may_use_are_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6, GPU-ab,2")
    monkeypatch.setenv(gpus.SIMULATED, "3")
    assert names(VllmSettings()) == ["6", "GPU-ab", "2"]
    assert names(VllmSettings(tensor_parallel=2)) == ["6,GPU-ab"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert names(VllmSettings()) == [""]


@pytest.mark.parametrize("fields", [{"replicas": 9}, {"tensor_parallel": 16}, {"replicas": 3, "tensor_parallel": 4}])
def test_too_few_gpus_are_refused(fields: dict) -> None:
    with pytest.raises(InputError, match=r"8 are visible.*lower these settings"):
        places(VllmSettings(**fields))


def test_replicas_do_not_meet_each_other() -> None:
    given = {"VLLM_PORT": "8000", "VLLM_DP_SIZE": "8", "RANK": "3", "PATH": "p", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert Place("1").environment(given) == {"PATH": "p", "CUDA_VISIBLE_DEVICES": "1"}
    assert Place().environment({"PATH": "p", "CUDA_VISIBLE_DEVICES": ""}) == {"PATH": "p", "CUDA_VISIBLE_DEVICES": ""}


def test_replicas_without_a_gpu_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.SIMULATED, "0")
    assert places(TransformersSettings()) == [Place()] and places(VllmSettings()) == [Place()]
    found = places(TransformersSettings(replicas=2))
    cores = os.sched_getaffinity(0)
    assert len(found) == 2 and not any(place.gpus for place in found)
    if len(cores) >= 2:
        assert not set(found[0].cores) & set(found[1].cores) and {*found[0].cores, *found[1].cores} == cores
    threads = found[0].num_threads
    assert found[0].environment({})["OMP_NUM_THREADS"] == str(threads)
    assert found[0].environment({"OMP_NUM_THREADS": "1"})["OMP_NUM_THREADS"] == "1"


def test_how_many_replicas_answer_is_no_part_of_a_plan() -> None:
    for kind in (VllmSettings, TransformersSettings):
        assert kind(replicas=4).identity() == kind().identity()
