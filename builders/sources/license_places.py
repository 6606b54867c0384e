"""Which licence a file of a tree or an archive has, by where it lies.

In: the names of the files that tell licences (`is_notice`), and a function that reads one. Out:
`Places.of(path)`: the package that a file belongs to, and its licence.

How: we walk up from the file's folder. The first of these tells the licence:
    1. a licence text in the folder: LICENSE*, COPYING*; or `six.LICENSE` for the module `six`
    2. an installed package (*.dist-info) whose RECORD lists the file: its texts and its metadata
    3. metadata in the folder: PKG-INFO, pyproject.toml, setup.cfg

A folder of code of others (`_vendor`, `third_party`, see VENDORED) and the root of a repository
(`.git`) end the walk: what lies around them says nothing about them.

A text tells more surely than metadata, but it cannot say "or later" or which of several may be
chosen. So where the metadata of the same package name the same licences, their wording is taken. An
SPDX expression is also taken where the text only holds more than it, or less.

Each file that tells a licence is read once for a `Places`, and only when it is asked for.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from builders.sources import license_texts, licenses
from builders.sources.files import License
from builders.sources.license_choices import choices
from builders.sources.license_names import is_exact
from builders.sources.licenses import Metadata

VENDORED = frozenset(
    [
        "_vendor",
        "vendor",
        "vendors",
        "_vendored",
        "vendored",
        "vendored_packages",
        "third_party",
        "third-party",
        "thirdparty",
        "_third_party",
        "3rdparty",
        "thirdparty_files",
        "extern",
        "_extern",
        "externals",
        "_externals",
        "bundled",
        "_bundled",
        "submodules",
        "node_modules",
    ]
)
"""Folders of code that others wrote: the licence of the package around them is not theirs."""
MAX_RECORD_BYTES = 20_000_000
MAX_METADATA_BYTES = 500_000
"""The description stands at the end of a package's metadata, and is not needed."""

_TEXT = re.compile(
    r"(?:(?P<module>\w[\w-]*)\.)?(?:licen[cs]es?|copying|unlicense|copyright)(?P<rest>[-_. ].*)?", re.IGNORECASE
)
_NO_TEXT = re.compile(
    r"\.(?:pyi?|pyc|c|h|cc|cpp|js|css|json|ya?ml|html?|toml|cfg|xml|png|svg|so|sh|rs)$", re.IGNORECASE
)
_OF_OTHERS = re.compile(
    r"third|3rd|bundle|vendor|external|dependenc|extra|font|data|(?<![a-z])docs?(?![a-z])", re.IGNORECASE
)
_METADATA = ("PKG-INFO", "pyproject.toml", "setup.cfg")


class Found(NamedTuple):
    """What tells the licence of a file, and in which folder it stands."""

    license: License
    folder: str
    is_installed: bool
    """Whether it is a package that is installed into the folder, perhaps one of many."""


def is_vendored(path: str) -> bool:
    """Whether a file lies in a folder of code of others."""
    return not VENDORED.isdisjoint(path.split("/")[:-1])


def is_notice(path: str) -> bool:
    """Whether a file, or a folder that ends in /.git, is one of those that tell licences."""
    folder, name = _split(path)
    if name in _METADATA or name == ".git":
        return not folder.endswith(".egg-info")  # made of the files beside it, which tell more
    if name in ("METADATA", "RECORD"):
        return folder.endswith(".dist-info")
    return _TEXT.fullmatch(name) is not None and not _NO_TEXT.search(name)


def most_bytes(name: str) -> int:
    """So much is read of a notice. A RECORD lists every file of a package."""
    return MAX_RECORD_BYTES if name.endswith("/RECORD") else MAX_METADATA_BYTES


