from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from operator import itemgetter
from typing import NamedTuple

import cloudpickle
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.errors import JobDefinitionError
from millstream.core.types import GENERIC, Row, Types, as_type
from millstream.operators.field_aggregations import Aggregation, FieldAggregation, field_problem
from millstream.operators.keyed import ReduceSpec


class Named(NamedTuple):
    key: str
    value: int
    note: str = ""


class Packed(msgspec.Struct):
    key: str
    value: int
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    key: str
    value: int
    note: str = ""


@dataclasses.dataclass
class Doubling:
    key: str
    value: int
    note: str = ""

    def __post_init__(self) -> None:
        self.note *= 2


def named_row(key, value, note=""):
    return Row.of_fields(["key", "value", "note"], [key, value, note])


MAKERS = {
    "tuple": lambda *fields: fields,
    "list": lambda *fields: list(fields),
    "row": lambda *fields: Row(*fields),
    "named row": named_row,
    "named tuple": Named,
    "struct": Packed,
    "dataclass": Frozen,
    "dataclass with __post_init__": Doubling,
}
BY_NAME = ["named row", "named tuple", "struct", "dataclass", "dataclass with __post_init__"]
FIELDS = [*((name, 1) for name in MAKERS), *((name, "value") for name in BY_NAME)]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_min_and_max_replace_the_field_of_the_first_record_and_min_by_and_max_by_keep_a_whole_one(
    name, field
) -> None:
    make = MAKERS[name]
    records = [make("a", 2, "first"), make("a", 1, "least"), make("a", 1, "tie"), make("a", 3, "most")]
    untouched = [make("a", 2, "first"), make("a", 1, "least"), make("a", 1, "tie"), make("a", 3, "most")]

    def changed(value):
        return make("a", value, "first")

    expected = {
        Aggregation.SUM: changed(7),
        Aggregation.MIN: changed(1),
        Aggregation.MAX: changed(3),
        Aggregation.MIN_BY: records[1],
        Aggregation.MAX_BY: records[3],
    }
    for aggregation, result in expected.items():
        found = reduce(FieldAggregation(aggregation, field).reduce, records)
        assert found == result
        assert type(found) is type(result)
    assert records == untouched


def test_the_last_of_equal_records_is_kept_if_asked_for() -> None:
    records = [("a", 1, "first"), ("a", 1, "last")]
    for aggregation in (Aggregation.MIN_BY, Aggregation.MAX_BY):
        assert reduce(FieldAggregation(aggregation, 1).reduce, records) == records[0]
        assert reduce(FieldAggregation(aggregation, 1, first=False).reduce, records) == records[1]


@pytest.mark.parametrize("make", [int, float, Decimal, Fraction])
def test_plain_numbers_are_their_own_field(make) -> None:
    numbers = [make(2), make(1), make(3)]
    assert reduce(FieldAggregation(Aggregation.SUM, 0).reduce, numbers) == make(6)
    assert reduce(FieldAggregation(Aggregation.MIN, 0).reduce, numbers) == make(1)
    assert reduce(FieldAggregation(Aggregation.MAX_BY, 0).reduce, numbers) == make(3)


def test_a_dict_is_aggregated_by_its_keys() -> None:
    assert FieldAggregation(Aggregation.SUM, "n").reduce({"n": 1, "m": 5}, {"n": 2}) == {"n": 3, "m": 5}


@pytest.mark.parametrize(
    ("record", "field"),
    [(1, 1), ("text", 0), ((1, 2), "value"), (Named("a", 1), 3), (Frozen("a", 1), "other"), ({}, 0)],
)
def test_a_record_without_the_field_is_an_error_that_names_both(record, field) -> None:
    with pytest.raises(JobDefinitionError, match=f"{type(record).__qualname__}.* field {field!r}"):
        FieldAggregation(Aggregation.SUM, field).reduce(record, record)


PAIR = Types.TUPLE([Types.STRING(), Types.LONG()])


@pytest.mark.parametrize(
    ("type_info", "aggregation", "field", "problem"),
    [
        (PAIR, Aggregation.SUM, 1, None),
        (PAIR, Aggregation.SUM, 0, "STRING, which has no sum"),
        (PAIR, Aggregation.MAX, 0, None),
        (PAIR, Aggregation.MAX, 2, "no field 2"),
        (PAIR, Aggregation.MAX, "value", "no field 'value'"),
        (PAIR, Aggregation.MAX, -1, "from 0 on"),
        (PAIR, Aggregation.MAX, True, "not True"),
        (Types.ROW_NAMED(["a"], [Types.LONG()]), Aggregation.SUM, "a", None),
        (Types.ROW_NAMED(["a"], [Types.LONG()]), Aggregation.SUM, "b", "no field 'b'"),
        (Types.LONG(), Aggregation.SUM, 0, None),
        (Types.LONG(), Aggregation.SUM, 1, "only position 0"),
        (as_type(Frozen), Aggregation.SUM, "value", None),
        (as_type(Frozen), Aggregation.SUM, "other", "no field 'other'"),
        (GENERIC, Aggregation.SUM, "anything", None),
    ],
)
def test_a_field_that_the_type_does_not_have_is_known_beforehand(
    type_info, aggregation, field, problem
) -> None:
    found = field_problem(type_info, aggregation, field)
    assert found is None if problem is None else problem in found


def test_the_function_travels_also_after_it_was_used() -> None:
    function = FieldAggregation(Aggregation.SUM, 1)
    function.reduce(("a", 1), ("a", 2))
    assert cloudpickle.loads(cloudpickle.dumps(function)).reduce(("a", 1), ("a", 2)) == ("a", 3)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-5, 5), st.integers()), min_size=1))
def test_the_result_is_that_of_the_model(records) -> None:
    fields = [value for _, value, _ in records]
    results = {a: reduce(FieldAggregation(a, 1).reduce, records) for a in Aggregation}
    first = records[0]
    assert results == {
        Aggregation.SUM: (first[0], sum(fields), first[2]),
        Aggregation.MIN: (first[0], min(fields), first[2]),
        Aggregation.MAX: (first[0], max(fields), first[2]),
        Aggregation.MIN_BY: min(records, key=itemgetter(1)),
        Aggregation.MAX_BY: max(records, key=itemgetter(1)),
    }


@pytest.mark.parametrize("record_type", [GENERIC, as_type(Frozen)])
def test_a_rolling_aggregation_goes_on_after_a_restore(start, record_type) -> None:
    h = start(
        ReduceSpec(lambda r: r.key, Types.STRING(), FieldAggregation(Aggregation.MAX, "value"), record_type)
    )
    h.batch([Frozen("a", 1, "first"), Frozen("b", 9), Frozen("a", 3, "second")])
    h.pause()
    h.batch([Frozen("a", 2, "third"), Frozen("b", 10)])
    assert h.results[:3] == [Frozen("a", 1, "first"), Frozen("b", 9), Frozen("a", 3, "first")]
    assert sorted(h.results[3:], key=lambda r: r.key) == [Frozen("a", 3, "first"), Frozen("b", 10)]
    assert h.state_entries() == 2
