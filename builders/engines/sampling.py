"""Sampling the next token of each row of a batch from random numbers that are given.

B rows, V vocabulary entries, K entries looked at for the nucleus.
"""

import torch
from torch import Tensor

# Sorting 150k entries costs more than the rest of a step. A nucleus is nearly always smaller.
NUCLEUS_GUESS = 512

# The largest u for which u * total stays below total in float64, so that an inverse always exists.
_BELOW_ONE = 1 - 2**-52


def sample(logits_BV: Tensor, temperature_B: Tensor, top_p_B: Tensor, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
    """One token per row and its log-probability at temperature 1.

    A token is the inverse of the cumulative distribution at `uniform_B` (in [0, 1), float64), after
    temperature and nucleus (Holtzman et al. 2020: the smallest set of most probable tokens with
    mass >= top_p). Temperature 0 takes the most probable token. A row depends on no other row. A
    row whose logits are no numbers gets some token, and a log-probability that is no number.
    """
    logprobs_BV = torch.log_softmax(logits_BV.float(), dim=-1)
    is_greedy_B = temperature_B == 0
    tokens_B = logprobs_BV.argmax(dim=-1)
    if not bool(is_greedy_B.all()):
        divisor_B1 = torch.where(is_greedy_B, 1.0, temperature_B).unsqueeze(1)
        probs_BV = torch.softmax(logprobs_BV / divisor_B1, dim=-1)
        if bool((top_p_B < 1).any()):
            probs_BV = nucleus(probs_BV, top_p_B)
        tokens_B = torch.where(is_greedy_B, tokens_B, _invert(probs_BV, uniform_B))
    return tokens_B, logprobs_BV.gather(1, tokens_B.unsqueeze(1)).squeeze(1)


def nucleus(probs_BV: Tensor, top_p_B: Tensor) -> Tensor:
    """The probabilities, zero outside each row's nucleus and not renormalised.

    A row with top_p 1 stays as it is.
    """
    num_kept = min(NUCLEUS_GUESS, probs_BV.shape[1])
    top_BK, index_BK = probs_BV.topk(num_kept, dim=-1)
    is_cut_B = top_p_B < 1
    if num_kept < probs_BV.shape[1] and bool(((top_BK.sum(dim=-1) < top_p_B) & is_cut_B).any()):
        top_BK, index_BK = probs_BV.sort(dim=-1, descending=True, stable=True)
    mass_before_BK = top_BK.cumsum(dim=-1) - top_BK
    inside_BK = torch.where(mass_before_BK < top_p_B.unsqueeze(1), top_BK, 0.0)
    inside_BV = torch.zeros_like(probs_BV).scatter_(1, index_BK, inside_BK)
    return torch.where(is_cut_B.unsqueeze(1), inside_BV, probs_BV)


def _invert(probs_BV: Tensor, uniform_B: Tensor) -> Tensor:
    cumulative_BV = probs_BV.cumsum(dim=-1, dtype=torch.float64)
    target_B1 = uniform_B.clamp(max=_BELOW_ONE).unsqueeze(1) * cumulative_BV[:, -1:]
    found_B = torch.searchsorted(cumulative_BV, target_B1, right=True).squeeze(1)
    return found_B.clamp(max=probs_BV.shape[1] - 1)
