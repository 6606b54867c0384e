"""Which member of a pool answers which run of requests.

In: runs, and members that come, answer and die. Out: each run at one member at a time. A run goes
to the member that has least to do. At the end of a stream one may have nothing left while another
has runs that it has not begun: half of those are called back, and given to the idle one.

All of this is done with the lock of the pool held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from builders.engines.members import Member
from builders.engines.messages import Drop, Recall
from builders.engines.runs import Call, Part

PROMPTS_AT_A_REPLICA = 2048
"""More than a replica has in its engine (1,536), so that it never waits for this process."""


class Dispatch:
    """See the module."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._waiting: deque[Part] = deque()

    def add(self, part: Part) -> None:
        """Hand out one more run."""
        self._waiting.append(part)
        self.hand_out()

    def hand_out(self) -> None:
        """Send what waits, in its order, each to the member that has least to do."""
        while self._waiting:
            part, most = self._waiting[0], self.most()
            free = [member for member in self._members if member.is_ready and _takes(member, part, most)]
            if not free:
                return
            self._waiting.popleft()
            min(free, key=lambda member: member.load).give(part)
        self._recall()

    def most(self) -> int:
        """Prompts of a member at most. While others are starting, it leaves them their share.

        Else the first one that is ready would take all of a short stream. Those that wait in the
        queue of a cluster get none.
        """
        near = [member for member in self._members if member.is_near]
        if all(member.is_ready for member in near):
            return PROMPTS_AT_A_REPLICA
        open_prompts = sum(m.load for m in self._members) + sum(part.num_prompts for part in self._waiting)
        return min(PROMPTS_AT_A_REPLICA, -(-open_prompts // len(near)))

    def forget(self, call: Call) -> None:
        """Nothing of a call is wanted any more. What was sent with it goes to other members."""
        self._waiting = deque(part for part in self._waiting if part.call is not call)
        for member in self._members:
            if any(part.call is call for part in member.parts.values()):
                member.send(Drop())
                self.give_back(member, without=call)
        self.hand_out()

    def give_back(self, member: Member, without: Call | None = None) -> int:
        """What a member has not answered comes first again. In how many hangs some of it was."""
        back = [part.again(hung=bool(member.hung)) for part in member.parts.values() if part.call is not without]
        self._waiting.extendleft(reversed(back))
        member.parts.clear()
        member.load = 0
        return max((part.num_hangs for part in back), default=0)

    def returned(self, member: Member, runs: Iterable[int]) -> None:
        """A member gave back what it had not begun of the runs that were called back."""
        back = [part for number in runs if (part := member.take_back(number)) is not None]
        if len(back) < len(member.recalled):  # then it has begun those that came before, too
            for part in member.parts.values():
                part.is_begun = True
        member.recalled = ()
        self._waiting.extend(part.again() for part in back)
        self.hand_out()

    def _recall(self) -> None:
        """Call runs back for a member that has nothing to do."""
        ready = [member for member in self._members if member.is_ready]
        if all(member.parts for member in ready) or any(member.recalled for member in ready):
            return
        unbegun = max((member.unbegun() for member in ready), key=lambda parts: sum(p.num_prompts for p in parts))
        if back := tuple(part.number for part in unbegun[len(unbegun) // 2 :]):
            richest = next(member for member in ready if back[0] in member.parts)
            richest.recalled = back
            richest.send(Recall(back))


def _takes(member: Member, part: Part, most: int) -> bool:
    """Whether a member may get one more run. It may always get a first one."""
    if not member.parts:
        return True
    return not part.is_whole and member.load + part.num_prompts <= most
