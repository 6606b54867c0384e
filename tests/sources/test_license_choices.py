"""Licences: what must be accepted together, and what may be chosen."""

import email
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.sources import licenses
from builders.sources.license_choices import choices, listed


@pytest.mark.parametrize(
    "text, expected",
    [
        ("MIT", [["mit"]]),
        ("mit", [["mit"]]),
        ("MIT License", [["mit"]]),
        ("The MIT License", [["mit"]]),
        ("License :: OSI Approved :: MIT License", [["mit"]]),
        ("Apache License, Version 2.0", [["apache-2.0"]]),
        ("Apache 2.0", [["apache-2.0"]]),
        ("BSD 3-Clause License", [["bsd-3-clause"]]),
        ("MIT OR Apache-2.0", [["mit"], ["apache-2.0"]]),
        ("mit or apache-2.0", [["mit"], ["apache-2.0"]]),
        ("MIT AND BSD-3-Clause", [["bsd-3-clause", "mit"]]),
        ("MIT OR Apache-2.0 AND ISC", [["mit"], ["apache-2.0", "isc"]]),
        ("(MIT OR Apache-2.0) AND ISC", [["isc", "mit"], ["apache-2.0", "isc"]]),
        ("MIT, GPL-3.0", [["gpl-3.0", "mit"]]),
        ("MIT OR ISC, Zlib", [["mit", "zlib"], ["isc", "zlib"]]),
        ("GPL-2.0-or-later", [["gpl-2.0"]]),
        ("GPL-2.0+", [["gpl-2.0"]]),
        ("GPL-3.0-only WITH Classpath-exception-2.0", [["gpl-3.0"]]),
        ("Apache-2.0 WITH LLVM-exception OR MIT", [["apache-2.0"], ["mit"]]),
        ("", [["unknown"]]),
        (" , ", [["unknown"]]),
        ("Do what you want", [["do what you want"]]),
        ("MIT OR", [["mit or"]]),
        ("(MIT", [["(mit"]]),
        ("MIT) OR ISC", [["mit) or isc"]]),
    ],
)
def test_choices(text, expected):
    assert choices(text) == expected


def test_an_expression_that_explodes_is_one_unknown_licence():
    text = " AND ".join(f"(A{n} OR B{n})" for n in range(40))
    assert choices(text) == [[text.lower()]]
    assert len(choices("(MIT OR " * 20_000)) == 1
    assert len(choices(", ".join(f"A{n} OR B{n}" for n in range(40)))) == 1


@pytest.mark.parametrize("sign", [",", ", ", ",A", " ,v"])
def test_a_list_of_very_many_licences_is_one_unknown_licence_at_once(sign):
    start = time.process_time()
    text = "MIT" + sign * 40_000
    assert choices(text) == [[" ".join(text.lower().split())]]
    metadata = email.message_from_string(f"Name: demo\nLicense-Expression: {text}\nLicense: {text}\n\n")
    assert licenses.of_metadata(metadata) == "unknown"
    assert time.process_time() - start < 1


@given(st.text(st.sampled_from("MIT()OR AND WITH,+-:"), max_size=40))
def test_any_text_has_a_choice_that_names_something(text):
    assert all(choice and all(isinstance(name, str) for name in choice) for choice in choices(text))


@given(st.lists(st.sampled_from(["MIT", "ISC", "Zlib", "BSD-2-Clause"]), min_size=1, max_size=5))
def test_or_offers_and_and_demands(names):
    assert choices(" OR ".join(names)) == [[n.lower()] for n in names]
    assert choices(" AND ".join(names)) == [sorted({n.lower() for n in names})]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("MIT", "MIT"),
        (["MIT", "Apache-2.0"], "MIT, Apache-2.0"),
        ('["MIT"]', "MIT"),
        (' ["MIT", "GPL-3.0"]', "MIT, GPL-3.0"),
        ('["MIT OR ISC"]', "MIT OR ISC"),
        ("[see LICENSE]", "[see LICENSE]"),
        ([None, "MIT", " "], "MIT"),
        ("[null]", ""),
        ("[]", ""),
        ([], ""),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_a_list_of_licences_is_one_also_as_json_text(given, text):
    assert listed(given) == text
    assert choices(listed('["MIT", "GPL-3.0"]')) == [["gpl-3.0", "mit"]], "all of them apply"
