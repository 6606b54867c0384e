"""What a recipe names is opened before a run: each fault is told, and all of them at once."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import scoder
from builders.recipe import Recipe, files
from builders.sources import opened
from builders.standalone import opening
from builders.teacher import importing
from store import Store
from store.errors import InputError, UserError
from store.refusals import refused
from tests.smoke_run import RECIPE, scoder_here
from training.errors import TrainingError


def told(recipe: Recipe, *stages: str) -> list[str]:
    checks = opening.checks(recipe, stages or list(scoder.stages(recipe)))
    return [str(error) for error in refused(checks, UserError, TrainingError)]


def write(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_recipe_that_can_be_run_is_opened_without_a_word() -> None:
    assert told(files.load(RECIPE)) == []


def test_all_faults_of_a_recipe_are_told_at_once(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", {"text": "def f(): pass"})
    tasks = write(tmp_path / "tasks.jsonl", {"question": "?"})
    mix = write(tmp_path / "mix.jsonl", {"left": "1", "right": "2"})
    changes = [
        f"sources=[{{name: rows, kind: jsonl, path: '{rows}'}}, {{name: gone, kind: tree, path: '{tmp_path}/gone'}}]",
        f"benchmarks=[{{name: mine, path: '{tasks}'}}]",
        f"coder.mix=[{{dataset: '{mix}'}}, {{dataset: '{tmp_path}/gone.jsonl'}}]",
    ]
    said = told(files.load(RECIPE, changes))
    expected = (
        "The columns are text",
        "no directory",
        "tasks.jsonl, row 1",
        "its columns are left, right",
        "gone.jsonl",
    )
    assert [part in one for part, one in zip(expected, said, strict=True)] == [True] * 5, said
    assert told(files.load(RECIPE, changes), "teacher") == []
    shown = scoder_here(
        "run",
        str(RECIPE),
        "--dry-run",
        *(f"--set={c}" for c in changes),
        "--store",
        str(tmp_path / "s"),
        folder=tmp_path,
    )
    assert all(part in shown.stderr for part in expected), shown.stderr


def test_a_packed_source_that_is_damaged_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and no more")
    made = files.load(RECIPE, [f"sources=[{{name: rows, kind: parquet, path: '{tmp_path}/rows.parquet'}}]"])
    assert ["of 1 file 1 cannot be read" in one for one in told(made, "pool")] == [True]
    pq.write_table(pa.table({"content": ["x = 1"]}), tmp_path / "rows.parquet")
    assert told(made, "pool") == []


def test_what_is_not_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.jsonl", {"content": "x = 1"})
    mix = write(tmp_path / "mix.jsonl", {"question": "1", "answer": "2"})
    changes = [
        f"sources=[{{name: rows, kind: jsonl, path: '{tmp_path}'}}, {{name: far, kind: hub, dataset: owner/far}}]",
        "benchmarks=[{name: mine, path: owner/mine}]",
        f"coder.mix=[{{dataset: owner/mix}}, {{dataset: '{mix}'}}]",
    ]
    made = files.load(RECIPE, changes)
    at_the_hub = ["the Hub is not asked for owner/mine", "the Hub is not asked for owner/mix"]
    far = "source 'far': the Hub is not asked for owner/far"
    assert opening.passed_over(made, ["pool", "coder"]) == [far, *at_the_hub]
    monkeypatch.setattr(opened, "MAX_FILES", 2)
    first = "source 'rows': only the first 2 of 4 files are looked at"
    assert opening.passed_over(made, ["pool"]) == [first, far, at_the_hub[0]]
    assert opening.passed_over(made, ["teacher"]) == []


@pytest.mark.parametrize("cut", [4, 1000, -1])
def test_a_model_that_was_copied_in_part_is_told(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [500], "data_offsets": [0, 2000]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(2000)
    made = files.load(RECIPE, [f"synthesizer.model={folder}"])
    (folder / "model.safetensors").write_bytes(whole)
    assert told(made, "bootstrap") == []
    (folder / "model.safetensors").write_bytes(whole[:cut])
    assert ["synthesizer.model: " in one and "Copy the model again" in one for one in told(made, "bootstrap")] == [True]
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n")
    assert ["synthesizer.model: " in one and "run `git lfs pull`" in one for one in told(made, "bootstrap")] == [True]


def test_a_pool_without_a_snippet_ends_the_run_with_the_reasons(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", {"content": "x = 1\n"}, {"content": "def f(:\n"}, {"content": None})
    made = files.load(RECIPE, [f"sources=[{{name: rows, kind: jsonl, path: '{rows}'}}]", "benchmarks=[]"])
    with pytest.raises(
        UserError, match=r"the pool is empty.*0 functions were extracted.*extract: no_content"
    ) as caught:
        scoder.run(Store(tmp_path / "store"), made, until="pool")
    assert caught.value.exit_code == 1 and "1 extract: syntax_error" in str(caught.value)
    assert not isinstance(caught.value, InputError)


def test_numbers_without_end_are_refused_and_a_list_of_licences_is_joined(tmp_path: Path) -> None:
    for change in ("sampling.temperature=.inf", "machine.peak_tflops=.inf"):
        with pytest.raises(InputError, match="finite number"):
            files.load(RECIPE, [change])
    row = {"snippet": "x = 1", "problem": "Write x.", "solution": "x = 1", "license": ["MIT", "BSD"]}
    (found,) = importing.triples(write(tmp_path / "t.jsonl", row))
    assert found["license"] == "MIT, BSD"
