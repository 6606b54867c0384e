"""`scoder …` with trainings that save their state each second, instead of every ten minutes.

A training of the smoke recipe takes less than a minute. So that one which is killed has a state to
go on from, a run with faults is started by `python -m tests.eager_states run …`.
"""

from functools import partial

import commands
from training import launch

EVERY_S = 1.0

if __name__ == "__main__":
    launch.train = partial(launch.train, state_every_s=EVERY_S)  # type: ignore[assignment]  # the same, with another default
    commands.main()
