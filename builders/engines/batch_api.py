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

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from builders.engines.batch_collected import Collector, spoken
from builders.engines.batch_lines import LARGEST_FILE_BYTES, Backlog, Group, Line, text
from builders.engines.batch_provider import Provider
from builders.engines.batch_state import BatchState
from builders.engines.budget import Budget, Spent
from builders.engines.choices import choice_body
from builders.engines.dialect import LADDERS
from builders.engines.endpoint import MOST_WAYS, Endpoint
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.malformed import Json
from builders.engines.openai import choice_completion, refused_completion
from builders.engines.protocol import Answer, completion, extended, path_and_body
from builders.engines.redaction import hidden
from builders.engines.refusals import RefusedError
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request
from store.errors import InputError

if TYPE_CHECKING:
    from training.chat_templates import Arguments

# Each open batch holds its requests in memory, and providers limit the tokens that wait.
OPEN_BATCHES = 4
_LESSONS = {lesson.told: lesson for ladder in LADDERS.values() for lesson in ladder}

Asked = TypeVar("Asked", Request, ChoiceRequest)
Answered = TypeVar("Answered")


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
        self._provider = Provider(self._endpoint, settings, self._state, self._closed)
        self._is_journalled = spent.losses is not None
        self._collector = Collector(self._endpoint, self._provider, self._budget, self._state)

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
            batch_id, batch = self._provider.next_ended(groups)
            group = groups.pop(batch_id)
            self._num_holds[group.state_name] = 1
            for line, said in self._collector.collect(batch_id, batch, group):
                if said is None:
                    is_way = line.name in self._collector.taught
                    self._collector.taught.discard(line.name)
                    num_tries[line.name] += not is_way
                    num_ways = len(self._collector.trials[line.name].lessons)
                    if num_tries[line.name] <= self._settings.max_retries and num_ways < MOST_WAYS:
                        self._budget.settle(line.worst, Spent())
                        backlog.push(line)
                        continue
                    said = RefusedError(f"gave up after {num_tries[line.name]} batches")
                self._budget.settle(line.worst, self._billed(said))
                self._collector.trials.pop(line.name, None)
                self._held_by[line.name] = group.state_name
                self._num_holds[group.state_name] += 1
                yield line.name, said
            self._let_go(group.state_name)

    def _let_go(self, state_name: str) -> None:
        """Drop one reason to keep a batch open: a line was handed on, or the batch is collected."""
        self._num_holds[state_name] -= 1
        if self._num_holds[state_name] == 0:
            self._state.close(state_name)

    def _earlier(self) -> dict[str, tuple[str, Group]]:
        """Line -> id of the batch of an earlier process that has it, and that batch, empty."""
        found = {}
        for batch in self._state.open_batches():
            batch_id = batch.batch_id or self._provider.find(batch.name, batch.input_file_id)
            if batch_id is None:
                self._state.close(batch.name)
                continue
            if batch.batch_id is None:
                self._state.submitted(batch.name, batch_id)
            if any(batch.counted) and self._is_journalled:
                # It is looked at again, so it is held back from the budget instead of lost.
                counted = Spent(*batch.counted)
                self._state.count(batch.name, 0, 0.0)
                self._budget.spent -= counted
                self._budget.lose(Spent() - counted)
            lessons = tuple(_LESSONS[told] for told in batch.lessons if told in _LESSONS)
            found.update(dict.fromkeys(batch.lines, (batch_id, Group(batch.name, lessons))))
        return found

    def _gather(self, backlog: Backlog, earlier: dict[str, tuple[str, Group]], groups: dict[str, Group]) -> Group:
        """The next group to submit. A line that an earlier batch has joins that one.

        All lines of a group go to one path and are said in one way. While another way is on trial,
        no line is sent that would have to learn it.
        """
        group = Group()
        way = None
        is_on_trial = any(one.trial for one in groups.values())
        dialect = self._endpoint.dialect
        while len(group.lines) < self._settings.batch_size and (line := backlog.pop()) is not None:
            if line.name in earlier:
                batch_id, found = earlier.pop(line.name)
                groups.setdefault(batch_id, found).add(line)
                self._budget.hold(line.worst)
                continue
            own = tuple(self._collector.trials[line.name].lessons) if line.name in self._collector.trials else ()
            trial = tuple(lesson for lesson in own if lesson not in dialect.known)
            said, _ = dialect.spoken(line.body, own)
            asked = line._replace(worst=self._budget.worst_case(said))
            num_bytes = len(text(line, said))
            is_full = group.num_bytes + num_bytes > LARGEST_FILE_BYTES and bool(group.lines)
            is_other = way not in (None, (line.path, own)) or (is_on_trial and not trial)
            if is_full or is_other or not self._budget.fits(asked.worst):
                backlog.push(asked, is_next=True)
                break
            way = line.path, own
            group.lessons, group.trial = (*dialect.known, *trial), trial
            group.add(asked, num_bytes)
            self._budget.hold(asked.worst)
        return group

    def _submit(self, group: Group) -> str:
        """The id of the new batch."""
        group.state_name = name = self._state.begin(group.lines, [lesson.told for lesson in group.lessons])
        content = b"".join(text(line, spoken(line, group)[0]) for line in group.lines.values())
        path = next(iter(group.lines.values())).path
        batch_id = self._provider.submit(name, path, content)
        self._state.submitted(name, batch_id)
        return batch_id

    def _billed(self, said: Answer | BaseException) -> Spent:
        return self._budget.price(*said.tokens) if isinstance(said, Answer | RefusedError) else Spent()
