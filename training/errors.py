"""The exceptions of training that mean "you can mend this": settings, data, a model, a folder.

They are the counterpart of `store/errors.py`: training knows nothing of a store, so it has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from training.out_of_memory import is_out_of_memory


class TrainingError(ValueError):
    """Something that you can mend about a training; the message says how."""

    exit_code = 2


class UnusableRowError(TrainingError):
    """A row of a dataset that gives no conversation; the message is the reason."""


class DivergedError(TrainingError):
    """The numbers of a training are none any more. Nothing of it is of use."""


class LostTrainingError(TrainingError):
    """A process of a training died or stalled, twice. What it had done is kept."""

    exit_code = 1


class StoppedError(Exception):
    """A training ended before its last step, because it was asked to. It is none of the user's
    errors, and leaves the process of a training only as its exit code."""


class OtherStateError(TrainingError):
    """What a killed training left cannot be gone on from; the message says what to do."""


class MissingFileError(TrainingError, FileNotFoundError):
    """A file that a training needs is not there."""


class OutputExistsError(TrainingError, FileExistsError):
    """The output of another training stands where this one would write."""


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn what a library raises while it loads something named by the user into a TrainingError.

    with loading(f"the model {base}"):
        model = AutoModelForCausalLM.from_pretrained(base)
    """
    try:
        yield
    except TrainingError:
        raise
    except UnpicklingError:
        raise TrainingError(
            f"{what} cannot be loaded: its weights are a damaged pickle, or one with more than weights in it, which is "
            "never run. Give weights in safetensors"
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        if is_out_of_memory(error):
            raise
        raise TrainingError(f"{what} cannot be loaded: {error}") from error
