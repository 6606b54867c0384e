"""The documented functions and methods of Python files.

In: source texts. Out: per file its `Function`s in their order, and how many functions without a
docstring were left out. Functions of the module level and of class bodies count, with their
decorators; nested functions are part of the function around them. A file that does not parse gives
no functions, and `is_parsed` is False. Of a file that only a newer Python parses, the functions
that the running one parses are given; the documented others are named in `refused`.

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
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from builders.code import generated, newer, validity
from builders.code.indentation import Span, dedented, is_one_literal
from builders.code.outline import ASYNC_FUNCTION, CLASS, DOCUMENTED, FUNCTION, UNCLEAR, Definition, Outlined, outlined
from builders.code.signatures import FunctionNode, signature, signature_of
from builders.code.surroundings import NOTHING, Needs, surroundings

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
    imports: tuple[str, ...] | None = None
    """The import statements of its file that it and its context need; None for a text of
    definitions alone."""
    context: str | None = None
    """The constants, functions and small classes of its file that it needs, as text; None where it
    needs none, or too much."""


class Refused(NamedTuple):
    """A documented function that only a newer Python parses, and its first line."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Extracted:
    """What one file gave."""

    functions: list[Function] = field(default_factory=list)
    num_undocumented: int = 0
    is_parsed: bool = True
    refused: list[Refused] = field(default_factory=list)
    is_generated: bool = False
    """Whether the head of the file says that a program wrote it."""


def extract(sources: Sequence[str], methods: bool = True) -> list[Extracted]:
    """The documented functions of many modules, one `Extracted` per text.

    Without `methods` only those of the module level. All texts are held in memory together, so give
    a few megabytes at a time.
    """
    texts = [_normalised(s) for s in sources]
    encoded = [_encoded(t) for t in texts]
    outlines = [None if data is None else outlined(data) for data in encoded]
    regular = [n for n, found in enumerate(outlines) if found is not None]
    accepted = validity.accepted([encoded[n] or b"" for n in regular])
    parsed_by_linter = {n for n, is_accepted in zip(regular, accepted, strict=True) if is_accepted}
    made = [
        _from_outline(data, found, methods)
        if n in parsed_by_linter and data is not None and found is not None
        else _by_parser(text, methods)
        for n, (text, data, found) in enumerate(zip(texts, encoded, outlines, strict=True))
    ]
    doubtful = [n for n, found in enumerate(made) if found is None and encoded[n] is not None]
    is_newer = dict(zip(doubtful, validity.newer([encoded[n] or b"" for n in doubtful]), strict=True))
    whole_files = [
        found or (_of_newer_python(texts[n], methods) if is_newer.get(n) else Extracted(is_parsed=False))
        for n, found in enumerate(made)
    ]
    return [_marked(found, text) for found, text in zip(whole_files, texts, strict=True)]


def _marked(found: Extracted, text: str) -> Extracted:
    return replace(found, is_generated=True) if found.functions and generated.is_generated(text) else found


def functions(source: str) -> Iterator[Function]:
    """Documented functions of a module by its syntax tree. Line ends are normalised to LF."""
    return (f for f in _by_tree(source) if f is not None)


def whole(source: str, methods: bool = True) -> Extracted:
    """What `extract` gives for one file, by its syntax tree."""
    text = _normalised(source)
    found = _by_parser(text, methods)
    if found is None:
        data = _encoded(text)
        is_newer = data is not None and validity.newer([data])[0]
        found = _of_newer_python(text, methods) if is_newer else Extracted(is_parsed=False)
    return _marked(found, text)


def _by_parser(source: str, methods: bool) -> Extracted | None:
    """The functions of a file by its syntax tree; None for one that the running Python refuses."""
    try:
        tree = parsed(source)
        found = list(_of_tree(tree, source, methods))
        documented = [f for f in found if f is not None]
        return Extracted(_with_needs(documented, tree, source), len(found) - len(documented))
    except UNPARSABLE:
        return None


def _with_needs(found: list[Function], tree: ast.Module, source: str) -> list[Function]:
    """The functions with what they need of the file."""
    data = source.encode("utf-8", "surrogatepass")
    if not found or b"\0" in data:
        return found
    starts, texts = _line_starts(data), source.split("\n")
    lines = np.array(_module_lines(tree, data, starts), np.int64).reshape(-1, 2)
    placed = [_place(n, texts, data, starts) for n in tree.body if isinstance(n, (FunctionNode, ast.ClassDef))]
    definitions = np.array(placed, np.int64).reshape(-1, 5)
    return _with_surroundings(found, data, lines, definitions, starts)


