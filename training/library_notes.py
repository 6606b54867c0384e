"""Keeps the notes of libraries out of terminals and logs that are read by people.

Where torchao is installed, transformers loads it, and it says what it lacks on this machine.

    hush()    # in each process, before it loads transformers
"""

from __future__ import annotations

import logging

TALKATIVE = ("torchao", "torch.utils._pytree")


def hush() -> None:
    """Show only the errors of these libraries."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
