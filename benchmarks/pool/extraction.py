"""Extraction of documented functions: whole-file `ast`, tree-sitter and ours, on the same files.

    python benchmarks/pool/extraction.py --megabytes 30

Input: files of the standard library and of site-packages, shuffled, in batches of four megabytes.
Every way extracts each batch before the next batch comes, so that a busy machine is busy for all of
them. Seconds are of CPU, child processes included, and of the clock.

    ast              parses and slices
    ast, all fields  gives what ours gives: names, signatures, cleaned docstrings, counts
    tree-sitter      runs the query that SelfCodeAlign describes: functions at column 0 whose first
                     statement is a string in triple double quotes. Skipped if it is not installed
                     (`pip install tree-sitter tree-sitter-python`)

Then agreement: functions that `ast` finds and ours does not, and the other way round, with all
their fields. Then the same for copies of the files that are broken at random; in these ours must
not find anything that `ast` does not.
"""

from __future__ import annotations

import argparse
import ast
import random
import resource
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builders.code.functions import UNPARSABLE, Extracted, Function, extract, whole
from builders.code.outline import outline

BATCH_BYTES = 4_000_000
Way = Callable[[list[str]], int]


@dataclass
class Time:
    """What a way took and found."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    found: int = 0


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--root", action="append", help="another folder than those of this Python; may be repeated")
    parser.add_argument("--broken", type=int, default=2000, help="copies of files that are broken at random")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    texts = read(options.root, options.megabytes, options.seed)
    batches = list(batched(texts))
    extract(["def f():\n    'Doc.'\n"])  # compile once
    ways = [*(("top level", *w) for w in top_level()), *(("with methods", *w) for w in with_methods())]
    times = {(group, name): Time() for group, name, _ in ways}
    for batch in batches:
        for group, name, way in ways:
            measure(times[group, name], way, batch)
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    print(f"{len(texts):,} files, {megabytes:.1f} MB, Python {sys.version.split()[0]}")
    report(times, megabytes)
    agreement(batches)
    broken(texts, options.broken, options.seed)


def read(roots: list[str] | None, megabytes: float, seed: int) -> list[str]:
    """Source texts up to a size, of UTF-8 files in a seeded order."""
    installed = sysconfig.get_paths()
    paths = sorted(
        {p for root in roots or [installed["stdlib"], installed["purelib"]] for p in Path(root).rglob("*.py")}
    )
    random.Random(seed).shuffle(paths)
    texts, left = [], megabytes * 1e6
    for path in paths:
        try:
            data = path.read_bytes()
            texts.append(data.decode())
        except (OSError, UnicodeDecodeError):
            continue
        left -= len(data)
        if left <= 0:
            break
    return texts


def batched(texts: list[str]) -> Iterator[list[str]]:
    """Some megabytes at a time."""
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if sum(map(len, batch)) > BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def cpu_s() -> float:
    """CPU seconds of this process and of the processes that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measure(total: Time, way: Way, batch: list[str]) -> None:
    """Add one batch to a way's time."""
    cpu, wall = cpu_s(), time.perf_counter()
    total.found += way(batch)
    total.cpu_s += cpu_s() - cpu
    total.wall_s += time.perf_counter() - wall


def report(times: dict[tuple[str, str], Time], megabytes: float) -> None:
    """A line per way, with its ratio to the reference of its group."""
    print(f"\n{'':14}{'way':34}{'MB/s CPU':>10}{'MB/s clock':>12}{'x ast':>8}{'x ast, all':>12}{'functions':>11}")
    for (group, name), spent in times.items():
        plain, fields = times[group, "ast"], times[group, "ast, all fields"]
        print(
            f"{group:14}{name:34}{megabytes / spent.cpu_s:>10.1f}{megabytes / spent.wall_s:>12.1f}"
            f"{plain.cpu_s / spent.cpu_s:>8.2f}{fields.cpu_s / spent.cpu_s:>12.2f}{spent.found:>11,}"
        )


# -- the ways --------------------------------------------------------------------------------------


def top_level() -> Iterator[tuple[str, Way]]:
    """Documented functions of the module level."""
    yield "ast", lambda batch: sum(len(sliced(t, methods=False)) for t in batch)
    yield "ast, all fields", lambda batch: sum(len(whole(t, methods=False).functions) for t in batch)
    if query := tree_sitter_query():
        yield "tree-sitter, SelfCodeAlign's query", query
    yield "ours", lambda batch: sum(len(f.functions) for f in extract(batch, methods=False))


