"""What a run needs, looked at before any work: models, samples and benchmarks, stage by stage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import scoder
from builders.models import needed
from builders.recipe import Recipe, files
from store import Store
from store.errors import InputError, MissingError
from tests.tiny_recipes import recipe

ROOT = Path(__file__).parents[2]
STAGES = ["pool", "teacher", "scorer", "bootstrap", "iteration-1", "iteration-2", "instructions", "coder", "evaluation"]
GONE = {"engine": {"engine": "transformers"}, "model": "./gone"}
ENDPOINT = {"engine": "openai", "base_url": "http://localhost:1/v1"}


def refusing(made: Recipe, asks_teacher: bool = True) -> list[str]:
    """The stages until which a run is refused, and the first field that is named."""
    found = []
    for number, stage in enumerate(STAGES):
        try:
            needed.check(made, set(STAGES[: number + 1]), asks_teacher=asks_teacher)
        except MissingError as error:
            found.append(f"{stage}: {str(error).split(':')[0]}")
    return found[:1]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, []),
        ({"synthesizer": {"model": "./gone"}}, ["scorer: synthesizer.model"]),
        ({"synthesizer": {"model": "./gone"}, "scorer": {"model": "some/hub-id"}}, ["bootstrap: synthesizer.model"]),
        ({"scorer": {"model": "./gone"}}, ["scorer: scorer.model"]),
        ({"scorer": {"model": "./gone", "engine": ENDPOINT}}, []),
        ({"scorer": {"model": "./gone", "engine": ENDPOINT, "training": {}}}, ["scorer: scorer.model"]),
        ({"coder": {"model": "./gone"}}, ["coder: coder.model"]),
        ({"teacher": GONE}, ["teacher: teacher.model"]),
        ({"teacher": GONE | {"engine": ENDPOINT}}, []),
        ({"docstring_judge": GONE}, ["pool: docstring_judge.model"]),
        ({"docstring_judge": GONE | {"engine": ENDPOINT}}, []),
        ({"decontamination": {"meaning": {"model": "./gone"}}}, []),
        (
            {"decontamination": {"meaning": {"model": "./gone"}}, "benchmarks": [{"name": "b", "path": "some/hub"}]},
            ["pool: decontamination.meaning.model"],
        ),
    ],
)
def test_a_model_is_needed_from_its_stage_on(tmp_path, sections, expected):
    assert refusing(recipe(tmp_path, **sections)) == expected


def test_a_local_teacher_is_not_needed_where_nobody_is_asked(tmp_path):
    assert refusing(recipe(tmp_path, teacher=GONE), asks_teacher=False) == []


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("smollm2", r"no folder smollm2, and stage coder .* run: scoder model smollm2 smollm2$"),
        ("/nowhere/smollm2", r"run: scoder model smollm2 /nowhere/smollm2$"),
        ("/nowhere/else", r"no folder /nowhere/else.* Check the path$"),
        ("gpt2", None),
        ("HuggingFaceTB/SmolLM2-135M", None),
        ("me/smollm2", None),
    ],
)
def test_what_the_hub_may_know_is_left_to_the_hub(tmp_path, monkeypatch, model, says):
    monkeypatch.chdir(tmp_path)
    made = recipe(tmp_path, coder={"model": model})
    if says is None:
        needed.check(made, {"coder"}, asks_teacher=True)
        return
    with pytest.raises(MissingError, match=says):
        needed.check(made, {"coder"}, asks_teacher=True)
    if model == "smollm2":
        (tmp_path / "smollm2").mkdir()
        needed.check(made, {"coder"}, asks_teacher=True)


def samples(path: Path, *rows: dict[str, Any]) -> dict[str, Any]:
    """The section of a teacher whose file holds these rows."""
    path.write_text("\n".join(map(json.dumps, rows)))
    return {"engine": "samples", "path": str(path), "run_examples": False}


ROW = {"snippet": "def f(a):\n    return a", "problem": "Give it back.", "solution": "def f(a):\n    return a"}


def test_a_run_looks_at_its_samples_and_models_before_any_work(tmp_path):
    (tmp_path / "code").mkdir()
    bad = samples(tmp_path / "bad.jsonl", ROW, {**ROW, "problem": ""})
    store, said = Store(tmp_path / "store"), list[str]()
    store.announce = said.append
    with pytest.raises(InputError, match="row 2: needs text in problem"):
        scoder.run(store, recipe(tmp_path / "code", teacher=bad))
    good = samples(tmp_path / "good.jsonl", ROW)
    with pytest.raises(MissingError, match=r"scoder model smollm2 \./smollm2"):
        scoder.run(store, recipe(tmp_path / "code", teacher=good, synthesizer={"model": "./smollm2"}))
    with pytest.raises(MissingError, match="there is no file of samples"):
        scoder.check(store, recipe(tmp_path / "code", teacher=good | {"path": "gone.jsonl"}), "teacher")
    scoder.check(store, recipe(tmp_path / "code", teacher=bad, synthesizer={"model": "./smollm2"}), "pool")
    assert said == [] and not (tmp_path / "store").exists()


def test_a_dry_run_says_what_is_missing_after_the_plan(tmp_path):
    (tmp_path / "mine.yaml").write_text((files.SHIPPED / "smollm2.yaml").read_text())
    command = [sys.executable, "-m", "commands", "run", str(tmp_path / "mine.yaml"), "--dry-run", "--json"]
    command += ["--store", str(tmp_path / "store"), "--set", "synthesizer.model=./smollm2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and len(found["plan"]) > 5, done.stderr
    told = next(one for one in found["refused"] if one["message"].startswith("synthesizer.model"))
    assert told["error"] == "MissingError" and "there is no folder ./smollm2" in told["message"]
    assert "this run would be refused now: " in done.stderr and told["message"] in done.stderr
    done = subprocess.run([*command, "--until", "teacher"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert (json.loads(done.stdout)["refused"], json.loads(done.stdout)["passed_over"]) == ([], [])
    assert not (tmp_path / "store").exists()
