"""Others' per-sample gradients of LoRA's A and B, on the model and the batches of `speed.py`.

In: a model under LoRA, padded batches, and a function that runs forward and backward pass of a batch (every sample's mean completion loss,
summed; the head on supervised positions only). Out: per peer its variants; a pass of one returns its features, on every sample.

Both are the programs themselves, with one backward pass per batch:

- dattri-llm 0.1.0, HookManager: hooks that leave out autograd's own gradient of the matrices; per-sample gradients are made within the
  backward pass ("materialized"). Its dense projection has one matrix for all modules of a size, made before the timed pass; what it
  leaves of all modules together is about 4096 numbers. It takes any loss, and gets the one above.
- bergson 2.5.1, InMemoryCollector: everything is frozen but the input embeddings, as its own loader leaves a model, and the features of all
  samples go to one buffer in the processor's memory. Its own forward and backward pass computes all logits; a further variant has its hooks
  around the pass above. Its projection per module is of p x p numbers, at most 4096 together; its global one is of 4096 numbers, by a
  matrix that is generated anew for every batch.

    pip install --no-deps dattri-llm==0.1.0 dattri==0.3.0
    pip install --no-deps bergson==2.5.1 simple-parsing docstring-parser jaxtyping wadler-lindig ml_dtypes natsort petname torchopt optree \\
        bitsandbytes scipy

With its requirements bergson would replace torch+cpu by a CUDA build and add a torchvision that transformers then cannot import; it
uses no torchvision itself. What bitsandbytes says of a missing 4-bit kernel is of no concern here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel

from training.adapters import PARTS
from training.completion_loss import Batch, causal_model

Features = list[dict[str, torch.Tensor]]
"""Consecutive samples together, by module: [N, ...]."""
Backward = Callable[[Batch], object]


@dataclass(frozen=True, slots=True)
class Variant:
    """A pass over all samples, timed within `ready`, with LoRA's matrices trainable or frozen.

    `is_exact`: it returns Features that are whole gradients, whose lengths can be checked. `is_warmed_up`: it runs once before it is timed.
    """

    is_trainable: bool
    run: Callable[[], Any]
    ready: Callable[[], AbstractContextManager[object]] = nullcontext
    is_exact: bool = False
    is_warmed_up: bool = True


def dattri_llm(model: PeftModel, batches: Sequence[Batch], backward: Backward, dimension: int) -> dict[str, Variant]:
    """Unprojected, and `dimension` numbers of its dense projection."""
    import dattri.func.projection  # noqa: F401  dattri-llm needs it, and says so only when it projects
    from dattri_llm import HookManager, HookManagerConfig

    backbone = causal_model(model).base_model
    names = [name for name, _ in backbone.named_modules() if name.endswith(PARTS)]
    for name in names:
        backbone.get_submodule(name).requires_grad_(True)  # it hooks nothing that is frozen

    def variant(projection: dict[str, dict[str, object]] | None) -> Variant:
        hook_types = dict.fromkeys(names, "invasive_linear_io")
        config = HookManagerConfig(hook_types, capture_style="materialized", projection_kwargs=projection)
        manager = HookManager(backbone, config)
        manager.remove()  # a new manager has its hooks in place

        def run(batches: Sequence[Batch] = batches) -> Features:
            found = []
            with manager.collect():
                for batch in batches:
                    backward(batch)
                    found.append(dict(manager.get_gradient().data))
            return found

        @contextmanager
        def ready() -> Iterator[None]:
            manager.register()
            if projection:
                run(batches[:1])  # makes the matrices, which live as long as the hooks
            yield
            manager.remove()

        return Variant(True, run, ready, is_exact=projection is None)

    dense = {"style": "dense", "proj_dim": dimension // len(names), "proj_max_batch_size": 8}
    return {
        "dattri-llm, nothing projected": variant(None),
        "dattri-llm, dense per module": variant({"__default__": dense}),
    }


def bergson(model: PeftModel, batches: Sequence[Batch], backward: Backward, dimension: int) -> dict[str, Variant]:
    """Unprojected with its own pass and with ours, p x p per module, and `dimension` numbers over all modules."""
    from bergson import GradientProcessor, IndexConfig, InMemoryCollector
    from bergson.collector.collector import fwd_bwd_factory
    from datasets import Dataset

    names = {name for name, _ in model.base_model.named_modules() if name.endswith(PARTS)}
    data = Dataset.from_dict({"input_ids": [row for batch in batches for row in batch.ids_NL.tolist()]})
    config = IndexConfig(run_path="", loss_reduction="mean")
    forward_backward = fwd_bwd_factory(config)

    def own_backward(batch: Batch) -> torch.Tensor:
        labels_NL = torch.full_like(batch.ids_NL, -100)
        labels_NL.view(-1)[batch.positions_S + 1] = batch.targets_S
        return forward_backward(model, batch.ids_NL, labels_NL, {})

    def our_backward(batch: Batch) -> torch.Tensor:
        backward(batch)
        model.zero_grad()
        return torch.zeros(len(batch.ids_NL))

    def variant(processor: GradientProcessor, backward: Callable[[Batch], torch.Tensor] = own_backward) -> Variant:
        is_global = processor.projection_target == "global"

        def run() -> Features:
            collector = InMemoryCollector(
                model=model.base_model, cfg=config, data=data, processor=processor, target_modules=names
            )
            start = 0
            for batch in batches:
                rows = list(range(start, start + len(batch.ids_NL)))
                with collector.with_batch():
                    losses_N = backward(batch)
                collector.process_batch(rows, losses=losses_N)
                start += len(rows)
            collector.teardown()
            return [collector.gradients]

        @contextmanager
        def ready() -> Iterator[None]:
            model.get_input_embeddings().requires_grad_(True)
            yield
            model.get_input_embeddings().requires_grad_(False)

        return Variant(False, run, ready, is_exact=processor.projection_dim is None, is_warmed_up=not is_global)

    side = math.isqrt(dimension // len(names))
    return {
        "bergson, nothing projected": variant(GradientProcessor()),
        "bergson's hooks, head as in the floor": variant(GradientProcessor(), our_backward),
        f"bergson, {side} x {side} per module": variant(GradientProcessor(projection_dim=side)),
        f"bergson, global {dimension}": variant(
            GradientProcessor(projection_dim=dimension, projection_target="global")
        ),
    }


def lengths(features: Features) -> torch.Tensor:
    """Of unprojected features: the length of every sample's gradient, float32 [samples]."""
    parts = []
    for part in features:
        squares = [matrix.flatten(1).float().square().sum(1) for matrix in part.values()]
        parts.append(torch.stack(squares).sum(0).sqrt().cpu())
    return torch.cat(parts)


PEERS: dict[str, tuple[Callable[[PeftModel, Sequence[Batch], Backward, int], dict[str, Variant]], str]] = {
    "dattri-llm": (dattri_llm, "dattri-llm==0.1.0 dattri==0.3.0"),
    "bergson": (
        bergson,
        "bergson==2.5.1 simple-parsing docstring-parser jaxtyping wadler-lindig ml_dtypes natsort petname torchopt optree bitsandbytes scipy",
    ),
}
"""Name -> (its variants, what to `pip install --no-deps` for it)."""
