"""Who may send to the endpoint now: its pace, rates, pauses, budget, and when to give up.

In: calls that ask to `enter`, and how each attempt ended (`leave`). Out: a place to send from, in
the order of asking, or `StoppedError` once the run must end.

The number of places follows the endpoint: up in steps, down by halves. A round is as many attempts
as there are places. After a good round there are more places. A 429 halves them at once. Other
failures halve them only when they are more than a quarter of a round. Only first attempts count
there, so a few rows that always fail do not slow down the others. Attempts that were sent before a
round began say nothing about its pace. Until the first answer came, or two seconds are over, only a
few calls are under way: a wrong key or a wrong name is seen with these.

Everything here runs on the event loop of the endpoint, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections import deque
from dataclasses import dataclass
from typing import Literal

from builders.engines.budget import Budget, Spent
from builders.engines.endpoint_settings import OpenAISettings
from store.errors import UnreachableError

Ending = Literal["answered", "refused", "overloaded", "failed", "cancelled"]
"""How an attempt ended.

- `refused`: the endpoint is well, but will not answer this request.
- `overloaded`: a 429.
- `failed`: a time-out, a cut connection or a server error.
"""

FAILED_SHARE = 0.25
# From one place to all of them in this many rounds.
ROUNDS_TO_RECOVER = 16
# Providers look at windows shorter than a minute, so a minute's allowance is not sent at once.
BURST_S = 2.0
# A refused key answers at once, a slow model does not: it is not waited for.
FIRST_PLACES, OPENS_AFTER_S = 4, 2.0
SAY_AFTER_S = 30.0
"""After so long without an answer, people are told why nothing goes on."""


class StoppedError(Exception):
    """The run ends: nothing more is sent. `Gate.error` says why."""


@dataclass(eq=False)
class Load:
    """What a call asks of the gate: the most it can cost, and the tokens it will probably take."""

    worst: Spent
    expected_tokens: float
    is_first: bool = True
    sent: float = 0.0


class Bucket:
    """A rate per minute.

    A call larger than the bucket waits until it is full, and leaves a debt.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._per_s = math.inf if per_minute is None else per_minute / 60
        self._size = max(1.0, self._per_s * BURST_S)
        self._level, self._filled = self._size, -math.inf

    def wait_s(self, now: float, amount: float) -> float:
        """Seconds until `amount` may be taken."""
        if math.isinf(self._per_s):
            return 0.0
        if self._filled > -math.inf:
            self._level = min(self._size, self._level + (now - self._filled) * self._per_s)
        self._filled = now
        missing = min(amount, self._size) - self._level
        # A timer rounds. Without this bound, a tiny rest would be waited for again and again.
        return max(0.0, missing / self._per_s) if missing > 1e-6 * self._size else 0.0

    def take(self, amount: float) -> None:
        """Take an amount. A negative amount is given back."""
        if math.isfinite(self._per_s):
            self._level = min(self._size, self._level - amount)


