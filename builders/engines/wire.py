"""The connections of an endpoint: a request goes out, and the bytes of its answer come back.

In: a method, a path and a body. Out: the bytes of an answer 2xx. `StatusError` is any other status,
with its text. `PassingError`: the connection failed. `UnreadableError`: what came is too long, or is
packed as we cannot read it (`unpacking.py`). There are no retries here.

The key goes into the header of the connection and nowhere else. Redirects are not followed, as they
would carry the key to another host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from builders.engines import reading
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.reading import UnreadableError
from builders.engines.refusals import PassingError, short
from builders.engines.unpacking import ASKED_FOR, Unpacker
from store.files import private

# A completion is a few kilobytes. A broken endpoint must not fill our memory.
LONGEST_ANSWER_BYTES = 64 * 2**20
LONGEST_REFUSAL_BYTES = 64 * 2**10


class StatusError(Exception):
    """An answer that is not 2xx: its status, its headers and its text."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        super().__init__(f"status {status}")  # the text may repeat a key
        self.status, self.headers, self.text = status, headers, text


class Wire:
    """See the module. Made and used on the event loop; `address` is where its paths begin."""

    def __init__(
        self,
        settings: OpenAISettings,
        base_url: str,
        headers: Mapping[str, str],
        proxy: str | None,
        redact: Callable[[str], str],
    ) -> None:
        parts = urlsplit(base_url)
        self.address, self._query = parts._replace(query="").geturl().rstrip("/"), parts.query
        self._redact, self._timeout_s = redact, settings.timeout_s
        is_set = any(name.lower() == "accept-encoding" for name in headers)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.max_in_flight),
            timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
            headers=headers if is_set else {"Accept-Encoding": ASKED_FOR, **headers},
            proxy=proxy,
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Cancel what is under way on the loop, and leave the connections."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._session.close()

    async def received(self, method: str, path: str, **options: Any) -> tuple[bytes, Mapping[str, str]]:
        """The body of an answer 2xx, and those of its headers that tell of its pace."""
        content, headers = bytearray(), dict[str, str]()
        async for chunk in self._chunks(method, path, headers, **options):
            content += chunk
            if len(content) > LONGEST_ANSWER_BYTES:
                raise UnreadableError(f"the answer is longer than {LONGEST_ANSWER_BYTES:,} bytes")
        return bytes(content), headers

    async def download(self, path: str, target: Path) -> None:
        """Write the body of an answer 2xx into a file, however long it is."""
        # A large file may take long, so only silence counts as a time-out.
        timeout = aiohttp.ClientTimeout(total=None, sock_read=self._timeout_s)
        with open(target, "wb", opener=private) as handle:
            async for chunk in self._chunks("GET", path, {}, timeout=timeout):
                handle.write(chunk)

    async def _chunks(self, method: str, path: str, answered: dict[str, str], **options: Any) -> AsyncIterator[bytes]:
        """The body of an answer 2xx, piece by piece. Its pace headers are put into `answered`."""
        try:
            async with self._session.request(method, self._url(path), allow_redirects=False, **options) as response:
                unpacker = Unpacker(response.headers.get("Content-Encoding", ""))
                if not 200 <= response.status < 300:
                    packed = await response.content.read(LONGEST_REFUSAL_BYTES)
                    raise StatusError(response.status, response.headers, _text_of(packed, unpacker))
                if (wait := response.headers.get("Retry-After")) is not None:
                    answered["Retry-After"] = wait
                async for chunk in response.content.iter_any():
                    for piece in unpacker.feed(chunk):
                        yield piece
                for piece in unpacker.end():
                    yield piece
        except aiohttp.ClientConnectorError as error:
            raise PassingError(self._short(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PassingError(self._short(error), is_paid=True) from None

    def _url(self, path: str) -> str:
        """The address of a path, with the query that every call of this endpoint has."""
        if not self._query:
            return f"{self.address}/{path}"
        return f"{self.address}/{path}{'&' if '?' in path else '?'}{self._query}"

    def _short(self, error: BaseException) -> str:
        return short(self._redact(f"{type(error).__name__}: {error}".rstrip(": ")))


def _text_of(packed: bytes, unpacker: Unpacker) -> str:
    """What a refusal says, as far as it can be read. Its status counts in any case."""
    content = bytearray()
    try:
        for pieces in (unpacker.feed(packed), unpacker.end()):
            for piece in pieces:
                content += piece
                if len(content) >= LONGEST_REFUSAL_BYTES:
                    return reading.text_of(bytes(content[:LONGEST_REFUSAL_BYTES]))
    except UnreadableError as unreadable:
        return reading.text_of(bytes(content)) or str(unreadable)
    return reading.text_of(bytes(content))
