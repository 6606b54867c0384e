"""The documented functions and methods of Python files.

In: source texts. Out: per file its `Function`s in their order, and how many functions without a
docstring were left out. Functions of the module level and of class bodies count, with their
decorators; nested functions are part of the function around them. A file that does not parse gives
no functions, and `is_parsed` is False.

How: `functions` defines the result: it sends the whole file through `ast`. `extract` gives the same
result many times faster. A compiled scan finds the functions (`builders.code.outline`). One linter
process tells which files parse (`builders.code.validity`). Only files that both leave open go
through `ast`.

    found = functions.extract([Path("module.py").read_text()])[0]
    print([f.signature for f in found.functions], found.num_undocumented)
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from builders.code import validity
from builders.code.outline import ASYNC_FUNCTION, CLASS, UNCLEAR, Definition, outline
from builders.code.signatures import FunctionNode, signature, signature_of

_ODD_SPACES = tuple(bytes([c]) for c in b"\t\v\f\x1c\x1d\x1e\x1f")

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `ast.parse` raises for a text that is not Python, or is too deep or too long for it."""


class Function(NamedTuple):
    """A function as found."""

    name: str
    code: str
    signature: str
    docstring: str
    line: int
    num_lines: int
    is_method: bool
    is_async: bool


@dataclass(frozen=True, slots=True)
class Extracted:
    """What one file gave."""

    functions: list[Function] = field(default_factory=list)
    num_undocumented: int = 0
    is_parsed: bool = True


def extract(sources: Sequence[str], methods: bool = True) -> list[Extracted]:
    """The documented functions of many modules, one `Extracted` per text.

    Without `methods` only those of the module level. All texts are held in memory together, so give
    a few megabytes at a time.
    """
    texts = [_normalised(s) for s in sources]
    encoded = [_encoded(t) for t in texts]
    outlines = [None if data is None else outline(data) for data in encoded]
    regular = [n for n, found in enumerate(outlines) if found is not None]
    accepted = validity.accepted([encoded[n] or b"" for n in regular])
    parsed_by_linter = {n for n, is_accepted in zip(regular, accepted, strict=True) if is_accepted}
    return [
        _from_outline(data, found, methods)
        if n in parsed_by_linter and data is not None and found is not None
        else whole(text, methods)
        for n, (text, data, found) in enumerate(zip(texts, encoded, outlines, strict=True))
    ]


def functions(source: str) -> Iterator[Function]:
    """Documented functions of a module by its syntax tree. Line ends are normalised to LF."""
    return (f for f in _by_tree(source) if f is not None)


def whole(source: str, methods: bool = True) -> Extracted:
    """What `extract` gives for one file, by its syntax tree."""
    try:
        found = list(_by_tree(source, methods))
    except UNPARSABLE:
        return Extracted(is_parsed=False)
    documented = [f for f in found if f is not None]
    return Extracted(documented, len(found) - len(documented))


def _by_tree(source: str, methods: bool = True) -> Iterator[Function | None]:
    """One item per definition: a function, or None for one without a docstring."""
    source = _normalised(source)
    lines = source.split("\n")
    for prefix, node in _definitions(parsed(source).body, methods):
        docstring = _documented(node)
        yield _function(prefix, node, docstring, lines) if docstring else None


def _normalised(source: str) -> str:
    if "\r" in source:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    return source.removeprefix("\ufeff")


def _encoded(text: str) -> bytes | None:
    """The text as UTF-8; None when it has characters that cannot stand in a source file."""
    try:
        return None if "\0" in text else text.encode("utf-8")
    except UnicodeEncodeError:
        return None


def _from_outline(data: bytes, found: list[Definition], methods: bool = True) -> Extracted:
    if not methods:
        found = [d for d in found if d.parent < 0]
    is_simple = not any(c in data for c in _ODD_SPACES)
    names: list[str] = []
    for d in found:
        prefix = f"{names[d.parent]}." if d.parent >= 0 else ""
        names.append(prefix + data[d.name_at : d.name_end].decode())
    made = [
        _cut_out(data, d, name, is_simple) for d, name in zip(found, names, strict=True) if d.doc and d.kind != CLASS
    ]
    functions_ = [f for f in made if f is not None]
    return Extracted(functions_, sum(d.kind != CLASS for d in found) - len(functions_))


