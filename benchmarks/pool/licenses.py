"""Licences of packages: the matcher of licence texts beside others, and how fast files get theirs.

In: a folder of wheels and sdists that are not installed, which you fetch beforehand:

    pip download --no-deps -d FOLDER requests flask docutils tqdm chardet paramiko …

Out: for each matcher, how many of the licence texts it gets right. The truth is what the package
itself declares as `License-Expression`, where that is one SPDX identifier and the package has one
text. -only and -or-later do not count: no text tells them apart. Then the time that all files of
the archives need with their licences, without extraction.

`small` is a matcher in 20 lines: pairs of words, compared with the texts of the SPDX list. It needs
the unpacked npm package `spdx-license-list` (`npm pack spdx-license-list`) as --spdx. Peers are
measured where they are installed: identify with ukkonen, infer-license, pyaskalono.
The last is slow and only sees the first --slow texts, and its row says of how many.
"""

from __future__ import annotations

import argparse
import email
import importlib.util
import json
import re
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builders import sources
from builders.recipe import Source
from builders.sources import license_texts
from builders.sources.license_choices import choices
from builders.sources.license_places import is_notice

Matcher = Callable[[str], str | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of wheels and sdists")
    parser.add_argument("--spdx", type=Path, help="unpacked npm package spdx-license-list")
    parser.add_argument("--slow", type=int, default=30, help="texts for the slow peer")
    given = parser.parse_args()
    truth = declared(given.folder)
    print(f"{len(truth)} texts of packages that declare one SPDX identifier")
    print("| matcher | right | wrong | none | ms per text |\n|---|---|---|---|---|")
    for name, (matcher, is_slow) in matchers(given.spdx).items():
        asked = truth[: given.slow] if is_slow else truth
        matcher("MIT License")  # loads what it needs
        start = time.process_time()
        verdicts = Counter(verdict(matcher(text), told) for told, text in asked)
        spent = (time.process_time() - start) / max(1, len(asked)) * 1000
        suffix = f" (of {len(asked)})" if is_slow else ""
        print(f"| {name}{suffix} | {verdicts['right']} | {verdicts['wrong']} | {verdicts['none']} | {spent:.1f} |")
    timed(given.folder)


def declared(folder: Path) -> list[tuple[str, str]]:
    """`(SPDX identifier, text)` of the wheels that declare one and have one text."""
    found = []
    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            infos = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
            told = email.message_from_bytes(archive.read(infos[0])).get("License-Expression") if infos else None
            at = infos[0].removesuffix("METADATA") if infos else ""
            texts = [
                n
                for n in archive.namelist()
                if n.rpartition("/")[0] + "/" in (at, f"{at}licenses/")
                and is_notice(n)
                and not n.endswith(("METADATA", "RECORD"))
            ]
            if told and " " not in told and len(texts) == 1:
                found.append((told, archive.read(texts[0]).decode("utf-8", "replace")))
    return found


def verdict(name: str | None, told: str) -> str:
    if not name:
        return "none"
    return "right" if choices(name) == choices(told) else "wrong"


def matchers(spdx: Path | None) -> dict[str, tuple[Matcher, bool]]:
    def ours(text: str) -> str | None:
        found = license_texts.matched(text)
        return found.name if found else None

    found: dict[str, tuple[Matcher, bool]] = {"licenseclassifier (ours)": (ours, False)}
    if spdx:
        found["small"] = small(spdx), False
    if _has("identify") and _has("ukkonen"):
        found["identify"] = _identify, False
    if _has("infer_license"):
        from infer_license import api

        found["infer-license"] = (lambda text: getattr(api.guess_text(text), "shortname", None)), False
    if _has("askalono"):
        import askalono

        found["pyaskalono"] = (lambda text: getattr(askalono.identify(text), "name", None)), True
    return found


def small(folder: Path) -> Matcher:
    """Pairs of words of a text and of each licence of the SPDX list, by their Dice coefficient."""

    def pairs(text: str) -> Counter[tuple[str, str]]:
        words = re.findall(r"[a-z0-9]+", re.sub(r"(?im)^.*copyright \(?c?\)?.*\d{4}.*$", "", text).lower())
        return Counter(pairwise(words))

    listed = json.loads((folder / "spdx-full.json").read_text())
    known = {name: pairs(entry["licenseText"]) for name, entry in listed.items() if entry.get("licenseText")}
    sizes = {name: sum(found.values()) for name, found in known.items()}

    def match(text: str) -> str | None:
        asked = pairs(text)
        size = sum(asked.values())
        near = [n for n in known if 0.5 < (sizes[n] + 1) / (size + 1) < 2]
        scores = {n: 2 * sum((known[n] & asked).values()) / (size + sizes[n] + 1) for n in near}
        best = max(scores, key=lambda n: scores[n], default=None)
        return best if best and scores[best] > 0.85 else None

    return match


def _identify(text: str) -> str | None:
    from identify.identify import license_id

    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        told: str | None = license_id(file.name)
    return told


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def timed(folder: Path) -> None:
    source = Source(name="packages", kind="archive", path=str(folder))
    listed = sources.listing(source)
    start, told = time.process_time(), Counter[str]()
    for shard in listed.shards:
        told.update(file.license_source for file in sources.read(source, shard))
    spent = time.process_time() - start
    shares = ", ".join(f"{name} {count:,}" for name, count in told.most_common())
    print(f"\n{told.total():,} files read with their licences in {spent:.1f} s of CPU; told by: {shares}")


if __name__ == "__main__":
    main()