def _with_surroundings(
    found: list[Function], data: bytes, lines: np.ndarray, of_module: np.ndarray, starts: list[int]
) -> list[Function]:
    named = {data[at:end].decode(): (at, end) for _, _, at, end, _ in of_module.tolist()}
    places = [
        (starts[f.line - 1], starts[f.line + f.num_lines - 1] - 1, *named.get(f.name.split(".")[0], (0, 0)))
        for f in found
    ]
    needed = surroundings(data, lines, of_module, places)
    return [f._replace(imports=n.imports, context=n.context) for f, n in zip(found, needed, strict=True)]


def _line_starts(data: bytes) -> list[int]:
    """Where each line starts, and where one behind the last line would."""
    return [0, *(np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1).tolist(), len(data) + 1]


_HEADER = re.compile(rb"(?:async(?:\s|\\\n)+)?(?:def|class)(?:\s|\\\n)+([^\s(:\[\\]+)")


def _place(node: FunctionNode | ast.ClassDef, lines: list[str], data: bytes, starts: list[int]) -> tuple[int, ...]:
    """The start, the end, the start and end of the name, and the kind of a definition."""
    header = _HEADER.match(data, starts[node.lineno - 1] + node.col_offset)
    assert header, f"no definition at line {node.lineno}"
    first = _first_line(node, lines)
    end = starts[node.end_lineno or node.lineno] - 1
    kind = CLASS if isinstance(node, ast.ClassDef) else FUNCTION
    return starts[first - 1], end, *header.span(1), kind


def _module_lines(tree: ast.Module, data: bytes, starts: list[int]) -> list[tuple[int, int]]:
    """The lines that `outlined` tells about the module level."""
    found = set()
    waiting = list[tuple[ast.AST, bool, bool]]((n, True, False) for n in tree.body)
    has_globals = b"global" in data
    while waiting:
        node, is_outside, is_first = waiting.pop()
        is_definition = isinstance(node, (FunctionNode, ast.ClassDef))
        if isinstance(node, ast.stmt) and not is_definition and (is_outside or isinstance(node, ast.Global)):
            line = starts[node.lineno - 1]
            before = data[line : line + node.col_offset]
            is_alone = not before.strip(b" \t\f")
            if is_alone or (is_first and is_outside):  # what stands before is `else:` or the like
                at = line + (node.col_offset if is_alone else len(before) - len(before.lstrip(b" \t\f")))
                found.add((at, starts[node.end_lineno or 0] - 1))
        if (has_globals or not is_definition) and isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            blocks = (getattr(node, name, ()) for name in ("body", "handlers", "cases", "orelse", "finalbody"))
            is_outside = is_outside and not is_definition
            waiting += [(n, is_outside, k == 0) for block in blocks for k, n in enumerate(block)]
    return sorted(found)


def _of_newer_python(source: str, methods: bool) -> Extracted:
    """The functions of a file that only a newer Python parses."""
    lines = source.split("\n")
    found: list[Function] = []
    refused: list[Refused] = []
    num_undocumented = 0
    for placed in newer.definitions(source):
        prefix = placed.name.rpartition(".")[0]
        if prefix and not methods:
            continue
        text = lines[placed.line - 1 : placed.end_line]
        part = ["if 1:", *text] if placed.width else text
        try:
            node = parsed("\n".join(part)).body[0]
        except UNPARSABLE:
            refused += [Refused(placed.name, placed.line)] if placed.is_documented else []
            num_undocumented += not placed.is_documented
            continue
        node = node.body[0] if isinstance(node, ast.If) else node
        docstring = _documented(node) if isinstance(node, FunctionNode) else ""
        if isinstance(node, FunctionNode) and docstring:
            function = _function(f"{prefix}." if prefix else "", node, docstring, part)
            found.append(function._replace(line=placed.line))
        num_undocumented += not docstring
    data = _encoded(source)
    outline = None if data is None else outlined(data)
    if data is not None and outline is not None:
        found = _with_surroundings(found, data, outline.lines, outline.of_module, _line_starts(data))
    return Extracted(found, num_undocumented, refused=refused)


def _by_tree(source: str, methods: bool = True) -> Iterator[Function | None]:
    """One item per definition: a function, or None for one without a docstring."""
    source = _normalised(source)
    yield from _of_tree(parsed(source), source, methods)


