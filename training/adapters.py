"""LoRA adapters: how they are configured, and their matrices under the names that saved files use.

In: settings or a model. Out: PEFT configurations, modules and names.
"""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from training.settings import LoraSettings

PARTS = (".lora_A.default", ".lora_B.default")


def add_lora(model: PreTrainedModel | PeftModel, lora: LoraSettings) -> PeftModel:
    """The model under a new adapter, A random from torch's generator and B zero."""
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )
    assert isinstance(model, PreTrainedModel), type(model)
    adapted = get_peft_model(model, config)
    # A set would be written to adapter_config.json in another order by every process.
    config.target_modules = sorted(config.target_modules or [])
    return adapted


def lora_matrices(model: PeftModel) -> list[tuple[str, torch.nn.Linear]]:
    """Every A and B, with the name of its weight in the saved adapter."""
    modules = model.named_modules()
    return [(saved_name(f"{name}.weight"), module) for name, module in modules if name.endswith(PARTS)]


def saved_name(name: str) -> str:
    """The name of a parameter in saved files, where PEFT leaves out the adapter's own name."""
    return name.replace(".default.", ".")
