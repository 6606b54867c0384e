"""Per-sample gradients of the mean completion loss with respect to LoRA's A and B, sketched.

In: a base model, a LoRA folder (or none: then a seeded fresh adapter, whose gradients are a random projection
of the full ones), and conversations with their ids. Out: one batch of features per window of rows, in the
order of the rows.

All weights are frozen. A hook on every adapter matrix keeps its input and, in the one backward pass of the
batch's summed losses, multiplies it with the gradient of its output: exact gradients of every sample, none of
which autograd sums over the batch. Features follow LESS (Xia et al. 2024): the sum over samples of each
sample's own mean loss, and optionally Adam's map.

Shapes: N samples, L padded length, I and O inputs and outputs of a matrix, P = O*I, D sketch dimension.
"""

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedTokenizerBase

from training import sketch
from training.adapters import add_lora, lora_matrices, saved_name
from training.completion_loss import Batch, causal_model, check_head, hidden_states, pad, sample_losses
from training.examples import Example, Flaw, Message, Reject, encode, load_model, load_tokenizer
from training.settings import DtypeName, GradientSettings, LoraSettings

# Rows are sorted by length within windows of this many, and leave in their own order.
ROWS_PER_WINDOW = 256
# LESS's Adam map adds this inside the root.
ADAM_EPSILON = 1e-8

