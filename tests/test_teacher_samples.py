"""teacher_samples: who answers, what is kept, in which split, and files that are read instead."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import queries
import scoder
from builders import raw_pool, sandbox, teacher_samples
from builders.engines import prompts
from builders.pairs import parse, render
from builders.recipe import Recipe, Teacher, files
from builders.teacher import asked, importing
from builders.teacher.asking import weights as asking_weights
from builders.teacher.rows import split_of
from builders.teacher_samples import import_file, is_asked
from store import ContractError, Record, Store, content_id
from store.catalog import connect
from store.errors import InputError, MissingError
from tests.engine_models import save_model
from tests.rows import put
from tests.smoke_run import RECIPE, scoder_here
from tests.tiny_recipes import read, recipe, teacher

USABLE = "def f_{n}(a):\n    '''Add {n}.'''\n    return a + {n}"


def snippet(n: int, **changes) -> dict:
    code = USABLE.format(n=n)
    found = {"name": f"f_{n}", "code": code, "signature": f"def f_{n}(a):", "docstring": f"Add {n}."} | changes
    return found | {"snippet_id": content_id("python", found["code"])}


def pooled(path: Path, snippets: list[dict]) -> Store:
    """A store whose pool has these snippets in this order."""
    store = Store(path)
    put(store, "raw_pool", snippets)
    rows = [{"snippet_id": s["snippet_id"], "position": position} for position, s in enumerate(snippets)]
    put(store, "pool", rows)
    return store


def build(store: Store, made: Recipe) -> Record:
    return teacher_samples.build(store, made.teacher, made.seed)


def asking(folder: Path, num_snippets: int, **given) -> Recipe:
    return recipe(folder, teacher={"num_snippets": num_snippets, **given})


# -- the offline teacher ---------------------------------------------------------------------------


def test_the_offline_teacher_makes_the_problem_from_the_docstring_and_the_solution_from_the_body(tmp_path):
    asynchronous = snippet(
        1,
        code="@deco\nasync def g(a):\n    'Wait for a.'\n    return await a",
        signature="async def g(a):",
        docstring="Wait for a.",
    )
    store = pooled(tmp_path / "store", [snippet(0), asynchronous])
    build(store, asking(tmp_path, 2))
    rows = {r["snippet_id"]: r for r in read(store, "teacher_samples")}
    first, second = rows[snippet(0)["snippet_id"]], rows[asynchronous["snippet_id"]]
    assert (first["problem"], first["solution"]) == (
        "Write a function `f_0(a)`.\n\nAdd 0.",
        "def f_0(a):\n    return a + 0",
    )
    assert (second["problem"], second["solution"]) == (
        "Write a function `g(a)`.\n\nWait for a.",
        "@deco\nasync def g(a):\n    return await a",
    )
    assert first["sample_id"] == content_id(first["snippet_id"], first["problem"], first["solution"])
    assert (first["model"], first["prompt_version"], first["prompt_tokens"], first["cost_usd"]) == (
        "docstring",
        "",
        0,
        None,
    )
    for row in rows.values():
        found = parse(render(row["problem"], row["solution"]))
        assert (found.status, found.problem, found.solution) == ("ok", row["problem"], row["solution"])


UNUSABLE = [
    snippet(90, docstring="Add.\n\n### Solution\nno"),
    snippet(91, docstring="Like ```code```."),
    snippet(92, code="def f(a): 'Doc.'; return a"),
    snippet(93, code="def f(a):\n    'Doc.'; b = a\n    return b"),
]


def test_unusable_answers_are_rejects_and_everything_is_accounted_for(tmp_path):
    snippets = [snippet(0), *UNUSABLE, snippet(1), snippet(2)]
    store = pooled(tmp_path / "store", snippets)
    scoder.build_teacher(store, asking(tmp_path, 6))
    kept = {r["snippet_id"] for r in read(store, "teacher_samples")}
    rejected = {r["item_id"]: r["reason"] for r in read(store, "rejects", stage="teacher")}
    assert kept == {snippet(0)["snippet_id"], snippet(1)["snippet_id"]}
    statuses = ["no_problem", "no_problem", "no_solution", "no_solution"]
    assert rejected == {s["snippet_id"]: status for s, status in zip(UNUSABLE, statuses, strict=True)}
    assert {r["snippet_id"]: r["status"] for r in read(store, "unusable_answers")} == rejected


def test_several_shards_are_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr(asked, "ROWS_PER_SHARD", 3)
    store = pooled(tmp_path / "store", [snippet(n) for n in range(8)])
    record = build(store, asking(tmp_path, 7))
    assert (record.plan.num_shards, record.rows) == (3, 7)
    assert {r["snippet_id"] for r in read(store, "teacher_samples")} == {snippet(n)["snippet_id"] for n in range(7)}


def test_more_snippets_than_the_pool_has(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])
    with pytest.raises(ValueError, match="the pool has 1 snippets, but the teacher is to be asked about 9: relax"):
        build(store, asking(tmp_path, 9))


# -- splits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "num, shares, expected",
    [
        (100, (0.1, 0.2, 0.5), {"reference": 10, "validation": 20, "train": 35, "scorer": 35}),
        (1000, (0.15, 0.15, 0.5), {"reference": 150, "validation": 150, "train": 350, "scorer": 350}),
        (10, (0.0, 0.0, 1.0), {"scorer": 10}),
        (10, (0.5, 0.0, 0.0), {"reference": 5, "train": 5}),
        (40, (0.1, 0.1, 0.4), {"reference": 4, "validation": 4, "train": 19, "scorer": 13}),
    ],
)
def test_splits_have_their_shares(num, shares, expected):
    reference, validation, scorer = shares
    asked = Teacher(num_snippets=num, reference_share=reference, validation_share=validation, scorer_share=scorer)
    places = [split_of(position, asked) for position in range(num)]
    names = ["scorer" if for_scorer else split for split, for_scorer in places]
    assert {n: names.count(n) for n in names} == expected
    assert all(split == "train" for split, for_scorer in places if for_scorer)


def test_the_split_of_a_snippet_follows_its_position(tmp_path):
    store = pooled(tmp_path / "store", [snippet(n) for n in range(10)])
    shares = {"reference_share": 0.2, "validation_share": 0.3, "scorer_share": 0.4}
    build(store, asking(tmp_path, 10, **shares))
    rows = {r["snippet_id"]: (r["split"], r["is_for_scorer"]) for r in read(store, "teacher_samples")}
    assert [rows[snippet(n)["snippet_id"]] for n in range(10)] == [
        *[("reference", False)] * 2,
        *[("validation", False)] * 3,
        *[("train", True)] * 2,
        *[("train", False)] * 3,
    ]


# -- a teacher behind an endpoint ------------------------------------------------------------------


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[dict]]]:
    """A chat endpoint that answers by the number in the code, and what it was asked."""
    seen: list[dict] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body)
            number = int(body["messages"][0]["content"].split("Add ")[1].split(".")[0])
            text = ["no pair at all", render("Add.", "x = ("), render(f"Add {number}.", f"x = {number}")][
                min(number, 2)
            ]
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            answer = {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10 + number}}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", seen
    server.shutdown()
    thread.join()
    server.server_close()


def test_answers_of_an_endpoint_are_parsed_priced_and_asked_once(tmp_path, endpoint, monkeypatch):
    address, seen = endpoint
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-only")
    made = asking(
        tmp_path,
        4,
        **teacher(address, model="clever", price_per_million_input=1.0, price_per_million_output=10.0),
    )
    store = pooled(tmp_path / "store", [snippet(n) for n in range(5)])
    scoder.build_teacher(store, made)
    rows = sorted(read(store, "teacher_samples"), key=lambda r: r["problem"])
    assert [(r["problem"], r["solution"], r["completion_tokens"], r["cost_usd"]) for r in rows] == [
        (f"Add {n}.", f"x = {n}", 10 + n, pytest.approx((100 * 1.0 + (10 + n) * 10.0) / 1e6)) for n in (2, 3)
    ]
    assert {(r["model"], r["prompt_version"]) for r in rows} == {("clever", prompts.version("teacher"))}
    rejected = {r["item_id"]: r["reason"] for r in read(store, "rejects", stage="teacher")}
    assert rejected == {snippet(0)["snippet_id"]: "no_problem", snippet(1)["snippet_id"]: "syntax_error"}
    unusable = {r["snippet_id"]: r for r in read(store, "unusable_answers")}
    first, second = (unusable[snippet(n)["snippet_id"]] for n in (0, 1))
    assert (first["answer"], first["reason"]) == ("no pair at all", "there is no heading '### Problem'")
    assert (second["answer"], second["finish_reason"]) == (render("Add.", "x = ("), "stop")
    assert second["reason"] == "the solution is no Python: '(' was never closed (line 1)"
    assert first["cost_usd"] == pytest.approx((100 * 1.0 + 10 * 10.0) / 1e6)
    assert store.record("teacher_samples").usage.completion_tokens == 10 + 11 + 12 + 13
    assert len({body["seed"] for body in seen}) == len(seen) == 4

    store.save(store.record("teacher_samples").model_copy(update={"status": "building", "shards": []}))
    for path in Path(store.directory("teacher_samples")).iterdir():
        path.unlink()
    build(store, made)
    assert len(seen) == 4, "what was paid for is not asked again"
    assert sorted(read(store, "teacher_samples"), key=lambda r: r["problem"]) == rows
    dumped = b"".join(p.read_bytes() for p in Path(store.root, "_runs").rglob("*") if p.is_file())
    assert b"sk-test-only" not in dumped


def test_another_prompt_or_model_is_another_plan_and_another_price_is_not(tmp_path, endpoint, monkeypatch):
    address, seen = endpoint
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-only")
    asked = teacher(address, model="clever")
    store = pooled(tmp_path / "store", [snippet(n) for n in range(4)])
    first = build(store, asking(tmp_path, 4, **asked))
    assert build(store, asking(tmp_path, 4, **teacher(address, model="clever", price_per_million_input=3.0))) == first
    with pytest.raises(ContractError, match="model"):
        build(store, asking(tmp_path, 4, **asked | {"model": "cleverer"}))
    with pytest.raises(ContractError, match="prompt"):
        build(store, asking(tmp_path, 4, **asked, prompt="synthesizer"))
    assert len(seen) == 4


def test_a_local_teacher_takes_every_setting_of_its_engine(tmp_path):
    """Once it was always float32, on one GPU, with 4,096 tokens."""
    block = {"engine": "vllm", "dtype": "bfloat16", "tensor_parallel": 2, "max_model_tokens": 9000}
    local = recipe(tmp_path, teacher={"model": "m", "engine": block}).teacher
    assert local.engine_settings().model_dump().items() >= block.items()


@pytest.mark.parametrize(("max_model_tokens", "answers"), [(4, False), (512, True)])
def test_a_local_teacher_is_asked_by_its_engine(tmp_path, max_model_tokens, answers):
    """A prompt that does not fit the engine's window gets no tokens."""
    block = {"engine": "transformers", "max_model_tokens": max_model_tokens, "num_threads": 1}
    asked = {"model": str(save_model(tmp_path / "model")), "engine": block, "max_tokens": 4, "run_examples": False}
    store = pooled(tmp_path / "store", [snippet(n) for n in range(2)])
    record = build(store, recipe(tmp_path, teacher={"num_snippets": 2, **asked}))
    assert bool(record.usage.completion_tokens) is answers


