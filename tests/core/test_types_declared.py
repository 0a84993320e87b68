"""Declared types: what fits comes back equal, what does not is refused with a clear error."""

from __future__ import annotations

import enum
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID

import cloudpickle
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.errors import JobDefinitionError, RecordSerializationError
from millstream.core.time import Instant
from millstream.core.types import (
    GENERIC,
    Row,
    RowKind,
    TypeInformation,
    Types,
    as_type,
    infer_type,
    register_classes,
)


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Order:
    item: str


class Special(Order):
    pass


@dataclass(frozen=True)
class Tag:
    name: str
    parent: Tag | None = None


@dataclass(frozen=True)
class Basket:
    items: list[int]


class Reading(msgspec.Struct, frozen=True):
    value: float


class Colour(enum.Enum):
    RED = 1


register_classes([Point, Order, Tag, Basket, Reading, Colour])
T = TypeVar("T")

FITTING: list[tuple[TypeInformation[Any], list[Any]]] = [
    (Types.STRING(), ["", "a", "é\ud800"]),
    (Types.BOOLEAN(), [True, False]),
    (Types.BYTE(), [-128, 127]),
    (Types.SHORT(), [-(2**15), 2**15 - 1]),
    (Types.INT(), [-(2**31), 2**31 - 1, True]),
    (Types.LONG(), [-(2**63), 2**63 - 1, 0]),
    (Types.BIG_INT(), [2**100, -(2**100), 1]),
    (Types.FLOAT(), [0.1, -0.0, 1]),
    (Types.DOUBLE(), [0.1, float("inf"), 2, 2**70]),
    (Types.CHAR(), ["a", "é"]),
    (Types.BIG_DEC(), [Decimal("1.50"), Decimal(0)]),
    (Types.INSTANT(), [Instant(5, 6), Instant.of_epoch_milli(-1)]),
    (Types.SQL_DATE(), [date(2024, 2, 29)]),
    (Types.SQL_TIME(), [time(1, 2, 3, 4)]),
    (Types.SQL_TIMESTAMP(), [datetime(2024, 1, 1, 5)]),
    (Types.PRIMITIVE_ARRAY(Types.BYTE()), [b"", b"abc"]),
    (Types.PRIMITIVE_ARRAY(Types.INT()), [[1, 2], []]),
    (Types.BASIC_ARRAY(Types.STRING()), [["a"], []]),
    (Types.OBJECT_ARRAY(Types.TUPLE([Types.INT()])), [[(1,)], []]),
    (Types.TUPLE([Types.STRING(), Types.LONG()]), [("a", 1), ("b", 2)]),
    (Types.TUPLE([]), [(), ()]),
    (Types.LIST(Types.LIST(Types.LONG())), [[[1], []], []]),
    (Types.MAP(Types.STRING(), Types.DOUBLE()), [{"a": 1.0}, {}]),
    (Types.MAP(Types.LONG(), Types.TUPLE([Types.STRING()])), [{1: ("a",)}]),
    (Types.BASIC_ARRAY(Types.DOUBLE()), [[1.5, None], [], [None]]),
    (Types.OBJECT_ARRAY(Types.ROW([Types.LONG()])), [[Row(1), None], [None]]),
    (Types.ROW([Types.LONG(), Types.STRING()]), [Row(1, "a"), Row(None, None), Row(b=1, a="x")]),
    (
        Types.ROW_NAMED(["id", "tags"], [Types.LONG(), Types.LIST(Types.STRING())]),
        [
            Row.of_fields(["id", "tags"], [1, ["x"]], RowKind.DELETE),
            Row.of_fields(["id", "tags"], [None, []]),
        ],
    ),
    (Types.TUPLE([Types.LONG(), Types.ROW([Types.LONG()])]), [(1, Row(2))]),
    (Types.TUPLE([Types.STRING(), Types.PICKLED_BYTE_ARRAY()]), [("a", {1: Point(1, 2)}), ("b", range(3))]),
    (Types.LIST(Types.PICKLED_BYTE_ARRAY()), [[range(3)], []]),
    (Types.MAP(Types.STRING(), Types.PICKLED_BYTE_ARRAY()), [{"a": range(3)}]),
    (Types.PICKLED_BYTE_ARRAY(), [range(3), int, None]),
    (GENERIC, [None, {"a": [1]}]),
    (as_type(Optional[int]), [1, None]),  # noqa: UP045 - both spellings are hints
    (as_type(tuple[int, ...]), [(1, 2), ()]),
    (as_type(set[int]), [{1, 2}, set()]),
    (as_type(frozenset[str]), [frozenset({"a"})]),
    (as_type(timedelta), [timedelta(1, 2, 3)]),
    (as_type(UUID), [UUID(int=7)]),
    (as_type(Point), [Point(1, 2)]),
    (as_type(Order), [Order("a")]),
    (as_type(Reading), [Reading(1.0)]),
    (as_type(Colour), [Colour.RED]),
]


