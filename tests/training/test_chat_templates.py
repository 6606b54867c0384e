"""A chat template that does not end is refused, and its arguments hold wherever it is rendered."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from builders.engines import Request, TransformersSettings, open_engine
from tests.chat_families import CHATML, tokenizer
from tests.tiny_models import tiny_qwen
from training import chat_templates, pretrained, sft
from training.errors import TrainingError
from training.examples import load_tokenizer
from training.settings import LoraSettings, SftSettings

ENDLESS = "{% for i in range(99999) %}" * 4 + "{% endfor %}" * 4
THINKING = (
    "  {% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}{% endif %}"
)
USER = [{"role": "user", "content": "Add 1 and 2."}]


@pytest.fixture
def thinking(tmp_path) -> str:
    """A base whose template knows `enable_thinking`."""
    base = tiny_qwen(tmp_path / "base")
    Path(base, "chat_template.jinja").write_text(THINKING)
    return base


def prompt_of(tokenizer, **arguments) -> str:
    return tokenizer.apply_chat_template(USER, tokenize=False, add_generation_prompt=True, **arguments)


@pytest.mark.parametrize(
    "template, what",
    [(ENDLESS, "did not end within 1 s"), ("{{ 'a' * 10**11 }}", "could not be rendered .out of memory")],
)
def test_a_template_without_an_end_is_refused_by_name(tmp_path, monkeypatch, template, what) -> None:
    monkeypatch.setattr(chat_templates, "SECONDS", 1)
    base = tiny_qwen(tmp_path / "base")
    Path(base, "chat_template.jinja").write_text(template)
    for load in (load_tokenizer, lambda place: open_engine(TransformersSettings(), place)):
        with pytest.raises(TrainingError, match=rf"the chat template 'default' of {base} {what}"):
            load(base)


@pytest.mark.parametrize(
    "template",
    [
        THINKING,
        "{{ raise_exception('no system turn') }}",
        "{% generation %}{{ messages[0].content }}{% endgeneration %}{{ strftime_now('%Y') }}{{ messages|tojson }}",
        "{{ messages[9]['content'] }}",
        "{% no such tag",
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{% endfor %}",
    ],
)
def test_a_template_that_ends_also_in_an_error_is_none_of_our_business(template) -> None:
    chat_templates.require_end(tokenizer("qwen3", template))


def test_arguments_change_the_prompt_as_if_they_were_passed(thinking) -> None:
    plain = AutoTokenizer.from_pretrained(thinking)
    given = load_tokenizer(thinking, arguments={"enable_thinking": False})
    assert prompt_of(given) == prompt_of(plain, enable_thinking=False) != prompt_of(plain)
    assert prompt_of(given, enable_thinking=True) == prompt_of(plain), "who passes one decides"


@pytest.mark.parametrize("value", [True, 3, 0.5, 'it\'s {{ "x" }} %} \\ é🙂\n'])
def test_a_value_arrives_as_it_is(thinking, value) -> None:
    Path(thinking, "chat_template.jinja").write_text("{{ messages[0].role }}\n{{ mode }}|{{ mode is string }}")
    text = prompt_of(load_tokenizer(thinking, arguments={"mode": value}))
    assert text == f"user\n{value}|{isinstance(value, str)}"


def test_an_argument_that_the_template_does_not_read_is_refused(thinking) -> None:
    with pytest.raises(TrainingError, match="does not read thinking, so template_arguments would change nothing"):
        load_tokenizer(thinking, arguments={"thinking": False})
    Path(thinking, "chat_template.jinja").unlink()
    with pytest.raises(TrainingError, match=r"enable_thinking are given, but .* has no chat template"):
        load_tokenizer(thinking, arguments={"enable_thinking": False})


@pytest.mark.parametrize(
    "name", ["messages", "tools", "documents", "add_generation_prompt", "eos_token", "pad_token", "strftime_now"]
)
def test_an_argument_that_transformers_gives_itself_is_refused(name: str) -> None:
    made = tokenizer("qwen3", "{{ bos_token }}{{ tools }}{{ documents }}{{ pad_token }}" + CHATML)
    with pytest.raises(TrainingError, match=f"template_arguments: {name} is given to every chat template"):
        chat_templates.set_arguments(made, {name: "x"})


@pytest.mark.parametrize(
    "template",
    [
        "{# style #}" + CHATML,
        "{{ 'style' if false }}" + CHATML,
        "{% set style = 'long' %}{{ style }}" + CHATML,
        CHATML + "style",
        "{% for style in messages %}{{ style.content }}{% endfor %}",
    ],
)
def test_an_argument_that_only_stands_in_the_template_is_refused(template: str) -> None:
    with pytest.raises(TrainingError, match="does not read style, so template_arguments would change nothing"):
        chat_templates.set_arguments(tokenizer("qwen3", template), {"style": "terse"})


def test_arguments_of_a_template_that_cannot_be_parsed_are_refused() -> None:
    with pytest.raises(
        TrainingError, match="the chat template of qwen3 cannot be parsed: Encountered unknown tag 'no'"
    ):
        chat_templates.set_arguments(tokenizer("qwen3", "{% no such tag %}"), {"style": "terse"})


def test_an_argument_that_a_macro_reads_is_taken() -> None:
    made = tokenizer("qwen3", "{% macro head() %}{{ style }}{% endmacro %}{{ head() }}" + CHATML)
    chat_templates.set_arguments(made, {"style": "terse"})
    assert prompt_of(made).startswith("terse<|im_start|>")


@pytest.mark.parametrize("value, meant", [("false", "false"), ("True", "true"), (" FALSE", "false")])
def test_a_truth_value_in_quotes_is_refused_with_what_is_meant(value: str, meant: str) -> None:
    with pytest.raises(TrainingError, match=rf"write enable_thinking: {meant}, without quotes"):
        chat_templates.set_arguments(tokenizer("qwen3"), {"enable_thinking": value})


@pytest.mark.parametrize("lora", [None, LoraSettings(r=2, alpha=4)])
def test_what_was_trained_with_arguments_is_asked_with_them(thinking, tmp_path, lora) -> None:
    settings = SftSettings(epochs=1, batch_size=2, max_tokens=200, dtype="float32", lora=lora)
    rows = [[*USER, {"role": "assistant", "content": f"<think></think>{n}"}] for n in range(2)]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"messages": rows}), tmp_path / "data" / "train.parquet")
    arguments = {"enable_thinking": False}
    Path(thinking, "chat_template.jinja").write_text(
        THINKING.replace("message['content'] }}", "message['content'] | replace('<think></think>', '') }}").replace(
            "{% for message in messages %}<|im_start|>{{ message['role'] }}\n",
            "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
            "{% if message['role'] == 'assistant' and enable_thinking is defined %}<think></think>{% endif %}",
        )
    )
    report = sft.train(str(tmp_path / "data"), thinking, str(tmp_path / "out"), settings, template_arguments=arguments)
    assert report.plan.template_arguments == arguments
    saved = str(tmp_path / "out" / report.checkpoints[-1].folder)
    wanted = prompt_of(AutoTokenizer.from_pretrained(thinking), enable_thinking=False)
    assert "<think></think>" in wanted
    assert prompt_of(AutoTokenizer.from_pretrained(saved)) == wanted, "also where nobody knows of the arguments"
    assert prompt_of(pretrained.read_tokenizer(saved, arguments=arguments)) == wanted
    full, adapters = (saved, {}) if lora is None else (thinking, {"a": saved})
    with open_engine(TransformersSettings(), full, adapters, template_arguments=arguments) as engine:
        (answer,) = engine.generate(
            [Request("1", messages=tuple(USER), adapter=next(iter(adapters), None), max_tokens=1)]
        )
    tokens = AutoTokenizer.from_pretrained(thinking)(wanted, add_special_tokens=False)["input_ids"]
    assert answer.num_prompt_tokens == len(tokens)
    with pytest.raises(ValueError, match=r"template_arguments was .*enable_thinking.* is {}"):
        sft.train(str(tmp_path / "data"), thinking, str(tmp_path / "out"), settings)