def test_other_files_of_a_local_teacher_are_another_plan(tmp_path):
    model = Path(save_model(tmp_path / "model"))
    block = {"engine": "transformers", "max_model_tokens": 512, "num_threads": 1}
    asked = {"model": str(model), "engine": block, "max_tokens": 4, "run_examples": False}
    store, made = pooled(tmp_path / "store", [snippet(0)]), recipe(tmp_path, teacher={"num_snippets": 1, **asked})
    record = build(store, made)
    os.utime(model / "config.json", (1, 1))
    assert build(store, made) == record
    with (model / "generation_config.json").open("a") as file:
        file.write("\n")
    with pytest.raises(ContractError, match=r"\n  fields\.weights: \S+ -> \S+\nNothing was changed"):
        build(store, made)


def test_the_plan_of_another_teacher_names_no_files(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])
    assert "weights" not in build(store, asking(tmp_path, 1)).plan.fields
    assert asking_weights(recipe(tmp_path, teacher=teacher("http://localhost:1/v1", model=str(tmp_path))).teacher) == {}


def test_another_dtype_of_a_local_teacher_is_another_plan(tmp_path):
    store = pooled(tmp_path / "store", [snippet(n) for n in range(4)])
    put(store, "teacher_samples", [])
    for dtype in ("float32", "bfloat16"):
        block = {"engine": "transformers", "dtype": dtype}
        with pytest.raises(ContractError, match=rf'fields\.engine: .* -> .*"{dtype}"'):
            build(
                store,
                recipe(tmp_path, teacher={"model": "m", "num_snippets": 4, "engine": block, "run_examples": False}),
            )


