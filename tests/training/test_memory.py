"""The predicted bytes of a training against those of a real step at the sizes of Qwen2.5-7B.

The step is that of training/sft.py: PEFT's adapter or all weights in training mode, TRL's head, the
same optimizer. Models lie on the meta device, so nothing is computed, but every tensor has its
size. `Bytes` counts the distinct storages that are alive. The vocabulary is small, as the layers
are what the test is about.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from peft.helpers import disable_input_dtype_casting
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from trl.trainer.utils import add_fused_lm_head

from training import memory
from training.adapters import add_lora, lora_matrices
from training.completion_loss import causal_model
from training.memory import training_memory
from training.model_shape import ModelShape, shape_of
from training.settings import LoraSettings, SftSettings

SIZES = {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4}
WITHIN = 0.15


class Flash(torch.autograd.Function):
    """Saves what a flash kernel saves: q, k, v, the output, a number per position and head."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out, torch.empty(q.shape[:3], device=q.device, dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        q, k, v, *_ = ctx.saved_tensors
        return torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)


def flash(module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, **given: Any) -> Any:
    """As sdpa does with a padded batch: keys and values once per head, all in v's format."""
    k, v = (
        t[:, :, None].expand(-1, -1, module.num_key_value_groups, -1, -1).reshape(*q.shape[:2], *t.shape[2:])
        for t in (k, v)
    )
    return Flash.apply(q.to(v.dtype), k.to(v.dtype), v).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("stand_in", flash)


class Bytes(TorchDispatchMode):
    """Bytes of the storages that are alive, and their peak. Each storage counts once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.alive:
            self.alive[key] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.drop, key)

    def drop(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = call(*args, **(kwargs or {}))
        for leaf in tree_leaves(given):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return given


@pytest.fixture
def in_dtype(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Sets the format in which models are made.

    TRL's head asks whether autocast is on for its device. torch cannot tell that of meta.
    """
    is_enabled = torch.is_autocast_enabled
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind="cpu": kind != "meta" and is_enabled(kind))
    yield torch.set_default_dtype
    torch.set_default_dtype(torch.float32)


def config(num_layers: int) -> Qwen2Config:
    made = Qwen2Config(**SIZES, vocab_size=512, num_hidden_layers=num_layers, tie_word_embeddings=False)
    made._attn_implementation = "stand_in"
    return made


def shape(num_layers: int) -> ModelShape:
    found = shape_of(config(num_layers).to_dict())
    assert found is not None
    return found


def model(num_layers: int, settings: SftSettings, in_dtype: Any, place: str) -> Any:
    """The model as `training/sft.py` makes it: an adapter over a base, or all weights."""
    is_kept = settings.lora is not None or settings.optimizer == "adamw_8bit_sr"
    in_dtype(getattr(torch, settings.dtype) if is_kept else torch.float32)
    with torch.device(place):
        base = Qwen2ForCausalLM(config(num_layers))
        in_dtype(torch.float32)
        add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
        made = base if settings.lora is None else add_lora(base, settings.lora)
    made.train()
    if settings.gradient_checkpointing:
        made.gradient_checkpointing_enable()
        if settings.lora is not None:
            made.enable_input_require_grads()
    return made


def measured(num_layers: int, settings: SftSettings, in_dtype: Any, place: str = "meta") -> int:
    """The peak of bytes from forward to backward, with weights and gradients, without states."""
    made = model(num_layers, settings, in_dtype, place)
    bytes_ = Bytes()
    for weight in made.parameters():
        bytes_.add(weight)
        if weight.requires_grad:
            weight.grad = torch.zeros_like(weight)
            bytes_.add(weight.grad)
    if settings.lora is not None and memory.has_autocast(settings):
        as_copies(made)
    rows = memory.rows_at_once(settings)
    ids = torch.zeros(rows, settings.max_tokens, dtype=torch.long, device=place)
    mask: Any = {"full_attention": None}
    with bytes_:
        is_autocast = settings.lora is None and memory.has_autocast(settings)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
            out = made(input_ids=ids, attention_mask=mask, labels=ids, fused_lm_head=True, use_cache=False)
        out.loss.backward()
    return bytes_.peak


def as_copies(made: Any) -> None:
    """Autocast does not work on the meta device. The adapter's bfloat16 copies are made here."""
    for _, matrix in lora_matrices(made):
        weight, matrix.weight = matrix.weight, torch.nn.Parameter(matrix.weight.to(torch.bfloat16))
        matrix.weight.grad = torch.zeros_like(matrix.weight)
        matrix.register_buffer("in_float32", weight.data)
        matrix.register_buffer("gradient", weight.grad)


def predicted(num_layers: int, settings: SftSettings) -> int:
    found = training_memory(shape(num_layers), settings)
    return found.weights + found.gradients + found.activations


LORA, ALL = LoraSettings(r=64, alpha=128), None
FORMS = [
    pytest.param({"lora": LORA, "dtype": "bfloat16"}, id="adapter-bfloat16"),
    pytest.param({"lora": LORA, "dtype": "float32"}, id="adapter-float32"),
    pytest.param({"lora": ALL, "dtype": "bfloat16", "optimizer": "adamw_8bit_sr"}, id="all-bfloat16"),
    pytest.param({"lora": ALL, "dtype": "float32"}, id="all-float32"),
]


