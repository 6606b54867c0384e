"""The wheel is the whole product: it holds every file that ships, and works where no checkout is.

In: the files that git tracks. They are copied, built into a wheel, and the wheel is installed into
a virtual environment of its own, inside somebody else's git repository, as people do. The packages
that SCoder requires are not installed again: a .pth file shows the new environment those of this
one. Python does not read .pth files of a folder that came in by one, so an editable install stays
out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
APART = {".ci", ".github", "benchmarks", "docs", "tests"}
"""Top-level folders that do not ship. Any other one must be in the wheel, a new one too."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files that ship are those that git tracks"),
]


def tracked() -> list[str]:
    """The files that git tracks and that are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that leftovers of earlier builds cannot get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    options = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--wheel-dir", str(folder)]
    built = [sys.executable, "-m", "pip", "wheel", "-q", *options, str(folder / "source")]
    subprocess.run(built, cwd=folder, check=True, timeout=300)
    (path,) = folder.glob("*.whl")
    return path


class Installed:
    """An environment with the wheel in it, and an empty folder to run commands from."""

    def __init__(self, wheel: Path, project: Path) -> None:
        subprocess.run(["git", "init", "-q", str(project)], check=True)
        who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
        subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "theirs"], cwd=project, check=True)
        self.environment = project / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.environment)], check=True)
        self.bin = self.environment / "bin"
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "-q", "--no-deps"]
        subprocess.run([*pip, str(wheel)], check=True, timeout=300)
        # only now: pip would take the SCoder of the other environment for an old one of this
        here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        self.packages = Path(self.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
        (self.packages / "required.pth").write_text("\n".join(sorted(here)))
        self.empty = project / "empty"
        self.empty.mkdir()

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment prints. It gets nothing of ours but the PATH."""
        given = {"PATH": os.environ["PATH"], "HOME": str(self.environment), "OMP_NUM_THREADS": "1"}
        where = getattr(self, "empty", self.environment)
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(command, cwd=where, env=given, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-4000:]}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def store(installed: Installed) -> Path:
    """A store that the wheel has built.

    It needed two worker processes, benchmarks, detectors, a type checker and queries.
    """
    path = installed.environment / "store"
    small = ["--set", "sources.0.max_files=20", "--set", "sources.0.files_per_shard=10", "--set", "executor.workers=2"]
    installed.run("scoder", "run", "smoke", "--until", "pool", "--store", str(path), *small)
    return path


def test_the_wheel_holds_every_file_that_ships_and_no_other(wheel: Path) -> None:
    wanted = {name for name in tracked() if "/" in name and name.split("/")[0] not in APART} | {"scoder.py"}
    assert len({Path(name).suffix for name in wanted}) >= 8, "the list from git is not what it was"
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if ".dist-info/licenses/" in name]
        assert [archive.read(name) for name in licences] == [(ROOT / "LICENSE").read_bytes()]
    assert sorted(wanted - found) == [], "not in the wheel; see [tool.setuptools.package-data]"
    assert sorted(found - wanted) == [], "in the wheel, but not of the project"


def test_nothing_of_the_checkout_is_in_sight(installed: Installed) -> None:
    names = ["builders", "commands", "queries", "scoder", "store", "training"]
    code = f"import importlib, json; print(json.dumps([importlib.import_module(n).__file__ for n in {names}]))"
    files = json.loads(installed.run("python", "-c", code))
    assert [Path(file).is_relative_to(installed.packages) for file in files] == [True] * len(names), files
    seen = installed.run("python", "-c", "import sys; print(*sys.path, *sys.meta_path, sep='\\n')").splitlines()
    assert str(ROOT) not in seen
    assert [finder for finder in seen if "editable" in finder.lower()] == []


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "recipes").glob("*.yaml")))
def test_a_recipe_is_planned_by_its_name(installed: Installed, name: str) -> None:
    plan = json.loads(installed.run("scoder", "run", name, "--dry-run", "--json"))
    assert len(plan["plan"]) > 5


def test_help_and_doctor(installed: Installed) -> None:
    assert "scoder run tiny" in " ".join(installed.run("scoder", "--help").split())
    found = {row["check"]: row for row in json.loads(installed.run("scoder", "doctor", "--json"))}
    assert found["scoder"]["ok"] and found["torch"]["ok"]
    assert found["sandbox"]["ok"] or shutil.which("bwrap") is None


def test_a_pool_is_built_and_asked(installed: Installed, store: Path) -> None:
    question = "SELECT count(*) AS n, count(DISTINCT snippet_id) AS ids FROM pool"
    (row,) = json.loads(installed.run("scoder", "sql", question, "--store", str(store), "--json"))
    assert row["n"] == row["ids"] >= 10
    assert "ok" in installed.run("scoder", "verify", "--store", str(store))


def test_the_run_records_name_the_version_and_not_a_commit_of_somebody_else(installed: Installed, store: Path) -> None:
    version = installed.run("python", "-c", "import importlib.metadata as m; print(m.version('scoder'))")
    records = [json.loads(file.read_text()) for file in store.glob("_runs/**/record.json")]
    assert len(records) > 5
    assert {record["code_version"] for record in records} == {version}


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="no bubblewrap: nothing may run")
def test_programs_run_in_the_sandbox_of_the_wheel(installed: Installed) -> None:
    benchmark = installed.packages / "recipes" / "demo-benchmark.jsonl"
    task = json.loads(benchmark.read_text().splitlines()[6])
    leak = installed.empty.parent / "leak.jsonl"
    leak.write_text(json.dumps({"text": task["prompt"] + task["canonical_solution"]}))
    hits = installed.empty.parent / "hits.parquet"
    asked = ["contamination", str(leak), "--benchmarks", str(benchmark), "--execute", "-o", str(hits), "--json"]
    installed.run("scoder", *asked)
    detectors = {(row["task_id"], row["detector"]) for row in pq.read_table(hits).to_pylist()}
    assert (task["task_id"], "execution") in detectors