# -- files -----------------------------------------------------------------------------------------


def triple(n: int, **changes) -> dict:
    return {
        "snippet": USABLE.format(n=n),
        "problem": f"Add {n}.",
        "solution": f"def f(a):\n    return a + {n}",
    } | changes


def written(folder: Path, rows: list[dict], kind: str = "jsonl") -> str:
    path = folder / f"triples.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(r) for r in rows) + "\n\n")
    else:
        columns = dict.fromkeys(name for row in rows for name in row)
        pq.write_table(pa.Table.from_pylist([columns | row for row in rows]), path)
    return str(path)


SHARES = Teacher(reference_share=0.2, validation_share=0.2, scorer_share=0.5)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_triples_of_a_file_become_samples_and_unknown_snippets_join_raw_pool(tmp_path, kind):
    store = pooled(tmp_path / "store", [snippet(n) for n in range(4)])
    undocumented, broken = {"snippet": "x = 1", "license": "MIT"}, {"snippet": "def f(:"}
    rows = [triple(n) for n in range(8)] + [triple(8, **undocumented), triple(9, **broken)]
    import_file(store, written(tmp_path, rows, kind), SHARES)
    samples = {r["problem"]: r for r in read(store, "teacher_samples")}
    assert {p: r["solution"] for p, r in samples.items()} == {t["problem"]: t["solution"] for t in rows}
    assert {p: r["snippet_id"] for p, r in samples.items()} == {
        t["problem"]: content_id("python", t["snippet"]) for t in rows
    }
    splits = [r["split"] for r in samples.values()]
    assert {s: splits.count(s) for s in splits} == {"reference": 2, "validation": 2, "train": 6}
    assert sum(r["is_for_scorer"] for r in samples.values()) == 3
    assert {r["model"] for r in samples.values()} == {"import"}
    new = {r["code"]: (r["name"], r["docstring"], r["license"]) for r in read(store, "raw_pool", origin="import")}
    assert new == {
        **{USABLE.format(n=n): (f"f_{n}", f"Add {n}.", "unknown") for n in range(4, 8)},
        "x = 1": ("", "", "MIT"),
        "def f(:": ("", "", "unknown"),
    }
    assert not is_asked(store)


