"""Keys: canonical bytes agree with Python's equality, on every machine."""

from __future__ import annotations

import enum
import math
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.types import GENERIC, InvalidKeyError, KeyEncoder, Row, Types, as_type, register_classes


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass(frozen=True)
class Account:
    bank: Any
    number: Any


class Sensor(msgspec.Struct, frozen=True):
    room: Any


class Colour(enum.IntEnum):
    RED = 1


@dataclass
class Mutable:
    name: str


@dataclass(frozen=True, eq=False)
class Identity:
    name: str


@dataclass(frozen=True)
class Partial:
    name: str
    note: str = field(compare=False, default="")


register_classes([Point, Account, Sensor, Colour, Mutable, Identity, Partial])
encoder = KeyEncoder(GENERIC)

NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=False),
    st.integers(-6, 6).map(lambda n: n / 2),
    st.integers(-6, 6).map(lambda n: Decimal(n) / 2),
    st.decimals(allow_nan=False),
    st.sampled_from(
        [0.1, Decimal("0.1"), Decimal("1.10"), Decimal("1.1"), Decimal("1E+3"), 2.0**70, 2**70, 1e300]
    ),
    st.complex_numbers(allow_nan=False),
    st.integers(-3, 3).map(complex),
)
LEAVES = st.one_of(
    NUMBERS,
    st.text(st.characters(), max_size=2),
    st.binary(max_size=2),
    st.dates(min_value=date(2024, 1, 1), max_value=date(2024, 1, 3)),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=2))])),
    st.integers(0, 3).map(lambda h: datetime(2024, 1, 1, 5 + h, tzinfo=timezone(timedelta(hours=h)))),
    st.timedeltas(),
    st.times(),
    st.uuids(),
    st.sampled_from(list(Colour)),
)


@st.composite
def keys(draw: st.DrawFn, depth: int = 2) -> Any:
    if depth == 0 or draw(st.booleans()):
        return draw(LEAVES)
    item = keys(depth - 1)
    return draw(
        st.one_of(
            st.tuples(item),
            st.tuples(item, item | st.none()),
            st.frozensets(item, max_size=3),
            st.builds(Account, item, item),
            st.builds(Sensor, item),
        )
    )


def python_equal(a: Any, b: Any) -> bool:
    """Equality as a dict sees it, but for Enum members, whose class belongs to the key."""
    return a == b and hash(a) == hash(b) and holds_colour(a) == holds_colour(b)


def holds_colour(key: Any) -> Any:
    match key:
        case tuple():
            return [holds_colour(item) for item in key]
        case frozenset():
            return sorted(str(holds_colour(item)) for item in key)
        case Account():
            return [holds_colour(key.bank), holds_colour(key.number)]
        case Sensor():
            return [holds_colour(key.room)]
        case _:
            return isinstance(key, Colour)


@given(keys(), keys())
@settings(max_examples=400)
def test_bytes_are_equal_exactly_when_keys_are(a: Any, b: Any) -> None:
    assert (encoder.encode(a) == encoder.encode(b)) == python_equal(a, b)


@given(NUMBERS, NUMBERS)
@settings(max_examples=400)
def test_bytes_are_equal_exactly_when_numbers_are(a: Any, b: Any) -> None:
    assert (encoder.encode(a) == encoder.encode(b)) == (a == b)
    assert (encoder.encode((a, "x")) == encoder.encode((b, "x"))) == (a == b)


@given(keys())
@settings(max_examples=300)
def test_a_decoded_key_equals_the_encoded_one_and_is_canonical(key: Any) -> None:
    data = encoder.encode(key)
    back = encoder.decode(data)
    assert back == key
    assert hash(back) == hash(key)
    assert encoder.encode(back) == data
    assert encoder.canonical(key) == key


@pytest.mark.parametrize(
    "equal",
    [
        [1, 1.0, True, Decimal(1), Decimal("1.00"), complex(1, 0)],
        [0, 0.0, -0.0, False, Decimal("-0")],
        [0.5, Decimal("0.5"), Decimal("0.500")],
        [2**70, float(2**70), Decimal(2**70)],
        [("a", 1), ("a", 1.0), ("a", True)],
        [frozenset({1, "b", 2.0}), frozenset({2, True, "b"})],
        [Point(1, 2), Point(1.0, 2)],
        [Account(1, "x"), Account(True, "x")],
        [Decimal("1.10"), Decimal("1.1")],
        [
            datetime(2024, 1, 1, 12, tzinfo=UTC),
            datetime(2024, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
        ],
    ],
)
def test_equal_keys_are_one_key(equal: list[Any]) -> None:
    assert len({encoder.encode(key) for key in equal}) == 1


def test_classes_belong_to_the_key() -> None:
    different = [(1, 2), Point(1, 2), Account(1, 2)]
    assert len({encoder.encode(key) for key in different}) == 3
    assert encoder.encode(Colour.RED) != encoder.encode(1)
    assert encoder.decode(encoder.encode(Point(1, 2))).x == 1
    assert encoder.decode(encoder.encode(Colour.RED)) is Colour.RED


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (None, "None"),
        (math.nan, "NaN"),
        (Decimal("NaN"), "NaN"),
        (("a", math.nan), "NaN"),
        (complex(1, math.nan), "NaN"),
        ([1], "hashable"),
        (("a", [1]), "hashable"),
        ({1}, "hashable"),
        (bytearray(b"a"), "hashable"),
        (Mutable("a"), "hashable"),
        (Identity("a"), "itself alone"),
        (Partial("a"), "compare=False"),
        (object(), "canonical"),
        (time(1, tzinfo=UTC), "time zone"),
        (Decimal("1E+100000"), "exponent"),
        (type("Text", (str,), {})("a"), "canonical"),
    ],
)
@pytest.mark.parametrize("declared", [None, tuple, Any])
def test_what_cannot_be_a_key_says_why_and_what_to_do(key: Any, word: str, declared: Any) -> None:
    with pytest.raises(InvalidKeyError, match=word) as caught:
        KeyEncoder(as_type(declared)).encode(key)
    assert caught.value.fix
    assert caught.value.key
    assert word in caught.value.reason


