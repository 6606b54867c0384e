"""A tokenizer from a folder or the Hub that reads text as its `tokenizer.json` says.

In: the name of a model. Out: its tokenizer, tried on a few pieces of code. A tokenizer that loses
blanks or characters would teach a model broken code, and nobody would see it.

A pattern of `tokenizer.json` may take a time that doubles with every character. The engine of the
patterns (Oniguruma) gives up after ten million steps, about 0.2 s, so it hangs nothing for ever.
Runs of one character find the usual ones of these patterns here, before rows are read with them.

Some folders name the wrong class, and a class may replace the rules of `tokenizer.json` by its own.
DeepSeek-Coder's folder says Llama: that class loses every blank. SmolLM2's and StarCoder 2's say
GPT-2: that class does not divide numbers into digits first, so it reads `\n    10,` as tokens that
the model never met there. So where the class reads a piece as other tokens than the file, the file
is taken as it is written.

    read_tokenizer("models/deepseek-coder-6.7b-base")
"""

import time
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

from training.errors import TrainingError, loading

# What code consists of: deep indentation, tabs, an f-string with braces, characters of one to four
# bytes, line ends of Windows, and blank lines. Then what families divide differently: runs of
# digits, numbers after line breaks and blanks, short forms in capitals, a slash after a line break.
PIECES = (
    'def fib(n):\n    if n < 2:\n        return n\n\n\n    return f"{n!r:>{8}} {{n}}"\n',
    "class A:\n\tx = {'a': [1, 22, 333]}  # two  blanks\n\n\tdef f(self):\n\t\treturn self.x\n",
    'text = "naïve café, привет, 你好, 🙂"\r\nprint(text)\r\n',
    "assert f(\" a \", 'it's') == \"don't , do . it ?\"  \n\n\n\n#\t<b>&amp;</b>\n",
    "x = [\n    10, 2024,\n        1000000,\n\n\t7,   42]\nreturn  2 ** 10 + 3.14159e-10 + 0xFF00 - 1_000\n",
    "v2 = x1234567y12\nI'M, DON'T, WE'LL, it's 8'S\n  \n   \n\t\n    99\n\n    # 1\n",
    "f(a)\n/b\n\n//c ==!=== ...\n\r\n\r\n  --12--\n0\n",
)
RUN_SECONDS = 2.0
"""For a run. A good tokenizer takes less than a millisecond."""
RUNS = tuple(f"{signs * 48}{end}" for signs in ("a", "A", "1", " ", "\n", "_", "é", "a ", "a1") for end in ("!", "\0"))
# What a class may set beside the rules.
_BESIDE = ("chat_template", "padding_side", "truncation_side", "model_max_length", "clean_up_tokenization_spaces")


def read_tokenizer(place: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or a Hub model.

    TrainingError if it loses any of the pieces, or has a pattern that takes too long.
    """
    named = of_named_class(place, revision)
    _require_end(named, place)
    written = _as_written(named, place, revision)
    if written is not None:
        _require_end(written, place)
    if written is not None and lost(written) is None and (lost(named) or not is_alike(named, written)):
        return _with_settings_of(named, written)
    if (found := lost(named)) is None:
        return named
    piece, back = found
    raise TrainingError(
        f"the tokenizer of {place} ({type(named).__name__}) loses text: {piece[:60]!r} comes back as {back[:60]!r}. "
        "Models would learn broken code. Put the right tokenizer.json into the folder, or set tokenizer_class in its "
        "tokenizer_config.json to the class that the model was made with, or use another model."
    )


def _require_end(tokenizer: Any, place: str) -> None:
    for run in RUNS:
        start = time.process_time()
        try:
            tokenizer(run, add_special_tokens=False)
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust; it is no Exception
                raise
            reason = f"ends in {str(error)!r}"
        else:
            if (seconds := time.process_time() - start) < RUN_SECONDS:
                continue
            reason = f"took {seconds:.0f} s"
        raise TrainingError(
            f"the tokenizer of {place} {reason} for a text of {len(run)} characters ({run[:3]!r}…): a pattern in its "
            "tokenizer.json takes a time that grows without bounds. Use a model with another tokenizer"
        )


def of_named_class(place: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of the class that the folder names, as other programs load it."""
    with loading(f"the tokenizer of {place}"):
        return AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)


def place_for_others(tokenizer: Any, place: str, revision: str | None, folder: Path) -> str:
    """The place from which other programs load the same tokenizer.

    That is where we found it. If they would load another from there, ours is saved in the folder.
    """
    named = of_named_class(place, revision)
    if lost(named) is None and is_alike(named, tokenizer):
        return place
    tokenizer.save_pretrained(folder)
    return str(folder)


def lost(tokenizer: Any) -> tuple[str, str] | None:
    """The first piece that does not come back, and what comes back. None if all do."""
    for piece in PIECES:
        ids = tokenizer(piece, add_special_tokens=False)["input_ids"]
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if back != piece:
            return piece, back
    return None


def is_alike(one: Any, other: Any) -> bool:
    """Whether both read all pieces as the same tokens, also behind their special tokens."""
    shared = set(one.all_special_tokens) & set(other.all_special_tokens)
    texts = chain(PIECES, (f"{token}def f\n{token} 10" for token in sorted(shared)))
    return all(
        one(text, add_special_tokens=False)["input_ids"] == other(text, add_special_tokens=False)["input_ids"]
        for text in texts
    )


def _as_written(named: Any, place: str, revision: str | None) -> PreTrainedTokenizerBase | None:
    """The tokenizer that `tokenizer.json` describes, whatever class is named beside it. None if
    there is no such file, or if the named class took it as it is written.
    """
    if type(named) is PreTrainedTokenizerFast:
        return None
    try:
        cached_file(place, "tokenizer.json", revision=revision)
        return PreTrainedTokenizerFast.from_pretrained(place, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError):
        return None


def _with_settings_of(named: Any, written: Any) -> PreTrainedTokenizerBase:
    """The tokenizer as it is written, with what the class sets beside the rules: the template, the
    sides, and the special tokens that the file has.
    """
    for name in _BESIDE:
        if getattr(written, name) != getattr(named, name):
            setattr(written, name, getattr(named, name))
    vocabulary, given = written.get_vocab(), written.special_tokens_map
    missing = {name: token for name, token in named.special_tokens_map.items() if name not in given}
    written.add_special_tokens({name: token for name, token in missing.items() if token in vocabulary})
    return written
