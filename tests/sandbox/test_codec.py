"""The codec: plain values arrive as they were, and no bytes can do more than build such values."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import math
import pickle
import pickletools
import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.sandbox.inside.codec import FrameError, decode, encode
from builders.sandbox.inside.decoding import TYPES

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.complex_numbers(allow_nan=False)
)  # fmt: skip
HASHABLE = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3).map(tuple) | st.frozensets(v, max_size=3), max_leaves=8
)
VALUES = st.recursive(
    HASHABLE | st.binary().map(bytearray),
    lambda v: (
        st.lists(v, max_size=4)
        | st.lists(v, max_size=4).map(tuple)
        | st.dictionaries(HASHABLE, v, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=20,
)


def same(a: object, b: object) -> bool:
    """Equal, and of the same types all the way down."""
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, list | tuple):
        return all(map(same, a, b))
    return not isinstance(a, dict) or all(map(same, a.values(), b.values()))


@given(VALUES)
def test_plain_values_arrive_as_they_were(value):
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        range(1, 9, 2),
        slice(1, None, 2),
        ...,
        NotImplemented,
        int,
        type(None),
        collections.deque([1, [2]], 4),
        decimal.Decimal("1.50"),
        fractions.Fraction(1, 3),
        datetime.date(2024, 2, 29),
        datetime.time(1, 2, 3, 4),
        datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
        datetime.timedelta(days=-1, seconds=5),
        1 << 9000,
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_the_standard_library_arrive(value):
    made = decode(encode([value, (value,)]))
    assert made == [value, (value,)] and type(made[0]) is type(value)


@pytest.mark.parametrize("made", [{"b": 1, "a": 2}, collections.OrderedDict(b=1, a=2), collections.Counter("baa")])
def test_the_views_of_a_dict_arrive_as_such(made):
    keys, values, items = decode(encode([made.keys(), made.values(), made.items()]))
    assert (type(keys), type(values), type(items)) == (type({}.keys()), type({}.values()), type({}.items()))
    assert (list(keys), list(values), list(items)) == (["b", "a"], [1, 2], [("b", 1), ("a", 2)])
    assert keys == {"a", "b"} and items == dict(made).items()


class Number(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class Text(str):
    def __eq__(self, other):
        return True

    def __str__(self):
        return "another"

    __hash__ = str.__hash__


class Colour(enum.IntEnum):
    RED = 3


class Items(list):
    def __iter__(self):
        return iter(["another"])


Pair = collections.namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Number(5), 5),
        (Text("a"), "a"),
        (Colour.RED, 3),
        (Items([1, 2]), [1, 2]),
        (Pair(1, [2]), (1, [2])),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
    ],
)
def test_instances_of_subclasses_lose_their_class(value, expected):
    assert same(decode(encode([value])), [expected])


def test_numpy_becomes_numbers_and_lists():
    np = pytest.importorskip("numpy")
    value = [np.float64(1.5), np.int32(2), np.bool_(True), np.array([[1, 2]]), np.array(3)]
    assert same(decode(encode(value)), [1.5, 2, True, [[1, 2]], 3])
    assert math.isnan(decode(encode(np.float32("nan"))))


def test_shared_parts_and_circles_stay_so():
    row = [0]
    made = decode(encode([row, row]))
    assert made[0] is made[1]
    row.append(row)
    made = decode(encode(row))
    assert made[1] is made


def test_what_is_not_plain_becomes_a_handle_or_is_refused():
    with pytest.raises(FrameError, match="type function cannot be sent"):
        encode([same])
    data = encode([len], keep=lambda value: ("checker", 4, "function", value.__name__))
    assert decode(data, handle=lambda *given: given) == [("checker", 4, "function", "len")]
    with pytest.raises(FrameError, match="no use here"):
        decode(data)


PLAIN = (
    *(int, float, complex, bool, str, bytes, bytearray, type(None), range, type(...), type(NotImplemented)),
    *(decimal.Decimal, fractions.Fraction, datetime.date, datetime.time, datetime.datetime, datetime.timedelta),
)


class Handle:
    """What stands for an object of the other side."""

    def __init__(self, *given):
        self.given = given


VIEWS = (type({}.keys()), type({}.values()), type({}.items()))


def assert_plain(value: object, seen: frozenset[int] = frozenset()) -> None:
    """Of these very types all the way down. A class may be a value, but only a builtin one."""
    if id(value) in seen or type(value) in (*PLAIN, Handle):
        return
    within = seen | {id(value)}
    if type(value) is type:
        assert value in TYPES.values(), value
    elif type(value) is slice:
        assert_plain([value.start, value.stop, value.step], within)
    elif type(value) is Node:
        assert all(type(name) is str and not hasattr(Node, name) for name in vars(value))
        assert_plain(list(vars(value).values()), within)
    else:
        assert type(value) in (list, tuple, dict, set, frozenset, collections.deque, *VIEWS), type(value)
        for item in value:
            assert_plain(item, within)
        assert_plain(list(value.values()) if type(value) is dict else (), within)


# -- instances of the prelude's classes ------------------------------------------------------------


class Node:
    def __init__(self, value, after=None):
        self.value, self.after = value, after

    size = len

    def is_last(self):
        return self.after is None


CLASSES = {"Node": Node}


def test_a_long_chain_and_a_circle_of_nodes_arrive():
    first = Node(0)
    for number in range(1, 5000):
        first = Node(number, first)
    made = decode(encode(first, classes=CLASSES), classes=CLASSES)
    count = 0
    while made is not None:
        assert type(made) is Node
        count, made = count + 1, made.after
    assert count == 5000
    ring = Node(1)
    ring.after = ring
    made = decode(encode([ring], classes=CLASSES), classes=CLASSES)[0]
    assert made.after is made


@pytest.mark.parametrize("name", ["is_last", "size", "__class__", "__dict__", 5])
def test_an_instance_cannot_hide_its_methods(name):
    node = Node(1)
    vars(node)[name] = 2
    with pytest.raises(FrameError, match="sets the attribute"):
        decode(encode(node, classes=CLASSES), classes=CLASSES)


def test_instances_of_other_classes_are_refused():
    with pytest.raises(FrameError, match="no class of the prelude"):
        decode(encode(Node(1), classes=CLASSES), classes={"Other": Node})


# -- hostile bytes: what each of pickle's opcodes could do -----------------------------------------

BUILD = b"c__builtin__\n__build_class__\n".replace(b"__builtin__", b"builtins")
NODE = BUILD + b"(X\x08\x00\x00\x00instanceK\x00X\x04\x00\x00\x00NodetR"
TYPE = BUILD + b"(X\x04\x00\x00\x00typeX\x04\x00\x00\x00typetR"
HANDLE = BUILD + b"(X\x06\x00\x00\x00handleX\x08\x00\x00\x00solutionK\x01X\x00\x00\x00\x00X\x00\x00\x00\x00tR"
HOSTILE = {
    "GLOBAL": b"cos\nsystem\n.",
    "GLOBAL of a builtin": b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR.",
    "GLOBAL of a path": b"cbuiltins\n__build_class__.__self__\n.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "STACK_GLOBAL of no text": b"\x80\x04K\x01K\x02\x93.",
    "INST": b"(S'ls'\nios\nsystem\n.",
    "INST of the builder": b"(S'system'\nibuiltins\n__build_class__\n.",
    "OBJ": b"(cos\nsystem\nS'ls'\no.",
    "NEWOBJ": b"cos\nsystem\n)\x81.",
    "NEWOBJ of the builder": BUILD + b")\x81.",
    "NEWOBJ_EX of the builder": b"\x80\x04" + BUILD + b")}\x92.",
    "REDUCE without a kind": BUILD + b")R.",
    "REDUCE with another kind": BUILD + b"(X\x04\x00\x00\x00evaltR.",
    "REDUCE of a number": b"K\x01)R.",
    "REDUCE with huge arguments": BUILD + b"(X\x05\x00\x00\x00rangeX\x01\x00\x00\x00atR.",
    "REDUCE with text for a number": BUILD + b"(X\x08\x00\x00\x00Fraction" + b"X\x01\x00\x00\x001K\x02tR.",
    "BUILD on the builder": BUILD + b"}X\x08\x00\x00\x00_decoderK\x01sb.",
    "BUILD on the builder with slots": BUILD + b"N}X\x08\x00\x00\x00_decoderK\x01s\x86b.",
    "BUILD on an instance": NODE + b"}X\x07\x00\x00\x00is_lastK\x01sb.}.",
    "BUILD on an instance with slots": NODE + b"N}X\x07\x00\x00\x00is_lastK\x01s\x86b.}.",
    "BUILD on a number": b"K\x01}X\x01\x00\x00\x00aK\x01sb.",
    "BUILD on a type": BUILD + b"(X\x04\x00\x00\x00typeX\x03\x00\x00\x00inttR}X\x03\x00\x00\x00absK\x01sb.",
    "BUILD on a type with slots": BUILD + b"(X\x04\x00\x00\x00typeX\x03\x00\x00\x00inttRN}X\x03\x00\x00\x00absK\x01s\x86b.",
    "APPEND to the builder": BUILD + b"K\x01a.",
    "APPENDS to an instance": NODE + b"(K\x01e.}.",
    "SETITEM on the builder": BUILD + b"K\x01K\x02s.",
    "ADDITEMS to a number": b"\x80\x04K\x01(K\x02\x90.",
    "EXT1": b"\x82\x01.",
    "EXT2": b"\x83\x01\x01.",
    "EXT4": b"\x84\x01\x01\x00\x00.",
    "PERSID": b"P1\n.",
    "BINPERSID": b"K\x01Q.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "READONLY_BUFFER of a number": b"\x80\x05K\x01\x98.",
    "READONLY_BUFFER of a bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1) + b"a\x98\x85.",
    "GET of nothing": b"g7\n.",
    "LONG_BINGET of nothing": b"j\xff\xff\xff\xff.",
    "a negative PUT": b"K\x01p-1\n.",
    "an unhashable key": b"}]K\x01s.",
    "an unhashable member": b"\x80\x04\x8f(]\x90.",
    "POP of nothing": b"0.",
    "MARK only": b"(.",
    "a tuple of nothing": b"\x85.",
    "STOP without a value": b".",
    "no STOP": b"K\x01",
    "nothing": b"",
    "protocol 9": b"\x80\x09K\x01.",
    "an unknown opcode": b"\xff.",
    "a frame longer than the bytes": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"K\x01.",
    "a text longer than the bytes": b"\x8d" + struct.pack("<Q", 1 << 40) + b".",
    "a bytearray longer than the bytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".",
    "an INT of many digits": b"I" + b"9" * 5000 + b"\n.",
    "a LONG of many digits": b"L" + b"9" * 5000 + b"L\n.",
    "an instance before the first": BUILD + b"(X\x08\x00\x00\x00instanceK\x05X\x04\x00\x00\x00NodetR.",
    "an instance without attributes": NODE + b".",
    "an instance whose attributes are a list": NODE + b"." + b"].",
    "a handle of other types": BUILD + b"(X\x06\x00\x00\x00handleK\x01K\x01K\x01K\x01tR.",
    "the builder as a value": BUILD + b".",
    "the builder in a tuple": BUILD + b"\x85.",
    "the builder as a key": b"}" + BUILD + b"K\x01s.",
    "the builder in what a note is made of": BUILD + b"(X\x05\x00\x00\x00value" + BUILD + b"tR.",
    "the builder in a slice": BUILD + b"(X\x05\x00\x00\x00sliceNN" + BUILD + b"tR.",
    "REDUCE of a type": TYPE + b")R.",
    "REDUCE of a type that makes a class": TYPE + b"(X\x01\x00\x00\x00X)}tR.",
    "NEWOBJ of a type": TYPE + b")\x81.",
    "NEWOBJ_EX of a type": b"\x80\x04" + TYPE + b")}\x92.",
    "OBJ of a type": b"(" + TYPE + b"o.",
    "REDUCE of a handle": HANDLE + b")R.",
    "REDUCE of an instance": NODE + b")R.}.",
    "BUILD on a handle": HANDLE + b"}X\x01\x00\x00\x00aK\x01sb.",
    "BUILD on a handle with slots": HANDLE + b"N}X\x05\x00\x00\x00givenK\x01s\x86b.",
    "BUILD on a Fraction with slots": (
        BUILD + b"(X\x08\x00\x00\x00FractionK\x01K\x02tRN}X\x0a\x00\x00\x00_numerator]s\x86b."
    ),
    "SETITEM on an instance": NODE + b"K\x01K\x02s.}.",
    "a circle through a tuple": BUILD + b"0]p1\n\x85p2\n0g1\ng2\na0g2\n.",
    "a circle through a deque": BUILD + b"(X\x05\x00\x00\x00deque]p1\nNtRp2\n0g1\ng2\na0g2\n.",
    "a circle through the keys of a dict": BUILD + b"(X\x09\x00\x00\x00dict_keys]p1\ntRp2\n0g1\ng2\na0g2\n.",
    "keys that cannot be hashed": BUILD + b"(X\x09\x00\x00\x00dict_keys(]ltR.",
    "keys in a text": BUILD + b"(X\x09\x00\x00\x00dict_keysX\x02\x00\x00\x00abtR.",
    "keys in a handle": BUILD + b"(X\x09\x00\x00\x00dict_keys" + HANDLE + b"tR.",
    "values in a tuple": BUILD + b"(X\x0b\x00\x00\x00dict_values)tR.",
    "items that are texts": BUILD + b"(X\x0a\x00\x00\x00dict_items(X\x02\x00\x00\x00abltR.",
    "items that are handles": BUILD + b"(X\x0a\x00\x00\x00dict_items(" + HANDLE + b"ltR.",
    "items that are triples": BUILD + b"(X\x0a\x00\x00\x00dict_items(K\x01K\x01K\x01\x87ltR.",
    "a range of too many parts": BUILD + b"(X\x05\x00\x00\x00rangeK\x01K\x02K\x03K\x04tR.",
    "a complex of text": BUILD + b"(X\x07\x00\x00\x00complexX\x01\x00\x00\x001K\x01tR.",
    "another pickle's object": pickle.dumps(decimal.Decimal(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused(name):
    before = vars(Node).copy()
    with pytest.raises(FrameError):
        decode(HOSTILE[name], handle=lambda *given: object(), classes=CLASSES)
    assert vars(Node) == before


def test_every_opcode_that_can_call_or_change_is_among_them():
    """Of pickle's opcodes, these do more than make a builtin value out of the bytes."""
    acting = {
        *("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD", "EXT1", "EXT2", "EXT4"),
        *("PERSID", "BINPERSID", "APPEND", "APPENDS", "SETITEM", "ADDITEMS", "NEXT_BUFFER", "READONLY_BUFFER"),
    }
    assert acting <= {opcode.name for opcode in pickletools.opcodes}
    assert acting == {name.split()[0] for name in HOSTILE} & {opcode.name for opcode in pickletools.opcodes} & acting


