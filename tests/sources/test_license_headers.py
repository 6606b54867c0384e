"""What the head of a source file says about its licence."""

import pytest

from builders.sources.files import License, SourceFile
from builders.sources.license_headers import of_head
from builders.sources.license_rules import headed
from tests.sources.license_samples import APACHE_NOTICE, BSD_2, LGPL_NOTICE, MIT


def commented(text: str) -> str:
    return "".join(f"# {line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    "text, expected",
    [
        ("# SPDX-License-Identifier: MIT\nimport os\n", "MIT"),
        ("#!/usr/bin/python\n# -*- coding: utf-8 -*-\n\n# SPDX-License-Identifier: mit or Apache-2.0\n", "MIT OR Apache-2.0"),
        ("\ufeff# SPDX-License-Identifier: (GPL-2.0-or-later WITH Bootloader-exception)\r\nx = 1", "GPL-2.0-or-later WITH Bootloader-exception"),
        ("# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: ISC\n", "MIT AND ISC"),
        ("# SPDX-License-Identifier: MIT License\n", "MIT"),
        ("# SPDX-License-Identifier: Our own\n", "Our own"),
        (commented(MIT) + "import os\n", "MIT"),
        ("# Sorts things.\n#\n" + commented(BSD_2) + "\n'''Docs'''", "BSD-2-Clause"),
        (commented(LGPL_NOTICE), "LGPL-2.1-or-later"),
        (commented(APACHE_NOTICE) + "import os\n", "Apache-2.0"),
        ("#!/usr/bin/python\n# Copyright 2020 The Team. All rights reserved.\n\n" + commented(APACHE_NOTICE), "Apache-2.0"),
        ("# License: GPLv3\nimport os\n", "GPL-3.0"),
        ("# :license: MIT, see LICENSE for more details.\n", "MIT"),
        ('"""Doc."""\n__license__ = "BSD-3-Clause"\n', "BSD-3-Clause"),
        ("# License: BSD, see LICENSE\n", None),
        ("# All Rights Reserved. Proprietary and confidential.\n# Unauthorized copying is strictly prohibited\n", "LicenseRef-Proprietary"),
        ("# Copyright (c) A. Person. All rights reserved.\nimport os\n", None),
        ("# This module has been placed in\n# the public domain.\n", "Public Domain"),
        ("'''# SPDX-License-Identifier: MIT'''\n", None),
        ("import os\n# SPDX-License-Identifier: MIT\n", None),
        ("# MIT licensed, see LICENSE\n", None),
        ("# This table is in the public domain of names.\n", None),
        ("# Dual licensed under the MIT license and another.\n" + commented(MIT), None),
        ("", None),
    ],
)  # fmt: skip
def test_the_licence_of_a_head(text, expected):
    found = of_head(text)
    assert (found.name if found else None) == expected


def test_a_head_goes_before_what_the_place_of_the_file_tells():
    file = SourceFile("a.py", "# SPDX-License-Identifier: ISC\n", "r", "MIT", None, "file", 1.0)
    assert headed(file) == SourceFile("a.py", file.text, "r", "ISC", None, "header", None)
    assert of_head(commented(MIT)) == License("MIT", "header", 1.0)
    plain = SourceFile("a.py", "x = 1\n", None, "MIT", None, "file", 1.0)
    assert headed(plain) is plain and headed(SourceFile("a.py", None, None, "MIT", "unreadable")).license == "MIT"
