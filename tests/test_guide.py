"""The recipes, commands and Python lines of the guide work as they stand."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from builders import sources
from builders.recipe import Recipe, Source
from builders.recipe.files import checked, load, override
from store import Store
from tests.smoke_run import ROOT, command, scoder, scoder_here

GUIDE = (ROOT / "docs" / "guide.md").read_text()
YAML = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
RECIPE = next(block for block in YAML if block.startswith("name: mine"))
CODE = next(block for block in PYTHON if block.startswith("def running_mean"))
SOURCES = [entry for block in YAML if block.startswith("sources:") for entry in yaml.safe_load(block)["sources"]]
SECTIONS = [block for block in YAML if not block.startswith(("sources:", "name:"))]
SHELL = "".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)).replace("\n    ", " ").splitlines()
LINES = [shlex.split(line, comments=True)[1:] for line in SHELL if line.startswith(".venv/bin/scoder")]
# A store of docstrings has nobody to ask again: tests/test_unusable_answers.py runs that command.
NOT_HERE = ("run", "ask-again")
ON_A_STORE = [line for line in LINES if line[0] not in NOT_HERE and line != ["sql"] and "my-data" not in line]
WITHOUT_A_STORE = ("fork", "evaluate", "grade", "compare", "environment")
FUNCTION = "def double(x):\n    return 2 * x\n"


def folder_of_the_guide(folder: Path) -> Path:
    """A folder with what the guide says is in yours, beside the recipes of the checkout."""
    (folder / "my-recipe.yaml").write_text(RECIPE)
    (folder / "my-code").mkdir()
    (folder / "my-code" / "shapes.py").write_text(CODE)
    (folder / "recipes").symlink_to(ROOT / "recipes")
    return folder


def in_folder(folder: Path, *arguments: str) -> str:
    """Run a command in a folder; its standard output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{arguments}\n{done.stderr}"
    return done.stdout


def here(folder: Path, *arguments: str) -> str:
    """Run one of our commands in a folder, in this process; its standard output."""
    done = scoder_here(*arguments, folder=folder)
    assert done.returncode == 0, f"{arguments}\n{done.stderr}"
    return done.stdout


def test_the_first_recipe_has_fifteen_lines_and_gives_the_reasons_that_are_shown(tmp_path: Path) -> None:
    assert len(RECIPE.splitlines()) == 15
    folder = folder_of_the_guide(tmp_path)
    mine = [line for line in LINES if "my-data" in line or "my-recipe.yaml" in line]
    assert [line[0] for line in mine] == ["run", "sql", "run", "run"]
    printed = [in_folder(folder, *command(*mine[0])), *(here(folder, *line) for line in mine[1:])]
    shown = [line.strip() for line in GUIDE.splitlines() if line.startswith("│ def area")]
    assert len(shown) == 4
    assert [line for line in printed[1].splitlines() if line.startswith("│ def area")] == shown
    assert "plan of mine" in printed[2]
    assert printed[3].startswith("1 row of pool, 2 rows of raw_pool")
    call = next(block for block in PYTHON if "files.load" in block).replace("/tmp/", f"{tmp_path}/")
    in_folder(folder, sys.executable, "-c", call)
    assert Store(tmp_path / "from-python").is_complete("pool")


def test_every_kind_of_source_has_an_example() -> None:
    assert {entry["kind"] for entry in SOURCES} == set(get_args(Source.model_fields["kind"].annotation))


