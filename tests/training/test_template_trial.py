"""What a template does later it does in its trial: nothing tells the one from the other."""

from datetime import datetime

import pytest

from tests.chat_families import CHATML, FAMILIES, tokenizer
from training import chat_templates, encoding
from training.chat_templates import CHATS, require_end, set_arguments
from training.errors import TrainingError

LOOP = "{% for a in range(99999) %}" * 4 + "{% endfor %}" * 4
TELLING = {
    "tools": "tools is defined",
    "documents": "documents is defined and documents is none",
    "special tokens": "pad_token is defined",
    "the day": "strftime_now('%Y') == '2024'",
    "another day": "strftime_now('%Y') == '2001'",
    "the question": "'Write a function' in messages[0].content",
    "an answer": "messages|length == 2 and 'Write it.' in messages[1].content",
    "many turns": "messages|length > 9",
    "no system": "messages[0].role != 'system'",
}


@pytest.fixture(autouse=True)
def _one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_templates, "SECONDS", 1)


def made_with(template: str):
    return tokenizer("llama3", template)


@pytest.mark.parametrize("what", TELLING)
def test_a_loop_that_waits_for_what_comes_later_is_found(what: str) -> None:
    with pytest.raises(TrainingError, match="did not end within 1 s of processor time"):
        require_end(made_with(f"{{% if {TELLING[what]} %}}{LOOP}{{% endif %}}{CHATML}"))


def test_a_pad_token_that_training_adds_is_there_already() -> None:
    made = made_with(f"{{% if pad_token is defined %}}{LOOP}{{% endif %}}{CHATML}")
    made.pad_token = None
    assert "pad_token" not in made.special_tokens_map
    with pytest.raises(TrainingError, match="did not end"):
        require_end(made)


def test_what_is_set_in_a_generation_block_is_not_known_after_it() -> None:
    block = "{% set x = 1 %}{% generation %}{% set x = 2 %}{% endgeneration %}"
    require_end(made_with(f"{block}{{% if x == 2 %}}{LOOP}{{% endif %}}"))
    with pytest.raises(TrainingError, match="did not end"):
        require_end(made_with(f"{block}{{% if x == 1 %}}{LOOP}{{% endif %}}"))


def test_an_error_in_one_chat_does_not_end_the_trial() -> None:
    first = "{% if messages|length < 9 %}{{ raise_exception('too short') }}{% endif %}"
    with pytest.raises(TrainingError, match="did not end"):
        require_end(made_with(first + LOOP))
    with pytest.raises(TrainingError, match="did not end"):
        require_end(made_with("{% if messages|length < 9 %}{{ messages[0].content + 1 }}{% endif %}" + LOOP))


def test_a_loop_that_waits_for_an_argument_is_found() -> None:
    made = made_with(f"{{% if style is defined %}}{LOOP}{{% endif %}}{CHATML}")
    require_end(made)
    with pytest.raises(TrainingError, match="did not end"):
        set_arguments(made, {"style": "terse"})


def test_the_turns_that_find_a_template_out_are_tried() -> None:
    probes = [encoding._QUESTION, *((*encoding._QUESTION, encoding._answer(a)) for a in encoding._ANSWERS)]
    assert all(any(list(probe) == list(chat) for chat in CHATS) for probe in probes)
    assert set(encoding.PROBE_DATES) >= {encoding.DATE, datetime(2001, 2, 3)}


@pytest.mark.parametrize(
    "template, what",
    [
        ("{{ ['a', 'b']|random }}", "the filter random"),
        ("{% if messages|length > 99 %}{{ messages|random }}{% endif %}", "the filter random"),
        ("{{ [['a', 'b']]|map('random')|list }}", "the filter random"),
        ("{{ lipsum(1) }}", "lipsum"),
        ("{% set words = lipsum %}{% if messages|length > 99 %}{{ words() }}{% endif %}", "lipsum"),
    ],
)
def test_prompts_that_change_by_themselves_are_refused(template: str, what: str) -> None:
    with pytest.raises(TrainingError, match=rf"'default' of llama3 uses {what}, so its prompts change by themselves"):
        require_end(made_with(template + CHATML))


def test_words_of_a_user_may_be_random() -> None:
    require_end(made_with("{# random #}{{ 'random lipsum' }}" + CHATML))


def test_named_templates_need_a_default() -> None:
    made = made_with(CHATML)
    made.chat_template = {"rag": CHATML, "tool_use": CHATML}
    with pytest.raises(TrainingError, match="are 'rag', 'tool_use', and none is named 'default'"):
        require_end(made)
    made.chat_template = {"default": CHATML, "tool_use": LOOP}
    with pytest.raises(TrainingError, match="the chat template 'tool_use' of llama3 did not end"):
        require_end(made)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_templates, "SECONDS", 10)
    require_end(tokenizer(name))