def test_a_memo_of_billions_is_refused_for_want_of_memory():
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 28), before[1]))
    try:
        with pytest.raises(FrameError, match="MemoryError"):
            decode(b"K\x01r\xff\xff\xff\xff.")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@given(st.binary(max_size=60))
def test_any_other_bytes_give_plain_values_or_are_refused(data):
    try:
        value = decode(data)
    except FrameError:
        return
    assert_plain(value)


@given(VALUES, st.data())
def test_a_frame_with_a_changed_byte_gives_plain_values_or_is_refused(value, data):
    frame = bytearray(encode(value))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] = data.draw(st.integers(0, 255))
    try:
        changed = decode(bytes(frame))
    except FrameError:
        return
    assert_plain(changed)


def random_frame(random: Random) -> bytes:
    """A pickle of any opcodes. Most of them find on the stack what they need."""
    parts = [b"\x80\x05"]
    texts = [*BUILDABLE, "Node", "int", "type", "__class__", "__eq__", "given", "value", "1"]
    for _ in range(random.randint(1, 30)):
        text = random.choice(texts).encode()
        parts.append(
            random.choice(
                [
                    *(b"(", b"N", b"\x88", b"K\x01", b"J\xff\xff\xff\x7f", b"G" + struct.pack(">d", 0.5), b"C\x01a"),
                    *(
                        b"]",
                        b"}",
                        b")",
                        b"\x8f",
                        b"\x96" + struct.pack("<Q", 1) + b"a",
                        b"\x8c" + bytes([len(text)]) + text,
                    ),
                    *(b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d"),
                    *(b"0", b"1", b"2", b"\x94", b"h\x00", b"h\x01", b"q\x05", b"h\x05", b"."),
                    *(BUILD, BUILD, NODE, HANDLE, TYPE, b"R", b"R", b"\x81", b"\x92", b"o", b"b", b"b", b"Q", b"\x93"),
                    BUILD + b"(\x8c" + bytes([len(text)]) + text,
                    b"tR",
                    b"ibuiltins\n__build_class__\n",
                    *(b"\x82\x01", b"\x97", b"\x98"),
                ]
            )
        )
    return b"".join(parts) + b"." + b"}." * random.randint(0, 3)


BUILDABLE = (
    *("value", "complex", "range", "slice", "deque", "Decimal", "Fraction", "date", "time", "datetime"),
    *("dict_keys", "dict_values", "dict_items"),
    *("timedelta", "text", "type", "single", "instance", "handle"),
)


def test_random_pickles_give_plain_values_or_are_refused():
    random, num_read = Random(1), 0
    before = vars(Node).copy()
    for _ in range(20000):
        frame = random_frame(random)
        try:
            value = decode(frame, handle=Handle, classes=CLASSES)
        except FrameError:
            continue
        assert_plain(value)
        num_read += 1
    assert num_read > 500 and vars(Node) == before, num_read
