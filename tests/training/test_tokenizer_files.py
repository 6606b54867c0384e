"""Tokenizers read text as their `tokenizer.json` says, whatever class is named beside it."""

import json
import time
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.chat_families import CHATML, FAMILIES, LLAMA_3, QWEN, TEXT, tokenizer
from training.errors import TrainingError
from training.tokenizer_files import PIECES, is_alike, lost, of_named_class, place_for_others, read_tokenizer

NUMBERS = ["x = 1000 + 2024; if x == 100: y = 10\n    \n    10, 20,\n"] * 30
PROBE = "x = [\n    10, 2024,\n    30]\nreturn  2 ** 10  # I'M\n"
DIGITS = pre_tokenizers.Digits(individual_digits=True)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def by(pattern: str) -> list:
    """The pre-tokenizers that divide by a pattern."""
    return [
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


def folder_of(folder: Path, named: str, kind: str, rules: list) -> Tokenizer:
    """A folder whose config names a class. Its vocabulary holds numbers of several digits, as
    vocabularies that were made by other rules do.
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = BYTES, decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([*TEXT, *NUMBERS], trainer)
    made.add_special_tokens([AddedToken("<|pad|>", special=True)])
    made.pre_tokenizer = pre_tokenizers.Sequence(rules)
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "chat_template": CHATML, "padding_side": "left"}
    config |= {"model_max_length": 8192} | ({"tokenizer_class": named} if named else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    return made


@pytest.mark.parametrize("pattern", ["(a+)+$", r"(\s|\s\s)+$", "(?:a|a)+(?=b)", r"(\d+)+$", "([a-z_]+_?)+$"])
def test_a_pattern_without_an_end_is_refused(tmp_path: Path, pattern: str) -> None:
    folder_of(tmp_path / "model", "", "llama", by(pattern))
    start = time.process_time()
    with pytest.raises(TrainingError, match=r"a pattern in its tokenizer.json"):
        read_tokenizer(str(tmp_path / "model"))
    assert time.process_time() - start < 30


REPLACED = {
    "smollm2": ("GPT2Tokenizer", "llama", [DIGITS, BYTES]),
    "starcoder2": ("GPT2Tokenizer", "starcoder2", [DIGITS, BYTES]),
    "no class": ("", "starcoder2", [DIGITS, BYTES]),
    "gpt-neox": ("GPTNeoXTokenizer", "gpt_neox", [DIGITS, BYTES]),
    "codegen": ("CodeGenTokenizer", "codegen", [DIGITS, BYTES]),
    "another pattern": ("Qwen2Tokenizer", "qwen2", by(LLAMA_3)),
}


@pytest.mark.parametrize("case", REPLACED)
def test_rules_that_a_class_would_replace_are_those_of_the_file(tmp_path: Path, case: str) -> None:
    written = folder_of(tmp_path / "model", *REPLACED[case])
    made, wanted = read_tokenizer(str(tmp_path / "model")), written.encode(PROBE, add_special_tokens=False).ids
    named = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert lost(named) is None and named(PROBE)["input_ids"] != wanted, (
        "the class reads it otherwise, and loses nothing"
    )
    assert made(PROBE, add_special_tokens=False)["input_ids"] == wanted
    assert made.decode(wanted, clean_up_tokenization_spaces=False) == PROBE


def test_what_the_class_had_beside_its_rules_is_kept(tmp_path: Path) -> None:
    folder_of(tmp_path / "model", *REPLACED["smollm2"])
    made, named = read_tokenizer(str(tmp_path / "model")), of_named_class(str(tmp_path / "model"))
    assert made.chat_template == CHATML and (made.padding_side, made.model_max_length) == ("left", 8192)
    assert (made.eos_token, made.pad_token) == ("<|im_end|>", "<|pad|>")
    assert made.special_tokens_map == named.special_tokens_map, "GPT-2's class knows a beginning too"
    assert made.bos_token == "<|endoftext|>" and len(made) == len(named)
    assert made.decode(made("<|endoftext|>x<|pad|>")["input_ids"], skip_special_tokens=True) == "x"


def test_a_class_that_follows_the_file_stays(tmp_path: Path) -> None:
    folder_of(tmp_path / "model", "Qwen2Tokenizer", "qwen2", by(QWEN))
    assert type(read_tokenizer(str(tmp_path / "model"))).__name__ == "Qwen2Tokenizer"


def test_saved_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    folder_of(tmp_path / "model", *REPLACED["another pattern"])
    made = read_tokenizer(str(tmp_path / "model"))
    made.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert is_alike(read_tokenizer(str(tmp_path / "saved")), made)


@pytest.mark.parametrize("case", ["smollm2", "another pattern"])
def test_other_programs_are_given_the_same_tokenizer(tmp_path: Path, case: str) -> None:
    folder_of(tmp_path / "model", *REPLACED[case])
    folder_of(tmp_path / "right", "Qwen2Tokenizer", "qwen2", by(QWEN))
    for name, is_copied in (("model", True), ("right", False)):
        place, made = str(tmp_path / name), read_tokenizer(str(tmp_path / name))
        given = place_for_others(made, place, None, tmp_path / "copy")
        assert (given == place) is not is_copied
        assert AutoTokenizer.from_pretrained(given)(PROBE)["input_ids"] == made(PROBE)["input_ids"]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_keeps_its_ids(tmp_path: Path, name: str) -> None:
    made = tokenizer(name)
    made.save_pretrained(tmp_path)
    read, ours = read_tokenizer(str(tmp_path)), AutoTokenizer.from_pretrained(tmp_path)
    for piece in (*PIECES, PROBE):
        assert read(piece)["input_ids"] == ours(piece)["input_ids"] == made(piece)["input_ids"]


def test_rules_behind_special_tokens_count_too() -> None:
    one, other = tokenizer("gemma"), tokenizer("gemma")
    other.backend_tokenizer.add_special_tokens([AddedToken("<eos>", special=True, normalized=False, rstrip=True)])
    assert not is_alike(one, other) and is_alike(one, tokenizer("gemma"))


def test_a_folder_without_the_file_is_read_by_its_class(tmp_path: Path) -> None:
    written = folder_of(tmp_path / "model", "GPT2Tokenizer", "gpt2", [BYTES])
    held = json.loads((tmp_path / "model" / "tokenizer.json").read_text())["model"]
    (tmp_path / "model" / "tokenizer.json").unlink()
    (tmp_path / "model" / "vocab.json").write_text(json.dumps(held["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in held["merges"])
    (tmp_path / "model" / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    made = read_tokenizer(str(tmp_path / "model"))
    assert isinstance(made, PreTrainedTokenizerFast) and type(made).__name__ == "GPT2Tokenizer"
    assert made(PROBE)["input_ids"] == written.encode(PROBE).ids
