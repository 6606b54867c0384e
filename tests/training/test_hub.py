"""The Hub, which is a real server here, is asked once about what is neither here nor cached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from training import hub
from training.errors import TrainingError


class Hub(BaseHTTPRequestHandler):
    """It has no file, and writes down what it was asked for."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is said of requests."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths that a Hub is asked for, with empty caches."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Hub.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        _point(monkeypatch, at, tmp_path)
        yield Hub.asked
        server.shutdown()


def _point(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path, is_offline: bool = False) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", is_offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(cache / "datasets"))
    hub._ask.cache_clear()


def test_what_looks_like_a_path_is_refused_without_a_question(asked):
    for place in ("./model", "../model", "/no/model", "~/model", "a/b/c", "a b", "owner/", ".hidden"):
        with pytest.raises(TrainingError, match=r"no folder .* check the path"):
            hub.require("model", place)
    assert asked == []


def test_the_hub_is_asked_once_and_its_answer_is_for_the_library(asked, capsys):
    for _ in range(2):
        hub.require("model", "owner/name", "abc")
        hub.require("dataset", "rows")
    assert asked == ["/owner/name/resolve/abc/config.json", "/datasets/rows/resolve/main/README.md"]
    assert capsys.readouterr().err == "looking for owner/name on the Hub\nlooking for rows on the Hub\n"


def test_folders_and_cached_repositories_need_no_question(asked, tmp_path):
    hub.require("model", str(tmp_path))
    (tmp_path / "hub/models--owner--name/snapshots/abc").mkdir(parents=True)
    hub.require("model", "owner/name")
    hub.require("adapter", "owner/name")
    (tmp_path / "datasets/owner___human_eval").mkdir(parents=True)
    hub.require("dataset", "owner/HumanEval")
    assert asked == []
    hub.require("dataset", "owner/name")
    assert len(asked) == 1


def test_a_hub_that_cannot_be_reached_is_said_after_one_try(tmp_path, monkeypatch, unused_port):
    endpoint = f"http://127.0.0.1:{unused_port}"
    _point(monkeypatch, endpoint, tmp_path)
    for kind in ("model", "adapter", "dataset"):
        with pytest.raises(TrainingError, match=f"no {kind} owner/name here, and {endpoint} cannot be asked"):
            hub.require(kind, "owner/name")
    _point(monkeypatch, endpoint, tmp_path, is_offline=True)
    hub.require("model", "owner/name")


@pytest.fixture
def unused_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        return server.server_port
