"""Ended batches: the answer to each of their lines, or whether it is asked again.

In: an ended batch, and the lines of it that are wanted. Out: each of them once, with an answer,
with a refusal, or with None where it goes into another batch. What is paid for is not asked again:
an answer that nobody can read, or that the provider withholds, counts as the most that it can cost.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from builders.engines.batch_answers import is_good, names_its_answers, num_answered, response_in
from builders.engines.batch_lines import Group, Line
from builders.engines.batch_provider import Provider
from builders.engines.batch_state import BatchState
from builders.engines.budget import Budget, Spent, most_billed
from builders.engines.choices import needs_room
from builders.engines.dialect import ROOM, Dialect, Trial
from builders.engines.endpoint import Endpoint
from builders.engines.malformed import Json, MalformedError, UnreadableError
from builders.engines.protocol import ESTIMATED, Answer, billed_anyway, checked, tokens_of
from builders.engines.refusals import PassingError, RefusedError, error_in, failure, short
from store.errors import JobError


class Collector:
    """See the module.

    `trials` are the lessons of lines that are not answered yet, by their names. `taught` are the
    lines that are asked again because there is another way to say them.
    """

    def __init__(self, endpoint: Endpoint, provider: Provider, budget: Budget, state: BatchState) -> None:
        self._endpoint, self._provider, self._budget, self._state = endpoint, provider, budget, state
        self.trials: defaultdict[str, Trial] = defaultdict(Trial)
        self.taught: set[str] = set()

    def collect(self, batch_id: str, batch: Json, group: Group) -> Iterator[tuple[Line, Answer | RefusedError | None]]:
        """Each wanted line of a batch once. None where the line must be asked again.

        A line that the batch counts as answered, but that is in no file, is paid for.
        """
        left = dict(group.lines)
        num_paid = num_answered(batch)
        if num_paid is None:
            num_paid = 0 if names_its_answers(batch) else len(left)
        num_read = 0
        for kind, expected in (("output_file_id", num_paid), ("error_file_id", None)):
            if not isinstance(batch.get(kind), str):
                continue
            for name, told in self._provider.lines(batch[kind], expected):
                num_read += expected is not None
                line = left.pop(name, None) if told or expected is not None else None
                if line is not None:
                    yield line, self._said(line, told, group) if told else self._unreadable(line, group, "is cut")
        if num_paid > num_read == 0 and left:
            raise self._withheld(batch_id, num_paid, group.state_name, list(left.values()))
        for line in left.values():
            yield line, self._unreadable(line, group, "lacks it") if num_paid > num_read else None

    def _withheld(self, batch_id: str, num_paid: int, state_name: str, lines: list[Line]) -> JobError:
        """Count the worst case of lines whose answers cannot be had. The batch stays open."""
        worst = Spent()
        for line in lines:
            worst += line.worst
            self._budget.settle(line.worst, line.worst)
        self._budget.lose(worst)
        self._state.count(state_name, worst.tokens, worst.usd)
        return JobError(
            f"the provider says that {num_paid:,} requests of batch {batch_id} are answered, but gives no file of "
            f"answers. They are counted as the most that they can cost ({worst.tokens:,} tokens). Run the same command "
            "again to look for the file once more; or set batch to false to ask for these answers one by one"
        )

    def _unreadable(self, line: Line, group: Group, why: str) -> RefusedError:
        said, notes = spoken(line, group)
        told = f"the answer is paid for, but the provider's file {why}"
        return RefusedError(told, tokens=most_billed(said), notes=(*notes, ESTIMATED))

    def _said(self, line: Line, told: Json, group: Group) -> Answer | RefusedError | None:
        """An answer, a refusal, or None where the line is asked again.

        An answer that nobody can read is paid for. Such a line is refused, and not asked again.
        """
        status, body = response_in(told)
        said, notes = spoken(line, group)
        most = most_billed(said)
        tokens = (0, 0)
        if status is None:
            return None
        if is_good(status) and (error := error_in(body)):
            tokens = billed_anyway(body, most)
            status, body = error.status, error.text
        if is_good(status):
            tokens, estimated = tokens_of(body, most)
            try:
                answer = Answer(checked(body), tokens, (*notes, *estimated))
            except (MalformedError, UnreadableError) as unreadable:
                hint = short(self._endpoint.redact(str(unreadable)))
                return RefusedError(hint, tokens=tokens, notes=(*notes, *estimated))
            trial = self.trials[line.name]
            if ROOM not in (*group.lessons, *trial.lessons) and needs_room(line.body, said, answer.body):
                self._lose(self._budget.price(*tokens))
                trial.lessons.append(ROOM)
                self.taught.add(line.name)
                return None
            idle = set(trial.lessons) - set(trial.helped())
            helped = [one for one in group.lessons if one.told in answer.notes and one not in idle]
            self._endpoint.dialect.confirm(helped)
            return answer
        refusal = body if isinstance(body, str) else json.dumps(body)
        refused = failure(status, refusal, self._endpoint.redact(refusal), {})
        refused.tokens = tokens
        if isinstance(refused, PassingError) or self._is_another_way(line, said, refused, group):
            self._lose(self._budget.price(*tokens))
            return None
        return refused

    def _lose(self, lost: Spent) -> None:
        """Count what a line cost that is asked again."""
        self._budget.spent += lost
        self._budget.lose(lost)

    def _is_another_way(self, line: Line, said: Json, refused: RefusedError, group: Group) -> bool:
        """Whether a refused line is said in another way. It is confirmed once it is answered."""
        if refused.finish_reason == "prompt_too_long" or any(refused.tokens):
            return False
        dialect, trial = self._endpoint.dialect, self.trials[line.name]
        if dialect.spoken(line.body, trial.lessons)[0] != said:
            self.taught.add(line.name)
            return True
        lesson = dialect.lesson_of(said, refused.raw, [*group.lessons, *trial.lessons])
        if lesson:
            trial.learn(lesson, refused.raw)
            self.taught.add(line.name)
        return lesson is not None


def spoken(line: Line, group: Group) -> tuple[Json, tuple[str, ...]]:
    """A line as it stands in its batch, and in words what is different about it."""
    return Dialect(list(group.lessons)).spoken(line.body)
