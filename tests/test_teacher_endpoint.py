"""The teacher over an OpenAI-compatible endpoint: a real HTTP server on loopback, the real command line."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from builders import recipe as recipes
from builders import teacher_samples
from builders.pairs import render
from store import Store
from tests.smoke_run import RECIPE, rows, scoder

KEY = "sk-never-written-anywhere"


class Teacher(BaseHTTPRequestHandler):
    """Answers with the function itself; every fifth distinct question gets no pair, every seventh call a 500."""

    calls: ClassVar[Counter[str]] = Counter()
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        code = re.search(r"```python\n(.*?)```", question, re.DOTALL).group(1)  # type: ignore[union-attr]
        with self.lock:
            if (sum(self.calls.values()) + 1) % 7 == 0:
                self.calls["failed"] += 1
                return self.answer(500, {"error": {"message": "overloaded"}})
            self.calls[question] += 1
            is_bad = len(self.calls) % 5 == 0
        text = "I would rather not." if is_bad else render("Write this function.", code)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        self.answer(200, {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}})

    def answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> str:
    Teacher.calls.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Teacher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def overrides(endpoint: str) -> list[str]:
    """The smoke recipe with a teacher at an endpoint, with prices."""
    teacher = f"{{engine: openai, model: loopback, base_url: '{endpoint}', num_snippets: 30, price_per_million_input: 1, price_per_million_output: 2}}"
    return [f"teacher={teacher}"]


def test_an_endpoint_fills_the_same_table(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    store, options = tmp_path / "store", [a for o in overrides(endpoint) for a in ("--set", o)]
    done = scoder("run", str(RECIPE), "--store", str(store), "--until", "teacher", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    samples = rows(store, "teacher_samples").to_pylist()
    rejected = [r for r in rows(store, "rejects").to_pylist() if r["stage"] == "teacher"]
    assert len(samples) + len(rejected) == 30 and rejected, "every snippet is a sample or a reject"
    assert {s["model"] for s in samples} == {"loopback"}
    assert all(s["cost_usd"] == pytest.approx((10 * 1 + 5 * 2) / 1e6) for s in samples)
    asked = {q: n for q, n in Teacher.calls.items() if q != "failed"}
    assert len(asked) == 30 and set(asked.values()) == {1}, "an answered question is never asked again"
    assert Teacher.calls["failed"] > 0, "the server failed sometimes, and was asked again"
    written = b"".join(p.read_bytes() for p in store.rglob("*") if p.is_file())
    assert KEY.encode() not in written and KEY not in done.stderr + done.stdout


def test_answers_that_were_paid_for_survive_a_kill(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    store = tmp_path / "store"
    assert scoder("run", str(RECIPE), "--store", str(store), "--until", "pool").returncode == 0
    recipe = recipes.load(RECIPE, overrides(endpoint))

    class Killed(BaseException):
        pass

    def die(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(teacher_samples, "_table", die)  # after the answers are journalled, before the shard is written
        with pytest.raises(Killed):
            teacher_samples.build(Store(store), recipe)
    asked = {q: n for q, n in Teacher.calls.items() if q != "failed"}
    assert len(asked) == 30
    teacher_samples.build(Store(store), recipe)
    assert {q: n for q, n in Teacher.calls.items() if q != "failed"} == asked, "nothing was asked again"


def test_a_missing_key_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    options = (
        "--set",
        "teacher={engine: openai, model: m, base_url: 'https://api.example.invalid/v1', num_snippets: 4}",
    )
    done = scoder("run", str(RECIPE), "--store", str(tmp_path / "s"), "--until", "teacher", *options)
    assert done.returncode in (1, 2) and "OPENAI_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
