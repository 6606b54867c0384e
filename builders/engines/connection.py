"""The connections to an endpoint: bytes out, bytes in, and what broke on the way.

In: a method, a path and what aiohttp takes. Out: the body of an answer 2xx, piece by piece.

- `StatusError`: another status. Its meaning is the endpoint's to say.
- `PassingError`: no connection, a time-out or a cut one. All but the first may be paid for.
- `UnreadableError`: an answer whose headers or whose packing (`unpacking.py`) nobody can read. It
  is paid for, and the next one would look the same.

Redirects are not followed, as they would carry the key to another host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from builders.engines import reading
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.malformed import UnreadableError
from builders.engines.refusals import PassingError, short
from builders.engines.unpacking import ASKED_FOR, Unpacker

LONGEST_REFUSAL_BYTES = 64 * 2**10
# Some send their policy for browsers along, which is longer than the 8 KiB of most clients.
LONGEST_HEADER_BYTES = 256 * 2**10


class StatusError(Exception):
    """An answer that is not 2xx: its status, headers and text."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        super().__init__(status)
        self.status, self.headers, self.text = status, headers, text


@dataclass
class Head:
    """What came before the body of an answer."""

    headers: Mapping[str, str] = field(default_factory=dict)
    charset: str | None = None


class Connection:
    """See the module. It is made and used on the event loop. `redact` hides keys in messages."""

    def __init__(
        self,
        settings: OpenAISettings,
        address: str,
        headers: Mapping[str, str],
        proxy: str | None,
        redact: Callable[[str], str],
    ) -> None:
        parts = urlsplit(address)
        self.address, self._query = parts._replace(query="").geturl().rstrip("/"), parts.query
        self._redact = redact
        is_set = any(name.lower() == "accept-encoding" for name in headers)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.max_in_flight),
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
            headers=headers if is_set else {"Accept-Encoding": ASKED_FOR, **headers},
            proxy=proxy,
            auto_decompress=False,
            max_line_size=LONGEST_HEADER_BYTES,
            max_field_size=LONGEST_HEADER_BYTES,
        )

    async def chunks(self, method: str, path: str, head: Head, **options: Any) -> AsyncIterator[bytes]:
        """The body of an answer 2xx, piece by piece. `head` is filled before the first one."""
        try:
            async with self._session.request(method, self._url(path), allow_redirects=False, **options) as response:
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
        except aiohttp.ClientConnectorError as error:
            raise PassingError(self._short(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
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

    def _short(self, error: BaseException) -> str:
        return short(self._redact(f"{type(error).__name__}: {error}".rstrip(": ")))


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
