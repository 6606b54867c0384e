"""What a coordinator has sent to a replica and nobody has taken yet, in its order.

In: messages, from the thread that reads them. Out: the next one, for the thread that answers; and
runs that nobody has begun, which go back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection

from builders.engines.messages import Close, Drop, Run

Waiting = Run | Drop | Close


class Inbox:
    """See the module."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._came = threading.Condition()

    def put(self, message: Waiting) -> None:
        """Add a message."""
        with self._came:
            self._waiting.append(message)
            self._came.notify()

    def take(self) -> Waiting:
        """The next message, as soon as there is one."""
        with self._came:
            self._came.wait_for(lambda: self._waiting)
            return self._waiting.popleft()

    def taken(self) -> Waiting | None:
        """The next message, or None if there is none now."""
        with self._came:
            return self._waiting.popleft() if self._waiting else None

    def withdraw(self, runs: Collection[int]) -> tuple[int, ...]:
        """Take out those of the runs that are still here; return their numbers."""
        with self._came:
            found = [message for message in self._waiting if isinstance(message, Run) and message.number in runs]
            for run in found:
                self._waiting.remove(run)
            return tuple(run.number for run in found)