def with_methods() -> Iterator[tuple[str, Way]]:
    """Documented functions of the module level and of classes."""
    yield "ast", lambda batch: sum(len(sliced(t, methods=True)) for t in batch)
    yield "ast, all fields", lambda batch: sum(len(whole(t).functions) for t in batch)
    yield "ours", lambda batch: sum(len(f.functions) for f in extract(batch))


def sliced(text: str, methods: bool) -> list[str]:
    """The least that can be done with `ast`: parse, walk, slice the lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(text)
        except UNPARSABLE:
            return []
    lines, found, bodies = text.split("\n"), [], [tree.body]
    for body in bodies:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if ast.get_docstring(node, clean=False):
                    found.append("\n".join(lines[node.lineno - 1 : node.end_lineno]))
            elif methods and isinstance(node, ast.ClassDef):
                bodies.append(node.body)
    return found


def tree_sitter_query() -> Way | None:
    """SelfCodeAlign's way, if tree-sitter is installed."""
    try:
        import tree_sitter
        import tree_sitter_python
    except ImportError:
        print("tree-sitter is absent: pip install tree-sitter tree-sitter-python")
        return None
    language = tree_sitter.Language(tree_sitter_python.language())
    query = tree_sitter.Query(
        language,
        '((function_definition body: (block . (expression_statement (string) @doc))) @function (#match? @doc "^\\"\\"\\""))',
    )
    parser = tree_sitter.Parser(language)

    def way(batch: list[str]) -> int:
        num_found = 0
        for text in batch:
            tree = parser.parse(text.encode())
            nodes = tree_sitter.QueryCursor(query).captures(tree.root_node).get("function", [])
            num_found += len([n.text.decode() for n in nodes if n.start_point[1] == 0])
        return num_found

    return way


# -- agreement -------------------------------------------------------------------------------------


def differences(ours: list[Extracted], theirs: list[Extracted]) -> tuple[int, int, int]:
    """Functions that only theirs has, that only ours has, and files whose counts differ."""
    missing = extra = files = 0
    for mine, reference in zip(ours, theirs, strict=True):
        here: set[Function] = set(mine.functions)
        there: set[Function] = set(reference.functions)
        missing, extra = missing + len(there - here), extra + len(here - there)
        files += mine.num_undocumented != reference.num_undocumented or mine.is_parsed != reference.is_parsed
    return missing, extra, files


def agreement(batches: list[list[str]]) -> None:
    """Compare everything with `ast` on the whole files."""
    total = [0, 0, 0, 0, 0]
    for batch in batches:
        reference = [whole(t) for t in batch]
        counts = sum(len(r.functions) for r in reference), sum(r.num_undocumented for r in reference)
        total = [a + b for a, b in zip(total, (*counts, *differences(extract(batch), reference)), strict=True)]
    odd = sum(outline(t.encode()) is None for batch in batches for t in batch if "\r" not in t)
    print(
        f"\nagreement: {total[0]:,} documented functions by ast, {total[1]:,} undocumented ones; missing {total[2]}, "
        f"extra {total[3]}, files with other counts {total[4]}; files left to ast as odd: {odd}"
    )


def broken(texts: list[str], count: int, seed: int) -> None:
    """The same on copies in which some characters were replaced, removed or put in."""
    chance = random.Random(seed)
    copies = []
    for _ in range(count):
        text = chance.choice(texts)[:20_000]
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text) + 1)
            put = chance.choice(
                ["", "", "(", ")", "'", '"', "\n", ":", " ", "=", ",", "*", "\\", "{", "def ", "1", "if ", "lambda "]
            )
            text = text[:at] + put + text[at + chance.randint(0, 2) :]
        copies.append(text)
    reference = [whole(t) for t in copies]
    missing, extra, files = differences([f for batch in batched(copies) for f in extract(batch)], reference)
    num_broken = sum(not r.is_parsed for r in reference)
    print(
        f"broken at random: {count:,} copies, {num_broken:,} of them do not parse; missing {missing}, extra {extra}, "
        f"files with other counts {files}"
    )


if __name__ == "__main__":
    main()
