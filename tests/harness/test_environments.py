"""An environment with what benchmarks import. Here pip finds packages in a folder alone."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from builders.harness.environments import build, named, packages
from builders.harness.tasks import Task
from store.errors import InputError


def task(name: str, solution: str, tests: str = "") -> Task:
    return Task(task_id=name, prompt="import re\n", solution=solution, tests=tests, entry_point="f")


def wheel(folder: Path, name: str, version: str = "1.0") -> None:
    """A package that holds one module of the same name."""
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", "VALUE = 7\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")


def test_packages_are_named_as_on_pypi_and_the_standard_library_is_none() -> None:
    tasks = [
        task("a", "import os, cv2\nfrom sklearn import svm\n", "import yaml"),
        task("b", "from PIL import Image\nfrom sklearn.svm import SVC\nimport json"),
    ]
    assert [(p.name, p.modules, p.tasks) for p in packages(tasks)] == [
        ("opencv-python-headless", ("cv2",), 1),
        ("pillow", ("PIL",), 1),
        ("pyyaml", ("yaml",), 1),
        ("scikit-learn", ("sklearn",), 2),
    ]


def test_packages_are_named_as_they_are_imported_or_as_on_pypi() -> None:
    found = {p.name: p.modules for p in named(["cv2", " scikit-learn", "pandas", ""])}
    assert found == {
        "opencv-python-headless": ("cv2",),
        "scikit-learn": ("sklearn",),
        "pandas": ("pandas",),
        "openpyxl": ("openpyxl",),
        "xlrd": ("xlrd",),
    }


def test_what_cannot_be_installed_does_not_keep_the_others_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels, folder, said = tmp_path / "wheels", tmp_path / "libraries", list[str]()
    wheels.mkdir()
    wheel(wheels, "natsort")
    wheel(wheels, "wordninja")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    wanted = packages([task("a", "import natsort, tqdm, wordninja")])
    found = build(folder, wanted, said.append)
    problems = {package.name: package.problem for package in found}
    assert problems["natsort"] is None and problems["wordninja"] is None
    assert (problems["tqdm"] or "").startswith("ERROR: No matching distribution found for tqdm")
    assert said[1].startswith("2 of 3: tqdm failed: ERROR")
    code = "import natsort, wordninja; print(natsort.VALUE + wordninja.VALUE)"
    done = subprocess.run([folder / "bin" / "python", "-c", code], capture_output=True, text=True)
    assert done.stdout == "14\n", done.stderr
    wheel(wheels, "tqdm")
    assert [package.problem for package in build(folder, wanted)] == [None, None, None]


def test_libraries_have_the_versions_that_the_tests_were_written_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("2.0.3", "3.1.1"):
        wheel(tmp_path, "pandas", version)
    wheel(tmp_path, "xlrd", "9.9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wanted = packages([task("a", "import pandas")])
    assert [package.name for package in wanted] == ["openpyxl", "pandas", "xlrd"]
    found = build(tmp_path / "libraries", wanted)
    # of xlrd there is only another version, and of openpyxl none
    assert [package.problem is None for package in found] == [False, True, True]
    names = {path.name for path in tmp_path.glob("libraries/lib/python3*/site-packages/*.dist-info")}
    assert {"pandas-2.0.3.dist-info", "xlrd-9.9.dist-info"} <= names


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="holds other files"):
        build(tmp_path, [])


@pytest.mark.drill
def test_what_is_no_known_library_is_named_and_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path, "stranger")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    (package,) = build(tmp_path / "libraries", packages([task("a", "import stranger")]))
    assert "it is no known library" in (package.problem or "") and "-m pip install stranger" in (package.problem or "")
    done = subprocess.run([tmp_path / "libraries" / "bin" / "python", "-c", "import stranger"], capture_output=True)
    assert done.returncode == 1