class Places:
    """The notices of one tree or archive. `read` gives the bytes of one, or None."""

    def __init__(self, names: Iterable[str], read: Callable[[str], bytes | None]):
        self._read = read
        self._texts: dict[str, list[str]] = {}
        self._metadata: dict[str, list[str]] = {}
        self._infos: dict[str, set[str]] = {}
        self._inside: dict[str, list[str]] = {}
        self._ends: set[str] = set()
        self._owners: dict[str, dict[str, str]] = {}
        self._here: dict[tuple[str, str], License | None] = {}
        self._told: dict[str, Metadata | None] = {}
        self._packages: dict[str, License | None] = {}
        for name in sorted(names):
            self._add(name)

    def of(self, path: str) -> tuple[str | None, Found | None]:
        """The package with its version, and what tells the licence; None for what nothing tells."""
        for at in self._infos.keys() - self._owners.keys():  # they also say where texts belong
            self._owners[at] = self._recorded(at)
        found: Found | None = None
        repo: str | None = None
        is_ended, child, folder = False, _split(path)[1], _split(path)[0]
        while True:
            info = self._owner(folder, path)
            if info and found and not is_ended and self._is_same(found.license, self._package(info)):
                found = None  # a copy of the package's own text, which its metadata word better
            if not is_ended and found is None:
                told = self._package(info) if info else self._text_or_metadata(folder, child)
                found = Found(told, folder, info is not None) if told else None
            is_ended = is_ended or (found is not None and info is not None)
            repo = repo or self._repo(folder, info)
            is_ended = is_ended or folder.rpartition("/")[2] in VENDORED or folder in self._ends
            if not folder:
                return repo, found
            folder, child = _split(folder)

    def _add(self, name: str) -> None:
        folder, base = _split(name)
        info = re.match(r"(?:(.*)/)?([^/]+\.dist-info)(?:/|$)", folder)
        if info:
            at = folder[: info.end(2)]
            self._infos.setdefault(info.group(1) or "", set()).add(at)
            self._inside.setdefault(at, []).append(name)
        elif base == ".git":
            self._ends.add(folder)
        elif base in _METADATA:
            at = _split(folder)[0] if _split(folder)[1] == "EGG-INFO" else folder
            self._metadata.setdefault(at, []).append(name)
        elif not base.startswith("METADATA"):
            self._texts.setdefault(folder, []).append(name)

    # -- a folder ----------------------------------------------------------------------------------

    def _text_or_metadata(self, folder: str, child: str) -> License | None:
        """What a folder tells about the file or folder `child` in it."""
        child = child.partition(".")[0] if folder in self._texts else ""
        key = folder, child
        if key not in self._here:
            metadata = self._metadata_of(folder)
            own, named = self._split_texts(folder, child)
            # many packages are installed into one folder: a text in it could be anybody's
            text = self._text(named) if named else None if folder in self._infos else self._text(own)
            self._here[key] = _agreed(text, None if named else metadata)
        return self._here[key]

    def _split_texts(self, folder: str, child: str) -> tuple[list[str], list[str]]:
        """The texts of a folder, and those of one module in it, such as six.LICENSE."""
        own, named = [], []
        for name in self._texts.get(folder, ()):
            found = _TEXT.fullmatch(_split(name)[1])
            module = found.group("module") if found else None
            if module is None:
                own.append(name)
            elif module.lower().replace("-", "_") == child.lower():
                named.append(name)
        return own, named

    def _text(self, names: list[str]) -> License | None:
        """The licence of some texts that stand together. Those about software of others count only
        where there are no others.
        """
        own = [n for n in names if not _OF_OTHERS.search(_split(n)[1])]
        texts = [t for t in (self._text_of(n) for n in own) if t is not None]
        found = [m for m in (license_texts.matched(t) for t in texts) if m]
        if not found:
            return None
        rest = [t for t in texts if license_texts.matched(t) is None]
        is_choice = any(license_texts.offers_choice(t) for t in rest)
        name = license_texts.joined([m.name for m in found], is_choice)
        return License(name, "file", min(m.score for m in found))

    def _text_of(self, name: str) -> str | None:
        data = self._read(name)
        return None if data is None else data[: license_texts.MAX_BYTES].decode("utf-8", "replace")

    def _metadata_of(self, folder: str) -> Metadata | None:
        """What the metadata of a folder say: the first of its files that names a licence."""
        if folder not in self._told:
            told = [self._parsed(n) for n in sorted(self._metadata.get(folder, ()), key=_order)]
            named = [t for t in told if t.license != licenses.UNKNOWN]
            self._told[folder] = next(iter(named or told), None)
        return self._told[folder]

    def _parsed(self, name: str) -> Metadata:
        return licenses.of_file(_split(name)[1], self._read(name) or b"")

    def _repo(self, folder: str, info: str | None) -> str | None:
        told = self._info_metadata(info) if info else self._metadata_of(folder)
        return told.repo if told else None

    # -- an installed package ----------------------------------------------------------------------

    def _owner(self, folder: str, path: str) -> str | None:
        """The *.dist-info in a folder whose RECORD lists a file."""
        if folder not in self._infos:
            return None
        infos = self._infos[folder]
        alone = next(iter(infos)) if len(infos) == 1 else None
        # without a RECORD it can only be said of the one package of a folder which files it has
        has_record = alone is None or f"{alone}/RECORD" in self._inside[alone]
        return self._owners[folder].get(path, None if has_record else alone)

    def _recorded(self, folder: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for info in sorted(self._infos[folder]):
            data = self._read(f"{info}/RECORD") if f"{info}/RECORD" in self._inside[info] else None
            text = (data or b"").decode("utf-8", "replace").replace("\0", "")
            paths = [row[0] for row in csv.reader(io.StringIO(text)) if row and row[0].endswith(".py")]
            for path in paths:
                found[f"{folder}/{path}" if folder else path] = info
            self._place_texts(folder, info, {_split(p)[0] for p in paths})
        return found

    def _place_texts(self, folder: str, info: str, folders: set[str]) -> None:
        """Put the texts under *.dist-info/licenses/ to the folders that they are about.

        A package keeps its texts there under the paths that they have in its sources, such as
        licenses/src/pip/_vendor/certifi/LICENSE.
        """
        known = {"/".join(f.split("/")[:n]) for f in folders for n in range(1, f.count("/") + 2)}
        start = f"{info}/licenses/"
        for name in self._inside[info]:
            inside = _split(name)[0][len(start) :] if name.startswith(start) else ""
            parts = inside.split("/") if inside else []
            about = next((f for n in range(len(parts)) if (f := "/".join(parts[n:])) in known), None)
            if about:
                at = f"{folder}/{about}" if folder else about
                self._texts.setdefault(at, []).append(name)

    def _info_metadata(self, info: str) -> Metadata | None:
        if info not in self._told:
            name = f"{info}/METADATA"
            self._told[info] = self._parsed(name) if name in self._inside[info] else None
        return self._told[info]

    def _package(self, info: str) -> License | None:
        if info not in self._packages:
            at = (f"{info}/", f"{info}/licenses/")
            texts = [n for n in self._inside[info] if _split(n)[0] + "/" in at and _TEXT.fullmatch(_split(n)[1])]
            self._packages[info] = _agreed(self._text(texts), self._info_metadata(info))
        return self._packages[info]

    @staticmethod
    def _is_same(left: License, right: License | None) -> bool:
        return right is not None and _ids(left.name) == _ids(right.name)


def _agreed(text: License | None, metadata: Metadata | None) -> License | None:
    """What a text and the metadata of the same package tell together."""
    if metadata is None or metadata.license == licenses.UNKNOWN:
        return text
    if text is None:
        return License(metadata.license, "metadata")
    found, named = _ids(text.name), _ids(metadata.license)
    is_worded_better = found == named or (metadata.is_expression and (found < named or named < found))
    if is_worded_better and is_exact(metadata.license):
        return License(metadata.license, "file", text.score)
    return text


def _ids(name: str) -> set[str]:
    """The licences of an expression. The licence of Python holds PSF-2.0 and older ones."""
    found = {word for choice in choices(name) for word in choice}
    return found | {"psf-2.0"} if found & {"python-2.0", "python-2.0.1"} else found


def _order(name: str) -> int:
    return _METADATA.index(_split(name)[1])


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name
