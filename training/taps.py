"""Hooks on the matrices of an adapter that give the gradients of single samples.

In: a model whose weights are all frozen, and a function that takes gradients. Out: inside of a
block, each forward and backward pass calls that function once for every LoRA matrix.

    with tapped(model, take):
        model(input_ids).logits.sum().backward()     # take("...lora_A.weight", grads_NOI), ...

What is kept between forward and backward pass is what needs the memory. Each matrix needs its
input: it is kept in the number format of the base model, once for all matrices that share it, and
not at all where it is the product of two tensors that are kept anyway.

Shapes: N samples, L padded length, I and O inputs and outputs of a matrix.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from training.adapters import lora_matrices
from training.completion_loss import causal_model

Take = Callable[[str, torch.Tensor], None]


@contextmanager
def tapped(model: PeftModel, take: Take, is_recomputed: bool = False) -> Iterator[None]:
    """Inside this block, every LoRA matrix gives its gradients in the backward pass.

    With `is_recomputed`, each decoder layer keeps only its input, and is computed a second time in
    the backward pass.
    """
    owners = {m: layer for layer in model.modules() if isinstance(layer, LoraLayer) for m in layer.lora_A.values()}
    # No weight needs a gradient. This number does, so that the backward pass reaches every matrix.
    anchor = torch.zeros((), device=model.device, requires_grad=True)
    given: dict[torch.nn.Module, torch.Tensor] = {}

    def note(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        given[layer] = inputs[0]

    def tap(name: str, matrix: torch.nn.Module, inputs: tuple[torch.Tensor], output_NLO: torch.Tensor) -> torch.Tensor:
        # A gets the input of its layer, cast to float32 for it alone. The layers of a block share
        # the tensor before the cast, so we keep that one.
        input_NLI = given.pop(owners[matrix]) if matrix in owners else inputs[0]
        assert input_NLI.shape == inputs[0].shape, (name, input_NLI.shape, inputs[0].shape)
        # When a layer is computed again, nothing that it saved may be looked at before.
        factors = (input_NLI.detach(),) if is_recomputed else _factors(input_NLI)
        tapped: torch.Tensor = _Tap.apply(output_NLO, anchor, functools.partial(take, name), *factors)
        return tapped

    hooks = [layer.register_forward_pre_hook(note) for layer in owners.values()]
    hooks += [m.register_forward_hook(functools.partial(tap, name)) for name, m in lora_matrices(model)]
    try:
        with _recomputed(model) if is_recomputed else nullcontext():
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _factors(input_NLI: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tensors whose product the input is: itself, or two that autograd keeps already.

    An MLP with a gate multiplies two tensors of its full width. Autograd keeps both for their own
    gradients, so their product need not be kept as well.
    """
    origin: Any = input_NLI.grad_fn
    if origin is not None and origin.name() == "MulBackward0":
        factors = (origin._saved_self, origin._saved_other)
        if all(factor is not None and factor.shape == input_NLI.shape for factor in factors):
            return tuple(factor.detach() for factor in factors)
    return (input_NLI.detach(),)


@contextmanager
def _recomputed(model: PeftModel) -> Iterator[None]:
    layers = [m for m in causal_model(model).modules() if isinstance(m, GradientCheckpointingLayer)]
    for layer in layers:
        again = functools.partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        vars(layer)["forward"] = again
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


class _Tap(torch.autograd.Function):
    """The output of a matrix, unchanged. Its gradient gives those of the matrix, sample by sample.

    The input is saved by autograd, as other layers' inputs are: it is freed as soon as it was used.
    """

    @staticmethod
    def forward(
        ctx: Any,
        output_NLO: torch.Tensor,
        anchor: torch.Tensor,
        take: Callable[[torch.Tensor], None],
        *factors: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(*factors)
        ctx.take = take
        return output_NLO.view_as(output_NLO)

    @staticmethod
    def backward(ctx: Any, grad_NLO: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        factors = ctx.saved_tensors
        input_NLI = functools.reduce(torch.mul, factors)
        # Positions after a sample's end have no gradient, since attention is causal.
        ctx.take(torch.bmm(grad_NLO.float().transpose(1, 2), input_NLI.float()))
        return grad_NLO, None, None, *(None for _ in factors)
