"""A chat endpoint that fails as endpoints do, and counts what it was paid for.

In: `answer(body, attempt)` gives a `web.Response`, or the name of a fault; attempts of equal bodies
are counted from 0. Out: `seen`, `asked`, `paid`. How: a real aiohttp server on loopback, in a
thread of its own.

    429, 500, 503           refused, with a text
    429-seconds, 429-date   refused with Retry-After: 1 second, a date in 1 second
    cut, cut-midway         the connection ends before the answer, inside it
    truncated, wrong-schema a 200 whose JSON is cut off, or is not an answer
    error-200, html, empty  a 200 that holds an error, the page of a proxy, or nothing
    slow                    an answer after SLOW_S
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

from aiohttp import web

SLOW_S = 2.5
WRONG_SCHEMAS = (
    [],
    {},
    {"choices": []},
    {"choices": ["text"]},
    {"choices": [{"message": None}], "usage": "none"},
    {"error": None, "choices": None},
)
PASSING = (
    "429",
    "429-seconds",
    "500",
    "503",
    "cut",
    "cut-midway",
    "truncated",
    "wrong-schema",
    "error-200",
    "html",
    "empty",
    "slow",
)


def ok(text: str = "hi", reason: str = "stop", prompt_tokens: int = 7, completion_tokens: int = 2) -> web.Response:
    """A whole answer."""
    return web.json_response(
        {
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason, "text": text}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens},
        }
    )


def status(code: int, text: str = "no", **headers: str) -> web.Response:
    """A refusal."""
    return web.Response(status=code, text=text, headers=headers)


def question(body: dict) -> str:
    """What was asked last."""
    return body["messages"][-1]["content"] if "messages" in body else body["prompt"]


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


@contextmanager
def servers() -> Iterator[Callable[..., FaultServer]]:
    """What starts servers. They are closed in the end."""
    started: list[FaultServer] = []

    def start(*arguments: Any, **options: Any) -> FaultServer:
        started.append(FaultServer(*arguments, **options))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.close()


class FaultServer:
    """See the module. `delay_s` is how long every answer takes at least, by its body."""

    def __init__(
        self,
        answer: Callable[[dict, int], web.Response | str],
        delay_s: Callable[[dict], float] = lambda body: 0.01 + 0.02 * (body.get("seed", 0) % 3 == 0),
        *,
        loads_adapters: bool = False,
    ) -> None:
        self.loads_adapters, self.adapters = loads_adapters, dict[str, str]()
        self.seen: list[tuple[float, dict, dict]] = []
        self.queries: list[str] = []
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.under_way = self.most_under_way = 0
        self._answer, self._delay_s = answer, delay_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result() + "/v1"

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_post("/v1/completions", self._handle)
        if self.loads_adapters:
            app.router.add_get("/v1/models", self._list)
            app.router.add_post("/v1/load_lora_adapter", self._load)
        # nobody waits for answers that are slow
        self._runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        return f"http://{host}:{port}"

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in ("m", *self.adapters)]})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["lora_name"] in self.adapters:
            return status(400, "The lora adapter has already been loaded")
        self.adapters[body["lora_name"]] = body["lora_path"]
        return web.Response(text="Success")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        key = json.dumps(body)
        attempt = self.asked[key]
        self.asked[key] += 1
        self.seen.append((time.monotonic(), body, dict(request.headers)))
        self.queries.append(request.query_string)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self._delay_s(body))
            said = self._answer(body, attempt)
            if isinstance(said, str):
                return await self._fail(request, said, attempt)
            if said.status == 200:
                self.paid[question(body)] += 1
            return said
        finally:
            self.under_way -= 1

    async def _fail(self, request: web.Request, fault: str, attempt: int) -> web.StreamResponse:
        whole = ok("never seen").text or ""
        if fault == "429-seconds":
            return status(429, "slow down", **{"Retry-After": "1"})
        if fault == "429-date":
            return status(429, "slow down", **{"Retry-After": formatdate(time.time() + 2, usegmt=True)})
        if fault == "truncated":
            return web.Response(text=whole[: len(whole) // 2], content_type="application/json")
        if fault == "wrong-schema":
            return web.json_response(WRONG_SCHEMAS[attempt % len(WRONG_SCHEMAS)])
        if fault == "error-200":
            return web.json_response({"error": {"message": "Provider returned error", "code": 502}, "choices": None})
        if fault in ("html", "empty"):
            text = "<html><title>Bad Gateway</title></html>" if fault == "html" else ""
            return web.Response(text=text, content_type="text/html")
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
            return ok("too late")
        if fault == "cut-midway":
            response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
            await response.prepare(request)
            await response.write(whole[:20].encode())
        if fault in ("cut", "cut-midway"):
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return status(int(fault), "no")

    async def _give_up(self) -> None:
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def close(self) -> None:
        """Stop serving. Answers that are still under way are given up."""
        asyncio.run_coroutine_threadsafe(self._give_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
