"""An engine asks adapters with the chat template that they were trained with."""

from pathlib import Path

import pytest

from builders.engines import ChoiceRequest, Request, TransformersSettings, open_engine
from builders.engines.forms import without_chat
from builders.engines.templates import Templates, with_template
from tests.chat_families import CHATML, tokenizer
from tests.engine_models import save_adapter, save_model
from training import chat_templates
from training.encoding import render
from training.errors import TrainingError
from training.examples import load_tokenizer
from training.pretrained import read_tokenizer

STYLED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if style is defined %}Style {{ style }}. {% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
USER = {"role": "user", "content": "Write f."}
TERSE = {"style": "terse"}


def saved(folder: Path, template: str | None, arguments: dict[str, str] | None = None) -> str:
    """A folder with a tokenizer, as trainings write it beside their adapter."""
    made = tokenizer("qwen2.5", CHATML)
    made.chat_template = template
    made.save_pretrained(folder)
    if arguments:
        load_tokenizer(str(folder), arguments=arguments).save_pretrained(folder)
    return str(folder)


def asked(base: str, adapters: dict[str, str], arguments: dict[str, str] | None = None) -> str:
    return render(with_template(read_tokenizer(base), adapters, arguments), [USER], add_generation_prompt=True)


def trained(adapter: str) -> str:
    return render(load_tokenizer(adapter), [USER], add_generation_prompt=True)


def test_a_base_that_was_edited_after_the_training_does_not_count(tmp_path: Path) -> None:
    base = saved(tmp_path / "base", "{{ 'You are somebody else.' }}" + CHATML)
    adapter = saved(tmp_path / "adapter", CHATML)
    assert asked(base, {"a": adapter}) == trained(adapter) != asked(base, {})


def test_arguments_of_the_training_alone_hold(tmp_path: Path) -> None:
    base, adapter = saved(tmp_path / "base", STYLED), saved(tmp_path / "adapter", STYLED, TERSE)
    assert asked(base, {"a": adapter}) == trained(adapter)
    assert "Style terse. Write f." in trained(adapter)
    assert asked(base, {"a": adapter}, TERSE) == trained(adapter) == asked(base, {}, TERSE)


def test_arguments_that_only_the_adapters_template_reads_are_taken(tmp_path: Path) -> None:
    for template in (None, CHATML):
        base, adapter = saved(tmp_path / f"base {template}", template), saved(tmp_path / "adapter", STYLED)
        assert "Style terse." in asked(base, {"a": adapter}, TERSE)


def test_adapters_without_a_template_of_their_own_have_the_bases(tmp_path: Path) -> None:
    base, bare = saved(tmp_path / "base", CHATML), tmp_path / "bare"
    bare.mkdir()
    without = saved(tmp_path / "without", None)
    assert asked(base, {"a": str(bare), "b": without}) == asked(base, {})
    same = saved(tmp_path / "same", CHATML)
    assert asked(base, {"a": str(bare), "b": same}) == asked(base, {})


@pytest.mark.parametrize("has_template", [True, False])
def test_two_templates_in_one_engine_are_refused_by_name(tmp_path: Path, has_template: bool) -> None:
    base = saved(tmp_path / "base", CHATML if has_template else None)
    adapters = {name: saved(tmp_path / name, CHATML) for name in ("one", "too")}
    adapters["three"] = saved(tmp_path / "three", STYLED)
    names = rf"adapters 'one' \({adapters['one']}\) and 'three' \({adapters['three']}\) were trained with different"
    for load in (asked, without_chat):
        with pytest.raises(TrainingError, match=names + ".*ask them one after the other"):
            load(base, adapters)
    assert asked(base, {"three": adapters["three"]}) == trained(adapters["three"])


def test_an_adapter_of_the_base_beside_one_with_another_template_is_refused(tmp_path: Path) -> None:
    base, bare = saved(tmp_path / "base", CHATML), tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(TrainingError, match=r"'a' .* and 'b' .* different chat templates"):
        asked(base, {"a": str(bare), "b": saved(tmp_path / "own", STYLED)})


def test_an_adapters_template_is_tried_with_the_bases_special_tokens(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(chat_templates, "SECONDS", 1)
    loop = "{% for a in range(99999) %}" * 4 + "{% endfor %}" * 4
    adapter = saved(tmp_path / "adapter", f"{{% if unk_token is defined %}}{loop}{{% endif %}}{CHATML}")
    base = tokenizer("qwen2.5", CHATML)
    base.unk_token = "<|endoftext|>"
    with pytest.raises(TrainingError, match="did not end within 1 s"):
        with_template(base, {"a": adapter})


def test_the_base_beside_an_adapter_is_asked_with_its_own_template(tmp_path: Path) -> None:
    base, adapter = saved(tmp_path / "base", CHATML), saved(tmp_path / "adapter", STYLED, TERSE)
    both, alone = Templates(read_tokenizer(base), {"a": adapter}), Templates(read_tokenizer(base), {})
    requests = [Request(str(n), messages=(USER,), adapter=name) for n, name in enumerate(["a", None, "a", None])]
    of_adapter, of_base, third, fourth = both.encoded(requests)
    assert of_adapter == third != of_base == fourth == alone.encoded([requests[1]])[0]
    assert "Style terse." in both.adapted.decode(of_adapter) and "Style" not in both.adapted.decode(of_base)
    with_arguments = Templates(read_tokenizer(base), {"a": saved(tmp_path / "other", STYLED)}, TERSE)
    assert with_arguments.of("a").chat_template
    with pytest.raises(TrainingError, match="style"):
        with_arguments.of(None)


def test_the_engine_asks_the_base_beside_an_adapter_as_alone(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", seed=1)
    own = read_tokenizer(base)
    own.chat_template = "{{ 'Long introduction.' }}" + own.chat_template
    own.save_pretrained(adapter)
    asked = [Request("1", messages=(USER,), max_tokens=8)]
    question = [ChoiceRequest("c", ((USER,), (USER,)))]
    found = []
    for adapters in ({}, {"a": adapter}):
        with open_engine(TransformersSettings(max_model_tokens=256), base, adapters) as engine:
            found.append((list(engine.generate(asked)), list(engine.choose(question))))
    assert found[0] == found[1]


def test_the_engine_asks_so(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", seed=1)
    own = read_tokenizer(base)
    own.chat_template = "{{ 'Long introduction.' }}" + own.chat_template
    own.save_pretrained(adapter)
    with open_engine(TransformersSettings(max_model_tokens=256), base, {"a": adapter}) as engine:
        (answer,) = engine.generate([Request("1", messages=(USER,), adapter="a", max_tokens=1)])
    wanted = own(render(own, [USER], add_generation_prompt=True), add_special_tokens=False)["input_ids"]
    assert answer.num_prompt_tokens == len(wanted)
