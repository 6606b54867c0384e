"""Recipes over a few files of a test.

In: a folder and files that stand in the test. Out: a `Recipe`; the rows of a partition that was
built with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builders.engines import OpenAISettings
from builders.recipe import Recipe
from store import Store


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """A folder with these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def recipe(folder: Path, **sections: Any) -> Recipe:
    """A recipe whose only source is the folder, or what `sections` says. It loads no model."""
    whole = {
        "name": "test",
        "sources": [{"name": "here", "kind": "tree", "path": str(folder)}],
        "synthesizer": {"model": "none"},
        "coder": {"model": "none"},
        "sampling": {"checkpoints": 1},
        "executor": {"workers": 1},
    }
    return Recipe.model_validate(whole | sections)


def teacher(url: str | None = None, **given: Any) -> dict[str, Any]:
    """The section of a teacher at an endpoint: keys of the openai engine go into its block."""
    of_engine = {k: given.pop(k) for k in list(given) if k in OpenAISettings.model_fields}
    return {"model": "loopback", "engine": {"engine": "openai", "base_url": url} | of_engine, **given}


def read(store: Store, table: str, **partition: str | int) -> list[dict[str, Any]]:
    """All rows of a complete partition."""
    return [row for part in store.read(table, **partition) for row in part.to_pylist()]
