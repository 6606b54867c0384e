"""The text of a snippet as it is shown: its imports, its context and its code, so that it stands
alone.

In: three columns of `raw_pool`. Out: one text. Prompts, published rows, decontamination, the checks
of names, types and secrets, and the limits of size all take this text, from here: queries by the
macro `shown_code`, Python by the function. `tests/store/test_shown.py` holds both together.

    shown_code(["import re"], "LIMIT = 3", "def f(a): ...")    # seven lines of one text
    SELECT shown_code(imports, context, code) FROM raw_pool
"""

from __future__ import annotations

from collections.abc import Sequence

MACRO = """CREATE MACRO shown_code(imports, context, code) AS
concat_ws(repeat(chr(10), 3), nullif(array_to_string(imports, chr(10)), ''), context, code)"""


def shown_code(imports: Sequence[str] | None, context: str | None, code: str) -> str:
    """The imports, one a line, then the context, then the code, two blank lines between them."""
    parts = ("\n".join(imports or ()) or None, context, code)
    return "\n\n\n".join(part for part in parts if part is not None)
