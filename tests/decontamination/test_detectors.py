"""detectors: what each finds and what none may find.

A hit depends on nothing but the text and its benchmark.
"""

import ast
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import tokens
from builders.decontamination import detectors
from builders.decontamination.detectors import HITS, background, features, units
from builders.decontamination.detectors.calibration import CALIBRATIONS, FLOOR, LONG, PROSE, SHORT, Calibration
from builders.decontamination.detectors.postings import inverted, longest_run, shares
from builders.decontamination.detectors.statements import asked, statement
from builders.decontamination.detectors.strings import matches, patterns
from builders.recipe import Decontamination

PROMPT = '''from typing import List


def longest_plateau(heights: List[int], slack: int) -> int:
    """Return the length of the longest stretch of neighbouring heights whose spread does not exceed the slack.

    >>> longest_plateau([4, 5, 9, 8, 8, 7, 31], 2)
    4
    >>> longest_plateau([17, 2, 40], 1)
    1
    """
'''
SOLUTION = """    best, start = 0, 0
    for end in range(len(heights)):
        while max(heights[start:end + 1]) - min(heights[start:end + 1]) > slack:
            start += 1
        best = max(best, end - start + 1)
    return best
"""
TESTS = "assert longest_plateau([4, 5, 9, 8, 8, 7, 31], 2) == 4\nassert longest_plateau([6, 66, 67, 71, 12], 5) == 3\n"
PLATEAU = {"benchmark": "b", "task_id": "T/0", "prompt": PROMPT, "solution": SOLUTION, "tests": TESTS}
ADD = {
    "benchmark": "b",
    "task_id": "T/1",
    "prompt": 'def add(x, y):\n    """Add two numbers."""\n',
    "solution": "    return x + y\n",
    "tests": "assert add(2, 3) == 5\n",
}
RENAMED = """
def f(a, b):
  r, i = (0, 0)
  for j in range(len(a)):
    while (max(a[i:j + 1]) - min(a[i:j + 1])) > b:
      i += 1
    r = max(r, (j - i) + 1)
  return r
"""
PARAPHRASE = '"""What is the length of the longest stretch of neighbouring heights with a spread below the slack?"""'
EXAMPLES = "給出數組 [4, 5, 9, 8, 8, 7, 31] 和 2, 返回 4; [17, 2, 40], 1 返回 1"
ORDINARY = '''
def merge(left, right):
    """Return one sorted list of the items of two sorted lists."""
    merged, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]
'''
TASKS = [PLATEAU, ADD]
INDEX = detectors.index(TASKS, Decontamination())


def found(text: str, index=INDEX) -> dict[tuple[str, str], float]:
    """(task, detector) -> strength."""
    rows = detectors.hits(index, pa.array(["i"]), pa.array([text])).to_pylist()
    return {(row["task_id"], row["detector"]): row["strength"] for row in rows}


def verdicts(text: str) -> set[str]:
    return {detector for (_, detector), strength in found(text).items() if strength >= 0.5}


