"""contamination: the table of hits is the same in every process and however the work is cut.

What the detectors find is in tests/decontamination/test_detectors.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders import benchmarks, contamination, raw_pool, sandbox
from builders.decontamination.detectors.calibration import FLOOR
from builders.recipe import Benchmark, Decontamination, Executor, Recipe
from store import CONTRACTS, Store
from store.errors import JobError
from tests.rows import make_stale, put
from tests.tiny_recipes import read, recipe, tree

PROJECT = Path(__file__).resolve().parents[1]
PROMPT = (
    "def sum_of_even_squares(numbers):\n"
    '    """Return the sum of the squares of all even numbers in the given list of whole numbers.\n\n'
    "    >>> sum_of_even_squares([1, 2])\n    4\n"
    '    """\n'
)
SOLUTION = "    evens = [n for n in numbers if n % 2 == 0]\n    return sum(n * n for n in evens)\n"
TASK = {"task_id": "T/0", "prompt": PROMPT, "solution": SOLUTION}
OTHER = {"task_id": "T/9", "prompt": PROMPT, "solution": "    return min(len(numbers), max(numbers), sum(numbers))\n"}
RENAMED = "def f(xs):\n    return sum(x * x for x in [x for x in xs if x % 2 == 0])\n"


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


@pytest.fixture
def world(tmp_path: Path) -> tuple[Store, Recipe]:
    """A pool of a leaked and a clean function, and two benchmark files."""
    clean = 'def half(number):\n    """Half of a number."""\n    return number / 2\n'
    root = tree(tmp_path / "code", {"a.py": f"{PROMPT}{SOLUTION}\n\n{clean}"})
    write_benchmark(tmp_path / "one.jsonl", TASK)
    write_benchmark(tmp_path / "two.jsonl", OTHER)
    named = [{"name": n, "path": str(tmp_path / f"{n}.jsonl")} for n in ("one", "two")]
    made = recipe(root, benchmarks=named)
    store = Store(tmp_path / "store")
    raw_pool.build(store, made.sources, made.executor)
    return store, made


def check(store: Store, made: Recipe, benchmark: Benchmark) -> None:
    benchmarks.build(store, benchmark)
    contamination.build(store, made.decontamination, made.executor, "snippet", benchmark)


def test_hits_in_the_table(world):
    store, made = world
    check(store, made, made.benchmarks[0])
    rows = read(store, "contamination", item_kind="snippet", benchmark="one")
    leaked = next(r["snippet_id"] for r in read(store, "raw_pool") if r["name"] == "sum_of_even_squares")
    assert {(r["item_id"], r["item_kind"], r["benchmark"], r["task_id"]) for r in rows} == {
        (leaked, "snippet", "one", "T/0")
    }
    strengths = {r["detector"]: r["strength"] for r in rows}
    assert strengths.keys() == {"string", "ngram", "renamed", "prose", "combined"}
    assert min(strengths.values()) >= 0.5
    evidence = {r["detector"]: r["evidence"] for r in rows}
    assert evidence["string"].startswith("Return the sum of the squares of all even numbers")
    assert evidence["renamed"].startswith("evens = [n for n in numbers if n % 2 == 0]")
    assert all(r["information"] > 0 and 0 < r["similarity"] <= 1 for r in rows)


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
    make_stale(store, "contamination", item_kind="snippet", benchmark="one")
    contamination.build(store, made.decontamination, made.executor, "snippet", made.benchmarks[0])
    assert Path(path).read_bytes() == before
    assert os.stat(path).st_mtime_ns > time


def test_a_changed_benchmark_of_the_same_name_is_read_anew(world, tmp_path):
    store, made = world
    check(store, made, made.benchmarks[0])
    write_benchmark(tmp_path / "one.jsonl", OTHER)
    forced = Store(store.root, force=True)
    check(forced, made, made.benchmarks[0])
    assert {r["task_id"] for r in read(store, "contamination", item_kind="snippet", benchmark="one")} == {"T/9"}


