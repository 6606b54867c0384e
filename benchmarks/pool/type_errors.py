"""Which type errors count: findings by rule before and after, errors that we planted, and findings
to be read.

    python benchmarks/pool/type_errors.py --functions 16000
    # and 40 findings that do not count, drawn evenly over the rules, or all that do
    python benchmarks/pool/type_errors.py --functions 16000 --read 40
    python benchmarks/pool/type_errors.py --functions 16000 --read-counted

The functions are documented ones of the standard library and of installed packages, with the
imports that can be inferred in front; those with an unknown name are left out, as the pool does.

    all rules   every error that ty reports, but those about what a lone function cannot have
    certain     those of `builders/checks/certain_types.py`
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.pool.type_checks import sample, with_imports
from builders.checks import types
from builders.checks.certain_types import Finding, counts

NOT_OURS = (
    "import-not-found",
    "unresolved-reference",
    "unavailable-implicit-super-arguments",
    "invalid-type-form",
    "invalid-implicit-return-in-function-with-stub-body",
)
"""Rules that never counted: without packages, names, a class or a body they mean nothing."""

PLANTED = {
    "return of another class": "def f(x: int) -> str:\n    return x",
    "return of a literal": "def f(x: str) -> int:\n    return 'a' if x else 'b'",
    "return of a list for a dict": "def f(x: int) -> dict[str, int]:\n    return [x]",
    "return of too long a tuple": "def f(x: int) -> tuple[int, int]:\n    return x, x, x",
    "return of None": "def f(x: int) -> int:\n    if x > 0:\n        return x\n    return None",
    "bare return": "def f(x: list[int]) -> int:\n    if not x:\n        return\n    return x[0]",
    "return of a class": "def f(x: int) -> int:\n    return NotImplementedError",
    "return of what a function gives": "import os\ndef f(x: str) -> bool:\n    return os.path.join(x, 'a')",
    "return in a coroutine": "async def f(x: int) -> bytes:\n    return str(x)",
    "return of one branch": "def f(x: int) -> str:\n    if x > 1:\n        return str(x)\n    return x + 1",
    "return of a path": "from pathlib import Path\ndef f(x: str) -> str:\n    return Path(x)",
    "nothing returned": "def f(x: int) -> int:\n    y = x * 2",
    "one branch without return": "def f(x: int) -> int:\n    if x:\n        return 1",
    "generator for a list": "def f(x: int) -> list[int]:\n    yield x",
    "yield of another class": "from collections.abc import Iterator\ndef f(x: int) -> Iterator[str]:\n    yield x",
    "variable of another class": "def f(x: int):\n    y: str = x\n    return y",
    "variable set again": "def f(x: int):\n    y: dict[str, int] = {}\n    y = [x]\n    return y",
    "list for a set": "def f(x: int):\n    y: set[int] = [x]\n    return y",
    "default of another class": "def f(x: int = 'a'):\n    return x",
    "default list for a str": "def f(*, x: str = []):\n    return x",
    "helper called with another class": "def g(x: str) -> str:\n    return x\ndef f(n: int):\n    return g(n)",
    "helper called by keyword": "def g(x: int) -> int:\n    return x\ndef f():\n    return g(x='a')",
    "nested helper": "def f(n: int):\n    def g(x: list[int]) -> int:\n        return len(x)\n    return g(n)",
    "itself": "def f(n: int) -> int:\n    return f('a') + n",
    "built-in function": "def f(n: int) -> int:\n    return len(n)",
    "function of a module": "import os\ndef f(n: float):\n    return os.path.join(n, 'a')",
    "sum of str and int": "def f(n: str):\n    return n + 1",
    "comparison of list and int": "def f(n: list[int]):\n    return n < 1",
    "attribute of another class": "def f(n: list[int]):\n    n.add(1)",
    "method of another class": "def f(n: int) -> str:\n    return n.upper()",
}
"""Functions that are wrong by their own annotations, by kind."""


def main() -> None:
    """Print both tables, and findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, default=16000, help="before those with unknown names are left out")
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--read", type=int, default=0, help="findings that do not count, to print")
    parser.add_argument("--read-counted", action="store_true", help="print all that count")
    options = parser.parse_args()
    planted()
    texts, known = with_imports(sample(options.functions, options.seed))
    texts = [text for text, is_known in zip(texts, known, strict=True) if is_known]
    before = [ours(found) for found in types.findings(texts, rules=None)]
    table(texts, before)
    chosen = drawn(texts, before, options.read, options.seed)
    if options.read_counted:
        chosen += [(t, one) for t, found in zip(texts, before, strict=True) for one in found if counts(t, one)]
    for text, finding in chosen:
        print(f"\n==== {finding.rule}, line {finding.line}: {finding.message}\n{text[:3000]}")


def ours(found: list[Finding] | None) -> list[Finding]:
    """What counted before: all rules but a few."""
    return [one for one in found or [] if one.rule not in NOT_OURS]


def planted() -> None:
    """How many of the planted errors are found."""
    codes = list(PLANTED.values())
    before = [bool(ours(found)) for found in types.findings(codes, rules=None)]
    after = [bool(number) for number in types.errors(codes)]
    missed = [kind for kind, is_found in zip(PLANTED, after, strict=True) if not is_found]
    print(f"{len(codes)} planted errors: found by all rules {sum(before)}, certain {sum(after)}")
    print(f"not found: {', '.join(missed) or 'none'}")


def table(texts: list[str], before: list[list[Finding]]) -> None:
    """Findings and functions by rule."""
    after = [[one for one in found if counts(text, one)] for text, found in zip(texts, before, strict=True)]
    print(
        f"\n{len(texts):,} functions: with an error by all rules {sum(map(bool, before))}, certain {sum(map(bool, after))}"
    )
    print(f"{'rule':40}{'findings':>9}{'functions':>10}{'certain':>9}{'functions':>10}")
    sizes = [Counter(one.rule for found in part for one in found) for part in (before, after)]
    functions = [Counter(rule for found in part for rule in {one.rule for one in found}) for part in (before, after)]
    for rule, number in sizes[0].most_common():
        print(f"{rule:40}{number:9}{functions[0][rule]:10}{sizes[1][rule]:9}{functions[1][rule]:10}")


def drawn(texts: list[str], before: list[list[Finding]], number: int, seed: int) -> list[tuple[str, Finding]]:
    """Findings that do not count, one per function and rule, evenly over the rules."""
    groups: dict[str, list[tuple[str, Finding]]] = defaultdict(list)
    for text, found in zip(texts, before, strict=True):
        for rule, one in {one.rule: one for one in found if not counts(text, one)}.items():
            groups[rule].append((text, one))
    rng = random.Random(seed)
    for group in groups.values():
        rng.shuffle(group)
    chosen: list[tuple[str, Finding]] = []
    while len(chosen) < number and any(groups.values()):
        chosen += [groups[rule].pop() for rule in sorted(groups) if groups[rule]]
    return chosen[:number]


if __name__ == "__main__":
    main()
