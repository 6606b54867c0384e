"""Gradients take the memory that is predicted, and no more than they are allowed.

Bytes are counted on one and two layers of true sizes, on torch's meta device.
"""

import gc
import inspect
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.influence.memory import RANK, Measured, layers_of, measured
from tests.tiny_models import tiny_llama, tiny_qwen
from training import gradients
from training.adapters import add_lora, lora_matrices
from training.completion_loss import pad
from training.errors import TrainingError
from training.examples import Example
from training.gradient_batches import (
    CPU_BYTES,
    M_MMAP_THRESHOLD,
    Bound,
    available,
    give_freed_memory_back,
    in_batches,
)
from training.gradient_memory import GradientMemory
from training.model_shape import shape_of
from training.settings import GradientSettings, LoraSettings, features_name

ROOT = Path(__file__).parents[2]
BF16, F32 = torch.bfloat16, torch.float32
SIZES = [(1, 2048), (8, 900), (4, 4096)]
SETTINGS = GradientSettings(dimension=256, max_tokens=400, batch_size=4)
ROWS = [
    (
        f"row-{n}",
        [
            {"role": "user", "content": f"add {n}" + " please" * (3 * n % 7)},
            {"role": "assistant", "content": f"def add():\n    return {n}\n" * (1 + n % 3)},
        ],
    )
    for n in range(10)
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.mark.parametrize("dtype", [BF16, F32])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("name", ["Qwen2.5-7B", "DeepSeek-Coder-6.7B"])
def test_bytes_at_true_sizes_are_as_predicted(name: str, num_layers: int, dtype: torch.dtype) -> None:
    model = layers_of(name, num_layers, dtype)
    memory = gradients.memory_of(model)
    assert memory is not None and memory.rank == RANK
    for rows, length in SIZES:
        for is_recomputed in (False, True):
            found = measured(model, rows, length, is_recomputed)
            held, peak = memory.held_per_token(length, is_recomputed), memory.peak(rows, length, is_recomputed)
            assert rows * length * held == pytest.approx(found.held, rel=0.15), (rows, length, is_recomputed)
            assert peak == pytest.approx(found.peak, rel=0.15), (rows, length, is_recomputed)
            assert found.left == 0, "nothing is left of a batch"


def test_a_layer_holds_each_input_once_and_in_its_own_format() -> None:
    """Two layers less one: a layer of Qwen2.5-7B in bfloat16, term by term."""
    one, two = (layers_of("Qwen2.5-7B", n, BF16) for n in (1, 2))
    hidden, intermediate, keys, heads = 3584, 18_944, 512, 28
    norms = 2 * 4 * hidden + 2 * 4
    # q, k, v, and the output, which is o's input
    attention = 2 * (hidden + 2 * keys + hidden) + 4 * heads
    # one of q, k, v; one of gate and up; those of the B matrices
    inputs = 2 * (hidden + hidden) + 7 * 4 * RANK
    # gate, its activation, and up; down's input is the product of two of them
    mlp = 3 * 2 * intermediate
    for rows, length in SIZES:
        more, less = measured(two, rows, length), measured(one, rows, length)
        assert (more.held - less.held) / rows / length == norms + attention + inputs + mlp
    assert 28 * (norms + attention + inputs + mlp) < 4.9e6, "Qwen2.5-7B, all layers"


def test_real_numbers_take_the_bytes_that_meta_tensors_say() -> None:
    """A small model on the CPU, padded: no mask is kept, and attention keeps no probabilities."""
    config = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    real = small_model(config | heads, BF16)
    memory = gradients.memory_of(real)
    assert memory is not None
    found = held_on_cpu(real, [Example([1] * 100, [2] * 100), Example([1] * 20, [2] * 20)])
    assert found == pytest.approx(2 * 200 * memory.held_per_token(), rel=0.15)


def small_model(sizes: dict[str, Any], dtype: torch.dtype) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    model = add_lora(Qwen2ForCausalLM(Qwen2Config(**sizes)).to(dtype), LoraSettings(r=4))
    for _, matrix in lora_matrices(model):
        torch.nn.init.normal_(matrix.weight, std=0.1)
    return model.eval().requires_grad_(False)


def held_on_cpu(model: Any, examples: list[Example]) -> int:
    """Bytes of the distinct tensors that autograd keeps of a batch, without the weights."""
    weights = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gradients.per_sample_gradients(model, pad(examples, 0, model.device), lambda name, grads_NOI: None)
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)