@pytest.mark.parametrize("is_checkpointed", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("form", FORMS)
def test_a_prediction_is_within_15_percent_of_the_bytes_of_a_step(
    form: dict[str, Any], is_checkpointed: bool, in_dtype: Any
) -> None:
    few, many = (
        SftSettings(**form, gradient_checkpointing=is_checkpointed, batch_size=rows, max_tokens=1024)
        for rows in (16, 32)
    )
    for layers in (1, 2):
        small, large = measured(layers, few, in_dtype), measured(layers, many, in_dtype)
        assert predicted(layers, few) == pytest.approx(small, rel=WITHIN)
        assert predicted(layers, many) == pytest.approx(large, rel=WITHIN)
        # the part that grows with tokens, alone
        grown = predicted(layers, many) - predicted(layers, few)
        assert grown == pytest.approx(large - small, rel=WITHIN)


@pytest.mark.parametrize("is_checkpointed", [False, True], ids=["kept", "checkpointed"])
def test_what_a_further_layer_adds_is_predicted(is_checkpointed: bool, in_dtype: Any) -> None:
    """Where 28 layers are predicted from two, the layer itself must be right."""
    settings = SftSettings(
        lora=LORA, dtype="bfloat16", gradient_checkpointing=is_checkpointed, batch_size=32, max_tokens=1024
    )
    added = measured(3, settings, in_dtype) - measured(2, settings, in_dtype)
    assert predicted(3, settings) - predicted(2, settings) == pytest.approx(added, rel=0.02)


def held_under_autocast(settings: SftSettings, in_dtype: Any) -> tuple[Any, int]:
    """A model of one layer, and the bytes that 64 tokens keep of it, with autocast's copies.

    Autocast works on real devices only, so this is computed.
    """
    bytes_, made = Bytes(), model(1, settings, in_dtype, "cpu")
    base = made if settings.lora is None else causal_model(made)
    ids, mask = torch.zeros(2, 32, dtype=torch.long), {"full_attention": None}
    for weight in made.parameters():
        bytes_.add(weight)
    before = bytes_.now
    with bytes_, torch.autocast("cpu", torch.bfloat16), disable_input_dtype_casting(made):
        hidden = base.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        held = bytes_.now - before
    assert hidden.shape == (2, 32, 3584)
    return made, held


def test_float32_weights_under_autocast_have_copies(in_dtype: Any) -> None:
    settings = SftSettings(lora=ALL, dtype="bfloat16", batch_size=2, max_tokens=32)
    made, held = held_under_autocast(settings, in_dtype)
    copies = memory.autocast_copies(shape(1), settings)
    assert copies == sum(w.numel() * 2 for n, w in made.named_parameters() if "layers" in n and w.dim() == 2)
    assert copies + 64 * memory.layer_bytes_per_token(shape(1), settings) == pytest.approx(held, rel=WITHIN)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_adapter_under_autocast_has_copies_and_shares_its_inputs(dropout: float, in_dtype: Any) -> None:
    lora = LoraSettings(r=2, alpha=4, dropout=dropout)
    settings = SftSettings(lora=lora, dtype="bfloat16", batch_size=2, max_tokens=32)
    made, held = held_under_autocast(settings, in_dtype)
    copies = memory.autocast_copies(shape(1), settings)
    assert copies == sum(w.numel() * 2 for w in made.parameters() if w.requires_grad)
    assert copies + 64 * memory.layer_bytes_per_token(shape(1), settings) == pytest.approx(held, rel=WITHIN)


def test_states_of_adamw_are_counted_as_torch_keeps_them() -> None:
    weight = torch.nn.Parameter(torch.zeros(512, 256))
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.AdamW([weight])
    optimizer.step()
    kept = sum(state.nbytes for state in optimizer.state[weight].values() if state.dim())
    assert kept == weight.numel() * memory.STATE_BYTES["adamw"]


def test_weights_of_an_adapter_and_of_a_model_are_counted_as_they_are(in_dtype: Any) -> None:
    settings = SftSettings(lora=LORA, dtype="bfloat16")
    made = model(2, settings, in_dtype, "meta")
    real = sum(weight.nbytes for weight in made.parameters())
    assert training_memory(shape(2), settings).weights == pytest.approx(real, rel=0.001)
    assert memory.num_trained(shape(2), settings) == sum(w.numel() for w in made.parameters() if w.requires_grad)


def test_a_7b_needs_what_was_counted_of_it() -> None:
    """The numbers that the recipes are chosen by, in GB, for one GPU and for eight."""
    made = ModelShape(4096, 11008, 32, 32, 32, 128, 32256, is_tied=False)  # DeepSeek-Coder-6.7B
    states = {}
    for optimizer in ("adamw", "adamw_8bit_sr", "adafactor"):
        settings = SftSettings(lora=None, dtype="bfloat16", optimizer=optimizer, gradient_checkpointing=True)
        found = training_memory(made, settings)
        states[optimizer] = round((found.weights + found.gradients + found.states) / 1e9, 1)
    assert states == {"adamw": 107.8, "adamw_8bit_sr": 40.8, "adafactor": 54.1}
    sharded = training_memory(made, SftSettings(lora=None, dtype="bfloat16", batch_size=8), 8)
    assert (sharded.gradients + sharded.states) / 1e9 == pytest.approx(107.9 * 3 / 4 / 8, rel=0.01)


def test_rows_at_once_are_those_of_the_fullest_pass() -> None:
    of = SftSettings(batch_size=4, gradient_accumulation=16)
    assert [memory.rows_at_once(of, n) for n in (1, 8, 32)] == [4, 4, 2]
    assert memory.rows_at_once(of.model_copy(update={"micro_batch": 3})) == 3
    assert memory.rows_at_once(of.model_copy(update={"micro_batch": 9})) == 4
