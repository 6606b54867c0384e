"""contamination: what the two detectors find and what they cannot, and that hits are the same in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import benchmarks, contamination, raw_pool
from builders.contamination import FLOOR, gram_hashes, hits, index_tasks, squeezed, statement
from builders.recipe import Benchmark, Decontamination, Recipe
from store import CONTRACTS, Store
from tests.rows import put
from tests.tiny_recipes import read, recipe, tree

PROJECT = Path(__file__).resolve().parents[1]
SOLUTION = "    evens = [n for n in numbers if n % 2 == 0]\n    return sum(n * n for n in evens)\n"
PROMPT = (
    "def sum_of_even_squares(numbers):\n"
    '    """Return the sum of the squares of all even numbers in the given list of whole numbers.\n\n'
    "    >>> sum_of_even_squares([1, 2])\n    4\n"
    '    """\n'
)
TASK = {"task_id": "T/0", "prompt": PROMPT, "solution": SOLUTION}
WHOLE = PROMPT + SOLUTION


def detectors(text: str, tasks=(TASK,), ngram=10, min_chars=40) -> dict[str, float]:
    return {h["detector"]: h["strength"] for h in hits(index_tasks(list(tasks), ngram, min_chars), text)}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("    ", "\t"),
        lambda text: text.upper(),
        lambda text: f"# before\n\n{text}\n\nprint('after')\n",
        lambda text: text.replace("\n", "\n\n").replace(" ", "  "),
    ],
)
def test_a_verbatim_copy_is_found_in_every_layout(change):
    assert detectors(change(WHOLE)) == {"string": 1.0, "ngram": 1.0}
    assert detectors(change(SOLUTION)) == {"string": 1.0, "ngram": 1.0}


def test_the_statement_alone_is_found():
    text = "Please: return the sum of the squares of all even numbers in the given list of whole numbers."
    assert detectors(text) == {"string": 1.0, "ngram": 1.0}


def test_renamed_variables_escape_both_detectors():
    """A known limit, stated here and in docs/limitations.md: the detectors compare words, not syntax trees."""
    renamed = SOLUTION.replace("numbers", "values").replace("evens", "found").replace("n ", "v ").replace("(n", "(v")
    assert detectors(renamed) == {}


def test_unrelated_code_has_no_hits():
    assert (
        detectors(
            "def mean(values):\n    total = 0\n    for v in values:\n        total += v\n    return total / len(values)"
        )
        == {}
    )
    assert detectors("") == {}


def test_short_benchmark_texts_are_too_common_to_count():
    short = {"task_id": "T/1", "prompt": "Add a and b.", "solution": "return a + b"}
    text = "def f(a, b):\n    '''Add a and b.'''\n    return a + b\n"
    assert detectors(text, [short]) == {}
    assert detectors(text, [short], min_chars=len(squeezed(short["solution"]))) == {"string": 1.0}
    assert detectors(text, [short], min_chars=len(squeezed(short["prompt"])) + 1) == {}


def test_a_task_without_solution_has_only_its_statement():
    bare = {**TASK, "solution": None}
    assert detectors(SOLUTION, [bare]) == {}
    assert detectors(WHOLE, [bare]) == {"string": 1.0, "ngram": 1.0}


@pytest.mark.parametrize("kept, expected", [(12, 1.0), (11, 0.9), (7, 0.5), (4, 0.2), (3, None), (2, None)])
def test_the_strength_is_the_share_of_the_tasks_ngrams(kept, expected):
    words = [f"word{n}" for n in range(12)]  # 10 different 3-grams
    task = {"task_id": "T/0", "prompt": "unrelated", "solution": " ".join(words)}
    found = detectors(" ".join(["other", *words[:kept], "other"]), [task], ngram=3, min_chars=10_000)
    assert found == ({} if expected is None else {"ngram": pytest.approx(expected)})


def test_the_strength_is_the_larger_of_statement_and_solution():
    task = {"task_id": "T/0", "prompt": "a b c d e", "solution": "v w x y z"}
    (hit,) = hits(index_tasks([task], 3, 1000), "v w x y ... a b c")
    assert (hit["strength"], hit["evidence"]) == (pytest.approx(2 / 3), "v w x")
    (hit,) = hits(index_tasks([task], 3, 1000), "v w x ... a b c d e")
    assert (hit["strength"], hit["evidence"]) == (1.0, "a b c")