def _cut_out(data: bytes, d: Definition, name: str, is_simple: bool) -> Function | None:
    raw = data[d.start : d.end].decode()
    docstring = _docstring(data, d, raw)
    if not docstring:
        return None
    return Function(
        name=name,
        code=_without_indentation(raw, d.width, is_simple) if d.width else raw,
        signature=signature(data[d.def_at : d.header_end].decode()),
        docstring=docstring,
        line=d.line,
        num_lines=d.end_line - d.line + 1,
        is_method=d.parent >= 0,
        is_async=d.kind == ASYNC_FUNCTION,
    )


def _docstring(data: bytes, d: Definition, raw: str) -> str:
    """The cleaned docstring; empty when there is none."""
    if d.doc == UNCLEAR:
        node = parsed(f"if 1:\n{raw}" if d.width else raw).body[0]
        node = node.body[0] if isinstance(node, ast.If) else node
        assert isinstance(node, FunctionNode), f"not a function: {raw[:80]!r}"
        return _documented(node)
    literal = data[d.doc_at : d.doc_end].decode()
    if "\\" in literal:
        value = parsed(literal).body[0].value.value  # type: ignore[attr-defined]
        return _cleaned(value)
    text = literal.lstrip("rRuU")
    width = 3 if text[:3] in ('"""', "'''") else 1
    return _cleaned(text[width:-width])


def parsed(source: str) -> ast.Module:
    """The syntax tree. Warnings about the style of foreign code, such as invalid escapes, are not
    shown.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _definitions(body: list[ast.stmt], methods: bool, prefix: str = "") -> Iterator[tuple[str, FunctionNode]]:
    for node in body:
        if isinstance(node, FunctionNode):
            yield prefix, node
        elif methods and isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, methods, f"{prefix}{node.name}.")


def _documented(node: FunctionNode) -> str:
    return _cleaned(ast.get_docstring(node, clean=False) or "")


def _cleaned(docstring: str) -> str:
    """As by `inspect.cleandoc`; empty when there is only white space."""
    if not docstring.strip():
        return ""
    # an escape such as \\ud800 names half a character, which no file or table can hold
    return inspect.cleandoc(docstring).encode("utf-8", "replace").decode("utf-8")


def _function(prefix: str, node: FunctionNode, docstring: str, lines: list[str]) -> Function:
    first = _first_line(node, lines)
    last = node.end_lineno or node.lineno
    return Function(
        name=prefix + node.name,
        code="\n".join(dedented(lines[first - 1 : last], node.col_offset)),
        signature=signature_of(node),
        docstring=docstring,
        line=first,
        num_lines=last - first + 1,
        is_method=bool(prefix),
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )


def _first_line(node: FunctionNode, lines: list[str]) -> int:
    """The first line of a definition, counted from 1: that of its first decorator's @, or of the
    def.

    The @ may stand above its expression.
    """
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    while node.decorator_list and not lines[first - 1].lstrip().startswith("@"):
        first -= 1
    return first


def dedented(lines: list[str], width: int) -> list[str]:
    """Lines without the indentation of their definition.

    Lines of a docstring may stand further left. These stay as they are.
    """
    page_breaks = len(lines[0][:width]) - len(lines[0][:width].lstrip("\f"))  # they do not indent
    lines, width = [lines[0][page_breaks:], *lines[1:]], width - page_breaks
    return [line[width:] if not line[:width].strip() else line for line in lines]


def _without_indentation(text: str, width: int, is_simple: bool) -> str:
    """As by `dedented`. `is_simple` promises that the text has no white space but spaces and line
    ends.
    """
    if is_simple and text.isascii() and " \n" not in text:
        return text[width:].replace("\n" + " " * width, "\n")
    return _indentation(width).sub("", text)


@cache
def _indentation(width: int) -> re.Pattern[str]:
    """At the start of a line: that much white space, or less of it on a blank line."""
    return re.compile(rf"^(?:[^\S\n]{{{width}}}|[^\S\n]{{1,{width}}}$)", re.MULTILINE)


def without_docstring(code: str) -> str:
    """The code of one documented function without its docstring.

    SyntaxError or ValueError when the docstring cannot be taken out.
    """
    node = parsed(code).body[0]
    if not isinstance(node, FunctionNode) or ast.get_docstring(node) is None or len(node.body) < 2:
        raise ValueError("not a documented function with a body")
    text = node.body[0]
    lines = code.split("\n")
    end = text.end_lineno or text.lineno
    head, tail = lines[: text.lineno - 1], lines[end:]
    if lines[text.lineno - 1][: text.col_offset].strip() or node.body[1].lineno == end:
        raise ValueError("the docstring shares its line with other code")
    while tail and not tail[0].strip():
        tail = tail[1:]
    return "\n".join(head + tail)
