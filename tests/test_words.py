"""The form of our texts: no line of a docstring, a comment or prose is longer than 100 characters.

In: the Python and Markdown files that git tracks. A line counts as a whole, with its indentation.
Code may be longer; that is ruff's business. Every module has a docstring.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 100
PRAGMA = re.compile(r"# (?:fmt|type|isort): |# noqa\b")
"""Comments for a tool. They stand at the end of a line of code, however long that is."""
LINK = re.compile(r"\s*(?:[-*] |\d+\. )?(?:<?https?://\S+|!?\[[^]]*\]\(\S+\)|\[[^]]+\]: \S+)[.,;]?\s*")
"""A line of Markdown that is one link, perhaps as the item of a list."""

NOT_YET: frozenset[str] = frozenset(
    [
        "CHANGELOG.md",
        "README.md",
        "benchmarks/decontamination/by_execution.py",
        "benchmarks/decontamination/disguises.py",
        "benchmarks/decontamination/peers.py",
        "benchmarks/decontamination/precision.py",
        "benchmarks/decontamination/recall.py",
        "benchmarks/decontamination/speed.py",
        "benchmarks/decontamination/syntax_steps.py",
        "benchmarks/engines/endpoint_driver.py",
        "benchmarks/engines/fault_drill.py",
        "benchmarks/engines/memory.py",
        "benchmarks/engines/multi_checkpoint.py",
        "benchmarks/engines/scoring.py",
        "benchmarks/executors/executors.py",
        "benchmarks/influence/exactness.py",
        "benchmarks/influence/peers.py",
        "benchmarks/influence/planted.py",
        "benchmarks/influence/ranking.py",
        "benchmarks/influence/speed.py",
        "benchmarks/pool/extraction.py",
        "benchmarks/pool/memory.py",
        "benchmarks/pool/near_dedup.py",
        "benchmarks/pool/near_dedup_peers.py",
        "benchmarks/pool/type_checks.py",
        "benchmarks/pool/whole_stage.py",
        "benchmarks/store/kill_drill.py",
        "builders/checks/docstrings.py",
        "builders/checks/imports.py",
        "builders/checks/names.py",
        "builders/checks/sensitive.py",
        "builders/checks/structure.py",
        "builders/checks/types.py",
        "builders/code/__init__.py",
        "builders/code/bound_names.py",
        "builders/code/compiled.py",
        "builders/code/functions.py",
        "builders/code/lexer.py",
        "builders/code/minhash.py",
        "builders/code/outline.py",
        "builders/code/signatures.py",
        "builders/code/tokens.py",
        "builders/code/validity.py",
        "builders/datasets/conversations.py",
        "builders/datasets/mixes.py",
        "builders/datasets/rows.py",
        "builders/datasets/texts.py",
        "builders/decontamination/detectors/__init__.py",
        "builders/decontamination/detectors/background.py",
        "builders/decontamination/detectors/calibration.py",
        "builders/decontamination/detectors/combination.py",
        "builders/decontamination/detectors/count_background.py",
        "builders/decontamination/detectors/features.py",
        "builders/decontamination/detectors/postings.py",
        "builders/decontamination/detectors/strings.py",
        "builders/decontamination/detectors/units.py",
        "builders/decontamination/execution/__init__.py",
        "builders/decontamination/execution/functions.py",
        "builders/decontamination/execution/oracle.py",
        "builders/decontamination/execution/runner.py",
        "builders/engines/answers.py",
        "builders/engines/batch_api.py",
        "builders/engines/batch_lines.py",
        "builders/engines/batch_state.py",
        "builders/engines/budget.py",
        "builders/engines/checkpoints.py",
        "builders/engines/endpoint.py",
        "builders/engines/gate.py",
        "builders/engines/in_turn.py",
        "builders/engines/journal.py",
        "builders/engines/journalled_stream.py",
        "builders/engines/openai.py",
        "builders/engines/opening.py",
        "builders/engines/prompts/__init__.py",
        "builders/engines/protocol.py",
        "builders/engines/sampling.py",
        "builders/engines/settings.py",
        "builders/engines/tokenizing.py",
        "builders/engines/transformers.py",
        "builders/engines/types.py",
        "builders/engines/vllm.py",
        "builders/engines/whole_shards.py",
        "builders/executors/__init__.py",
        "builders/executors/build.py",
        "builders/executors/devices.py",
        "builders/executors/local.py",
        "builders/executors/ray.py",
        "builders/executors/slurm.py",
        "builders/executors/work.py",
        "builders/harness/asking.py",
        "builders/harness/files.py",
        "builders/harness/grading.py",
        "builders/harness/layouts.py",
        "builders/harness/programs.py",
        "builders/pairs/__init__.py",
        "builders/pairs/as_json.py",
        "builders/pairs/corruptions.py",
        "builders/pairs/examples.py",
        "builders/pairs/labels.py",
        "builders/publishing/card.py",
        "builders/publishing/folder.py",
        "builders/publishing/replacing.py",
        "builders/publishing/sets.py",
        "builders/recipe/__init__.py",
        "builders/recipe/benchmarks.py",
        "builders/recipe/estimate.py",
        "builders/recipe/executor.py",
        "builders/recipe/files.py",
        "builders/recipe/pool.py",
        "builders/recipe/synthesizer.py",
        "builders/recipe/teacher.py",
        "builders/sandbox/__init__.py",
        "builders/sandbox/runner.py",
        "builders/sources/__init__.py",
        "builders/sources/archives.py",
        "builders/sources/files.py",
        "builders/sources/license_choices.py",
        "builders/sources/licenses.py",
        "builders/sources/rows.py",
        "builders/sources/trees.py",
        "builders/standalone/contamination.py",
        "builders/standalone/gradient_shards.py",
        "builders/standalone/influence.py",
        "builders/standalone/influence_request.py",
        "builders/teacher/__init__.py",
        "builders/teacher/asking.py",
        "builders/teacher/importing.py",
        "builders/teacher/rows.py",
        "docs/commands.md",
        "docs/limitations.md",
        "docs/log.md",
        "docs/method.md",
        "docs/scaling.md",
        "recipes/README.md",
        "recipes/tiny-base/README.md",
        "recipes/tiny_base_examples.py",
        "recipes/train_tiny_base.py",
        "tests/checks/test_docstrings.py",
        "tests/checks/test_sensitive.py",
        "tests/checks/test_structure.py",
        "tests/checks/test_types.py",
        "tests/code/test_functions.py",
        "tests/code/test_minhash.py",
        "tests/code/test_outline.py",
        "tests/code/test_tokens.py",
        "tests/datasets/test_conversations.py",
        "tests/datasets/test_mixes.py",
        "tests/datasets/test_rows.py",
        "tests/decontamination/test_detectors.py",
        "tests/decontamination/test_disguises.py",
        "tests/decontamination/test_execution.py",
        "tests/engines/test_answers.py",
        "tests/engines/test_openai.py",
        "tests/engines/test_prompts.py",
        "tests/engines/test_tokenizing.py",
        "tests/engines/test_transformers.py",
        "tests/engines/test_vllm.py",
        "tests/executors/test_ray.py",
        "tests/executors/test_slurm.py",
        "tests/executors/test_work.py",
        "tests/harness/test_files.py",
        "tests/harness/test_programs.py",
        "tests/pairs/test_corruptions.py",
        "tests/pairs/test_labels.py",
        "tests/pairs/test_pairs.py",
        "tests/publishing/test_folder.py",
        "tests/publishing/test_replacing.py",
        "tests/recipe/test_estimate.py",
        "tests/recipe/test_recipe.py",
        "tests/sandbox/test_sandbox.py",
        "tests/sources/test_archives.py",
        "tests/sources/test_licenses.py",
        "tests/sources/test_sources.py",
        "tests/standalone/test_contamination.py",
        "tests/standalone/test_influence.py",
        "tests/training/test_gradients.py",
        "tests/training/test_ranking.py",
        "tests/training/test_sft.py",
        "training/__init__.py",
        "training/checkpoints.py",
        "training/coder.py",
        "training/completion_loss.py",
        "training/examples.py",
        "training/fingerprints.py",
        "training/gradients.py",
        "training/heldout.py",
        "training/optimizer_maps.py",
        "training/progress.py",
        "training/ranking.py",
        "training/reports.py",
        "training/scorer.py",
        "training/settings.py",
        "training/sft.py",
        "training/sketch.py",
        "training/synthesizer.py",
        "training/warmup.py",
    ]
)
"""Files whose texts are still to be rewritten."""


def tracked(suffix: str) -> list[str]:
    """The files of a suffix that git tracks, by their paths."""
    listed = subprocess.run(["git", "ls-files", f"*{suffix}"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if path not in NOT_YET and (ROOT / path).exists()]


def docstrings(tree: ast.Module) -> Iterator[ast.Expr]:
    """The docstrings of modules, classes and functions, and the strings below a variable."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement


