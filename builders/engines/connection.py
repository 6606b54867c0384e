"""The connections to an endpoint: bytes out, bytes in, and what broke on the way.

In: a method, a path and what aiohttp takes. Out: the body of an answer 2xx, piece by piece.

- `StatusError`: another status. Its meaning is the endpoint's to say.
- `ProxyError`: a proxy refuses to connect us. The endpoint never heard of the request.
- `PassingError`: no connection, a time-out or a cut one. It may be paid for if the request was
  sent.
- `UnreadableError`: an answer whose headers or whose packing (`unpacking.py`) nobody can read. It
  is paid for, and the next one would look the same.

Redirects are not followed, as they would carry the key to another host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from builders.engines import reading
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.malformed import UnreadableError
from builders.engines.proxies import LOGIN_HEADER, Proxy
from builders.engines.refusals import PassingError, short
from builders.engines.unpacking import ASKED_FOR, Unpacker

LONGEST_REFUSAL_BYTES = 64 * 2**10
# Some send their policy for browsers along, which is longer than the 8 KiB of most clients.
LONGEST_HEADER_BYTES = 256 * 2**10


# So that a connection that never comes is told from an answer that never comes.
CONNECT_SHARE = 0.9
UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What breaks before a request is sent. Nobody bills for that."""


class StatusError(Exception):
    """An answer that is not 2xx: its status, headers and text."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        super().__init__(status)
        self.status, self.headers, self.text = status, headers, text


class ProxyError(StatusError):
    """The answer of a proxy that does not connect us to the endpoint."""


@dataclass
class Head:
    """What came before the body of an answer, and whether the request may have been sent."""

    headers: Mapping[str, str] = field(default_factory=dict)
    charset: str | None = None
    is_sent: bool = False


class Connection:
    """See the module. It is made and used on the event loop. `redact` hides keys in messages."""

    def __init__(
        self,
        settings: OpenAISettings,
        address: str,
        headers: Mapping[str, str],
        proxy: Proxy | None,
        redact: Callable[[str], str],
    ) -> None:
        parts = urlsplit(address)
        self.address, self._query = parts._replace(query="").geturl().rstrip("/"), parts.query
        self._redact, self._proxy = redact, proxy
        own = {} if any(name.lower() == "accept-encoding" for name in headers) else {"Accept-Encoding": ASKED_FOR}
        login = {LOGIN_HEADER: proxy.login} if proxy and proxy.login else {}
        # Over https, the proxy gets the login and the endpoint the key. The headers of a session
        # would go to both, so each call brings its own. Over http, both read the same request.
        is_plain = parts.scheme == "http"
        self._options: dict[str, Any] = {"headers": {**own, **headers, **(login if is_plain else {})}}
        self._options |= {"proxy_headers": login, "proxy": proxy.url} if proxy else {}
        # Watching costs 0.06 ms for each call. Only with a proxy does much happen before a request.
        self._watches = [_watch()] if proxy else []
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.max_in_flight),
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s, sock_connect=CONNECT_SHARE * settings.timeout_s),
            trace_configs=self._watches,
            auto_decompress=False,
            max_line_size=LONGEST_HEADER_BYTES,
            max_field_size=LONGEST_HEADER_BYTES,
        )

    async def chunks(self, method: str, path: str, head: Head, **options: Any) -> AsyncIterator[bytes]:
        """The body of an answer 2xx, piece by piece. `head` is filled before the first one."""
        head.is_sent = not self._watches
        options = {"trace_request_ctx": head, "allow_redirects": False, **self._options, **options}
        try:
            async with self._session.request(method, self._url(path), **options) as response:
                head.headers, head.charset = response.headers, response.charset
                unpacker = Unpacker(response.headers.get("Content-Encoding", ""))
                if not 200 <= response.status < 300:
                    packed = await response.content.read(LONGEST_REFUSAL_BYTES)
                    raise StatusError(response.status, response.headers, _text_of(packed, unpacker, head.charset))
                async for chunk in response.content.iter_any():
                    for piece in unpacker.feed(chunk):
                        yield piece
                for piece in unpacker.end():
                    yield piece
        except aiohttp.ClientHttpProxyError as error:
            raise ProxyError(error.status, error.headers or {}, error.message) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, UNSENT) or not head.is_sent:
                of_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
                raise PassingError(self._short(error, f"{self._proxy}: " if of_proxy else "")) from None
            if _is_lasting(error):
                raise UnreadableError(f"the answer is no HTTP that can be read: {self._short(error)}") from None
            raise PassingError(self._short(error), is_paid=True) from None

    async def close(self) -> None:
        """Cancel all other tasks of the loop and leave the connections."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._session.close()

    def _url(self, path: str) -> str:
        """The address of a path, with the query that every call of this endpoint has."""
        if not self._query:
            return f"{self.address}/{path}"
        return f"{self.address}/{path}{'&' if '?' in path else '?'}{self._query}"

    def _short(self, error: BaseException, where: str = "") -> str:
        return short(where + self._redact(f"{type(error).__name__}: {error}".rstrip(": ")))


def _watch() -> aiohttp.TraceConfig:
    watch = aiohttp.TraceConfig()
    watch.on_request_headers_sent.append(_note_that_it_is_sent)
    return watch


async def _note_that_it_is_sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, sent: aiohttp.TraceRequestHeadersSentParams
) -> None:
    """A proxy is asked to connect us before that, and may fail at it."""
    context.trace_request_ctx.is_sent = True


def _text_of(packed: bytes, unpacker: Unpacker, charset: str | None) -> str:
    """What a refusal says, as far as it can be read. Its status counts in any case."""
    content = bytearray()
    try:
        for pieces in (unpacker.feed(packed), unpacker.end()):
            for piece in pieces:
                content += piece
                if len(content) >= LONGEST_REFUSAL_BYTES:
                    return reading.text_of(bytes(content[:LONGEST_REFUSAL_BYTES]), charset)
    except UnreadableError as unreadable:
        return reading.text_of(bytes(content), charset) or str(unreadable)
    return reading.text_of(bytes(content), charset)


def _is_lasting(error: BaseException) -> bool:
    """Whether an answer is whole and no HTTP that we read. One that was cut has no status line."""
    return isinstance(error, aiohttp.ClientResponseError) and "status line" not in error.message
