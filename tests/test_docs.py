"""What the documents name is there: files, functions in them, links."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
CURRENT = [name for name in DOCUMENTS if name != "docs/log.md"]
"""The log tells what was: a path in an old entry may be gone."""
FOLDERS = "benchmarks|builders|commands|docs|queries|recipes|store|tests|training"
NAMED = re.compile(rf"(?<![\w/.])((?:{FOLDERS})/[\w./-]*|scoder\.py)(?:: (\w+))?")
"""A path below the root, and the function after a colon, as in `builders/pool.py: values`."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def outside_code(text: str) -> list[str]:
    """The lines of a page that stand in no fenced block."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines()


def named(text: str) -> set[tuple[str, str]]:
    """Every path that stands in backticks, with the function that is named in it or ''."""
    spans = re.findall(r"`([^`\n]+)`", "\n".join(outside_code(text)))
    return {(path.rstrip("."), name) for span in spans for path, name in NAMED.findall(span) if "/data/" not in path}


def functions(path: Path) -> set[str]:
    """The functions and classes of a module, those inside classes too."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize("document", CURRENT)
def test_every_path_and_function_of_a_document_is_there(document: str) -> None:
    wrong = []
    for path, name in sorted(named(text_of(document))):
        file = ROOT / path
        if not file.exists() or (name and name not in functions(file)):
            wrong.append(f"{path}: {name}" if name else path)
    assert wrong == []


def test_the_documents_name_paths_and_functions() -> None:
    found = {one for document in CURRENT for one in named(text_of(document))}
    assert ("queries/pool_verdicts.sql", "") in found
    assert ("builders/pool.py", "values") in found
    assert ("scoder.py", "build_pool") in found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_of_a_document_leads_somewhere(document: str) -> None:
    text = text_of(document)
    for target in LINK.findall("\n".join(outside_code(text))):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), f"{document}: {target}"
        assert not heading or heading in headings(file.read_text()), f"{document}: {target}"


def headings(text: str) -> set[str]:
    """The headings of a page as the ends of links."""
    found = [line.lstrip("# ").lower() for line in outside_code(text) if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in found}


def test_the_readme_links_every_document() -> None:
    linked = set(LINK.findall(text_of("README.md")))
    assert {name for name in DOCUMENTS if name != "README.md"} - linked == set()
