"""One encoder: for eight families, what is trained is what is asked, or a refusal says why."""

import json
from datetime import datetime
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from builders.engines.opening import open_engine
from builders.engines.settings import TransformersSettings
from builders.engines.tokenizing import encode_choices, encode_requests, end_ids
from builders.engines.types import ChoiceRequest, Request
from store.errors import InputError
from tests.chat_families import CHATML, FAMILIES, TEMPLATES, tokenizer
from tests.small_training import trains_here
from tests.tiny_models import SHAPE
from training import scorer, sft
from training.encoding import choice_place, encoder, render
from training.errors import TrainingError
from training.examples import Example, Flaw, encode, load_tokenizer
from training.settings import LoraSettings, SftSettings
from training.tokenizer_files import lost, read_tokenizer

DIGITS = tuple("0123456789")
CODE = "def add(a, b):\n    return a + b"
ANSWERS = (CODE, f"```python\n{CODE}\n```", "Write it.", "7", "[1, 2]", "\ndef f(): ...", '"""Text."""\n')

# The text that stands between the prompt as rendered and the answer, the token that ends it, and
# whether a family's template prints the day.
FOUND = {
    "llama3": ("", "<|eot_id|>", 0, True),
    "qwen2.5": ("", "<|im_end|>", 1, False),
    "qwen2.5-base": ("", "<|im_end|>", 1, False),
    "qwen3": ("<think>\n\n</think>\n\n", "<|im_end|>", 1, False),
    "mistral": ("", "</s>", 0, False),
    "deepseek-coder": ("", "<|EOT|>", 1, False),
    "smollm2": ("", "<|im_end|>", 1, False),
    "gemma": ("", "<end_of_turn>", 1, False),
    "phi": ("", "<|end|>", 2, False),
}


def save(folder: Path, made: PreTrainedTokenizerFast) -> str:
    """The folder of a small Llama with a tokenizer."""
    torch.manual_seed(0)
    ids = {"eos_token_id": made.eos_token_id, "bos_token_id": made.bos_token_id}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(made), **SHAPE, **ids)).save_pretrained(folder)
    made.save_pretrained(folder)
    return str(folder)


def chat(answer: str, question: str = "Write a function.") -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def trained(made, answer: str, question: str = "Write a function.") -> Example:
    example = encode(made, chat(answer, question), 1000)
    assert isinstance(example, Example), example
    return example


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def test_each_family_has_its_checks(family: str) -> None:
    found = encoder(tokenizer(family))
    assert found.obstacle is None
    end = found.tokenizer.decode([found.end_id])
    assert (found.lead_asked, end, found.num_after, found.is_dated) == FOUND[family]


def test_every_family_is_trained_on_the_tokens_that_it_is_asked(family: str) -> None:
    made = tokenizer(family)
    for answer in ANSWERS:
        example = trained(made, answer)
        (asked,) = encode_requests(made, [Request("1", messages=tuple(chat("")[:1]))])
        assert example.prompt_ids == asked
        assert made.decode(example.completion_ids[:-1]).strip() == answer.strip()
        assert set(example.completion_ids[-1:]) == end_ids(made), "the engine stops at the last trained token"
        assert not end_ids(made) & set(example.completion_ids[:-1])


@pytest.mark.parametrize("question", ["How clear?", "x = 1\n\n", "{}"])
def test_every_family_reads_the_digit_where_it_was_trained(family: str, question: str) -> None:
    made = tokenizer(family)
    (asked,) = encode_choices(made, DIGITS, [chat("", question)[:1]])
    for digit, token in zip(DIGITS, choice_place(made, DIGITS).token_ids, strict=True):
        example = trained(made, digit, question)
        ids = example.prompt_ids + example.completion_ids
        assert ids[: len(asked) + 1] == [*asked, token]
        assert made.decode([token]) == digit


def test_a_blank_that_joins_the_first_word_stays_with_the_answer() -> None:
    mistral = tokenizer("mistral")
    assert mistral.decode(trained(mistral, CODE).completion_ids[:1]) == " def"
    lead = choice_place(mistral, DIGITS).lead_ids
    assert [mistral.decode([token]) for token in lead] == [" "], "the digit is read after the blank"


def test_thoughts_of_a_row_are_a_reason() -> None:
    flaw = encode(tokenizer("qwen3"), chat(f"<think>\nSimple.\n</think>\n\n{CODE}"), 1000)
    assert isinstance(flaw, Flaw) and "</think>" in flaw.reason and "begin" in flaw.reason


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_a_refused_turn_has_the_words_of_the_template(name: str) -> None:
    turns = [{"role": "system", "content": "Be short."}, *chat(CODE)]
    flaw = encode(tokenizer(name), turns, 1000)
    words = {"gemma": "System role not supported", "mistral": "Conversation roles must alternate"}[name]
    assert isinstance(flaw, Flaw) and f"refuses the turns system, user: {words}" in flaw.reason
    with pytest.raises(TrainingError, match=words):
        encode_requests(tokenizer(name), [Request("1", messages=tuple(turns[:2]))])


