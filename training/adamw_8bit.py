"""torchao's AdamW with moments of 8 bits, made to step on sharded weights and on the CPU.

In: parameters. Out: an optimizer, whose states are torchao's: a code of one byte per number, and a
float32 scale per block of 256 (Dettmers et al. 2021, arXiv 2110.02861). Tensors under 4096 numbers
keep moments in their own format.

torchao's own step fails on sharded weights in bfloat16: a view of its states forgets their number
format (torchao 0.18, torch 2.13: "expected dtype torch.bfloat16 for `end`"). AdamW looks at each
number alone, so this one steps on the part of every weight that the process holds. torchao always
compiles the step. On a GPU that saves memory and time. On the CPU it takes minutes, so it is not
compiled there.

    AdamW8bit(model.parameters(), lr=1e-5)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from torchao.optim import AdamW8bit as TorchaoAdamW8bit
from torchao.optim.adam import single_param_adam

from training.sharded import local_part


class AdamW8bit(TorchaoAdamW8bit):
    """AdamW of 8 bits, which rounds weights in bfloat16 stochastically.

    `seed` and the number of the step decide how. So a training that is resumed rounds as it would
    have, processes that hold the same weights keep them equal, and no other random number changes.
    """

    def __init__(self, params: Iterable[Any], seed: int = 0, **arguments: Any) -> None:
        super().__init__(params, bf16_stochastic_round=True, **arguments)
        self.seed = seed

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        weights = [(w, group) for group in self.param_groups for w in group["params"] if w.grad is not None]
        if not weights:
            return loss
        # disable_cache_limit: one graph per shape of weight, however many there are
        with torch._dynamo.utils.disable_cache_limit(), self._own_randomness(weights[0][0]):
            for weight, group in weights:
                self._step_one(weight, group)
        return loss

    @contextmanager
    def _own_randomness(self, weight: torch.Tensor) -> Iterator[None]:
        """Random numbers of this step, others for each part of sharded weights."""
        num_steps = int(self.state[weight].get("step", 0))
        part = torch.distributed.get_rank() if isinstance(weight, DTensor) else 0
        with torch.random.fork_rng(devices=[weight.device] if weight.is_cuda else []):
            torch.manual_seed(np.random.SeedSequence([self.seed, num_steps, part]).generate_state(1, np.uint64).item())
            yield

    def _step_one(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = self._new_buffer(weight, True)
            state["exp_avg_sq"] = self._new_buffer(weight, False)
        state["step"] += 1
        _adam_step(weight.device)(
            local_part(weight).detach(),
            local_part(weight.grad),
            state["step"],
            local_part(state["exp_avg"]),
            local_part(state["exp_avg_sq"]),
            None,
            group["lr"],
            *group["betas"],
            group["weight_decay"],
            group["eps"],
            self.is_adamw,
            self.bf16_stochastic_round and weight.dtype is torch.bfloat16,
        )


def _adam_step(device: torch.device) -> Callable[..., None]:
    if device.type == "cpu":
        return single_param_adam
    return torch.compile(single_param_adam, fullgraph=True, dynamic=False)
