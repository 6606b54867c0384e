"""The transformers engine on tiny real models.

Its bits repeat, its sampling is exact, and adapters and choices agree with the model itself.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders.engines import ChoiceRequest, Engine, Request, TransformersSettings, VllmSettings, open_engine
from builders.engines.sampling import nucleus, sample
from builders.engines.tokenizing import common_prefix_length
from builders.engines.transformers import _Row
from tests.engine_models import save_adapter, save_model, save_model_with_learned_positions

PROMPTS = (
    "def add(a, b):\n",
    "for i in",
    "Write a function",
    "x",
    "How clear is the problem? Answer",
    "1 + 2",
)
SETTINGS = TransformersSettings(micro_batch=4, max_model_tokens=256, num_threads=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapters(model, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("adapters")
    return {f"step-{seed}.5": save_adapter(model, folder / str(seed), seed) for seed in (1, 2)}


@pytest.fixture(scope="module")
def engine(model, adapters) -> Iterator[Engine]:
    with open_engine(SETTINGS, model, adapters) as engine:
        yield engine


def answers(engine: Engine, requests: list[Request]) -> dict:
    completions = list(engine.generate(requests))
    by_id = {completion.request_id: completion for completion in completions}
    assert len(by_id) == len(completions) == len(requests)
    return by_id


def greedy(model, tokenizer, prompt: str, num_tokens: int) -> list[int]:
    ids = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**ids, do_sample=False, max_new_tokens=num_tokens)
    return output[0, ids["input_ids"].shape[1] :].tolist()


def text_of(tokenizer, token_ids: list[int]) -> str:
    return tokenizer.decode(token_ids, skip_special_tokens=True)


def test_same_requests_give_the_same_bits(model, adapters, engine):
    requests = [
        Request(
            f"r{i}",
            prompt=PROMPTS[i % 6],
            adapter=[None, *adapters][i % 3],
            max_tokens=5 + i,
            seed=i,
            top_p=0.9,
        )
        for i in range(40)
    ]
    first = answers(engine, requests)
    with open_engine(SETTINGS, model, adapters) as another:
        # An earlier call must leave nothing behind: no generator state, no adapter, no cache.
        answers(another, requests[:3])
        assert answers(another, requests) == first


def test_temperature_zero_is_the_greedy_decoding_of_transformers(model, engine):
    requests = [
        Request(f"r{i}", prompt=prompt, max_tokens=8 + 5 * i, temperature=0) for i, prompt in enumerate(PROMPTS)
    ]
    found = answers(engine, requests)
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    for request in requests:
        tokens = greedy(plain, tokenizer, request.prompt, request.max_tokens)
        assert found[request.request_id].text == text_of(tokenizer, tokens)
        assert found[request.request_id].num_completion_tokens == len(tokens)


def test_padding_does_not_shift_learned_positions(tmp_path):
    model = save_model_with_learned_positions(tmp_path)
    requests = [Request(f"r{i}", prompt=prompt, max_tokens=12, temperature=0) for i, prompt in enumerate(PROMPTS)]
    # One short row beside one that fills all 64 positions. The short one is carried on, and must
    # not pass the last position.
    requests += [Request("full", prompt="1" * 52, max_tokens=12), Request("short", prompt="1" * 60, max_tokens=4)]
    with open_engine(SETTINGS, model) as engine:
        found = answers(engine, requests)
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    for request in requests[: len(PROMPTS)]:
        assert found[request.request_id].text == text_of(tokenizer, greedy(plain, tokenizer, request.prompt, 12))
    assert {found["full"].finish_reason, found["short"].finish_reason} <= {"length", "stop"}
    too_long = Request("r", prompt="1" * 60, max_tokens=5)
    with open_engine(SETTINGS, model) as engine:
        assert answers(engine, [too_long])["r"].finish_reason == "prompt_too_long"


def test_adapters_are_those_of_peft_and_differ(model, adapters, engine):
    names = [None, *adapters]
    requests = [
        Request(f"{name}-{i}", prompt=PROMPTS[i], adapter=name, max_tokens=20, temperature=0)
        for i in range(len(PROMPTS))
        for name in names
    ]
    found = answers(engine, requests)
    tokenizer = AutoTokenizer.from_pretrained(model)
    for name, path in adapters.items():
        plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), path)
        for i, prompt in enumerate(PROMPTS):
            assert found[f"{name}-{i}"].text == text_of(tokenizer, greedy(plain, tokenizer, prompt, 20))
    texts = {name: [found[f"{name}-{i}"].text for i in range(len(PROMPTS))] for name in names}
    assert len({tuple(per_name) for per_name in texts.values()}) == 3


def test_unknown_adapter_is_named(engine):
    with pytest.raises(ValueError, match=r"\['step-9'\] are unknown.*step-1\.5"):
        list(engine.generate([Request("r", prompt="x", adapter="step-9")]))


def test_logprob_is_that_of_a_plain_forward_pass(model, engine):
    # One micro-batch of different lengths and ends: padding, cache and dropped rows must not show.
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    rows = [
        _Row(
            Request(f"r{i}", prompt=prompt, max_tokens=3 + 6 * i, seed=i, temperature=0.7),
            tokenizer(prompt)["input_ids"],
        )
        for i, prompt in enumerate(PROMPTS)
    ]
    with engine._adapters.selected(None) as loaded:
        engine._decode_batch(loaded, rows)
    assert max(len(row.token_ids) for row in rows) > 20
    for row in rows:
        with torch.inference_mode():
            logits = plain(torch.tensor([row.prompt_ids + row.token_ids])).logits[0, len(row.prompt_ids) - 1 : -1]
        logprobs = torch.log_softmax(logits, dim=-1)[torch.arange(len(row.token_ids)), row.token_ids]
        assert row.logprob == pytest.approx(logprobs.sum().item(), abs=1e-3)


def test_chats_are_rendered_with_the_template(model, engine):
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add two numbers."})
    rendered = "<|system|>Be brief.<|end|><|user|>Add two numbers.<|end|><|assistant|>"
    found = answers(
        engine,
        [
            Request("chat", messages=messages, max_tokens=12, temperature=0),
            Request("raw", prompt=rendered, max_tokens=12, temperature=0),
        ],
    )
    assert found["chat"].text == found["raw"].text
    assert found["chat"].num_prompt_tokens == found["raw"].num_prompt_tokens > 10


def test_seeds_differ_and_repeat(engine):
    requests = [Request(f"r{i}", prompt="def add", max_tokens=24, seed=i // 2) for i in range(16)]
    found = answers(engine, requests)
    texts = [found[f"r{i}"].text for i in range(16)]
    assert texts[::2] == texts[1::2]
    assert len(set(texts)) == 8


def test_text_ends_before_a_stop_string(engine):
    plain = answers(engine, [Request("r", prompt="def add", max_tokens=40, seed=3)])["r"]
    stop = plain.text[12:15]
    cut = answers(engine, [Request("r", prompt="def add", max_tokens=40, seed=3, stop=("absent", stop))])["r"]
    assert cut.text == plain.text[: plain.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.num_completion_tokens < plain.num_completion_tokens


def test_end_tokens_end_a_completion(engine):
    found = answers(engine, [Request(f"r{i}", prompt="x", max_tokens=120, seed=i, temperature=2.0) for i in range(16)])
    stopped = [completion for completion in found.values() if completion.finish_reason == "stop"]
    assert stopped and all(completion.num_completion_tokens <= 120 for completion in stopped)
    assert any(completion.num_completion_tokens < 120 for completion in stopped)
    assert not any("<|end|>" in completion.text for completion in stopped)
    by_length = [completion for completion in found.values() if completion.finish_reason == "length"]
    assert all(completion.num_completion_tokens == 120 for completion in by_length)


def test_a_prompt_that_leaves_no_room_is_an_answer(engine):
    found = answers(
        engine,
        [Request("long", prompt="1" * 250, max_tokens=7), Request("fits", prompt="1" * 250, max_tokens=6)],
    )
    assert (found["long"].finish_reason, found["long"].num_prompt_tokens) == ("prompt_too_long", 250)
    assert found["long"].num_completion_tokens == 0
    assert found["fits"].finish_reason in ("stop", "length")


def test_requests_are_read_as_answers_are_consumed(engine):
    read = []

    def endless() -> Iterator[Request]:
        while True:
            read.append(len(read))
            yield Request(f"r{len(read)}", prompt="x", max_tokens=1)

    stream = engine.generate(endless())
    for _ in range(33):
        next(stream)
    assert len(read) == 64


def test_sampled_tokens_follow_the_distribution():
    logits_BV = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(20_000, 4)
    generator = torch.Generator().manual_seed(0)
    uniform_B = torch.rand(20_000, generator=generator, dtype=torch.float64)
    ones_B = torch.ones(20_000)
    for temperature, top_p in ((1.0, 1.0), (2.0, 1.0), (1.0, 0.85)):
        tokens_B, logprobs_B = sample(logits_BV, ones_B * temperature, ones_B * top_p, uniform_B)
        expected_V = torch.softmax(logits_BV[0] / temperature, dim=-1)
        if top_p < 1:
            expected_V = expected_V * torch.tensor([1.0, 1.0, 0.0, 0.0])  # 0.64 + 0.24 >= 0.85
        frequency_V = torch.bincount(tokens_B, minlength=4) / 20_000
        assert torch.allclose(frequency_V, expected_V / expected_V.sum(), atol=0.015)
        assert torch.equal(logprobs_B, torch.log_softmax(logits_BV, dim=-1)[torch.arange(20_000), tokens_B])


def test_the_nucleus_is_whole_beyond_the_guess():
    probs_BV = torch.softmax(torch.linspace(0, 1, 3000), dim=-1).expand(2, 3000)
    kept_BV = nucleus(probs_BV, torch.tensor([0.5, 1.0]))
    assert 0.5 <= kept_BV[0].sum() < 0.5 + 2 * probs_BV.max()
    assert torch.equal(kept_BV[0].nonzero().squeeze(1), torch.arange(3000 - int((kept_BV[0] > 0).sum()), 3000))
    assert torch.equal(kept_BV[1], probs_BV[1])


def test_extreme_random_numbers_give_tokens_of_positive_probability():
    logits_BV = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(2, 4)
    tokens_B, _ = sample(logits_BV, torch.ones(2), torch.ones(2), torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert tokens_B.tolist() == [1, 2]


@pytest.mark.parametrize("with_adapter", [False, True])
def test_choices_equal_a_full_forward_pass(model, adapters, engine, with_adapter):
    name = next(iter(adapters)) if with_adapter else None
    code = "def add(a, b):\n    return a + b\n" * 3
    questions = tuple(
        ({"role": "user", "content": f"{code}How {aspect} is it?"},) for aspect in ("clear", "hard and new", "useful")
    )
    request = ChoiceRequest("c", questions, adapter=name)
    (answer,) = engine.choose([request])
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    if name:
        plain = PeftModel.from_pretrained(plain, adapters[name])
    digit_ids = tokenizer.convert_tokens_to_ids(list("0123456789"))
    num_tokens = 0
    for question, row, mass in zip(questions, answer.probabilities, answer.masses, strict=True):
        ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        num_tokens += ids["input_ids"].shape[1]
        with torch.inference_mode():
            logits = plain(**ids).logits[0, -1]
        assert torch.allclose(torch.tensor(row), torch.softmax(logits[digit_ids], dim=-1), atol=1e-5)
        assert mass == pytest.approx(float(torch.softmax(logits, dim=-1)[digit_ids].sum()), abs=1e-5) and mass < 0.9
    assert answer.num_prompt_tokens == num_tokens
    assert list(engine.choose([request])) == [answer]
    assert len(set(answer.probabilities)) == 3


def test_one_question_that_equals_another_is_still_asked(engine):
    question = ({"role": "user", "content": "How clear?"},)
    (twice,) = engine.choose([ChoiceRequest("c", (question, question))])
    (once,) = engine.choose([ChoiceRequest("c", (question,))])
    assert twice.probabilities[0] == pytest.approx(twice.probabilities[1], abs=1e-6)
    assert twice.probabilities[0] == pytest.approx(once.probabilities[0], abs=1e-5)


def test_a_choice_of_several_tokens_is_named(engine):
    question = ({"role": "user", "content": "How clear?"},)
    with pytest.raises(ValueError, match=r"not single tokens for .*\['1', '0', '<\|end\|>'\]"):
        list(engine.choose([ChoiceRequest("c", (question,), choices=("9", "10"))]))


def test_a_question_that_is_too_long_is_an_answer(engine):
    question = ({"role": "user", "content": "1" * 300},)
    (answer,) = engine.choose([ChoiceRequest("c", (question,))])
    assert (answer.probabilities, answer.finish_reason) == (None, "prompt_too_long")
    assert answer.num_prompt_tokens > 300


def test_common_prefix_leaves_each_sequence_a_token():
    assert common_prefix_length([[1, 2, 3], [1, 2, 4, 5]]) == 2
    assert common_prefix_length([[1, 2], [1, 2]]) == 1
    assert common_prefix_length([[1, 2], [3, 4]]) == 0
    assert common_prefix_length([[7]]) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": "x", "messages": ({},)},
        {"prompt": ""},
        {"prompt": "x", "top_p": 0},
        {"prompt": "x", "stop": "no"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValueError, match="request 'r'"):
        Request("r", **fields)


def test_the_seam_loads_no_heavy_module():
    code = "import sys, builders.engines as e; print(sorted({'torch', 'transformers', 'aiohttp', 'vllm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_vllm_that_is_missing_says_how_to_install_it():
    try:
        import vllm  # noqa: F401  # only where it is absent can its absence be tested
    except ImportError:
        with pytest.raises(ImportError, match="pip install vllm"):
            open_engine(VllmSettings(), "any")


def test_the_number_of_threads_is_put_back(model: str) -> None:
    before = torch.get_num_threads()
    with open_engine(TransformersSettings(num_threads=before + 1), model):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
