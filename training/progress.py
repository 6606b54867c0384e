"""What a person at a terminal sees of a training: one bar over the steps.

In: a running trainer. Out: a bar on stderr, and nothing where stderr is no terminal. The libraries'
own bars are always off; their settings are put back afterwards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import datasets
from tqdm import tqdm
from transformers import TrainerCallback
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """Inside this block, datasets and transformers show no bars."""
    datasets_bars = datasets.are_progress_bars_disabled()
    transformers_bars = transformers_logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if not datasets_bars:
            datasets.enable_progress_bars()
        if transformers_bars:
            transformers_logging.enable_progress_bar()


class StepBar(TrainerCallback):
    """One bar over the optimizer steps, with the last loss."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = tqdm(total=state.max_steps, unit="step", disable=not sys.stderr.isatty())

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if "loss" in logs:
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}")
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()