Take = Callable[[str, torch.Tensor], None]
OptimizerMap = Callable[[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class GradientBatch:
    """Features of the usable rows of one window, and the others with their reasons.

    `unit_ND` float16 are sketches of length 1, `norm_N` float32 the lengths of the gradients before the
    sketch (after the optimizer map), `loss_N` float32 the mean losses, `num_tokens_N` int32 the completion
    tokens that they average.
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
    """Features of the rows; what a feature is depends on its row, the model and the settings only.

    Raises ValueError for an adapter that has more than LoRA matrices of linear layers, and FileNotFoundError
    where the Adam map needs an optimizer state that is not there.
    """
    optimizer_map = _optimizer_map(adapter, settings)
    tokenizer = load_tokenizer(base, adapter, revision)
    model = load_gradient_model(base, adapter, settings.seed, dtype, revision)
    slots_of = functools.cache(
        lambda name, size: sketch.slots(settings.seed, name, size, settings.dimension, model.device)
    )
    rows = iter(rows)
    while window := list(islice(rows, ROWS_PER_WINDOW)):
        yield _window_features(model, tokenizer, window, settings, optimizer_map, slots_of)


def load_gradient_model(
    base: str, adapter: str | None, seed: int, dtype: DtypeName, revision: str | None = None
) -> PeftModel:
    """The model in evaluation mode, all weights frozen, the embeddings' output requiring gradients."""
    model = load_model(base, adapter, dtype, revision)
    if adapter is None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = add_lora(model, LoraSettings())
    assert isinstance(model, PeftModel), type(model)
    _check_adapter(model, adapter)
    check_head(model)
    model.eval().requires_grad_(False)
    model.enable_input_require_grads()
    return model


def per_sample_gradients(model: PeftModel, batch: Batch, take: Take) -> torch.Tensor:
    """Calls `take(name, grads_NOI)`, float32, once for every LoRA matrix; returns the losses [N]."""
    taps = [module.register_forward_hook(functools.partial(_tap, name, take)) for name, module in lora_matrices(model)]
    try:
        hidden_SH = hidden_states(model, batch)
        # The head's backward ends here, and the model's starts here with what it left.
        cut_SH = hidden_SH.detach().requires_grad_(True)
        loss_N = sample_losses(model, cut_SH, batch)
        hidden_SH.backward(cut_SH.grad)
    finally:
        for tap in taps:
            tap.remove()
    return loss_N


def mean_unit_gradient(units: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of unit gradients, float32 [D], from blocks [N, D]; not scaled to length 1 again.

    Its cosine with a candidate is the influence of method.md, section 2.3.
    """
    total_D: np.ndarray | None = None
    num_rows = 0
    for unit_ND in units:
        block_D = unit_ND.sum(axis=0, dtype=np.float64)
        total_D = block_D if total_D is None else total_D + block_D
        num_rows += len(unit_ND)
    if total_D is None or num_rows == 0:
        raise ValueError("the mean of no gradients: the reference has 0 rows, give it at least 1")
    return (total_D / num_rows).astype(np.float32)


def _tap(name: str, take: Take, module: torch.nn.Linear, inputs: tuple[torch.Tensor], output_NLO: torch.Tensor) -> None:
    input_NLI = inputs[0].detach()

    def with_gradient(grad_NLO: torch.Tensor) -> None:
        # Positions after a sample's end have no gradient, since attention is causal.
        take(name, torch.bmm(grad_NLO.float().transpose(1, 2), input_NLI.float()))

    output_NLO.register_hook(with_gradient)


def _window_features(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    window: Sequence[tuple[str, Sequence[Message]]],
    settings: GradientSettings,
    optimizer_map: OptimizerMap,
    slots_of: Callable[[str, int], torch.Tensor],
) -> GradientBatch:
    examples: dict[int, Example] = {}
    rejects: list[Reject] = []
    for place, (row_id, messages) in enumerate(window):
        match encode(tokenizer, messages, settings.max_tokens):
            case Flaw(reason, value, threshold):
                rejects.append(Reject(row=row_id, reason=reason, value=value, threshold=threshold))
            case example:
                examples[place] = example
    by_length = sorted(examples, key=lambda place: (examples[place].num_tokens, place))
    features: dict[int, tuple[np.ndarray, float, float]] = {}
    for start in range(0, len(by_length), settings.batch_size):
        places = by_length[start : start + settings.batch_size]
        batch = pad([examples[place] for place in places], tokenizer.pad_token_id, model.device)
        unit_ND, norm_N, loss_N = _features(model, batch, settings.dimension, optimizer_map, slots_of)
        for place, unit_D, norm, loss in zip(places, unit_ND, norm_N.tolist(), loss_N.tolist(), strict=True):
            if 0 < norm < float("inf"):
                features[place] = (unit_D, norm, loss)
            else:
                rejects.append(Reject(row=window[place][0], reason="no_direction", value=norm, threshold=0))
    kept = sorted(features)
    return GradientBatch(
        ids=[window[place][0] for place in kept],
        unit_ND=np.array([features[place][0] for place in kept], np.float16).reshape(-1, settings.dimension),
        norm_N=np.array([features[place][1] for place in kept], np.float32),
        loss_N=np.array([features[place][2] for place in kept], np.float32),
        num_tokens_N=np.array([len(examples[place].completion_ids) for place in kept], np.int32),
        rejects=rejects,
    )


def _features(
    model: PeftModel,
    batch: Batch,
    dimension: int,
    optimizer_map: OptimizerMap,
    slots_of: Callable[[str, int], torch.Tensor],
) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Unit sketches float16 [N, D], norms [N] and losses [N]."""
    sketch_N2D = torch.zeros(len(batch.ids_NL), 2 * dimension, device=model.device)
    square_N = torch.zeros(len(batch.ids_NL), device=model.device)

    def take(name: str, grads_NOI: torch.Tensor) -> None:
        vectors_NP = optimizer_map(name, grads_NOI).flatten(1)
        square_N.add_(vectors_NP.square().sum(1))
        sketch.add(sketch_N2D, slots_of(name, vectors_NP.shape[1]), vectors_NP)

    loss_N = per_sample_gradients(model, batch, take)
    unit_ND = torch.nn.functional.normalize(sketch.fold(sketch_N2D), dim=1)
    return unit_ND.to(torch.float16).cpu().numpy(), square_N.sqrt().cpu(), loss_N.cpu()


def _optimizer_map(adapter: str | None, settings: GradientSettings) -> OptimizerMap:
    if settings.optimizer_map == "sgd":
        return lambda name, grads_NOI: grads_NOI
    if adapter is None:
        raise ValueError("optimizer_map is adam and no adapter is given: it needs a trained checkpoint's moments")
    return adam_map(adapter)


def adam_map(checkpoint: str) -> OptimizerMap:
    """LESS's map of a gradient g to m'/sqrt(v' + 1e-8), m' = b1 m + (1-b1) g and v' = b2 v + (1-b2) g^2.

    From LESS's code (collect_grad_reps.py): no bias correction, epsilon inside the root; the moments are
    those of the checkpoint's optimizer, found by name.
    """
    for file in ("optimizer.pt", "parameter_names.json"):
        if not os.path.exists(os.path.join(checkpoint, file)):
            raise FileNotFoundError(
                f"{checkpoint} has no {file}, which optimizer_map adam reads: train with this project, or use sgd"
            )
    optimizer = torch.load(os.path.join(checkpoint, "optimizer.pt"), map_location="cpu", weights_only=True)
    with open(os.path.join(checkpoint, "parameter_names.json"), encoding="utf-8") as names_file:
        names = json.load(names_file)
    beta_1, beta_2 = optimizer["param_groups"][0]["betas"]
    moments = {name: optimizer["state"][place] for place, name in enumerate(names)}

    def apply(name: str, grads_NOI: torch.Tensor) -> torch.Tensor:
        if name not in moments:
            raise ValueError(f"{checkpoint}/optimizer.pt knows no {name}: the state is of another adapter")
        m_OI = moments[name]["exp_avg"].to(grads_NOI.device, torch.float32)
        v_OI = moments[name]["exp_avg_sq"].to(grads_NOI.device, torch.float32)
        m_NOI = beta_1 * m_OI + (1 - beta_1) * grads_NOI
        v_NOI = beta_2 * v_OI + (1 - beta_2) * grads_NOI.square()
        return m_NOI / (v_NOI + ADAM_EPSILON).sqrt()

    return apply


def _check_adapter(model: PeftModel, adapter: str | None) -> None:
    known = {name for name, _ in lora_matrices(model)}
    names = [saved_name(name) for name, _ in model.named_parameters()]
    other = sorted(name for name in names if (".lora_" in name or "modules_to_save" in name) and name not in known)
    is_on_head = isinstance(causal_model(model).get_output_embeddings(), BaseTunerLayer)
    if other or not known or is_on_head:
        raise ValueError(
            f"the adapter {adapter} has {len(known)} LoRA matrices of linear layers, other parameters "
            f"{other[:3] or 'none'}, and {'a' if is_on_head else 'no'} matrix on the head: features are made "
            "of the matrices A and B of linear layers below the head only"
        )
