"""The text of a snippet as it is shown: queries and Python make the same one."""

import pytest

from store import Store
from store.catalog import connect
from store.shown import shown_code


@pytest.mark.parametrize(
    "imports, context, shown",
    [
        (None, None, "code"),
        ([], None, "code"),
        (["import a", "import b"], None, "import a\nimport b\n\n\ncode"),
        ([], "A = 1\nB = 2", "A = 1\nB = 2\n\n\ncode"),
        (["import a"], "A = 1", "import a\n\n\nA = 1\n\n\ncode"),
    ],
)
def test_queries_and_python_agree(tmp_path, imports, context, shown):
    assert shown_code(imports, context, "code") == shown
    query = "SELECT shown_code($1::VARCHAR[], $2::VARCHAR, 'code')"
    assert connect(Store(str(tmp_path)), tables=[]).execute(query, [imports, context]).fetchall() == [(shown,)]
