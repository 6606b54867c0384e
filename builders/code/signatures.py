"""Signatures of functions, written as `ast.unparse` writes them.

In: the text of a header, from `def` to its colon. Out: `def f(a, b=1) -> int:`.

How: nearly all headers consist of names, plain annotations and plain constants. Regular expressions
normalise these, and the result must match a strict form. All other headers are parsed.
"""

from __future__ import annotations

import ast
import re
import warnings
from functools import lru_cache

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_NAME = r"[A-Za-z_]\w*"
_STRING = r"'[^'\"\\#=\x00-\x1f\x7f]*'"
_NUMBER = r"-?(?:0|[1-9]\d*|(?:0|[1-9]\d{0,5})\.(?:0|\d{0,2}[1-9]))"
_PATH = rf"{_NAME}(?:\.{_NAME})*"
_CONSTANT = rf"(?:{_NUMBER}|{_PATH}|{_STRING}|\(\)|\[\]|\{{\}}|\.\.\.)"
_ITEM = rf"(?:{_PATH}|{_STRING}|\.\.\.)"
_INNER = rf"{_ITEM}(?:\[{_ITEM}(?:, {_ITEM})*\])?"
_TYPE = rf"{_ITEM}(?:\[{_INNER}(?:, {_INNER})*\])?(?: \| {_INNER})*"
_PARAMETER = rf"(?:\*{{0,2}}{_NAME}(?:: {_TYPE})?(?:={_CONSTANT})?|\*|/)"
_PLAIN = re.compile(rf"(?:async )?def {_NAME}\((?:{_PARAMETER}(?:, {_PARAMETER})*)?\)(?: -> {_TYPE})?:", re.ASCII)
_LITERAL = re.compile(r"'[^']*'")
_BREAK, _OPENED, _CLOSED = (
    re.compile(r"(?<!\s)\s*\n\s*"),
    re.compile(r"([(\[]) "),
    re.compile(r"(?:,? ?(?=\))| (?=\]))"),
)


def signature(header: str) -> str:
    """The signature of a header that parses.

    signature("def f(a,b = 1)->int:")  # 'def f(a, b=1) -> int:'
    """
    if _PLAIN.fullmatch(header):
        return header
    if len(header) < 2000:
        spaced = header.replace('"', "'") if "'" not in header else header
        plain = spaced.replace(" = ", "=")
        if "\n" in plain or ",)" in plain:
            plain = _CLOSED.sub("", _OPENED.sub(r"\1", _BREAK.sub(" ", plain)))
        # a change inside a string would make it another string: then the header is parsed
        if _PLAIN.fullmatch(plain) and _LITERAL.findall(plain) == _LITERAL.findall(spaced):
            return plain
    return _parsed_signature(header)


@lru_cache(maxsize=4096)
def _parsed_signature(header: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        node = ast.parse(f"{header} pass").body[0]
    assert isinstance(node, FunctionNode), f"not the header of a function: {header!r}"
    return signature_of(node)


def signature_of(node: FunctionNode) -> str:
    """`def f(a, b=1) -> int:`, normalised as by `ast.unparse`, without decorators."""
    bare = type(node)(name=node.name, args=node.args, body=[ast.Pass()], decorator_list=[], returns=node.returns)
    if hasattr(node, "type_params"):  # Python 3.12
        bare.type_params = node.type_params  # type: ignore[union-attr,unused-ignore]
    return ast.unparse(ast.copy_location(bare, node)).split("\n    pass")[0]