@pytest.mark.parametrize("dtype", [BF16, F32])
def test_recomputing_layers_changes_no_bit(dtype: torch.dtype) -> None:
    config = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3}
    model = small_model(config | {"num_attention_heads": 4, "num_key_value_heads": 2}, dtype)
    batch = pad([Example([1, 2, 3] * 10, [4, 5] * 9), Example([7] * 5, [8, 9])], 0, model.device)
    kept: dict[str, torch.Tensor] = {}
    again: dict[str, torch.Tensor] = {}
    losses = gradients.per_sample_gradients(model, batch, kept.__setitem__)
    assert gradients.per_sample_gradients(model, batch, again.__setitem__, is_recomputed=True).equal(losses)
    assert len(kept) == 3 * 7 * 2 and kept.keys() == again.keys()
    assert all(kept[name].abs().sum() > 0 and kept[name].equal(again[name]) for name in kept)
    assert not any("forward" in vars(module) for module in model.modules()), "the layers are as before"


def test_the_product_of_a_gated_mlp_is_the_input_that_was_given() -> None:
    """All gradients of one row, with those of autograd itself beside."""
    config = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2}
    model = small_model(config | {"num_attention_heads": 4, "num_key_value_heads": 2}, F32)
    example = Example([1, 2, 3], [4, 5, 6])
    ours: dict[str, torch.Tensor] = {}
    gradients.per_sample_gradients(model, pad([example], 0, model.device), ours.__setitem__)
    matrices = dict(lora_matrices(model))
    for matrix in matrices.values():
        matrix.weight.requires_grad_(True)
    logits = model(input_ids=torch.tensor([[1, 2, 3, 4, 5, 6]])).logits[0, 2:-1]
    torch.nn.functional.cross_entropy(logits, torch.tensor([4, 5, 6])).backward()
    for name, matrix in matrices.items():
        assert matrix.weight.grad is not None
        assert torch.allclose(ours[name][0], matrix.weight.grad, atol=1e-6), name


def collect(base: str, settings: GradientSettings, prepare: Callable[[Any], None] = lambda model: None) -> Any:
    model = gradients.GradientModel(base, None, settings, "float32")
    prepare(model.model)
    (batch,) = model.stream(ROWS)
    return batch


def assert_same(found: Any, expected: Any) -> None:
    assert found.ids == expected.ids == [row_id for row_id, _ in ROWS]
    assert np.allclose(found.norm_N, expected.norm_N, rtol=1e-5)
    assert np.allclose(found.loss_N, expected.loss_N, rtol=1e-5)
    assert np.abs(found.unit_ND.astype(float) - expected.unit_ND).max() <= 5e-4
    assert found.num_tokens_N.tolist() == expected.num_tokens_N.tolist()


