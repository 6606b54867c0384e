"""pool: what passes every check is in, all else has a reason; the seed alone gives the order."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import queries
import scoder
from builders import pool
from builders.recipe import Recipe
from builders.sources.license_choices import choices
from store import Store
from store.catalog import connect
from tests.rows import put
from tests.test_contamination import PROMPT, SOLUTION, TASK, write_benchmark
from tests.tiny_recipes import read, recipe, tree

GOOD_TEXT = {"num_lines": 10, "num_chars": 300, "license": "MIT", "is_method": False}
GOOD_CHECKS = {
    "is_parsed": True,
    "num_tokens": 60,
    "num_statements": 4,
    "num_arguments": 1,
    "cyclomatic": 3,
    "num_docstring_words": 8,
    "num_literals": 2,
    "docstring_ascii": 1.0,
    "docstring_english": 1.0,
    "docstring_name_overlap": 1.0,
    "docstring_sufficiency": 0.5,
    "returns_value": True,
    "is_trivial": False,
    "is_test": False,
    "is_dunder": False,
    "is_generated": False,
    "num_undefined_names": 0,
    "inferred_imports": [],
    "modules": ["math"],
    "topic": "",
    "num_type_errors": 0,
    "secrets": [],
    "personal_data": [],
    "license_choices": [["gpl-3.0"], ["mit"]],
}
REASONS = {
    "too_few_lines": {"num_lines": 2},
    "too_many_lines": {"num_lines": 151},
    "too_many_chars": {"num_chars": 20_001},
    "too_few_tokens": {"num_tokens": 19},
    "too_many_tokens": {"num_tokens": 2001},
    "too_few_statements": {"num_statements": 1},
    "too_complex": {"cyclomatic": 31},
    "too_few_arguments": {"num_arguments": 0},
    "short_docstring": {"num_docstring_words": 4},
    "docstring_not_ascii": {"docstring_ascii": 0.79},
    "docstring_not_english": {"docstring_english": 0.5},
    "insufficient_docstring": {"docstring_sufficiency": 0.19},
    "data_table": {"num_literals": 22},
    "undefined_names": {"num_undefined_names": 1, "num_type_errors": None},
    "type_errors": {"num_type_errors": 1},
    "types_not_checked": {"num_type_errors": None},
    "generated": {"is_generated": True},
    "secret": {"secrets": ["aws_access_key"]},
    "personal_data": {"personal_data": ["email"]},
    "syntax_error": {"is_parsed": False, "num_type_errors": None},
    "method": {"is_method": True},
    "returns_nothing": {"returns_value": False},
    "trivial": {"is_trivial": True},
    "test": {"is_test": True},
    "dunder": {"is_dunder": True},
    "banned_import": {"modules": ["math", "os"]},
    "license": {"license_choices": [["gpl-3.0"], ["gpl-3.0", "mit"]]},
}
DUPLICATE = {"cluster_id": "good", "similarity_raw": 1.0, "similarity_renamed": 1.0, "method": "equal"}
HIT = {"item_kind": "snippet", "benchmark": "b", "task_id": "T/0", "detector": "ngram"}


def filled(path, snippets: dict[str, dict], duplicates=(), leaks=(), places=()) -> Store:
    """A store whose snippets are good but for what is said; `places` are (snippet, path)."""
    store = Store(path)
    rows = [GOOD_TEXT | GOOD_CHECKS | change | {"snippet_id": name, "code": name} for name, change in snippets.items()]
    put(store, "raw_pool", [{k: r[k] for k in (*GOOD_TEXT, "snippet_id", "code")} for r in rows])
    put(store, "snippet_checks", [{k: r[k] for k in (*GOOD_CHECKS, "snippet_id")} for r in rows])
    put(store, "snippet_occurrences", [{"snippet_id": name, "path": path} for name, path in places])
    put(store, "near_duplicates", [DUPLICATE | {"snippet_id": name} for name in duplicates])
    hits = [HIT | {"item_id": name, "strength": strength} for name, strength in leaks]
    put(store, "contamination", hits, item_kind="snippet", benchmark="b")
    return store


def made_with(tmp_path, **changes) -> Recipe:
    sections = {"pool": {"licenses": ["MIT"]}, "benchmarks": [{"name": "b", "path": "b.jsonl"}]}
    return recipe(tmp_path, **(sections | changes))


def built(store: Store, made: Recipe) -> list[str]:
    pool.build(store, made)
    rows = read(store, "pool")
    assert [r["position"] for r in rows] == list(range(len(rows)))
    return [r["snippet_id"] for r in rows]


def reasons(store: Store, made: Recipe) -> dict[str, list[str]]:
    pool.build(store, made)
    found: dict[str, list[str]] = {}
    for row in read(store, "rejects", stage="pool"):
        found.setdefault(row["item_id"], []).append(row["reason"])
    return found


def test_each_check_leaves_out_exactly_its_snippet(tmp_path):
    names = {**REASONS, "near_duplicate": {}, "contaminated": {}, "nearly": {}, "good": {}}
    hits = [("contaminated", 0.5), ("nearly", 0.49)]
    store, made = filled(tmp_path / "store", names, ["near_duplicate"], hits), made_with(tmp_path)
    assert sorted(built(store, made)) == ["good", "nearly"]
    expected = {name: [name] for name in [*REASONS, "near_duplicate", "contaminated"]}
    assert reasons(store, made) == expected


def test_rejects_carry_the_value_and_the_threshold(tmp_path):
    store = filled(tmp_path / "store", {"complex": {"cyclomatic": 40}, "leaked": {}}, leaks=[("leaked", 0.75)])
    made = made_with(tmp_path)
    reasons(store, made)
    rows = read(store, "rejects", stage="pool")
    assert [(r["item_id"], r["reason"], r["value"], r["threshold"]) for r in rows] == [
        ("complex", "too_complex", 40, 30),
        ("leaked", "contaminated", 0.75, 0.5),
    ]


def test_thresholds_are_inclusive(tmp_path):
    edges = [
        {"num_lines": 3, "num_tokens": 20, "num_statements": 2, "num_docstring_words": 5},
        {"num_lines": 150, "num_tokens": 2000, "num_chars": 20_000, "cyclomatic": 30},
        {"docstring_ascii": 0.8, "docstring_english": 0.55, "docstring_sufficiency": 0.2, "num_literals": 21},
    ]
    store = filled(tmp_path / "store", {str(n): edge for n, edge in enumerate(edges)})
    assert sorted(built(store, made_with(tmp_path))) == ["0", "1", "2"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.sampled_from(sorted(REASONS)), max_size=3), min_size=1, max_size=12), st.data())
def test_every_snippet_is_in_the_pool_or_rejected_and_never_both(tmp_path_factory, flaws, data):
    path = tmp_path_factory.mktemp("pool")
    names = [str(n) for n in range(len(flaws))]
    leaked = data.draw(st.sets(st.sampled_from(names)))
    doubled = data.draw(st.sets(st.sampled_from(names)))
    changes = {
        n: {k: v for reason in sorted(f) for k, v in REASONS[reason].items()} for n, f in zip(names, flaws, strict=True)
    }
    store = filled(path / "store", changes | {"good": {}}, sorted(doubled), [(n, 1.0) for n in sorted(leaked)])
    made = made_with(path)
    kept, left_out = set(built(store, made)) - {"good"}, set(reasons(store, made))
    assert kept | left_out == set(names) and not kept & left_out
    assert kept == {n for n, flaw in zip(names, flaws, strict=True) if not flaw and n not in leaked | doubled}


def test_the_order_changes_with_the_seed_and_not_with_the_order_of_rows(tmp_path):
    names = [f"s{n}" for n in range(40)]
    orders = []
    for number, (given_names, seed) in enumerate([(names, 0), (names[::-1], 0), (names, 1)]):
        store = filled(tmp_path / str(number), {n: {} for n in given_names})
        orders.append(built(store, made_with(tmp_path, seed=seed)))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] and sorted(orders[0]) == sorted(orders[2]) == sorted(names)
    assert orders[0] != sorted(names)


def test_a_threshold_keeps_the_order_of_what_stays(tmp_path):
    names = {f"s{n}": {"num_tokens": 30 + n} for n in range(30)}
    loose = built(filled(tmp_path / "loose", names), made_with(tmp_path))
    strict = made_with(tmp_path, pool={"licenses": ["MIT"], "min_tokens": 45})
    assert built(filled(tmp_path / "strict", names), strict) == [n for n in loose if int(n[1:]) >= 15]


def test_all_licences_are_allowed_by_an_empty_list(tmp_path):
    store = filled(tmp_path / "store", {"a": {"license_choices": [["gpl-3.0"]]}, "b": {}})
    assert sorted(built(store, made_with(tmp_path, pool={"licenses": []}))) == ["a", "b"]


@pytest.mark.parametrize("allowed", [["mit", "ISC"], ["MIT License", "isc"], ["MIT OR ISC"]])
def test_a_licence_is_allowed_by_all_of_one_choice_however_the_list_writes_it(tmp_path, allowed):
    choices = {"both": [["isc", "mit"]], "either": [["gpl-3.0"], ["mit"]], "half": [["gpl-3.0", "mit"]], "no": [["x"]]}
    store = filled(tmp_path / "store", {n: {"license_choices": c} for n, c in choices.items()})
    assert sorted(built(store, made_with(tmp_path, pool={"licenses": allowed}))) == ["both", "either"]


def test_the_licences_of_the_default_are_permissive_and_the_run_says_what_it_leaves_out(tmp_path):
    given = {"a": "MIT", "b": "LGPL-2.1-or-later", "c": "unknown", "d": "unknown", "e": "BSD", "f": "Public Domain"}
    store = filled(
        tmp_path / "store", {n: {"license": t, "license_choices": choices(t)} for n, t in given.items()}, places=[]
    )
    told = {"MIT": "declared", "unknown": "none"}
    places = [
        {"snippet_id": n, "source": "s", "license": t, "license_source": told.get(t, "file")} for n, t in given.items()
    ]
    places[2]["source"] = "others"
    put(Store(store.root, force=True), "snippet_occurrences", places)
    sources = [{"name": "s", "kind": "tree", "path": "x", "license": "MIT"}, {"name": "others", "kind": "packages"}]
    said: list[str] = []
    made = made_with(tmp_path, pool={}, sources=sources)
    assert sorted(built(Store(store.root, said.append), made)) == ["a", "d", "e", "f"]
    assert [line for line in said if "licen" in line] == [
        "pool: `pool.licenses` leaves out 2 functions, 2 of them for their licence alone: 1 LGPL-2.1-or-later; 1 unknown",
        "pool: source 's': warning: 1 functions are kept whose licence nothing tells. Name it as `license` of the source, "
        "or leave them out with `keep_unknown_licenses: false`",
        "pool: source 's': 1 functions have the licence that the recipe declares (MIT), 2 one of their own",
    ]
    sources[0]["keep_unknown_licenses"] = False
    strict = made_with(tmp_path, pool={}, sources=sources)
    assert sorted(built(Store(store.root, force=True), strict)) == ["a", "e", "f"]


def test_inferred_imports_count_as_undefined_names_when_the_recipe_says_so(tmp_path):
    names = {
        "none": {},
        "one": {"inferred_imports": ["import re"]},
        "two": {"inferred_imports": ["import a", "import b"]},
    }
    for number, (settings_, expected) in enumerate(
        [
            ({}, ["none", "one", "two"]),
            ({"infer_imports": False}, ["none"]),
            ({"infer_imports": False, "max_undefined_names": 1}, ["none", "one"]),
        ]
    ):
        made = made_with(tmp_path, pool=settings_)
        store = filled(tmp_path / str(number), names)
        assert sorted(built(store, made)) == expected
        assert sorted(reasons(store, made)) == sorted(names.keys() - set(expected))


def test_type_errors_matter_only_where_they_are_asked_for_and_known(tmp_path):
    names = {
        "wrong": {"num_type_errors": 3},
        "unknown": {"num_type_errors": None},
        "undefined": {"num_undefined_names": 1, "num_type_errors": None},
    }
    for number, (limit, expected) in enumerate(
        [(0, ["undefined"]), (3, ["undefined", "wrong"]), (None, sorted(names))]
    ):
        made = made_with(tmp_path, pool={"max_type_errors": limit, "max_undefined_names": 1})
        store = filled(tmp_path / str(number), names)
        assert sorted(built(store, made)) == expected
        assert sorted(reasons(store, made)) == sorted(names.keys() - set(expected))


def test_a_snippet_of_test_or_generated_files_alone_is_left_out(tmp_path):
    places = [
        ("lib", "pkg/a.py"),
        ("test", "pkg/tests/a.py"),
        ("test", "pkg/test_b.py"),
        ("both", "pkg/tests/a.py"),
        ("both", "pkg/a.py"),
        ("made", "pkg/a_pb2.py"),
        ("latest", "pkg/latest/contest.py"),
        ("example", "examples/a.py"),
        ("testing", "pkg/testing/a.py"),
    ]
    store = filled(tmp_path / "store", {name: {} for name, _ in places} | {"nowhere": {}}, places=places)
    made = made_with(tmp_path)
    assert sorted(built(store, made)) == ["both", "latest", "lib", "nowhere", "testing"]
    assert reasons(store, made) == {"test": ["test"], "made": ["generated"], "example": ["test"]}
    open_ = made_with(tmp_path, pool={"test_paths": "", "generated_paths": ""})
    assert len(built(filled(tmp_path / "open", {name: {} for name, _ in places}, places=places), open_)) == 7


# -- variety ---------------------------------------------------------------------------------------

PLACES = [
    (f"{repo}{n}", f"{repo}/m{n}.py") for repo, size in zip("abcde", (12, 2, 2, 2, 2), strict=True) for n in range(size)
]
OFF = {"licenses": ["MIT"], "max_repo_share": 1, "max_topic_share": 1}


def varied(path, changes=None, places=PLACES, **settings_) -> tuple[list[str], dict[str, list[str]], Store]:
    """What is kept in its order, what is not, and the store."""
    changes = {name: (changes or {}).get(name, {}) for name, _ in places}
    store = filled(path / "store", changes, places=places)
    made = made_with(path, pool=OFF | settings_)
    return built(store, made), reasons(store, made), store


def test_no_repository_has_more_than_its_share_from_five_on(tmp_path):
    whole, _, _ = varied(tmp_path / "off")
    assert len(whole) == 20
    kept, left_out, store = varied(tmp_path / "on", max_repo_share=0.2)
    of_a = [name for name in whole if name[0] == "a"]
    assert kept == [name for name in whole if name not in of_a[4:]], "the first of the pool's order stay"
    assert left_out == {name: ["repo_cap"] for name in of_a[4:]}
    rows = {r["item_id"]: (r["value"], r["threshold"]) for r in read(store, "rejects", stage="pool")}
    assert [rows[name] for name in of_a[4:]] == [(place, 4) for place in range(5, 13)]
    assert {r["repo"] for r in read(store, "pool")} == {f"/{repo}" for repo in "abcde"}
    of_four = [(name, path) for name, path in PLACES if name[0] != "e"]
    assert len(varied(tmp_path / "four", places=of_four, max_repo_share=0.2)[0]) == len(of_four)
    assert len(varied(tmp_path / "three", places=of_four, max_repo_share=0.2, min_repos=3)[0]) < len(of_four)


def test_another_seed_keeps_others_and_no_other_row_decides(tmp_path):
    kept, _, _ = varied(tmp_path / "one", max_repo_share=0.2)
    store = filled(tmp_path / "store", {name: {} for name, _ in PLACES}, places=PLACES)
    other = built(store, made_with(tmp_path, pool=OFF | {"max_repo_share": 0.2}, seed=1))
    assert len(other) == len(kept) and {*other} != {*kept}
    failing = {name: {"num_lines": 2} for name, _ in PLACES if name[0] == "b"}
    three = [n for n in varied(tmp_path / "two", failing, max_repo_share=0.2, min_repos=4)[0] if n[0] == "a"]
    assert three == [n for n in kept if n[0] == "a"], "ceil(0.2 * 18) of the same order"


def test_no_topic_has_more_than_its_share_of_what_the_repositories_leave(tmp_path):
    topics = {name: {"topic": "numpy" if name[0] in "abc" else ""} for name, _ in PLACES}
    assert "topic_cap" not in str(varied(tmp_path / "one", topics, max_topic_share=0.25)[1]), "there is but one topic"
    rare = dict(zip(("d0", "d1", "e0", "e1"), ("re", "json", "csv", "xml"), strict=True))
    topics |= {name: {"topic": topic} for name, topic in rare.items()}
    kept, left_out, _ = varied(tmp_path / "both", topics, max_repo_share=0.2, max_topic_share=0.25)
    assert [*left_out.values()].count(["repo_cap"]) == 8
    assert [*left_out.values()].count(["topic_cap"]) == 8 - 3, "a quarter of the twelve that are left"
    assert sum(name[0] in "abc" for name in kept) == 3
    assert {name for name in kept if name[0] in "de"} == {*rare}
    vague = {name: {"topic": "" if name[0] in "abc" else name} for name, _ in PLACES} | {"a0": {"topic": "x"}}
    assert "topic_cap" not in str(varied(tmp_path / "vague", vague, max_topic_share=0.05, min_repos=5)[1])


def test_a_repository_is_what_the_source_names_or_the_top_of_the_path(tmp_path):
    occurrences = {
        "versions": [("x", "n/a.py", "numpy==1.0"), ("y", "n/a.py", "numpy==2.0")],
        "git": [("x", "a/b.py", "owner/project")],
        "package": [("site", "json/a.py", None)],
        "module": [("site", "six.py", None)],
        "unpacked": [("site", "numpy-1.26.4/numpy/a.py", None)],
        "digits": [("site", "base64/a.py", None)],
        "library": [("std", "json/a.py", None)],
    }
    store = filled(tmp_path / "store", {name: {} for name in occurrences})
    rows = [
        {"snippet_id": name, "source": source, "path": path, "repo": repo}
        for name, places in occurrences.items()
        for source, path, repo in places
    ]
    put(Store(store.root, force=True), "snippet_occurrences", rows)
    given = [{"name": n, "kind": "tree", "path": str(tmp_path)} for n in "xy"]
    sources = [*given, {"name": "std", "kind": "stdlib"}, {"name": "site", "kind": "tree", "path": str(tmp_path)}]
    built(store, made_with(tmp_path, sources=sources, pool=OFF))
    assert {r["snippet_id"]: r["repo"] for r in read(store, "pool")} == {
        "versions": "numpy",
        "git": "owner/project",
        "package": "site/json",
        "module": "site/six",
        "unpacked": "site/numpy",
        "digits": "site/base64",
        "library": "std",
    }


def test_the_variety_of_a_pool_is_its_inverse_simpson_index(tmp_path):
    store = Store(tmp_path)
    rows = [{"snippet_id": f"{repo}{n}", "repo": repo} for repo, size in {"a": 6, "b": 2}.items() for n in range(size)]
    put(store, "pool", rows)
    found = {r["grouped_by"]: r for r in queries.rows(connect(store), "report_variety")}
    assert found["repository"] == {
        "grouped_by": "repository",
        "num_rows": 8,
        "num_groups": 2,
        "effective": pytest.approx(64 / 40),
        "largest": "a",
        "largest_share": 0.75,
    }
    assert found["topic"]["effective"] == 1 and found["licence"]["num_groups"] == 1
    put(Store(tmp_path, force=True), "pool", [])
    assert queries.rows(connect(store), "report_variety") == []


JUDGE = {"model": "none"}


def judged(store: Store, digits: dict[str, float | None]) -> None:
    """What a judge said of the docstrings; None of one that it could not read."""
    fact = {"item_kind": "snippet", "aspect": "sufficiency"}
    rows = [fact | {"item_id": name, "scorer": "code", "expected": 9.0} for name in digits]
    rows += [fact | {"item_id": n, "scorer": "j", "expected": d} for n, d in digits.items() if d is not None]
    put(store, "aspect_scores", rows, item_kind="snippet")


def test_a_judge_has_the_last_word_and_its_verdicts_have_reasons(tmp_path):
    names = {"enough": {}, "edge": {}, "good": {}, "unread": {}, "twin": {}, "short": {"num_lines": 2}}
    # of a snippet that the judge turns down, a near-duplicate stays one
    store = filled(tmp_path / "store", names, duplicates=["twin"])
    judged(store, {"enough": 7.5, "edge": 5.0, "good": 4.9, "unread": None})
    made = made_with(tmp_path, docstring_judge=JUDGE)
    assert sorted(built(store, made)) == ["edge", "enough"]
    assert reasons(store, made) == {
        "good": ["judged_insufficient"],
        "unread": ["not_judged"],
        "twin": ["near_duplicate"],
        "short": ["too_few_lines"],
    }
    rows = {r["item_id"]: (r["value"], r["threshold"]) for r in read(store, "rejects", stage="pool")}
    assert rows["good"] == (pytest.approx(4.9), 5.0) and rows["unread"] == (None, None)


def test_scores_of_snippets_mean_nothing_without_a_judge(tmp_path):
    store, made = filled(tmp_path / "store", {"vague": {}, "other": {}}), made_with(tmp_path)
    judged(store, {"vague": 0.0})
    assert sorted(built(store, made)) == ["other", "vague"] and reasons(store, made) == {}


def test_one_decision_gives_the_pool_and_its_rejects(tmp_path, monkeypatch):
    decisions = []

    def counted(connection, name, values):
        decisions.append(name)
        return with_verdicts(connection, name, values)

    with_verdicts = queries.with_verdicts
    monkeypatch.setattr(queries, "with_verdicts", counted)
    store, made = filled(tmp_path / "store", {"good": {}, "short": {"num_lines": 2}}), made_with(tmp_path)
    assert built(store, made) == ["good"] and reasons(store, made) == {"short": ["too_few_lines"]}
    assert decisions == ["pool_verdicts"]
    texts = [{*store.record(t, **p).plan.texts} for t, p in (("pool", {}), ("rejects", {"stage": "pool"}))]
    decision = {"queries/pool_verdicts.sql", "queries/snippet_repos.sql"}
    assert texts == [decision | {"queries/pool.sql"}, decision | {"queries/rejects_pool.sql"}]


def test_an_expression_that_the_query_could_not_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no look-around"):
        made_with(tmp_path, pool={"test_paths": "(?<=a)b"})


def test_another_threshold_is_refused_and_named(tmp_path):
    store = filled(tmp_path / "store", {"a": {}})
    built(store, made_with(tmp_path))
    with pytest.raises(ValueError, match=r"fields.max_lines: 150 -> 90"):
        pool.build(store, made_with(tmp_path, pool={"licenses": ["MIT"], "max_lines": 90}))


def test_a_benchmark_that_the_recipe_drops_keeps_nothing_out_of_the_pool(tmp_path):
    other = 'def halved(numbers):\n    """Return half of each number in the list of numbers."""\n'
    body = "    halves = []\n    for number in numbers:\n        halves.append(number / 2)\n    return halves\n"
    code = tree(tmp_path / "code", {"a.py": f"{PROMPT}{SOLUTION}\n\n{other}{body}"})
    write_benchmark(tmp_path / "one.jsonl", TASK)
    write_benchmark(tmp_path / "two.jsonl", {"task_id": "T/1", "prompt": other, "solution": body})
    one, two = ({"name": name, "path": str(tmp_path / f"{name}.jsonl")} for name in ("one", "two"))
    near = {"min_similarity_raw": 1.0, "min_similarity_renamed": 1.0}
    both, single = (recipe(code, benchmarks=given, near_duplicates=near) for given in ([one, two], [one]))
    store, fresh = Store(tmp_path / "store"), Store(tmp_path / "fresh")
    scoder.build_pool(store, both)
    assert read(store, "pool") == [] and len(read(store, "rejects", stage="pool")) == 2
    scoder.build_pool(Store(store.root, force=True), single)
    scoder.build_pool(fresh, single)
    assert [r["docstring"] for r in texts(fresh)] == ["Return half of each number in the list of numbers."]
    for table, where in (("pool", {}), ("rejects", {"stage": "pool"})):
        assert read(store, table, **where) == read(fresh, table, **where)
        ours, theirs = store.record(table, **where), fresh.record(table, **where)
        assert ours is not None and theirs is not None and ours.plan == theirs.plan


def texts(store: Store) -> list[dict]:
    found = queries.rows(
        connect(store, store.input("pool") | store.input("raw_pool")), "snippets", {"num_snippets": 99}
    )
    return sorted(found, key=lambda row: row["snippet_id"])