@pytest.mark.parametrize(("info", "values"), FITTING, ids=[info.name for info, _ in FITTING])
def test_what_fits_comes_back_equal_and_of_the_same_type(
    info: TypeInformation[Any], values: list[Any]
) -> None:
    serializer = info.serializer()
    for value in values:
        back = serializer.loads(serializer.dumps(value))
        assert back == value
        assert type(back) is type(value)
    for repeat in (0, 1, 3):
        batch = values * repeat
        back = serializer.loads_batch(memoryview(serializer.dumps_batch(batch)))
        assert back == batch
        assert list(map(type, back)) == list(map(type, batch))


@pytest.mark.parametrize(
    ("declared", "value", "word"),
    [
        (Types.LONG(), "a", "a str"),
        (Types.LONG(), 1.0, "a float"),
        (Types.LONG(), None, "None"),
        (Types.LONG(), 2**63, "64 bits"),
        (Types.LONG(), -(2**63) - 1, "64 bits"),
        (Types.INT(), 2**31, "32 bits"),
        (Types.SHORT(), 2**15, "16 bits"),
        (Types.BYTE(), 128, "8 bits"),
        (Types.STRING(), b"a", "bytes"),
        (Types.BOOLEAN(), 1, "an int"),
        (Types.DOUBLE(), Decimal(1), "Decimal"),
        (Types.CHAR(), "ab", "one character"),
        (Types.CHAR(), 1, "an int"),
        (Types.SQL_DATE(), datetime(2024, 1, 1), "datetime"),
        (Types.TUPLE([Types.STRING(), Types.LONG()]), ("a", "b"), "field 1 is not a LONG"),
        (Types.TUPLE([Types.STRING(), Types.LONG()]), ("a",), "2 fields"),
        (Types.TUPLE([Types.STRING(), Types.LONG()]), ["a", 1], "a list"),
        (Types.TUPLE([Types.LONG(), Types.LONG()]), Point(1, 2), "Point"),
        (Types.LIST(Types.LONG()), [1, "a"], "element is not a LONG"),
        (Types.LIST(Types.LONG()), (1,), "a tuple"),
        (Types.MAP(Types.STRING(), Types.LONG()), {1: 1}, "key is not a STRING"),
        (Types.MAP(Types.STRING(), Types.LONG()), {"a": "a"}, "value is not a LONG"),
        (Types.ROW([Types.LONG()]), Row("a"), "field 0"),
        (Types.ROW([Types.LONG()]), Row(1, 2), "1 fields"),
        (Types.ROW_NAMED(["id"], [Types.LONG()]), Row(name=1), "not named"),
        (Types.ROW_NAMED(["id"], [Types.LONG()]), 5, "an int"),
        (as_type(Point), (1, 2), "a tuple"),
        (as_type(Colour), 1, "an int"),
        (as_type(int), Colour.RED, "Enum member"),
    ],
)
def test_what_does_not_fit_is_refused_with_value_type_and_remedy(
    declared: TypeInformation[Any], value: Any, word: str
) -> None:
    serializer = declared.serializer()
    for write in (lambda: serializer.dumps(value), lambda: serializer.dumps_batch([value])):
        with pytest.raises(RecordSerializationError, match=word) as caught:
            write()
        assert declared.name in caught.value.what
        assert caught.value.fix


def test_the_first_value_at_fault_is_shown_and_long_ones_are_cut() -> None:
    with pytest.raises(RecordSerializationError) as caught:
        Types.LONG().serializer().dumps_batch([1, 2, "x" * 10_000, "y"])
    assert "xxx" in caught.value.what
    assert "y" not in caught.value.what.split(" is not")[0]
    assert len(caught.value.what) < 300


def test_a_value_whose_repr_fails_can_still_be_shown() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    with pytest.raises(RecordSerializationError, match="Broken"):
        GENERIC.serializer().dumps(Broken())


