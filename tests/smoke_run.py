"""Running commands as a user does, mostly on the smoke recipe's store, and comparing stores."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import commands
from store import CONTRACTS, Store, segments
from store.catalog import connect

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes" / "smoke.yaml"


def command(*arguments: str) -> list[str]:
    """`scoder …` in this interpreter."""
    return [sys.executable, "-m", "commands", *map(str, arguments)]


def scoder(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, from the folder of the project."""
    return scoder_here(*arguments)


def scoder_apart(*arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a process of its own."""
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def scoder_here(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end by its entry point in this process.

    That saves the seconds that imports take: one, and some five where a model is loaded.
    """
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(folder)
        # the entry point sets it, and it must not stay set
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        # it freezes what is loaded, which here would be all that the tests before it left
        patch.setattr(gc, "freeze", lambda: None)
        patch.setattr(sys, "argv", ["scoder", *arguments])
        with pytest.raises(SystemExit) as end:
            commands.main()
    return subprocess.CompletedProcess(arguments, int(end.value.code or 0), out.getvalue(), err.getvalue())


def contents(store: Path) -> dict[str, str]:
    """Partition -> fingerprint of plan and Parquet bytes: equal fingerprints are equal bytes."""
    return {segments(r.plan.table, r.plan.partition): r.content for r in Store(store).records()}


def unmeasured(found: dict[str, str]) -> dict[str, str]:
    """Contents without those of `evaluations`, which hold seconds, and of what reads them."""
    return {k: content for k, content in found.items() if not k.startswith(("evaluations", "metrics/name-pass_at_1"))}


def trained_weights(store: Path) -> dict[str, str]:
    """The weights of all checkpoints: a file, and the hash of its bytes."""
    files = sorted((store / "_models").rglob("*.safetensors"))
    return {str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rows(store: Path, table: str) -> pa.Table:
    """All rows of a table, ordered by its key and then by all columns. Seconds are left out."""
    contract = CONTRACTS[table]
    columns = [name for name in contract.schema.names if (table, name) != ("evaluations", "seconds")]
    order = ", ".join([*contract.key, *(name for name in columns if name not in contract.key)])
    names = ", ".join(columns)
    return connect(Store(store)).sql(f"SELECT {names} FROM {table} ORDER BY {order}").to_arrow_table()
