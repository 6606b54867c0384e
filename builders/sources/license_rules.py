"""Which of several statements about the licence of a file counts.

In: what the file's head says, what its place says (`license_places`), and the `license` that the
recipe declares for its source. Out: one `License`.

    1. The head of the file.
    2. What tells about a part of the source: a licence text in a folder inside, one of several
       packages, a row of a dataset. It must name an exact licence.
    3. The declaration of the recipe. It speaks about the source as a whole, and the user knows the
       source: so it goes before a text or metadata at the root of the source, before names that are
       not exact ("BSD"), and it fills what nothing tells.
    4. A text or metadata at the root of the source.

A declaration does not speak about code of others that lies in the source
(`license_places.VENDORED`): where nothing in such a folder tells the licence, it is OF_OTHERS,
which no list allows by default.

So a declaration is overruled only by what is more certain. The pool says how many functions were
declared and how many of the same source were not.
"""

from __future__ import annotations

from dataclasses import replace

from builders.sources.files import UNKNOWN, License, SourceFile
from builders.sources.license_headers import of_head
from builders.sources.license_names import is_exact

OF_OTHERS = License("unknown-vendored", "none")


def chosen(found: License | None, declared: str | None, *, is_whole: bool, is_vendored: bool) -> License:
    """The licence of a file whose head says nothing.

    `is_whole` says that `found` speaks about the whole source, as its declaration does.
    `is_vendored` says that the file lies in a folder of code of others.
    """
    if is_vendored:
        return found or OF_OTHERS
    if declared is None:
        return found or UNKNOWN
    if found is None or is_whole or not is_exact(found.name):
        return License(declared, "declared")
    return found


def headed(file: SourceFile) -> SourceFile:
    """The file with the licence that its head states, if it states one."""
    told = of_head(file.text) if file.text else None
    if told is None:
        return file
    return replace(file, license=told.name, license_source=told.source, license_score=told.score)
