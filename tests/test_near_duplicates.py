"""near_duplicates: disguised copies are found, others are not, and the pool keeps the best ones."""

import random

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import near_duplicates, pool
from builders.recipe import NearDuplicates, Recipe
from store import Plan, Store
from tests.rows import put, table
from tests.test_pool import GOOD_CHECKS, GOOD_TEXT
from tests.tiny_recipes import read, recipe

MEDIAN = '''def median(values, key=None):
    """Return the middle of the values."""
    ordered = sorted(values, key=key)
    size = len(ordered)
    if size == 0:
        raise ValueError("no median of nothing")
    half = size // 2
    if size % 2 == 1:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2
'''
REFORMATTED = """def median(
    values,
    key=None,  # a # that is code's no more
):
    ordered = (sorted(values, key=key,))
    size = len(ordered)
    # nothing has no middle
    if size == 0: raise ValueError('no median of nothing')
    half = size//2
    if (size % 2 == 1):
        return ordered[half]
    return (
        (ordered[half - 1]
        + ordered[half]) / 2)
"""
RENAMED = '''def middle(xs: list, by=None) -> float:
    """Sort and take the one in the middle, or the mean of both."""
    a = sorted(xs, key=by)
    n = len(a)
    if n == 0:
        raise ValueError("no median of nothing")
    m = n // 2
    if n % 2 == 1:
        return a[m]
    return (a[m - 1] + a[m]) / 2
'''
LONGER = MEDIAN.replace("    half = size // 2\n", "    half = size // 2\n    print(size)\n")
OTHER = '''def variance(values, mean=None):
    """Return the variance of the values."""
    size = len(values)
    if size < 2:
        raise ValueError("no variance of one")
    if mean is None:
        mean = sum(values) / size
    total = 0.0
    for value in values:
        total += (value - mean) ** 2
    return total / (size - 1)
'''


def stored(path, texts: dict[str, str], checks=None, shards=1, order=None, **changes) -> Store:
    """A store of snippets, good but for what `checks` says, in any number of shards."""
    store, names = Store(path), order or list(texts)
    checks = {name: GOOD_CHECKS | (checks or {}).get(name, {}) for name in names}
    rows = [GOOD_TEXT | {"snippet_id": n, "code": texts[n], "num_chars": len(texts[n])} | changes for n in names]
    parts = [rows[i::shards] for i in range(shards)]
    store.materialize(Plan(table="raw_pool", num_shards=shards), lambda i: table("raw_pool", parts[i]))
    put(store, "snippet_checks", [checks[n] | {"snippet_id": n} for n in names])
    put(store, "snippet_occurrences", [{"snippet_id": n, "path": f"{n}.py"} for n in names])
    return store


def found(store: Store, made: Recipe) -> list[dict]:
    near_duplicates.build(store, made.near_duplicates)
    return read(store, "near_duplicates")


def methods(rows: list[dict]) -> dict[tuple[str, str], str]:
    return {(r["snippet_id"], r["cluster_id"]): r["method"] for r in rows}


def kept(store: Store, made: Recipe) -> set[str]:
    pool.build(store, made)
    return {r["snippet_id"] for r in read(store, "pool")}


# -- what is similar -------------------------------------------------------------------------------


def test_disguised_copies_are_found_and_others_are_not(tmp_path):
    texts = {"a": MEDIAN, "b": REFORMATTED, "c": RENAMED, "d": LONGER, "z": OTHER}
    rows = found(stored(tmp_path / "store", texts), recipe(tmp_path))
    pairs = {("b", "a"): "equal", ("c", "a"): "renamed", ("c", "b"): "renamed", ("a", "d"): "similar"}
    assert {frozenset(p): m for p, m in methods(rows).items() if "d" not in p} == {
        frozenset(p): m for p, m in pairs.items() if "d" not in p
    }
    assert not any("z" in pair for pair in methods(rows))
    similarity = {frozenset((r["snippet_id"], r["cluster_id"])): r for r in rows}
    copy, longer = similarity[frozenset("ac")], similarity[frozenset("ad")]
    assert copy["similarity_renamed"] == 1 and copy["similarity_raw"] < 0.5
    assert longer["method"] == "similar" and 0.8 < longer["similarity_raw"] < 1


