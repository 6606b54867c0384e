"""A virtual environment with the libraries that the tasks of benchmarks import.

In: tasks. Out: a folder that the sandbox shows read-only to the answers. Each library is installed
by itself, so that one that cannot be installed does not keep the others away. Installing a package
can run its code, outside of the sandbox. So only libraries of the list in `libraries.py` are
installed, and not whatever a file of a benchmark imports.

A library has the version that BigCodeBench's tests were written for, if that can be installed, or
else the newest one. With the newest of all, more of its own solutions fail its tests. The file
`constraints.txt` in the folder holds the versions.

    found = build(Path("libraries"), packages(tasks))
    [package.name for package in found if package.problem]
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.harness.extraction import imports
from builders.harness.libraries import ALSO, KNOWN, PACKAGES, VERSIONS
from builders.harness.tasks import Task
from store import Announce, content_id
from store.errors import InputError, JobError
from store.files import check_folder, make_folder

INSTALL_S = 1800
"""Seconds that one library may take. Those that are compiled take longest."""


@dataclass(frozen=True)
class Package:
    """A package of PyPI, the modules that are imported from it, and in how many tasks.

    `problem` is the last line of pip's output, if it could not be installed.
    """

    name: str
    modules: tuple[str, ...]
    tasks: int
    problem: str | None = None


def contents(folder: str | None) -> str | None:
    """What answers find in an environment: how many packages, and a hash of their versions.

    None without an environment. InputError if there is none in the folder.

        contents("libraries")    # '33 packages 1f0e…'
    """
    if folder is None:
        return None
    places = list(Path(folder).glob("lib/python*/site-packages"))
    if not places:
        raise InputError(f"{folder} is no virtual environment: `scoder environment {folder} …` makes one")
    names = sorted(
        path.name for place in places for path in place.iterdir() if path.suffix in (".dist-info", ".egg-info")
    )
    return f"{len(names)} packages {content_id(*names)}"


def packages(tasks: Iterable[Task]) -> list[Package]:
    """The packages that solutions, prompts and tests import, without the standard library."""
    modules: dict[str, set[str]] = {}
    wanted: dict[str, set[str]] = {}
    for task in tasks:
        texts = (task.solution or "", task.prompt, task.prompt + (task.solution or ""), task.tests)
        found = set().union(*map(imports, texts)) - sys.stdlib_module_names
        for module in found.union(*(ALSO.get(name, ()) for name in found)):
            name = PACKAGES.get(module, module)
            modules.setdefault(name, set()).add(module)
            wanted.setdefault(name, set()).add(task.task_id)
    return [Package(name, tuple(sorted(modules[name])), len(wanted[name])) for name in sorted(modules, key=str.lower)]


def named(names: Iterable[str]) -> list[Package]:
    """The packages of these names, as they are imported or as they are called on PyPI.

    named(["cv2"])[0].name    # opencv-python-headless
    """
    imported = {package: module for module, package in PACKAGES.items()}
    modules = {name.strip() if name.strip() in PACKAGES else imported.get(name.strip(), name.strip()) for name in names}
    wanted = {n for module in modules if module for n in (module, *ALSO.get(module, ()))}
    return [Package(PACKAGES.get(name, name), (name,), 0) for name in sorted(wanted, key=str.lower)]


def build(folder: Path, wanted: Sequence[Package], announce: Announce = lambda message: None) -> list[Package]:
    """Make or complete the environment. Returns the packages, with what went wrong with each.

    It has the interpreter of the sandbox, because compiled libraries fit one version of Python.
    """
    check_folder(folder)
    python = folder / "bin" / "python"
    if folder.exists() and not python.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds other files, and no virtual environment: give a new folder")
    if not python.exists():
        make_folder(folder)
        _run([os.path.realpath(sys.executable), "-m", "venv", str(folder)], f"the environment {folder} cannot be made")
    versions = folder / "constraints.txt"
    versions.write_text(VERSIONS, encoding="utf-8")
    found = []
    for number, package in enumerate(wanted, start=1):
        problem = (
            _install(python, package.name, versions) if KNOWN.issuperset(package.modules) else _unknown(python, package)
        )
        announce(f"{number} of {len(wanted)}: {package.name}{f' failed: {problem}' if problem else ''}")
        found.append(Package(package.name, package.modules, package.tasks, problem))
    return found


def _install(python: Path, name: str, versions: Path) -> str | None:
    """Install one package, in another version if there must be. Returns what went wrong."""
    if _pip(python, name, "--only-binary", ":all:", "--constraint", str(versions)) is None:
        return None
    return _pip(python, name)


def _pip(python: Path, *options: str) -> str | None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"it took longer than {INSTALL_S} s"
    return None if done.returncode == 0 else _last_line(done.stderr or done.stdout)


def _unknown(python: Path, package: Package) -> str:
    return f"it is no known library; if you trust it: {python} -m pip install {package.name}"


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise JobError(f"{failure}: {_last_line(done.stderr or done.stdout)}")


def _last_line(text: str) -> str:
    """The last line that tells of an error, or else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it said nothing"])[-1]
