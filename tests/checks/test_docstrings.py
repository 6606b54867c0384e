"""What docstrings are worth: languages are told apart, sufficiency ranks as a reader does."""

import pytest

from builders.checks.docstrings import described, english, is_unwritten, sufficiency


@pytest.mark.parametrize(
    "docstring",
    [
        "Return x.",
        "Returns the sum of all elements of the list.",
        "Compute α and β of the naïve model for Erdős–Rényi graphs.",
        "De Casteljau's algorithm for the curve.",
        "Parse `el los las` and see https://example.org/der/die/das",
        ">>> f('la', 'le', 'les')\n'une'\n\nJoin words in a string.",
        "",
    ],
)
def test_english_is_english(docstring):
    assert english(docstring) >= 0.6


@pytest.mark.parametrize(
    "docstring",
    [
        "Devuelve la suma de los elementos de una lista.",
        "Calcule la moyenne des valeurs dans une liste.",
        "Gibt die Summe der Werte zurück, wenn das Feld nicht leer ist.",
        "Restituisce il valore della funzione nel punto.",
        "Geeft het gemiddelde van een lijst terug.",
        "Zwraca listę, jest pusta lub nie dla zera.",
        "Verilen dosya için bir liste döndürür ve kapatır.",
        "Mengembalikan daftar yang berisi kata untuk dicari.",
        "计算两个数的和并返回结果。",
        "リストの合計を返す関数です。",
        "Возвращает сумму элементов списка.",
        "계산 결과를 반환합니다",
    ],
)
def test_other_languages_are_not(docstring):
    assert english(docstring) < 0.55


def test_one_foreign_name_does_not_make_a_text_foreign():
    assert english("Computes the distance of La Liga teams for each season.") > 0.75


@pytest.mark.parametrize(
    "docstring",
    [
        "TODO",
        "TODO: document this",
        "Overrides base class.",
        "See base class.",
        "_summary_",
        "[summary]",
        "{@inheritDoc}",
    ],
)
def test_an_unwritten_docstring_is_worth_nothing(docstring):
    assert is_unwritten(docstring)
    assert sufficiency(f"{docstring} Returns an example of x and y.", "f", ["x"], 50) == 0


@pytest.mark.parametrize(
    "docstring", ["Add a method.", "See if x is base.", "Sort. TODO: make it faster.", "Parse doc."]
)
def test_a_written_one_is_not_unwritten(docstring):
    assert not is_unwritten(docstring)


def test_described_arguments_are_whole_words():
    assert described([], "anything") == 1
    assert described(["a", "num"], "a number, of numbers") == 0.5
    assert described(["a", "num"], "`num` and :param a:") == 1


def test_more_that_helps_is_worth_more():
    """Each docstring of the list says more than the one before it."""
    growing = [
        "Merge intervals.",
        "Merge intervals that overlap.",
        "Merge intervals that overlap, in order of their starts.",
        "Merge `spans` that overlap, in order of their starts.",
        "Merge `spans` that overlap, in order of their starts; return a list.",
        "Merge `spans` that overlap, in order of their starts; return a list.\n\n>>> merge_intervals([(1, 3), (2, 4)])\n[(1, 4)]",
    ]
    scores = [sufficiency(d, "merge_intervals", ["spans"], 90) for d in growing]
    assert scores == sorted(scores) and len(set(scores)) == len(scores)
    assert scores[0] == 0 and scores[-1] > 0.6


def test_words_of_the_name_do_not_count():
    assert sufficiency("Extract TensorMetadata", "extract_tensor_metadata", ["t"], 90) == 0
    assert sufficiency("Sizes and strides", "extract_tensor_metadata", ["t"], 90) > 0


def test_a_long_function_needs_more_words():
    scores = [sufficiency("Remove blank lines at both ends.", "strip", ["rows"], n) for n in (10, 40, 70, 500, 900)]
    assert scores == sorted(scores, reverse=True) and scores[0] > 2 * scores[-1] and scores[-2] == scores[-1]


def test_the_estimate_has_its_bounds():
    long = "Return an example: " + "word " * 100 + "a b"
    assert sufficiency("", "f", ["x"], 50) == 0
    assert sufficiency(long, "f", ["a", "b"], 2000) == pytest.approx(1.0)