def test_a_free_name_is_no_disguise(tmp_path):
    """Two functions that call different ones do different things, however alike they look."""
    is_dir = """def is_{0}(self):
    try:
        return S_IS{1}(self.stat().st_mode)
    except OSError as error:
        if not _ignore_error(error):
            raise
        return False
    except ValueError:
        return False
"""
    texts = {"dir": is_dir.format("dir", "DIR"), "file": is_dir.format("file", "REG")}
    store, made = stored(tmp_path / "store", texts), recipe(tmp_path)
    assert all(max(r["similarity_raw"], r["similarity_renamed"]) < 0.8 for r in found(store, made))
    put(store, "contamination", [])
    assert kept(store, made) == {"dir", "file"}


def test_hashes_in_strings_are_text(tmp_path):
    text = MEDIAN.replace("no median of nothing", "#{}")
    texts = {"a": text.format("one kind of thing"), "b": text.format("another kind of thing")}
    (row,) = found(stored(tmp_path / "store", texts), recipe(tmp_path))
    assert row["method"] == "similar"


def test_short_functions_must_be_equal(tmp_path):
    area = 'def area(w, h):\n    """The area."""\n    side = w\n    return side * h\n'
    texts = {
        "a": area,
        "b": area.replace('"""The area."""', "# The area"),
        "c": area.replace("side * h", "side + h"),
        "d": "def size(a, b):\n    c = a\n    return c * b\n",
        "e": "def area(w, h): return 1\n",
    }
    rows = found(stored(tmp_path / "store", texts), recipe(tmp_path))
    assert {frozenset(p): m for p, m in methods(rows).items()} == {
        frozenset("ab"): "equal",
        frozenset("ad"): "renamed",
        frozenset("bd"): "renamed",
    }


NAMES = st.lists(
    st.from_regex(r"[a-z]{1,3}_[0-9a-z]{0,4}", fullmatch=True), min_size=5, max_size=5, unique=True
)  # an underscore: neither keywords nor builtins


@st.composite
def programs(draw) -> list[str]:
    """Statements over the names n0..n4 and free ones."""
    names = st.sampled_from([f"n{i}" for i in range(5)])
    forms = (
        "{} = {} + {}",
        "for {} in limit({}): {} -= 1",
        "if {} > {}.size: {} = [7]",
        "print(f'{{{}}}', {}, key={})",
    )
    form = st.sampled_from(forms)
    return [draw(form).format(draw(names), draw(names), draw(names)) for _ in range(draw(st.integers(1, 12)))]


@settings(max_examples=40, deadline=None)
@given(programs(), NAMES, NAMES)
def test_a_renamed_copy_is_equal_up_to_names(body, these, those):
    def text(names: list[str]) -> str:
        lines = ["def n0(n1, n2=2, *n3):", *body, "n4 = n0", "return n4"]
        code = lines[0] + "".join(f"\n    {line}" for line in lines[1:])
        for i in range(len(names)):
            code = code.replace(f"n{i}", f"<{i}>")
        for i, name in enumerate(names):
            code = code.replace(f"<{i}>", name)
        return code

    hashes, offsets = near_duplicates.gram_sets(pa.array([text(these), text(those)]), NearDuplicates())["renamed"]
    assert offsets[1] > 0
    assert list(hashes[: offsets[1]]) == list(hashes[offsets[1] :])


def test_a_renamed_copy_is_in_the_cluster_among_many(tmp_path):
    rng = random.Random(0)
    calls = [f"n{rng.randrange(4)} = work{rng.randrange(9)}(n{rng.randrange(4)})" for _ in range(1200)]
    texts = {}
    for k in range(60):
        body = "\n    ".join(calls[20 * k : 20 * k + 20])
        texts[f"a{k}"] = f"def f(n0, n1, n2, n3):\n    {body}\n    return n0\n"
        texts[f"b{k}"] = texts[f"a{k}"].replace("n0", "first").replace("n1", "second").replace("n2", "third")
    rows = found(stored(tmp_path / "store", texts), recipe(tmp_path))
    pairs = {frozenset(p) for p, m in methods(rows).items() if m == "renamed"}
    assert pairs == {frozenset((f"a{k}", f"b{k}")) for k in range(60)}


# -- docstrings ------------------------------------------------------------------------------------

LONG = (
    "Return the chunks which were included in the correct chunk structures, but not in the guessed chunk "
    "structures, listed in input order."
)
SHORT = "Return the name of it."


def documented(path, *functions: tuple[str, str, str]) -> Store:
    """A store of (name, docstring, code), the first the better; their ids are a, b, c …"""
    store, names = Store(path), "abcdefgh"[: len(functions)]
    rows = [
        GOOD_TEXT | {"snippet_id": i, "name": n, "docstring": d, "code": c}
        for i, (n, d, c) in zip(names, functions, strict=True)
    ]
    put(store, "raw_pool", rows)
    words = [len(d.split()) for _, d, _ in functions]
    put(
        store,
        "snippet_checks",
        [GOOD_CHECKS | {"snippet_id": i, "num_docstring_words": w} for i, w in zip(names, words, strict=True)],
    )
    put(store, "snippet_occurrences", [{"snippet_id": i, "path": f"{i}.py"} for i in names])
    put(store, "contamination", [])
    return store


