"""Proxies before an endpoint: their login is sent and shown nowhere, and their refusals cost
nothing.

The proxies are real sockets on loopback. No endpoint is there: whoever asks for it learns what the
proxy says.
"""

from __future__ import annotations

import base64
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterator

import pytest

from builders.engines import Completion, OpenAISettings, answers, endpoint, open_engine
from builders.engines.proxies import proxy_of
from builders.engines.redaction import hider
from tests.engines.test_odd_endpoints import chats

AWAY = "https://llm.example.com/v1"
LOGINS = ["bob:Winter%212026%24x@", "bob:pa55wd@", "bob:%C3%BC%2Fx@", "tok_5@"]


class RefusingProxy:
    """Answers every request with this status. `said` are the heads that it got."""

    def __init__(self, status: int, body: str = "<html>no</html>", before: bytes | None = None) -> None:
        self.said: list[str] = []
        self._answer = (
            before
            if before is not None
            else (f"HTTP/1.1 {status} Nope\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.said.append(connection.recv(2**16).decode())
                connection.sendall(self._answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def proxy(monkeypatch) -> Iterator[Callable[..., RefusingProxy]]:
    started: list[RefusingProxy] = []
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(endpoint, "FIRST_BACKOFF_S", 0.005)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")

    def start(*arguments, login: str = "", variable: str = "https_proxy", **options) -> RefusingProxy:
        started.append(RefusingProxy(*arguments, **options))
        monkeypatch.setenv(variable, f"http://{login}{started[-1].host}")
        return started[-1]

    yield start
    for one in started:
        one.close()


def away(**changes) -> OpenAISettings:
    return OpenAISettings(**{"base_url": AWAY, "max_retries": 2, "timeout_s": 5, **changes})


def failed(settings: OpenAISettings, folder, number: int = 3) -> list[Completion]:
    with open_engine(settings, "m", spent=answers.spent_in(folder, settings)) as engine:
        return list(engine.generate(chats(number)))


def shown(login: str) -> list[str]:
    """What no message may hold: user and password, as they are written and as they are meant."""
    decoded = {"Winter%212026%24x": "Winter!2026$x", "%C3%BC%2Fx": "ü/x"}
    words = [word for word in login[:-1].split(":") if word != "bob"]
    return [form for word in words for form in (word, decoded.get(word, word))] + ["bob"]


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("status", [407, 503])
def test_the_login_of_a_proxy_is_sent_and_shown_nowhere(proxy, tmp_path, capfd, login, status):
    there = proxy(status, login=login)
    try:
        told = [one.error for one in failed(away(headers={"X-Team": "7"}), tmp_path)]
    except PermissionError as error:
        told = [str(error)]
    assert "sk-123" not in there.said[0] and "X-Team" not in there.said[0], "nor does the proxy get the key"
    head = next(line for line in there.said[0].splitlines() if line.startswith("Proxy-Authorization: Basic "))
    user, password = base64.b64decode(head.split()[-1]).decode().split(":")
    assert [user, password][user == "bob"] in shown(login)
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for text in (*told, *capfd.readouterr(), written):
        assert not [form for form in (*shown(login), head.split()[-1]) if form in text], text
    assert all(f"the proxy http://{there.host} (of the variable https_proxy)" in text for text in told)


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (407, PermissionError, "another user name and password"),
        (403, PermissionError, r"add llm\.example\.com to no_proxy"),
        (302, ValueError, "check the address in HTTPS_PROXY"),
        (405, ValueError, "check the address in HTTPS_PROXY"),
        (501, ValueError, "check the address in HTTPS_PROXY"),
    ],
)
def test_a_refusal_of_a_proxy_ends_the_run_and_costs_nothing(proxy, tmp_path, status, kind, says):
    there = proxy(status, variable="HTTPS_PROXY")
    capped = away(budget_tokens=40_000)
    with pytest.raises(kind, match=rf"{there.host} \(of the variable HTTPS_PROXY\) answered {status}.*{says}"):
        failed(capped, tmp_path, 36)
    assert len(there.said) <= 4 and answers.spent_in(tmp_path, capped).tokens == 0


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_may_let_us_through_later_is_asked_again_and_costs_nothing(proxy, tmp_path, status):
    there = proxy(status)
    capped = away(budget_tokens=2_000)
    found = failed(capped, tmp_path)
    assert [one.error.split(":")[0] for one in found] == ["gave up after 3 attempts"] * 3 and len(there.said) == 9
    assert {one.num_prompt_tokens + one.num_completion_tokens for one in found} == {0}
    assert answers.spent_in(tmp_path, capped).tokens == 0 and there.host in found[0].error


@pytest.mark.parametrize("said", [b"", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 200 OK\r\n\r\nno TLS here"])
def test_what_breaks_before_the_request_is_sent_costs_nothing(proxy, tmp_path, said):
    proxy(0, before=said)
    capped = away(budget_tokens=2_000, timeout_s=1)
    found = failed(capped, tmp_path)
    assert [one.error.split(":")[0] for one in found] == ["gave up after 3 attempts"] * 3
    assert answers.spent_in(tmp_path, capped).tokens == 0


def test_a_connection_that_never_comes_costs_nothing(proxy, tmp_path):
    """A listener whose queue is full: the kernel answers no more."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            capped = away(
                base_url=f"http://127.0.0.1:{address[1]}/v1", timeout_s=0.2, max_retries=0, budget_tokens=2_000
            )
            (found,) = failed(capped, tmp_path, 1)
    assert "gave up after 1 attempts" in found.error and answers.spent_in(tmp_path, capped).tokens == 0


def test_over_plain_http_the_proxy_gets_the_login_and_its_407_ends_the_run(proxy, tmp_path):
    there = proxy(407, "user bob with Winter!2026$x is unknown", login=LOGINS[0], variable="http_proxy")
    plain = away(base_url="http://llm.example.com/v1", allow_http=True)
    with pytest.raises(PermissionError, match=r"\(of the variable http_proxy\) answered 407") as raised:
        failed(plain, tmp_path)
    assert "Proxy-Authorization: Basic " in there.said[0] and "Winter" not in str(raised.value)
    assert "user [key] with [key] is unknown" in str(raised.value)


@pytest.mark.parametrize(
    "value",
    ["http://bob:Secret#1@host:3128", "http://bob:12/Secret@host:3128", "http://bob:Secret?@host", "http://[bob:Secret",
     "http://bob:Secret@host:port", "http://:Secret@", "bob:Secret#1@host:3128"],
)  # fmt: skip
def test_an_address_of_a_proxy_that_cannot_be_read_is_not_quoted(proxy, monkeypatch, value):
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(ValueError, match="https_proxy holds no address of a proxy that can be read") as raised:
        proxy_of(AWAY)
    assert "Secret" not in "".join(traceback.format_exception(raised.value))


def test_addresses_of_proxies(proxy, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "proxy.example:3128")
    found = proxy_of(AWAY)
    assert found is not None and (found.url, found.variable, found.login) == (
        "http://proxy.example:3128",
        "ALL_PROXY",
        "",
    )
    monkeypatch.setenv("https_proxy", "socks5://bob:Secret@host")
    with pytest.raises(ValueError, match="https_proxy is of the kind 'socks5'") as raised:
        proxy_of(AWAY)
    assert "Secret" not in str(raised.value)
    monkeypatch.setenv("no_proxy", "example.com")
    assert proxy_of(AWAY) is None


def test_a_short_password_is_hidden_where_it_stands_alone():
    hide = hider(["sk-1234567890"], ["no", "a$b", ""])
    assert hide("no, it is noted: a$b, sk-1234567890") == "[key], it is noted: [key], [key]"


def test_over_plain_http_a_403_may_be_of_the_proxy(proxy, tmp_path):
    there = proxy(403, variable="http_proxy")
    plain = away(base_url="http://llm.example.com/v1", allow_http=True)
    with pytest.raises(PermissionError, match=rf"completions, or the proxy http://{there.host} .*answered 403"):
        failed(plain, tmp_path)