def test_the_order_of_the_file_and_its_duplicates_do_not_matter(tmp_path):
    rows = [triple(n) for n in range(12)]
    found = []
    for name, given in (("a", rows), ("b", rows[::-1] + rows[3:6])):
        (tmp_path / name).mkdir()
        store = pooled(tmp_path / name / "store", [snippet(0)])
        import_file(store, written(tmp_path / name, given), SHARES)
        found.append(read(store, "teacher_samples"))
    assert found[0] == found[1] and len(found[0]) == 12


def test_samples_about_one_snippet_are_in_one_split(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])
    rows = [triple(n, problem=f"Problem {k} of {n}.") for n in range(10) for k in range(4)]
    import_file(store, written(tmp_path, rows), SHARES)
    splits: dict[str, set] = {}
    for row in read(store, "teacher_samples"):
        splits.setdefault(row["snippet_id"], set()).add((row["split"], row["is_for_scorer"]))
    assert all(len(found) == 1 for found in splits.values()) and len(splits) == 10
    assert len({split for found in splits.values() for split in found}) == 4


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])
    row = {k: v.replace("\n", "\r\n") for k, v in triple(0).items()}
    path = tmp_path / "triples.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row).encode() + b"\r\n")
    import_file(store, str(path), SHARES)
    assert [r["snippet_id"] for r in read(store, "teacher_samples")] == [snippet(0)["snippet_id"]]
    assert read(store, "raw_pool", origin="import") == []


@pytest.mark.parametrize(
    "bad, message",
    [
        (
            {"solution": "def f(:"},
            r"1 of 2 solutions are not valid Python\. row 2: it is not valid Python \(invalid syntax, line 1\)",
        ),
        ({"problem": "  "}, r"triples\.jsonl row 2: needs text in problem; its fields are \['problem', 'snippet'"),
        ({"snippet": 3, "solution": None}, "row 2: needs text in snippet, solution"),
        ({"problem": "a\n### Solution\nb"}, "row 2: a problem must not hold a line '### Solution'"),
        ({"problem": "half \ud83d"}, r"row 2: .*surrogates not allowed"),
    ],
)
def test_a_bad_row_is_named_and_the_file_leaves_nothing_behind(tmp_path, bad, message):
    store = pooled(tmp_path / "store", [snippet(0)])
    rows = [triple(1), triple(2, **bad)]
    with pytest.raises(ValueError, match=message):
        import_file(store, written(tmp_path, rows), SHARES)
    assert store.record("teacher_samples") is None and store.record("raw_pool", origin="import") is None
    import_file(store, written(tmp_path, rows[:1]), SHARES)
    assert len(read(store, "teacher_samples")) == 1


