"""LoRA adapters: how they are configured, and the names of their matrices in saved files.

In: settings or a model. Out: PEFT models, the linear modules of A and B, and their saved names.
"""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from training.settings import LoraSettings

PARTS = (".lora_A.default", ".lora_B.default")


def add_lora(model: PreTrainedModel | PeftModel, lora: LoraSettings) -> PeftModel:
    """The model with a new adapter. A is random from torch's generator, B is zero."""
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )
    assert isinstance(model, PreTrainedModel), type(model)
    adapted = get_peft_model(model, config)
    # Sorted, because every process writes a set to adapter_config.json in another order.
    config.target_modules = sorted(config.target_modules or [])
    return adapted


def lora_matrices(model: PeftModel) -> list[tuple[str, torch.nn.Linear]]:
    """Every A and B, with the name of its weight in the saved adapter."""
    modules = model.named_modules()
    return [(saved_name(f"{name}.weight"), module) for name, module in modules if name.endswith(PARTS)]


def saved_name(name: str) -> str:
    """The name of a parameter in saved files. PEFT leaves out the adapter's own name there."""
    return name.replace(".default.", ".")