def test_repeated_ngrams_count_once():
    task = {"task_id": "T/0", "prompt": "", "solution": "x , x , x , y z"}
    assert detectors("x , x", [task], ngram=3, min_chars=1000) == {"ngram": pytest.approx(1 / 4)}
    assert detectors("x , x , x , x , x , x", [task], ngram=3, min_chars=1000) == {"ngram": pytest.approx(2 / 4)}


def test_one_hit_per_task_and_detector():
    tasks = [TASK, {**TASK, "task_id": "T/1"}]
    found = list(hits(index_tasks(tasks, 10, 40), WHOLE))
    assert sorted((h["task_id"], h["detector"]) for h in found) == [
        ("T/0", "ngram"),
        ("T/0", "string"),
        ("T/1", "ngram"),
        ("T/1", "string"),
    ]


@pytest.mark.parametrize("kept, size", [(7, 10), (3, 5), (9, 10), (1, 3), (33, 100), (10, 10)])
def test_a_share_equal_to_the_threshold_counts_once_it_is_stored(kept, size):
    task = {"task_id": "T/0", "prompt": "", "solution": " ".join(f"w{n}" for n in range(size))}
    (hit,) = hits(index_tasks([task], 1, 1000), " ".join(f"w{n}" for n in range(kept)))
    stored = pa.array([hit["strength"]], CONTRACTS["contamination"].schema.field("strength").type)[0].as_py()
    assert kept / size <= stored <= 1.0
    assert stored == pytest.approx(kept / size, rel=1e-6)


@pytest.mark.parametrize(
    "prompt, expected",
    [
        (PROMPT, "Return the sum of the squares of all even numbers in the given list of whole numbers.\n\n"),
        ("Write a function to add.", "Write a function to add."),
        ('def f():\n    """Doc é."""\n', "Doc é."),
        ('async def f():\n    """Doc."""\n', "Doc."),
        ("def f():\n    pass\n", "def f():\n    pass\n"),
        ("x\0y", "x\0y"),
        ("\ud800", "\ud800"),
        ("(" * 1000, "(" * 1000),
    ],
)
def test_the_statement_is_the_prose_of_a_prompt(prompt, expected):
    assert statement(prompt) == expected


@given(st.text(alphabet="ab (,)\n\tÄ", max_size=40), st.integers(1, 4))
def test_ngrams_do_not_see_the_layout(text, n):
    spread = "\n ".join(text.split())
    assert gram_hashes(text, n).keys() == gram_hashes(spread.upper(), n).keys()
    assert squeezed(text) == squeezed(spread.upper())


# -- the table ---------------------------------------------------------------------------------------------------------