class Watched:
    """The batches that the model meets. From `limit` padded tokens on, memory runs out in the
    second decoder layer, in the middle of a batch.
    """

    def __init__(self, limit: float = float("inf"), recomputed_limit: float = float("inf")) -> None:
        self.limit, self.recomputed_limit = limit, recomputed_limit
        self.tried: list[tuple[int, int]] = []
        self.recomputed: list[tuple[int, int]] = []
        self.alive: list[weakref.ref[torch.Tensor]] = []
        self.left_alive = 0

    def __call__(self, model: Any) -> None:
        model.get_base_model().model.register_forward_pre_hook(self._start, with_kwargs=True)
        self.layer = model.get_base_model().model.layers[1]
        self.layer.register_forward_pre_hook(self._middle)

    def _start(self, module: Any, inputs: Any, kwargs: dict[str, Any]) -> None:
        self.left_alive += sum(ref() is not None for ref in self.alive)
        self.alive = []
        self.shape = tuple(kwargs["input_ids"].shape)
        is_recomputed = "forward" in vars(self.layer)
        (self.recomputed if is_recomputed else self.tried).append(self.shape)
        self.bound = self.recomputed_limit if is_recomputed else self.limit

    def _middle(self, module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.alive.append(weakref.ref(inputs[0]))
        if self.shape[0] * self.shape[1] >= self.bound:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore words")


def test_a_bound_in_bytes_makes_smaller_batches_of_the_same_features(qwen: str) -> None:
    whole, less = Watched(), Watched()
    expected = collect(qwen, SETTINGS, whole)
    memory = gradients.GradientModel(qwen, None, SETTINGS, "float32").memory
    assert memory is not None
    longest = max(length for _, length in whole.tried[1:])
    allowed = memory.peak(2, longest) / 1e9
    assert_same(collect(qwen, SETTINGS.model_copy(update={"memory_gb": allowed}), less), expected)
    assert max(rows for rows, _ in whole.tried) == 4 and len(less.tried) > len(whole.tried)
    # the first pass of a model is the check of its head
    assert all(memory.peak(*shape) <= 1e9 * allowed for shape in less.tried)
    assert not less.recomputed


def test_rows_that_do_not_fit_alone_are_computed_twice_with_the_same_features(qwen: str) -> None:
    expected, watched = collect(qwen, SETTINGS), Watched()
    assert_same(collect(qwen, SETTINGS.model_copy(update={"memory_gb": 1e-6}), watched), expected)
    assert not watched.tried and len(watched.recomputed) == len(ROWS)


@pytest.mark.parametrize("limit", [150, 100])
def test_when_memory_runs_out_batches_are_halved_and_no_feature_is_lost(qwen: str, limit: int) -> None:
    expected, watched = collect(qwen, SETTINGS), Watched(limit)
    batch = collect(qwen, SETTINGS, watched)
    assert_same(batch, expected)
    assert batch.rejects == [] and watched.left_alive == 0, "the failed batch's tensors are gone"
    failed = [rows * length for rows, length in watched.tried if rows * length >= limit]
    assert failed == sorted(failed, reverse=True) and len(failed) == len(set(failed)), "the bound stays lowered"
    assert 0 < len(failed) < 4


def test_a_bound_stays_lowered_for_a_shard_and_not_for_the_next(qwen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "ROWS_PER_WINDOW", 5)
    model, watched = gradients.GradientModel(qwen, None, SETTINGS, "float32"), Watched(150)
    watched(model.model)
    first = [row for batch in model.stream(ROWS) for row in batch.ids]
    tried = watched.tried
    assert any(rows * length >= 150 for rows, length in tried)
    watched.tried, watched.limit = [], float("inf")
    assert first == [row for batch in model.stream(ROWS) for row in batch.ids]
    assert any(rows * length >= 150 for rows, length in watched.tried)


def test_a_row_that_never_fits_is_told_with_what_to_change(qwen: str) -> None:
    watched = Watched(60, 60)
    with pytest.raises(TrainingError, match=r"a row of (\d+) tokens does not fit.*gradients\.max_tokens below \1") as e:
        collect(qwen, SETTINGS, watched)
    assert "CUDA out of memory. Tried to allocate 2.00 GiB)" in str(e.value) and "more words" not in str(e.value)
    assert watched.recomputed[-1] == watched.tried[-1], "it was tried both ways"


def test_a_row_that_fits_only_when_computed_twice_is_kept(qwen: str) -> None:
    expected, watched = collect(qwen, SETTINGS), Watched(60)
    assert_same(collect(qwen, SETTINGS, watched), expected)
    assert watched.recomputed


def test_a_batch_that_does_not_fit_is_halved() -> None:
    bound = Bound(rows=16, tokens=10_000)
    assert bound.first([100] * 16) == (16, False)
    bound.fall(16, 100, False, "full")
    assert bound.first([100] * 16) == (8, False)
    assert bound.first([900]) == (1, False), "a row alone may have more tokens"


def test_other_errors_are_not_taken_for_full_memory() -> None:
    bound = Bound(4, 100)

    def compute(places: list[int], is_recomputed: bool) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(in_batches({0: Example([1], [2])}, bound, compute))


def test_an_unknown_architecture_is_bounded_by_tokens_only(tmp_path: Path) -> None:
    base = tiny_llama(tmp_path / "llama")
    config = json.loads(Path(base, "config.json").read_text())
    assert shape_of(config) is not None and shape_of({**config, "model_type": "mamba"}) is None
    bound = Bound.of(GradientSettings(batch_size=8, batch_tokens=50), None, 1.0)
    assert bound.first([10, 10, 10, 20, 20]) == (3, False)


def test_the_bound_is_what_is_given_or_what_the_device_has() -> None:
    shape = shape_of({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, **SMALL})
    assert shape is not None
    memory = GradientMemory(shape, rank=4, dtype="float32")
    assert available(1.5, memory, torch.device("cpu")) == 1.5e9
    assert available(None, memory, torch.device("cpu")) == CPU_BYTES == 4e9


SMALL = {"intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 100}


def test_eager_attention_holds_the_probabilities_of_all_pairs() -> None:
    shape = shape_of({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, **SMALL})
    assert shape is not None
    eager, fused = (GradientMemory(shape, 4, "float32", is_eager) for is_eager in (True, False))
    assert eager.held_per_token(2000) - eager.held_per_token(1000) == 2 * 4 * 1000 * (4 + 8)
    assert fused.held_per_token(2000) == fused.held_per_token(1000)


def test_bounds_of_batches_are_no_part_of_a_plan_nor_of_a_name() -> None:
    other = SETTINGS.model_copy(update={"memory_gb": 3.0, "batch_size": 1, "batch_tokens": 9})
    assert other.identity() == SETTINGS.identity()
    assert SETTINGS.identity().keys() == {"dimension", "seed", "optimizer_map", "max_tokens"}
    assert features_name(other, "prompt") == features_name(SETTINGS, "prompt")


def test_nothing_of_a_batch_is_alive_after_it(qwen: str) -> None:
    watched = Watched()
    collect(qwen, SETTINGS, watched)
    gc.collect()
    assert watched.left_alive == 0 and not any(ref() is not None for ref in watched.alive)


def test_measured_bytes_are_of_three_moments() -> None:
    found = measured(layers_of("Qwen2.5-7B", 1, BF16), 1, 64)
    assert isinstance(found, Measured) and 0 == found.left < found.held < found.peak


FREED = f"""
import ctypes, sys, torch
M_MMAP_THRESHOLD = {M_MMAP_THRESHOLD}
{inspect.getsource(give_freed_memory_back)}
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
torch.ones(4 * 2**20)  # freed: from here on the C library keeps blocks of this size
if sys.argv[1] == "yes":
    give_freed_memory_back()
before, small, large = resident(), [], []
for _ in range(20):
    large.append(torch.ones(2 * 2**20))
    small.append(torch.ones(2**14))
large.clear()
print(resident() - before)
"""
"""The function stands alone here: its module imports PEFT, which takes seconds."""


@pytest.mark.skipif(sys.platform != "linux", reason="only the C library of Linux keeps freed memory")
def test_freed_tensors_leave_the_process() -> None:
    def kept(is_asked: str) -> float:
        command = [sys.executable, "-c", FREED, is_asked]
        return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)

    assert kept("yes") < 40 < kept("no"), "MB of 160 that were freed"
