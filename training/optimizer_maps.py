"""What a gradient becomes before it is sketched: itself (SGD), or the step that Adam would make of it.

In: the folder of a checkpoint. Out: a function of a matrix's name and its per-sample gradients.

Shapes: N samples, O and I outputs and inputs of a matrix.
"""

import json
import os
from collections.abc import Callable
from typing import Literal

import torch

from training.errors import MissingFileError, TrainingError

OptimizerMap = Callable[[str, torch.Tensor], torch.Tensor]

# LESS's Adam map adds this inside the root.
ADAM_EPSILON = 1e-8


def optimizer_map(kind: Literal["sgd", "adam"], checkpoint: str | None, device: torch.device) -> OptimizerMap:
    """The map of that kind. ValueError or FileNotFoundError where Adam's moments are not to be had."""
    if kind == "sgd":
        return lambda name, grads_NOI: grads_NOI
    if checkpoint is None:
        raise TrainingError("optimizer_map is adam and no adapter is given: it needs a trained checkpoint's moments")
    return adam_map(checkpoint, device)


def adam_map(checkpoint: str, device: torch.device) -> OptimizerMap:
    """LESS's map of a gradient g to m'/sqrt(v' + 1e-8), m' = b1 m + (1-b1) g and v' = b2 v + (1-b2) g^2.

    From LESS's code (collect_grad_reps.py): no bias correction, epsilon inside the root; the moments are
    those of the checkpoint's optimizer, found by name and kept on the device.
    """
    for file in ("optimizer.pt", "parameter_names.json"):
        if not os.path.exists(os.path.join(checkpoint, file)):
            raise MissingFileError(
                f"{checkpoint} has no {file}, which optimizer_map adam reads: train with this project, or use sgd"
            )
    # weights_only: nothing but tensors and plain containers is unpickled
    optimizer = torch.load(os.path.join(checkpoint, "optimizer.pt"), map_location="cpu", weights_only=True)
    with open(os.path.join(checkpoint, "parameter_names.json"), encoding="utf-8") as names_file:
        names = json.load(names_file)
    beta_1, beta_2 = optimizer["param_groups"][0]["betas"]
    moments = {
        name: tuple(optimizer["state"][place][key].to(device, torch.float32) for key in ("exp_avg", "exp_avg_sq"))
        for place, name in enumerate(names)
    }

    def apply(name: str, grads_NOI: torch.Tensor) -> torch.Tensor:
        if name not in moments:
            raise TrainingError(f"{checkpoint}/optimizer.pt knows no {name}: the state is of another adapter")
        m_OI, v_OI = moments[name]
        if m_OI.shape != grads_NOI.shape[1:]:
            raise TrainingError(
                f"{checkpoint}/optimizer.pt has {name} as {tuple(m_OI.shape)}, the adapter as "
                f"{tuple(grads_NOI.shape[1:])}: the state is of another adapter"
            )
        m_NOI = beta_1 * m_OI + (1 - beta_1) * grads_NOI
        v_NOI = beta_2 * v_OI + (1 - beta_2) * grads_NOI.square()
        return m_NOI / (v_NOI + ADAM_EPSILON).sqrt()

    return apply
