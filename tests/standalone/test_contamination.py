"""Contamination of any dataset: which column is read, ids and rows, verdicts, whole files.

The result is the same for every way to run it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import queries
from builders import sandbox
from builders.benchmarks import named
from builders.datasets.texts import DATASET_ITEMS, text_columns
from builders.recipe import Decontamination
from builders.standalone import contamination as checking
from builders.standalone.contamination import Request
from builders.standalone.verdict_files import DATASET_HITS, VERDICTS
from store import content_id
from store.errors import InputError, JobError
from tests.smoke_run import scoder

PROMPT = '''\
def weave_positions(letters, offset):
    """Take every letter of the word, move it along the alphabet by its own position plus the given offset, and put the
    results together with a dash wherever two neighbours would otherwise be the same letter.

    >>> weave_positions('walnut', 17)
    'nsehp-p'
    """
'''
SOLUTION = """\
    moved = []
    for position, letter in enumerate(letters):
        code = (ord(letter) - ord('a') + position + offset) % 26
        fresh = chr(code + ord('a'))
        if moved and moved[-1] == fresh:
            moved.append('-')
        moved.append(fresh)
    return ''.join(moved)
"""
TESTS = (
    "def check(candidate):\n    assert candidate('walnut', 17) == 'nsehp-p'\n    assert candidate('ba', 0) == 'b-b'\n"
    "    assert candidate('', 3) == ''\n    assert candidate('zzz', 1) == 'abc'\n    assert candidate('oak', 5) == 'tgr'\n"
)
REWRITTEN = """\
def shift_each(word, start):
    alphabet, out = "abcdefghijklmnopqrstuvwxyz", ""
    for i in range(len(word)):
        new = alphabet[(alphabet.index(word[i]) + i + start) % 26]
        out += ("-" if out[-1:] == new else "") + new
    return out