def test_subclasses_are_records_of_their_base_as_type_checkers_say() -> None:
    @dataclass
    class Express(Order):
        fee: int = 1

    register_classes([Express])
    serializer = as_type(Order).serializer()
    batch = [Order("a"), Express("b", 2)]
    assert serializer.loads_batch(serializer.dumps_batch(batch)) == batch


def test_rows_may_be_given_as_tuples_lists_and_dicts() -> None:
    info = Types.ROW_NAMED(["id", "name"], [Types.LONG(), Types.STRING()])
    row = Row.of_fields(["id", "name"], [1, "a"])
    for value in ((1, "a"), [1, "a"], {"name": "a", "id": 1}, Row(1, "a"), Row(name="a", id=1)):
        assert info.coerce(value) == row
        assert info.serializer().loads(info.serializer().dumps(value)) == row
    assert info.coerce({"id": 1}) == Row.of_fields(["id", "name"], [1, None])
    nested = Types.TUPLE([Types.LONG(), Types.ROW([Types.LONG(), info])])
    assert nested.coerce((1, (2, {"id": 1, "name": "a"}))) == (1, Row(2, row))


def test_what_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(RecordSerializationError, match="pickled"):
        Types.PICKLED_BYTE_ARRAY().serializer().dumps(threading.Lock())


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (int, "LONG"),
        (str, "STRING"),
        (float, "DOUBLE"),
        (bool, "BOOLEAN"),
        (bytes, "PRIMITIVE_ARRAY(BYTE)"),
        (tuple[str, int], "TUPLE(STRING, LONG)"),
        (tuple[()], "TUPLE()"),
        (tuple[int, ...], "TUPLE_OF(LONG)"),
        (list[tuple[str, float]], "LIST(TUPLE(STRING, DOUBLE))"),
        (dict[str, list[int]], "MAP(STRING, LIST(LONG))"),
        (set[int], "SET(LONG)"),
        (frozenset[int], "FROZENSET(LONG)"),
        (Optional[int], "OPTIONAL(LONG)"),  # noqa: UP045
        (int | None, "OPTIONAL(LONG)"),
        (Union[int, str], "GENERIC"),  # noqa: UP007
        (int | str | None, "GENERIC"),
        (Any, "GENERIC"),
        (object, "GENERIC"),
        (None, "GENERIC"),
        (list, "GENERIC"),
        (tuple, "GENERIC"),
        (dict, "GENERIC"),
        (list[T], "LIST(GENERIC)"),
        (datetime, "SQL_TIMESTAMP"),
        (date, "SQL_DATE"),
        (time, "SQL_TIME"),
        (timedelta, "TIMEDELTA"),
        (Decimal, "BIG_DEC"),
        (UUID, "UUID"),
        (Instant, "INSTANT"),
        (TypedDict("Person", {"name": str}), "GENERIC"),
        (Annotated[int, "seconds"], "LONG"),
        (Literal["a", "b"], "STRING"),
        (Literal["a", 1], "GENERIC"),
        (NewType("UserId", str), "STRING"),
        (Point, f"RECORD({__name__}:Point)"),
        (Order, f"RECORD({__name__}:Order)"),
        (Reading, f"RECORD({__name__}:Reading)"),
        (Colour, f"ENUM({__name__}:Colour)"),
        (tuple[Point, Colour], f"TUPLE(RECORD({__name__}:Point), ENUM({__name__}:Colour))"),
        (Types.LONG(), "LONG"),
    ],
)
def test_hints_promise_types(hint: Any, name: str) -> None:
    info = infer_type(hint)
    assert info is not None
    assert info.name == str(info) == repr(info) == name


@pytest.mark.parametrize(
    "hint", [T, "Later", Callable, Callable[[int], int], threading.Thread, type[int], [int], 5]
)
def test_hints_that_say_nothing_give_no_type_and_cannot_be_declared(hint: Any) -> None:
    assert infer_type(hint) is None
    with pytest.raises(JobDefinitionError, match="not a type"):
        as_type(hint)


def test_nothing_declared_is_generic() -> None:
    assert as_type(None) is GENERIC


def test_types_are_equal_by_structure_and_travel_by_pickle() -> None:
    for info, _ in FITTING:
        copied = cloudpickle.loads(cloudpickle.dumps(info))
        assert copied == info
        assert hash(copied) == hash(info)
    assert Types.TUPLE([Types.INT()]) == Types.TUPLE([Types.INT()])
    assert len({info for info, _ in FITTING}) == len(FITTING)
    assert len({info.name for info, _ in FITTING}) == len(FITTING)


