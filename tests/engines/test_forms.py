"""Which forms a model can be asked in, found out before anything that counts is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.engines import OpenAISettings, TransformersSettings
from builders.engines.forms import left_out, require_host
from store.errors import DeniedError, InputError, JobError, UnreachableError
from tests.engine_models import save_tokenizer
from tests.fault_server import FaultServer, ok, status

BOTH = ("completion", "chat")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], FaultServer]]:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setattr("builders.engines.endpoint.FIRST_BACKOFF_S", 0.01)
    servers: list[FaultServer] = []

    def start(answer: Any) -> FaultServer:
        servers.append(FaultServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def settings(server: FaultServer, **given: Any) -> OpenAISettings:
    return OpenAISettings(base_url=server.url, max_retries=1, **given)


def test_a_tokenizer_without_a_template_has_no_chat(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    assert left_out(TransformersSettings(), str(tmp_path), forms=BOTH) == {}
    (tmp_path / "chat_template.jinja").unlink()
    found = left_out(TransformersSettings(), str(tmp_path), forms=BOTH)
    assert found == {"chat": f"the tokenizer of {tmp_path} has no chat template"}
    assert left_out(TransformersSettings(), str(tmp_path), forms=("completion",)) == {}
    with pytest.raises(InputError, match="cannot be asked in the form chat"):
        left_out(TransformersSettings(), str(tmp_path), forms=("chat",))


@pytest.mark.parametrize("code", [400, 404])
def test_an_endpoint_without_completions_says_so(serve: Callable[[Any], FaultServer], code: int) -> None:
    server = serve(lambda body, _: ok() if "messages" in body else status(code, "a chat model"))
    found = left_out(settings(server), "m", forms=BOTH)
    assert list(found) == ["completion"] and str(code) in found["completion"]
    assert [body["max_tokens"] for _, body, _ in server.seen] == [1, 1]


def test_an_endpoint_is_not_asked_where_it_need_not_be(serve: Callable[[Any], FaultServer]) -> None:
    server = serve(lambda body, _: ok())
    left_out(settings(server), "m", forms=("chat",))
    left_out(settings(server), "m", forms=BOTH, answered=BOTH)
    left_out(settings(server, batch=True), "m", forms=BOTH)
    assert not server.seen


def test_an_endpoint_that_takes_nothing_ends_the_work(serve: Callable[[Any], FaultServer]) -> None:
    with pytest.raises(JobError, match="cannot be asked in the form completion or chat"):
        left_out(settings(serve(lambda body, _: status(400, "no"))), "m", forms=BOTH)
    with pytest.raises(UnreachableError, match="does not answer: gave up after 2 attempts: 500"):
        left_out(settings(serve(lambda body, _: status(500, "down"))), "m", forms=BOTH)
    with pytest.raises(DeniedError, match="OPENAI_API_KEY"):
        left_out(settings(serve(lambda body, _: status(401, "no"))), "m", forms=BOTH)


def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(UnreachableError, match=r"the host 'no-such-host\.invalid'"):
        require_host(OpenAISettings(base_url="http://no-such-host.invalid/v1"))
    require_host(OpenAISettings(base_url="http://127.0.0.1:1/v1"))
    require_host(TransformersSettings())