@pytest.mark.parametrize(
    ("declared", "key", "canonical"),
    [
        (float, 1, 1.0),
        (float, True, 1.0),
        (float, -0.0, 0.0),
        (int, True, 1),
        (int, 2.0, 2),
        (bool, True, True),
        (str, "a", "a"),
        (tuple[float, int], (1, True), (1.0, 1)),
        (tuple[int, ...], (1.0, 2), (1, 2)),
        (frozenset[int], frozenset({2.0, 1}), frozenset({1, 2})),
        (tuple[int | None, str], (None, "a"), (None, "a")),
        (Point, Point(1, 2), Point(1, 2)),
        (date, date(2024, 1, 1), date(2024, 1, 1)),
        (Colour, Colour.RED, Colour.RED),
        (UUID, UUID(int=5), UUID(int=5)),
        (Decimal, Decimal("1.50"), Decimal("1.5")),
        (Decimal, Decimal("-0"), Decimal(0)),
        (Decimal, Decimal("Infinity"), Decimal("Infinity")),
    ],
)
def test_a_declared_type_decides_between_equal_keys(declared: Any, key: Any, canonical: Any) -> None:
    back = KeyEncoder(as_type(declared)).canonical(key)
    assert back == canonical
    assert type(back) is type(canonical)
    if isinstance(back, tuple):
        assert [type(item) for item in back] == [type(item) for item in canonical]


@pytest.mark.parametrize(
    ("declared", "key"),
    [
        (int, 1.5),
        (int, "1"),
        (int, 2**63),
        (float, "1"),
        (float, math.nan),
        (float, 10**400),
        (bool, 1),
        (str, 1),
        (str, None),
        (int, None),
        (float, None),
        (Point, (1, 2)),
        (tuple[int, str], (1, 2)),
        (tuple[int, str], (1,)),
        (tuple[int, str], [1, "a"]),
        (list[int], [1]),
        (dict[str, int], {}),
    ],
)
def test_a_key_of_another_type_than_declared_is_refused(declared: Any, key: Any) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        KeyEncoder(as_type(declared)).encode(key)
    assert caught.value.fix


def test_long_and_undeclared_keys_have_the_same_bytes() -> None:
    assert KeyEncoder(Types.LONG()).encode(5) == encoder.encode(5)
    assert KeyEncoder(Types.STRING()).encode("a") == encoder.encode("a")
    assert KeyEncoder(Types.TUPLE([Types.STRING(), Types.LONG()])).encode(("a", 5)) == encoder.encode(
        ("a", 5)
    )


def test_what_this_release_writes_stays_the_same() -> None:
    """Golden bytes: key groups and state on disk rest on them. Only ever add to this list."""
    golden = {
        "a": b"sa",
        5: b"i" + bytes(7) + b"\x05",
        -1: b"i" + b"\xff" * 8,
        2**63: b"I\x00\x80" + bytes(7),
        1.5: b"f\x3f\xf8" + bytes(6),
        b"x": b"bx",
        ("a", None): b"(\x00\x00\x00\x02sa\x00\x00\x00\x010",
        frozenset({"b", "a"}): b"{\x00\x00\x00\x02sa\x00\x00\x00\x02sb",
        Decimal("0.1"): b"d1e-1",
        1j: b"c" + bytes(8) + b"\x3f\xf0" + bytes(6),
        date(1, 1, 2): b"y" + bytes(7) + b"\x02",
        datetime(1, 1, 1, 0, 0, 1): b"n" + (1_000_000).to_bytes(8, "big"),
        datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC): b"u" + (1_000_000).to_bytes(8, "big"),
        time(0, 0, 1): b"o" + (1_000_000).to_bytes(8, "big"),
        timedelta(seconds=-1): b"t" + (-1_000_000).to_bytes(12, "big", signed=True),
        UUID(int=1): b"g" + bytes(15) + b"\x01",
    }
    for key, data in golden.items():
        assert encoder.encode(key) == data
        assert encoder.decode(data) == key
    assert KeyEncoder(Types.BOOLEAN()).encode(True) == b"T"
    assert KeyEncoder(Types.DOUBLE()).encode(1) == b"f\x3f\xf0" + bytes(6)
    row = Row(1, "a")
    assert encoder.decode(encoder.encode(row)) == row


def test_other_processes_with_other_hash_seeds_give_the_same_bytes() -> None:
    program = (
        "from millstream.core.types import KeyEncoder;"
        "print(KeyEncoder().encode(('a', frozenset({'x', 'y', 'z', 1, None}))).hex())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {encoder.encode(("a", frozenset({"x", "y", "z", 1, None}))).hex() + "\n"}


def test_unknown_bytes_are_refused() -> None:
    with pytest.raises(Exception, match="unknown kind"):
        encoder.decode(b"?x")


def test_numpy_scalars_are_the_numbers_they_equal() -> None:
    assert encoder.encode(np.int64(1)) == encoder.encode(1)
    assert encoder.encode((np.float64(0.5),)) == encoder.encode((0.5,))
    assert encoder.encode(np.str_("a")) == encoder.encode("a")
    with pytest.raises(InvalidKeyError, match="NaN"):
        encoder.encode(np.float64("nan"))
