"""A tokenizer from a folder or the Hub that gives back every text that is put into it.

In: the name of a model. Out: its tokenizer, tried on a few pieces of code. A tokenizer that loses
blanks or characters would teach a model broken code, and nobody would see it.

Some folders name the wrong class. DeepSeek-Coder's says Llama, and that class replaces the
byte-level rules of `tokenizer.json` by its own, which lose every blank. So where the named class
fails, the rules of `tokenizer.json` are taken as they stand.

    read_tokenizer("models/deepseek-coder-6.7b-base")
"""

from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from training.errors import TrainingError, loading

# What code consists of: deep indentation, tabs, an f-string with braces, characters of one to four
# bytes, line ends of Windows, and blank lines.
PIECES = (
    'def fib(n):\n    if n < 2:\n        return n\n\n\n    return f"{n!r:>{8}} {{n}}"\n',
    "class A:\n\tx = {'a': [1, 22, 333]}  # two  blanks\n\n\tdef f(self):\n\t\treturn self.x\n",
    'text = "naïve café, привет, 你好, 🙂"\r\nprint(text)\r\n',
    "assert f(\" a \", 'it's') == \"don't , do . it ?\"  \n\n\n\n#\t<b>&amp;</b>\n",
)


def read_tokenizer(place: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or a Hub model. TrainingError if it loses any of the pieces."""
    tokenizer = of_named_class(place, revision)
    if lost(tokenizer) is None:
        return tokenizer
    as_written = _as_written(place, revision)
    if as_written is not None and lost(as_written) is None:
        return as_written
    piece, back = lost(tokenizer) or ("", "")
    raise TrainingError(
        f"the tokenizer of {place} ({type(tokenizer).__name__}) loses text: {piece[:60]!r} comes back as {back[:60]!r}. "
        "Models would learn broken code. Put the right tokenizer.json into the folder, or set tokenizer_class in its "
        "tokenizer_config.json to the class that the model was made with, or use another model."
    )


def of_named_class(place: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of the class that the folder names, as other programs load it."""
    with loading(f"the tokenizer of {place}"):
        return AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)


def lost(tokenizer: Any) -> tuple[str, str] | None:
    """The first piece that does not come back, and what comes back. None if all do."""
    for piece in PIECES:
        ids = tokenizer(piece, add_special_tokens=False)["input_ids"]
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        if back != piece:
            return piece, back
    return None


def _as_written(place: str, revision: str | None) -> PreTrainedTokenizerBase | None:
    """The tokenizer that `tokenizer.json` describes, whatever class is named beside it."""
    try:
        return PreTrainedTokenizerFast.from_pretrained(place, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError):
        return None
