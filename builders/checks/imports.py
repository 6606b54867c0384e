"""Names of a function that can only come from one import: `np`, `re.sub`, `defaultdict`.

In: the undefined names of a function, and how it uses them. Out: the import statements that would
define some of these names, and the names that stay undefined. A function that needs only such
imports counts as self-contained, like one that needs none.

    infer({"np", "helper"}, syntax)    # (["import numpy as np"], ["helper"])
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from itertools import pairwise

from builders.checks.structure import Syntax

_MODULES = frozenset(m for m in sys.stdlib_module_names if not m.startswith("_")) - {
    "antigravity",
    "code",
    "idlelib",
    "site",
    "test",
    "this",
    "token",
    "turtledemo",
}
"""Standard modules, without those whose names are mostly used for variables. A module counts only
when the function takes an attribute of it.
"""
_SUBMODULES = {
    "concurrent": {"futures"},
    "email": {"utils", "message", "header", "mime", "parser", "policy"},
    "http": {"client", "cookiejar", "cookies", "server"},
    "importlib": {"abc", "machinery", "metadata", "resources", "util"},
    "logging": {"config", "handlers"},
    "multiprocessing": {"connection", "managers", "pool", "shared_memory"},
    "unittest": {"mock"},
    "urllib": {"error", "parse", "request"},
    "xml": {"dom", "etree", "sax"},
}
"""Packages whose modules need an import of their own."""
_ALIASES = {
    "np": "import numpy as np",
    "numpy": "import numpy",
    "pd": "import pandas as pd",
    "pandas": "import pandas",
    "plt": "import matplotlib.pyplot as plt",
    "scipy": "import scipy",
    "sklearn": "import sklearn",
    "torch": "import torch",
    "nn": "from torch import nn",
    "tf": "import tensorflow as tf",
    "jax": "import jax",
    "jnp": "import jax.numpy as jnp",
    "nx": "import networkx as nx",
    "pa": "import pyarrow as pa",
    "pytest": "import pytest",
    "requests": "import requests",
    "yaml": "import yaml",
}
"""Other libraries under the name that everybody gives them. Such a name may also stand inside an
annotation that is a string.
"""
_MEMBERS = {
    "abc": "ABC ABCMeta abstractmethod",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "collections.abc": "Awaitable Callable Collection Generator Hashable Iterable Iterator Mapping MutableMapping"
    " MutableSequence Sequence",
    "contextlib": "ExitStack contextmanager nullcontext suppress",
    "copy": "deepcopy",
    "dataclasses": "asdict dataclass is_dataclass",
    "datetime": "timedelta timezone",
    "decimal": "Decimal",
    "enum": "Enum IntEnum",
    "fractions": "Fraction",
    "functools": "cached_property lru_cache partial reduce singledispatch total_ordering wraps",
    "io": "BytesIO StringIO TextIOWrapper",
    "itertools": "accumulate chain combinations groupby islice permutations product starmap takewhile zip_longest",
    "math": "ceil factorial floor gcd hypot isfinite isinf isnan sqrt",
    "numbers": "Integral Number Real",
    "operator": "attrgetter itemgetter methodcaller",
    "pathlib": "Path PurePath PurePosixPath",
    "textwrap": "dedent",
    "threading": "Lock RLock Thread",
    "types": "FunctionType MappingProxyType ModuleType SimpleNamespace TracebackType",
    "typing": "Annotated Any AnyStr ClassVar DefaultDict Dict Final FrozenSet Generic List Literal NamedTuple Never NoReturn"
    " Optional ParamSpec Protocol Self Set SupportsFloat SupportsIndex SupportsInt Tuple Type TypeAlias TypeGuard TypeVar TypedDict"
    " Union Unpack cast overload",
    "urllib.parse": "parse_qs unquote urlencode urljoin urlparse urlsplit urlunsplit",
    "uuid": "UUID uuid4",
}
_KNOWN = frozenset(_ALIASES.values())
_FROM = {name: f"from {module} import {name}" for module, names in _MEMBERS.items() for name in names.split()}
_OF_THE_MODULE = {"MAXYEAR", "MINYEAR", "UTC", "date", "datetime", "time", "timedelta", "timezone", "tzinfo"}
"""What `datetime.x` can mean when `datetime` is the module. The class `datetime` has a `date` and a
`time` too, but few functions use them without an object.
"""


def infer(undefined: Collection[str], syntax: Syntax) -> tuple[list[str], list[str]]:
    """Import statements for the undefined names that have one meaning, and the other names.

    Both are sorted.
    """
    found: set[str] = set()
    unknown = []
    for name in undefined:
        statements = _statements(name, syntax)
        found.update(statements)
        if not statements:
            unknown.append(name)
    return sorted(found), sorted(unknown)


def standing(statements: Iterable[str], path: str) -> list[str]:
    """The import statements of a file that work where its package is not.

    The package is one of the three topmost folders of the file's path, or the one below
    `site-packages`. What it imports of itself by its absolute name is left out, and so are private
    names of any package. Standard modules are never its own, and neither are the well-known
    libraries under the names that everybody gives them: numpy's files may `import numpy as np`.

    Example:
        standing(["import re", "from tool.parts import x"], "src/tool/a.py")    # ["import re"]
    """
    folders = path.split("/")[:-1]
    below = [b for a, b in pairwise(folders) if a in ("site-packages", "dist-packages")]
    own = {*folders[:3], *below} - sys.stdlib_module_names
    kept = []
    for statement in statements:
        module, _, names = statement.removeprefix("from ").partition(" import ")
        if names and all(n.startswith("_") for n in names.split(", ")):
            continue
        if names:
            public = ", ".join(n for n in names.split(", ") if not n.startswith("_"))
            statement = f"from {module} import {public}"
        if statement in _KNOWN or statement.split()[1].split(".")[0] not in own:
            kept.append(statement)
    return kept


def modules(statements: Iterable[str]) -> set[str]:
    """The top-level modules that import statements name."""
    return {s.split()[1].split(".")[0] for s in statements}


def _statements(name: str, syntax: Syntax) -> list[str]:
    if name in _FROM:
        return [_FROM[name]]
    attributes = syntax.attributes.get(name)
    if name == "datetime":
        is_module = attributes is not None and attributes & _OF_THE_MODULE
        return ["import datetime" if is_module else "from datetime import datetime"]
    if name in syntax.bare:
        return []
    if name in _ALIASES:
        return [_ALIASES[name]]
    if name not in _MODULES or not attributes:
        return []
    inside = sorted(attributes & _SUBMODULES.get(name, set()))
    return [f"import {name}.{part}" for part in inside] or [f"import {name}"]
