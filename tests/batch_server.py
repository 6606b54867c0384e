"""A provider's batch API on loopback: /v1/files and /v1/batches, and what was paid for.

In: `answer(body, attempt)` gives (status, body) of a line, or None to leave it unanswered;
`fate(number)` what becomes of the number-th batch: 'completed', 'expired', 'failed', or
'in_progress' for good. A batch ends at its `num_polls`-th poll. How: a real aiohttp server in a
thread of its own. `drop_orders` cuts the connection after so many orders were taken, before their
answer. What it shows can be changed: `shown(batch)` of a batch, `told(line)` of an answer,
`served(content, number)` at the number-th fetch of a file, and `page` batches of the list at once.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

Line = dict[str, Any]


def answered(text: str, prompt_tokens: int = 7, completion_tokens: int = 2) -> tuple[int, Line]:
    """A whole answer."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return 200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


class BatchServer:
    """See the module."""

    def __init__(
        self,
        answer: Callable[[Line, int], tuple[int, Line] | None],
        fate: Callable[[int], str] = lambda number: "completed",
        num_polls: int = 2,
        drop_orders: int = 0,
    ) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Line] = {}
        self.paid: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.sizes: list[int] = []
        self.shown: Callable[[Line], Line] = lambda batch: batch
        self.told: Callable[[Line], Line] = lambda line: line
        self.served: Callable[[bytes, int], bytes] = lambda content, number: content
        self.fetched: Counter[str] = Counter()
        self.page = 100
        self._answer, self._fate, self._num_polls, self._drop_orders = answer, fate, num_polls, drop_orders
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result() + "/v1"

    async def _start(self) -> str:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{name}/content", self._content)
        app.router.add_post("/v1/batches", self._order)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{name}", self._poll)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        return f"http://{host}:{port}"

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        upload = form["file"]
        assert isinstance(upload, web.FileField)
        return web.json_response({"id": self._keep(upload.file.read())})

    def _keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    async def _content(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.fetched[name] += 1
        return web.Response(body=self.served(self.files[name], self.fetched[name] - 1))

    async def _order(self, request: web.Request) -> web.StreamResponse:
        order = await request.json()
        assert order["completion_window"] == "24h" and order["endpoint"] == "/v1/chat/completions"
        number = len(self.batches)
        name = f"batch-{number}"
        self.sizes.append(self.files[order["input_file_id"]].count(b"\n"))
        self.batches[name] = {"id": name, "status": "in_progress", "polls": 0, "number": number, **order}
        if number < self._drop_orders:
            assert request.transport is not None
            request.transport.close()
        return web.json_response(self.batches[name])

    async def _list(self, request: web.Request) -> web.Response:
        newest = list(self.batches.values())[::-1]
        names = [batch["id"] for batch in newest]
        start = names.index(request.query["after"]) + 1 if "after" in request.query else 0
        end = start + self.page
        page = [self.shown(batch) for batch in newest[start:end]]
        return web.json_response({"data": page, "has_more": end < len(newest)})

    async def _poll(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["name"]]
        batch["polls"] += 1
        if batch["status"] == "in_progress" and batch["polls"] >= self._num_polls:
            batch["status"] = self._fate(batch["number"])
            if batch["status"] == "failed":
                batch["errors"] = {
                    "data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]
                }
            elif batch["status"] != "in_progress":
                self._work(batch)
        return web.json_response(self.shown(batch))

    def _work(self, batch: Line) -> None:
        """Answer the lines, last line first; every other one when the batch expires."""
        good, bad = [], []
        for position, text in enumerate(reversed(self.files[batch["input_file_id"]].splitlines())):
            line = json.loads(text)
            question = line["body"]["messages"][-1]["content"]
            said = self._answer(line["body"], self.asked[question])
            if batch["status"] == "expired" and position % 2:
                error = {"code": "batch_expired", "message": "too late"}
                bad.append({"custom_id": line["custom_id"], "response": None, "error": error})
                continue
            self.asked[question] += 1
            if said is None:
                continue
            status, body = said
            self.paid[question] += status == 200
            told = {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}
            (good if status == 200 else bad).append(told)
        for kind, lines in (("output_file_id", good), ("error_file_id", bad)):
            batch[kind] = (
                self._keep("".join(json.dumps(self.told(line)) + "\n" for line in lines).encode()) if lines else None
            )

    def close(self) -> None:
        """Stop serving."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
