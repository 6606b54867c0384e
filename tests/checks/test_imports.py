"""Inferred imports: a name of one meaning becomes its import, any other stays undefined."""

import ast

import pytest

from builders.checks.imports import infer, modules, standing
from builders.checks.names import undefined_names
from builders.checks.structure import syntax


def inferred(code: str) -> tuple[list[str], list[str]]:
    return infer(undefined_names([code])[0], syntax(ast.parse(code).body[0]))


@pytest.mark.parametrize(
    "line, imports, unknown",
    [
        ("re.sub(x, x, x)", ["import re"], []),
        ("os.path.join(x)", ["import os"], []),
        ("np.zeros(x) + pd.NA", ["import numpy as np", "import pandas as pd"], []),
        ("defaultdict(list)", ["from collections import defaultdict"], []),
        ("sqrt(x) + Decimal(x)", ["from decimal import Decimal", "from math import sqrt"], []),
        ("xml.etree.ElementTree.parse(x)", ["import xml.etree"], []),
        ("urllib.parse.quote(x)", ["import urllib.parse"], []),
        ("datetime.now()", ["from datetime import datetime"], []),
        ("datetime.datetime.now()", ["import datetime"], []),
        ("datetime.MAXYEAR - datetime.date(1, 1, 1)", ["import datetime"], []),
        ("datetime(2024, 1, 1)", ["from datetime import datetime"], []),
        ("string(x)", [], ["string"]),  # a module is not called
        ("queue[0].x", [], ["queue"]),
        ("time.time() - time", [], ["time"]),
        ("token.value", [], ["token"]),
        ("helper(x) + CONSTANT", [], ["CONSTANT", "helper"]),
        ("x.re.sub", [], []),
    ],
)
def test_names_of_one_meaning(line, imports, unknown):
    assert inferred(f"def f(x):\n    'Doc.'\n    return {line}") == (imports, unknown)


def test_annotations_count_even_as_strings():
    code = "def f(x: Optional[int], y: 'np.ndarray', z: 'Unknown'):\n    'Doc.'\n    return x"
    assert inferred(code) == (["from typing import Optional", "import numpy as np"], ["Unknown"])


def test_every_import_binds_its_name_and_can_be_made():
    """The statements are right: those of the standard library are run."""
    used = "defaultdict Path Callable partial suppress deepcopy dedent Lock Integral itemgetter urlparse uuid4 StringIO chain"
    code = f"def f():\n    'Doc.'\n    return {used.replace(' ', ', ')}, urllib.parse.quote, importlib.util.find_spec"
    statements, unknown = inferred(code)
    assert unknown == []
    scope: dict = {}
    exec("\n".join(statements), scope)
    assert set(used.split()) <= scope.keys()
    assert scope["urllib"].parse and scope["importlib"].util


def test_modules_of_statements():
    assert modules(["import os", "import numpy as np", "from torch import nn", "import a.b as c"]) == {
        "os",
        "numpy",
        "torch",
        "a",
    }


@pytest.mark.parametrize(
    "path, statement, kept",
    [
        ("src/tool/a.py", "from tool.parts import x", None),
        ("src/tool/a.py", "import tool.parts", None),
        ("src/tool/a.py", "import tools", "import tools"),
        ("lib/python3.11/site-packages/tool/deep/a.py", "from tool import x", None),
        ("tool-1.0/src/tool/json/a.py", "import json", "import json"),
        ("numpy/core/a.py", "import numpy as np", "import numpy as np"),
        ("numpy/core/a.py", "from numpy.core import x", None),
        ("a.py", "from tool import x", "from tool import x"),
        ("a.py", "from tool import _x, y", "from tool import y"),
        ("a.py", "from tool import _x", None),
    ],
)
def test_imports_that_work_without_the_package_of_the_file(path, statement, kept):
    assert standing([statement, "import re"], path) == [*([kept] if kept else []), "import re"]