"""
CLEAN = "def half(number):\n    return number / 2\n"
Row = dict[str, Any]


@pytest.fixture
def benchmark(tmp_path: Path) -> str:
    row = {"task_id": "T/0", "prompt": PROMPT, "canonical_solution": SOLUTION, "entry_point": "weave_positions"}
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row | {"test": TESTS}) + "\n")
    return str(path)


def written(path: Path, rows: list[Any]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def check(dataset: str, benchmark: str, **changed: Any) -> tuple[list[Row], list[Row], checking.Report]:
    folder = Path(dataset).parent / "out"
    places = {"hits": str(folder / "hits.parquet"), "verdicts": str(folder / "verdicts.parquet")}
    report = checking.check(Request(named(dataset), [named(benchmark)], **places, **changed))
    hits, verdicts = (pq.read_table(place) for place in places.values())
    assert (hits.schema, verdicts.schema) == (DATASET_HITS, VERDICTS)
    assert sorted(p.name for p in folder.iterdir()) == ["hits.parquet", "verdicts.parquet"]
    return hits.to_pylist(), verdicts.to_pylist(), report


ROWS = [
    {"id": 7, "code": PROMPT + SOLUTION},
    {"id": "clean", "code": CLEAN},
    {"id": None, "code": CLEAN},
    {"id": 7, "code": (PROMPT + SOLUTION).replace("\n", "\r\n")},
    {"id": "empty", "code": " \n"},
    {"id": "null", "code": None},
    {"id": "\ud800", "code": "\ud800"},
]


def test_a_verdict_on_every_row_and_its_best_hit(tmp_path, benchmark):
    hits, verdicts, report = check(written(tmp_path / "data.jsonl", ROWS), benchmark)
    ids = ["7", "clean", content_id(CLEAN), "7", "empty", "null", "\\ud800"]
    assert [(v["item_id"], v["row"]) for v in verdicts] == list(zip(ids, range(7), strict=True))
    assert [v["is_contaminated"] for v in verdicts] == [True, False, False, True, False, False, False]
    assert [v["has_text"] for v in verdicts] == [True, True, True, True, False, False, True]
    leaked, clean = verdicts[0], verdicts[1]
    assert (leaked["benchmark"], leaked["task_id"], leaked["strength"]) == ("mine", "T/0", 1.0)
    assert leaked["num_hits"] == len([h for h in hits if h["row"] == 0]) > 1
    assert leaked["evidence"] in {h["evidence"] for h in hits}
    assert (clean["num_hits"], clean["benchmark"], clean["strength"]) == (0, None, None)
    assert {(h["item_id"], h["row"]) for h in hits} == {("7", 0), ("7", 3)}
    assert len({(h["row"], h["benchmark"], h["task_id"], h["detector"]) for h in hits}) == len(hits)
    assert (report.num_rows, report.num_without_text, report.num_contaminated) == (7, 2, 2)
    assert report.with_verdict["mine", "string"] == 2
    assert json.loads(json.dumps(report.as_dict()))["contaminated"] == 2


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_the_form_of_the_file_does_not_matter(tmp_path, benchmark, suffix):
    rows = [{"id": str(row["id"]), "more": [1], "code": row["code"]} for row in ROWS[:-1]]
    hits, verdicts, _ = check(written(tmp_path / f"data{suffix}", rows), benchmark)
    assert [v["is_contaminated"] for v in verdicts] == [True, False, False, True, False, False]
    assert [h["row"] for h in hits] == sorted(h["row"] for h in hits)


def test_a_dataset_folder_is_read_from_its_train_split(tmp_path, benchmark):
    folder = tmp_path / "folder"
    folder.mkdir()
    written(folder / "train.jsonl", [{"id": "a", "code": PROMPT + SOLUTION}])
    written(folder / "test.jsonl", [{"id": "b", "code": CLEAN}, {"id": "c", "code": CLEAN}])
    assert checking.check(Request(named(str(folder)), [named(benchmark)])).num_contaminated == 1
    test = named(str(folder)).model_copy(update={"split": "test"})
    report = checking.check(Request(test, [named(benchmark)]))
    assert (report.num_rows, report.num_contaminated) == (2, 0)
    assert report.as_dict()["dataset"] == {"path": str(folder), "config": None, "split": "test", "files_not_read": ()}
    usual = checking.check(Request(named(str(folder)), [named(benchmark)])).as_dict()
    assert usual["dataset"]["split"] == "train"
    assert usual["benchmarks"] == [
        {"name": "mine", "path": benchmark, "config": None, "split": None, "files_not_read": ()}
    ]


def test_the_input_of_alpaca_is_searched_beside_named_columns(tmp_path, benchmark):
    rows = [{"instruction": "Do it.", "input": PROMPT + SOLUTION, "output": "1"}, {"instruction": "x", "output": "2"}]
    columns = ("instruction", "output")
    for name in ("data.jsonl", "data.parquet"):
        data = written(tmp_path / name, rows)
        assert check(data, benchmark, columns=columns)[2].num_contaminated == 0
        _, verdicts, report = check(data, benchmark, columns=columns, has_input=True)
        assert [v["is_contaminated"] for v in verdicts] == [True, False]
        assert (report.columns, report.num_without_text) == (("input", "instruction", "output"), 0)
    tests = written(tmp_path / "tests.jsonl", [{"instruction": "x", "input": {"n": [1]}, "output": "y"}])
    assert check(tests, benchmark, columns=columns, has_input=True)[2].columns == columns


def test_batches_and_processes_do_not_matter(tmp_path, benchmark, monkeypatch):
    data = written(tmp_path / "data.jsonl", ROWS * 3)
    whole = check(data, benchmark)
    monkeypatch.setattr(checking, "BATCH_ROWS", 4)
    done: list[int] = []
    folder = tmp_path / "again"
    request = Request(named(data), [named(benchmark)], hits=str(folder / "h"), verdicts=str(folder / "v"), workers=2)
    report = checking.check(request, done.append)
    assert (pq.read_table(folder / "h").to_pylist(), pq.read_table(folder / "v").to_pylist()) == whole[:2]
    assert report == whole[2]
    assert done == [4, 8, 12, 16, 20, 21]


def test_questions_and_answers_count_both(tmp_path, benchmark):
    rows = [
        {"instruction": PROMPT, "input": "", "output": "x = 1"},
        {"instruction": "Do it.", "input": PROMPT, "output": "x = 1"},
        {"instruction": "Do it.", "output": f"Here:\n```python\n{PROMPT}{SOLUTION}```"},
        {"instruction": "Do it.", "input": None, "output": "x = 1"},
    ]
    _, verdicts, report = check(written(tmp_path / "data.jsonl", rows), benchmark)
    assert report.columns == ("instruction", "input", "output")
    assert [v["is_contaminated"] for v in verdicts] == [True, True, True, False]
    turns = [{"messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "x = 1"}]}]
    _, verdicts, report = check(written(tmp_path / "turns.jsonl", turns), benchmark)
    assert (report.columns, verdicts[0]["is_contaminated"]) == (("messages",), True)


@pytest.mark.parametrize(
    ("columns", "named_columns", "expected"),
    [
        (["id", "text", "code"], [], ["code"]),
        (["id", "content", "text"], [], ["text"]),
        (["problem", "solution", "code"], [], ["problem", "solution"]),
        (["prompt", "completion", "input"], [], ["prompt", "completion"]),
        (["question", "code"], [], ["question", "code"]),
        (["prompt"], [], ["prompt"]),
        (["messages", "code"], [], ["messages"]),
        (["text", "other"], ["other"], ["other"]),
        (["a", "b"], ["b", "a"], ["b", "a"]),
    ],
)
def test_which_columns_are_read(columns, named_columns, expected):
    assert text_columns([dict.fromkeys(columns, "x")], named_columns) == tuple(expected)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [{"id": 1, "body": "x"}],
            [],
            r"which column holds the text\? The dataset has id, body\. Name one with --text",
        ),
        ([{"id": 1, "code": "x"}], ["body"], "no column body: the dataset has id, code"),
        ([{"code": 5}], [], "row 1: the column code holds int, not text"),
        (["x"], [], "row 1 is a str: every row must be a JSON object"),
        ([{"code": "x"}, ["x"]], [], "row 2 is a list: every row must be a JSON object"),
    ],
)
def test_what_cannot_be_checked_is_said_and_leaves_no_files(tmp_path, benchmark, rows, columns, message):
    hits = tmp_path / "hits.parquet"
    hits.write_text("of an earlier run")
    request = Request(named(written(tmp_path / "data.json", rows)), [named(benchmark)], columns=columns, hits=str(hits))
    with pytest.raises(ValueError, match=message):
        checking.check(request)
    assert hits.read_text() == "of an earlier run"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.json", "hits.parquet", "mine.jsonl"]


LEAK = PROMPT + SOLUTION
FORMS = {
    "JSON text": {"messages": json.dumps([{"role": "assistant", "content": LEAK}])},
    "parts": {"messages": [{"role": "assistant", "content": [{"type": "text", "text": LEAK}]}]},
    "a tool's arguments": {
        "messages": [
            {"role": "user", "content": "Run it."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "run", "arguments": json.dumps({"code": LEAK})}}],
            },
        ]
    },
    "a system's turn": {"messages": [{"role": "system", "content": LEAK}, {"role": "user", "content": "Go."}]},
    "a system's column": {"system": LEAK, "conversations": [{"from": "human", "value": "Go."}]},
    "ShareGPT's call": {
        "conversations": [{"from": "function_call", "value": json.dumps({"name": "r", "arguments": {"c": LEAK}})}]
    },
    "turns of a prompt": {"prompt": [{"role": "user", "content": LEAK}], "completion": "x = 1"},
    "question and response": {"question": "Do it.", "response": LEAK},
    "several texts": {"text": [CLEAN, LEAK]},
    "a preferred answer": {"prompt": "Do it.", "chosen": LEAK, "rejected": CLEAN},
    "a rejected answer of turns": {
        "prompt": "Do it.",
        "chosen": CLEAN,
        "rejected": [{"role": "assistant", "content": LEAK}],
    },
    "an input beside a prompt": {"prompt": "Do it.", "input": LEAK, "output": "x = 1"},
    "a list of solutions": {"problem": "Do it.", "solutions": [CLEAN, LEAK]},
    "solutions as JSON text": {"problem": "Do it.", "solutions": json.dumps([CLEAN, LEAK])},
    "solutions by language": {"problem": "Do it.", "solutions": {"language": [3], "solution": [LEAK]}},
    "starter code": {"problem": "Do it.", "starter_code": LEAK, "solution": "x = 1"},
    "a history": {"instruction": "Go on.", "history": [["Do it.", LEAK]], "output": "x = 1"},
    "an answer that is JSON text": {"prompt": "Do it.", "response": json.dumps({"code": LEAK})},
    "a call in the content": {
        "messages": [
            {"role": "user", "content": "Run it."},
            {
                "role": "assistant",
                "content": f"<tool_call>\n{json.dumps({'name': 'r', 'arguments': {'code': LEAK}})}\n</tool_call>",
            },
        ]
    },
}


@pytest.mark.parametrize("row", FORMS.values(), ids=FORMS)
def test_a_leak_is_found_wherever_it_is_said(tmp_path, benchmark, row):
    _, verdicts, report = check(written(tmp_path / "data.jsonl", [row]), benchmark)
    assert [v["is_contaminated"] for v in verdicts] == [True]
    assert report.num_without_text == 0


def test_rows_of_another_layout_are_read_by_their_own(tmp_path, benchmark):
    rows = [{"instruction": "Do it.", "output": CLEAN}] * 3 + [{"messages": [{"role": "user", "content": LEAK}]}]
    _, verdicts, report = check(written(tmp_path / "data.jsonl", rows), benchmark)
    assert [v["is_contaminated"] for v in verdicts] == [False] * 3 + [True] and report.num_without_text == 0


def test_a_layout_without_text_gives_way_to_one_that_has_it(tmp_path, benchmark):
    rows = [{"messages": None, "problem": None, "solution": None, "text": LEAK}] * 2
    _, _, report = check(written(tmp_path / "data.parquet", rows), benchmark)
    assert (report.columns, report.num_contaminated) == (("text",), 2)


HEADS = {
    "blank answers": ({"instruction": "Do it.", "output": ""}, {"instruction": "Do it.", "output": LEAK}),
    "no turns": ({"messages": None, "text": CLEAN}, {"messages": [{"role": "user", "content": LEAK}], "text": None}),
    "turns": (
        {"messages": [{"role": "user", "content": "Do it."}], "text": None},
        {"messages": None, "text": LEAK},
    ),
    "another name": ({"prompt": "Do it.", "completion": "x = 1"}, {"prompt": "Do it.", "response": LEAK}),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("rows", HEADS.values(), ids=HEADS)
def test_the_first_rows_do_not_decide_about_the_others(tmp_path, benchmark, suffix, rows):
    first, last = rows
    given = [*[{**dict.fromkeys(last), **first}] * 1001, last]
    _, verdicts, report = check(written(tmp_path / f"data{suffix}", given), benchmark)
    assert [v["row"] for v in verdicts if v["is_contaminated"]] == [1001]
    assert report.num_without_text == 0


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_what_was_not_read_is_said(tmp_path, benchmark, suffix):
    row = {"id": "a", "prompt": "Do it.", "completion": "x = 1", "target": LEAK, "n": 1, "blank": " ", "late": None}
    data = written(tmp_path / f"data{suffix}", [row] * 1001 + [{**row, "late": LEAK}])
    _, _, report = check(data, benchmark)
    assert (report.num_contaminated, report.not_read) == (0, ("target", "late"))
    assert "columns with text that were not read: target, late. Name them with --text." in report.lines()
    assert report.as_dict()["columns_not_read"] == ["target", "late"]
    _, _, report = check(data, benchmark, columns=["target"])
    assert (report.num_contaminated, report.not_read) == (1002, ("prompt", "completion", "late"))


def test_a_row_whose_answer_could_not_be_read_is_not_checked(tmp_path, benchmark):
    rows = [{"instruction": "Do it.", "output": LEAK.encode()}] * 2
    hits, verdicts, report = check(written(tmp_path / "data.parquet", rows), benchmark)
    assert (hits, [v["has_text"] for v in verdicts], report.num_without_text) == ([], [False] * 2, 2)
    assert report.why_without_text == {"the column output holds bytes, not text": 2}
    rows = [{"prompt": "Do it.", "completion": "x"}, {"prompt": "Do it.", "target": LEAK}, {"prompt": PROMPT}]
    _, verdicts, report = check(written(tmp_path / "data.jsonl", rows), benchmark)
    assert report.why_without_text == {"no text in completion": 2}
    assert [v["is_contaminated"] for v in verdicts] == [False, False, True]
    rows = [{"question": "How many?", "answer": 42}, {"question": "How many?", "answer": 0}]
    assert check(written(tmp_path / "numbers.jsonl", rows), benchmark)[2].num_without_text == 0


def test_a_field_inside_of_a_column_must_be_there(tmp_path):
    with pytest.raises(ValueError, match=r"no column data\.zzz: the dataset has data, data\.code"):
        text_columns([{"data": {"code": "x"}}], ["data.code", "data.zzz"])
    assert text_columns([{"data": None}, {"data": {"code": "x"}}], ["data.code"]) == ("data.code",)


def test_two_columns_of_one_name_are_refused(tmp_path, benchmark):
    pq.write_table(pa.table([["x"], [LEAK]], names=["code", "code"]), tmp_path / "data.parquet")
    with pytest.raises(InputError, match="two columns are called code"):
        check(str(tmp_path / "data.parquet"), benchmark)


def test_columns_may_be_named_and_lie_deeper(tmp_path, benchmark):
    rows = [{"id": 1, "data": {"code": LEAK}, "text": CLEAN}]
    for suffix in (".jsonl", ".parquet"):
        _, verdicts, _ = check(written(tmp_path / f"data{suffix}", rows), benchmark, columns=["data.code"])
        assert verdicts[0]["is_contaminated"]


def test_a_check_that_could_not_look_says_so(tmp_path, benchmark):
    rows = [{"code": CLEAN}] * 8 + [{"code": None}, {"code": 5}]
    _, _, report = check(written(tmp_path / "data.jsonl", rows), benchmark)
    assert report.lines()[0] == "0 of 10 rows are contaminated"
    assert report.lines()[1] == (
        "2 rows had no text and could not be checked: no text in code (1); the column code holds int, not text (1)"
    )
    report.require_text(0.2)
    with pytest.raises(
        JobError, match=r"2 of 10 rows had no text in code, so they were not checked: .*--max-without-text"
    ):
        report.require_text(0.19)


def test_benchmarks_need_names_of_their_own(tmp_path, benchmark):
    data = named(written(tmp_path / "data.jsonl", ROWS))
    with pytest.raises(ValueError, match=r"two benchmarks are called mine\. Give each its own name: NAME=FILE"):
        checking.check(Request(data, [named(benchmark), named(benchmark)]))
    report = checking.check(Request(data, [named(benchmark), named(f"other={benchmark}")]))
    assert {name for name, _ in report.with_hit} == {"mine", "other"}


def test_a_threshold_changes_verdicts_and_no_hits(tmp_path, benchmark):
    rows = [{"code": SOLUTION[: len(SOLUTION) * share // 10]} for share in range(1, 11)]
    data = written(tmp_path / "data.jsonl", rows)
    found = {limit: check(data, benchmark, settings=Decontamination(min_strength=limit)) for limit in (0.3, 0.5, 0.9)}
    assert len({json.dumps(hits) for hits, _, _ in found.values()}) == 1
    flagged = [{v["row"] for v in verdicts if v["is_contaminated"]} for _, verdicts, _ in found.values()]
    assert flagged[0] >= flagged[1] >= flagged[2] > set()
    assert flagged[0] > flagged[2]


def test_the_best_hit_is_the_strongest_and_a_threshold_that_is_reached_counts():
    def hit(row: int, task_id: str, strength: float, similarity: float = 0.0, bits: float = 0.0) -> Row:
        found = {"item_id": str(row), "row": row, "benchmark": "b", "task_id": task_id, "detector": "ngram"}
        return found | {
            "strength": strength,
            "similarity": similarity,
            "information": bits,
            "evidence": f"of {task_id}",
        }

    hits = [hit(0, "T/1", 0.3, 1.0, 99.0), hit(0, "T/2", 0.7), hit(0, "T/3", 0.6, 1.0)]
    hits += [hit(1, "T/1", 0.69, 0.2, 5.0), hit(1, "T/2", 0.69, 0.2, 7.0), hit(1, "T/3", 0.69, 0.1, 9.0)]
    items = [{"item_id": str(row), "row": row, "has_text": row != 2} for row in range(3)]
    with duckdb.connect() as connection:
        connection.register("dataset_hits", pa.Table.from_pylist(hits, schema=DATASET_HITS))
        connection.register("dataset_items", pa.Table.from_pylist(items, schema=DATASET_ITEMS))
        found = queries.rows(connection, "dataset_verdicts", {"min_strength": 0.7})
    chosen = [(v["is_contaminated"], v["has_text"], v["num_hits"], v["task_id"], v["evidence"]) for v in found]
    assert chosen == [
        (True, True, 3, "T/2", "of T/2"),
        (False, True, 3, "T/2", "of T/2"),
        (False, False, 0, None, None),
    ]


def test_settings_are_those_of_the_section():
    assert checking.settings(["decontamination.min_strength=0.7"]).min_strength == 0.7
    with pytest.raises(ValueError, match="--set pool: this command only has the section decontamination"):
        checking.settings(["pool.min_lines=3"])
    with pytest.raises(ValueError, match="min_strengt"):
        checking.settings(["decontamination.min_strengt=0.7"])


@pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")
def test_execution_finds_what_no_other_detector_does(tmp_path, benchmark):
    rows = [
        {"problem": "Shift it.", "solution": REWRITTEN},
        {"problem": PROMPT, "solution": CLEAN},
        {"problem": "Halve.", "solution": CLEAN},
    ]
    data = written(tmp_path / "data.jsonl", rows)
    assert [v["is_contaminated"] for v in check(data, benchmark)[1]] == [False, True, False]
    hits, verdicts, report = check(data, benchmark, execute=True, workers=2)
    assert [v["is_contaminated"] for v in verdicts] == [True, True, False]
    assert (verdicts[0]["detector"], verdicts[0]["strength"], verdicts[0]["task_id"]) == ("execution", 1.0, "T/0")
    assert {h["detector"] for h in hits if h["row"] == 0 and h["strength"] >= 0.5} == {"execution"}
    assert (report.num_runnable, report.num_tasks, report.executed["passes"]) == (1, 1, 1)
    assert "1 of 1 tasks can be run" in report.lines()[1]


def test_the_command_line(tmp_path, benchmark):
    data, out = written(tmp_path / "data.jsonl", ROWS), tmp_path / "verdicts.parquet"
    again = written(tmp_path / "again.jsonl", [json.loads(Path(benchmark).read_text())])
    asked = ("contamination", data, "--benchmarks", benchmark, again, "--verdicts", str(out), "--json")
    done = scoder(*asked, "--max-without-text", "0.3")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows"], report["contaminated"], report["columns"]) == (7, 2, ["code"])
    assert {row["benchmark"] for row in report["detectors"]} == {"mine", "again"}
    assert pq.read_table(out)["is_contaminated"].to_pylist() == [True, False, False, True, False, False, False]
    strict = scoder(*asked)
    assert (strict.returncode, json.loads(strict.stdout)["rows_without_text"]) == (1, 2)
    assert "2 of 7 rows had no text in code" in strict.stderr
    named_so = scoder(*asked, "--columns", "problem=id,solution=code")
    assert json.loads(named_so.stdout)["columns"] == ["id", "code"]
    assert report["dataset"] == {"path": data, "config": None, "split": None, "files_not_read": []}
    failed = scoder("contamination", data, "--benchmarks", benchmark, "--text", "body")
    assert (failed.returncode, failed.stderr) == (2, "scoder: no column body: the dataset has id, code\n")