class Gate:
    """See the module."""

    def __init__(self, settings: OpenAISettings, budget: Budget) -> None:
        self._settings, self.budget = settings, budget
        self._loop = asyncio.get_running_loop()
        self.places = float(settings.max_in_flight)
        self.under_way = 0
        self.error: Exception | None = None
        self._stopped = asyncio.Event()
        self._waiting: deque[tuple[Load, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._requests, self._tokens = Bucket(settings.requests_per_minute), Bucket(settings.tokens_per_minute)
        self._paused_until = -math.inf
        self._is_open, self._first_sent = False, math.inf
        self._round_began, self._round_count, self._round_failed = -math.inf, 0, 0
        self._last_good, self._told_of = self._loop.time(), -math.inf
        self._num_calls = self._num_failed = self._num_first_failed = self._given_up = 0

    # -- one call ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """A call begins. If the endpoint was idle, `patience_s` starts anew."""
        if self._num_calls == 0:
            self._last_good = self._loop.time()
        self._num_calls += 1

    def end(self) -> None:
        """A call is over, whatever came of it."""
        self._num_calls -= 1

    async def enter(self, load: Load, *, is_next: bool = False) -> None:
        """Return when the call may be sent. Every `enter` must be followed by one `leave`.

        `is_next` puts it before all that wait: they would repeat what it has learned.
        """
        if (is_next or not self._waiting) and self.error is None and self._wait_s(load) == 0:
            self._take(load)
            return
        waiter = self._loop.create_future()
        (self._waiting.appendleft if is_next else self._waiting.append)((load, waiter))
        self._release()
        await waiter

    def leave(self, load: Load, ending: Ending, actual: Spent, message: str = "") -> None:
        """An attempt ended. `actual` is what it cost, or its worst case where nobody knows."""
        self.under_way -= 1
        self.budget.settle(load.worst, actual)
        if ending == "answered" and actual.tokens:
            self._tokens.take(actual.tokens - load.expected_tokens)
        self._is_open = self._is_open or ending == "answered"
        if ending in ("answered", "refused"):
            self._last_good = self._loop.time()
            self._num_failed = self._num_first_failed = self._given_up = 0
        if ending != "cancelled":
            self._adapt(load, ending)
        if ending in ("overloaded", "failed"):
            self._num_failed += 1
            self._num_first_failed += load.is_first
            self._check_patience(message)
        if ending == "refused":
            # It may be said in another way at once, and then comes before all that wait.
            self._loop.call_soon(self._release)
        else:
            self._release()

    def gave_up(self, message: str) -> None:
        """A call used up its retries. Stop when many do so in a row, and first attempts fail too.

        Then the endpoint is bad. Bad rows look different: they are given up last of all, one after
        the other, when nothing else is left to be answered.
        """
        self._given_up += 1
        if min(self._given_up, self._num_first_failed) >= self._settings.max_given_up:
            self.stop(
                UnreachableError(
                    f"{self._given_up} calls in a row were given up, the last one after: {message}. All answers are "
                    "kept: run the same command again when the endpoint is well, or raise max_given_up"
                )
            )

    def pause(self, seconds: float, message: str) -> None:
        """Send nothing for so many seconds, as the endpoint asked."""
        if seconds > self._settings.patience_s:
            self.stop(
                UnreachableError(
                    f"the endpoint asks us to wait for {seconds:,.0f} s, more than patience_s="
                    f"{self._settings.patience_s:g}: {message}. All answers are kept: run the same command again then"
                )
            )
        self._paused_until = max(self._paused_until, self._loop.time() + seconds)

    async def sleep(self, seconds: float, message: str) -> None:
        """Wait before another attempt. StoppedError as soon as the run ends.

        `patience_s` may end in the middle of a long wait. That is seen then, and not after it.
        """
        wakes_at = self._loop.time() + seconds
        while (left_s := wakes_at - self._loop.time()) > 0:
            is_told = self._told_of == self._last_good
            patience_s = self._settings.patience_s if is_told else min(SAY_AFTER_S, self._settings.patience_s)
            patient_s = max(0.0, self._last_good + patience_s - self._loop.time()) + 0.01
            try:
                await asyncio.wait_for(self._stopped.wait(), min(left_s, patient_s))
            except TimeoutError:
                self._check_patience(message)
            if self.error is not None:
                raise StoppedError

    def stop(self, error: Exception) -> None:
        """Send nothing more. Attempts under way go on. The first error is the one that is kept."""
        if self.error is None:
            self.error = error
            self._stopped.set()
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(StoppedError())

    # -- decisions ---------------------------------------------------------------------------------

    def _release(self) -> None:
        """Let in those who wait, as many as may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            if self.error is not None:
                self.stop(self.error)
                return
            load, waiter = self._waiting[0]
            if waiter.done():
                self._waiting.popleft()
                continue
            wait_s = self._wait_s(load)
            if self.error is not None:
                continue
            if wait_s > 0:
                if math.isfinite(wait_s):
                    self._timer = self._loop.call_later(wait_s, self._release)
                return
            self._waiting.popleft()
            self._take(load)
            waiter.set_result(None)

    def _wait_s(self, load: Load) -> float:
        """0: send now. Infinite: not before another attempt ends."""
        if self.under_way >= int(self.places):
            return math.inf
        if not self.budget.fits(load.worst):
            if self.under_way == 0:
                self.stop(self.budget.error(load.worst))
            return math.inf
        now = self._loop.time()
        if not self._is_open and self.under_way >= FIRST_PLACES:
            opens_in = self._first_sent + OPENS_AFTER_S - now
            if opens_in > 0:
                return opens_in
            self._is_open = True
        paused = self._paused_until - now
        rates = self._requests.wait_s(now, 1), self._tokens.wait_s(now, load.expected_tokens)
        return max(0.0, paused, *rates)

    def _take(self, load: Load) -> None:
        load.sent = self._loop.time()
        self._first_sent = min(self._first_sent, load.sent)
        self.under_way += 1
        self.budget.hold(load.worst)
        self._requests.take(1)
        self._tokens.take(load.expected_tokens)

    def _adapt(self, load: Load, ending: Ending) -> None:
        if load.sent < self._round_began or (ending == "failed" and not load.is_first):
            return
        self._round_count += 1
        self._round_failed += ending == "failed"
        if ending == "overloaded" or self._round_failed > max(1.0, FAILED_SHARE * self.places):
            self.places = max(1.0, self.places / 2)
            self._new_round()
        elif self._round_count >= self.places:
            step = max(1.0, self._settings.max_in_flight / ROUNDS_TO_RECOVER)
            self.places = min(float(self._settings.max_in_flight), self.places + step)
            self._new_round()

    def _new_round(self) -> None:
        self._round_began, self._round_count, self._round_failed = self._loop.time(), 0, 0

    def _check_patience(self, message: str) -> None:
        silent_s = self._loop.time() - self._last_good
        if silent_s > SAY_AFTER_S and self._told_of != self._last_good:
            self._told_of = self._last_good
            print(
                f"the endpoint has given no answer for {silent_s:,.0f} s, the last: {message}. It is asked until "
                f"{self._settings.patience_s:,.0f} s are over (patience_s)",
                file=sys.stderr,
                flush=True,
            )
        if silent_s > self._settings.patience_s:
            self.stop(
                UnreachableError(
                    f"no answer for {silent_s:,.0f} s and {self._num_failed} attempts (patience_s="
                    f"{self._settings.patience_s:g}), the last: {message}. All answers are kept: run the same command "
                    "again later, or raise patience_s"
                )
            )