def test_each_detector_finds_what_it_is_for():
    assert verdicts(PROMPT + SOLUTION) == {"string", "ngram", "renamed", "prose", "literals", "combined"}
    assert verdicts(SOLUTION) == {"string", "ngram", "renamed"}
    assert verdicts(PROMPT) == {"string", "prose", "literals", "combined"}
    assert verdicts(RENAMED) == {"renamed"}
    assert verdicts(PARAPHRASE) == {"prose"}
    assert verdicts(EXAMPLES) == {"literals"}
    assert verdicts(TESTS) == {"literals"}
    assert verdicts(ORDINARY) == set()
    assert found("") == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("    ", "\t"),
        lambda text: text.upper(),
        lambda text: f"# before\n\n{text}\n\nprint('after')\n",
        lambda text: text.replace("\n", "\n\n").replace(" ", "  "),
        lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
        lambda text: text.replace(" ", "\u00a0").replace("\n", "\u2028"),
    ],
)
def test_a_verbatim_copy_is_found_in_every_layout(change):
    for text in (
        PROMPT + SOLUTION,
        SOLUTION,
        "Return the length of the longest stretch of neighbouring heights whose spread does not exceed the slack.",
    ):
        assert found(change(text))["T/0", "string"] == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    @staticmethod\n" + "".join(f"    {line}\n" for line in RENAMED.strip().split("\n")),
        RENAMED.replace("  r, i", "  '''Something else.'''\n  r, i").replace("i += 1", "i += 1  # on"),
        RENAMED.replace("  r, i = (0, 0)\n", "  unused = [a, b]\n  i = 0\n  r = 0\n  if not a:\n    return 0\n"),
        ast.unparse(ast.parse(PROMPT + SOLUTION)).replace("heights", "sum").replace("slack", "list"),
        f"Explain this code.\n```python\n{RENAMED}```\nIt doesn't matter how.",
    ],
)
def test_a_disguised_solution_is_found(text):
    assert "renamed" in verdicts(text)


def test_a_task_that_tells_nothing_is_not_found_by_its_code():
    for view in ("ngram", "renamed"):
        assert INDEX.bits(view)[1] < CALIBRATIONS[view].floor < INDEX.bits(view)[0]
    for text in ("def plus(a, b):\n    return a + b\n", "def add(x, y):\n    return x + y\n"):
        assert all(strength < 0.5 for (task, _), strength in found(text).items() if task == "T/1")
    assert found(ADD["prompt"] + ADD["solution"])["T/1", "combined"] > 0.5


def test_weak_views_that_agree_make_a_verdict():
    code = "def f(a, b):\n  r = 0; i = 0\n  for j in count():\n    while spread(a, i, j) > b:\n      i = i + 1\n"
    code += "    r = max(r, (j - i) + 1)\n  return r\n"
    prose = '"""The stretch of neighbouring trees whose heights are read from a file."""\n'
    assert 0 < found(code)["T/0", "renamed"] < 0.5
    assert 0 < found(prose)["T/0", "prose"] < 0.5
    together = found(prose + code)
    assert together["T/0", "combined"] >= 0.5 > max(s for (_, d), s in together.items() if d != "combined")
    expected = 1 - np.prod([1 - together["T/0", view] for view in ("renamed", "prose")])
    assert together["T/0", "combined"] == pytest.approx(expected, abs=1e-6)


def test_rows_of_a_hit():
    table = detectors.hits(INDEX, pa.array(["a", "b", "c"]), pa.array([RENAMED, None, EXAMPLES]))
    assert table.schema == HITS
    rows = table.to_pylist()
    assert [(r["item_id"], r["benchmark"], r["task_id"], r["detector"]) for r in rows] == [
        ("a", "b", "T/0", "renamed"),
        ("c", "b", "T/0", "literals"),
    ]
    assert rows[0]["similarity"] == pytest.approx(1.0)
    assert rows[0]["information"] == pytest.approx(INDEX.bits("renamed")[0])
    assert rows[0]["evidence"].startswith("r, i = (0, 0) for j in range(len(a)): while (max(a[i:j + 1])")
    assert rows[1]["evidence"] == "4, 5, 9, 8, 8, 7, 31] 和 2, 返回 4; [17, 2, 40], 1 返回 1"


def test_evidence_is_short_and_on_one_line():
    long = {**PLATEAU, "solution": "".join(f"    name_{k} = other_{k} * {k}\n" for k in range(300))}
    rows = detectors.hits(
        detectors.index([long], Decontamination()), pa.array(["i"]), pa.array([long["solution"]])
    ).to_pylist()
    assert {r["detector"] for r in rows} >= {"string", "ngram", "renamed"}
    assert all(0 < len(r["evidence"]) <= 200 and "\n" not in r["evidence"] for r in rows)


