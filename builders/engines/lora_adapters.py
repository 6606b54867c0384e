"""The LoRA adapters of a model in this process, of which one at a time writes.

In: a loaded model, and the folder of every adapter by its name. Out: `selected`, under which the
model answers with one of them, or as the base model.

In float32 on a CPU the adapter that was asked last is added to the weights: two small products for
each linear layer and each token would otherwise take a third of the time. This needs the adapted
weights twice in memory. The base's own weights are kept and put back, so that they stay the same
bits. On a GPU, and in number formats that would round the sum, the adapter is computed beside the
weights.

Some adapters change the base's own weights when they are loaded, such as one that began as a part
of them (PiSSA). Such an adapter is used alone, and the base cannot be asked beside it.

    adapters = LoraAdapters(model, {"step-100": "checkpoints/step-100"}, "cpu")
    with adapters.selected("step-100") as model:
        model(input_ids=ids)
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from training import pretrained
from training.errors import TrainingError

ALONE = (
    "Open it in an engine of its own, and ask only this adapter there; or convert it to an ordinary LoRA adapter "
    "(PEFT: save_pretrained with path_initial_model_for_weight_conversion)."
)


class LoraAdapters:
    """See the module. Without adapters, the model is used as it is."""

    def __init__(self, model: PreTrainedModel, folders: Mapping[str, str], device: str) -> None:
        # PEFT's names are keys of modules and may not hold a dot, so it is given names of our own.
        self._names = {name: f"adapter_{i}" for i, name in enumerate(folders)}
        self._model: Any = model
        self._changing: str | None = None
        before = fingerprints(model.parameters()) if folders else {}
        for name, folder in folders.items():
            self._model = pretrained.read_adapters(self._model, {self._names[name]: folder})
            if changes_base(self._model, self._names[name], before):
                self._changing = folder
                if len(folders) > 1:
                    raise TrainingError(f"{self._other_base()}the other adapters would answer wrongly. {ALONE}")
        torch.nn.Module.to(self._model, device)
        self._model.eval()
        self._merged: str | None = None
        self._kept: dict[Linear, torch.nn.Parameter] = {}

    def check(self, names: Iterable[str | None]) -> None:
        """ValueError for an adapter that was not given, and for a base whose weights are others."""
        names = set(names)
        if self._changing is not None and None in names:
            raise TrainingError(f"{self._other_base()}the base would answer wrongly. {ALONE}")
        unknown = sorted(name for name in names if name is not None and name not in self._names)
        if unknown:
            raise ValueError(f"adapters {unknown} are unknown: the engine has {sorted(self._names)}")

    @contextmanager
    def selected(self, name: str | None) -> Iterator[Any]:
        """The model as this adapter changes it, or the base model for None."""
        if not isinstance(self._model, PeftModel):
            yield self._model
            return
        if can_merge(self._model):
            self._merge(name)
            name = None
        if name is None:
            with self._model.disable_adapter():
                yield self._model
        else:
            self._model.set_adapter(self._names[name], inference_mode=True)
            yield self._model

    def _other_base(self) -> str:
        return f"the adapter {self._changing} changes the weights of the base model itself: beside it, "

    def close(self) -> None:
        """Let go of all weights."""
        self._model, self._kept = None, {}

    @torch.inference_mode()
    def _merge(self, name: str | None) -> None:
        """Add an adapter to the base's weights, after the one before it was taken out."""
        if name == self._merged:
            return
        for layer, kept in self._kept.items():
            layer.get_base_layer().weight = kept
        self._kept, self._merged = {}, name
        if name is None:
            return
        for layer in lora_layers(self._model):
            if self._names[name] in layer.lora_A:
                weight = layer.get_base_layer().weight
                assert isinstance(weight, torch.nn.Parameter), type(weight)
                self._kept[layer] = weight
                # a new parameter: the old one may be tied to another layer, such as the embedding
                changed = weight + layer.get_delta_weight(self._names[name])
                layer.get_base_layer().weight = torch.nn.Parameter(changed, requires_grad=False)


def fingerprints(weights: Iterable[torch.nn.Parameter]) -> dict[torch.nn.Parameter, int]:
    """The sum of the bits of every weight."""
    return {weight: _sum_of_bits(weight) for weight in weights}


def _sum_of_bits(weight: torch.nn.Parameter) -> int:
    numbers = weight.detach().flatten()
    is_even = numbers.nbytes % torch.int64.itemsize == 0
    return int(numbers.view(torch.int64 if is_even else torch.uint8).sum(dtype=torch.int64))


def changes_base(model: PeftModel, name: str, before: Mapping[torch.nn.Parameter, int]) -> bool:
    """Whether the weights of the base are other ones now that this adapter is loaded."""
    now = set(model.parameters())
    is_deeper = bool(getattr(model.peft_config[name], "layer_replication", None))
    return is_deeper or any(weight not in now or _sum_of_bits(weight) != bits for weight, bits in before.items())


def lora_layers(model: PeftModel) -> list[Linear]:
    return [module for module in model.modules() if isinstance(module, Linear)]


def can_merge(model: PeftModel) -> bool:
    """Whether all that the adapters change is a product of two matrices in float32 on a CPU."""
    adapted = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if not adapted or any("modules_to_save" in name for name, _ in model.named_parameters()):
        return False
    return all(
        type(layer) is Linear
        and not layer.lora_variant
        and not any(layer.lora_bias.values())
        and layer.get_base_layer().weight.dtype is torch.float32
        and layer.get_base_layer().weight.device.type == "cpu"
        for layer in adapted
    )