def test_a_threshold_does_not_touch_the_measurement(world):
    store, made = world
    check(store, made, made.benchmarks[0])
    rows = len(read(store, "contamination", item_kind="snippet", benchmark="one"))
    stricter = made.model_copy(update={"decontamination": Decontamination(min_strength=0.9)})
    said = []
    contamination.build(
        Store(store.root, said.append), stricter.decontamination, stricter.executor, "snippet", made.benchmarks[0]
    )
    assert said == [f"contamination/item_kind-snippet/benchmark-one: up to date, {rows} rows"]
    for changed in (Decontamination(ngram=12), Decontamination(detectors=("string",))):
        other = made.model_copy(update={"decontamination": changed})
        with pytest.raises(ValueError, match="another plan"):
            contamination.build(store, other.decontamination, other.executor, "snippet", made.benchmarks[0])


def test_what_decides_about_hits_is_in_the_plan(world):
    store, made = world
    check(store, made, made.benchmarks[0])
    fields = store.record("contamination", item_kind="snippet", benchmark="one").plan.fields
    assert fields["rules"]["calibrations"].keys() == {"ngram", "renamed", "prose", "literals"}
    assert len(fields["rules"]["background"]) == 16
    assert fields["detectors"] == ["string", "ngram", "renamed", "prose", "literals"]


def test_no_threshold_lies_below_what_is_kept():
    (bound,) = [m.ge for m in Decontamination.model_fields["min_strength"].metadata if hasattr(m, "ge")]
    assert bound == FLOOR


def test_problems_and_solutions_of_candidates_are_both_checked(world):
    store, made = world
    benchmarks.build(store, made.benchmarks[0])
    problem = "Return the sum of the squares of all even numbers in the given list of whole numbers."
    pairs = {
        "problem": (problem, "x = 1"),
        "solution": ("Unrelated.", SOLUTION),
        "disguised": (None, RENAMED.replace("x in [x for x in xs if x % 2 == 0]", "x in ys")),
        "neither": (None, None),
    }
    rows = [
        {"candidate_id": name, "iteration": 1, "problem": problem, "solution": solution}
        for name, (problem, solution) in pairs.items()
    ]
    put(store, "candidates", rows, iteration=1)
    contamination.build(store, made.decontamination, made.executor, "candidate", made.benchmarks[0], 1)
    found = read(store, "contamination", item_kind="candidate", iteration=1, benchmark="one")
    assert sorted((r["item_id"], r["detector"]) for r in found if r["strength"] >= 0.5) == [
        ("problem", "prose"),
        ("problem", "string"),
        ("solution", "ngram"),
        ("solution", "renamed"),
        ("solution", "string"),
    ]
    weak = {r["item_id"]: r["strength"] for r in found if r["item_id"] not in ("problem", "solution")}
    assert weak == {"disguised": pytest.approx(0.25, abs=0.05)}, "a sum of squares says little of the task"
    assert len({tuple(r[k] for k in CONTRACTS["contamination"].key) for r in found}) == len(found)


def test_rows_do_not_depend_on_batches(world, monkeypatch):
    store, made = world
    check(store, made, made.benchmarks[0])
    path = f"{store.directory('contamination', item_kind='snippet', benchmark='one')}/part-00000.parquet"
    before = Path(path).read_bytes()
    monkeypatch.setattr(contamination, "BATCH_ROWS", 1)
    make_stale(store, "contamination", item_kind="snippet", benchmark="one")
    contamination.build(store, made.decontamination, made.executor, "snippet", made.benchmarks[0])
    assert Path(path).read_bytes() == before


def test_hits_are_the_same_bytes_in_every_process(world):
    """Neither which hits there are nor their evidence may depend on the seed of Python's hashes."""
    store, made = world
    benchmarks.build(store, made.benchmarks[0])
    where = {"item_kind": "snippet", "benchmark": "one"}
    program = (
        "import sys; from builders import contamination; from builders.recipe import Recipe; from store import Store\n"
        "made = Recipe.model_validate_json(sys.argv[2])\n"
        "contamination.build(Store(sys.argv[1]), made.decontamination, made.executor, 'snippet', made.benchmarks[0])"
    )
    found = []
    for seed in ("1", "2"):
        if found:
            make_stale(store, "contamination", **where)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, str(store.root), made.model_dump_json()]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)
        found.append(Path(store.directory("contamination", **where), "part-00000.parquet").read_bytes())
    assert len(read(store, "contamination", **where)) == 5
    assert found[0] == found[1]


