"""What a function needs of its own file."""

from builders.checks.imports import without_package
from builders.code.functions import extract, whole

SOURCE = '''"""Doc."""
from __future__ import annotations
import os, os.path
import numpy as np  # x
from typing import (
    Any,
    Dict as D,
)
from . import helper
from everything import *
try:
    import simplejson as json
except ImportError:
    import json
if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 3  # three
TABLE: D = {"a": LIMIT}


def _inner(a):
    return np.sum(a)


def outer(a: Iterable, os=None) -> "D[str, Any]":
    """Doc."""
    np = 1
    return _inner(a), f"{json.dumps(TABLE)}", "helper", a.helper, f(helper=1)


def third(a):
    """Doc."""
    return [np for np, b in a], np, helper


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
    needs = {f.name: (f.imports, f.context) for f in found.functions}
    assert needs == {
        "outer": (
            (
                "import numpy as np",
                "from typing import Any, Dict as D",
                "import json",
                "from collections.abc import Iterable",
            ),
            'LIMIT = 3  # three\nTABLE: D = {"a": LIMIT}\ndef _inner(a):\n    return np.sum(a)',
        ),
        "third": (("import numpy as np", "from . import helper"), None),
        "K.m": ((), "LIMIT = 3  # three\nclass Small:\n    size = LIMIT"),
    }


def test_a_context_that_is_too_long_is_none():
    long = "TABLE = [" + "1, " * 4000 + "]\n\n\ndef f(a):\n    'Doc.'\n    return TABLE\n"
    (found,) = extract([long])
    assert [(f.imports, f.context) for f in found.functions] == [((), None)]


def test_a_text_of_definitions_alone_has_no_file():
    (found,) = extract(["def f(a):\n    'Doc.'\n    return np.sum(a)\n"])
    assert [(f.imports, f.context) for f in found.functions] == [(None, None)]


def test_imports_of_its_own_package_are_left_out():
    statements = ("import json", "from tool.parts import x", "import numpy as np", "from . import y")
    kept = ["import json", "import numpy as np", "from . import y"]
    assert without_package(statements, "tool-1.0/src/tool/json/a.py") == [
        "import json",
        "import numpy as np",
        "from . import y",
    ]
    assert without_package(statements, "tool/a.py") == kept
    assert without_package(statements, "a.py") == list(statements)
