"""Undeclared records: whatever plain data goes in comes back equal, of the same type, alone and in batches."""

from __future__ import annotations

import enum
import math
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.errors import RecordSerializationError
from millstream.core.types import GENERIC, Row, RowKind, exact, register_classes

SERIALIZER = GENERIC.serializer()


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Order:
    item: Any
    notes: list[Any] = field(default_factory=list)


class Reading(msgspec.Struct):
    sensor: Any
    value: Any = None


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


register_classes([Point, Order, Reading, Colour, Level, Access])

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.text(st.characters(categories=["Cs"]), max_size=2),
    st.binary(max_size=5),
)
ZONES = st.sampled_from(
    [
        None,
        UTC,
        timezone(timedelta(hours=5, minutes=30)),
        timezone(timedelta(0), "Z"),
        ZoneInfo("Europe/Berlin"),
    ]
)
OTHERS = st.one_of(
    st.complex_numbers(),
    st.decimals(),
    st.dates(),
    st.times(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3))])),
    st.datetimes(timezones=ZONES),
    st.builds(lambda d, fold: d.replace(fold=fold), st.datetimes(), st.integers(0, 1)),
    st.timedeltas(),
    st.uuids(),
    st.binary(max_size=3).map(bytearray),
    st.sampled_from([*Colour, *Level, *Access, Access.READ | Access.WRITE]),
)


@st.composite
def hashables(draw: st.DrawFn, depth: int = 2) -> Any:
    if depth == 0 or draw(st.booleans()):
        return draw(SCALARS | st.dates())
    item = hashables(depth - 1)
    return draw(st.tuples(item, item) | st.frozensets(item, max_size=3))


HASHABLE = hashables()
VALUES = st.recursive(
    SCALARS | OTHERS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
        st.frozensets(HASHABLE, max_size=3),
        st.lists(inner, max_size=3).map(lambda items: deque(items, maxlen=5)),
        st.dictionaries(HASHABLE, inner, max_size=2).map(OrderedDict),
        st.dictionaries(HASHABLE, inner, max_size=2).map(lambda items: defaultdict(list, items)),
        st.lists(HASHABLE, max_size=3).map(Counter),
        st.builds(Point, inner, inner),
        st.builds(Order, inner, st.lists(inner, max_size=2)),
        st.builds(Reading, inner, inner),
        st.lists(inner, max_size=3).map(lambda items: Row(*items)),
        st.builds(
            lambda a, b, kind: Row.of_fields(["b", "a"], [b, a], kind), inner, inner, st.sampled_from(RowKind)
        ),
    ),
    max_leaves=10,
)
JSON_LIKE = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(SCALARS, inner, max_size=3)
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """A form in which two values are equal exactly if they are equal and of the same types, in all their parts."""
    match value:
        case float():
            return type(value), struct.pack(">d", value) if value == value else "nan"
        case complex():
            return type(value), shape(value.real), shape(value.imag)
        case Decimal() | datetime() | time():
            return type(value), repr(value), getattr(value, "fold", 0)
        case defaultdict():
            return type(value), value.default_factory, [(shape(k), shape(v)) for k, v in value.items()]
        case dict():
            return type(value), [(shape(k), shape(v)) for k, v in value.items()]
        case set() | frozenset():
            return type(value), sorted(repr(shape(item)) for item in value)
        case deque():
            return type(value), value.maxlen, [shape(item) for item in value]
        case list() | tuple():
            return type(value), [shape(item) for item in value]
        case Row():
            return Row, value.get_row_kind(), value.get_field_names(), [shape(item) for item in value]
        case Order():
            return Order, shape(value.item), shape(value.notes)
        case Reading():
            return Reading, shape(value.sensor), shape(value.value)
        case _:
            return type(value), value


@given(VALUES | JSON_LIKE)
@settings(max_examples=300)
def test_a_value_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    assert shape(SERIALIZER.loads(SERIALIZER.dumps(value))) == shape(value)


@given(st.lists(VALUES, max_size=5) | st.lists(JSON_LIKE, max_size=6))
@settings(max_examples=300)
def test_a_batch_comes_back_equal_and_of_the_same_types(values: list[Any]) -> None:
    assert shape(SERIALIZER.loads_batch(SERIALIZER.dumps_batch(values))) == shape(values)


