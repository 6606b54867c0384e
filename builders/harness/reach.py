"""Which statements a function needs: those of its own block of code, and what other blocks add.

In: blocks as lists of `Statement`, which of them is the solution, and a name. Out: the source of
the statements that are kept, in order. The rules are in `needed`.
"""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Sequence

from builders.harness.statements import Names, Statement

_BUILTINS = frozenset(dir(builtins))

_MAX_SAME = 20
"""Of more names for one value the last ones are left out, so that the time stays linear."""

Block = Sequence[Statement]


def needed(blocks: Sequence[Block], main: int, names: Names | None) -> str:
    """The code that the names need. Other blocks come before the main one, in the text's order.

    Of the main block all imports are kept, definitions and assignments that a name reaches, and
    what changes a value that it reaches: loops, `try`, `if`, `table.append(1)`, a call of a
    function that fills a table. Also calls that set the interpreter up (`sys.setrecursionlimit`).
    Assertions, examples, prints and the `__main__` part are dropped. Of the other blocks only that
    is kept which the main one lacks, each name from the nearest block before, or else the first one
    after it. Without names (None) all of the main block is kept.
    """
    order = [main, *range(main - 1, -1, -1), *range(main + 1, len(blocks))]
    owner = _owners(blocks, order, main)
    kept = {(main, place) for place, s in enumerate(blocks[main]) if names is None or s.is_import or s.is_setup}
    loaded = _follow(blocks, _triggers(blocks, main, owner, names or frozenset()), names or frozenset(), kept)
    if loaded - owner.keys() - _BUILTINS:
        kept |= {(b, place) for b in order for place, s in enumerate(blocks[b]) if s.has_star}
    places = sorted(kept, key=lambda at: (at[0] == main, at))
    sources = [blocks[block][place].source for block, place in places]
    # It must be the first statement.
    future = [s for s in dict.fromkeys(sources) if s.startswith("from __future__")]
    return "".join(f"{s}\n" for s in [*future, *(s for s in sources if s not in future)])


def _owners(blocks: Sequence[Block], order: Sequence[int], main: int) -> dict[str, int]:
    """For each name the block that it is taken from.

    A function that sets a global, and `f = cache(f)`, give a name its first value only where no
    block does so.
    """
    owner: dict[str, int] = {}
    for is_first in (True, False):
        for block in order:
            for statement in blocks[block]:
                if statement.is_stub and block != main:
                    continue
                bound = (
                    statement.binds - statement.needs_old if is_first else statement.needs_old | statement.late_binds
                )
                for name in bound if block == main else bound - _BUILTINS:
                    owner.setdefault(name, block)
    return owner


def _triggers(
    blocks: Sequence[Block], main: int, owner: dict[str, int], names: Names
) -> dict[str, list[tuple[int, int]]]:
    """For each name the statements that give it a value, or change its value.

    These are in the block that the name is taken from. Changes are also in the main block, and in
    those between the two.
    """
    triggers: dict[str, list[tuple[int, int]]] = defaultdict(list)
    ordered = [*blocks[:main], *blocks[main + 1 :], blocks[main]]
    functions = {name: s for block in ordered for s in block if s.is_definition for name in s.binds}
    imported = {name for block in blocks for s in block if s.is_import for name in s.binds}
    fixed, known = functions.keys() | imported, dict[str, Names]()
    called = {name: s for name, s in functions.items() if name not in names and name != "main"}
    for number, block in enumerate(blocks):
        same = _same_values(block)
        for place, statement in enumerate(block):
            if statement.is_test:
                continue
            changed = (statement.appends | _effects(statement, called, known)) - fixed
            changed |= statement.changes | (statement.registers - imported)
            changed |= {name for other in changed | statement.calls for name in same.get(other, ())} - fixed
            for name in statement.binds | changed:
                source = owner.get(name)
                is_change = name in changed or name in statement.needs_old
                if source == number or (is_change and source is not None and _is_between(source, number, main)):
                    triggers[name].append((number, place))
    return triggers


def _is_between(source: int, number: int, main: int) -> bool:
    return number == main or source < number < main


def _same_values(block: Block) -> dict[str, Names]:
    """For each name with others for the same value, all of them."""
    same: dict[str, Names] = {}
    for statement in block:
        together = statement.aliases.union(*(same.get(name, frozenset()) for name in statement.aliases))
        if len(together) <= _MAX_SAME:
            same |= dict.fromkeys(together, together)
    return same


def _effects(statement: Statement, functions: dict[str, Statement], known: dict[str, Names]) -> Names:
    """What is changed by the functions that the statement calls, and by those that they use."""
    called = [name for name in statement.calls if name in functions]
    for name in called:
        if name not in known:
            known[name] = frozenset(n for s in _used(name, functions) for n in s.late_changes)
    given = statement.gives if any(functions[name].fills_given for name in called) else frozenset()
    return given.union(*(known[name] for name in called))


def _used(name: str, functions: dict[str, Statement]) -> list[Statement]:
    """The function, those that it uses, those that they use, and so on."""
    met = [name]
    for one in met:
        met += [n for n in functions[one].loads if n in functions and n not in met]
    return [functions[one] for one in met]


def _follow(
    blocks: Sequence[Block],
    triggers: dict[str, list[tuple[int, int]]],
    names: Names,
    kept: set[tuple[int, int]],
) -> set[str]:
    """Add to `kept` all that the names reach. Gives back all names that were met."""
    waiting = [*names, *(n for b, place in kept for n in blocks[b][place].loads)]
    met = set(waiting)
    while waiting:
        for block, place in triggers.get(waiting.pop(), ()):
            if (block, place) not in kept:
                kept.add((block, place))
                new = blocks[block][place].loads - met
                met |= new
                waiting += new
    return met