def write_benchmark(path: Path, *tasks: dict) -> None:
    rows = [
        {
            "task_id": t["task_id"],
            "prompt": t["prompt"],
            "canonical_solution": t["solution"],
            "test": "def check(candidate):\n    pass\n",
            "entry_point": "sum_of_even_squares",
        }
        for t in tasks
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


OTHER = {"task_id": "T/9", "prompt": PROMPT, "solution": "    return min(len(numbers), max(numbers), sum(numbers))\n"}


@pytest.fixture
def world(tmp_path: Path) -> tuple[Store, Recipe]:
    """A pool of a leaked and a clean function, and two benchmark files."""
    clean = 'def half(number):\n    """Half of a number."""\n    return number / 2\n'
    root = tree(tmp_path / "code", {"a.py": f"{WHOLE}\n\n{clean}"})
    write_benchmark(tmp_path / "one.jsonl", TASK)
    write_benchmark(tmp_path / "two.jsonl", OTHER)
    named = [{"name": n, "path": str(tmp_path / f"{n}.jsonl")} for n in ("one", "two")]
    made = recipe(root, benchmarks=named)
    store = Store(tmp_path / "store")
    raw_pool.build(store, made)
    return store, made


def check(store: Store, made: Recipe, benchmark: Benchmark) -> None:
    benchmarks.build(store, benchmark)
    contamination.build(store, made, "snippet", benchmark)


def test_hits_in_the_table(world):
    store, made = world
    check(store, made, made.benchmarks[0])
    rows = read(store, "contamination", item_kind="snippet", benchmark="one")
    leaked = next(r["snippet_id"] for r in read(store, "raw_pool") if r["name"] == "sum_of_even_squares")
    assert [(r["item_id"], r["item_kind"], r["benchmark"], r["task_id"], r["strength"]) for r in rows] == [
        (leaked, "snippet", "one", "T/0", 1.0)
    ] * 2
    assert {r["detector"] for r in rows} == {"string", "ngram"}
    assert {r["evidence"] for r in rows} == {
        squeezed(statement(PROMPT))[:200],
        "evens = [ n for n in numbers if n",
    }


def test_it_is_idempotent_and_a_second_benchmark_does_not_touch_the_first(world):
    store, made = world
    check(store, made, made.benchmarks[0])
    path = f"{store.directory('contamination', item_kind='snippet', benchmark='one')}/part-00000.parquet"
    before, time = Path(path).read_bytes(), os.stat(path).st_mtime_ns
    first = store.record("contamination", item_kind="snippet", benchmark="one")
    check(store, made, made.benchmarks[0])
    check(store, made, made.benchmarks[1])
    assert (Path(path).read_bytes(), os.stat(path).st_mtime_ns) == (before, time)
    assert store.record("contamination", item_kind="snippet", benchmark="one") == first
    assert {r["task_id"] for r in read(store, "contamination", item_kind="snippet", benchmark="two")} == {"T/9"}
    again = Store(store.root, force=True)
    contamination.build(again, made, "snippet", made.benchmarks[0])
    assert Path(path).read_bytes() == before


def test_a_threshold_does_not_touch_the_measurement(world):
    store, made = world
    check(store, made, made.benchmarks[0])
    stricter = made.model_copy(update={"decontamination": Decontamination(min_strength=0.9)})
    said = []
    contamination.build(Store(store.root, said.append), stricter, "snippet", made.benchmarks[0])
    assert said == ["contamination/item_kind-snippet/benchmark-one: up to date, 2 rows"]
    longer = made.model_copy(update={"decontamination": Decontamination(ngram=12)})
    with pytest.raises(ValueError, match="another plan"):
        contamination.build(store, longer, "snippet", made.benchmarks[0])


def test_no_threshold_lies_below_what_is_kept():
    (bound,) = [m.ge for m in Decontamination.model_fields["min_strength"].metadata if hasattr(m, "ge")]
    assert bound == FLOOR


def test_problems_and_solutions_of_candidates_are_both_checked(world):
    store, made = world
    benchmarks.build(store, made.benchmarks[0])
    pairs = {"problem": (statement(PROMPT), "x = 1"), "solution": ("Unrelated.", SOLUTION), "neither": (None, None)}
    rows = [
        {"candidate_id": name, "iteration": 1, "problem": problem, "solution": solution}
        for name, (problem, solution) in pairs.items()
    ]
    put(store, "candidates", rows, iteration=1)
    contamination.build(store, made, "candidate", made.benchmarks[0], 1)
    found = read(store, "contamination", item_kind="candidate", iteration=1, benchmark="one")
    assert sorted((r["item_id"], r["detector"]) for r in found) == [
        ("problem", "ngram"),
        ("problem", "string"),
        ("solution", "ngram"),
        ("solution", "string"),
    ]
    assert len({tuple(r[k] for k in CONTRACTS["contamination"].key) for r in found}) == len(found)


def test_hits_are_the_same_bytes_in_every_process(world):
    """Words are hashed with a seed per process: neither which hits there are nor their evidence may depend on it."""
    store, made = world
    benchmarks.build(store, made.benchmarks[0])
    where = {"item_kind": "snippet", "benchmark": "one"}
    program = (
        "import sys; from builders import contamination; from builders.recipe import Recipe; from store import Store\n"
        "made = Recipe.model_validate_json(sys.argv[2])\n"
        "contamination.build(Store(sys.argv[1], force=True), made, 'snippet', made.benchmarks[0])"
    )
    found = []
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, str(store.root), made.model_dump_json()]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)
        found.append(Path(store.directory("contamination", **where), "part-00000.parquet").read_bytes())
    assert len(read(store, "contamination", **where)) == 2
    assert found[0] == found[1] == found[2]


def test_items_that_are_not_built_are_named(world):
    store, made = world
    with pytest.raises(ValueError, match="candidates/iteration-3 is not built"):
        contamination.build(store, made, "candidate", made.benchmarks[0], 3)
    assert store.record("contamination", item_kind="candidate", iteration=3, benchmark="one") is None
