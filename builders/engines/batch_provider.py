"""The batch API of a provider: files up and down, orders, and looks at what became of them.

In: the bytes of a batch. Out: its id, and later its answers.

- An order whose reply was lost is looked for before it is given again, by its name and by its
  file, on all pages of the provider's list. Where the list cannot be read to its end, it is not
  given again.
- What an earlier run ordered may be unknown: it was ordered elsewhere or with another key, or it
  was deleted. Then nothing is ordered again. What this run has ordered may be known a little later.
- A batch may end some time before it names its file of answers. It is looked at for `patience_s`.
- A file that holds fewer answers than the batch has, or ends in the middle of one, is fetched
  again: that costs nothing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from builders.engines.batch_answers import ENDED, line_of, name_of, names_its_answers, status_of
from builders.engines.batch_lines import Group
from builders.engines.batch_state import BatchState, OpenBatch
from builders.engines.endpoint import Endpoint, backoff_s
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.gate import StoppedError
from builders.engines.malformed import Json, MalformedError, UnreadableError
from builders.engines.reading import decoded
from builders.engines.refusals import MissingError, PassingError, RefusedError, error_in, short
from store.errors import InputError, JobError, UnreachableError
from store.held_folders import temporary

# A batch of a run that was just killed is among the newest.
LISTED_BATCHES = 100
MOST_PAGES = 100
FETCHES = 4


class Provider:
    """See the module. `closed` ends all waiting."""

    def __init__(
        self, endpoint: Endpoint, settings: OpenAISettings, state: BatchState, closed: threading.Event
    ) -> None:
        self._endpoint, self._settings, self._state, self._closed = endpoint, settings, state, closed
        self._ended_at: dict[str, float] = {}
        self._ordered: set[str] = set()

    def submit(self, name: str, path: str, content: bytes) -> str:
        """The id of the new batch of this name."""
        self._ordered.add(name)

        def upload() -> str:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", content, filename=f"{name}.jsonl", content_type="application/jsonl")
            return self._id(self._http("POST", "files", data=form))

        order: Json = {"endpoint": f"/v1/{path}", "completion_window": "24h", "metadata": {"scoder_batch": name}}
        order["input_file_id"] = file_id = self._patiently(upload)
        self._state.uploaded(name, file_id)
        is_given = False

        def give() -> str:
            # The provider may have taken an order that failed here. Look for it before repeating
            # it.
            nonlocal is_given
            found = self.find(name, file_id) if is_given else None
            is_given = True
            return found or self._id(self._http("POST", "batches", json=order))

        return str(self._patiently(give))

    def found(self, batches: list[OpenBatch]) -> list[tuple[OpenBatch, str | None]]:
        """The batches of earlier runs with their ids. None for one that was never ordered.

        InputError where the provider does not know one of them, or the file of its requests.
        """
        there: list[tuple[OpenBatch, str | None]] = []
        missing: dict[str, str] = {}
        for batch in batches:
            batch_id = batch.batch_id or self.find(batch.name, batch.input_file_id)
            thing = f"batches/{batch_id}" if batch_id else f"files/{batch.input_file_id}"
            there.append((batch, batch_id))
            if batch.batch_id is None and (batch_id or batch.input_file_id is None):
                continue  # the list has it, or not even its requests had reached the provider
            try:
                self._patiently(partial(self._look_up, thing))
            except MissingError as said:
                at = f" at {batch.address}" if batch.address else ""
                missing[batch.name] = f"{thing.replace('/', ' ')}, ordered{at} ({said})"
            except InputError:
                if batch.batch_id is not None:
                    raise
                # It shows no files, so the list must do.
        if missing:
            raise self._unknown(missing)
        return there

    def _unknown(self, missing: Mapping[str, str]) -> InputError:
        """What is not there of the batches of these names."""
        things = "; ".join(missing.values())
        return InputError(
            f"{self._endpoint.address} does not know what an earlier run ordered, and may have paid for: {things}. If "
            f"base_url or the key in {self._settings.api_key_env} is another one now, give those of that run. If the "
            f"provider has deleted it, remove the lines with {', '.join(missing)} from {self._state.path} and run "
            "again: their requests are ordered, and paid for, once more"
        )

    def find(self, name: str, file_id: str | None) -> str | None:
        """The id of the provider's batch of this name, or of this file of requests."""
        seen: set[str] = set()
        query = f"batches?limit={LISTED_BATCHES}"
        last = ""
        for _ in range(MOST_PAGES):
            listed = self._patiently(partial(self._http, "GET", query + last))
            batches = [b for b in listed.get("data") or [] if isinstance(b, dict) and b.get("id")]
            for batch in batches:
                metadata = batch.get("metadata")
                is_named = isinstance(metadata, dict) and metadata.get("scoder_batch") == name
                if is_named or (file_id is not None and batch.get("input_file_id") == file_id):
                    return str(batch["id"])
            if not listed.get("has_more"):
                return None
            new = {str(batch["id"]) for batch in batches} - seen
            if not new:
                break
            seen |= new
            last = f"&after={batches[-1]['id']}"
        raise UnreachableError(
            f"whether the provider took the batch {name} is not known: its list of batches cannot be read to its end. "
            f"It is not ordered again, as it may be paid for. Look for a batch of the file {file_id} at the provider. "
            f"If there is none, remove the lines of {name} from {self._state.path} and run again"
        )

    def next_ended(self, groups: Mapping[str, Group]) -> tuple[str, Json]:
        """Wait for a batch to end, and to name its answers."""
        while True:
            for batch_id, group in groups.items():
                path = f"batches/{batch_id}"
                batch = self._of(group.state_name, path, partial(self._look_up, path))
                if status_of(batch) in ENDED:
                    ended_at = self._ended_at.setdefault(batch_id, time.monotonic())
                    if names_its_answers(batch) or time.monotonic() - ended_at > self._settings.patience_s:
                        return batch_id, batch
                if status_of(batch) == "failed":
                    self._state.close(group.state_name)
                    raise JobError(
                        f"the provider refused batch {batch_id} of {len(group.lines):,} requests: "
                        f"{short(self._endpoint.redact(json.dumps(batch.get('errors'))))}. None of them was "
                        "answered. If too many tokens are waiting, set a smaller batch_size"
                    )
            if self._closed.wait(self._settings.poll_s):
                raise StoppedError

    def lines(self, file_id: str, expected: int | None, of_batch: str) -> Iterator[tuple[str, Json | None]]:
        """The name and the content of each line of a file, which may be larger than the memory.

        None for the content of a line that was cut. `expected` is how many lines there must be, and
        `of_batch` the name of the batch whose answers they are.
        """
        path = f"files/{file_id}/content"
        with temporary("batch") as folder:
            target = folder / "answers"
            charset = None
            for number in range(FETCHES):
                if number and self._closed.wait(min(self._settings.poll_s, backoff_s(number))):
                    raise StoppedError
                charset = self._of(
                    of_batch, path, lambda: self._endpoint.submit(self._endpoint.download(path, target)).result()
                )
                if _is_whole(target, charset, expected):
                    break
            with open(target, "rb") as handle:
                for one in handle:
                    told = line_of(one, charset)
                    if isinstance(told, dict):
                        yield str(told.get("custom_id")), told
                    elif name := name_of(one):
                        yield name, None

    def _of(self, name: str, path: str, ask: Callable[[], Any]) -> Any:
        """What `ask` returns of a batch of this name."""

        def a_little_later() -> Any:
            try:
                return ask()
            except MissingError as missing:
                raise PassingError(f"{path} is not there: {missing}") from None

        try:
            return self._patiently(a_little_later if name in self._ordered else ask)
        except MissingError as said:
            raise self._unknown({name: f"{path.replace('/', ' ')} ({said})"}) from None

    def _look_up(self, path: str) -> Json:
        return self._object("GET", path, self._endpoint.submit(self._endpoint.look_up(path)).result())

    def _http(self, method: str, path: str, **options: Any) -> Json:
        return self._object(method, path, self._endpoint.submit(self._endpoint.send(method, path, **options)).result())

    def _object(self, method: str, path: str, content: bytes) -> Json:
        try:
            answer = decoded(content)
        except (MalformedError, UnreadableError):
            answer = None
        if not isinstance(answer, dict):
            raise PassingError(f"{method} {path} gave no JSON object")
        if not {"id", "data"} & answer.keys() and (told := error_in(answer)):
            raise self._endpoint.told(path, told)
        return answer

    def _id(self, made: Json) -> str:
        if not isinstance(made.get("id"), str):
            raise PassingError("the provider names no id of what it made")
        return str(made["id"])

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """What `ask` returns. It is asked again after a passing failure, for up to `patience_s`."""
        began, num_failures = time.monotonic(), 0
        while True:
            try:
                return ask()
            except PassingError as passing:
                num_failures += 1
                if time.monotonic() - began > self._settings.patience_s:
                    raise UnreachableError(
                        f"the batch API failed {num_failures} times, the last time: {passing}. Submitted batches are "
                        "kept: run the same command again later"
                    ) from None
                wait_s = max(backoff_s(num_failures), passing.retry_after_s or 0.0)
            except RefusedError as refused:
                raise InputError(f"the endpoint refuses its batch API: {refused}. Set batch to false") from None
            except StoppedError:
                if self._endpoint.gate.error is not None:
                    raise self._endpoint.gate.error from None
                raise
            if self._closed.wait(wait_s):
                raise StoppedError


def _is_whole(path: Path, charset: str | None, expected: int | None) -> bool:
    """Whether a file has as many lines as it must, and does not end in the middle of one."""
    number, last = 0, b""
    with open(path, "rb") as handle:
        for line in handle:
            if line.strip():
                number, last = number + 1, line
    return number >= (expected or 0) and (not last or line_of(last, charset) is not None)
