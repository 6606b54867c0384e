"""All that stands in the way of a run, said at once.

In: checks, each of which raises an error for what it refuses. Out: these errors, or one that says
all of them.

    found = refused([lambda: check(one), lambda: check(other)], InputError)
    if found:
        raise together(found)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from store.errors import InputError


def refused(checks: Iterable[Callable[[], None]], *kinds: type[Exception]) -> list[Exception]:
    """The errors of the checks, in their order. What two of them say is told once.

    Only errors of these kinds are gathered. Any other is a bug, and is raised.
    """
    found: dict[str, Exception] = {}
    for check in checks:
        try:
            check()
        except kinds as error:
            found.setdefault(str(error), error)
    return list(found.values())


def together(errors: Sequence[Exception]) -> Exception:
    """The only error as it is, or an InputError that says all of them."""
    if len(errors) == 1:
        return errors[0]
    lines = [f"{number}. {_indented(str(error))}" for number, error in enumerate(errors, 1)]
    return InputError("\n".join([f"{len(errors)} things are in the way:", *lines]))


def _indented(text: str) -> str:
    return text.replace("\n", "\n   ")
