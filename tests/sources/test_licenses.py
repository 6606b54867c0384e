"""Licences of packages: SPDX identifiers where the metadata say them, else words or 'unknown'."""

import email

import pytest

from builders.sources import licenses


@pytest.mark.parametrize(
    "lines, license_",
    [
        ("License-Expression: MIT\nLicense: BSD", "MIT"),
        ("License-Expression: Apache-2.0 AND MIT", "Apache-2.0, MIT"),
        ("License-Expression: Apache-2.0 OR MIT", "Apache-2.0 OR MIT"),
        ("License: BSD 3-Clause\nClassifier: License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("License: Apache License, Version 2.0", "Apache-2.0"),
        ("License: My own", "My own"),
        ("License: " + "word " * 100, "unknown"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved", "unknown"),
        ("Summary: nothing said", "unknown"),
    ],
)
def test_the_licence_of_core_metadata(lines, license_):
    assert licenses.of_metadata(email.message_from_string(f"Name: demo\n{lines}\n\n")) == license_