def test_ids_and_texts_belong_together():
    with pytest.raises(ValueError, match="2 item ids are given for 1 texts"):
        detectors.hits(INDEX, pa.array(["a", "b"]), pa.array(["x"]))


def test_arrays_of_any_string_kind_are_taken():
    ids, texts = ["a", "b", "c"], [RENAMED, "x = 1", EXAMPLES]
    expected = detectors.hits(INDEX, pa.array(ids), pa.array(texts))
    large = detectors.hits(
        INDEX, pa.array(ids, pa.large_string()), pa.array(["no", *texts], pa.large_string()).slice(1)
    )
    assert large.equals(expected)
    assert len(detectors.hits(INDEX, pa.array([], pa.string()), pa.array([], pa.string()))) == 0


def test_a_task_without_solution_or_tests_has_only_its_statement():
    bare = detectors.index([{**PLATEAU, "solution": None, "tests": ""}], Decontamination())
    assert found(RENAMED, bare) == {}
    assert {detector for _, detector in found(PROMPT, bare)} == {"string", "prose", "literals", "combined"}
    assert found(PROMPT + SOLUTION, detectors.index([], Decontamination())) == {}


def test_the_inputs_of_cases_are_literals_like_those_of_tests():
    """A task has its inputs in tests that are code, or in cases. Both are found alike."""
    arguments = ["[13, 987654321, 'velociraptor']", "[77123, 4, 'quagmire']", "[31337, 271828, 'zeitgeist']"]
    text = f"values = [{', '.join(arguments)}]"
    task = {"benchmark": "b", "task_id": "0", "prompt": "Compute it.", "solution": None, "entry_point": "f"}
    as_tests = task | {"tests": text, "cases": []}
    as_cases = task | {"tests": "", "comparison": "equal", "cases": [{"input": a, "output": None} for a in arguments]}
    for row in (as_tests, as_cases):
        assert found(text, detectors.index([row], Decontamination())).keys() == {("0", "literals")}


def test_of_cases_only_inputs_and_outputs_are_looked_for():
    """What compares the answers is no part of a task, and neither is what a script reads."""
    case = {"input": "[13, 987654321, 'velociraptor', 'quagmire']", "output": "[31337, 271828, 'zeitgeist']"}
    row = {"benchmark": "b", "task_id": "0", "prompt": "Compute it.", "solution": "def f(x): return 'own'"}
    row |= {"tests": "", "entry_point": "f", "comparison": "livecodebench", "call_form": "function", "cases": [case]}
    assert units.tests_of(row) == f"{case['input']}\n{case['output']}"
    assert units.tests_of(row | {"call_form": "stdin"}) == ""
    assert units.tests_of(row | {"tests": "assert f(1)"}) == "assert f(1)"


def test_only_the_detectors_that_are_asked_for():
    index = detectors.index(TASKS, Decontamination(detectors=("prose", "string")))
    assert {detector for _, detector in found(PROMPT + SOLUTION, index)} == {"string", "prose"}
    only = detectors.index(TASKS, Decontamination(detectors=("string",)))
    assert {detector for _, detector in found(PROMPT + SOLUTION, only)} == {"string"}


def test_short_benchmark_texts_are_too_common_to_count():
    task = {**ADD, "prompt": "Add a and b.", "solution": "return a + b"}
    text = "def f(a, b):\n    '''Add a and b.'''\n    return a + b\n"
    for least, expected in ((40, set()), (9, {("T/1", "string")}), (10, set())):
        index = detectors.index([task], Decontamination(detectors=("string",), min_string_chars=least))
        assert found(text, index).keys() == expected