def merged(path, *functions: tuple[str, str, str], **settings_) -> int:
    """How many of the functions are left out of the pool as near-duplicates."""
    store, made = documented(path, *functions), recipe(path, near_duplicates=settings_)
    near_duplicates.build(store, made.near_duplicates)
    pool.build(store, made)
    return sum(r["reason"] == "near_duplicate" for r in read(store, "rejects", stage="pool"))


OLDER = LONG.replace("input order", "input sequence")
MISSED = LONG.replace("correct", "x").replace("guessed", "correct").replace("x chunk", "guessed chunk")


@pytest.mark.parametrize(
    ("one", "other", "is_merged"),
    [
        (("f", LONG, MEDIAN), ("f", LONG, OTHER), True),  # a new version of the code
        (("f", LONG, MEDIAN), ("A.f", OLDER, OTHER), True),  # and of the words
        (("f", LONG, MEDIAN), ("g", OLDER, OTHER), False),  # one word may make the difference
        (("missed", LONG, MEDIAN), ("incorrect", MISSED, OTHER), False),
        (("f", LONG, MEDIAN), ("g", f"{LONG[:-1]}\n", OTHER), True),  # one problem
        (("f", SHORT, MEDIAN), ("g", SHORT, OTHER), False),  # boilerplate
        (("f", SHORT, MEDIAN), ("f", SHORT, OTHER), True),
        (("f", "", MEDIAN), ("f", "", OTHER), False),
    ],
)
def test_one_problem_is_posed_once(tmp_path, one, other, is_merged):
    assert merged(tmp_path, one, other) == is_merged


def test_short_equal_docstrings_need_code_that_is_alike(tmp_path):
    lines = [f"    total{i} = function{i}(values, total{i - 1})\n" for i in range(1, 41)]
    first, second = ("def f(values, total0):\n" + "".join(lines[s : s + 28]) for s in (0, 4))
    assert merged(tmp_path / "alike", ("f", SHORT, first), ("g", SHORT, second)) == 1
    assert merged(tmp_path / "unlike", ("f", SHORT, first), ("g", SHORT + " Or not.", second)) == 0


def test_docstrings_have_a_similarity_and_a_threshold_of_their_own(tmp_path):
    pair = ("f", LONG, MEDIAN), ("f", OLDER, OTHER)
    store, made = documented(tmp_path, *pair), recipe(tmp_path)
    (row,) = found(store, made)
    grams = [
        {" ".join(w[i : i + 3]) for i in range(len(w) - 2)}
        for w in (t.lower().replace(",", "").replace(".", "").split() for t in (LONG, OLDER))
    ]
    assert row["similarity_docstring"] == pytest.approx(len(grams[0] & grams[1]) / len(grams[0] | grams[1]))
    assert row["method"] == "docstring" and row["similarity_raw"] < 0.6
    strict = recipe(tmp_path, near_duplicates={"min_similarity_docstring": 0.95})
    assert kept(store, strict) == {"a", "b"}
    assert len(kept(Store(store.root, force=True), made)) == 1
    (reject,) = read(store, "rejects", stage="pool")
    assert (reject["value"], reject["threshold"]) == (pytest.approx(row["similarity_docstring"]), 0.8)


def test_docstrings_do_not_take_the_places_of_alike_code(tmp_path):
    rng = random.Random(0)
    body = "".join(f"    n{i} = work{rng.randrange(99)}(x)\n" for i in range(30))
    other = "".join(f"    m{i} = rest{rng.randrange(99)}(x)\n" for i in range(30))
    same = [("f", LONG, f"def f(x):\n{other}    return {i}\n" + f"    # {i}\n") for i in range(3)]
    changed = body.replace("work", "work", 1) + "    print(x)\n"
    store = documented(tmp_path, *same, ("g", SHORT, f"def f(x):\n{body}"), ("f", LONG, f"def f(x):\n{changed}"))
    rows = found(store, recipe(tmp_path, near_duplicates={"max_heads": 1}))
    assert {r["cluster_id"] for r in rows if r["snippet_id"] in "de" and r["similarity_raw"] > 0.8} <= {"d", "e"}
    assert any({r["snippet_id"], r["cluster_id"]} == {"d", "e"} for r in rows)
    assert any(r["snippet_id"] == "e" and r["method"] == "docstring" for r in rows)


