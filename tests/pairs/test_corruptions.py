"""Corruptions: every spoilt copy is another text, and its labels say which aspects it lost."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.pairs.corruptions import CORRUPTIONS, GOOD, difficulty, labelled, taught
from builders.snippet_checks import num_tokens


def pair(n: int, **changes) -> dict:
    solution = f"def f_{n}(a):\n    b = a + {n}\n\n    # a note\n    if b > 3:\n        b = b * {n}\n    return b"
    return {"code": f"snippet {n}", "problem": f"Add {n} to a number and return it.", "solution": solution} | changes


PAIRS = [pair(n) for n in range(6)]


def copies(kind: str, seeds=range(30)) -> list:
    """The copies of one corruption, each with the pair that it was made from."""
    made = [(e, p) for s in seeds for e in labelled(PAIRS, 5, s) for p in PAIRS if p["code"] == e.code]
    return [(e, p) for e, p in made if e.corruption == kind]


def test_every_pair_stays_and_gets_so_many_copies():
    examples = labelled(PAIRS, 3, seed=0)
    assert [e.corruption for e in examples].count("none") == len(PAIRS)
    assert len(examples) <= 4 * len(PAIRS) and {e.corruption for e in labelled(PAIRS, 5, 0)} == {*CORRUPTIONS, "none"}
    whole = [(e.code, e.problem, e.solution) for e in examples if e.corruption == "none"]
    assert whole == [(p["code"], p["problem"], p["solution"]) for p in PAIRS]
    assert all({k: e.labels[k] for k in GOOD} == GOOD for e in examples if e.corruption == "none")
    assert [e.corruption for e in labelled(PAIRS, 0, seed=0)] == ["none"] * 6
    assert {e.corruption for e in labelled(PAIRS, 99, seed=0)} == {*CORRUPTIONS, "none"}


def test_the_seed_alone_decides():
    assert labelled(PAIRS, 3, seed=1) == labelled(PAIRS, 3, seed=1) != labelled(PAIRS, 3, seed=2)


@pytest.mark.parametrize(
    "kind, same, lost",
    [
        ("swapped_solution", ["problem"], {"consistency", "correctness", "completeness"}),
        ("truncated_solution", ["problem"], {"consistency", "correctness", "completeness"}),
        ("swapped_pair", [], {"relevance"}),
        ("scrambled_problem", ["solution"], {"clarity", "consistency"}),
        ("mangled_solution", ["problem"], {"correctness", "consistency"}),
    ],
)
def test_a_corruption_spoils_its_own_aspects_and_texts(kind, same, lost):
    found = copies(kind)
    assert len(found) > 100
    for example, whole in found:
        assert {a for a, digit in GOOD.items() if example.labels[a] < digit} == lost
        assert all(getattr(example, text) == whole[text] for text in same)
        assert example.code == whole["code"]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_copy_never_says_the_same_as_the_pair(kind):
    for example, whole in copies(kind):
        before = (whole["problem"].split(), whole["solution"].split())
        assert (example.problem.split(), example.solution.split()) != before


def test_texts_that_no_corruption_can_spoil_give_no_copy_with_a_wrong_label():
    one_word = [pair(n, problem="Add.", solution="x = 1") for n in range(4)]
    found = [e for seed in range(20) for e in labelled(one_word, 5, seed) if e.corruption != "none"]
    assert {e.corruption for e in found} <= {"swapped_pair", "mangled_solution"}
    assert all(e.solution != "x = 1" for e in found if e.corruption == "mangled_solution")


def test_another_sample_about_the_same_snippet_is_not_irrelevant_to_it():
    same = [pair(n, code="snippet") for n in range(4)]
    assert "swapped_pair" not in {e.corruption for seed in range(10) for e in labelled(same, 5, seed)}


@pytest.mark.parametrize("pairs", [[], PAIRS[:1]])
def test_one_pair_alone_cannot_be_swapped(pairs):
    with pytest.raises(ValueError, match=f"at least 2 teacher pairs are needed to train a scorer, got {len(pairs)}"):
        labelled(pairs, 3, 0)


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=2, max_size=5), st.integers(0, 5))
def test_any_texts_keep_their_labels_in_range(texts, per_pair):
    pairs = [{"code": "c", "problem": p, "solution": s} for p, s in texts]
    for example in labelled(pairs, per_pair, 0):
        assert set(example.labels) == {*GOOD, "difficulty"}
        assert all(0 <= digit <= 9 for digit in example.labels.values())


@pytest.mark.parametrize("tokens, digit", [(0, 0), (12, 0), (13, 1), (19, 1), (20, 2), (515, 8), (516, 9), (5000, 9)])
def test_difficulty_grows_with_the_tokens(tokens, digit):
    solution = "x " * tokens
    assert num_tokens(solution) == tokens
    assert difficulty(solution) == digit


def test_the_difficulty_of_text_that_is_no_python_counts_words():
    assert difficulty("(" + " word" * 25) == difficulty("word " * 25) == 2


def test_low_and_high_digits_are_taught_about_equally_often() -> None:
    pairs = [
        {
            "code": f"c{n}",
            "problem": f"write a function f{n} of x",
            "solution": f"def f{n}(x):\n    y = x + {n}\n    return y",
        }
        for n in range(40)
    ]
    rng = random.Random(0)
    digits = [d for e in labelled(pairs, 2, 0) for a, d in taught(e, rng).items() if a != "difficulty"]
    assert 0.3 < sum(d < 5 for d in digits) / len(digits) < 0.6
    whole = next(e for e in labelled(pairs, 2, 0) if e.corruption == "none")
    assert taught(whole, rng) == whole.labels
