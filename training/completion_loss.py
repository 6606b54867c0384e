"""The mean completion loss of every sample of a padded batch.

In: a causal language model and examples. Out: one loss per sample, the mean negative log-likelihood
over its own completion tokens. So neither a sample's length nor the other samples of its batch
change its weight.

Shapes: N samples, L padded length, S supervised positions of the batch, C of them at a time, H
hidden size, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch.nn import functional
from transformers import PreTrainedModel

from training.errors import TrainingError
from training.examples import Example
from training.gradient_memory import POSITIONS_AT_ONCE

MEND = (
    "its weights are broken, or overflow in their number format. Train it again with a lower learning_rate, or set "
    "dtype to float32"
)


@dataclass(frozen=True)
class Batch:
    """Right-padded ids.

    `positions_S` index the flattened N*L hidden states that predict `targets_S`.
    """

    ids_NL: torch.Tensor
    positions_S: torch.Tensor
    targets_S: torch.Tensor
    samples_S: torch.Tensor
    num_tokens_N: torch.Tensor


def pad(examples: Sequence[Example], pad_id: int, device: torch.device) -> Batch:
    """The examples as one batch on the device."""
    length = max(example.num_tokens for example in examples)
    ids_NL = torch.full((len(examples), length), pad_id)
    is_target_NL = torch.zeros((len(examples), length), dtype=torch.bool)
    for n, example in enumerate(examples):
        ids_NL[n, : example.num_tokens] = torch.tensor(example.prompt_ids + example.completion_ids)
        is_target_NL[n, len(example.prompt_ids) : example.num_tokens] = True
    samples_S, targets_at_S = is_target_NL.nonzero(as_tuple=True)
    return Batch(
        ids_NL.to(device),
        (samples_S * length + targets_at_S - 1).to(device),
        ids_NL[is_target_NL].to(device),
        samples_S.to(device),
        is_target_NL.sum(1).to(device),
    )


def weights_of(base: str, adapter: str | None) -> str:
    """The folders of the weights, for an error."""
    return f"{adapter} over {base}" if adapter else base


def causal_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(causal, PreTrainedModel), type(causal)
    return causal


def hidden_states(model: PreTrainedModel | PeftModel, batch: Batch) -> torch.Tensor:
    """The hidden states before the head, at the supervised positions only: [S, H].

    The model gets no mask of the padding. It stands at the end of the rows, where causal attention
    lets no supervised position see it. Without a mask, attention may take its fastest kernel, and
    no layer keeps a mask.
    """
    backbone = causal_model(model).base_model
    hidden_NLH = backbone(input_ids=batch.ids_NL, use_cache=False).last_hidden_state
    return hidden_NLH.flatten(0, 1)[batch.positions_S]


def sample_losses(model: PreTrainedModel | PeftModel, hidden_SH: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Mean loss of every sample, float32 [N].

    Where `hidden_SH` requires a gradient, the gradient of the summed losses is added to
    `hidden_SH.grad`. The head runs on one slice of the positions at a time, and its backward pass
    follows at once. So the logits of only one slice exist at a time.
    """
    head = causal_model(model).get_output_embeddings()
    loss_N = torch.zeros(len(batch.ids_NL), device=hidden_SH.device)
    for start in range(0, len(batch.targets_S), POSITIONS_AT_ONCE):
        part = slice(start, start + POSITIONS_AT_ONCE)
        logits_CV = head(hidden_SH[part]).float()
        nll_C = functional.cross_entropy(logits_CV, batch.targets_S[part], reduction="none")
        mean_nll_C = nll_C / batch.num_tokens_N[batch.samples_S[part]]
        if hidden_SH.requires_grad:
            mean_nll_C.sum().backward()
        loss_N.index_add_(0, batch.samples_S[part], mean_nll_C.detach())
    return loss_N


@torch.no_grad()
def check_head(model: PreTrainedModel | PeftModel, name: str = "the model") -> None:
    """ValueError for a model whose logits are not its head over the last hidden states.

    For example, a model with a soft cap or a scale on its logits. Also for logits that are no
    numbers. `name` says in the error which weights these are.
    """
    batch = pad([Example([1, 2], [3, 1])], pad_id=0, device=model.device)
    causal = causal_model(model)
    ours_SV = causal.get_output_embeddings()(hidden_states(model, batch)).float()
    theirs_SV = causal(input_ids=batch.ids_NL, use_cache=False).logits.flatten(0, 1)[batch.positions_S].float()
    difference, scale = (ours_SV - theirs_SV).abs().max().item(), theirs_SV.abs().max().item()
    if not math.isfinite(scale):
        raise TrainingError(f"{name} gives logits that are no numbers ({scale}): {MEND}")
    if not difference <= 0.01 * scale:
        raise TrainingError(
            f"{type(causal).__name__} changes its logits after the head (by up to {difference:.3g} of "
            f"{scale:.3g}). The completion loss of such a model is not supported here. Use another base model."
        )
