"""Where a trained model stops: its end token goes into the generation config.

In: a model, and the token that a trained answer ends in. Out: the model's own generation config,
which `save_pretrained` writes. PEFT writes none, so for an adapter it is written here.
"""

from __future__ import annotations

from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel


def stop_at(model: PreTrainedModel | PeftModel, end_id: int, folder: Path) -> None:
    """Add a token to those that generation stops at. PEFT saves no generation config: write it."""
    config = model.generation_config
    eos = config.eos_token_id
    known = eos if isinstance(eos, list) else [] if eos is None else [eos]
    config.eos_token_id = [*known, *({end_id} - set(known))]
    if isinstance(model, PeftModel):
        config.save_pretrained(folder)
