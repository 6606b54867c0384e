"""Gradient features: exact, independent of their batch, and kept by the sketch."""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests.tiny_models import tiny_llama, tiny_qwen
from training import gradients, heldout, sft, sketch
from training.adapters import saved_name
from training.completion_loss import check_head, pad
from training.examples import Example, Flaw, encode, load_model, load_tokenizer
from training.gradient_batches import Bound, in_batches
from training.optimizer_maps import adam_map
from training.settings import GradientSettings, LoraSettings, SftSettings, features_name

SETTINGS = GradientSettings(dimension=512, max_tokens=200, batch_size=3)


def chat(user: str, assistant: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


ROWS = [
    (
        f"row-{n}",
        chat(f"add {n}" + " please" * (7 * n % 5), f"def add():\n    return {n} + {n}\n" * (1 + n % 3)),
    )
    for n in range(8)
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # Two threads wait for each other longer than these models compute.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    pq.write_table(pa.table({"messages": [messages for _, messages in ROWS]}), folder / "train.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, qwen: str, data: str) -> str:
    settings = SftSettings(
        epochs=2, batch_size=2, learning_rate=1e-2, lora=LoraSettings(r=4, dropout=0.5), dtype="float32"
    )
    run = tmp_path_factory.mktemp("runs") / "run"
    report = sft.train(data, qwen, str(run), settings)
    return str(run / report.checkpoints[-1].folder)


def encoded(base: str, adapter: str | None = None) -> list[Example]:
    tokenizer = load_tokenizer(base, adapter)
    return [e for _, messages in ROWS if isinstance(e := encode(tokenizer, messages, 200), Example)]


def one_at_a_time(base: str, adapter: str, example: Example) -> tuple[dict[str, torch.Tensor], float]:
    """Autograd's own gradient of one example's mean completion loss, through the whole model."""
    model = load_model(base, adapter, "float32", is_trainable=True).eval()
    ids = torch.tensor([example.prompt_ids + example.completion_ids], device=model.device)
    logits = model(input_ids=ids).logits[0, len(example.prompt_ids) - 1 : -1]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(example.completion_ids, device=model.device))
    loss.backward()
    grads = {saved_name(n): p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    return grads, loss.item()


def batched(base: str, adapter: str, examples: list[Example]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    model = gradients.load_gradient_model(base, adapter, 0, "float32")
    found: dict[str, torch.Tensor] = {}
    losses = gradients.per_sample_gradients(model, pad(examples, 0, model.device), found.__setitem__)
    return {name: grads.cpu() for name, grads in found.items()}, losses.cpu()


def collect(base: str, adapter: str | None, rows: list, **settings: object) -> gradients.GradientBatch:
    (batch,) = gradients.stream_gradients(base, adapter, rows, SETTINGS.model_copy(update=settings))
    return batch


def test_batched_gradients_are_those_of_autograd_one_at_a_time(qwen: str, adapter: str) -> None:
    examples = encoded(qwen, adapter)
    assert len({example.num_tokens for example in examples}) > 3, "the batch is padded"
    found, losses = batched(qwen, adapter, examples)
    for n, example in enumerate(examples):
        exact, loss = one_at_a_time(qwen, adapter, example)
        assert set(found) == set(exact)
        ours = torch.cat([found[name][n].flatten() for name in sorted(exact)])
        theirs = torch.cat([exact[name].flatten() for name in sorted(exact)])
        assert (ours - theirs).norm() / theirs.norm() < 1e-5
        assert losses[n].item() == pytest.approx(loss, rel=1e-5)


def test_slices_of_the_head_change_nothing(qwen: str, adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = encoded(qwen, adapter)
    whole, losses = batched(qwen, adapter, examples)
    monkeypatch.setattr("training.completion_loss.POSITIONS_AT_ONCE", 7)
    sliced, sliced_losses = batched(qwen, adapter, examples)
    assert torch.allclose(losses, sliced_losses, rtol=1e-5)
    for name in whole:
        assert (whole[name] - sliced[name]).norm() <= 1e-5 * whole[name].norm()


def test_features_are_the_sketch_of_the_gradient(qwen: str, adapter: str) -> None:
    batch = collect(qwen, adapter, ROWS)
    exact, loss = one_at_a_time(qwen, adapter, encoded(qwen, adapter)[2])
    sketched = torch.zeros(512)
    for name, grad in exact.items():
        slots = sketch.slots(0, name, grad.numel(), 512, torch.device("cpu")).long()
        signs = torch.where(slots < 512, 1.0, -1.0)
        sketched.index_add_(0, slots % 512, signs * grad.flatten())
    norm = torch.cat([g.flatten() for g in exact.values()]).norm().item()
    assert batch.ids == [row_id for row_id, _ in ROWS]
    assert batch.norm_N[2] == pytest.approx(norm, rel=1e-5)
    assert batch.loss_N[2] == pytest.approx(loss, rel=1e-5)
    assert np.allclose(batch.unit_ND[2], (sketched / sketched.norm()).numpy(), atol=1e-3)
    assert np.allclose(np.linalg.norm(batch.unit_ND.astype(np.float32), axis=1), 1, atol=1e-3)
    assert (batch.unit_ND.dtype, batch.norm_N.dtype, batch.loss_N.dtype, batch.num_tokens_N.dtype) == (
        np.float16,
        np.float32,
        np.float32,
        np.int32,
    )


def test_features_depend_on_their_row_only(qwen: str, adapter: str) -> None:
    together = collect(qwen, adapter, ROWS)
    alone = collect(qwen, adapter, ROWS, batch_size=1)
    backwards = collect(qwen, adapter, ROWS[::-1], batch_size=5)
    order = [backwards.ids.index(row_id) for row_id in together.ids]
    for other, places in ((alone, list(range(8))), (backwards, order)):
        assert [other.ids[place] for place in places] == together.ids
        assert np.allclose(other.norm_N[places], together.norm_N, rtol=1e-5)
        assert np.allclose(other.loss_N[places], together.loss_N, rtol=1e-5)
        # One unit in the last place of float16 at 0.25.
        assert np.abs(other.unit_ND[places].astype(float) - together.unit_ND).max() <= 2.5e-4
    again = collect(qwen, adapter, ROWS)
    assert again.unit_ND.tobytes() == together.unit_ND.tobytes()


def test_windows_leave_in_the_order_of_the_rows(qwen: str, adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "ROWS_PER_WINDOW", 3)
    batches = list(gradients.stream_gradients(qwen, adapter, iter(ROWS), SETTINGS))
    assert [len(batch.ids) for batch in batches] == [3, 3, 2]
    assert [row_id for batch in batches for row_id in batch.ids] == [row_id for row_id, _ in ROWS]


def test_batches_are_bounded_by_rows_and_by_padded_tokens() -> None:
    examples = {n: Example([1] * length, [2]) for n, length in enumerate([9, 3, 59, 4, 9, 9, 3])}
    bound = Bound.of(GradientSettings(batch_size=3, batch_tokens=20), None, math.inf)
    found = [places for places, _ in in_batches(examples, bound, lambda places, is_recomputed: is_recomputed)]
    assert found == [[1, 6, 3], [0, 4], [5], [2]], "the longest row is over the bound and alone"


def test_a_template_that_leaves_the_answer_out_is_a_reject(qwen: str, adapter: str) -> None:
    tokenizer = load_tokenizer(qwen, adapter)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    assert encode(tokenizer, chat("add", "x = 1"), 200) == Flaw("all_masked", 0, 1)


def test_unusable_rows_are_reported_not_raised(qwen: str, adapter: str) -> None:
    bad = [("long", chat("add", "x = 1 " * 200)), ("blank", chat("add", " ")), ("none", [])]
    batch = collect(qwen, adapter, [ROWS[0], *bad, ROWS[1]])
    assert batch.ids == ["row-0", "row-1"]
    assert [(r.row, r.reason) for r in batch.rejects] == [
        ("long", "too_long"),
        ("blank", "empty_completion"),
        ("none", "empty"),
    ]
    assert batch.rejects[0].value > batch.rejects[0].threshold == 200
    only_bad = collect(qwen, adapter, bad)
    assert only_bad.unit_ND.shape == (0, 512) and len(only_bad.rejects) == 3


def test_the_sketch_keeps_inner_products_without_bias() -> None:
    generator = torch.Generator().manual_seed(0)
    x_P, y_P = torch.randn(2, 3000, generator=generator)
    y_P = 0.6 * x_P + 0.8 * y_P
    exact = (x_P @ y_P).item()
    estimates = []
    for seed in range(300):
        slots = sketch.slots(seed, "a", 3000, 64, torch.device("cpu"))
        sketch_N2D = torch.zeros(2, 128)
        sketch.add(sketch_N2D, slots, torch.stack([x_P, y_P]))
        sketched_ND = sketch.fold(sketch_N2D)
        estimates.append((sketched_ND[0] @ sketched_ND[1]).item())
    # Var <= (|x|^2 |y|^2 + <x,y>^2) / D. A lost sign or a skewed bucket exceeds 6 standard errors.
    deviation = ((x_P.square().sum() * y_P.square().sum() + exact**2) / 64).sqrt().item()
    assert abs(np.mean(estimates) - exact) < 6 * deviation / 300**0.5
    assert 0.7 * deviation < np.std(estimates) < 1.3 * deviation


def test_the_table_of_a_slot_adds_what_the_slots_add() -> None:
    vectors_NP = torch.randn(3, 5000, generator=torch.Generator().manual_seed(2))
    slots = sketch.slots(3, "a", 5000, 32, torch.device("cpu"))
    by_slot, by_table = torch.zeros(3, 64), torch.zeros(3, 64)
    sketch.add(by_slot, slots, vectors_NP)
    table = sketch.members(slots, 32)
    sketch.add(by_table, table, vectors_NP)
    assert torch.allclose(by_slot, by_table, atol=1e-4) and by_slot.abs().max() > 1
    assert sorted(table[table < 5000].tolist()) == list(range(5000)), "every coordinate once"
    assert sketch.folding(3, "a", 5000, 32, torch.device("cpu")).equal(slots)


def test_slots_are_the_integer_hash_and_even() -> None:
    slots = sketch.slots(7, "model.q_proj.lora_A.weight", 40_000, 100, torch.device("cpu"))
    key = int.from_bytes(hashlib.sha256(b"7 model.q_proj.lora_A.weight").digest()[:8], "little")
    for index in (0, 1, 39_999):  # splitmix64 in Python's own integers
        x = (index * 0x9E3779B97F4A7C15 + key) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        x ^= x >> 31
        assert slots[index] == (x >> 1) % 100 + (x & 1) * 100
    counts = torch.bincount(slots, minlength=200).float()
    assert counts.min() > 150 and counts.max() < 250, "200 expected, standard deviation 14"
    assert not torch.equal(slots, sketch.slots(8, "model.q_proj.lora_A.weight", 40_000, 100, slots.device))


def test_adam_map_is_that_of_less(qwen: str, adapter: str) -> None:
    optimizer = torch.load(Path(adapter) / "optimizer.pt", map_location="cpu", weights_only=True)
    names = json.loads((Path(adapter) / "parameter_names.json").read_text())
    name, place = next((n, i) for i, n in enumerate(names) if "lora_B" in n)
    m_OI, v_OI = optimizer["state"][place]["exp_avg"], optimizer["state"][place]["exp_avg_sq"]
    grads_NOI = torch.randn(2, *m_OI.shape, generator=torch.Generator().manual_seed(1))
    mapped = adam_map(adapter, torch.device("cpu"))(name, grads_NOI)
    expected = (0.9 * m_OI + 0.1 * grads_NOI[1]) / torch.sqrt(0.999 * v_OI + 0.001 * grads_NOI[1] ** 2 + 1e-8)
    assert torch.allclose(mapped[1], expected)
    adam, sgd = collect(qwen, adapter, ROWS, optimizer_map="adam"), collect(qwen, adapter, ROWS)
    assert (np.abs(adam.norm_N - sgd.norm_N) > 0.1 * sgd.norm_N).all()


def test_the_state_of_another_adapter_is_refused(adapter: str) -> None:
    mapped = adam_map(adapter, torch.device("cpu"))
    name = json.loads((Path(adapter) / "parameter_names.json").read_text())[0]
    with pytest.raises(ValueError, match="belongs to another adapter"):
        mapped(name, torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="has no other"):
        mapped("other", torch.zeros(1, 2, 2))


def test_adam_map_needs_its_state(qwen: str, adapter: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no adapter is given"):
        collect(qwen, None, ROWS, optimizer_map="adam")
    with pytest.raises(FileNotFoundError, match=r"has no optimizer.pt"):
        collect(qwen, str(tmp_path), ROWS, optimizer_map="adam")


def test_a_base_alone_gets_a_seeded_adapter(tmp_path: Path) -> None:
    base = tiny_llama(tmp_path / "llama")
    found = []
    for place, seed in enumerate((0, 0, 1)):
        torch.manual_seed(100 + place)  # the adapter's seed is its own
        found.append(collect(base, None, ROWS, seed=seed))
    first, again, other = found
    assert first.unit_ND.tobytes() == again.unit_ND.tobytes() != other.unit_ND.tobytes()
    assert (first.norm_N > 0).all()


@pytest.mark.parametrize(
    ("further", "named"),
    [
        ({"modules_to_save": ["lm_head"]}, "lm_head"),
        ({"use_dora": True}, "magnitude_vector"),
        ({"bias": "lora_only"}, "bias"),
        ({"trainable_token_indices": [1, 2]}, "trainable_tokens"),
    ],
)
def test_other_adapters_are_refused(qwen: str, tmp_path: Path, further: dict[str, Any], named: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(qwen)
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **further)
    get_peft_model(model, config).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=f"{named}.*below the head only"):
        collect(qwen, str(tmp_path / "other"), ROWS)


def test_a_model_that_scales_its_logits_is_refused(qwen: str) -> None:
    model = load_model(qwen, dtype="float32")
    check_head(model)
    model.register_forward_hook(lambda module, inputs, output: setattr(output, "logits", output.logits * 2))
    with pytest.raises(ValueError, match="changes its logits after the head"):
        check_head(model)


def test_features_are_named_by_what_makes_them_comparable() -> None:
    name = features_name(SETTINGS, "prompt")
    assert len(name) == 12
    assert features_name(SETTINGS.model_copy(update={"batch_size": 9}), "prompt") == name
    changes = ({"dimension": 64}, {"seed": 1}, {"optimizer_map": "adam"})
    others = [features_name(SETTINGS.model_copy(update=change), "prompt") for change in changes]
    assert len({name, features_name(SETTINGS, "other"), *others}) == 5


def test_heldout_loss_is_the_mean_over_samples(qwen: str, adapter: str, data: str) -> None:
    report = heldout.heldout_nll(qwen, adapter, data, split="train", max_tokens=200, batch_size=3)
    losses = [one_at_a_time(qwen, adapter, example)[1] for example in encoded(qwen, adapter)]
    assert report.nll == pytest.approx(np.mean(losses), rel=1e-5)
    assert report.losses == pytest.approx(losses, rel=1e-4), "in the order of the rows"
    assert report.num_rows == 8 and report.num_rejected == 0
    assert report.num_tokens == sum(len(e.completion_ids) for e in encoded(qwen, adapter))
    base = heldout.heldout_nll(qwen, None, data, split="train", max_tokens=200)
    assert base.nll > report.nll + 0.1, "the adapter was trained on these rows"
    short = heldout.heldout_nll(qwen, adapter, data, split="train", max_tokens=80)
    assert short.num_rejected > 0 and short.num_rows + short.num_rejected == 8
    kept = [loss for loss, e in zip(losses, encoded(qwen, adapter), strict=True) if e.num_tokens <= 80]
    assert 0 < len(kept) == short.num_rows
    assert short.nll == pytest.approx(np.mean(kept), rel=1e-5), "rejected rows are not in the mean"
