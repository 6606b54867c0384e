"""`scoder influence`: any dataset against any reference sets, with gradients computed once."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from builders.datasets.conversations import Dataset
from builders.standalone import gradient_shards
from builders.standalone.influence import Report, build
from builders.standalone.influence_request import Choices, Request, named
from tests.tiny_models import tiny_qwen
from training.gradients import stream_gradients
from training.settings import GradientSettings, SftSettings, WarmupSettings

CHOICES = Choices(
    gradients=GradientSettings(dimension=256, max_tokens=200),
    warmup=WarmupSettings(
        min_rows=8, training=SftSettings(epochs=2, num_checkpoints=2, batch_size=4, learning_rate=1e-2, dtype="float32")
    ),
    dtype="float32",
)
ROWS = [{"id": f"r{n}", "problem": f"add {n}", "solution": f"def f():\n    return {n} + {n % 3}\n"} for n in range(10)]
ODD = [
    {"problem": "add 1", "solution": ROWS[1]["solution"]},
    {"id": "long", "problem": "add", "solution": "x = 1\n" * 99},
    {"id": "blank", "problem": "add", "solution": " "},
    {"id": "none", "text": "x"},
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a dataset and two reference sets."""
    folder = tmp_path_factory.mktemp("here")
    tiny_qwen(folder / "model")
    files = {
        "data.jsonl": ROWS + ODD,
        "first.jsonl": [{"prompt": f"add {n}", "completion": f"{n} + 1", "task": "ab"[n % 2]} for n in range(4)],
        "halved.jsonl": [
            {"prompt": "add 0", "completion": "0 + 1"},
            *[{"prompt": "a", "completion": "x" * n} for n in (400, 401)],
        ],
        "second.jsonl": [{"instruction": "print", "output": "print(1)"}, {"instruction": "no answer", "output": ""}],
    }
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def request(here: Path, output: Path, *references: str, **changes: object) -> Request:
    made = Request(
        dataset=Dataset("data", str(here / "data.jsonl")),
        references=[Dataset(name, str(here / f"{name}.jsonl")) for name in references],
        model=str(here / "model"),
        output=str(output),
        gradients=str(here / "gradients"),
        choices=CHOICES,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def quietly(asked: Request) -> Report:
    return build(asked, lambda message: None, lambda items, label: items)


@pytest.fixture(scope="module")
def ranked(here: Path) -> Callable[[], tuple[Report, list[dict], list[dict]]]:
    output = here / "out.parquet"
    report = quietly(request(here, output, "first"))
    rejects = pq.read_table(f"{output}.rejects.parquet").to_pylist()
    return lambda: (report, pq.read_table(output).to_pylist(), rejects)


def test_every_row_is_in_the_output_or_in_the_rejects(ranked: Callable) -> None:
    report, rows, rejects = ranked()
    assert report.num_checkpoints == 2 and report.num_shards == 4, "dataset and reference at two warmed-up checkpoints"
    assert [r["row"] for r in rows] == list(range(11)) and [r["id"] for r in rows[:10]] == [r["id"] for r in ROWS]
    assert len(rows[10]["id"]) == 32, "a row without an id has that of its content"
    same = ("influence", "influence_max", "norm", "loss", "num_tokens")
    assert [rows[10][c] for c in same] == [rows[1][c] for c in same], "equal texts have equal numbers"
    assert [(r["id"], r["row"], r["reason"]) for r in rejects] == [
        ("long", 11, "too_long"),
        ("blank", 12, "empty_completion"),
        ("none", 13, "no_conversation: text, one text has no answer"),
    ]
    assert rejects[0]["value"] > rejects[0]["threshold"] == 200
    assert report.num_rows == 11 and sum(report.rejects.values()) == 3
    for row in rows:
        assert -1.01 < row["influence"] < 1.01 and row["norm"] > 0 and row["loss"] > 0 and row["num_tokens"] > 0


def test_influence_is_that_of_the_gradients(here: Path, ranked: Callable) -> None:
    _, rows, _ = ranked()
    (training,) = (here / "gradients" / "_warmup").glob("*/run/training.json")
    checkpoints = json.loads(training.read_text())["checkpoints"]
    rates = np.array([c["learning_rate"] for c in checkpoints])
    first = [json.loads(line) for line in (here / "first.jsonl").read_text().splitlines()]
    expected = np.zeros(len(ROWS))
    for checkpoint, share in zip(checkpoints, rates / rates.sum(), strict=True):
        adapter = str(training.parent / checkpoint["folder"])

        def units(pairs: list[tuple[str, str]], adapter: str = adapter) -> np.ndarray:
            chats = [
                (str(n), [{"role": "user", "content": a}, {"role": "assistant", "content": b}])
                for n, (a, b) in enumerate(pairs)
            ]
            return next(stream_gradients(str(here / "model"), adapter, chats, CHOICES.gradients)).unit_ND.astype(float)

        mean_D = units([(r["prompt"], r["completion"]) for r in first]).mean(axis=0)
        expected += share * units([(r["problem"], r["solution"]) for r in ROWS]) @ mean_D / np.linalg.norm(mean_D)
    # float16 rows, of other batches
    assert np.allclose([r["influence"] for r in rows[:10]], expected, atol=2e-3)
    assert np.std(expected) > 0.02


def test_another_reference_costs_its_own_shards_and_the_same_one_none(
    here: Path, ranked: Callable, tmp_path: Path
) -> None:
    ranked()
    again = quietly(request(here, tmp_path / "again.parquet", "first"))
    assert again.num_shards == 0
    assert (tmp_path / "again.parquet").read_bytes() == (here / "out.parquet").read_bytes()
    grouped = [
        Dataset("first", str(here / "first.jsonl"), group_column="task"),
        Dataset("second", str(here / "second.jsonl")),
    ]
    both = quietly(request(here, tmp_path / "both.parquet", references=grouped))
    assert both.num_shards == 2, "the second reference at two checkpoints"
    assert both.rejects["second", "empty_completion"] == 1
    table = pq.read_table(tmp_path / "both.parquet")
    names = ["influence_first", "influence_max_first", "influence_first_a", "influence_first_b"]
    assert table.column_names[2:] == [
        *("influence", "influence_max", *names, "influence_second", "influence_max_second"),
        *("norm", "loss", "num_tokens"),
    ]
    of = {name: table[name].to_numpy() for name in table.column_names[2:]}
    assert np.allclose(of["influence"], np.maximum(of["influence_first"], of["influence_second"]))
    assert np.allclose(of["influence_first"], pq.read_table(here / "out.parquet")["influence"].to_numpy(), atol=1e-6)
    assert not np.allclose(of["influence_first_a"], of["influence_first_b"], atol=1e-3)


def test_a_reference_whose_second_shard_has_no_gradient_is_its_first(
    here: Path, ranked: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient_shards, "ROWS", 2)
    report = quietly(request(here, tmp_path / "o.parquet", "halved", gradients=str(tmp_path / "gradients")))
    assert report.rejects["halved", "too_long"] == 2 and report.num_rows == 11


def test_a_lost_shard_is_computed_again_and_nothing_else(here: Path, ranked: Callable, tmp_path: Path) -> None:
    ranked()
    before = {p: p.stat().st_mtime_ns for p in (here / "gradients").glob("*/*.parquet")}
    lost = max(before, key=lambda path: path.stat().st_size)
    lost.unlink()
    assert quietly(request(here, tmp_path / "out.parquet", "first")).num_shards == 1
    after = {p: p.stat().st_mtime_ns for p in (here / "gradients").glob("*/*.parquet")}
    assert after.keys() >= before.keys() and [p for p in before if after[p] != before[p]] == [lost]
    assert (tmp_path / "out.parquet").read_bytes() == (here / "out.parquet").read_bytes()
    assert not (here / "gradients" / "_texts").exists()


def test_adam_maps_the_dataset_and_not_the_reference(here: Path, ranked: Callable, tmp_path: Path) -> None:
    ranked()
    adapter = str(next((here / "gradients" / "_warmup").glob("*/run")))
    adam = CHOICES.model_copy(update={"gradients": CHOICES.gradients.model_copy(update={"optimizer_map": "adam"})})
    report = quietly(request(here, tmp_path / "adam.parquet", "first", choices=adam, adapters=[adapter]))
    assert report.num_checkpoints == 2 and report.num_shards == 4
    plain, mapped = (pq.read_table(p)["norm"].to_numpy() for p in (here / "out.parquet", tmp_path / "adam.parquet"))
    assert (np.abs(plain - mapped) > 0.1 * plain).all()


def test_mistakes_are_named(here: Path, ranked: Callable, tmp_path: Path) -> None:
    ranked()
    with pytest.raises(ValueError, match="the reference sets cannot be called \\['first'\\]"):
        quietly(request(here, tmp_path / "x.parquet", "first", "first"))
    adapter = str(next((here / "gradients" / "_warmup").glob("*/run")))
    with pytest.raises(ValueError, match="1 learning rates are given for 2 checkpoints"):
        quietly(request(here, tmp_path / "x.parquet", "first", adapters=[adapter], learning_rates=[1.0]))
    with pytest.raises(ValueError, match="neither adapter_config"):
        quietly(request(here, tmp_path / "x.parquet", "first", adapters=[str(tmp_path)]))
    assert not list(tmp_path.glob("x.parquet*"))
    assert named("mbpp=a/b.jsonl", "train", "id").name == "mbpp"
    assert named("a/b.c.jsonl", "train", "id").name == "b"


def test_the_command_says_what_was_left_out(here: Path, ranked: Callable, tmp_path: Path) -> None:
    ranked()
    adapter = str(next((here / "gradients" / "_warmup").glob("*/run")))
    options = ["--model", str(here / "model"), "--adapter", adapter, "--gradients", str(here / "gradients"), "--json"]
    options += ["--set", "gradients.dimension=256", "--set", "gradients.max_tokens=200", "--set", "dtype=float32"]
    files = [str(here / "data.jsonl"), "--reference", str(here / "first.jsonl"), "-o", str(tmp_path / "out.parquet")]
    done = subprocess.run(
        [sys.executable, "-m", "commands", "influence", *files, *options],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [one["name"] for one in report["datasets"]] == ["data", "first"]
    assert report["datasets"][0] == {
        "name": "data",
        "path": files[0],
        "config": None,
        "split": None,
        "files_not_read": [],
    }
    assert report["rows"] == 11 and {r["reason"]: r["rows"] for r in report["rejects"]}["too_long"] == 1
    assert "no model is loaded" in done.stderr
    assert (tmp_path / "out.parquet").read_bytes() == (here / "out.parquet").read_bytes()


def test_shards_are_named_by_their_texts() -> None:
    many = [str(n) for n in range(2500)]
    first, second = gradient_shards.shards(many), gradient_shards.shards(many[:2400])
    assert [len(part) for part in first.values()] == [1000, 1000, 500]
    assert list(first)[:2] == list(second)[:2] and list(first)[2] != list(second)[2], (
        "a longer dataset keeps its shards"
    )
