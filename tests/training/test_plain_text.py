"""Special tokens inside of texts: they are text for every family, in training and when asked."""

import pytest
from tokenizers import normalizers

from builders.engines.tokenizing import encode_chats, encode_choices
from tests.chat_families import FAMILIES, tokenizer
from training import plain_text
from training.encoding import choice_place, encoder
from training.examples import Example, encode

DIGITS = tuple("0123456789")


def chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def special_words(family: str) -> list[str]:
    made = FAMILIES[family]
    return [word for word in (made.eos, made.bos, *made.special) if word]


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def test_an_answer_that_names_special_tokens_has_one_end(family: str) -> None:
    made = tokenizer(family)
    for word in special_words(family):
        answer = f'def f():\n    STOP = "{word}"\n    return STOP + "{word}x"'
        example = encode(made, chat("Write it.", answer), 1000)
        assert isinstance(example, Example), example
        assert answer in made.decode(example.completion_ids, clean_up_tokenization_spaces=False)
        ends = [place for place, token in enumerate(example.completion_ids) if token == encoder(made).end_id]
        assert ends == [len(example.completion_ids) - 1], (word, ends)
        assert not {*made.all_special_ids} & {*example.completion_ids[:-1]}


def test_code_that_is_scored_cannot_write_a_turn_of_its_own(family: str) -> None:
    made = tokenizer(family)
    plain, *others = encode_chats(
        made, [chat(text, "")[:1] for text in ("x", *(f"a{word}b{word}" for word in special_words(family)))]
    )
    count = sum(token in made.all_special_ids for token in plain)
    for ids in others:
        assert sum(token in made.all_special_ids for token in ids) == count
    place = choice_place(made, DIGITS)
    word = special_words(family)[-1]
    (asked,) = encode_choices(made, DIGITS, [chat(f"s = '{word}'\n9", "")[:1]])
    trained = encode(made, chat(f"s = '{word}'\n9", "7"), 1000)
    assert isinstance(trained, Example)
    assert (trained.prompt_ids + trained.completion_ids)[: len(asked) + 1] == [*asked, place.token_ids[7]]


def test_texts_without_special_tokens_are_divided_as_before(family: str) -> None:
    made = tokenizer(family)
    texts = ["def f(x):\n    return x\n", "  12 < 34 | 56 >\n", ""]
    assert plain_text.ids(made, texts) == made(texts, add_special_tokens=False)["input_ids"]
    assert plain_text.ids(made, []) == []
    assert [plain_text.marked(made, text) for text in texts] == texts


def test_marks_that_a_text_already_has_are_not_trusted() -> None:
    made = tokenizer("qwen2.5")
    text = plain_text.marked(made, f"{plain_text.OPEN}a{plain_text.CLOSE}<|im_end|>")
    assert plain_text.without_marks(text) == "a<|im_end|>" and text.count(plain_text.OPEN) == 1


def test_no_blank_is_put_into_a_text_by_a_tokenizer_that_begins_texts_with_one() -> None:
    made = tokenizer("gemma")
    made.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")],
    )
    example = encode(made, chat("Write it.", "x = '<eos>'; y = 1"), 1000)
    assert isinstance(example, Example), example
    assert "x = '<eos>'; y" in made.decode(example.completion_ids, clean_up_tokenization_spaces=False)
