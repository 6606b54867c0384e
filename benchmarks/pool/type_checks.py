"""Undefined names and type errors: ruff and then ty, beside pyright as SelfCodeAlign runs it.

    python benchmarks/pool/type_checks.py --functions 1500 --pyright /path/to/basedpyright

Both see the same functions, of the standard library and of installed packages, with the imports
that can be inferred in front. Batches run in turn.

    ours     ruff, then ty on what is left. Rejects what has an undefined name or a type error
    pyright  once per 250 files, as `high_quality_subset.py` of
             github.com/bigcode-project/selfcodealign does. Rejects a function for any error but a
             missing import or a `super()` without its class. ty is not asked about these either

pyright is not a dependency. `pip install basedpyright` into any environment brings it, with a
Node.js of its own. Without it that row is left out.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builders.checks import imports as inferred_imports
from builders.checks import names, types
from builders.checks.structure import syntax
from builders.code.functions import functions

BATCH = 250
IGNORED = ("reportMissingImports", "reportMissingModuleSource")


def sample(number: int, seed: int) -> list[str]:
    """Texts of documented functions and methods from files that are drawn at random."""
    paths = sorted({sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["purelib"]})
    files = sorted({file for path in paths for file in Path(path).rglob("*.py") if file.stat().st_size < 500_000})
    random.Random(seed).shuffle(files)
    found: dict[str, None] = {}
    for file in files:
        try:
            found |= dict.fromkeys(f.code for f in functions(file.read_text("utf-8")))
        except (SyntaxError, ValueError, RecursionError):
            continue
        if len(found) >= 4 * number:
            break
    return random.Random(seed).sample(sorted(found), min(number, len(found)))


def with_imports(codes: list[str]) -> tuple[list[str], list[bool]]:
    """The texts with their inferred imports, and whether every name of each is then known."""
    texts, are_known = [], []
    for code, undefined in zip(codes, names.undefined_names(codes), strict=True):
        found = syntax(ast.parse(code).body[0])  # type: ignore[arg-type]
        imports, unknown = inferred_imports.infer(undefined, found)
        texts.append("\n".join([*imports, code]))
        are_known.append(not unknown and not found.module_names)
    return texts, are_known


def ours(codes: list[str]) -> list[bool]:
    """Whether each text passes the gate and the type checker."""
    texts, are_known = with_imports(codes)
    errors = iter(types.errors([t for t, known in zip(texts, are_known, strict=True) if known]))
    return [known and next(errors) == 0 for known in are_known]


def pyright(program: str, codes: list[str]) -> list[bool]:
    """Whether pyright finds no error but missing imports.

    It is configured to basic, which is pyright's own default.
    """
    texts, _ = with_imports(codes)
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            Path(folder, f"{number}.py").write_text(text, "utf-8")
        settings = {"typeCheckingMode": "basic", "pythonVersion": "3.13", "include": ["."]}
        Path(folder, "pyrightconfig.json").write_text(json.dumps(settings))
        # without this it would ask the Python on the path for installed packages
        bare = {"PATH": "", "HOME": folder}
        done = subprocess.run([program, "--outputjson", "-p", folder], capture_output=True, text=True, env=bare)
    passed = [True] * len(codes)
    for finding in json.loads(done.stdout)["generalDiagnostics"]:
        is_ignored = finding.get("rule") in IGNORED or finding["message"].startswith("Zero-argument form of")
        if finding["severity"] == "error" and not is_ignored:
            passed[int(Path(finding["file"]).stem)] = False
    return passed


def main() -> None:
    """Time both on the same batches and compare their verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pyright", default=shutil.which("pyright") or shutil.which("basedpyright"))
    options = parser.parse_args()
    codes = sample(options.functions, options.seed)
    print(f"{len(codes)} functions, {sum(map(len, codes)) / 1e6:.1f} MB; {types.checker()}, {names.UNDEFINED}")
    seconds = {"gate alone": 0.0, "gate + ty": 0.0, "pyright": 0.0}
    known, left, right = [], [], []
    for start in range(0, len(codes), BATCH):
        batch = codes[start : start + BATCH]
        began = time.perf_counter()
        known += with_imports(batch)[1]
        seconds["gate alone"] += time.perf_counter() - began
        if options.pyright:
            began = time.perf_counter()
            right += pyright(options.pyright, batch)
            seconds["pyright"] += time.perf_counter() - began
    for start in range(0, len(codes), 2000):  # the batch of snippet_checks
        began = time.perf_counter()
        left += ours(codes[start : start + 2000])
        seconds["gate + ty"] += time.perf_counter() - began
    report(seconds, known, left, right)


def report(seconds: dict[str, float], known: list[bool], left: list[bool], right: list[bool]) -> None:
    """Print speed, ratios and agreement."""
    number = len(left)
    print(f"pass the gate {sum(known)}, pass ours {sum(left)}" + (f", pass pyright {sum(right)}" if right else ""))
    for name, spent in seconds.items():
        if spent:
            ratio = f"{seconds['pyright'] / spent:8.1f}x pyright" if seconds["pyright"] else ""
            print(f"{name:12} {spent:8.2f} s {number / spent:10.0f} functions/s {ratio}")
    if not right:
        print("pyright: not found; pip install basedpyright and give --pyright PATH")
        return
    survivors = [(a, b) for a, b, k in zip(left, right, known, strict=True) if k]
    for name, pairs in (("all", list(zip(left, right, strict=True))), ("survivors of the gate", survivors)):
        rejected = [a for a, b in pairs if not b]
        ours_rejected = [b for a, b in pairs if not a]
        print(
            f"{name}: agreement {sum(a == b for a, b in pairs) / len(pairs):.3f}, recall of pyright's rejects "
            f"{rejected.count(False) / max(1, len(rejected)):.3f}, precision {ours_rejected.count(False) / max(1, len(ours_rejected)):.3f}"
        )


if __name__ == "__main__":
    main()
