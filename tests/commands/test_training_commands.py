"""`scoder train ROLE`: its defaults are those of a recipe, and its help names all settings."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from builders.recipe import Coder, files
from tests.smoke_run import scoder_here
from training.settings import LoraSettings, SftSettings

ROW = {
    "messages": [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "def add(a, b): return a + b"}]
}


@pytest.mark.parametrize("role", ["synthesizer", "scorer", "coder"])
def test_the_help_of_a_training_names_all_its_settings(role: str, tmp_path: Path) -> None:
    told = scoder_here("train", role, "--help", folder=tmp_path).stdout
    words = re.sub(r"[\s│]+", "", told)
    assert [name for name in SftSettings.model_fields if f"{name}=" not in words and f"{name}." not in words] == []
    assert [name for name in LoraSettings.model_fields if f"lora.{name}=" not in words] == []
    assert "learning_rate=0.0002" in words and "optimizer=adamw" in words and "lora.r=16" in words


def test_a_training_without_settings_has_the_defaults_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text(json.dumps(ROW) + "\n")
    base, output = str(files.SHIPPED / "tiny-base"), tmp_path / "out"
    given = ("--dataset", str(tmp_path / "data"), "--base", base, "--output", str(output))
    done = scoder_here("train", "coder", *given, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    used = SftSettings.model_validate(json.loads((output / "training.json").read_text())["plan"]["settings"])
    assert used == Coder(model=base).training == SftSettings()


def test_a_training_takes_any_file_and_names_of_columns(tmp_path: Path) -> None:
    rows = [{"ask": f"Add {n}.", "code": f"def add(): return {n}"} for n in range(3)] + [{"ask": "Add.", "code": None}]
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    base, output = str(files.SHIPPED / "tiny-base"), tmp_path / "out"
    given = ("--dataset", "rows.jsonl.gz", "--base", base, "--output", str(output), "--set", "epochs=1")
    refused = scoder_here("train", "coder", *given, folder=tmp_path)
    assert refused.returncode == 2 and "its columns are ask, code" in refused.stderr, refused.stderr
    assert not output.exists() and not Path(f"{output}.dataset").exists()
    done = scoder_here("train", "coder", *given, "--columns", "problem=ask,solution=code", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rows.jsonl.gz: 3 rows in" in done.stderr and "1 row left out: no_conversation" in done.stderr
    assert json.loads((output / "training.json").read_text())["num_rows"] == 3
