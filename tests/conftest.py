"""What tests share: a cache of their own, and a finished smoke run of the loop."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest
from filelock import FileLock

gc.disable()  # until all modules of tests are loaded: a fifth sooner


def pytest_configure() -> None:
    """Processes that tests start can be interrupted, and tables are as wide as in a pipe.

    A shell that runs pytest in the background lets it ignore SIGINT, and its children inherit that.
    Python's readline sets COLUMNS for the children of pytest, which are its workers.
    """
    os.environ.pop("COLUMNS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the smoke store come first.

    One worker gets them and makes the store, while the others go on with the rest.
    """
    items.sort(key=lambda item: "smoke_store" not in getattr(item, "fixturenames", ()))


def pytest_collection_finish() -> None:
    """What is loaded by now stays. Python need not look through it for garbage in every test."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the harness keeps of tasks goes into a folder of the session, not of the user."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(scope="session")
def smoke_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store after an uninterrupted run of recipes/smoke.yaml; tests must not change it.

    All workers of a session share it.
    """
    from tests import smoke_run  # it imports the command line, which looks at COLUMNS

    own = tmp_path_factory.getbasetemp()
    path = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "smoke-store"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            running = path.with_name("smoke-store-running")
            done = smoke_run.scoder_apart("run", str(smoke_run.RECIPE), "--store", str(running))
            assert done.returncode == 0, done.stderr[-4000:]
            running.rename(path)
    return path


@pytest.fixture
def forked_store(smoke_store: Path, tmp_path: Path) -> Path:
    """A copy of the finished smoke store that a test may change."""
    from tests import smoke_run

    path = tmp_path / "forked"
    done = smoke_run.scoder("fork", str(smoke_store), str(path), "--until", "evaluation")
    assert done.returncode == 0, done.stderr
    return path