def test_what_the_tasks_of_a_benchmark_have_in_common_tells_nothing():
    words = ["apples", "rivers", "tigers", "lamps", "shoes", "clouds", "planets", "violins"]
    prompts = [f"Write a wholly unremarkable subroutine which enumerates {word} lexicographically." for word in words]
    tasks = [{**ADD, "task_id": str(k), "prompt": prompt, "solution": None} for k, prompt in enumerate(prompts)]
    alone = detectors.index(tasks[:1], Decontamination(detectors=("prose",)))
    together = detectors.index(tasks, Decontamination(detectors=("prose",)))
    other = prompts[0].replace("apples", "oranges")
    assert found(other, alone)["0", "prose"] > 0.5
    assert max(found(other, together).values()) < found(other, alone)["0", "prose"]
    assert found(prompts[0], together)["0", "prose"] > max(
        s for (t, _), s in found(prompts[0], together).items() if t != "0"
    )


# -- invariants ------------------------------------------------------------------------------------

POOL = [
    PROMPT + SOLUTION,
    SOLUTION,
    PROMPT,
    RENAMED,
    PARAPHRASE,
    EXAMPLES,
    TESTS,
    ORDINARY,
    "",
    "x = 1",
    ADD["prompt"],
    None,
]
OTHER = [{**task, "benchmark": "other", "prompt": task["prompt"].replace("longest", "widest")} for task in TASKS]


def rows_of(index, texts) -> list[dict]:
    ids = pa.array([str(k) for k in range(len(texts))], pa.string())
    return detectors.hits(index, ids, pa.array(texts, pa.string())).to_pylist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(POOL), min_size=1, max_size=8), st.integers(0, 8))
def test_hits_do_not_depend_on_how_the_work_is_cut(texts, cut):
    whole = rows_of(INDEX, texts)
    first, rest = rows_of(INDEX, texts[:cut]), rows_of(INDEX, texts[cut:])
    moved = [{**row, "item_id": str(int(row["item_id"]) + len(texts[:cut]))} for row in rest]
    assert whole == first + moved


@settings(max_examples=20, deadline=None)
@given(st.permutations(TASKS + OTHER), st.sampled_from(POOL))
def test_hits_of_a_benchmark_do_not_depend_on_the_others(tasks, text):
    def sets(rows):
        return {tuple(row.values()) for row in rows}

    together = sets(rows_of(detectors.index(tasks, Decontamination()), [text]))
    apart = [sets(rows_of(detectors.index(part, Decontamination()), [text])) for part in (TASKS, OTHER)]
    assert together == apart[0] | apart[1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(POOL), max_size=8), st.floats(FLOOR, 1), st.floats(FLOOR, 1))
