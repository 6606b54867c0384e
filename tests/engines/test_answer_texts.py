"""An engine gives back the text that follows the prompt, blank for blank, also where a tokenizer
puts a blank in front of every text (Llama 2, CodeLlama).
"""

from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from builders.engines import Request, TransformersSettings, open_engine
from builders.engines.tokenizing import answer_of, decode, encode_chats, encode_requests
from tests.chat_families import CHATML, FAMILIES, tokenizer
from training.encoding import encoder

LLAMA_2 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
PROMPT = "def add(a, b):\n    '''Add.'''\n"
BODY = "    c = a + b\n    return c\n"
ANSWERS = ("def f(x):\n    return x", "    return x", "\n\ndef g(): pass", "\treturn 'é🙂'", "7")
USER = {"role": "user", "content": "Go."}


def with_a_blank_in_front(way: str, template: str = CHATML) -> PreTrainedTokenizerFast:
    """As sentencepiece: `Prepend` in a normalizer, as Llama 2's file has it, or `Metaspace`."""
    signs = [chr(code) for code in range(33, 127)] + ["▁", "\n"]
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    words = ["<unk>", *special, *(f"<0x{byte:02X}>" for byte in range(256)), *signs, "▁▁", "de", "def", "▁def"]
    merges = [("▁", "▁"), ("d", "e"), ("de", "f"), ("▁", "def")]
    vocabulary = {word: place for place, word in enumerate(words)}
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if way == "prepend":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ["<unk>", *special]])
    eos = "<|im_end|>" if template == CHATML else "</s>"
    known = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token=eos, unk_token="<unk>")
    known.chat_template, known.name_or_path = template, way
    return known


WAYS = ("prepend", "metaspace")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prompt", [PROMPT, "x:", "# é🙂", "# é€", "s = '"])
def test_a_continued_text_keeps_its_indentation(way: str, prompt: str) -> None:
    made = with_a_blank_in_front(way)
    (asked,) = encode_requests(made, [Request("1", prompt=prompt, max_tokens=1)])
    for body in (BODY, "\n" + BODY, "x", " = 1", "é 🙂"):
        rest = made(f"{prompt}{body}", add_special_tokens=False)["input_ids"][len(asked) :]
        assert decode(made, rest, asked) == body
    assert made.decode(made(PROMPT + BODY)["input_ids"][len(made(PROMPT)["input_ids"]) :])[:4] == "   c", "not alone"


@pytest.mark.parametrize("template", [CHATML, LLAMA_2], ids=["chatml", "llama2"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_trained_answer_comes_back_as_it_is(way: str, template: str, answer: str) -> None:
    came_back(with_a_blank_in_front(way, template), answer)


@pytest.mark.parametrize("answer", ANSWERS[:1] + ANSWERS[-1:])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_trained_answer_comes_back_in_every_family(name: str, answer: str) -> None:
    came_back(tokenizer(name), answer)


def came_back(made, answer: str) -> None:
    ids = encoder(made).split([USER, {"role": "assistant", "content": answer}])
    assert ids is not None and encode_chats(made, [[USER]]) == [ids[0]]
    text = decode(made, ids[1], ids[0])
    assert answer_of(made, text, Request("1", messages=(USER,), max_tokens=1)).rstrip("\n") == answer


def test_the_blank_of_a_template_is_taken_off_once_and_of_chats_only() -> None:
    made = tokenizer("mistral")
    chat, raw = Request("1", messages=(USER,), max_tokens=1), Request("2", prompt="x", max_tokens=1)
    assert [answer_of(made, text, chat) for text in (" def", "  def", "def")] == ["def", " def", "def"]
    assert answer_of(made, " def", raw) == " def"
    assert answer_of(tokenizer("qwen2.5"), " def", chat) == " def"


def test_the_tag_that_a_template_opens_stands_before_the_thinking() -> None:
    made = tokenizer("qwen2.5")
    chat, raw = Request("1", messages=(USER,), max_tokens=1), Request("2", prompt="x", max_tokens=1)
    made.chat_template = CHATML.replace("assistant\n{%", "assistant\n<think>\n{%")
    assert "<think>" in made.chat_template
    assert answer_of(made, "Two", chat) == "<think>\nTwo" and answer_of(made, "Two", raw) == "Two"


def test_what_cannot_be_decoded_behind_the_prompt_is_decoded_alone() -> None:
    made = with_a_blank_in_front("prepend")
    ids = made.convert_tokens_to_ids
    first, rest = ids(["<0xC3>"]), ids(["<0xA9>", "x"])
    assert decode(made, rest, [*ids(["a", "b", "c", "d"]), *first]) == decode(made, rest) == "\ufffdx"
    assert decode(made, ids(["x"]), ids(["<s>", "</s>"])) == "x" == decode(made, ids(["x"]))


def scripted(folder: Path, made, text: str) -> str:
    """A model that knows one text by heart."""
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**shape, vocab_size=len(made), max_position_embeddings=256, bos_token_id=1, eos_token_id=2)
    model, ids = LlamaForCausalLM(config), torch.tensor([made(text + "</s>")["input_ids"]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("way", WAYS)
def test_an_engine_writes_four_blanks_and_stops_at_strings(tmp_path: Path, way: str) -> None:
    made = with_a_blank_in_front(way, LLAMA_2)
    made.add_bos_token = True
    stops = {"whole": (), "cut": ("\n    return",), "indented": ("  return",), "at once": ("    c",)}
    asked = [Request(name, prompt=PROMPT, max_tokens=60, temperature=0.0, stop=stop) for name, stop in stops.items()]
    with open_engine(TransformersSettings(dtype="float32"), scripted(tmp_path, made, PROMPT + BODY)) as engine:
        found = {answer.request_id: answer for answer in engine.generate(asked)}
    assert {name: (answer.text, answer.finish_reason) for name, answer in found.items()} == {
        "whole": (BODY, "stop"),
        "cut": ("    c = a + b", "stop"),
        "indented": ("    c = a + b\n  ", "stop"),
        "at once": ("", "stop"),
    }
    lengths = [found[name].num_completion_tokens for name in ("at once", "cut", "whole")]
    assert lengths[0] < 6 < lengths[1] < lengths[2], "a stop string ends the answer where it is written"
