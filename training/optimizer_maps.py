"""What a gradient becomes before it is sketched: itself (SGD), or the step that Adam would make of
it.

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

# LESS's Adam map adds this inside the square root.
ADAM_EPSILON = 1e-8


def optimizer_map(kind: Literal["sgd", "adam"], checkpoint: str | None, device: torch.device) -> OptimizerMap:
    """The map of that kind. ValueError or FileNotFoundError if Adam's moments cannot be read."""
    if kind == "sgd":
        return lambda name, grads_NOI: grads_NOI
    if checkpoint is None:
        raise TrainingError(
            "optimizer_map is adam, and no adapter is given. Adam's map needs the moments of a trained checkpoint: "
            "give an adapter, or use sgd."
        )
    return adam_map(checkpoint, device)


def adam_map(checkpoint: str, device: torch.device) -> OptimizerMap:
    """LESS's map of a gradient g to m'/sqrt(v' + 1e-8), m' = b1 m + (1-b1) g and v' = b2 v + (1-b2)
    g^2.

    As in LESS's code (collect_grad_reps.py), there is no bias correction, and epsilon is inside the
    root. The moments are those of the checkpoint's optimizer. They are found by name and kept on
    the device.
    """
    for file in ("optimizer.pt", "parameter_names.json"):
        if not os.path.exists(os.path.join(checkpoint, file)):
            raise MissingFileError(
                f"{checkpoint} has no {file}, which optimizer_map adam reads. Train the adapter with this project, "
                "or use sgd."
            )
    # weights_only: only tensors and plain containers are unpickled, so no code of the file can run
    optimizer = torch.load(os.path.join(checkpoint, "optimizer.pt"), map_location="cpu", weights_only=True)
    with open(os.path.join(checkpoint, "parameter_names.json"), encoding="utf-8") as names_file:
        names = json.load(names_file)
    if any(type(state.get("exp_avg")) is not torch.Tensor for state in optimizer["state"].values()):
        raise TrainingError(
            f"{checkpoint}/optimizer.pt is not of AdamW, whose moments optimizer_map adam reads. Train the adapter with "
            "optimizer: adamw, or use sgd."
        )
    beta_1, beta_2 = optimizer["param_groups"][0]["betas"]
    moments = {
        name: tuple(optimizer["state"][place][key].to(device, torch.float32) for key in ("exp_avg", "exp_avg_sq"))
        for place, name in enumerate(names)
    }

    def apply(name: str, grads_NOI: torch.Tensor) -> torch.Tensor:
        if name not in moments:
            raise TrainingError(
                f"{checkpoint}/optimizer.pt has no {name}: it belongs to another adapter. Give the folder's own, or use sgd."
            )
        m_OI, v_OI = moments[name]
        if m_OI.shape != grads_NOI.shape[1:]:
            raise TrainingError(
                f"{checkpoint}/optimizer.pt has {name} with shape {tuple(m_OI.shape)}, the adapter has it with shape "
                f"{tuple(grads_NOI.shape[1:])}: the file belongs to another adapter. Give the folder's own, or use sgd."
            )
        m_NOI = beta_1 * m_OI + (1 - beta_1) * grads_NOI
        v_NOI = beta_2 * v_OI + (1 - beta_2) * grads_NOI.square()
        return m_NOI / (v_NOI + ADAM_EPSILON).sqrt()

    return apply
