"""The rows of a step are the same whatever number of processes shares them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import TrainingError
from training.layout import Layout, layout, num_pads, num_processes
from training.settings import SftSettings

numbers = st.integers(1, 64)


@given(batch=numbers, accumulation=numbers, micro=st.none() | numbers, gpus=st.integers(0, 16))
def test_a_step_has_the_same_rows_in_every_layout(batch: int, accumulation: int, micro: int | None, gpus: int) -> None:
    settings = SftSettings(batch_size=batch, gradient_accumulation=accumulation, micro_batch=micro)
    processes = num_processes(settings, gpus)
    found = layout(settings, processes)
    assert 1 <= processes <= max(1, gpus)
    assert found.processes * found.rows * found.passes == batch * accumulation
    assert found.rows <= min(batch, micro or batch)


def test_eight_processes_share_a_step() -> None:
    settings = SftSettings(batch_size=4, gradient_accumulation=16)
    assert layout(settings, num_processes(settings, 8)) == Layout(processes=8, rows=4, passes=2)
    assert layout(settings.model_copy(update={"micro_batch": 2}), 8) == Layout(processes=8, rows=2, passes=4)


def test_one_process_without_a_micro_batch_runs_as_the_settings_say() -> None:
    assert layout(SftSettings(batch_size=3, gradient_accumulation=5), 1) == Layout(processes=1, rows=3, passes=5)


def test_gpus_that_cannot_share_a_step_evenly_are_left_out() -> None:
    assert num_processes(SftSettings(batch_size=4), 8) == 4
    assert num_processes(SftSettings(batch_size=9), 8) == 3


def test_devices_that_cannot_share_a_step_evenly_are_refused_with_those_that_can() -> None:
    with pytest.raises(TrainingError, match=r"devices=3 cannot share the 8 rows .* set devices to one of 1, 2, 4, 8"):
        num_processes(SftSettings(batch_size=8, devices=3), 8)
    assert num_processes(SftSettings(batch_size=8, devices=2), 8) == 2


@given(rows=st.integers(1, 200), processes=st.integers(1, 8), each=st.integers(1, 8))
def test_added_rows_make_whole_micro_batches_of_all_processes(rows: int, processes: int, each: int) -> None:
    shape = Layout(processes=processes, rows=each, passes=1)
    added = num_pads(rows, shape)
    assert 0 <= added < shape.rows_at_once
    assert processes == 1 or (rows + added) % shape.rows_at_once == 0