def _of_tree(tree: ast.Module, source: str, methods: bool) -> Iterator[Function | None]:
    lines = source.split("\n")
    for prefix, node in _definitions(tree.body, methods):
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


def _from_outline(data: bytes, outline: Outlined, methods: bool = True) -> Extracted:
    found, num_functions = outline.documented(methods)
    if not found:
        return Extracted([], num_functions)
    is_simple = not any(c in data for c in _ODD_SPACES)
    prefixes: dict[int, tuple[str, int, int]] = {}
    names, places = [], []
    for d in found:
        prefix, at, end = _prefix(data, outline, d.parent, prefixes) if d.parent >= 0 else ("", d.name_at, d.name_end)
        names.append(prefix + data[d.name_at : d.name_end].decode())
        places.append((d.start, d.end, at, end))
    needed = surroundings(data, outline.lines, outline.of_module, places)
    made = [_cut_out(data, d, name, is_simple, needs) for d, name, needs in zip(found, names, needed, strict=True)]
    functions_ = [f for f in made if f is not None]
    return Extracted(functions_, num_functions - len(functions_))


def _prefix(data: bytes, outline: Outlined, row: int, known: dict[int, tuple[str, int, int]]) -> tuple[str, int, int]:
    """The name of a class with those around it and a dot, and where the outermost name is."""
    if row not in known:
        d = Definition._make(outline.rows[row].tolist())
        before, at, end = _prefix(data, outline, d.parent, known) if d.parent >= 0 else ("", d.name_at, d.name_end)
        known[row] = f"{before}{data[d.name_at : d.name_end].decode()}.", at, end
    return known[row]


def _cut_out(data: bytes, d: Definition, name: str, is_simple: bool, needs: Needs = NOTHING) -> Function | None:
    raw = data[d.start : d.end].decode()
    docstring = _docstring(data, d, raw)
    if not docstring:
        return None
    return Function(
        name=name,
        code=dedented(raw, d.width, _literal_span(data, d), is_simple) if d.width else raw,
        signature=signature(data[d.def_at : d.header_end].decode()),
        docstring=docstring,
        line=d.line,
        num_lines=d.end_line - d.line + 1,
        is_method=d.parent >= 0,
        is_async=d.kind == ASYNC_FUNCTION,
        imports=needs.imports,
        context=needs.context,
    )


def _literal_span(data: bytes, d: Definition) -> Span | None:
    """Where the string literal of the docstring stands in the text of the definition, in
    characters."""
    if d.doc != DOCUMENTED:
        return None
    before, literal = data[d.start : d.doc_at].decode(), data[d.doc_at : d.doc_end].decode()
    return len(before), len(before) + len(literal)


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
    text, width = "\n".join(lines[first - 1 : last]), _width(node, lines)
    return Function(
        name=prefix + node.name,
        code=dedented(text, width, _literal_of(node, lines, first)) if width else text,
        signature=signature_of(node),
        docstring=docstring,
        line=first,
        num_lines=last - first + 1,
        is_method=bool(prefix),
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )


def _width(node: FunctionNode, lines: list[str]) -> int:
    """The characters before a definition: page breaks and its indentation."""
    return len(lines[node.lineno - 1].encode()[: node.col_offset].decode())


def _literal_of(node: FunctionNode, lines: list[str], first: int) -> Span | None:
    """Where the docstring stands in the text from line `first` on, if it is one literal alone."""
    statement = node.body[0]
    assert isinstance(statement, ast.Expr)
    text = statement.value
    ends = [(n.lineno, n.col_offset, n.end_lineno or 0, n.end_col_offset or 0) for n in (statement, text)]
    if ends[0] != ends[1]:  # in brackets
        return None
    start, stop = (
        sum(len(line) + 1 for line in lines[first - 1 : number - 1]) + len(lines[number - 1].encode()[:column].decode())
        for number, column in (ends[0][:2], ends[0][2:])
    )
    literal = "\n".join(lines[first - 1 : ends[0][2]])[start:stop]
    return (start, stop) if is_one_literal(literal) else None


def _first_line(node: FunctionNode | ast.ClassDef, lines: list[str]) -> int:
    """The first line of a definition, counted from 1: that of its first decorator's @, or of the
    def.

    The @ may stand above its expression.
    """
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    while node.decorator_list and not lines[first - 1].lstrip().startswith("@"):
        first -= 1
    return first


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
