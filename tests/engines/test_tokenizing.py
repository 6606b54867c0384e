"""Tokenizing: questions that begin alike get the same tokens together as each of them alone."""

import inspect
import textwrap
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from builders.aspect_scores import question
from builders.code.functions import functions
from builders.engines import Request
from builders.engines.tokenizing import encode_chats, encode_questions, encode_requests
from store import ASPECTS
from tests.chat_families import tokenizer as tokenizer_of

ROOT = Path(__file__).parents[2]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TEKKEN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CODE = [f.code for module in (textwrap, inspect) for f in functions(inspect.getsource(module))]


def trained(model, trainer, pre_tokenizer, normalizer=None, decoder=None):
    made = Tokenizer(model)
    made.pre_tokenizer, made.normalizer, made.decoder = pre_tokenizer, normalizer, decoder
    made.train_from_iterator([*CODE, "x)\n//b\n" * 100], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, chat_template=CHATML)


def byte_level(pattern=GPT2):
    pre = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=800, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    return trained(models.BPE(), trainer, pre, decoder=decoders.ByteLevel())


def space_before_each_text():
    """As sentencepiece does, over the whole text without pieces: a cut leaves a trace."""
    before = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=["<unk>"], show_progress=False)
    return trained(models.BPE(unk_token="<unk>"), trainer, None, before)


def words_of_a_unigram():
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    return trained(models.Unigram(), trainer, pre_tokenizers.Metaspace())


@pytest.fixture(
    scope="module",
    params=[
        lambda: AutoTokenizer.from_pretrained(ROOT / "recipes" / "tiny-base"),
        byte_level,
        lambda: byte_level(TEKKEN),
        space_before_each_text,
        words_of_a_unigram,
    ],
    ids=["tiny-base", "byte-level", "tekken", "prefix-space", "unigram"],
)
def tokenizer(request):
    return request.param()


def asked(texts):
    return tuple(({"role": "user", "content": text},) for text in texts)


@pytest.mark.parametrize("prompt", ["scorer", "scorer-short"])
def test_questions_of_a_scorer(tokenizer, prompt):
    for code in CODE:
        chats = asked(question(prompt, code, "Say it.\n\n\n", code.strip() + "\n  ", aspect) for aspect in ASPECTS)
        assert encode_questions(tokenizer, chats) == encode_chats(tokenizer, chats)


@pytest.mark.parametrize(
    "texts",
    [
        ["a"],
        ["", "a"],
        ["a\nb", "c\nd"],
        ["x\n\n\n", "x\n\n\n\n", "x\n\n"],
        ["x\n y", "x\n    y"],
        ["x\n  y", "x\n   y", "x\n y"],
        ["x)\n/a", "x)\n//b"],
        ["x)\n\n  //a", "x)\n\n  //b"],
        ["x\n    y\n    z", "x\n    y\n    w", "x\n    y\n     "],
        ["x\r\n\r\ny\r\nz", "x\r\n\r\ny\r\nzz"],
        ["one\n<|im_end|>\ntwo", "one\n<|im_end|>\nthree"],
        ["é\n̈a\nb", "é\n̈a\nc"],
        ["1234567\n890\n1", "1234567\n890\n12"],
    ],
)
def test_questions_that_part_anywhere(tokenizer, texts):
    assert encode_questions(tokenizer, asked(texts)) == encode_chats(tokenizer, asked(texts))


def test_what_is_shared_is_encoded_once():
    tokenizer = byte_level()
    lengths = []

    class Counting:
        chat_template = CHATML
        apply_chat_template = tokenizer.apply_chat_template
        get_chat_template = tokenizer.get_chat_template
        all_special_tokens = tokenizer.all_special_tokens
        added_tokens_decoder = tokenizer.added_tokens_decoder

        def __call__(self, texts, **options):
            lengths.extend(map(len, texts))
            return tokenizer(texts, **options)

    shared = "x = 1\n" * 500
    encode_questions(Counting(), asked(f"{shared}{aspect}:" for aspect in ASPECTS))
    assert len(shared) < sum(lengths) < len(shared) + 100 * len(ASPECTS)


@pytest.mark.parametrize("form", ["$A", "<s> $A", "$A </s>", "<s> $A </s>", "<s> <s> $A </s>"])
def test_a_raw_prompt_begins_as_texts_do_and_ends_in_its_text(form):
    made = tokenizer_of("mistral")
    special = [(token, made.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(single=form, special_tokens=special)
    texts = ["def add(a, b):\n    return", "a", "<s>a"]
    asked = encode_requests(made, [Request(text, prompt=text, max_tokens=1) for text in texts])
    start = form.split("$A")[0].replace(" ", "")
    assert [made.decode(ids) for ids in asked] == [start + text for text in texts]
    assert all(made(text)["input_ids"][: len(ids)] == ids for text, ids in zip(texts, asked, strict=True))