def test_choices_of_several_tokens_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"not single tokens for 'qwen2.5'.*'1', '0'"):
        choice_place(tokenizer("qwen2.5"), ("9", "10"))


def scores_of_ten(joined: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """Its template writes a score as `7/10`, and some digits are one token with the slash."""
    made = tokenizer("qwen2.5", CHATML.replace("{{ message['content'] }}", "{{ message['content'] }}/10"))
    made.add_tokens(list(joined))
    return made


def test_digits_that_are_no_single_tokens_where_they_stand_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_here(monkeypatch)
    assert choice_place(scores_of_ten(()), DIGITS).lead_ids == ()
    with pytest.raises(TrainingError, match="not single tokens"):
        choice_place(scores_of_ten(("7/",)), DIGITS)
    base = save(tmp_path / "base", scores_of_ten(("7/",)))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(json.dumps({"messages": chat("7", "How clear?")}))
    with pytest.raises(TrainingError, match="not single tokens"):
        scorer.train(str(tmp_path / "data"), base, str(tmp_path / "out"))
    with (
        open_engine(TransformersSettings(max_model_tokens=300), base) as engine,
        pytest.raises(InputError, match="not single tokens"),
    ):
        list(engine.choose([ChoiceRequest("1", (tuple(chat("", "How clear?")[:1]),))]))


def test_the_prompt_is_the_same_on_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    made, texts = tokenizer("llama3"), set()
    for day in (datetime(2001, 2, 3), datetime(2032, 10, 30)):
        clock = type("Clock", (datetime,), {"now": classmethod(lambda cls, day=day: day)})
        monkeypatch.setattr(chat_template_utils, "datetime", clock)
        plain = made.apply_chat_template(chat(CODE)[:1], tokenize=False)
        assert f"Today Date: {day:%d %b %Y}" in plain, "transformers asks this clock"
        texts.add(render(made, chat(CODE)[:1]))
    (text,) = texts
    assert "Today Date: 26 Jul 2024" in text


class WithClock(PreTrainedTokenizerFast):
    """A tokenizer that renders its own template and asks the clock."""

    def apply_chat_template(self, *args, chat_template=None, **options):
        return super().apply_chat_template(*args, **options)


def test_a_prompt_of_the_day_that_cannot_be_fixed_is_refused() -> None:
    made = WithClock(tokenizer_object=tokenizer("llama3")._tokenizer, eos_token="<|eot_id|>", bos_token="<s>")
    made.chat_template = TEMPLATES["llama3"]
    with pytest.raises(TrainingError, match="another prompt on another day"):
        encode(made, chat(CODE), 1000)


def test_a_template_without_an_end_is_refused() -> None:
    made = tokenizer("qwen2.5", CHATML.replace("<|im_end|>", ""))
    with pytest.raises(TrainingError, match="generation would never stop"):
        encode(made, chat(CODE), 1000)


def test_what_a_plan_says(family: str) -> None:
    said = encoder(tokenizer(family)).changes()
    lead, _, num_after, is_dated = FOUND[family]
    assert (said is None) == (family == "mistral")
    assert (f"lead {lead!r}" in str(said)) == bool(lead) and ("date 2024-07-26" in str(said)) == is_dated
    assert (f"{num_after} tokens after the end" in str(said)) == bool(num_after)


# --- tokenizers of folders


def deepseek_folder(folder: Path) -> Path:
    """A byte-level tokenizer whose folder names Llama's class, as deepseek-coder-6.7b-base does."""
    made = tokenizer("deepseek-coder")
    made.save_pretrained(folder)
    LlamaConfig(**SHAPE, vocab_size=len(made)).save_pretrained(folder)
    config = {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|EOT|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"add_bos_token": True, "legacy": True}))
    return folder


def test_a_folder_that_names_the_wrong_class_is_loaded_right(tmp_path: Path) -> None:
    folder = deepseek_folder(tmp_path / "deepseek-coder")
    made = load_tokenizer(str(folder))
    text = "def fib(n):\n    if n < 2:\n        return n\n"
    assert made.decode(made(text, add_special_tokens=False)["input_ids"]) == text
    assert made.decode(trained(made, text).completion_ids).startswith(text)
    made.save_pretrained(tmp_path / "saved")
    LlamaConfig(**SHAPE).save_pretrained(tmp_path / "saved")
    again = read_tokenizer(str(tmp_path / "saved"))
    assert lost(again) is None and again(text)["input_ids"] == made(text)["input_ids"]


def test_a_tokenizer_that_loses_text_is_refused(tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "def": 2}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>").save_pretrained(tmp_path)
    with pytest.raises(TrainingError, match=r"loses text.*comes back as"):
        read_tokenizer(str(tmp_path))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_no_family_loses_text(name: str) -> None:
    assert lost(tokenizer(name)) is None


# --- a ChatML base whose eos is another token