def test_looking_at_a_store_compiles_nothing():
    program = "import sys, builders.contamination; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_items_that_are_not_built_are_named(world):
    store, made = world
    with pytest.raises(ValueError, match="candidates/iteration-3 is needed, but it is not built"):
        contamination.build(store, made.decontamination, made.executor, "candidate", made.benchmarks[0], 3)
    assert store.record("contamination", item_kind="candidate", iteration=3, benchmark="one") is None


def asked(tmp_path: Path) -> Path:
    """A benchmark of one task whose tests tell it from other functions."""
    calls = [([3, 6, 1, 8], 100), ([5, 7], 0), ([2, 40, 9], 1604), ([10, 12, 13], 244)]
    tests = "def check(candidate):\n" + "".join(f"    assert candidate({a}) == {b}\n" for a, b in calls)
    row = {"task_id": "T/0", "prompt": PROMPT, "canonical_solution": SOLUTION, "test": tests}
    path = tmp_path / "asked.jsonl"
    path.write_text(json.dumps(row | {"entry_point": "sum_of_even_squares"}) + "\n")
    return path


ANEW = (
    "def total(xs):\n    t = 0\n    while xs:\n        h, *xs = xs\n        t += 0 if h & 1 else h ** 2\n    return t\n"
)


@pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")
@pytest.mark.parametrize("kind, iteration", [("snippet", None), ("teacher", None), ("candidate", 1)])
def test_execution_in_the_loop_finds_a_solution_that_was_written_anew(tmp_path, kind, iteration):
    table, key, _ = contamination.TEXTS[kind]
    store, where = Store(tmp_path / "store"), {} if iteration is None else {"iteration": iteration}
    texts = {"code": ANEW} if kind == "snippet" else {"problem": "Add up.", "solution": f"So:\n```python\n{ANEW}```\n"}
    other = {name: text.replace("h ** 2", "h + 2") for name, text in texts.items()}
    put(store, table, [{key: "leak", **texts}, {key: "own", **other}], **where)
    benchmark = Benchmark(name="asked", path=str(asked(tmp_path)))
    benchmarks.build(store, benchmark)
    found = {}
    for execution in (False, True):
        settings = Decontamination(execution=execution)
        contamination.build(Store(store.root, force=True), settings, Executor(), kind, benchmark, iteration)
        rows = read(store, "contamination", item_kind=kind, benchmark="asked", **where)
        found[execution] = {(r["item_id"], r["strength"]) for r in rows if r["strength"] >= 0.5}
    assert found == {False: set(), True: {("leak", 1.0)}}


def test_execution_without_a_sandbox_is_refused_before_any_work(world, monkeypatch):
    store, made = world
    benchmarks.build(store, made.benchmarks[0])

    def none():
        raise RuntimeError("There is no sandbox.")

    monkeypatch.setattr("builders.sandbox.require", none)
    with pytest.raises(JobError, match=r"no sandbox\. Or set decontamination\.execution to false"):
        settings = Decontamination(execution=True)
        contamination.build(store, settings, made.executor, "snippet", made.benchmarks[0])


def test_a_leak_in_the_context_of_a_snippet_counts(tmp_path):
    caller = 'def shown(numbers):\n    """Show the total."""\n    return str(sum_of_even_squares(numbers))\n'
    root = tree(tmp_path / "code", {"a.py": f"{PROMPT}{SOLUTION}\n\n{caller}"})
    write_benchmark(tmp_path / "one.jsonl", TASK)
    made = recipe(root, benchmarks=[{"name": "one", "path": str(tmp_path / "one.jsonl")}])
    store = Store(tmp_path / "store")
    raw_pool.build(store, made.sources, made.executor)
    benchmarks.build(store, made.benchmarks[0])
    contamination.build(store, made.decontamination, made.executor, "snippet", made.benchmarks[0])
    names = {r["snippet_id"]: r["name"] for r in read(store, "raw_pool")}
    assert {names[r["item_id"]] for r in read(store, "contamination", item_kind="snippet", benchmark="one")} == {
        "sum_of_even_squares",
        "shown",
    }
