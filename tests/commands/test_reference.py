"""docs/commands.md is made of the command line itself, and the examples of the commands work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from commands.reference import commands, markdown, parts
from store import Store
from tests.smoke_run import ROOT, scoder

COMMANDS = {name: command for name, (_, command) in commands().items()}
FIRST_LINES = {name: line for name, c in COMMANDS.items() for line in re.findall(r"^\$ (.*)$", parts(c)[1], re.M)[:1]}
NEEDS_A_MODEL = {
    "ask-again",
    "compare",
    "evaluate",
    "fill",
    "influence",
    "train coder",
    "train scorer",
    "train synthesizer",
}
"""These take a model or minutes; tests of their own run them."""
NEEDS_A_FILE = {"contamination", "environment", "grade", "import teacher", "model smollm2"}
RUN_HERE = [name for name in FIRST_LINES if name not in {*NEEDS_A_MODEL, *NEEDS_A_FILE}]


def test_the_page_is_generated() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == markdown(), "run `python -m commands.reference > docs/commands.md`"


def test_every_command_and_option_is_on_the_page() -> None:
    page = markdown()
    assert "train coder" in COMMANDS and "run" in COMMANDS
    for name, command in COMMANDS.items():
        section = page.split(f"### scoder {name}\n")[1].split("\n### ")[0]
        for option in [one for parameter in command.params for one in parameter.opts if one.startswith("-")]:
            assert option in section, f"{name}: {option}"


def test_defaults_are_on_the_page() -> None:
    section = markdown().split("### scoder evaluate\n")[1]
    assert "| `--max-tokens VALUE` | `512` | Largest number of tokens per sample. |" in section
    assert "| `--benchmarks VALUE …` | required |" in section


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_has_an_example(name: str) -> None:
    text, example = parts(COMMANDS[name])
    assert text and text[0].isupper()
    assert example.startswith(f"```\n$ scoder {name}") and example.endswith("```")
    written = {word for word in shlex.split(FIRST_LINES[name]) if word.startswith("-")}
    assert written <= {option for parameter in COMMANDS[name].params for option in parameter.opts}


def test_the_example_of_fill_is_one_of_the_guide_whose_commands_are_run() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    assert f".venv/bin/{FIRST_LINES['fill']}\n" in guide


@pytest.mark.parametrize("name", RUN_HERE)
def test_an_example_works_as_it_stands(name: str, forked_store: Path, tmp_path: Path) -> None:
    line = FIRST_LINES[name].replace("store-data", str(forked_store))
    if name == "trace":
        found = Store(forked_store).sql("SELECT min(snippet_id) AS id FROM pool").fetchall()[0][0]
        line = re.sub(r"[0-9a-f]{32}", found, line)
    line = re.sub(r"\b(my-instructions|other-data)$|\bother-data\b", lambda m: str(tmp_path / m[0]), line)
    arguments = shlex.split(line)[1:]
    if name not in {"fork", "doctor"}:
        arguments += ["--store", str(forked_store)]
    done = scoder(*arguments)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert done.stdout