@pytest.mark.parametrize("lora", [None, LoraSettings(r=16, alpha=32)], ids=["full", "lora"])
def test_a_model_stops_where_its_training_texts_stop(tmp_path: Path, lora: LoraSettings | None) -> None:
    base = save(tmp_path / "base", tokenizer("qwen2.5-base"))
    rows = [{"messages": chat("return 1", f"add {i}")} for i in range(4)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = SftSettings(epochs=40, learning_rate=1e-2, batch_size=4, max_tokens=200, lora=lora, dtype="float32")
    report = sft.train(str(tmp_path / "data"), base, str(tmp_path / "out"), settings)
    folder = tmp_path / "out" / report.checkpoints[-1].folder
    made = read_tokenizer(base)
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [
        made.eos_token_id,
        made.convert_tokens_to_ids("<|im_end|>"),
    ]
    model, adapters, name = (str(folder), {}, None) if lora is None else (base, {"a": str(folder)}, "a")
    with open_engine(TransformersSettings(max_model_tokens=300), model, adapters) as engine:
        asked = Request("1", messages=tuple(rows[3]["messages"][:1]), adapter=name, max_tokens=60, temperature=0.0)
        (answer,) = engine.generate([asked])
    assert (answer.text, answer.finish_reason) == ("return 1", "stop")


# --- texts that a template or a tokenizer changes


@pytest.mark.parametrize(
    "family, question, answer",
    [
        pytest.param("llama3", "Write it.", "    return x\n", id="a template that trims an indented answer"),
        pytest.param("gemma", "    def f(x):\n        pass", "x", id="a template that trims an indented question"),
    ],
)
def test_a_row_whose_text_the_template_changes_is_a_reject(family: str, question: str, answer: str) -> None:
    row = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    flaw = encode(tokenizer(family), row, 1000)
    assert isinstance(flaw, Flaw) and "chat template changes the text of the " in flaw.reason


@pytest.mark.parametrize(
    "changed",
    [
        "{{ m['content'] | e }}",
        "{{ m['content'] | truncate(40) }}",
        "{{ m['content'][:40] }}",
        "{{ m['content'] | wordwrap(20) }}",
    ],
)
def test_a_template_that_changes_questions_leaves_no_row(changed: str) -> None:
    made = tokenizer("qwen2.5", CHATML.replace("{{ message['content'] }}", changed.replace("m[", "message[")))
    row = [
        {"role": "user", "content": "Is a < b? " + "It depends on a and b. " * 20},
        {"role": "assistant", "content": "7"},
    ]
    flaw = encode(made, row, 1000)
    assert isinstance(flaw, Flaw) and flaw.reason == "the chat template changes the text of the user"


def test_a_turn_that_the_template_leaves_out_is_a_reject() -> None:
    skips = "{% for message in messages if message.role != 'system' %}"
    made = tokenizer("qwen2.5", CHATML.replace("{% for message in messages %}", skips))
    row = [{"role": "system", "content": "Be short."}, *chat(CODE)]
    flaw = encode(made, row, 1000)
    assert isinstance(flaw, Flaw) and flaw.reason == "the chat template changes the text of the system"


@pytest.mark.parametrize("normalizer", [normalizers.NFKC(), normalizers.StripAccents(), normalizers.Replace("²", "2")])
def test_a_row_whose_text_the_tokenizer_changes_is_a_reject(normalizer: normalizers.Normalizer) -> None:
    made = tokenizer("qwen2.5")
    made.backend_tokenizer.normalizer = normalizer
    assert isinstance(encode(made, chat(CODE), 1000), Example)
    flaw = encode(made, chat("x = 'ﬁ²e\u0301é'"), 1000)
    assert isinstance(flaw, Flaw) and flaw.reason == "the tokenizer changes the text of the assistant"


def test_an_end_token_that_takes_the_blanks_beside_it_makes_rejects() -> None:
    made = tokenizer("phi")
    takes = [AddedToken(word, rstrip=True, special=True, normalized=False) for word in ("<|user|>", "<|assistant|>")]
    made.backend_tokenizer.add_special_tokens(takes)
    flaw = encode(made, [{"role": "user", "content": "    def f(x):\n        pass"}, chat("x")[1]], 1000)
    assert isinstance(flaw, Flaw) and flaw.reason == "the tokenizer changes the text of the user"


@pytest.mark.parametrize("before", ["\n", "\n\n\n", "```"])
def test_a_line_break_or_a_fence_is_never_the_end_of_an_answer(before: str) -> None:
    template = TEMPLATES["deepseek-coder"].replace("\n<|EOT|>\n", f"{before}<eos>\n".replace("\n", "\\n"))
    made = tokenizer("gemma", template)
    made.add_tokens([AddedToken(word, normalized=False) for word in ("\n", "\n\n", "\n\n\n", "```")])
    assert encoder(made).end_id == made.eos_token_id
    example = encode(made, chat(CODE), 1000)
    assert isinstance(example, Example) and example.completion_ids[-1] == made.eos_token_id


def test_an_answer_with_an_end_that_is_not_marked_as_special_is_a_reject() -> None:
    made = tokenizer("qwen2.5", CHATML.replace("<|im_end|>", "<|done|>"))
    made.add_tokens([AddedToken("<|done|>", normalized=False)])
    assert isinstance(encode(made, chat(CODE), 1000), Example)
    flaw = encode(made, chat("x = '<|done|>'"), 1000)
    assert isinstance(flaw, Flaw) and flaw.reason == "the answer holds the token that ends answers"