@pytest.mark.parametrize(
    "line, message",
    [
        (b"{'snippet': 1}", r"row 2 \(line 2\): not JSON \(Expecting property name"),
        (b'["a", "b"]', "row 2 is not a JSON object, but a list"),
        (b'{"snippet": "a"', r"row 2 \(line 2\): not JSON"),
        (json.dumps(triple(2)).encode().replace(b"Add", b"\xe4dd"), r"is not UTF-8 text: line 2, byte \d+ is 0xe4"),
        (
            json.dumps(triple(2)).encode("utf-16-le"),
            r"\(line 2\): not UTF-8 text, for it holds NUL bytes\. Save the file as",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "triples.jsonl"
    path.write_bytes(json.dumps(triple(1)).encode() + b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=message):
        import_file(pooled(tmp_path / "store", [snippet(0)]), str(path), SHARES)


def test_a_missing_column_of_parquet_names_the_row(tmp_path):
    path = written(tmp_path, [{"snippet": "a", "problem": "b"}], "parquet")
    message = r"triples\.parquet row 1: needs text in solution; its fields are \['problem', 'snippet'\]"
    with pytest.raises(ValueError, match=message):
        import_file(pooled(tmp_path / "store", [snippet(0)]), path, SHARES)


def test_an_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.jsonl: give one of JSON lines, one JSON array"):
        import_file(pooled(tmp_path / "store", [snippet(0)]), str(tmp_path / "gone.jsonl"), SHARES)


def test_the_flow_keeps_imported_samples_and_asks_no_teacher(tmp_path):
    store = pooled(tmp_path / "store", [snippet(n) for n in range(4)])
    record = import_file(store, written(tmp_path, [triple(n) for n in range(6)]), SHARES)
    assert import_file(store, written(tmp_path, [triple(n) for n in range(6)]), SHARES) == record
    scoder.build_teacher(store, asking(tmp_path, 4))
    assert store.record("teacher_samples") == record
    assert store.record("rejects", stage="teacher") is None


def test_another_file_or_an_asked_teacher_is_not_overwritten(tmp_path):
    store = pooled(tmp_path / "store", [snippet(n) for n in range(4)])
    import_file(store, written(tmp_path, [triple(1), triple(2)]), SHARES)
    with pytest.raises(ContractError, match="another plan"):
        import_file(store, written(tmp_path, [triple(1), triple(3)]), SHARES)
    asked = pooled(tmp_path / "asked", [snippet(n) for n in range(4)])
    build(asked, asking(tmp_path, 4))
    with pytest.raises(ContractError, match="teacher_samples was built under another plan"):
        import_file(asked, written(tmp_path, [triple(1), triple(9)]), SHARES)
    assert asked.record("raw_pool", origin="import") is None


def keys_of_texts(store: Store) -> list[str]:
    """The ids of the partitions that hold the texts of samples, sorted."""
    names = [r["snippet_id"] for where in ({}, {"origin": "import"}) for r in read(store, "raw_pool", **where)]
    return sorted(names)


def test_a_second_import_leaves_nothing_of_the_first(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])
    import_file(store, written(tmp_path, [triple(1), triple(2, license="MIT")]), SHARES)
    second = written(tmp_path, [triple(2, license="BSD-3-Clause"), triple(0)])
    import_file(Store(store.root, force=True), second, SHARES)
    assert {r["problem"] for r in read(store, "teacher_samples")} == {"Add 2.", "Add 0."}
    kept = read(store, "raw_pool", origin="import")
    assert [(r["name"], r["license"]) for r in kept] == [("f_2", "BSD-3-Clause")]
    same_snippets = written(tmp_path, [triple(2, license="ISC"), triple(0)])
    import_file(Store(store.root, force=True), same_snippets, SHARES)
    assert [r["license"] for r in read(store, "raw_pool", origin="import")] == ["ISC"]


def test_a_file_without_triples_is_refused_and_leaves_nothing(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])
    with pytest.raises(InputError, match=r"triples\.jsonl is empty"):
        import_file(store, written(tmp_path, []), SHARES)
    assert store.record("teacher_samples") is None


def test_a_run_does_not_ask_a_teacher_where_an_import_was_killed(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])

    class Killed(Store):
        def materialize(self, *of):
            raise KeyboardInterrupt

    file = written(tmp_path, [triple(1), triple(2)])
    with pytest.raises(KeyboardInterrupt):
        import_file(Killed(store.root), file, SHARES)
    with pytest.raises(InputError, match="an import of teacher samples was not finished"):
        build(store, asking(tmp_path, 1))
    import_file(store, file, SHARES)
    assert {r["problem"] for r in read(store, "teacher_samples")} == {"Add 1.", "Add 2."}