@pytest.mark.parametrize("entry", SOURCES, ids=lambda entry: f"{entry['kind']}-{entry['name']}")
def test_an_example_of_a_source_reads_functions(
    entry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = checked(Source, entry)
    if source.kind == "hub" and "/" in str(source.dataset):
        return  # a dataset of the Hub, which this machine may not reach
    files_of_the_guide(folder_of_the_guide(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = sources.listing(source)
    files = [file for shard in found.shards[:1] for file in sources.read(source, shard)]
    assert files and all(file.text for file in files if source.kind != "stdlib")
    if source.kind in {"jsonl", "packages"}:
        assert (files[0].path, files[0].license) == ("me/mine/a/b.py" if source.kind == "jsonl" else "one.py", "MIT")


def files_of_the_guide(folder: Path) -> None:
    """One small file for each source that the guide names."""
    site = folder / "other/lib/python3.11/site-packages"
    (site / "one-1.0.dist-info").mkdir(parents=True)
    (site / "one.py").write_text(FUNCTION)
    (site / "one-1.0.dist-info" / "METADATA").write_text("Name: one\nVersion: 1.0\nLicense-Expression: MIT\n")
    (site / "one-1.0.dist-info" / "RECORD").write_text("one.py,,\n")
    for name in ("downloads", "data", "my-dataset"):
        (folder / name).mkdir()
    with zipfile.ZipFile(folder / "downloads" / "one-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("one.py", FUNCTION)
    line = json.loads(re.findall(r"`(\{\"code\".*?\})`", GUIDE, re.DOTALL)[0].replace("\n", " "))
    with gzip.open(folder / "data" / "part-1.jsonl.gz", "wt") as handle:
        handle.write(json.dumps(line) + "\n")
    for path in ("data/files.parquet", "my-dataset/train.parquet"):
        pq.write_table(pa.table({"content": [FUNCTION]}), folder / path)


@pytest.mark.parametrize("block", SECTIONS)
def test_an_example_of_a_section_is_a_valid_recipe(block: str, tmp_path: Path) -> None:
    recipe = load(folder_of_the_guide(tmp_path) / "my-recipe.yaml")
    raw = recipe.model_dump(mode="json")
    for section, given in yaml.safe_load(block).items():
        both = isinstance(given, dict) and isinstance(raw.get(section), dict)
        raw[section] = {**raw[section], **given} if both else given
    assert isinstance(checked(Recipe, override(raw, [])), Recipe)


@pytest.mark.slow  # eight commands in a row, one of them with a model
def test_the_commands_of_the_guide_work_in_their_order(forked_store: Path, tmp_path: Path) -> None:
    assert {line[0] for line in ON_A_STORE} >= {"select", "fill", "fork", "publish", "sql", "trace"}
    found = Store(forked_store).sql("SELECT snippet_id FROM raw_pool WHERE name = 'leapdays'").fetchall()[0][0]
    for line in ON_A_STORE:
        arguments = [a.replace("/tmp/", f"{tmp_path}/").replace("store-data", str(forked_store)) for a in line]
        arguments = [found if re.fullmatch("[0-9a-f]{32}", a) else a for a in arguments]
        done = scoder(*arguments, *(() if line[0] in WITHOUT_A_STORE else ("--store", str(forked_store))))
        assert done.returncode == 0, f"{arguments}\n{done.stderr}"
        if line[0] == "sql" and "leapdays" in line[1]:
            assert "contaminated" in done.stdout, "the walk ends at another reason"
        if line[0] == "sql" and "FROM runs" in line[1]:
            assert "checkpoints/role-synthesizer" in done.stdout, "training takes longest"
        if line[0] == "trace":
            assert "Demo/12" in done.stdout and "rejects" in done.stdout


def test_the_notebook_lines_of_the_guide_print_rows(smoke_store: Path, tmp_path: Path) -> None:
    (tmp_path / "store-data").symlink_to(smoke_store)
    block = next(block for block in PYTHON if "store.scan" in block)
    printed = in_folder(tmp_path, sys.executable, "-c", block)
    assert "too_many_chars" in printed and "shape: (2," in printed


def test_what_the_walk_quotes_stands_in_the_files() -> None:
    quoted = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
    assert quoted
    assert all(text in (ROOT / "queries" / "pool_verdicts.sql").read_text() for text in quoted)
    flow = (ROOT / "scoder.py").read_text()
    assert re.search(r"def build_pool\(.*?\n    pool\.build\(store, recipe\)\n\n\n", flow, re.DOTALL)
    header = " ".join((ROOT / "builders" / "pool.py").read_text().split('"""')[1].split())
    assert "`queries/pool_verdicts.sql` decides: a snippet is in the pool when there is no reason" in header
