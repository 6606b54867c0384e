"""Names of licences: what they mean, and what they leave open."""

import pytest

from builders.sources.license_names import is_exact, spdx


@pytest.mark.parametrize(
    "words, expected",
    [
        ("mit", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("MIT Licence", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache Software License", "Apache-2.0"),
        ("Apache2", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("New BSD", "BSD-3-Clause"),
        ("BSD 2 clause", "BSD-2-Clause"),
        ("BSD License", "BSD"),
        ("BSD-like", "BSD"),
        ("0BSD", "0BSD"),
        ("LGPLv2.1+", "LGPL-2.1-or-later"),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.1-or-later"),
        ("GNU Lesser General Public License v2.1", "LGPL-2.1"),
        ("GNU Library General Public License v2", "LGPL-2.0"),
        ("GNU Library or Lesser General Public License (LGPL)", "LGPL"),
        ("LGPL", "LGPL"),
        ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
        ("GNU General Public License v2 (GPLv2)", "GPL-2.0"),
        ("GPL version 3 or any later version", "GPL-3.0-or-later"),
        ("GPL-3.0-only", "GPL-3.0-only"),
        ("GNU General Public License (GPL)", "GPL"),
        ("GNU Affero General Public License v3", "AGPL-3.0"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
        ("Python Software Foundation License", "PSF-2.0"),
        ("PSF", "PSF-2.0"),
        ("ISC License (ISCL)", "ISC"),
        ("The Unlicense (Unlicense)", "Unlicense"),
        ("zlib/libpng License", "Zlib"),
        ("Public Domain", "Public Domain"),
        ("(mit or apache-2.0)", "MIT OR Apache-2.0"),
        ("LicenseRef-Mine", "LicenseRef-Mine"),
        ("Dual License", None),
        ("Proprietary", None),
        ("My own", None),
        ("", None),
        ("MIT " * 2000, None),
    ],
)
def test_the_identifier_of_a_name(words, expected):
    assert spdx(words) == expected


def test_a_family_is_no_exact_licence():
    assert is_exact("BSD-3-Clause") and is_exact("MIT OR ISC")
    assert not any(map(is_exact, ["BSD", "GPL", "LGPL", "Public Domain", "unknown", "My own"]))