def test_a_text_that_raw_pool_gets_later_is_there_once(tmp_path):
    store = pooled(tmp_path / "store", [snippet(0)])
    file = written(tmp_path, [triple(1), triple(2)])
    import_file(store, file, SHARES)
    assert set(raw_pool.inputs(store)) == {"raw_pool", "raw_pool/origin-import"}
    put(Store(store.root, force=True), "raw_pool", [snippet(0), snippet(1)])
    assert set(raw_pool.inputs(store)) == {"raw_pool"}, "the imported texts are stale"
    with pytest.raises(InputError, match="raw_pool was built again since: import the file again"):
        build(store, asking(tmp_path, 1))
    import_file(store, file, SHARES)
    assert keys_of_texts(store) == sorted(snippet(n)["snippet_id"] for n in range(3))
    pairs = [r["code"] for split in ("train", "validation", "reference") for r in all_pairs(store, split)]
    assert sorted(pairs) == sorted(USABLE.format(n=n) for n in (1, 2)), "each sample has one text"


def all_pairs(store: Store, split: str) -> list[dict]:
    text = f"SELECT r.code FROM teacher_samples t JOIN raw_pool r USING (snippet_id) WHERE t.split = '{split}'"
    found = connect(store, store.input("teacher_samples") | raw_pool.inputs(store)).sql(text)
    return found.to_arrow_table().to_pylist()


# -- samples of a file that the recipe names -------------------------------------------------------


def reading(folder: Path, rows: list[dict], **given) -> Recipe:
    """A recipe whose teacher is a file with these triples."""
    path = written(folder, rows)
    return recipe(folder, teacher={"engine": "samples", "path": path, "run_examples": False, **given})


def pooled_at(path: Path, numbers: range) -> Store:
    store = pooled(path, [snippet(n) for n in numbers])
    return store


def test_the_samples_of_a_file_are_the_teachers_and_their_snippets_are_not_drawn(tmp_path):
    store = pooled_at(tmp_path / "store", range(6))
    made = reading(tmp_path, [triple(n) for n in (1, 4, 8, 9)])
    scoder.build_teacher(store, made)
    rows = read(store, "teacher_samples")
    assert {r["problem"] for r in rows} == {f"Add {n}." for n in (1, 4, 8, 9)}
    assert {(r["model"], r["prompt_version"], r["cost_usd"]) for r in rows} == {("samples", "", None)}
    assert {r["name"] for r in read(store, "raw_pool", origin="import")} == {"f_8", "f_9"}
    assert not is_asked(store)
    assert read(store, "rejects", stage="teacher") == []
    inputs = store.input("pool") | store.input("teacher_samples") | store.input("raw_pool")
    values = {"num_asked": 0, "start": 0, "stop": 99}
    free = [row["snippet_id"] for row in queries.rows(connect(store, inputs), "free_snippets", values)]
    assert sorted(free) == sorted(snippet(n)["snippet_id"] for n in (0, 2, 3, 5))


