"""Keys that a person writes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import Types
from millstream.core.errors import StateError
from millstream.core.types import GENERIC, TypeInformation, infer_type
from millstream.state_reader.keys import parse_key
from millstream.state_reader.plain import to_json

PAIR = Types.TUPLE([Types.STRING(), Types.LONG()])


@pytest.mark.parametrize(
    ("text", "type_info", "key"),
    [
        ("7", Types.LONG(), 7),
        ("7", Types.STRING(), "7"),
        ('"7"', Types.STRING(), '"7"'),
        ("0.5", Types.DOUBLE(), 0.5),
        ("True", Types.BOOLEAN(), True),
        ("1.50", Types.BIG_DEC(), Decimal("1.50")),
        ("2026-01-31", Types.SQL_DATE(), date(2026, 1, 31)),
        ("2026-01-31T12:00:00+00:00", Types.SQL_TIMESTAMP(), datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("00ff", Types.PRIMITIVE_ARRAY(Types.BYTE()), b"\x00\xff"),
        ('["a", 7]', PAIR, ("a", 7)),
        ('[["a", 7], "2026-01-31"]', Types.TUPLE([PAIR, Types.SQL_DATE()]), (("a", 7), date(2026, 1, 31))),
        ("[1, 2]", infer_type(tuple[int, ...]), (1, 2)),
        ('["a", null]', infer_type(tuple[str, int | None]), ("a", None)),
        ("a", GENERIC, "a"),
        ("7", GENERIC, 7),
        ('"7"', GENERIC, "7"),
        ('["a", [1]]', GENERIC, ("a", (1,))),
    ],
)
def test_a_text_is_read_by_the_declared_type(text: str, type_info: TypeInformation[Any], key: Any) -> None:
    found = parse_key(text, type_info)
    assert (found, type(found)) == (key, type(key))


@pytest.mark.parametrize(
    ("text", "type_info", "why"),
    [
        ("x", Types.LONG(), "no key of the declared type LONG: invalid literal"),
        ("maybe", Types.BOOLEAN(), "no key of the declared type BOOLEAN"),
        ("a, 7", PAIR, r"no key of the declared type TUPLE\(STRING, LONG\): it is no JSON"),
        ('["a"]', PAIR, "write a JSON array of 2 items"),
        ('["a", 0.5]', PAIR, "no key of the declared type LONG"),
        ("x", Types.PICKLED_BYTE_ARRAY(), "cannot be written as text"),
    ],
)
def test_a_text_that_is_none_is_refused_with_the_reason(
    text: str, type_info: TypeInformation[Any], why: str
) -> None:
    with pytest.raises(StateError, match=why):
        parse_key(text, type_info)


@given(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)))
def test_what_is_printed_can_be_read_again(key: tuple[str, int]) -> None:
    assert parse_key(to_json(key), PAIR) == key
    assert parse_key(to_json(key), GENERIC) == key
