"""What a function needs of its own file: imports, and constants and functions beside it."""

import argparse
import ast
import inspect
import textwrap

import pytest

from builders.checks import names
from builders.code.functions import extract, whole
from store.shown import shown_code

SOURCE = '''"""Doc."""
from __future__ import annotations
import os, os.path
import numpy as np  # x
from typing import (
    Any,
    Dict as D,  # why
)
from . import helper
from everything import *
try:
    import simplejson as json
except ImportError:
    import json
if TYPE_CHECKING:
    from collections.abc import Iterable

    def unused():
        import inner

LIMIT = 3  # three
TABLE: D = {"a": LIMIT}
state = 0
words = []
words += ["a"]


def _inner(a):
    return np.sum(a)


def outer(a: Iterable, os=None) -> "D[str, Any]":
    """Doc."""
    np = 1
    return _inner(a), f"{json.dumps(TABLE)}", "helper", a.helper, f(helper=1)


def third(a):
    """Doc."""
    return [np for np, b in a], np, helper, inner


def changed():
    """Doc."""
    global state
    state = 1


def reads():
    """Doc."""
    return state, words


class Small:
    size = LIMIT


class K:
    def m(self):
        """Doc."""
        return K, Small, m
'''


def test_imports_and_context_are_those_of_the_file():
    (found,) = extract([SOURCE])
    assert found == whole(SOURCE)
    assert {f.name: (f.imports, f.context) for f in found.functions} == {
        "outer": (
            (
                "import numpy as np",
                "from typing import Any, Dict as D",
                "import json",
                "from collections.abc import Iterable",
            ),
            'LIMIT = 3  # three\nTABLE: D = {"a": LIMIT}\n\n\ndef _inner(a):\n    return np.sum(a)',
        ),
        "third": (("import numpy as np",), None),
        "changed": ((), None),
        "reads": ((), None),
        "K.m": ((), "LIMIT = 3  # three\n\n\nclass Small:\n    size = LIMIT"),
    }


@pytest.mark.parametrize(
    "body, is_needed",
    [
        ("return re.sub(a)", True),
        ("return a.re", False),
        ("return 're'", False),
        ("return f'{re.sub}'", True),
        ("return f'{{re}} {a:re}'", False),
        ("return a(re=1)", False),
        ("return a(re == 1)", True),
        ("re = 1\n    return re", False),
        ("a, (b, re) = a\n    return re", False),
        ("a[re] = 1", True),
        ("a.re = re", True),
        ("re += 1", False),
        ("re: int = 1\n    return re", False),
        ("a: re = 1", True),
        ("b: 're.Match' = 1", True),
        ("for a, re in a: pass\n    return re", False),
        ("for a in re: pass", True),
        ("with a as re: return re", False),
        ("if (re := a): return re", False),
        ("import re\n    return re", False),
        ("import re.b as c\n    return re", True),
        ("import b as re\n    return re", False),
        ("return [re for re in a]", False),
        ("return [re for re in a], re", True),
        ("return [b for b in re]", True),
        ("return lambda re: re", False),
        ("return a(lambda re: re, re)", True),
        ("return lambda b, c=lambda re: 1: re", True),
        ("def b(re): return re\n    return b", False),
        ("def b(re): return 1\n    return re", True),
        ("def b(c=re): return 1", True),
        ("def re(): return 1\n    return re", False),
        ("class B:\n        def re(self): return re", True),
        ("try: pass\n    except a as re: return re", False),
        ("match a:\n        case [re]: return re", False),
        ("match a:\n        case re.b: return 1", True),
        ("else_ = 1\n    if a: re = 1\n    return re", False),
        ("return a \\\n        . re", False),
    ],
)
def test_a_name_counts_where_its_function_takes_it_from_the_module(body, is_needed):
    source = f"import re\n\n\ndef f(a):\n    'Doc.'\n    {body}\n"
    ast.parse(source)
    (found,) = extract([source])
    assert [f.imports for f in found.functions] == [("import re",) if is_needed else ()]


@pytest.mark.parametrize(
    "changed",
    [
        "if a:\n    STATE = 1",
        "if a: STATE = 1",
        "if a: pass\nelse: STATE = 1",
        "if a:\n    try: pass\n    except b: STATE = 1",
        "if a:\n    for b in c:\n        STATE: int = 1",
        "try:\n    import a\n    STATE = 1\nexcept b: pass",
        "if a:\n    STATE += 1",
        "if a:\n    STATE[0] = 1",
        "STATE.update(a)",
    ],
)
def test_what_the_file_changes_later_is_no_constant(changed):
    source = f"STATE = {{}}\nOTHER = 2\n{changed}\n\n\ndef f(a):\n    'Doc.'\n    return STATE, OTHER\n"
    ast.parse(source)
    (found,) = extract([source])
    assert found == whole(source)
    assert [f.context for f in found.functions] == ["OTHER = 2"]
    same = source.replace(changed, "if a:\n    STATES = 1\n    x(STATE=STATE == 1)")
    assert [f.context for f in extract([same])[0].functions] == ["STATE = {}\nOTHER = 2"]


def test_headers_belong_to_the_module():
    source = "import re, os\nfrom t import Any\n@re\ndef f(re, os=os) -> t[int, Any]:\n    'Doc.'\n    return re, os\n"
    (found,) = extract([source])
    assert found.functions[0].imports == ("import re", "import os", "from t import Any")


def test_what_leads_to_too_much_has_no_context():
    long = "TABLE = [" + "1, " * 4000 + "]\nA = TABLE\n\n\ndef f(a):\n    'Doc.'\n    return A\n"
    (found,) = extract([long])
    assert [(f.imports, f.context) for f in found.functions] == [((), None)]


def test_a_text_of_definitions_alone_has_no_file():
    (found,) = extract(["def f(a):\n    'Doc.'\n    return np.sum(a)\n"])
    assert [(f.imports, f.context) for f in found.functions] == [(None, None)]


def test_functions_of_a_file_of_newer_syntax_have_their_file():
    (found,) = extract(["import os\ndef f(a):\n    'Doc.'\n    return os\ndef g[T](a: T):\n    'Doc.'\n"])
    assert [(f.name, f.imports) for f in found.functions][:1] == [("f", ("import os",))]


def test_no_import_of_the_file_is_missed_in_real_files():
    """ruff finds no name undefined that the file imports, and each import is one that it wants."""
    sources = [inspect.getsource(module) for module in (argparse, ast, inspect, textwrap)]
    found = [(source, f) for source, one in zip(sources, extract(sources), strict=True) for f in one.functions]
    undefined = names.undefined_names([shown_code(f.imports, f.context, f.code) for _, f in found])
    alone = names.undefined_names([shown_code(None, f.context, f.code) for _, f in found])
    assert len(found) > 100
    assert any(alone)
    for (source, f), still, before in zip(found, undefined, alone, strict=True):
        bound = {
            (alias.asname or alias.name).split(".")[0]
            for node in ast.parse(source).body
            if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
            for alias in node.names
        }
        assert not bound & set(still), f.name
        assert bool(f.imports) == bool(set(before) - set(still)), f.name
