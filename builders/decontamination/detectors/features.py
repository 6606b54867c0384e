"""What texts are compared by: four views of their tokens, as n-grams.

In: texts, or tokens. Out: for each detector one or more sets of n-grams. A set has the name under
which its background counts are kept.

    ngram     raw tokens of the code: finds copies, however they are formatted
    renamed   the same after any renaming of variables and functions: finds disguised copies
    prose     concepts and pairs of concepts of docstrings, comments and statements (concepts.py)
    literals  sequences of numbers and strings: examples survive a translation to another language
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from builders.code import tokens
from builders.code.tokens import Grams, Lexed
from builders.decontamination.detectors import background, concepts
from builders.decontamination.detectors.concepts import Vocabulary

VIEWS = ("ngram", "renamed", "prose", "literals")

NGRAM = 6
"""Tokens of a raw n-gram by default."""

RENAMED, LITERALS = (4, 7), (2, 3)
"""Lengths of the n-grams of the other views. Short ones survive small edits, long ones tell tasks
apart.
"""


def normalised(texts: pa.Array) -> pa.Array:
    """The texts in Unicode's form NFKC, without invisible signs.

    For example, full-width signs become ordinary ones.
    """
    texts = texts.cast(pa.large_string()).fill_null("")
    is_other = pc.invert(pc.string_is_ascii(texts))
    if not pc.any(is_other).as_py():
        return texts
    other = pc.utf8_normalize(texts.filter(is_other), "NFKC")
    other = pc.replace_substring_regex(other, "[\u200b-\u200d\u2060\ufeff]", "")
    other = pc.replace_substring_regex(other, "[\u0085\u2028\u2029]", "\n")
    return pc.replace_with_mask(texts, is_other, other)


def of_tokens(
    lexed: Lexed, detectors: Iterable[str], ngram: int = NGRAM, known: Vocabulary | None = None
) -> dict[str, dict[str, tuple[Lexed, Grams]]]:
    """Detector -> name of the set -> the tokens that it is made from, and the n-grams.

    `known`: the words that people write, by default those of the background.
    """
    made: dict[str, dict[str, tuple[Lexed, Grams]]] = {}
    wanted = set(detectors)
    if wanted & {"ngram", "renamed"}:
        code = tokens.code(lexed)
        if "ngram" in wanted:
            made["ngram"] = {f"ngram-{ngram}": (code, tokens.grams(code, ngram))}
        if "renamed" in wanted:
            made["renamed"] = {f"renamed-{n}": (code, tokens.grams(code, n, rename=True)) for n in RENAMED}
    if "prose" in wanted:
        said = concepts.concepts(tokens.words(lexed), known or background.vocabulary())
        made["prose"] = {"prose-1": (said, concepts.singles(said)), "prose-2": (said, concepts.pairs(said))}
    if "literals" in wanted:
        literals = tokens.literals(lexed)
        made["literals"] = {f"literals-{n}": (literals, tokens.grams(literals, n)) for n in LITERALS}
    return made
