"""Bytes of the gradients at true layer sizes: counted on real layers, beside the prediction.

    python benchmarks/influence/memory.py [--layers 2]

The layers stand on torch's meta device: every operation runs, allocates and saves what it would,
but no number is computed, and no weights are needed. Attention is the kernel that keeps no
probabilities. Each line has the bytes of a token that are alive between the forward and the
backward pass, and at the peak, and what `training/gradient_memory.py` says; then the whole model.
"""

import argparse
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from peft import PeftModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from training import gradients
from training.adapters import add_lora
from training.completion_loss import pad
from training.examples import Example
from training.gradient_memory import GradientMemory
from training.settings import LoraSettings

RANK = 64
QWEN_7B = {
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
}
DEEPSEEK_7B = {
    "vocab_size": 32_256,
    "hidden_size": 4096,
    "intermediate_size": 11_008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 16_384,
    "tie_word_embeddings": False,
}
MODELS: dict[str, Any] = {
    "Qwen2.5-7B": (Qwen2ForCausalLM, Qwen2Config, QWEN_7B),
    "DeepSeek-Coder-6.7B": (LlamaForCausalLM, LlamaConfig, DEEPSEEK_7B),
}


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make inside of it, while they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, object] = {}

    def ignore(self, tensor: torch.Tensor) -> None:
        """Do not count this tensor, nor views of it."""
        storage = tensor.untyped_storage()
        self._known[id(storage)] = storage

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self._note(leaf.untyped_storage())
        return found

    def _note(self, storage: torch.UntypedStorage) -> None:
        if id(storage) not in self._known:
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            self._known[id(storage)] = weakref.finalize(storage, self._drop, id(storage), storage.nbytes())

    def _drop(self, key: int, num_bytes: int) -> None:
        self.now -= num_bytes
        del self._known[key]


@dataclass(frozen=True)
class Measured:
    """Bytes between forward and backward pass, at the peak, and after all of it."""

    held: int
    peak: int
    left: int


def layers_of(name: str, num_layers: int, dtype: torch.dtype) -> PeftModel:
    """A model of true sizes and few layers, without weights."""
    model_class, config_class, sizes = MODELS[name]
    config = config_class(**{**sizes, "num_hidden_layers": num_layers})
    with torch.device("meta"):
        model = add_lora(model_class(config).to(dtype), LoraSettings(r=RANK, alpha=128))
    return model.eval().requires_grad_(False)


def measured(model: PeftModel, rows: int, length: int, is_recomputed: bool = False) -> Measured:
    """What the gradients of a batch take beside the weights."""
    batch = pad([Example([1] * (length // 2), [2] * (length - length // 2))] * rows, 0, model.device)
    live, held = LiveBytes(), []
    for tensor in (*model.parameters(), *model.buffers(), *vars(batch).values()):
        live.ignore(tensor)

    def losses(*arguments: Any) -> torch.Tensor:
        held.append(live.now)
        return sample_losses(*arguments)

    sample_losses = gradients.sample_losses
    with on_meta(), patch.object(gradients, "sample_losses", losses), live:
        gradients.per_sample_gradients(model, batch, lambda name, grads_NOI: None, is_recomputed)
    return Measured(held[0], live.peak, live.now)


@contextmanager
def on_meta() -> Iterator[None]:
    """Replace what looks at numbers of tensors, and take the attention that a device would."""

    def fused(module: Any, q: Any, k: Any, v: Any, mask: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
        found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)
        return found[0].transpose(1, 2).contiguous(), None

    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS["sdpa"] = fused
    try:
        with patch("transformers.masking_utils.find_packed_sequence_indices", lambda position_ids: None):
            yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = before


def main() -> int:
    """Print bytes per token, counted and predicted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=2)
    options = parser.parse_args()
    print(f"{'KB per token':42} {'held':>8} {'predicted':>10} {'peak':>8} {'predicted':>10}")
    for name, (_, _, sizes) in MODELS.items():
        for dtype in (torch.bfloat16, torch.float32):
            model = layers_of(name, options.layers, dtype)
            memory = gradients.memory_of(model)
            assert memory is not None, name
            for is_recomputed in (False, True):
                for rows, length in ((8, 900), (4, 4096)):
                    line(f"{name} {dtype} {rows} x {length}", model, memory, rows, length, is_recomputed)
                whole = replace(memory, shape=replace(memory.shape, num_layers=sizes["num_hidden_layers"]))
                held, peak = whole.held_per_token(is_recomputed=is_recomputed), whole.peak(8, 900, is_recomputed)
                print(
                    f"  all layers: {held / 1e6:.2f} MB held per token, 8 x 900 tokens {peak / 1e9:.1f} GB at the peak"
                )
    return 0


def line(what: str, model: PeftModel, memory: GradientMemory, rows: int, length: int, is_recomputed: bool) -> None:
    """One line of the table."""
    found, tokens = measured(model, rows, length, is_recomputed), 1000 * rows * length
    held = 1000 * memory.held_per_token(length, is_recomputed) / 1e6
    values = f"{found.held / tokens:8.0f} {held:10.0f} {found.peak / tokens:8.0f} "
    values += f"{memory.peak(rows, length, is_recomputed) / tokens:10.0f}"
    print(f"{what + (' twice' if is_recomputed else ''):42} {values}")


if __name__ == "__main__":
    sys.exit(main())
