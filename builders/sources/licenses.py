"""The licence of a package, read from the package's own metadata.

In: the core metadata of a distribution (METADATA of a wheel, PKG-INFO of an sdist). Out: SPDX
identifiers where they are known, joined by ", " when all of them apply. Otherwise the package's own
words, or 'unknown'.
"""

from __future__ import annotations

from email.message import Message

_CLASSIFIERS = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
}
"""Classifiers of the Python Package Index and their SPDX identifiers. Its "BSD License" does not
say which of the BSD licences it is.
"""
_SPELLINGS = {
    "mit": "MIT",
    "mit license": "MIT",
    "the mit license": "MIT",
    "expat": "MIT",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "isc": "ISC",
    "psf": "PSF-2.0",
}
MAX_CHARS = 80
"""Longer values are the text of the licence, not its name."""
MAX_EXPRESSION_CHARS = 2000
"""The longest known expressions have a tenth of it. What is longer names no licence."""


def of_metadata(metadata: Message) -> str:
    """The licence that core metadata name: the expression, else the classifiers, else a short free
    text.
    """
    expression = " ".join((metadata.get("License-Expression") or "").split())
    if len(expression) > MAX_EXPRESSION_CHARS:
        return "unknown"
    if expression:
        return ", ".join(expression.split(" AND ")) if "(" not in expression else expression
    names = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or [] if c.startswith("License :: OSI")]
    told = sorted({_CLASSIFIERS.get(name, name) for name in names if name != "OSI Approved"})
    if told:
        return ", ".join(told)
    words = (metadata.get("License") or "").strip()
    if words and len(words) <= MAX_CHARS and "\n" not in words and words.upper() != "UNKNOWN":
        return _SPELLINGS.get(words.lower(), words)
    return "unknown"