def test_decontamination_is_idempotent_and_monotone_in_the_threshold(texts, one, other):
    def kept(texts, threshold):
        flagged = {row["item_id"] for row in rows_of(INDEX, texts) if row["strength"] >= threshold}
        return [text for k, text in enumerate(texts) if str(k) not in flagged]

    assert kept(kept(texts, one), one) == kept(texts, one)
    low, high = sorted((one, other))
    left = kept(texts, high)
    assert [text for text in kept(texts, low) if text not in left] == []


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(["q", "zeta", "_w", "Ö", "names"]),
    st.sampled_from(["  ", "    ", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_the_renamed_strength_sees_neither_names_nor_layout(names, indent, line_end):
    tree = ast.parse(RENAMED)
    for node in ast.walk(tree):
        for field in ("id", "arg"):
            if getattr(node, field, None) in ("a", "b", "r", "i", "j"):
                setattr(node, field, names["abrij".index(getattr(node, field))])
    text = ast.unparse(tree).replace("    ", indent).replace("\n", line_end)
    assert found(text)["T/0", "renamed"] == found(RENAMED)["T/0", "renamed"]


# -- the pieces ------------------------------------------------------------------------------------


@pytest.mark.parametrize("calibration", CALIBRATIONS.values(), ids=CALIBRATIONS)
def test_a_calibration_is_monotone_and_meets_its_verdict(calibration: Calibration):
    shares_, bits = np.linspace(0, 1, 101), np.array([0.0, 1, 5, 10, 20, 50, 200, 1e4])
    grid = calibration.strengths(shares_[:, None], bits[None, :], np.array(SHORT))
    assert grid.min() == 0
    assert grid.max() <= 1
    assert (np.diff(grid, axis=0) >= 0).all()
    assert (np.diff(grid, axis=1) >= 0).all()
    at_verdict = calibration.strengths(np.array(calibration.verdict + calibration.chance / 100), np.array(100.0), 1)
    assert at_verdict == pytest.approx(0.5)
    longer = [
        calibration.strengths(np.array(0.9), np.array(30.0), np.array(n)) for n in (1, SHORT, 200, LONG, 10 * LONG)
    ]
    assert longer == sorted(longer, reverse=True)
    assert longer[0] == longer[1] > longer[3] == longer[4]
    assert calibration.strengths(np.array(1.0), np.array(calibration.floor), 1) == pytest.approx(0.5)
    assert calibration.strengths(np.array(1.0), np.array(calibration.floor * 0.99), 1) < 0.5
    reach = calibration.min_share(FLOOR)
    assert calibration.strengths(np.array(reach), np.array(1e12), 1) == pytest.approx(FLOOR)


GRAM = st.integers(0, 12)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(GRAM, max_size=6), min_size=1, max_size=5),
    st.lists(st.tuples(st.lists(GRAM, max_size=10), st.lists(GRAM, max_size=4)), min_size=1, max_size=4),
    st.floats(0.01, 1),
)
def test_shares_are_those_of_sets(units, texts, least):
    def hashed(values):
        return np.array([v * 0x9E3779B97F4A7C15 % 2**64 for v in values], np.uint64)

    def made(lists):
        return tokens.Grams(hashed(chain(*lists)), np.cumsum([0, *map(len, lists)]), 1)

    weight = {gram: gram / 2 for gram in range(13)}  # the n-gram 0 has none
    owners = np.repeat(np.arange(len(units)), [len(unit) for unit in units])
    weights = np.array([weight[g] for unit in units for g in unit], float)
    index = inverted(owners, hashed(chain(*units)), weights, len(units))
    result = shares(index, [made([one for one, _ in texts]), made([other for _, other in texts])], least)
    ours = dict(zip(zip(result.texts.tolist(), result.units.tolist(), strict=True), result.shares, strict=True))
    for t, (one, other) in enumerate(texts):
        for u, unit in enumerate(units):
            total = sum(weight[g] for g in set(unit))
            share = sum(weight[g] for g in set(unit) & set(one + other)) / total if total else 0
            if share and abs(share - least) > 1e-6:
                assert ((t, u) in ours) == (share > least)
                assert ours.get((t, u), share) == pytest.approx(share, rel=1e-6)


def test_the_longest_run_of_a_text():
    grams = tokens.Grams(np.array([1, 2, 9, 1, 2, 3, 9, 7], np.uint64), np.array([0, 2, 8]), 1)
    index = inverted(np.array([0, 0, 0, 1]), np.array([1, 2, 3, 7], np.uint64), np.ones(4), 2)
    assert longest_run(index, grams, 1, 0) == (3, 5)
    assert longest_run(index, grams, 0, 0) == (0, 1)
    assert longest_run(index, grams, 1, 1) == (7, 7)
    assert longest_run(index, grams, 0, 1) == (-1, -1)


def test_overlapping_and_equal_patterns_are_all_found():
    index = patterns([(0, "abc def"), (1, "bcd"), (2, "ABCDEF"), (2, "bc d"), (3, "ab")], 3)
    assert [index.tasks[k] for k in range(len(index.patterns))] == [[0, 2], [1, 2]]
    found_ = matches(index, pa.array(["x ABC\nd e f abcdef", "", "bce", "b c d"], pa.large_string()))
    assert found_ == [(0, 0), (0, 1), (3, 1)]
    assert matches(index, pa.array(["ab", "cdef"], pa.large_string())) == []
    long = "x" * 100
    assert matches(patterns([(0, long)], 3), pa.array([long[:99], long], pa.large_string())) == [(1, 0)]


