"""The tables of the guide are made of the settings themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.recipe import Recipe
from builders.recipe.reference import PLACE, filled, markdown, sections
from store.errors import InputError

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


def test_the_guide_is_fresh() -> None:
    page = GUIDE.read_text()
    assert page == filled(page), "run `python -m builders.recipe.reference docs/guide.md`"


def test_the_guide_has_every_section_once() -> None:
    assert sorted(PLACE.findall(GUIDE.read_text())) == sorted(sections())


def test_every_key_of_a_recipe_is_in_a_table() -> None:
    known = sections()
    keys = {line.split("`")[1] for line in markdown("run", known["run"]).splitlines()[2:]}
    assert keys | known.keys() >= Recipe.model_fields.keys()


def test_a_table_has_types_bounds_defaults_and_meanings() -> None:
    known = sections()
    selection = markdown("selection", known["selection"])
    assert "| `top_share` | number, > 0, ≤ 1 | `0.5` |" in selection
    assert "| `max_per_difficulty` | whole number or null, ≥ 1 | `null` |" in selection
    assert "| `name` | text | required |" in markdown("sources", known["sources"])
    assert "`stdlib`, `tree`, `packages`" in markdown("sources", known["sources"])
    engine = markdown("synthesizer", known["synthesizer"])
    assert "| `engine` | block [engine](#engine) | its own |" in engine
    assert "| `max_in_flight` | whole number, ≥ 1 | `64` | calls under way" in markdown("x", known["engine-openai"])


def test_filling_twice_is_filling_once_and_leaves_the_text() -> None:
    page = "Before.\n\n<!-- generated: final -->\nold\n<!-- end -->\n\nAfter.\n"
    once = filled(page)
    assert filled(once) == once
    assert once.startswith("Before.") and once.endswith("After.\n")
    assert "old" not in once and "`max_snippets`" in once


def test_an_unknown_section_is_refused() -> None:
    with pytest.raises(InputError, match="no section 'finale'"):
        filled("<!-- generated: finale -->\n<!-- end -->")
