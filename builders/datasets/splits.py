"""Which config and which split of a dataset are read where nobody names one.

In: the names that there are, and perhaps the wanted one. Out: a name. Where there are others and
none was named, standard error says which one is read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache

from store.errors import InputError


def config_of(place: str, names: Sequence[str], config: str | None, usual: str | None) -> str | None:
    """The config that is named, else the only one, else that which the dataset itself calls usual.

    InputError lists the configs where none can be chosen.
    """
    if config is not None:
        if config not in names:
            raise InputError(
                f"{place} has no config {config}. Its configs are {', '.join(names)}: name one, as {place}:CONFIG"
            )
        return config
    if len(names) < 2:
        return None
    if usual is None:
        raise InputError(f"{place} has the configs {', '.join(names)}: name one of them, as {place}:{names[0]}")
    _say_others(place, "config", usual, names)
    return usual


def split_of(place: str, names: Sequence[str], split: str | None, usual: str) -> str:
    """The split that is named, else the only one, else the usual one.

    InputError lists the splits where none can be chosen.
    """
    wanted = split or (names[0] if len(names) == 1 else usual)
    # datasets also takes parts of splits, such as train[:10]
    if wanted.partition("[")[0] in names:
        if split is None and len(names) > 1:
            _say_others(place, "split", wanted, names)
        return wanted
    told = f"{place} has the splits {', '.join(names) or '(none)'}: name one of them"
    raise InputError(f"{place} has no split {split}. {told}" if split else told)


def _say_others(place: str, what: str, chosen: str, names: Sequence[str]) -> None:
    say(f"{place}: the {what} {chosen} is read, and not {', '.join(n for n in names if n != chosen)}")


@cache
def say(told: str) -> None:
    """Print it on standard error, once: the first rows of a dataset are often read before all."""
    print(told, file=sys.stderr, flush=True)
