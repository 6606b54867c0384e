"""Texts of licences: which they are, whole, several, or next to other words."""

import pytest

from builders.sources import license_texts
from builders.sources.license_texts import matched
from tests.sources.license_samples import APACHE, BSD_2, BSD_3, EITHER, ISC, LGPL_NOTICE, MIT


@pytest.mark.parametrize(
    "text, expected",
    [
        (APACHE, "Apache-2.0"),
        (MIT, "MIT"),
        (ISC.replace("\n", "\r\n"), "ISC"),
        (BSD_2, "BSD-2-Clause"),
        (BSD_3, "BSD-3-Clause"),
        (LGPL_NOTICE, "LGPL-2.1-or-later"),
        (f"{MIT}\nAlso, for the parser:\n\n{BSD_3}", "MIT AND BSD-3-Clause"),
        (f"You may use either of these:\n\n{MIT}\n\n{BSD_3}", "MIT OR BSD-3-Clause"),
        (f"Your choice of either of two.\n{MIT}\n{BSD_3}\nParts are under\n{ISC}", "(MIT OR BSD-3-Clause) AND ISC"),
        (f"{MIT}\nSome files are dual licensed (both MIT and ISC).\n{ISC}", "MIT AND ISC"),
        (f"{BSD_3}\n----\nThis distribution also bundles the following software:\n{LGPL_NOTICE}", "BSD-3-Clause"),
        (f"{MIT}\n{'Nobody reads these words. ' * 200}", None),
        ("MIT", None),
        ("See https://opensource.org/licenses/MIT", None),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_the_licence_of_a_text(text, expected):
    found = matched(text)
    assert (found.name if found else None) == expected


def test_the_score_is_the_share_of_the_text():
    whole, half = matched(BSD_3), matched(f"{'word ' * (len(BSD_3) // 8)}\n{BSD_3}")
    assert whole.score == 1.0 and 0.55 < half.score < 0.7
    assert matched(f"{'word ' * (len(BSD_3) // 2)}\n{BSD_3}") is None
    assert matched(f"{'word ' * (len(BSD_3) // 2)}\n{BSD_3}", 0.2).name == "BSD-3-Clause"


def test_a_text_is_matched_once(monkeypatch):
    calls = []
    real = license_texts.identify_license
    monkeypatch.setattr(license_texts, "identify_license", lambda t, **k: calls.append(t) or real(t, **k))
    text = MIT.replace("Ann", "Anne")
    assert [matched(text) for _ in range(3)] == [matched(text)] * 3 and len(calls) == 1


def test_one_word_may_be_chosen_and_the_same_licence_counts_once():
    assert license_texts.offers_choice(EITHER) and not license_texts.offers_choice(MIT)
    assert license_texts.joined(["GPL-3.0", "GPL-3.0-or-later"], False) == "GPL-3.0"
    assert license_texts.joined(["MIT OR ISC", "Zlib"], False) == "(MIT OR ISC) AND Zlib"
