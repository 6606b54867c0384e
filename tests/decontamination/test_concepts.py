"""Words as concepts, and statements in other words."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import tokens
from builders.decontamination import detectors
from builders.decontamination.detectors import background, concepts, count_background
from builders.decontamination.detectors.concepts import stem
from builders.recipe import Decontamination

WORDS = ("function", "maximum", "elements", "list", "calculate", "swap", "form")
KNOWN = concepts.vocabulary(WORDS)


def said(text: str, known=KNOWN) -> list[int]:
    lexed = tokens.words(tokens.lex([f"# the text: {text}"]))
    return concepts.concepts(lexed, known).hashes.tolist()[1:]


@pytest.mark.parametrize(
    "words",
    [
        "sort sorts sorted sorting",
        "query queries",
        "add adds added adding",
        "run running",
        "carry carries carried",
        "calculate calculates calculated calculating calculation",
        "box boxes",
        "class classes",
    ],
)
def test_forms_of_a_word_have_one_stem(words):
    assert len({stem(word) for word in words.split()}) == 1


def test_stems_keep_words_apart():
    words = "string sing during need feed bus class is ring bring list last sum some even event prime print"
    assert len({stem(word) for word in words.split()}) == len(words.split())
    assert [stem(word) for word in ("string", "SPEED", "x_ies", "größte")] == ["string", "speed", "x_ies", "größte"]


def test_synonyms_are_one_concept():
    for one, other in (("biggest", "maximum"), ("greatest", "maxima"), ("array", "sequence"), ("found", "locate")):
        assert said(one) == said(other) != []
    assert said("maximum") != said("minimum")
    assert said("write a python function to the of") == []


def test_a_word_stands_in_one_group_of_the_thesaurus():
    groups = concepts.groups()
    counts = Counter(word for group in groups for word in group)
    assert [word for word, n in counts.items() if n > 1] == []
    assert [group[0] for group in groups].count("-") == 1


@pytest.mark.parametrize("slip", ["elemetns", "elments", "elementts", "elenents", "lements"])
def test_a_slip_is_the_word_that_was_meant(slip):
    assert said(slip) == said("elements")


def test_what_people_write_is_no_slip():
    assert said("from") == said("form"), "to a vocabulary without it, it is a slip"
    known = concepts.vocabulary([*WORDS, "from"])
    assert said("from", known) == [] != said("form", known)
    assert said("srt") != said("sort"), "three letters are too few"
    assert said("x_list") != said("list") != said("list2"), "names are no words"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, "array", "the", "zebras", "swpa", "Ö", "x1"]), max_size=8), st.integers(0, 8))
def test_a_concept_depends_on_its_word_alone(words, cut):
    together = said(" ".join(words))
    assert together == [c for word in words for c in said(word)]


def test_pairs_have_no_order_and_do_not_cross_texts():
    lexed = tokens.words(tokens.lex(["# a maximum of zebras", "# zebras and the maximum", "# zebras"]))
    made = concepts.concepts(lexed, KNOWN)
    pairs = concepts.pairs(made)
    assert pairs.offsets.tolist() == [0, 1, 2, 2]
    assert pairs.hashes[0] == pairs.hashes[1]
    assert concepts.singles(made).offsets.tolist() == [0, 2, 4, 5]


# -- statements ------------------------------------------------------------------------------------

STATEMENT = "Write a function to find the largest number that can be formed with the given digits of the two tuples."


def task(prompt: str, name: str = "0") -> dict:
    return {"benchmark": "b", "task_id": name, "prompt": prompt, "solution": None, "tests": ""}


def strength(prompt: str, text: str) -> float:
    index = detectors.index([task(prompt)], Decontamination(detectors=("prose",)))
    rows = detectors.hits(index, pa.array(["i"]), pa.array([text])).to_pylist()
    return max((row["strength"] for row in rows), default=0.0)


@pytest.mark.parametrize(
    "text",
    [
        "Determine the biggest value which the numerals of two records can build.",
        "Find larges numbers that could be forming with the digit of two tuple.",
        "Wriet a fucntion to fnid the laregst nubmer that can be fromed with digits of the two tuples",
    ],
)
def test_a_statement_in_other_words_is_found(text):
    assert strength(STATEMENT, text) >= 0.5


@pytest.mark.parametrize(
    "prompt, text",
    [
        ("Write a function to convert the given roman numeral to an integer.", "The roman numeral of the chord."),
        ("Write a function to find the depth of a dictionary.", "Return the depth of the tree node."),
        ("Write a function to find the vertex of a parabola.", "Set the vertex of the polygon."),
    ],
)
def test_one_shared_phrase_is_no_verdict(prompt, text):
    """Functions of other packages were flagged for a phrase of two words."""
    assert strength(prompt, f'def f(x):\n    """{text}"""\n    return x\n') < 0.5


def test_a_statement_in_the_middle_of_a_long_text_is_found():
    other = "The reader opens the archive, skips its header and decodes the frames with a codec of the vendor. "
    text = "Determine the biggest number which the digits of two tuples can form. "
    assert strength(STATEMENT, text) >= 0.5
    assert strength(STATEMENT, 20 * other + text + 20 * other) > strength(STATEMENT, 20 * other) == 0.0


def test_the_background_is_counted_from_functions_and_exercises(tmp_path, monkeypatch):
    functions = [f'def f{k}(x):\n    """Close the file {k}."""\n    return x\n' for k in range(16)]
    exercises = ["Find the maximum of the list."] * 8
    count_background.write(functions, exercises, tmp_path / "b.npz")
    monkeypatch.setattr(background, "FILE", tmp_path / "b.npz")
    for cached in (background._counts, background.vocabulary, background.table):
        cached.cache_clear()
    try:
        file, maximum, zebra = (concepts._hashes([stem(w)]) for w in ("file", "maximum", "zebra"))
        assert background.bits("prose-1", file) == 0, "all functions have it"
        assert background.bits("prose-1", maximum) == 0, "all exercises have it"
        assert background.bits("prose-1", zebra) == pytest.approx(np.log2(16 / background.rare("prose-1")))
        keys, bits, rarest = background.table("prose-1")
        assert (bits == 0).sum() >= 2 and (np.diff(keys.astype(np.int64)) > 0).all()
        assert rarest == pytest.approx(np.log2(8))
    finally:
        for cached in (background._counts, background.vocabulary, background.table):
            cached.cache_clear()
