"""Recipes are plain YAML: what grows, hides or stands twice is refused, with its line."""

import os
import time

import pytest

from builders.recipe import files, yaml_text
from store.errors import InputError

LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{c}: &{c} [*{b}, *{b}, *{b}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text, said",
    [
        (LAUGHS, "line 1 ('a: &a [lol, lol]'): an anchor (&a): write the value where it is used"),
        ("a: 1\nb: *x", "line 2 ('b: *x'): an alias (*x): write the value where it is used"),
        ("pool:\n  x: 1\n  x: 2", "line 3 ('x: 2'): the key 'x' stands twice: leave one out"),
        ("a: " + "[" * 21 + "]" * 21, "nested more than 20 deep"),
        ("[" * 200_000, "nested more than 20 deep"),
        ("a: 1\n" * 60_001, "300,000 at most"),
        ("a: 2024-99-99", "month must be in 1..12"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: 'x", 'line 1 ("a: \'x"): found unexpected end of stream'),
        ("a: " + "b" * 200_000 + ": c", "mapping values are not allowed here"),
        ("a: " + "9" * 5000, "a number of 5,000 characters, of which 100 may be"),
        ("a: 1" + ":0" * 140_000, "a number of 280,001 characters"),
        ("a: 1" + ":0" * 70_000 + ".5", "a number of 140,003 characters"),
        ("1" + ":00" * 40 + ": a", "a number of 121 characters"),
        ("a: !!int '" + "9" * 101 + "'", "a number of 101 characters"),
    ],
)
def test_what_a_recipe_does_not_need_is_refused_in_a_short_message(text, said):
    with pytest.raises(InputError) as error:
        yaml_text.read(text)
    assert said in str(error.value) and len(str(error.value)) < 400


def test_plain_yaml_is_read_and_what_is_written_is_read_again():
    assert yaml_text.read("a: {b: [1, 2.5, null, yes]}\n1: x\n'1': y") == {
        "a": {"b": [1, 2.5, None, True]},
        1: "x",
        "1": "y",
    }
    assert yaml_text.read("a: " + "[" * 19 + "]" * 19)
    assert yaml_text.read(f"a: {'9' * 100}\nb: '{'9' * 101}'\nc: 1:30") == {
        "a": int("9" * 100),
        "b": "9" * 101,
        "c": 90,
    }
    twice = ["x"]
    assert yaml_text.read(yaml_text.write({"b": twice, "a": twice})) == {"b": ["x"], "a": ["x"]}


def test_a_number_of_many_parts_takes_no_time():
    start = time.process_time()
    with pytest.raises(InputError, match="a number of"):
        yaml_text.read("a: 1" + ":0" * 140_000)
    assert time.process_time() - start < 1


def test_messages_of_a_recipe_stay_short(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: " + "x" * 100_000 + "\n" + "".join(f"key{n}: {{}}\n" for n in range(3000)))
    with pytest.raises(InputError) as error:
        files.load(path)
    assert "and 2," in str(error.value) and len(str(error.value)) < 60_000
    with pytest.raises(InputError) as error:
        files.load("tiny", ["selection.min_score=&x " + "y" * 10_000])
    assert "an anchor (&x)" in str(error.value) and len(str(error.value)) < 1000


def test_no_more_of_a_file_is_read_than_a_recipe_may_have(tmp_path):
    """A hole of 100 GB: whoever read it whole would need as much memory."""
    path = tmp_path / "r.yaml"
    path.write_text("name: x\n")
    os.truncate(path, 100_000_000_000)
    with pytest.raises(InputError, match="300,000 at most"):
        files.load(path)
