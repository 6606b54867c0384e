"""Engines over weights that are broken: an error that names model and request, and no answer."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from builders.engines import ChoiceRequest, OpenAISettings, Request, TransformersSettings, VllmSettings, open_engine
from builders.engines.choices import NoChoiceError, choice_body, probabilities
from builders.engines.protocol import path_and_body
from builders.engines.sampling import sample
from store.errors import JobError
from tests.engine_models import save_adapter, save_model

CHAT = ({"role": "user", "content": "How clear?"},)


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> tuple[str, dict[str, str]]:
    """A model that is all right, and two adapters. Those of `bad` are no numbers."""
    folder = tmp_path_factory.mktemp("broken")
    model = save_model(folder / "model", hidden_size=128)
    adapters = {name: save_adapter(model, folder / name, seed) for seed, name in enumerate(("bad", "good"))}
    path = Path(adapters["bad"], "adapter_model.safetensors")
    save_file({name: torch.full_like(matrix, math.nan) for name, matrix in load_file(path).items()}, path)
    return model, adapters


def test_transformers_names_the_broken_adapter(broken) -> None:
    model, adapters = broken
    with open_engine(TransformersSettings(num_threads=1, max_model_tokens=256), model, adapters) as engine:
        for temperature in (0.0, 1.0):
            asked = [Request(n, messages=CHAT, adapter=n, max_tokens=3, temperature=temperature) for n in adapters]
            assert next(iter(engine.generate(asked[1:]))).request_id == "good"
            with pytest.raises(JobError, match=rf"{adapters['bad']} answers request 'bad' with a probability .*nan"):
                list(engine.generate(asked))
        assert next(iter(engine.choose([ChoiceRequest("good", (CHAT, CHAT), adapter="good")]))).probabilities
        with pytest.raises(JobError, match=rf"{adapters['bad']} answers request 'bad' .*set the engine's dtype to fl"):
            list(engine.choose([ChoiceRequest("bad", (CHAT, CHAT), adapter="bad")]))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_row_of_the_head_is_seen_though_no_digit_is_broken(tmp_path: Path, value: float) -> None:
    model = save_model(tmp_path)
    path = Path(model, "model.safetensors")
    weights = load_file(path)
    weights["lm_head.weight"][300] = value
    save_file(weights, path, metadata={"format": "pt"})
    told = "answers request 'q' with a probability that is no number"
    settings = TransformersSettings(num_threads=1, max_model_tokens=256)
    with open_engine(settings, model) as engine, pytest.raises(JobError, match=told):
        list(engine.choose([ChoiceRequest("q", (CHAT, CHAT))]))


def test_vllm_names_the_broken_adapter(broken) -> None:
    pytest.importorskip("vllm", reason="vLLM is not in this environment")
    model, adapters = broken
    with open_engine(VllmSettings(max_model_tokens=256, enforce_eager=True), model, adapters) as engine:
        asked = [Request(n, messages=CHAT, adapter=n, max_tokens=3, temperature=0) for n in adapters]
        assert next(iter(engine.generate(asked[1:]))).request_id == "good"
        told = rf"{adapters['bad']} .or an adapter that was asked beside it. answers request 'bad' with a probability"
        with pytest.raises(JobError, match=told):
            list(engine.generate(asked[:1]))
        with pytest.raises(JobError, match=told):
            list(engine.choose([ChoiceRequest("bad", (CHAT, CHAT), adapter="bad")]))


def test_a_row_of_no_numbers_gets_a_token_and_a_logprob_that_is_none_either() -> None:
    logits_BV = torch.zeros(3, 5)
    logits_BV[1, 2], logits_BV[2, :] = math.inf, math.nan
    for temperature in (0.0, 1.0):
        draws = (torch.full((3,), temperature), torch.full((3,), 0.9), torch.full((3,), 0.999, dtype=torch.float64))
        tokens_B, logprobs_B = sample(logits_BV, *draws)
        assert tokens_B.max() < 5
        assert torch.isfinite(logprobs_B).tolist() == [True, False, False]


def test_an_endpoint_whose_logprobs_are_no_numbers_chose_nothing() -> None:
    top = [{"token": str(digit), "logprob": math.nan} for digit in range(10)]
    answer = {"choices": [{"message": {"content": ""}, "logprobs": {"content": [{"top_logprobs": top}]}}]}
    with pytest.raises(NoChoiceError):
        probabilities(answer, tuple("0123456789"))


def test_arguments_of_a_template_go_to_an_endpoint_with_every_chat(monkeypatch) -> None:
    arguments = {"enable_thinking": False}
    assert path_and_body(Request("1", messages=CHAT), "m", arguments)[1]["chat_template_kwargs"] == arguments
    assert choice_body(CHAT, "m", arguments)["chat_template_kwargs"] == arguments
    assert "chat_template_kwargs" not in choice_body(CHAT, "m", {})
    assert "chat_template_kwargs" not in path_and_body(Request("1", prompt="x"), "m", arguments)[1]
    assert OpenAISettings().base_url is None
