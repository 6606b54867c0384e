"""Loading a model whose weights are shared out, without having it whole in each process.

In: a folder or a Hub id, in all processes. Out: the model on the CPU: with its weights in the first
process, with none in the others. The sharding sends each of them its part, one weight after another
(`training/sharded.py`). So the host holds the model once, and a GPU holds its part and one weight.

    model = load("recipes/tiny-base", torch.float32)
    is_by_parts(model)    # True

Memory that nobody writes to is not taken: weights without values cost nothing.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from transformers import PreTrainedModel

from training import pretrained, processes


def load(place: str, dtype: torch.dtype, revision: str | None = None) -> PreTrainedModel:
    """The model, on the CPU. TrainingError as from `pretrained.read_model`."""
    if processes.is_first():
        model = pretrained.read_model(place, dtype, revision)
        return _like_first(model) if is_by_parts(model) else model
    model = pretrained.read_shape(place, dtype, revision)
    if not is_by_parts(model):
        return pretrained.read_model(place, dtype, revision)
    model.to_empty(device="cpu")
    model.tie_weights()
    return _like_first(model)


def is_by_parts(model: PreTrainedModel) -> bool:
    """Whether accelerate can send the model by parts: all that it saves is a weight."""
    weights = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return set(model.state_dict()) <= weights


def _like_first(model: PreTrainedModel) -> PreTrainedModel:
    """The model with the number formats of the first process, and with its buffers."""
    first = [{name: (tuple(weight.shape), weight.dtype) for name, weight in model.named_parameters()}]
    own = first[0]
    dist.broadcast_object_list(first, src=0)
    assert {name: shape for name, (shape, _) in own.items()} == {name: shape for name, (shape, _) in first[0].items()}
    for name, weight in model.named_parameters():
        shape, dtype = first[0][name]
        if weight.dtype != dtype:  # a model may keep some weights in another format
            weight.data = torch.empty(shape, dtype=dtype)
    for _, buffer in model.named_buffers():
        there = buffer.to(processes.where())
        dist.broadcast(there, src=0)
        buffer.copy_(there)
    return model
