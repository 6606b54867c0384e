"""The licence of a package, read from the package's own metadata.

In: the core metadata of a distribution (METADATA of a wheel, PKG-INFO of an sdist), a
pyproject.toml or a setup.cfg. Out: an SPDX expression where one is known. Otherwise a name such as
"BSD", the package's own words, or 'unknown'.
"""

from __future__ import annotations

import configparser
import email
import tomllib
from collections.abc import Iterable
from email.message import Message
from typing import Any, NamedTuple

from builders.sources import license_texts
from builders.sources.license_names import KNOWN_NAMES, MAX_CHARS, all_of, spdx

UNKNOWN = "unknown"
MAX_WORDS_CHARS = 80
"""Longer values are the text of the licence, not its name."""


class Metadata(NamedTuple):
    """What a package says about itself; `repo` is its name with its version."""

    repo: str | None
    license: str
    is_expression: bool
    """Whether the licence is the field that holds an SPDX expression for the whole package."""


def of_metadata(metadata: Message) -> str:
    """The licence that core metadata name: see `of_fields`."""
    return _of_message(metadata).license


def of_file(name: str, data: bytes) -> Metadata:
    """What a file of metadata says: METADATA, PKG-INFO, pyproject.toml or setup.cfg.

    A file that cannot be read says nothing.
    """
    if name == "pyproject.toml":
        return _of_pyproject(data)
    return _of_setup_cfg(data) if name == "setup.cfg" else _of_message(email.message_from_bytes(data))


def of_fields(expression: str, classifiers: Iterable[str], words: str) -> tuple[str, bool]:
    """The licence that the fields of metadata name, and whether it is their expression.

    The expression comes first. Then come the classifiers, all of which apply. The free text is
    taken instead where it is more exact about the same family: the classifier "BSD License" leaves
    open which one, and there is none for LGPL-2.1. A long free text is matched with the texts of
    licences.
    """
    expression = " ".join(expression.split())
    if len(expression) > MAX_CHARS:
        return UNKNOWN, False
    if expression:
        return spdx(expression) or expression, True
    names = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")]
    told = sorted({spdx(name) or name for name in names if name not in ("OSI Approved", "License")})
    words = words.strip()
    free = _of_words(words)
    if free and (not told or (len(told) == 1 and _family(told[0]) == _family(free) and free not in KNOWN_NAMES)):
        return free, False
    if told:
        return all_of(told), False
    is_name = words and len(words) <= MAX_WORDS_CHARS and "\n" not in words and words.upper() != "UNKNOWN"
    return (words if is_name else UNKNOWN), False


def _of_words(words: str) -> str | None:
    if len(words) <= MAX_WORDS_CHARS:
        return spdx(words)
    found = license_texts.matched(words)
    return found.name if found else None


def _family(name: str) -> str:
    return name.partition("-")[0].upper()


def _of_message(metadata: Message) -> Metadata:
    name, version = metadata.get("Name"), metadata.get("Version")
    fields = (str(metadata.get(field) or "") for field in ("License-Expression", "License"))
    expression, words = fields
    told = of_fields(expression, map(str, metadata.get_all("Classifier") or []), words)
    return Metadata(f"{name}=={version}" if name else None, *told)


def _of_pyproject(data: bytes) -> Metadata:
    try:
        document = tomllib.loads(data.decode("utf-8", "replace"))
    except (tomllib.TOMLDecodeError, RecursionError):
        return Metadata(None, UNKNOWN, False)
    project = _table(document, "project")
    if not project:
        project = _table(_table(document, "tool"), "poetry")
    told = project.get("license")
    words = told.get("text") if isinstance(told, dict) else told
    classifiers = project.get("classifiers")
    listed = [c for c in classifiers if isinstance(c, str)] if isinstance(classifiers, list) else []
    text = words if isinstance(words, str) else ""
    exact = spdx(text) if isinstance(told, str) else None  # PEP 639: a string is an expression
    return Metadata(None, *of_fields(exact or "", listed, text))


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _of_setup_cfg(data: bytes) -> Metadata:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(data.decode("utf-8", "replace"))
    except (configparser.Error, ValueError):
        return Metadata(None, UNKNOWN, False)
    told = dict(parser.items("metadata")) if parser.has_section("metadata") else {}
    words, listed = (told.get(name) or "" for name in ("license", "classifiers"))
    return Metadata(None, *of_fields("", map(str.strip, listed.splitlines()), words))