# -- which one is better ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"is_test": True, "num_docstring_words": 40}, {}),
        ({"num_undefined_names": 1, "num_docstring_words": 40}, {}),
        ({}, {"num_docstring_words": 9}),
        ({"docstring_name_overlap": 0.5}, {}),
    ],
)
def test_the_head_is_the_better_one(tmp_path, worse, better):
    checks = {"a": worse, "b": better}
    rows = found(stored(tmp_path / "store", {"a": MEDIAN, "b": REFORMATTED}, checks), recipe(tmp_path))
    assert [(r["snippet_id"], r["cluster_id"]) for r in rows] == [("a", "b")]


def test_then_licence_path_length_and_id_decide(tmp_path):
    texts = {n: MEDIAN + "\n" * (n == "d") for n in "abcde"}
    store = Store(tmp_path / "store")
    rows = [GOOD_TEXT | {"snippet_id": n, "code": t, "num_chars": len(t)} for n, t in texts.items()]
    rows[0]["license"] = "unknown"
    put(store, "raw_pool", rows)
    put(store, "snippet_checks", [GOOD_CHECKS | {"snippet_id": n} for n in texts])
    places = {"a": "m.py", "b": "vendor/lib/m.py", "c": "m.py", "d": "m.py", "e": "m.py"}
    put(store, "snippet_occurrences", [{"snippet_id": n, "path": p} for n, p in places.items()])
    pairs = {(r["snippet_id"], r["cluster_id"]) for r in found(store, recipe(tmp_path))}
    order = "cedba"  # no licence last, then the deep path, the longer text, the id
    assert pairs == {(order[i], order[j]) for i in range(5) for j in range(i)}


# -- the decision ----------------------------------------------------------------------------------


def chain(tmp_path, checks=None) -> Store:
    """Three texts: each resembles the next, not the one after. `a` is the best, `c` the worst."""
    lines = [f"    total{i} = function{i}(values, total{i - 1})\n" for i in range(1, 41)]
    texts = {n: "def f(values, total0):\n" + "".join(lines[s : s + 28]) for n, s in {"a": 0, "b": 2, "c": 4}.items()}
    words = {"a": 30, "b": 20, "c": 10}
    own = {n: {"num_docstring_words": words[n]} | (checks or {}).get(n, {}) for n in texts}
    store = stored(tmp_path / "store", texts, own)
    put(store, "contamination", [])
    return store


def test_a_chain_is_not_one_cluster(tmp_path):
    store, made = chain(tmp_path), recipe(tmp_path)
    similarity = {(r["snippet_id"], r["cluster_id"]): r["similarity_raw"] for r in found(store, made)}
    assert similarity["b", "a"] >= 0.8 and similarity["c", "b"] >= 0.8 > similarity["c", "a"]
    assert kept(store, made) == {"a", "c"}


def test_a_rejected_head_does_not_take_its_cluster_along(tmp_path):
    store, made = chain(tmp_path, {"a": {"is_trivial": True}}), recipe(tmp_path)
    near_duplicates.build(store, made.near_duplicates)
    assert kept(store, made) == {"b"}, "b stands in for a, and c resembles b"


def test_the_threshold_is_a_parameter_of_the_query(tmp_path):
    store, made = chain(tmp_path), recipe(tmp_path)
    before = near_duplicates.build(store, made.near_duplicates)
    strict = recipe(tmp_path, near_duplicates={"min_similarity_raw": 0.95, "min_similarity_renamed": 0.95})
    assert near_duplicates.build(store, strict.near_duplicates).content == before.content, "nothing is built again"
    assert kept(store, strict) == {"a", "b", "c"}
    loose = recipe(tmp_path, near_duplicates={"min_similarity_raw": 0.65, "min_similarity_renamed": 0.65})
    assert kept(Store(store.root, force=True), loose) == {"a"}


def test_thresholds_below_the_floor_are_refused():
    with pytest.raises(ValueError, match=r"floor=0\.6 is above a threshold of 0\.5"):
        NearDuplicates(min_similarity_raw=0.5)
    with pytest.raises(ValueError, match="short_tokens=24 is below the longest gram of 30 tokens"):
        NearDuplicates(renamed_gram=30)


