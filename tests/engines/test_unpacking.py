"""How answers are packed: what is asked for, what is read, and what is never paid for twice."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from builders.engines import Completion, OpenAISettings, Request, endpoint, open_engine
from builders.engines.malformed import UnreadableError
from builders.engines.protocol import ESTIMATED
from builders.engines.unpacking import PIECE_BYTES, Unpacker
from tests.fault_server import FaultServer, ok, servers

PLAIN = ok("hi " * 300).body
RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATE = RAW.compress(PLAIN) + RAW.flush()
BROTLI = b"\x8b\x00\x80" + bytes(range(128, 250)) * 2
HALF = len(gzip.compress(PLAIN)) // 2
BROKEN = gzip.compress(PLAIN)[:HALF] + b"\xff" * 60
USER = ({"role": "user", "content": "n0"},)


def unpacked(encoding: str, content: bytes, size: int = 2**30) -> bytes:
    unpacker = Unpacker(encoding)
    pieces = [p for at in range(0, len(content), size) for p in unpacker.feed(content[at : at + size])]
    return b"".join([*pieces, *unpacker.end()])


@pytest.mark.parametrize("size", [1, 7, 2**20])
@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("", PLAIN),
        ("identity", PLAIN),
        ("gzip", gzip.compress(PLAIN)),
        ("X-Gzip", gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:])),
        ("gzip", gzip.compress(PLAIN) + b"\0\0"),
        ("deflate", zlib.compress(PLAIN)),
        ("deflate", RAW_DEFLATE),
        ("deflate, gzip", gzip.compress(zlib.compress(PLAIN))),
        ("gzip", PLAIN),
        ("deflate", PLAIN),
        ("br", PLAIN),
        ("zstd", "é".encode() * 40),
    ],
)
def test_what_was_packed_comes_back_and_what_was_not_stays(encoding: str, content: bytes, size: int) -> None:
    expected = "é".encode() * 40 if encoding == "zstd" else PLAIN
    assert unpacked(encoding, content, size) == expected


@given(st.binary(max_size=300), st.integers(1, 40), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_come_back(content: bytes, size: int, encoding: str) -> None:
    packed = gzip.compress(content) if encoding == "gzip" else zlib.compress(content)
    assert unpacked(encoding, packed, size) == content


@pytest.mark.parametrize(("encoding", "content"), [("br", BROTLI), ("gzip", BROKEN), ("deflate", b"\xff" * 99)])
def test_what_cannot_be_read_says_so(encoding: str, content: bytes) -> None:
    with pytest.raises(UnreadableError, match=f"packed as '?{encoding}"):
        unpacked(encoding, content)


def test_a_bomb_comes_in_pieces() -> None:
    bomb = gzip.compress(b"\0" * 40 * PIECE_BYTES)
    for total, piece in enumerate(Unpacker("gzip").feed(bomb)):
        assert len(piece) <= PIECE_BYTES
        if total == 3:
            return
    pytest.fail("it came at once")


# -- over an endpoint ------------------------------------------------------------------------------


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., FaultServer]]:
    monkeypatch.setattr(endpoint, "FIRST_BACKOFF_S", 0.02)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234567890")
    with servers() as start:
        yield lambda answer: start(answer, lambda body: 0.0)


def packed(content: bytes, encoding: str, code: int = 200) -> web.Response:
    return web.Response(status=code, body=content, headers={"Content-Encoding": encoding})


def asked(server: FaultServer) -> tuple[Completion, int]:
    """The answer to one request of at most 82 + 40 tokens, and the tokens that a budget counts."""
    given = OpenAISettings(base_url=server.url, max_retries=2, timeout_s=5, budget_tokens=10**6)
    with open_engine(given, "m") as engine:
        (found,) = engine.generate([Request("r", messages=USER, max_tokens=40)])
        return found, engine._endpoint.gate.budget.spent.tokens


@pytest.mark.parametrize(
    ("encoding", "content"), [("br", BROTLI), ("gzip", BROKEN), ("zstd", b"\x28\xb5\x2f\xfd" * 20)]
)
def test_a_packing_that_nobody_reads_is_paid_once(serve, encoding, content) -> None:
    server = serve(lambda body, _: packed(content, encoding))
    found, spent = asked(server)
    assert found.finish_reason == "error" and "packed as" in found.error and encoding in found.error
    assert (found.num_prompt_tokens, found.num_completion_tokens, found.notes) == (82, 40, (ESTIMATED,))
    assert len(server.seen) == 1 and spent == 122


def test_a_packing_that_was_cut_is_asked_again_and_counted(serve) -> None:
    cut = gzip.compress(PLAIN)[:HALF]
    server = serve(lambda body, attempt: packed(cut, "gzip") if attempt == 0 else ok("hi"))
    found, spent = asked(server)
    assert found.text == "hi" and len(server.seen) == 2 and spent == 122 + 9


def test_a_packing_that_is_none_is_read_and_only_ours_is_asked_for(serve) -> None:
    server = serve(lambda body, _: packed(ok("hi").body, "gzip"))
    assert asked(server)[0].text == "hi" and len(server.seen) == 1
    assert server.seen[0][2]["Accept-Encoding"] == "gzip, deflate"


def test_an_answer_without_end_is_paid_once(serve, monkeypatch) -> None:
    monkeypatch.setattr(endpoint, "LONGEST_ANSWER_BYTES", 5 * PIECE_BYTES)
    bomb = gzip.compress(b" " * 40 * PIECE_BYTES)
    server = serve(lambda body, _: packed(bomb, "gzip"))
    found, _ = asked(server)
    assert "longer than 5,242,880 bytes" in found.error and len(server.seen) == 1


@pytest.mark.parametrize(("encoding", "content"), [("br", BROTLI), ("gzip", BROKEN)])
def test_a_refusal_that_cannot_be_read_is_a_refusal_and_costs_nothing(serve, encoding, content) -> None:
    server = serve(lambda body, _: packed(content, encoding, 400))
    found, spent = asked(server)
    assert found.error.startswith("400: ") and len(server.seen) == 1 and spent == 0


def test_a_packed_refusal_teaches(serve) -> None:
    told = json.dumps({"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}).encode()
    server = serve(lambda body, _: packed(gzip.compress(told), "gzip", 400) if "seed" in body else ok("hi"))
    found, spent = asked(server)
    assert found.text == "hi" and "seed" not in server.seen[-1][1] and spent == 9


def test_a_packed_refusal_of_pace_is_one(serve) -> None:
    server = serve(lambda body, attempt: packed(BROTLI, "br", 429) if attempt == 0 else ok("hi"))
    assert asked(server) == (asked(serve(lambda body, _: ok("hi")))[0], 9)
    assert len(server.seen) == 2
