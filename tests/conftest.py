"""One finished smoke run that the tests of the loop and of the commands read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import smoke_run


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups that one worker runs (`pytest -n`): a module, whose fixtures are then made once; all readers of the smoke run."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            reads_smoke = "smoke_store" in getattr(item, "fixturenames", ())
            group = "smoke" if reads_smoke else item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def smoke_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after an uninterrupted run of recipes/smoke.yaml; tests must not change it."""
    path = tmp_path_factory.mktemp("smoke") / "store"
    done = smoke_run.scoder("run", str(smoke_run.RECIPE), "--store", str(path))
    assert done.returncode == 0, done.stderr[-4000:]
    return path


@pytest.fixture
def forked_store(smoke_store: Path, tmp_path: Path) -> Path:
    """A copy of the finished smoke store that a test may change."""
    path = tmp_path / "forked"
    done = smoke_run.scoder("fork", str(smoke_store), str(path), "--until", "evaluation")
    assert done.returncode == 0, done.stderr
    return path