@given(
    st.lists(SCALARS, max_size=5)
    | st.lists(st.lists(SCALARS, max_size=3).map(tuple), max_size=5)
    | st.lists(VALUES, max_size=4)
)
def test_many_values_have_the_bytes_each_would_have_alone(values: list[Any]) -> None:
    assert exact.dumps_each(values) == [exact.dumps(value) for value in values]


@given(
    st.one_of(
        st.lists(st.tuples(st.text(max_size=3), st.integers(), st.floats())),
        st.lists(st.tuples(st.text(max_size=3), st.tuples(st.integers(), st.booleans()))),
        st.lists(st.tuples(st.text(max_size=3), st.lists(st.integers(), max_size=2))),
        st.lists(st.builds(Point, st.integers(), SCALARS)),
        st.lists(st.builds(Order, st.integers(), st.lists(st.tuples(SCALARS), max_size=2))),
        st.lists(st.builds(Reading, st.text(max_size=2), st.floats())),
        st.lists(st.dictionaries(st.text(max_size=2), st.lists(st.integers(), max_size=2), max_size=2)),
    )
)
def test_a_homogeneous_batch_comes_back_equal_and_of_the_same_types(values: list[Any]) -> None:
    assert shape(SERIALIZER.loads_batch(memoryview(SERIALIZER.dumps_batch(values)))) == shape(values)


@pytest.mark.parametrize(
    ("values", "form"),
    [
        ([("a", 1), ("b", 2.5)], 0x01),
        ([("a", (1, (2,))), ("b", None)], 0x01),
        ([1, "a", None], 0x01),
        ([("a", [1]), ("b", {"c": [2]})], 0x03),
        ([[1], [2, {"a": []}]], 0x02),
        ([{"a": [1]}], 0x02),
        ([{("a", 1): (2,)}], 0x01),
        ([Point(1, 2), Point(3, 4)], 0x04),
        ([("a", [(1,)])], 0x10),
        ([(2**64,)], 0x10),
        (["\ud800"], 0x10),
        ([Point(1, 2), (1, 2)], 0x10),
    ],
)
def test_the_form_of_a_batch_is_the_cheapest_that_keeps_the_types(values: list[Any], form: int) -> None:
    data = SERIALIZER.dumps_batch(values)
    assert data[0] == form
    assert shape(SERIALIZER.loads_batch(data)) == shape(values)


def test_what_this_release_writes_stays_readable() -> None:
    """Golden bytes: checkpoints of every release must still be read. Only ever add to this list."""
    assert SERIALIZER.loads(bytes.fromhex("0193a16101cb3ff8000000000000")) == ("a", 1, 1.5)
    assert SERIALIZER.loads(bytes.fromhex("029101")) == [1]
    assert SERIALIZER.loads(bytes.fromhex("03919101")) == ([1],)
    assert SERIALIZER.loads_batch(bytes.fromhex("019292a1610192a16202")) == [("a", 1), ("b", 2)]
    assert SERIALIZER.loads_batch(bytes.fromhex("039192a1619101")) == [("a", [1])]
    header = msgspec.msgpack.encode([f"{__name__}:Point", ["x", "y"]])
    records = b"\x04" + len(header).to_bytes(4, "big") + header + b"\x01\x91\x92\x01\x02"
    assert SERIALIZER.loads_batch(records) == [Point(1, 2)]
    trees = {
        0: (b"\x01" + bytes(8), 2**64),
        1: (b"\xed\xa0\x80", "\ud800"),
        2: ([1, [3, [2]]], (1, (2,))),
        3: ([1], (1,)),
        4: ([[5, [1]]], [[1]]),
        5: ([1], [1]),
        7: ([1], {1}),
        8: ([1], frozenset({1})),
        9: (b"a", bytearray(b"a")),
        11: ("1.50", Decimal("1.50")),
        12: (738000, date.fromordinal(738000)),
        16: (bytes(16), UUID(int=0)),
    }
    for tag, (payload, value) in trees.items():
        read = SERIALIZER.loads(b"\x10" + msgspec.msgpack.encode([[], [tag, payload]]))
        assert shape(read) == shape(value)
    longer = {
        (6, ("a",), (1,)): {"a": 1},
        (10, 1.0, -0.0): complex(1.0, -0.0),
        (13, 60_000_000, 0, None): time(0, 1),
        (14, 0, 0, (0, None)): datetime(1, 1, 1, tzinfo=UTC),
        (15, 1, 2, 3): timedelta(1, 2, 3),
        (19, 3, ("a",), (1,)): Row.of_fields(["a"], [1], RowKind.DELETE),
        (20, 3, (1,)): deque([1], 3),
        (21, "list", ("a",), ((5, ()),)): defaultdict(list, a=[]),
        (22, ("a",), (1,)): OrderedDict(a=1),
        (23, ("a",), (2,)): Counter(a=2),
    }
    for tree, value in longer.items():
        assert shape(SERIALIZER.loads(b"\x10" + msgspec.msgpack.encode([[], tree]))) == shape(value)
    record = [
        [[f"{__name__}:Point", ["x", "y"]], [f"{__name__}:Colour", []]],
        [17, 0, [1, [18, 1, "RED", None]]],
    ]
    assert SERIALIZER.loads(b"\x10" + msgspec.msgpack.encode(record)) == Point(1, Colour.RED)