def faults_of_module(text: str) -> list[str]:
    """What is wrong with the docstrings and comments of a Python file, with line numbers."""
    tree, lines, found = ast.parse(text), text.splitlines(), []
    if not ast.get_docstring(tree):
        found.append("no docstring of the module")
    for docstring in docstrings(tree):
        for number in range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1):
            if len(lines[number - 1]) > LIMIT:
                found.append(f"line {number}: a docstring of {len(lines[number - 1])} characters")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.end[1] > LIMIT and not PRAGMA.match(token.string):
            found.append(f"line {token.start[0]}: a comment up to character {token.end[1]}")
    return found


def faults_of_prose(text: str) -> list[str]:
    """The long lines of a Markdown file. Tables, code blocks and single links do not count."""
    found, fence = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if fence or bare.startswith(("```", "~~~")):
            fence = "" if fence and bare.startswith(fence) else fence or bare[:3]
        elif len(line) > LIMIT and not bare.startswith("|") and not LINK.fullmatch(line):
            found.append(f"line {number}: {len(line)} characters")
    return found


@pytest.mark.parametrize("path", tracked(".py"))
def test_docstrings_and_comments_break_at_100_characters(path: str) -> None:
    assert faults_of_module((ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", tracked(".md"))
def test_prose_breaks_at_100_characters(path: str) -> None:
    assert faults_of_prose((ROOT / path).read_text(encoding="utf-8")) == []


# -- the checks themselves -------------------------------------------------------------------------


def test_all_rooms_are_checked() -> None:
    tops = {path.split("/")[0] for path in [*tracked(".py"), *sorted(NOT_YET)]}
    rooms = {"scoder.py", "builders", "store", "queries", "training", "commands", "recipes", "tests", "benchmarks"}
    assert tops >= rooms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""Short."""\n', []),
        ("x = 1\n", ["no docstring of the module"]),
        ("", ["no docstring of the module"]),
        (f'"""{"a" * 94}"""\n', []),
        (f'"""{"a" * 95}"""\n', ["line 1: a docstring of 101 characters"]),
        (f'"""A.\n\n{"b" * 101}\n"""\n', ["line 3: a docstring of 101 characters"]),
        (f'"""A."""\ndef f():\n    """{"b" * 91}"""\n', ["line 3: a docstring of 101 characters"]),
        (f'"""A."""\nif x:\n    Y = 1\n    """{"b" * 91}"""\n', ["line 4: a docstring of 101 characters"]),
        (f'"""A."""\nx = "{"c" * 110}"\n', []),
        (f'"""A."""\n# {"d" * 98}\n', []),
        (f'"""A."""\n# {"d" * 99}\n', ["line 2: a comment up to character 101"]),
        (f'"""A."""\nx = "{"e" * 80}"  # {"d" * 20}\n', ["line 2: a comment up to character 110"]),
        (f'"""A."""\nx = "{"e" * 90}"  # type: ignore[misc]\n', []),
        (f'"""A."""\nx = "{"e" * 90}"  # noqa: E501\n', []),
        (f'"""A."""\nx = "# {"f" * 100}"\n', []),
    ],
)
def test_a_long_docstring_a_long_comment_and_no_docstring_are_seen(text: str, expected: list[str]) -> None:
    assert faults_of_module(text) == expected


LONG = "word " * 21
URL = f"https://example.org/{'a' * 100}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A line.\n", []),
        (f"Title\n{LONG.strip()}\n", ["line 2: 104 characters"]),
        (f"| {LONG}|\n", []),
        (f"```\n{LONG}\n```\n", []),
        (f"~~~sh\n```\n{LONG}\n~~~\n", []),
        (f"```\ncode\n```\n{LONG.strip()}\n", ["line 4: 104 characters"]),
        (f"{URL}\n- [name]({URL})\n[name]: {URL}\n", []),
        (f"See {URL}\n", ["line 1: 124 characters"]),
    ],
)
def test_long_prose_is_seen_and_tables_code_and_links_are_free(text: str, expected: list[str]) -> None:
    assert faults_of_prose(text) == expected
