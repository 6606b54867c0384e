"""bound_names: what a function binds may be renamed, what it takes from elsewhere may not."""

import pytest

from builders.code import bound_names, tokens


def names(code: str) -> tuple[set[str], set[str]]:
    """Bound and free names of a text."""
    lexed = tokens.code(tokens.lex([code]))
    marked = bound_names.only_bound(lexed)
    bound, free = set[str](), set[str]()
    for i, (before, after) in enumerate(zip(lexed.kinds, marked.kinds, strict=True)):
        if before & 15 == tokens.IDENTIFIER:
            (bound if after & 15 == tokens.IDENTIFIER else free).add(lexed.text(i, i))
    return bound, free


@pytest.mark.parametrize(
    ("code", "bound", "free"),
    [
        ("def f(a, b: int = D, *c, d, **e) -> R: return g(a)", "f a b c d e", "D g"),
        ("def f(x):\n    y, (z, *w) = g(x), h\n    v: int = u = y", "f x y z w v u", "g h"),
        ("def f(x):\n    for i, (j, k) in m(x): print(i)\n    return [n for n in o if n]", "f x i j k n", "m o"),
        ("def f(x):\n    with g() as y: pass\n    try: pass\n    except E as e: raise X(e)", "f x y e", "g E X"),
        ("def f(x):\n    if (m := x.n): return lambda p, q=1: p + q + r", "f x m p q", "r"),
        ("def f(x):\n    import os\n    from a import b\n    return os.sep + b", "f x", "os b"),
        ("@cache\ndef f(n): return n * f(n - 1)", "f n", "cache"),
        ("def f(x):\n    def g(y): return y + x\n    return g", "f x g y", ""),
        ("def f(x):\n    g(x, key=h)\n    a = b", "f x a", "g h b"),
    ],
)
def test_names_that_a_function_binds(code, bound, free):
    assert names(code) == (set(bound.split()), set(free.split()))


def test_in_its_body_the_name_of_a_method_is_another_function():
    bound, free = names("def bisect(self, x): return bisect(self.items, x)")
    assert bound == {"bisect", "self", "x"} and free == {"bisect"}
    assert names("def f(x):\n    def g(self): return x\n    return g") == ({"f", "x", "g", "self"}, set())


def test_names_of_one_text_say_nothing_about_the_next():
    lexed = tokens.code(tokens.lex(["def f(x): return x", "def g(y): return x"]))
    kinds = bound_names.only_bound(lexed).kinds & 15
    assert kinds[-1] == tokens.ATTRIBUTE and kinds[lexed.offsets[1] - 1] == tokens.IDENTIFIER


def test_f_strings_count_by_their_fixed_text():
    same = ["f'a {x} b'", 'rf"a {other!r} b"', "f'a ' f'{x[0]}' ' b'", "f\"a {d['k']} b\"", "f'''a {x:>{w}}\nb'''"]
    others = ["f'a {x} c'", "f'a {{x}} b'", "f'a {x}' + 'b'"]
    lexed = bound_names.only_bound(tokens.code(tokens.lex([f"y = {text}" for text in same + others])))
    hashes = [lexed.hashes[start + 2] for start in lexed.offsets[:-1]]
    assert len(set(hashes[: len(same)])) == 1
    assert len(set(hashes)) == 1 + len(others)