def test_the_same_file_is_up_to_date_another_order_too_and_another_content_is_another_plan(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    rows = [triple(n) for n in range(5)]
    first = build(store, reading(tmp_path, rows))
    (tmp_path / "elsewhere").mkdir()
    assert build(store, reading(tmp_path / "elsewhere", rows)) == first
    with pytest.raises(ContractError, match="another plan"):
        build(store, reading(tmp_path, [*rows[:-1], triple(7)]))
    again = build(Store(store.root, force=True), reading(tmp_path, [*rows[:-1], triple(7)]))
    assert again.content != first.content
    assert {r["name"] for r in read(store, "raw_pool", origin="import")} == {"f_2", "f_3", "f_7"}


def test_num_snippets_takes_a_fixed_part_of_a_file(tmp_path):
    rows = [triple(n) for n in range(8)]
    found = []
    for name, given, num in (("a", rows, 3), ("b", rows[::-1], 3), ("c", rows, 5)):
        (tmp_path / name).mkdir()
        store = pooled_at(tmp_path / name / "store", range(1))
        build(store, reading(tmp_path / name, given, num_snippets=num))
        found.append({r["sample_id"] for r in read(store, "teacher_samples")})
    assert found[0] == found[1] < found[2]
    assert [len(names) for names in found] == [3, 3, 5]


@pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")
def test_a_sample_of_a_file_that_fails_its_examples_is_a_reject(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    right = triple(1, problem="Double.\n\n>>> f(2)\n4", solution="def f(x):\n    return 2 * x")
    wrong = triple(2, id="x", problem="Double.\n\n>>> f(3)\n6", solution="def f(x):\n    return 4")
    said = told(store)
    scoder.build_teacher(store, reading(tmp_path, [right, wrong], run_examples=True))
    assert [r["solution"] for r in read(store, "teacher_samples")] == [right["solution"]]
    assert any(
        line.endswith("1 of 2 samples with examples fail them and are left out: row 2 (id 'x')") for line in said
    )
    (reject,) = read(store, "rejects", stage="teacher")
    assert (reject["item_id"], reject["reason"]) == (content_id("python", wrong["snippet"]), "teacher_answer_unusable")


def told(store: Store) -> list[str]:
    """What the store announces from now on."""
    said = list[str]()
    store.announce = said.append
    return said


def test_samples_that_cannot_be_used_are_rejects_and_are_named_with_the_reason(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    said = told(store)
    rows = [
        triple(1),
        triple(2, solution="def f(:"),
        triple(3, id="mine", solution="```python\ndef f(a):\n    return a\n```"),
        triple(4, id=7, snippet="function f()"),
        triple(1),
    ]
    scoder.build_teacher(store, reading(tmp_path, rows))
    assert [r["problem"] for r in read(store, "teacher_samples")] == ["Add 1."]
    assert {r["item_id"] for r in read(store, "rejects", stage="teacher")} == {
        content_id("python", row["snippet"]) for row in rows[1:4]
    }
    (line,) = [line for line in said if "left out" in line]
    assert line == (
        "teacher_samples: 4 of 5 samples left out: "
        "row 2: its solution is not valid Python (invalid syntax, line 1); "
        "row 3 (id 'mine'): its solution stands in a fence (```): leave the fence out; "
        "row 4 (id 7): its snippet is not valid Python (invalid syntax, line 1); "
        "row 5: it is the same as row 1"
    )


def test_five_of_many_are_named(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    said = told(store)
    build(store, reading(tmp_path, [triple(1), *(triple(n, solution="(") for n in range(2, 9))]))
    (line,) = [line for line in said if "left out" in line]
    assert "row 6: its" in line and "row 7" not in line and line.endswith("; and 2 more")


def test_a_file_without_a_usable_sample_is_refused_and_leaves_nothing(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    with pytest.raises(InputError, match=r"no sample can be used: row 1: its solution stands in a fence"):
        build(store, reading(tmp_path, [triple(1, solution="```\nx = 1\n```")]))
    assert store.record("teacher_samples") is None and store.record("raw_pool", origin="import") is None


def test_the_command_says_which_rows_of_a_file_are_repeated(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    at = ("--store", str(store.root), "--recipe", str(RECIPE), "--json")
    path = written(tmp_path, [triple(1), triple(2, id="b"), triple(1), *(triple(2, id=f"c{n}") for n in range(6))])
    done = scoder_here("import", "teacher", path, *at)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"table": "teacher_samples", "rows": 2, "repeated": 7}]
    (line,) = [line for line in done.stderr.splitlines() if "7 rows are left out" in line]
    assert line.startswith(
        f"{path}: 7 rows are left out: row 3 is the same as row 1; row 4 (id 'c0') is the same as row 2"
    )
    assert line.endswith("; and 2 more")
    done = scoder_here("import", "teacher", written(tmp_path, [triple(1)]), *at, "--force")
    assert json.loads(done.stdout)[0]["repeated"] == 0 and "rows are left out" not in done.stderr


def test_two_rows_with_one_id_are_refused_with_both(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    rows = [triple(0), triple(1, id="a"), triple(2, id="b"), triple(3, id="a"), triple(4)]
    with pytest.raises(InputError, match=r"rows 2 and 4 have the same id 'a'"):
        build(store, reading(tmp_path, rows))
    assert store.record("teacher_samples") is None
    import_file(store, written(tmp_path, rows), SHARES)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_read_like_json_lines(tmp_path, indent):
    rows, path = [triple(1), triple(2)], tmp_path / "rows.json"
    path.write_text("\n " + json.dumps(rows, indent=indent))
    assert list(importing.triples(str(path))) == list(importing.triples(written(tmp_path, rows)))
    path.write_text(path.read_text()[:-2])
    with pytest.raises(InputError, match=r"rows\.json, row \d: not JSON .* Give JSON lines, one JSON array"):
        list(importing.triples(str(path)))
    path.write_text("[1]")
    with pytest.raises(InputError, match="row 1 is not a JSON object"):
        list(importing.triples(str(path)))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_file_in_utf16_is_read_and_one_in_latin1_is_refused(tmp_path, encoding, form):
    path, rows = tmp_path / "rows.json", [triple(1), triple(2, problem="Größe")]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = lines if form == "lines" else f"[{lines.replace(chr(10), ',' + chr(10))}]"
    path.write_bytes(text.encode(encoding))
    if encoding != "latin-1":
        assert [found["problem"] for found in importing.triples(str(path))] == [row["problem"] for row in rows]
        return
    with pytest.raises(InputError, match=r"rows.json is not UTF-8 text: line 2, byte \d+ is 0xf6"):
        list(importing.triples(str(path)))


def test_samples_that_were_read_stay_when_their_file_is_gone(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    made = reading(tmp_path, [triple(1), triple(2)])
    scoder.build_teacher(store, made)
    record, said = store.record("teacher_samples"), told(store)
    Path(made.teacher.path).unlink()
    scoder.build_teacher(store, made)
    assert store.record("teacher_samples") == record
    assert f"teacher_samples: {made.teacher.path} is gone. The samples that were read from it stay" in said
    other = made.model_copy(update={"teacher": made.teacher.model_copy(update={"num_snippets": 1})})
    with pytest.raises(MissingError, match="there is no file of samples"):
        scoder.build_teacher(Store(store.root, force=True), other)
    assert store.record("teacher_samples") == record
    with pytest.raises(MissingError, match=r"no file of samples .*triples\.jsonl: check teacher\.path"):
        build(pooled_at(tmp_path / "other", range(1)), made)


def test_an_imported_file_wins_over_the_one_of_the_recipe(tmp_path):
    store = pooled_at(tmp_path / "store", range(2))
    (tmp_path / "mine").mkdir()
    record = import_file(store, written(tmp_path / "mine", [triple(5)]), SHARES)
    scoder.build_teacher(store, reading(tmp_path, [triple(6)]))
    assert store.record("teacher_samples") == record
    assert store.record("rejects", stage="teacher") is None


@pytest.mark.parametrize("given", [{"engine": "samples"}, {"path": "samples.jsonl"}])
def test_the_engine_samples_and_its_path_belong_together(tmp_path, given):
    with pytest.raises(ValueError, match="engine samples and path belong together"):
        recipe(tmp_path, teacher=given)


def test_the_path_stands_beside_the_recipe_and_the_packaged_file_is_found(tmp_path):
    (tmp_path / "mine.jsonl").write_text(json.dumps(triple(1)))
    text = (files.SHIPPED / "laptop.yaml").read_text().replace("teacher-samples.jsonl", "mine.jsonl")
    (tmp_path / "mine.yaml").write_text(text)
    assert files.load(tmp_path / "mine.yaml").teacher.path == str(tmp_path / "mine.jsonl")
    assert files.load("laptop").teacher.path == str(files.SHIPPED / "teacher-samples.jsonl")


def test_the_name_of_a_shipped_file_means_it_where_there_is_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "recipes"
    mine.mkdir()
    (mine / "mine.yaml").write_text((files.SHIPPED / "smollm2.yaml").read_text())
    name = "teacher-samples.jsonl"

    def paths() -> tuple[str | None, str]:
        made = files.load("recipes/mine.yaml")
        return made.teacher.path, made.benchmarks[0].path

    assert paths() == (str(files.SHIPPED / name), str(files.SHIPPED / "demo-benchmark.jsonl"))
    (tmp_path / name).write_text("{}")
    assert paths()[0] == name
    (mine / name).write_text("{}")
    assert paths()[0] == str(mine / name)
    made = files.load("recipes/mine.yaml", ["teacher.path=absent.jsonl"])
    message = r"no file of samples absent\.jsonl\. It was looked for beside the recipe, in .*, and among the files that"
    with pytest.raises(MissingError, match=message):
        scoder.check(Store(tmp_path / "store"), made, "teacher")
    made = files.load("recipes/mine.yaml", ["teacher.path=a/teacher-samples.jsonl"])
    assert made.teacher.path == "a/teacher-samples.jsonl"


def test_the_shipped_samples_are_whole_in_a_store_and_undisturbed_by_a_pool(tmp_path):
    store = pooled_at(tmp_path / "store", range(1))
    made = recipe(tmp_path, teacher=files.load("laptop").teacher.model_dump(mode="json") | {"run_examples": False})
    build(store, made)
    rows = read(store, "teacher_samples")
    assert len(rows) == len((files.SHIPPED / "teacher-samples.jsonl").read_text().splitlines())
    licenses = {r["license"] for r in read(store, "raw_pool", origin="import")}
    assert licenses == {"PSF-2.0"}
