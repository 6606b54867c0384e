"""Who may read what: prompts and answers only the user, all else whom the umask allows."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from store.files import private

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from builders.engines.types import Completion
from builders.engines.batch_state import BatchState
from builders.engines.journal import Journal
from builders.publishing import sets
from store import Store
from tests.rows import put
folder = Path(sys.argv[1])
store = Store(folder / "store")
put(store, "raw_pool", [{"snippet_id": "s", "code": "x = 1"}])
sets.table(store, "raw_pool", str(folder / "published"))
journal = Journal(folder / "journal")
journal.add(0, Completion("r", "an answer", "stop", 1, 1, None), None)
journal.close()
BatchState(folder / "batches.jsonl").begin(["a prompt"])
"""
PRIVATE = {"journal/shard-00000.jsonl", "batches.jsonl"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_journals_are_the_users_alone_and_tables_follow_the_umask(tmp_path: Path, umask: int) -> None:
    program = PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, umask=umask, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = {str(p.relative_to(tmp_path)): stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    files = {name for name in found if (tmp_path / name).is_file()}
    assert files >= PRIVATE | {"store/raw_pool/part-00000.parquet", "published/README.md"}
    for name, mode in found.items():
        usual = 0o666 if name in files else 0o777
        assert mode == (0o600 if name in PRIVATE else usual & ~umask), (name, oct(mode))


def test_a_journal_of_an_earlier_run_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text(json.dumps({}))
    path.chmod(0o644)
    with open(path, "a", opener=private):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