def test_the_background_knows_what_is_common():
    """Fails when the lexer changed and the stored frequencies did not."""
    made = features.of_tokens(
        tokens.lex(
            [
                "for i in range(len(x)):\n    y.append(z)\ndef f(self, *args, **kwargs): pass\n# the number of elements in the list: 0, 1, 2, 3\n"
            ]
        ),
        features.VIEWS,
    )
    common = {name: background.bits(name, g.hashes) for sets in made.values() for name, (_, g) in sets.items()}
    assert common["renamed-4"].min() < 6
    assert common["renamed-7"].min() < 10
    assert common["ngram-6"].min() < 12
    assert common["prose-1"].max() < 6
    assert common["prose-2"].min() < 8
    assert common["literals-3"].max() < 9
    rare = background.bits("renamed-4", np.arange(1000, dtype=np.uint64) * np.uint64(2**50))
    assert np.median(rare) > 12
    assert set(background.bits("ngram-9", np.arange(3, dtype=np.uint64))) == {
        background.bits("ngram-9", np.zeros(1, np.uint64))[0]
    }


@pytest.mark.parametrize(
    "prompt, expected",
    [
        (
            PROMPT,
            "Return the length of the longest stretch of neighbouring heights whose spread does not exceed the slack.\n\n",
        ),
        ("Write a function to add.", "Write a function to add."),
        ('def f():\n    """Doc é."""\n', "Doc é."),
        ('async def f():\n    """Doc."""\n', "Doc."),
        ("def f():\n    pass\n", "def f():\n    pass\n"),
        ("x = '\\w'\0y", "x = '\\w'\0y"),
        ("\ud800", "\ud800"),
        ("(" * 1000, "(" * 1000),
    ],
)
def test_the_statement_is_the_prose_of_a_prompt(prompt, expected):
    assert statement(prompt) == expected


@pytest.mark.parametrize(
    "rest, is_cut",
    [
        (">>> f(1)\n2", True),
        ("For example, f(1) is 2.", True),
        ("Examples\nf(1) == 2", True),
        ("longest_run([1, 2]) ➞ 2", True),
        ("[input/output] samples:\n1 2", True),
        ("An exemplary run is short.", False),
        ("The result is a number.", False),
    ],
)
def test_what_is_asked_ends_at_the_first_example(rest, is_cut):
    """Examples are literals. In the prose of a statement they would only dilute it."""
    told = "Return the length of the longest run of equal values.\n"
    assert asked(told + rest) == (told if is_cut else told + rest)
    assert asked("Reverse it.\n" + rest).startswith("Reverse it.\n" + rest[:1]), "too short to do without"


def test_prose_is_weak_where_little_of_the_statement_is_said():
    """A short text that says a part of a long statement and nothing else scores high."""
    scores = np.array([PROSE.weak, PROSE.verdict, PROSE.verdict + 1, 50.0])
    whole = PROSE.strengths(scores, np.ones(4))
    assert whole[:2] == pytest.approx([FLOOR, 0.5])
    assert 0.5 < whole[2] < whole[3] < 1
    assert (np.diff(PROSE.strengths(np.linspace(-20, 30, 101), np.ones(101))) >= 0).all()
    little = PROSE.strengths(scores, np.full(4, PROSE.least_share - 0.01))
    assert little.tolist() == [FLOOR, *[PROSE.most_if_less] * 3]


@pytest.mark.parametrize("share", [0.7, 3 / 5, 9 / 10, 1 / 3, 33 / 100, 1.0, 0.5])
def test_a_share_equal_to_the_threshold_counts_once_it_is_stored(share):
    stored = float(detectors.rounded_up(np.array([share]))[0])
    assert share <= stored <= 1
    assert stored == pytest.approx(share, rel=1e-6)
