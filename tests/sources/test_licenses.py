"""Licences of packages: SPDX identifiers where the metadata say them, else words or 'unknown'."""

import email

import pytest

from builders.sources import licenses
from tests.sources.license_samples import MIT

LGPL = "GNU Lesser General Public License v2 or later (LGPLv2+)"


@pytest.mark.parametrize(
    "lines, license_",
    [
        ("License-Expression: MIT\nLicense: BSD", "MIT"),
        ("License-Expression: Apache-2.0 AND MIT", "Apache-2.0 AND MIT"),
        ("License-Expression: Apache-2.0 OR MIT", "Apache-2.0 OR MIT"),
        ("License: BSD 3-Clause\nClassifier: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("License: Apache License, Version 2.0", "Apache-2.0"),
        ("License: My own", "My own"),
        ("Classifier: License :: OSI Approved :: BSD License", "BSD"),
        ("License: BSD-2-Clause\nClassifier: License :: OSI Approved :: BSD License", "BSD-2-Clause"),
        ("License: LGPL-2.1\nClassifier: License :: OSI Approved :: " + LGPL, "LGPL-2.1"),
        ("Classifier: License :: OSI Approved :: " + LGPL, "LGPL-2.1-or-later"),
        (
            "Classifier: License :: Public Domain\nClassifier: License :: OSI Approved :: ISC License (ISCL)",
            "ISC, Public Domain",
        ),
        (
            "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License",
            "BSD AND MIT",
        ),
        ("License: " + MIT.strip().replace("\n", "\n        "), "MIT"),
        ("License: " + "word " * 100, "unknown"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved", "unknown"),
        ("Summary: nothing said", "unknown"),
    ],
)
def test_the_licence_of_core_metadata(lines, license_):
    assert licenses.of_metadata(email.message_from_string(f"Name: demo\n{lines}\n\n")) == license_


@pytest.mark.parametrize(
    "name, text, license_",
    [
        ("pyproject.toml", '[project]\nlicense = "MIT OR Apache-2.0"', "MIT OR Apache-2.0"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD 3-Clause"}', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nclassifiers = ["License :: OSI Approved :: ISC License (ISCL)"]', "ISC"),
        ("pyproject.toml", '[tool.poetry]\nlicense = "MIT"', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}', "unknown"),
        ("pyproject.toml", "[project\n", "unknown"),
        ("pyproject.toml", "project = 3", "unknown"),
        ("setup.cfg", "[metadata]\nlicense = Apache 2.0\n", "Apache-2.0"),
        ("setup.cfg", "[metadata]\nclassifiers =\n    License :: OSI Approved :: MIT License\n", "MIT"),
        ("setup.cfg", "no section", "unknown"),
    ],
)
def test_the_licence_of_a_project_file(name, text, license_):
    assert licenses.of_file(name, text.encode()).license == license_