class Opaque:
    pass


@pytest.mark.parametrize(
    "value",
    [
        Opaque(),
        [Opaque()],
        {"a": {"b": Opaque()}},
        Point(1, Opaque()),
        lambda: None,
        object,
        (i for i in ()),
        memoryview(b"x"),
        [[msgpack.Timestamp(1)]],
        type("Name", (str,), {})("a"),
        defaultdict(lambda: 0),
    ],
)
def test_other_objects_are_refused_with_what_to_do(value: Any) -> None:
    for write in (lambda: SERIALIZER.dumps(value), lambda: SERIALIZER.dumps_batch([1, value])):
        with pytest.raises(RecordSerializationError) as caught:
            write()
        assert caught.value.fix
    if type(value) is Opaque:
        assert "PICKLED_BYTE_ARRAY" in caught.value.fix
        assert "Opaque" in caught.value.what


@pytest.mark.parametrize("kind", [list, tuple])
def test_nesting_beyond_the_limit_is_refused_and_within_it_is_kept(kind: type) -> None:
    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = kind([value])
        return value

    for levels in (10, 24, 25, 100, 128):
        assert SERIALIZER.loads(SERIALIZER.dumps(nested(levels))) == nested(levels)
        assert SERIALIZER.loads_batch(SERIALIZER.dumps_batch([nested(levels)])) == [nested(levels)]
    with pytest.raises(RecordSerializationError, match="deep"):
        SERIALIZER.dumps(nested(1000))


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecordSerializationError, match="contains itself"):
        SERIALIZER.dumps_batch([value])


@pytest.mark.parametrize(
    "data", [b"", b"\x7f", b"\x01", b"\x01\xc1", b"\x01\x01\x01", b"\x10\x93\x01", b"\x10\x01"]
)
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(RecordSerializationError):
        SERIALIZER.loads(data)
    with pytest.raises(RecordSerializationError):
        SERIALIZER.loads_batch(data)


@pytest.mark.parametrize("tree", [[127], [17, 5], [2], [20, "a", []]])
def test_trees_that_are_no_record_are_refused(tree: list[Any]) -> None:
    with pytest.raises(RecordSerializationError):
        SERIALIZER.loads(b"\x10" + msgspec.msgpack.encode([[], tree]))
    with pytest.raises(RecordSerializationError):
        SERIALIZER.loads_batch(b"\x10" + msgspec.msgpack.encode([[], [tree]]))


def test_integral_and_floating_zero_keep_sign_and_type() -> None:
    back = SERIALIZER.loads_batch(SERIALIZER.dumps_batch([0, 0.0, -0.0, False]))
    assert [type(v) for v in back] == [int, float, float, bool]
    assert math.copysign(1, back[2]) == -1


@pytest.mark.parametrize(
    "value",
    [
        np.int64(5),
        np.float32(1.5),
        np.bool_(True),
        np.str_("ab"),
        np.datetime64("2024-01-01"),
        np.arange(6, dtype="<i4").reshape(2, 3),
        np.zeros((0, 3)),
        np.array(5.0),
    ],
)
def test_numpy_values_come_back_equal_with_their_dtype(value: Any) -> None:
    for back in (
        SERIALIZER.loads(SERIALIZER.dumps(value)),
        SERIALIZER.loads_batch(SERIALIZER.dumps_batch([("a", value)]))[0][1],
    ):
        assert type(back) is type(value)
        assert back.dtype == value.dtype
        assert back.shape == value.shape
        assert np.array_equal(back, value)


def test_numpy_objects_are_refused() -> None:
    with pytest.raises(RecordSerializationError):
        SERIALIZER.dumps(np.array([object()]))
