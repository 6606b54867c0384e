"""The batch API of a provider: files of requests, answered within a day at about half the price.

In: requests. Out: completions, batch after batch.

1. Requests are gathered into groups. A group ends at `batch_size` requests, at the provider's limit
   on bytes, or where the budget would be passed.
2. Each group is uploaded and submitted as a batch (`/files`, `/batches`).
3. The open batches are polled. When one has ended, its output and error files are collected.
4. A request that a batch left unanswered, because the batch expired or the server failed, goes into
   a later batch.

A batch costs money from the moment it is submitted. So its name is written to the `state` file
before that, and its id after. A run that follows a kill collects the open batches of this file, and
does not submit them again. A batch that has a name but no id is looked for at the provider: batches
carry their name in the metadata.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

from builders.engines.batch_lines import LARGEST_FILE_BYTES, Backlog, Group, Line, text
from builders.engines.batch_state import BatchState
from builders.engines.budget import Budget, Spent, most_billed
from builders.engines.choices import choice_body
from builders.engines.endpoint import Endpoint, backoff_s
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.gate import StoppedError
from builders.engines.openai import choice_completion, refused_completion
from builders.engines.protocol import (
    Answer,
    Json,
    billed_anyway,
    checked,
    completion,
    extended,
    path_and_body,
    tokens_of,
)
from builders.engines.reading import MalformedError, UnreadableError, decoded
from builders.engines.redaction import hidden
from builders.engines.refusals import PassingError, RefusedError, error_in, failure, short
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request
from store.errors import InputError, JobError, UnreachableError
from store.held_folders import temporary

if TYPE_CHECKING:
    from training.chat_templates import Arguments

# Each open batch holds its requests in memory, and providers limit the tokens that wait.
OPEN_BATCHES = 4
ENDED = ("completed", "expired", "cancelled")
# A batch of a run that was just killed is among the newest.
LISTED_BATCHES = 100

Asked = TypeVar("Asked", Request, ChoiceRequest)
Answered = TypeVar("Answered")

_NAME_OF_LINE = re.compile(rb'"custom_id" ?: ?"([^"\\]+)"')


class BatchEngine(Engine):
    """See the module. `state` is the file in which the submitted batches are kept."""

    def __init__(
        self,
        settings: OpenAISettings,
        model: str,
        adapters: Mapping[str, str],
        spent: Spent,
        state: Path | None,
        template_arguments: Arguments | None = None,
    ) -> None:
        if state is None:
            raise InputError(
                "batch: true works only where the answers become rows of a table of a store: set batch to false here"
            )
        self._settings = settings
        self._template_arguments = template_arguments or {}
        self._models: dict[str | None, str] = {None: model}
        self._models.update(adapters)
        self._state = BatchState(state)
        self._budget = Budget(settings, spent)
        self._closed = threading.Event()
        self._held_by: dict[str, str] = {}
        self._num_holds: Counter[str] = Counter()
        self._endpoint = Endpoint(settings, spent)

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        def lines_of(request: Request) -> list[Line]:
            path, body = path_and_body(request, self._models[request.adapter], self._template_arguments)
            return [self._line(request.request_id, path, body)]

        def answer(request: Request, answers: list[Answer | BaseException]) -> Completion:
            (said,) = answers
            if isinstance(said, RefusedError):
                return hidden(refused_completion(request, said), self._endpoint.redact)
            assert isinstance(said, Answer)
            return hidden(completion(request, said), self._endpoint.redact)

        return self._stream(requests, lines_of, answer)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        def lines_of(request: ChoiceRequest) -> list[Line]:
            model = self._models[request.adapter]
            bodies = [choice_body(question, model, self._template_arguments) for question in request.questions]
            for body in bodies:
                body["max_tokens"] += self._settings.max_thinking_tokens
            return [
                self._line(f"{request.request_id}/{number}", "chat/completions", body)
                for number, body in enumerate(bodies)
            ]

        def answer(request: ChoiceRequest, answers: list[Answer | BaseException]) -> ChoiceCompletion:
            return hidden(choice_completion(request, answers), self._endpoint.redact)

        return self._stream(requests, lines_of, answer)

    def close(self) -> None:
        self._closed.set()
        self._endpoint.close()

    def _line(self, name: str, path: str, body: Json) -> Line:
        whole = extended(body, self._settings.extra_body)
        return Line(name, path, whole, self._budget.worst_case(whole))

    def _stream(
        self,
        requests: Iterable[Asked],
        lines_of: Callable[[Asked], list[Line]],
        answer: Callable[[Asked, list[Answer | BaseException]], Answered],
    ) -> Iterator[Answered]:
        """Requests whose lines are all answered."""
        pending: dict[str, tuple[Asked, list[str]]] = {}
        owner: dict[str, str] = {}
        found: dict[str, dict[str, Answer | BaseException]] = defaultdict(dict)

        def lines() -> Iterator[Line]:
            for request in requests:
                own = lines_of(request)
                pending[request.request_id] = request, [line.name for line in own]
                owner.update((line.name, request.request_id) for line in own)
                yield from own

        for name, said in self._ask(Backlog(lines())):
            request_id = owner.pop(name)
            answers = found[request_id]
            answers[name] = said
            if len(answers) == len(pending[request_id][1]):
                request, names = pending.pop(request_id)
                del found[request_id]
                yield answer(request, [answers[n] for n in names])
                # Only now is the answer kept elsewhere. Until then its batch stays open, to be
                # collected again.
                for each in names:
                    self._let_go(self._held_by.pop(each))

    # -- batches -----------------------------------------------------------------------------------

    def _ask(self, backlog: Backlog) -> Iterator[tuple[str, Answer | BaseException]]:
        """Every line of the backlog once, with its answer or its refusal."""
        earlier = self._earlier()
        groups: dict[str, Group] = {}
        num_tries: Counter[str] = Counter()
        while True:
            while len(groups) < OPEN_BATCHES and (group := self._gather(backlog, earlier, groups)).lines:
                groups[self._submit(group)] = group
            if not groups:
                left = backlog.pop()
                if left is None:
                    return
                raise self._budget.error(left.worst)
            batch_id, batch = self._next_ended(groups)
            group = groups.pop(batch_id)
            self._num_holds[group.state_name] = 1
            for line, said in self._collect(batch, group):
                if said is None:
                    num_tries[line.name] += 1
                    if num_tries[line.name] <= self._settings.max_retries:
                        self._budget.settle(line.worst, Spent())
                        backlog.push(line)
                        continue
                    said = RefusedError(f"gave up after {num_tries[line.name]} batches")
                self._budget.settle(line.worst, self._billed(said))
                self._held_by[line.name] = group.state_name
                self._num_holds[group.state_name] += 1
                yield line.name, said
            self._let_go(group.state_name)

    def _let_go(self, state_name: str) -> None:
        """Drop one reason to keep a batch open: a line was handed on, or the batch is collected."""
        self._num_holds[state_name] -= 1
        if self._num_holds[state_name] == 0:
            self._state.close(state_name)

    def _earlier(self) -> dict[str, tuple[str, str]]:
        """Line -> id and name of the batch of an earlier process that has it."""
        found = {}
        for batch in self._state.open_batches():
            batch_id = batch.batch_id or self._find(batch.name)
            if batch_id is None:
                self._state.close(batch.name)
                continue
            if batch.batch_id is None:
                self._state.submitted(batch.name, batch_id)
            found.update(dict.fromkeys(batch.lines, (batch_id, batch.name)))
        return found

    def _gather(self, backlog: Backlog, earlier: dict[str, tuple[str, str]], groups: dict[str, Group]) -> Group:
        """The next group to submit. A line that an earlier batch has joins that one."""
        group = Group()
        path = None
        while len(group.lines) < self._settings.batch_size and (line := backlog.pop()) is not None:
            if line.name in earlier:
                batch_id, state_name = earlier.pop(line.name)
                groups.setdefault(batch_id, Group(state_name)).add(line)
                self._budget.hold(line.worst)
                continue
            num_bytes = len(text(line, line.body))
            is_full = group.num_bytes + num_bytes > LARGEST_FILE_BYTES and bool(group.lines)
            # All lines of a batch go to one path.
            if is_full or path not in (None, line.path) or not self._budget.fits(line.worst):
                backlog.push(line, is_next=True)
                break
            path = line.path
            group.add(line, num_bytes)
            self._budget.hold(line.worst)
        return group

    def _submit(self, group: Group) -> str:
        """The id of the new batch."""
        group.state_name = name = self._state.begin(group.lines)
        dialect = self._endpoint.dialect
        content = b"".join(text(line, dialect.spoken(line.body)[0]) for line in group.lines.values())
        path = next(iter(group.lines.values())).path

        def upload() -> str:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", content, filename=f"{name}.jsonl", content_type="application/jsonl")
            return str(self._http("POST", "files", data=form)["id"])

        order: Json = {"endpoint": f"/v1/{path}", "completion_window": "24h", "metadata": {"scoder_batch": name}}
        order["input_file_id"] = self._patiently(upload)
        is_given = False

        def give() -> str:
            # The provider may have taken an order that failed here. Look for it before repeating
            # it.
            nonlocal is_given
            found = self._find(name) if is_given else None
            is_given = True
            return found or str(self._http("POST", "batches", json=order)["id"])

        batch_id = self._patiently(give)
        self._state.submitted(name, batch_id)
        return batch_id

    def _find(self, name: str) -> str | None:
        """The id of the provider's batch of this name."""
        listed = self._patiently(lambda: self._http("GET", f"batches?limit={LISTED_BATCHES}"))
        batches = [b for b in listed.get("data") or [] if isinstance(b, dict)]
        return next((str(b["id"]) for b in batches if (b.get("metadata") or {}).get("scoder_batch") == name), None)

    def _next_ended(self, groups: Mapping[str, Group]) -> tuple[str, Json]:
        """Wait for a batch to end."""
        while True:
            for batch_id, group in groups.items():
                batch = self._patiently(partial(self._http, "GET", f"batches/{batch_id}"))
                if batch.get("status") in ENDED:
                    return batch_id, batch
                if batch.get("status") == "failed":
                    self._state.close(group.state_name)
                    raise JobError(
                        f"the provider refused batch {batch_id} of {len(group.lines):,} requests: "
                        f"{short(self._endpoint.redact(json.dumps(batch.get('errors'))))}. None of them was "
                        "answered. If too many tokens are waiting, set a smaller batch_size"
                    )
            if self._closed.wait(self._settings.poll_s):
                raise StoppedError

    def _collect(self, batch: Json, group: Group) -> Iterator[tuple[Line, Answer | RefusedError | None]]:
        """Each wanted line of a batch once. None where the line must be asked again."""
        left = dict(group.lines)
        for kind in ("output_file_id", "error_file_id"):
            if not isinstance(batch.get(kind), str):
                continue
            for told in self._file(batch[kind]):
                line = left.pop(str(told.get("custom_id")), None)
                if line is not None:
                    yield line, self._said(line, told)
        for line in left.values():
            yield line, None

    def _file(self, file_id: str) -> Iterator[Json]:
        """The lines of a file of the provider, which may be larger than the memory."""
        with temporary("batch") as folder:
            target = folder / "answers"
            self._patiently(
                lambda: self._endpoint.submit(self._endpoint.download(f"files/{file_id}/content", target)).result()
            )
            with open(target, "rb") as handle:
                for one in handle:
                    told = _line_of(one)
                    if isinstance(told, dict):
                        yield told

    def _said(self, line: Line, told: Json) -> Answer | RefusedError | None:
        """An answer, a refusal, or None where the line is asked again.

        An answer that nobody can read is paid for. Such a line is refused, and not asked again.
        """
        response = told.get("response")
        status, body = (
            (response.get("status_code"), response.get("body")) if isinstance(response, dict) else (None, None)
        )
        said, notes = self._endpoint.dialect.spoken(line.body)
        most = most_billed(said)
        tokens = (0, 0)
        if _is_good(status) and (error := error_in(body)):
            tokens = billed_anyway(body, most)
            status, body = error.status, error.text
        if _is_good(status):
            tokens, estimated = tokens_of(body, most)
            try:
                return Answer(checked(body), tokens, (*notes, *estimated))
            except MalformedError:
                self._lose(line.worst)
                return None
            except UnreadableError as unreadable:
                hint = short(self._endpoint.redact(str(unreadable)))
                return RefusedError(hint, tokens=tokens, notes=(*notes, *estimated))
        if not isinstance(status, int):
            return None
        text = body if isinstance(body, str) else json.dumps(body)
        refused = failure(status, text, self._endpoint.redact(text), {})
        refused.tokens = tokens
        if isinstance(refused, PassingError) or self._is_another_way(line, said, text):
            self._lose(self._budget.price(*tokens))
            return None
        return refused

    def _lose(self, lost: Spent) -> None:
        """Count what a line cost that is asked again."""
        self._budget.spent += lost
        self._budget.lose(lost)

    def _is_another_way(self, line: Line, said: Json, refusal: str) -> bool:
        """Whether a refused line is asked again as the dialect has learned, now or from its
        neighbours in the batch."""
        dialect = self._endpoint.dialect
        if lesson := dialect.lesson_of(said, refusal, dialect.known):
            dialect.confirm([lesson])
        return lesson is not None or dialect.lesson_of(line.body, refusal) in dialect.known

    def _billed(self, said: Answer | BaseException) -> Spent:
        return self._budget.price(*said.tokens) if isinstance(said, Answer | RefusedError) else Spent()

    # -- HTTP --------------------------------------------------------------------------------------

    def _http(self, method: str, path: str, **options: Any) -> Json:
        content = self._endpoint.submit(self._endpoint.send(method, path, **options)).result()
        try:
            answer = decoded(content)
        except (MalformedError, UnreadableError):
            answer = None
        if not isinstance(answer, dict):
            raise PassingError(f"{method} {path} gave no JSON object")
        return answer

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


def _is_good(status: Any) -> bool:
    return isinstance(status, int) and 200 <= status < 300


def _line_of(line: bytes) -> Any:
    """A line of a file of answers. None for one that was cut.

    A line that nobody can read is paid for. It is an answer of no known form, if it has a name.
    """
    try:
        return decoded(line)
    except MalformedError:
        return None
    except UnreadableError as unreadable:
        name = _NAME_OF_LINE.search(line)
        body = {"unreadable": str(unreadable)}
        return name and {
            "custom_id": name[1].decode("utf-8", "replace"),
            "response": {"status_code": 200, "body": body},
        }
