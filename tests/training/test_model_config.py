"""Attention is chosen here and not by a model's folder, and rows end where its positions end."""

import contextlib
import json
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    GPT2Config,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    PreTrainedModel,
)

from builders.engines import ChoiceRequest, Request, TransformersSettings, open_engine
from builders.engines.tokenizing import encode_choices, encode_requests, place_of
from tests.engine_models import save_tokenizer
from tests.tiny_models import tiny_qwen
from training import gradients, heldout, sft
from training.completion_loss import hidden_states, pad, sample_losses
from training.examples import Example, load_model, load_tokenizer
from training.model_config import attention, longest, positions
from training.pretrained import read_model
from training.settings import GradientSettings, LoraSettings, SftSettings

DIGITS = tuple("0123456789")
QUESTIONS = [({"role": "user", "content": text},) for text in ("Say 1.", "Say 12, for each of 345.")]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


def change(folder: str | Path, **values: object) -> None:
    """Write values into a folder's config.json."""
    file = Path(folder, "config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def capped(folder: Path) -> str:
    """The folder of a random Gemma 2 whose attention depends on its soft cap."""
    tokenizer = save_tokenizer(folder)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    caps = {"attn_logit_softcapping": 1.0, "final_logit_softcapping": None, "query_pre_attn_scalar": 8}
    torch.manual_seed(0)
    config = Gemma2Config(vocab_size=320, num_hidden_layers=2, initializer_range=0.5, **SIZES, **caps, **ids)
    Gemma2ForCausalLM(config).save_pretrained(folder)
    return str(folder)


def without_sdpa(folder: Path) -> str:
    """The folder of a random model for which transformers has no sdpa."""
    tokenizer = save_tokenizer(folder)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    experts = {"num_local_experts": 2, "num_experts_per_tok": 1}
    torch.manual_seed(0)
    config = GptOssConfig(vocab_size=320, num_hidden_layers=2, initializer_range=0.3, **SIZES, **experts, **ids)
    GptOssForCausalLM(config).save_pretrained(folder)
    return str(folder)


@cache
def loaded(place: str, implementation: str) -> PreTrainedModel:
    """The model as transformers itself loads it."""
    return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, attn_implementation=implementation).eval()


@torch.inference_mode()
def logits(place: str, implementation: str, ids: list[int]) -> torch.Tensor:
    """The logits after each token."""
    return loaded(place, implementation)(input_ids=torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("named", ["kernels-community/flash-attn", "flash_attention_2", "flex_attention", "eager"])
def test_the_folder_does_not_choose_the_attention(tmp_path: Path, key: str, named: str):
    folder = tiny_qwen(tmp_path / "model")
    change(folder, **{key: named})
    assert read_model(folder, torch.float32).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("make", [capped, without_sdpa])
def test_engine_answers_as_with_eager_attention(tmp_path: Path, make):
    folder = make(tmp_path / "model")
    assert load_model(folder, dtype="float32").config._attn_implementation == "eager"
    with open_engine(TransformersSettings(dtype="float32"), folder) as engine:
        (choice,) = engine.choose([ChoiceRequest("1", QUESTIONS, DIGITS)])
        asked = [Request(str(n), prompt=text, max_tokens=9, temperature=0) for n, text in enumerate(("def", "a = 1"))]
        written = {completion.request_id: completion for completion in engine.generate(asked)}
    tokenizer = load_tokenizer(folder)
    digit_ids = list(place_of(tokenizer, DIGITS).token_ids)
    for found, ids in zip(choice.probabilities, encode_choices(tokenizer, DIGITS, QUESTIONS), strict=True):
        expected = logits(folder, "eager", ids)[-1][digit_ids].softmax(-1)
        assert torch.allclose(torch.tensor(found).float(), expected, atol=1e-5)
    for request, ids in zip(asked, encode_requests(tokenizer, asked), strict=True):
        logprob, seen = 0.0, list(ids)
        for _ in range(written[request.request_id].num_completion_tokens):
            values, places = logits(folder, "eager", seen)[-1].log_softmax(-1).max(-1)
            logprob, seen = logprob + values.item(), [*seen, int(places)]
        assert written[request.request_id].logprob == pytest.approx(logprob, abs=1e-3)


def test_training_losses_are_those_of_eager_attention(tmp_path: Path):
    folder = capped(tmp_path / "model")
    example = Example([5, 60, 7, 90, 12], [33, 44, 200, 17])
    model = load_model(folder, dtype="float32")
    batch = pad([example], 0, model.device)
    with torch.no_grad():
        (found,) = sample_losses(model, hidden_states(model, batch), batch).tolist()

    def loss(attention: str) -> float:
        logits_TV = logits(folder, attention, example.prompt_ids + example.completion_ids)[4:-1]
        return torch.nn.functional.cross_entropy(logits_TV, torch.tensor(example.completion_ids)).item()

    assert found == pytest.approx(loss("eager"), abs=1e-4)
    # transformers 5.24 refuses sdpa for such a model by itself
    with contextlib.suppress(ValueError):
        assert abs(found - loss("sdpa")) > 1e-2, "sdpa leaves the cap out, or this test proves nothing"


def test_a_cap_in_a_part_of_the_configuration_counts():
    assert attention(Gemma3Config()) is None
    assert attention(Gemma3Config(text_config={"attn_logit_softcapping": 50.0})) == "eager"
    assert attention(Gemma2Config()) == "eager"
    assert attention(Gemma2Config(attn_logit_softcapping=None)) is None


def test_positions_are_found_by_any_name_and_in_any_part():
    assert positions(LlamaConfig(max_position_embeddings=77)) == 77
    assert positions(GPT2Config(n_positions=33)) == 33
    assert positions(Gemma3Config(text_config={"max_position_embeddings": 55})) == 55
    assert positions(BloomConfig()) is None
    assert [longest(GPT2Config(n_positions=33), n) for n in (32, 34)] == [32, 33]
    assert longest(BloomConfig(), 2048) == 2048


def test_rows_beyond_the_positions_are_rejected_everywhere(tmp_path: Path):
    folder = tiny_qwen(tmp_path / "model")
    rows = [
        [{"role": "user", "content": f"add {n}"}, {"role": "assistant", "content": "x = 1\n" * length}]
        for n, length in enumerate((2, 3, 20, 4))
    ]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"messages": rows}), tmp_path / "data" / "train.parquet")
    change(folder, max_position_embeddings=80)
    lora = LoraSettings(r=2)
    settings = SftSettings(epochs=1, batch_size=2, max_tokens=300, lora=lora, dtype="float32", num_checkpoints=1)
    report = sft.train(str(tmp_path / "data"), folder, str(tmp_path / "run"), settings)
    measured = heldout.heldout_nll(folder, None, str(tmp_path / "data"), "train", max_tokens=300)
    (batch,) = gradients.stream_gradients(
        folder, None, list(enumerate(rows)), GradientSettings(dimension=64, max_tokens=300)
    )
    for rejects in (report.rejects, measured.rejects, batch.rejects):
        assert [(r.row, r.reason, r.threshold) for r in rejects] == [(2, "too_long", 80)]
        assert rejects[0].value > 80
    assert report.num_rows == measured.num_rows == len(batch.ids) == 3
    with pytest.raises(ValueError, match="a row has room for 80 tokens"):
        heldout.heldout_nll(folder, None, _only(rows[2], tmp_path / "long"), "train", max_tokens=300)


def _only(row: list[dict[str, str]], folder: Path) -> str:
    folder.mkdir()
    pq.write_table(pa.table({"messages": [row]}), folder / "train.parquet")
    return str(folder)