GRAPHS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] > e[1])),
        st.sets(st.integers(0, n - 1)),
        st.just(n),
    )
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(GRAPHS, min_size=10, max_size=20))
def test_the_pool_is_the_greedy_choice_whatever_resembles_what(tmp_path_factory, graphs):
    """What is kept resembles nothing else that is kept. What is dropped resembles something better
    that is kept. So deciding once more drops nothing. What fails a check takes no part."""
    path = tmp_path_factory.mktemp("graphs")
    checks, pairs, greedy = {}, [], set()
    for g, (edges, failing, n) in enumerate(graphs):
        checks |= {f"s{g}-{i}": {"is_trivial": i in failing} for i in range(n)}
        for i, j in sorted(edges):
            pairs.append({"snippet_id": f"s{g}-{i}", "cluster_id": f"s{g}-{j}", "similarity_renamed": 0.9})
        for i in range(n):
            if i not in failing and not any((i, j) in edges and f"s{g}-{j}" in greedy for j in range(i)):
                greedy.add(f"s{g}-{i}")
    store = stored(path / "store", dict.fromkeys(checks, ""), checks)
    put(store, "near_duplicates", pairs)
    pool.build(store, recipe(path, pool={"max_repo_share": 1}))
    rejected = {r["item_id"] for r in read(store, "rejects", stage="pool")}
    assert ({r["snippet_id"] for r in read(store, "pool")}, rejected) == (greedy, checks.keys() - greedy)


def test_a_snippet_that_heads_itself_stops_nothing(tmp_path):
    store, made = stored(tmp_path / "store", {"a": "", "b": ""}), recipe(tmp_path)
    put(store, "near_duplicates", [{"snippet_id": n, "cluster_id": n, "similarity_raw": 1.0} for n in "ab"])
    assert kept(store, made) == {"a", "b"} and read(store, "rejects", stage="pool") == []


# -- the table -------------------------------------------------------------------------------------


def test_rows_hang_on_neither_the_order_nor_the_shards_of_the_texts(tmp_path):
    texts = {"a": MEDIAN, "b": REFORMATTED, "c": RENAMED, "d": LONGER, "z": OTHER, "y": OTHER + "\n"}
    made, tables = recipe(tmp_path), []
    for number, (order, shards) in enumerate([("abcdyz", 1), ("zydcba", 3), ("czbyad", 6)]):
        tables.append(found(stored(tmp_path / str(number), texts, shards=shards, order=list(order)), made))
    assert tables[0] and tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("grams, pairs", [(1, 1 << 21), (90, 1 << 21), (90, 2)])
def test_blocks_that_are_compared_at_a_time_change_nothing(tmp_path, monkeypatch, grams, pairs):
    texts = {
        "a": MEDIAN,
        "b": REFORMATTED,
        "c": RENAMED,
        "d": LONGER,
        "z": OTHER,
        "y": OTHER + "\n",
        "e": LONGER + "\n",
    }
    whole = found(stored(tmp_path / "whole", texts), recipe(tmp_path))
    monkeypatch.setattr(near_duplicates, "_GRAMS_IN_A_BLOCK", grams)
    monkeypatch.setattr(near_duplicates, "_MOST_BLOCKS", 1000)
    monkeypatch.setattr(near_duplicates, "_PAIRS_AT_ONCE", pairs)
    assert whole and found(stored(tmp_path / "blocks", texts), recipe(tmp_path)) == whole


def test_many_copies_have_few_heads_and_one_is_kept(tmp_path):
    texts = {f"s{i:02}": MEDIAN + f"# {i}\n" for i in range(40)}
    store = stored(tmp_path / "store", texts, num_chars=1)
    made = recipe(tmp_path, near_duplicates={"max_heads": 3})
    rows = found(store, made)
    assert len(rows) == 1 + 2 + 37 * 3
    assert {r["cluster_id"] for r in rows} == {"s00", "s01", "s02"}
    put(store, "contamination", [])
    assert kept(store, made) == {"s00"}


def test_texts_without_code_and_empty_pools_have_no_duplicates(tmp_path):
    texts = {"a": "# only", "b": "# comments", "c": ""}
    assert found(stored(tmp_path / "store", texts), recipe(tmp_path)) == []
    assert found(stored(tmp_path / "empty", {}), recipe(tmp_path)) == []


def test_only_measured_snippets_take_part_and_nothing_is_left_behind(tmp_path):
    store, made = stored(tmp_path / "store", {"a": MEDIAN, "b": REFORMATTED}), recipe(tmp_path)
    put(store, "raw_pool", [{"snippet_id": "i", "code": MEDIAN + "\n"}], origin="import")
    assert list(methods(found(store, made))) == [("b", "a")]
    assert not list((tmp_path / "store" / "_runs" / "_scratch").glob("near-duplicates*"))
