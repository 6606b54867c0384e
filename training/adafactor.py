"""transformers' Adafactor, made to step on sharded weights.

In: parameters. Out: an optimizer. Of a matrix it keeps one number per row and one per column
(Shazeer and Stern 2018, arXiv 1804.04235).

transformers keeps those as plain tensors, and norms as they come. Both fail beside sharded weights.
Here they begin as sharded tensors, and torch adds up what the processes hold.

    Adafactor(model.parameters(), lr=1e-5, scale_parameter=False, relative_step=False)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import DTensor, Replicate
from transformers.optimization import Adafactor as TransformersAdafactor


class Adafactor(TransformersAdafactor):
    """Adafactor. Without a first moment: `beta1` stays None."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for group in self.param_groups:
            assert group["beta1"] is None, group["beta1"]
            for weight in group["params"]:
                if isinstance(weight.grad, DTensor) and not self.state[weight]:
                    self.state[weight] = _first_state(weight.grad)
        return super().step(closure)

    @staticmethod
    def _rms(tensor: torch.Tensor) -> torch.Tensor:
        """The root of the mean square of all of a tensor, on every process."""
        norm = tensor.norm(2)
        return (norm.full_tensor() if isinstance(norm, DTensor) else norm) / tensor.numel() ** 0.5


def _first_state(gradient: DTensor) -> dict[str, Any]:
    """Zeros of float32. Those of rows are sharded like the rows, and those of columns are whole."""
    state: dict[str, Any] = {"step": 0, "RMS": 0}
    if gradient.ndim < 2:
        return state | {"exp_avg_sq": torch.zeros_like(gradient, dtype=torch.float32)}
    rows, columns = gradient.float().mean(dim=-1), gradient.float().mean(dim=-2)
    assert isinstance(columns, DTensor), type(columns)
    whole = columns.redistribute(placements=[Replicate()] * columns.device_mesh.ndim)
    return state | {"exp_avg_sq_row": torch.zeros_like(rows), "exp_avg_sq_col": torch.zeros_like(whole)}
