"""Prompts: slots are strict, values are never read as slots, a version is the hash of a text."""

from pathlib import Path

import pytest

from builders.aspect_scores import question
from builders.engines import prompts
from store import ASPECTS, content_id

ALL = sorted(str(p.relative_to(prompts.HERE).with_suffix("")) for p in prompts.HERE.rglob("*.txt"))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of templates of this test alone."""
    monkeypatch.setattr(prompts, "HERE", tmp_path)
    prompts.template.cache_clear()
    yield tmp_path
    prompts.template.cache_clear()


def test_code_with_braces_and_backslashes_is_put_in_as_it_is():
    code = "d = {code}; s = f'{d!r}' + '{aspect}' + r'\\1\\g<0>' + '{{x}}'"
    assert code in prompts.render("synthesizer", code=code)
    assert prompts.render("synthesizer", code=code).count("{code}") == 1


def test_what_looks_like_a_slot_in_one_value_is_not_filled_by_another(own):
    (own / "two.txt").write_text("{code} | {problem} | {0} {} {A} {{x}}\n\n")
    with pytest.raises(ValueError):
        prompts.render("two", code="1", problem="2")  # {x} inside {{x}} is a slot too
    (own / "one.txt").write_text("\n{code} | {problem} | {0} {} {A}\n\n")
    assert prompts.render("one", code="{problem}", problem="{code}") == "{problem} | {code} | {0} {} {A}"


@pytest.mark.parametrize("values", [{}, {"code": "x", "problem": "y"}, {"cod": "x"}])
def test_missing_and_excess_values_are_named(values):
    with pytest.raises(ValueError, match=rf"prompt 'synthesizer' has slots \['code'\], got \[.*{'.*'.join(values)}"):
        prompts.render("synthesizer", **values)


def test_an_unknown_prompt_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no prompt 'synthesiser'; there are .*evaluation.*synthesizer, .*teacher"):
        prompts.template("synthesiser")


def test_versions_change_with_the_text_and_with_nothing_else(own):
    (own / "a.txt").write_text("one {code}\n")
    (own / "b.txt").write_text("\none {code}")
    (own / "c.txt").write_text("two {code}\n")
    assert prompts.version("a") == prompts.version("b") != prompts.version("c")
    assert len({prompts.version("a"), prompts.version("a", "c"), prompts.version("c", "a")}) == 3
    assert prompts.versions("a", "c") == {
        "prompts/a.txt": content_id("one {code}"),
        "prompts/c.txt": content_id("two {code}"),
    }
    before = prompts.version("a")
    (own / "a.txt").write_text("one  {code}\n")
    prompts.template.cache_clear()
    assert prompts.version("a") != before


@pytest.mark.parametrize("name", ALL)
def test_each_template_has_the_slots_of_its_use(name):
    slots = set(prompts._SLOT.findall(prompts.template(name)))
    expected = {
        "scorer": {"code", "problem", "solution", "aspect"},
        "scorer-short": {"code", "problem", "solution", "aspect"},
        **{f"evaluation{form}": {"prompt"} for form in ("", "-instruct", "-stdin")},
        "evaluation-apps": {"prompt", "call"},
        "evaluation-mbpp": {"prompt", "tests"},
        "evaluation-starter": {"prompt", "starter"},
        "teacher": {"code"},
        "teacher-json": {"code"},
        "docstring-judge": {"code", "docstring"},
        "synthesizer": {"code"},
        "synthesizer-short": {"code"},
    }
    assert slots == expected[name]


def test_the_scorer_reads_a_rubric_per_aspect_before_the_item_and_the_aspect_last():
    texts = [question("scorer", "CODE", "PROBLEM", "SOLUTION", aspect) for aspect in ASPECTS]
    rubrics, _ = texts[0].split("CODE")
    assert [line.split(":")[0].lower() for line in rubrics.splitlines() if "? 9 " in line] == list(ASPECTS)
    assert len({text.rpartition("\n")[0] for text in texts}) == 1, "all but the last line is shared"
    assert [text.rpartition("\n")[2] for text in texts] == [f"{aspect.capitalize()}:" for aspect in ASPECTS]