@pytest.mark.parametrize(
    ("hint", "immutable"),
    [
        (int, True),
        (bytes, True),
        (tuple[int, str], True),
        (tuple[int, list[int]], False),
        (tuple[int, ...], True),
        (frozenset[int], True),
        (int | None, True),
        (list[int], False),
        (dict[str, int], False),
        (set[int], False),
        (Point, True),
        (Order, False),
        (Reading, True),
        (Basket, False),
        (Colour, True),
        (Any, False),
        (Types.ROW([Types.INT()]), False),
        (Types.PICKLED_BYTE_ARRAY(), False),
    ],
)
def test_immutable_types_are_those_whose_values_cannot_change_anywhere(hint: Any, immutable: bool) -> None:
    assert as_type(hint).immutable is immutable


def test_a_class_that_contains_itself_can_be_declared() -> None:
    tag = Tag("a", Tag("b"))
    serializer = as_type(Tag).serializer()
    assert serializer.loads(serializer.dumps(tag)) == tag


def test_wrong_declarations_are_refused() -> None:
    with pytest.raises(JobDefinitionError, match="names"):
        Types.ROW_NAMED(["a"], [])
    with pytest.raises(JobDefinitionError, match="STRING"):
        Types.PRIMITIVE_ARRAY(Types.STRING())
    with pytest.raises(JobDefinitionError, match="LIST"):
        Types.BASIC_ARRAY(Types.LIST(Types.INT()))


def test_rows_know_their_names() -> None:
    info = Types.ROW_NAMED(["id", "name"], [Types.LONG(), Types.STRING()])
    assert info.get_field_names() == ["id", "name"]
    assert info.get_field_index("name") == 1
    assert info.get_field_index("no") == -1
    assert Types.ROW([Types.LONG()]).get_field_names() == ["f0"]
    row = Row(name="Alice", age=11)
    assert (row.as_dict(), row.name, row[0], len(row), list(row)) == (
        {"name": "Alice", "age": 11},
        "Alice",
        "Alice",
        2,
        ["Alice", 11],
    )
    assert "name" in row
    assert "Alice" not in row
    assert "Alice" in Row("Alice", 11)
    assert (Row("Alice", 11).f1, Row("Alice", 11)["f0"]) == (11, "Alice")
    for name in ("f2", "f", "g0", "f-1", "f1x"):
        assert not hasattr(Row("Alice", 11), name)
    assert row.get_fields_by_names(["age", "name"]) == [11, "Alice"]
    assert Row("Alice", 11).get_fields_by_names(["anything"]) == ["Alice", 11]
    with pytest.raises(KeyError, match="size"):
        row.get_fields_by_names(["size"])
    row["age"] = 12
    assert Row(inner=row).as_dict(recursive=True) == {"inner": {"age": 12, "name": "Alice"}}
    with pytest.raises(AttributeError, match="no field 'size'"):
        row.size
    with pytest.raises(AttributeError):
        row.age = 3
    with pytest.raises(TypeError):
        Row(1).as_dict()


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), min_size=1), st.randoms(use_true_random=False)
)
def test_the_order_of_named_fields_does_not_count_for_equality(
    fields: dict[str, int], random: random.Random
) -> None:
    names = random.sample(sorted(fields), len(fields))
    shuffled = Row(**{name: fields[name] for name in names})
    assert Row(**fields) == shuffled
    assert hash(Row(**fields)) == hash(shuffled)
    assert Row(**fields) != Row(**{**fields, names[0]: 3})
    assert Row(**fields) != Row(*fields.values())
    assert Row.of_kind(RowKind.DELETE, **fields) != shuffled


def test_kinds_of_rows_are_written_as_in_flink() -> None:
    assert list(map(str, RowKind)) == ["+I", "-U", "+U", "-D"]
    assert Row.of_kind(RowKind.UPDATE_AFTER, 1, 2) == Row.of_fields(None, [1, 2], RowKind.UPDATE_AFTER)


@given(st.lists(st.integers() | st.booleans()))
def test_long_accepts_exactly_the_integers_of_64_bits(values: list[int]) -> None:
    fits = all(-(2**63) <= value < 2**63 for value in values)
    assert (Types.LONG().mismatch(values) is None) == fits
