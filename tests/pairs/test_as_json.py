"""json_pairs: the JSON form of a pair, and what is wrong with it where it is not one."""

from __future__ import annotations

import json

import pytest

from builders.pairs.as_json import SCHEMA, parse
from store.schemas import PARSE_STATUSES

GOOD = {"problem": "Add é.\n", "solution": "def f(a):\n    return a + 1\n"}


def test_a_whole_object_is_a_pair():
    found = parse(json.dumps(GOOD))
    assert (found.status, found.problem, found.solution) == ("ok", "Add é.", "def f(a):\n    return a + 1")
    assert parse(f"```json\n{json.dumps(GOOD)}\n```") == found
    assert parse(f"Here it is:\n\n~~~json\n{json.dumps(GOOD)}\n~~~\nDone.") == found
    assert parse(f"Here it is: {json.dumps(GOOD)} Done.") == found
    assert parse(f"In the form {{a}}:\n```json\n{json.dumps(GOOD)}\n```\nAs {{b}}.") == found
    assert parse(json.dumps(GOOD | {"more": 1}), "length") == found
    assert set(json.loads(SCHEMA)["required"]) == GOOD.keys()


@pytest.mark.parametrize(
    "text, reason, status",
    [
        ("", "prompt_too_long", "prompt_too_long"),
        ("", "error", "engine_error"),
        ('{"problem": "Ad', "length", "unfinished"),
        ("I would rather not.", "stop", "no_problem"),
        ("[1]", "stop", "no_problem"),
        ("", "stop", "no_answer"),
        ("[" * 200_000, "length", "unfinished"),
        ('{"problem": ' + "9" * 5000 + "}", "stop", "no_problem"),
        ('{"problem": NaN}', "stop", "no_problem"),
        ("[" * 100_000, "stop", "no_problem"),
        (json.dumps(GOOD | {"problem": " "}), "stop", "no_problem"),
        (json.dumps(GOOD | {"problem": "half \ud83d"}), "stop", "no_problem"),
        (json.dumps(GOOD | {"solution": 7}), "stop", "no_solution"),
        (json.dumps(GOOD | {"solution": "def f(:"}), "stop", "syntax_error"),
    ],
)
def test_what_is_no_pair_has_a_status(text, reason, status):
    found = parse(text, reason)
    assert found.status == status and status in PARSE_STATUSES and found.reason


def test_the_reason_names_what_is_wrong():
    assert parse("[" * 200_000).reason == "the JSON is nested too deeply"
    assert "half of a surrogate pair" in (parse(json.dumps(GOOD | {"problem": "\ud83d"})).reason or "")
