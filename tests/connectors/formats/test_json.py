from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import JobDefinitionError, Row, Types
from millstream.connectors.formats import JsonRowDeserializationSchema, JsonRowSerializationSchema

INNER = Types.ROW_NAMED(["x", "tags"], [Types.DOUBLE(), Types.LIST(Types.STRING())])
TYPE = Types.ROW_NAMED(
    ["name", "count", "ok", "price", "day", "at", "moment", "raw", "pair", "counts", "inner"],
    [
        Types.STRING(),
        Types.LONG(),
        Types.BOOLEAN(),
        Types.BIG_DEC(),
        Types.SQL_DATE(),
        Types.SQL_TIME(),
        Types.SQL_TIMESTAMP(),
        Types.PRIMITIVE_ARRAY(Types.BYTE()),
        Types.TUPLE([Types.STRING(), Types.INT()]),
        Types.MAP(Types.STRING(), Types.INT()),
        INNER,
    ],
)
SMALL = Types.ROW_NAMED(["user", "clicks"], [Types.STRING(), Types.INT()])


def reading(row_type=SMALL):
    return JsonRowDeserializationSchema.builder().type_info(row_type)


def writing(row_type=SMALL):
    return JsonRowSerializationSchema.builder().with_type_info(row_type).build()


text = st.text(st.characters(exclude_categories=["Cs"]))
rows = st.tuples(
    text,
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.decimals(-1000, 1000, places=3),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.binary(),
    st.tuples(text, st.integers(-5, 5)),
    st.dictionaries(text, st.integers(-5, 5)),
    st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.lists(text)).map(
        lambda pair: Row.of_fields(["x", "tags"], pair)
    ),
)


@given(rows, st.sets(st.integers(0, 10)))
def test_every_row_of_the_type_comes_back_as_it_was(values, absent) -> None:
    values = [None if index in absent else value for index, value in enumerate(values)]
    row = Row.of_fields(TYPE.get_field_names(), values)
    assert reading(TYPE).build().deserialize(writing(TYPE).serialize(row)) == row


def test_what_is_written_is_compact_json_in_the_order_of_the_type() -> None:
    assert writing().serialize(Row(clicks=3, user="ä")) == '{"user":"ä","clicks":3}'.encode()
    assert writing().serialize(("b", None)) == b'{"user":"b","clicks":null}'
    prices = Types.ROW_NAMED(["price"], [Types.BIG_DEC()])
    assert writing(prices).serialize(Row(Decimal("1.50"))) == b'{"price":1.50}'


def test_missing_and_unknown_fields() -> None:
    schema = reading().build()
    assert schema.deserialize(b'{"user":"a","more":1}') == Row.of_fields(["user", "clicks"], ["a", None])
    assert schema.get_produced_type() == SMALL
    with pytest.raises(ValueError, match="'clicks' is missing"):
        reading().fail_on_missing_field().build().deserialize(b'{"user":"a"}')


WRONG = [
    b"",
    b"{",
    b"[1]",
    b'"a"',
    b'{"clicks":"many"}',
    b'{"clicks":1.5}',
    b'{"clicks":3000000000}',
    b'{"user":5}',
]


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_row_fails_or_is_dropped(message) -> None:
    with pytest.raises(ValueError):
        reading().build().deserialize(message)
    assert reading().ignore_parse_errors().build().deserialize(message) is None


def test_numbers_in_text_are_numbers_and_a_wrong_field_is_named() -> None:
    assert reading().build().deserialize(b'{"user":"a","clicks":"7"}').clicks == 7
    with pytest.raises(ValueError, match="field 'clicks'"):
        reading().build().deserialize(b'{"user":"a","clicks":true}')


def test_a_row_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="clicks"):
        writing().serialize(Row("a", "b"))


@pytest.mark.parametrize(
    "build",
    [
        lambda: reading(None).build(),
        lambda: JsonRowSerializationSchema.builder().build(),
        lambda: reading(Types.ROW_NAMED(["x"], [Types.PICKLED_BYTE_ARRAY()])).build(),
        lambda: reading(Types.MAP(Types.INT(), Types.INT())).build(),
        lambda: writing(Types.ROW_NAMED(["x"], [Types.PICKLED_BYTE_ARRAY()])),
        lambda: reading().fail_on_missing_field().ignore_parse_errors().build(),
        lambda: JsonRowDeserializationSchema.builder().json_schema("{}"),
    ],
)
def test_a_schema_that_cannot_work_is_refused_when_it_is_built(build) -> None:
    with pytest.raises(JobDefinitionError):
        build()


def test_dates_are_in_iso_format() -> None:
    day = Types.ROW_NAMED(["d", "t", "m"], [Types.SQL_DATE(), Types.SQL_TIME(), Types.SQL_TIMESTAMP()])
    row = reading(day).build().deserialize(b'{"d":"2026-11-25","t":"18:30:00","m":"2026-11-25T18:30:00"}')
    assert list(row) == [date(2026, 11, 25), time(18, 30), datetime(2026, 11, 25, 18, 30)]
