"""YAML as recipes use it: mappings, lists and values, and nothing that grows while it is read.

In: a text. Out: its value. Refused are anchors and aliases, with which a few lines become
gigabytes; a key that stands twice, of which YAML would silently take the last; text that is nested
too deeply or too long; a number that is too long. The message says the line and what stands there.

    read("a: &x 1")    # InputError: line 1: an anchor (&x): write the value where it is used
"""

from __future__ import annotations

from typing import Any

import yaml

from store.errors import InputError

MAX_CHARS = 300_000
"""The recipes that ship have 5,000. To read this many takes some seconds."""
MAX_DEPTH = 20
"""Mappings and lists inside one another. A recipe needs five."""
MAX_NUMBER_CHARS = 100
"""No recipe needs a number with more. In YAML, 1:30:00 is one too: 140,000 parts take seconds."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, AttributeError)
"""What the YAML parser raises. For 2024-99-99, which looks like a date, it is a ValueError."""
_SHOWN = 60


def read(text: str) -> Any:
    """The value of a text. InputError with the line and the fix."""
    if len(text) > MAX_CHARS:
        raise InputError(
            f"it has {len(text):,} characters, and a recipe has {MAX_CHARS:,} at most: is it the right file?"
        )
    try:
        return yaml.load(text, _Plain)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(f"{_place(text, mark.line) if mark else ''}{shortened(str(error.problem))}") from None
    except _NOT_YAML as error:
        raise InputError(shortened(str(error) or type(error).__name__)) from None


def write(value: Any) -> str:
    """The YAML of plain values, which `read` reads."""
    return yaml.dump(value, Dumper=_WithoutAliases, sort_keys=False)


def shortened(text: str, most: int = 200) -> str:
    """The text in one line, with its middle left out where it is too long."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 20]}… ({len(text):,} characters)"


def _place(text: str, line: int) -> str:
    lines = text.splitlines()
    written = lines[line].strip() if line < len(lines) else ""
    return f"line {line + 1} ({shortened(written, _SHOWN)!r}): " if written else f"line {line + 1}: "


class _Plain(yaml.SafeLoader):
    """A loader of plain YAML."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise self._refused(event, f"an alias (*{event.anchor})")
        if event.anchor is not None:
            raise self._refused(event, f"an anchor (&{event.anchor})")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice: leave one out", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER_CHARS:
            raise yaml.MarkedYAMLError(
                problem=f"a number of {len(node.value):,} characters, of which {MAX_NUMBER_CHARS} may be: write a text in "
                "quotes",
                problem_mark=node.start_mark,
            )
        return super().construct_object(node, deep)

    def _refused(self, event: Any, what: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=f"{what}: write the value where it is used", problem_mark=event.start_mark)


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
