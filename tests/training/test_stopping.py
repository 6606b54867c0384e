"""Signals that ask a training to end: it saves its state in time, says so, and goes on later."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.small_training import FULL, SETTINGS, processes_of, unlucky, weights, write_rows
from tests.tiny_models import tiny_qwen
from training import attempt, launch, state_keeper
from training.settings import SftSettings
from training.state_keeper import StateKeeper
from training.train_log import StepRecord


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield


def after(step: int, number: signal.Signals) -> object:
    """Called after each step: sends this process a signal after one of them."""

    def watch(record: StepRecord) -> None:
        if record.step == step:
            os.kill(os.getpid(), number)

    return watch


@pytest.mark.parametrize(
    ("number", "settings", "processes"),
    [
        (signal.SIGTERM, SETTINGS, 1),
        pytest.param(signal.SIGUSR1, FULL, 2, marks=pytest.mark.drill),
        pytest.param(signal.SIGINT, SETTINGS, 2, marks=pytest.mark.drill),
    ],
)
def test_a_signal_has_the_state_saved_and_the_same_call_goes_on(
    number: signal.Signals,
    settings: SftSettings,
    processes: int,
    tmp_path: Path,
    qwen: str,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", str(processes))
    output, told = tmp_path / "out", list[str]()
    unlucky(monkeypatch, "slow 0 0")
    raised: type[BaseException] = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    before = signal.getsignal(number)
    with pytest.raises(raised) as ended:
        launch.train(data, qwen, str(output), settings, watch=after(2, number), announce=told.append)
    if number != signal.SIGINT:
        assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(number) == before
    assert [p.name for p in tmp_path.iterdir()] == [".out.partial"] and processes_of(output) == []
    (state,) = (tmp_path / ".out.partial" / "state").iterdir()
    step = int(state.name.removeprefix("checkpoint-"))
    assert step < 6
    assert told == [
        f"{number.name}: the training ends after this step and saves its state, within 25 s. A second signal ends it at "
        "once",
        f"stopped by {number.name}. Its state after step {step} is kept in {tmp_path / '.out.partial'}: the same command "
        "goes on from there. To give it up, remove that folder",
    ]
    unlucky(monkeypatch, "none 0 0")
    launch.train(data, qwen, str(output), settings, announce=told.append)
    assert told[2:] == [f"it was begun before, and goes on after step {step} of 6"]
    launch.train(data, qwen, str(tmp_path / "whole"), settings)
    assert np.array_equal(weights(output), weights(tmp_path / "whole"))


@pytest.mark.parametrize("how", ["a second signal", pytest.param("no time left", marks=pytest.mark.drill)])
def test_a_training_that_does_not_end_in_time_is_ended(
    how: str, tmp_path: Path, qwen: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlucky(monkeypatch, "hang 0 2")
    told, begun = list[str](), list[float]()
    if how == "no time left":
        monkeypatch.setattr(attempt, "BOUND_S", 6.0)

    def announce(text: str) -> None:
        told.append(text)
        begun.append(time.monotonic())
        if how == "a second signal" and len(told) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        launch.train(data, qwen, str(tmp_path / "out"), SETTINGS, watch=after(1, signal.SIGTERM), announce=announce)
    assert time.monotonic() - begun[0] < (2 if how == "a second signal" else 6)
    assert told[1].endswith("No state was saved yet: the same command begins anew"), told
    assert processes_of(tmp_path / "out") == []
    # The second signal may come before the step that hangs, which leaves its mark.
    assert {p.name for p in tmp_path.iterdir()} <= {"unlucky-was-here"}


@pytest.mark.parametrize(("last_s", "is_saved"), [(1.0, True), (60.0, False)])
def test_a_state_is_saved_only_if_there_is_time_for_it(last_s: float, is_saved: bool, tmp_path: Path) -> None:
    keeper = StateKeeper(stop=tmp_path / "stop")
    keeper._last_s = last_s
    state, control = SimpleNamespace(global_step=2, max_steps=6), SimpleNamespace(should_save=False)
    control.should_training_stop = False
    keeper.on_step_end(None, state, control)
    assert not control.should_training_stop, "nobody asked"
    (tmp_path / "stop").write_text(repr(time.monotonic() + 20))
    keeper.on_step_end(None, state, control)
    assert control.should_training_stop and keeper.has_stopped and control.should_save is is_saved
    assert state_keeper._asked_until(tmp_path / "stop") is not None
