"""builders: the signature of a builder says what of a recipe can change its rows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WHOLE = {
    "aspect_scores.build_snippets": "what the judge is asked about depends on all that decides the pool",
    "aspect_scores.build_labels": "scorer, decontamination, benchmarks and selection_name",
    "aspect_weights.build": "scoring, decontamination, benchmarks and selection_name",
    "candidates": "sampling, synthesizer, teacher, final, iterations and seed",
    "checkpoints.checks": "the trainings of synthesizer, scorer and coder",
    "checkpoints.build_scorer": "scorer, synthesizer, seed and what decides which samples are clean",
    "checkpoints.build_synthesizer": "synthesizer, decontamination, benchmarks and selection_name",
    "gradients": "influence, synthesizer, sampling and decontamination",
    "influence": "influence, synthesizer and sampling",
    "instructions": "final, decontamination, benchmarks and iterations",
    "metrics.build_scorer_auc": "scorer, seed and what decides which samples are clean",
    "pool": "pool, near_duplicates, decontamination, docstring_judge, benchmarks and seed",
    "selected": "selection, influence, decontamination, synthesizer and benchmarks",
}
"""Modules, or single functions, that are handed the whole recipe, and what they read of it."""


def takers(path: Path) -> set[str]:
    """The public functions of a module that are handed a whole recipe."""
    tree = ast.parse(path.read_text())
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    return {
        f"{path.stem}.{f.name}"
        for f in functions
        for a in f.args.args
        if a.annotation is not None and ast.unparse(a.annotation) == "Recipe"
    }


TAKERS = {name for path in (ROOT / "builders").glob("*.py") for name in takers(path)}


def test_a_taker_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text("def build(store: Store, recipe: Recipe): ...\ndef other(store, pool: Pool): ...\n")
    assert takers(path) == {"made.build"}


@pytest.mark.parametrize("name", sorted(TAKERS))
def test_the_whole_recipe_goes_only_to_those_that_read_much_of_it(name: str) -> None:
    assert name in WHOLE or name.split(".")[0] in WHOLE, f"{name}: hand it the sections that it reads"


def test_none_of_them_is_forgotten() -> None:
    assert {w for w in WHOLE if not any(t == w or t.split(".")[0] == w for t in TAKERS)} == set()


def blind(text: str) -> list[int]:
    """The lines of a module that connect to a store without the inputs of a plan."""
    calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
    opened = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "connect" and c.args]
    return [c.lineno for c in opened if len(c.args) < 2 and ast.unparse(c.args[0]).endswith("store")]


def test_a_blind_connection_is_seen() -> None:
    assert blind("connect(store)\nconnect(store, plan.inputs)\nconnect(self.store, extra={})\n") == [1, 3]


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in (ROOT / "builders").rglob("*.py")))
def test_every_connection_of_a_builder_sees_what_a_plan_names(path: str) -> None:
    assert blind((ROOT / path).read_text()) == []
