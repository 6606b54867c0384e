"""Per-sample gradients of the mean completion loss with respect to LoRA's A and B, sketched.

In: a base model, a LoRA folder, and conversations with their ids. Without a LoRA folder a fresh
adapter is made from the seed; its gradients are a random projection of the full ones. Out: one
batch of features per window of rows, in the order of the rows.

How: all weights are frozen. In the one backward pass of the batch's summed losses, a hook on every
adapter matrix multiplies the matrix's input with the gradient of its output (training/taps.py).
That gives the exact gradient of every sample, and autograd sums none of them over the batch.
Batches are bounded by their bytes (training/gradient_batches.py). Features follow LESS (Xia et al.
2024): the sum over samples of each sample's own mean loss, and optionally Adam's map.

Shapes: N samples, L padded length, I and O inputs and outputs of a matrix, P = O*I, D sketch
dimension.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import load_peft_weights

from training import sketch
from training.adapters import add_lora, lora_matrices, saved_name
from training.completion_loss import (
    MEND,
    Batch,
    causal_model,
    check_head,
    hidden_states,
    pad,
    sample_losses,
    weights_of,
)
from training.errors import TrainingError, loading
from training.examples import Example, Flaw, Message, Reject, device, encode, load_model, load_tokenizer
from training.gradient_batches import Bound, available, give_freed_memory_back, in_batches
from training.gradient_memory import GradientMemory
from training.model_config import longest
from training.model_shape import shape_of
from training.optimizer_maps import optimizer_map
from training.settings import DtypeName, GradientSettings, LoraSettings
from training.taps import Take, tapped

# Rows are sorted by length within windows of this many. They come out in their own order.
ROWS_PER_WINDOW = 256


@dataclass(frozen=True, slots=True)
class GradientBatch:
    """Features of the usable rows of one window, and the other rows with their reasons.

    unit_ND       float16, sketches of length 1
    norm_N        float32, lengths of the gradients before the sketch, after the optimizer map
    loss_N        float32, mean losses
    num_tokens_N  int32, the completion tokens that these losses average
    """

    ids: list[str]
    unit_ND: np.ndarray
    norm_N: np.ndarray
    loss_N: np.ndarray
    num_tokens_N: np.ndarray
    rejects: list[Reject]


def stream_gradients(
    base: str,
    adapter: str | None,
    rows: Iterable[tuple[str, Sequence[Message]]],
    settings: GradientSettings,
    dtype: DtypeName = "float32",
    *,
    revision: str | None = None,
) -> Iterator[GradientBatch]:
    """Features of the rows, one batch per window of rows.

    A feature depends on its row, the model and the settings, and on nothing else. Raises what
    `GradientModel` raises.

        for batch in stream_gradients(base, adapter, rows, GradientSettings()):
            print(batch.unit_ND.shape)
    """
    return GradientModel(base, adapter, settings, dtype, revision).stream(rows)


class GradientModel:
    """A model that turns conversations into features. It is loaded once and then used many times.

    ValueError for an adapter that has more than LoRA matrices of linear layers. FileNotFoundError
    if the Adam map needs an optimizer state that does not exist.
    """

    def __init__(
        self,
        base: str,
        adapter: str | None,
        settings: GradientSettings,
        dtype: DtypeName = "float32",
        revision: str | None = None,
        template_arguments: tuple[tuple[str, bool | int | float | str], ...] = (),
    ) -> None:
        self.settings = settings
        self.name = weights_of(base, adapter)
        self.has_direction = False
        self.map = optimizer_map(settings.optimizer_map, adapter, device())
        self.tokenizer = load_tokenizer(base, adapter, revision, dict(template_arguments))
        self.model = load_gradient_model(base, adapter, settings.seed, dtype, revision)
        self.num_places = longest(causal_model(self.model).config, settings.max_tokens)
        where = self.model.device
        if where.type == "cpu":
            give_freed_memory_back()
        self.memory = memory_of(self.model)
        self.num_bytes = available(settings.memory_gb, self.memory, where)
        self.folding = functools.cache(
            lambda name, size: sketch.folding(settings.seed, name, size, settings.dimension, where)
        )

    def stream(self, rows: Iterable[tuple[str, Sequence[Message]]]) -> Iterator[GradientBatch]:
        """One batch of features per window of rows."""
        rows = iter(rows)
        bound = Bound.of(self.settings, self.memory, self.num_bytes)
        while window := list(islice(rows, ROWS_PER_WINDOW)):
            yield self._window(window, bound)

    def _window(self, window: Sequence[tuple[str, Sequence[Message]]], bound: Bound) -> GradientBatch:
        examples: dict[int, Example] = {}
        rejects: list[Reject] = []
        for place, (row_id, messages) in enumerate(window):
            match encode(self.tokenizer, messages, self.num_places):
                case Flaw(reason, value, threshold):
                    rejects.append(Reject(row=row_id, reason=reason, value=value, threshold=threshold))
                case example:
                    examples[place] = example

        def compute(places: list[int], is_recomputed: bool) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
            batch = pad([examples[place] for place in places], self.tokenizer.pad_token_id, self.model.device)
            return self._features(batch, is_recomputed)

        features: dict[int, tuple[np.ndarray, float, float]] = {}
        for places, (unit_ND, norm_N, loss_N) in in_batches(examples, bound, compute):
            for place, unit_D, norm, loss in zip(places, unit_ND, norm_N.tolist(), loss_N.tolist(), strict=True):
                if 0 < norm < float("inf"):
                    features[place] = (unit_D, norm, loss)
                else:
                    rejects.append(Reject(row=window[place][0], reason="no_direction", value=norm, threshold=0))
        kept = sorted(features)
        self._require_directions(len(kept), [r.value for r in rejects if r.reason == "no_direction"])
        return GradientBatch(
            ids=[window[place][0] for place in kept],
            unit_ND=np.array([features[place][0] for place in kept], np.float16).reshape(-1, self.settings.dimension),
            norm_N=np.array([features[place][1] for place in kept], np.float32),
            loss_N=np.array([features[place][2] for place in kept], np.float32),
            num_tokens_N=np.array([len(examples[place].completion_ids) for place in kept], np.int32),
            rejects=rejects,
        )

    def _require_directions(self, num_kept: int, norms: Sequence[float]) -> None:
        """TrainingError if no gradient so far was a number.

        A single row without one is a reject. If it is all rows, the model is broken.
        """
        self.has_direction |= num_kept > 0
        broken = [norm for norm in norms if not math.isfinite(norm)]
        if broken and not self.has_direction:
            raise TrainingError(
                f"all gradients of {self.name} are no numbers, {len(broken)} rows so far, as {broken[0]}: {MEND}"
            )

    def _features(self, batch: Batch, is_recomputed: bool) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
        """Unit sketches float16 [N, D], norms [N] and losses [N]."""
        sketch_N2D = torch.zeros(len(batch.ids_NL), 2 * self.settings.dimension, device=self.model.device)
        square_N = torch.zeros(len(batch.ids_NL), device=self.model.device)

        def take(name: str, grads_NOI: torch.Tensor) -> None:
            vectors_NP = self.map(name, grads_NOI).flatten(1)
            square_N.add_(torch.linalg.vecdot(vectors_NP, vectors_NP))
            sketch.add(sketch_N2D, self.folding(name, vectors_NP.shape[1]), vectors_NP)

        loss_N = per_sample_gradients(self.model, batch, take, is_recomputed)
        unit_ND = torch.nn.functional.normalize(sketch.fold(sketch_N2D), dim=1)
        return unit_ND.to(torch.float16).cpu().numpy(), square_N.sqrt().cpu(), loss_N.cpu()


def load_gradient_model(
    base: str, adapter: str | None, seed: int, dtype: DtypeName, revision: str | None = None
) -> PeftModel:
    """The model in evaluation mode, with all weights frozen."""
    model = load_model(base, adapter, dtype, revision)
    if adapter is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = add_lora(model, LoraSettings())
    assert isinstance(model, PeftModel), type(model)
    _check_adapter(model, adapter)
    check_head(model, weights_of(base, adapter))
    model.eval().requires_grad_(False)
    return model


def memory_of(model: PeftModel) -> GradientMemory | None:
    """What predicts the bytes of a batch, or None for an architecture whose sizes are not known."""
    config = causal_model(model).config
    shape = shape_of(config.to_dict())
    if shape is None:
        return None
    rank = max(min(matrix.weight.shape) for _, matrix in lora_matrices(model))
    dtype: Literal["float32", "bfloat16"] = "float32" if model.dtype == torch.float32 else "bfloat16"
    return GradientMemory(shape, rank, dtype, is_eager=config._attn_implementation == "eager")


def per_sample_gradients(model: PeftModel, batch: Batch, take: Take, is_recomputed: bool = False) -> torch.Tensor:
    """Call `take(name, grads_NOI)`, float32, once for every LoRA matrix; return the losses [N].

    With `is_recomputed`, each layer keeps only its input and is computed again in the backward
    pass. That changes no number, takes a tenth of the memory and half more time.
    """
    with tapped(model, take, is_recomputed):
        hidden_SH = hidden_states(model, batch)
        # The head's backward pass has ended here. The model's starts with the gradient it left.
        cut_SH = hidden_SH.detach().requires_grad_(True)
        loss_N = sample_losses(model, cut_SH, batch)
        hidden_SH.backward(cut_SH.grad)
    return loss_N


def _check_adapter(model: PeftModel, adapter: str | None) -> None:
    known = {name for name, _ in lora_matrices(model)}
    names = [saved_name(name) for name, _ in model.named_parameters()]
    trained = {name for name in names if ".lora_" in name or "modules_to_save" in name}
    if adapter is not None:
        # Trained biases and single tokens are weights of the model: only the file tells of them.
        with loading(f"the adapter {adapter}"):
            trained |= set(load_peft_weights(adapter, device="cpu"))
    other = sorted(trained - known)
    is_on_head = isinstance(causal_model(model).get_output_embeddings(), BaseTunerLayer)
    if other or not known or is_on_head:
        raise TrainingError(
            f"the adapter {adapter} has {len(known)} LoRA matrices of linear layers, other parameters "
            f"{other[:3] or 'none'}, and {'a' if is_on_head else 'no'} matrix on the head. Features are made of "
            "the matrices A and B of linear layers below the head only. Give an adapter that has nothing else."
        )
