"""sum, min, max, min_by and max_by of a field, as reduce functions: for rolling aggregations and for windows.

A field is a position or a name. As in Flink, `min` and `max` keep the other fields of the first record and replace the one;
`min_by` and `max_by` keep a whole record, of several equal ones the first.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Number
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from ..core.errors import JobDefinitionError
from ..core.types import (
    BasicTypeInfo,
    RecordTypeInfo,
    Row,
    RowTypeInfo,
    TupleTypeInfo,
    TypeInformation,
    Types,
)
from .functions import ReduceFunction

Field: TypeAlias = int | str
Combine: TypeAlias = Callable[[Any, Any], Any]


class Aggregation(Enum):
    """What becomes of the field."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    MIN_BY = "min_by"
    MAX_BY = "max_by"


class FieldAggregation(ReduceFunction[Any]):
    """The reduce function of an aggregation of one field. Neither record is changed: results are new where a field is.

    Works for numbers (position 0), tuples, NamedTuples, lists, Rows, dataclasses, Structs, and dicts by their keys.

    Args:
        first: of records that are equal in the field, `min_by` and `max_by` keep the first one; otherwise the last.

    Raises (from `reduce`):
        JobDefinitionError: records of this class have no such field.

    >>> FieldAggregation(Aggregation.MAX, 1).reduce(("a", 1, "first"), ("a", 2, "second"))
    ('a', 2, 'first')
    >>> FieldAggregation(Aggregation.MAX_BY, 1).reduce(("a", 1, "first"), ("a", 2, "second"))
    ('a', 2, 'second')
    """

    def __init__(self, aggregation: Aggregation, field: Field, *, first: bool = True) -> None:
        self._combine = _CombineByClass(aggregation, field, first=first)

    def reduce(self, value1: Any, value2: Any) -> Any:
        return self._combine[type(value1)](value1, value2)


def field_problem(type_info: TypeInformation[Any], aggregation: Aggregation, field: Field) -> str | None:
    """Why the aggregation cannot work on records of this type, as far as the type tells; None otherwise.

    >>> field_problem(Types.TUPLE([Types.STRING(), Types.LONG()]), Aggregation.SUM, 2)
    'TUPLE(STRING, LONG) has no field 2'
    """
    if type(field) not in {int, str} or (isinstance(field, int) and field < 0):
        return f"a field is given by its position (an int from 0 on) or its name (a str), not {field!r}"
    found: TypeInformation[Any] | None = None
    match type_info:
        case TupleTypeInfo(types=types):
            if isinstance(field, str) or field >= len(types):
                return f"{type_info.name} has no field {field!r}"
            found = types[field]
        case RowTypeInfo():
            names = type_info.get_field_names()
            index = names.index(field) if field in names else field
            if isinstance(index, str) or index >= len(names):
                return f"{type_info.name} has no field {field!r}"
            found = type_info.get_field_types()[index]
        case RecordTypeInfo(cls=cls):
            names = list(_field_names(cls))
            if field not in names and not (isinstance(field, int) and field < len(names)):
                return f"{type_info.name} has no field {field!r}"
        case BasicTypeInfo():
            if field != 0:
                return f"{type_info.name} has no field {field!r}, only position 0"
            found = type_info
    if aggregation is Aggregation.SUM and found is not None and found in _NOT_SUMMABLE:
        return f"field {field!r} is a {found.name}, which has no sum"
    return None


_NOT_SUMMABLE: Final[tuple[TypeInformation[Any], ...]] = (
    Types.STRING(),
    Types.CHAR(),
    Types.BOOLEAN(),
    Types.SQL_DATE(),
    Types.SQL_TIME(),
    Types.SQL_TIMESTAMP(),
    Types.INSTANT(),
)


class _Access(NamedTuple):
    """How records of one class give a field, and how they are copied with another value in it."""

    get: Callable[[Any], Any]
    replaced: Callable[[Any, Any], Any]


class _CombineByClass(dict[type, Combine]):
    """What to do with records of a class, found out at its first record."""

    def __init__(self, aggregation: Aggregation, field: Field, *, first: bool) -> None:
        super().__init__()
        self._aggregation = aggregation
        self._field = field
        self._first = first

    def __reduce__(self) -> tuple[Any, ...]:
        return _combine_by_class, (self._aggregation, self._field, self._first)

    def __missing__(self, cls: type) -> Combine:
        access = _access(cls, self._field)
        if access is None:
            raise JobDefinitionError(
                f"records of class {cls.__qualname__} have no field {self._field!r} to aggregate",
                fix="give the position of a field, its name, or 0 for plain numbers",
            )
        self[cls] = combine = _combination(self._aggregation, access, first=self._first)
        return combine


def _combine_by_class(aggregation: Aggregation, field: Field, first: bool) -> _CombineByClass:
    return _CombineByClass(aggregation, field, first=first)


def _combination(aggregation: Aggregation, access: _Access, *, first: bool) -> Combine:
    get, replaced = access
    match aggregation, first:
        case Aggregation.SUM, _:
            return lambda a, b: replaced(a, get(a) + get(b))
        case Aggregation.MIN, _:
            return lambda a, b: replaced(a, least) if (least := get(b)) < get(a) else a
        case Aggregation.MAX, _:
            return lambda a, b: replaced(a, most) if (most := get(b)) > get(a) else a
        case Aggregation.MIN_BY, True:
            return lambda a, b: b if get(b) < get(a) else a
        case Aggregation.MIN_BY, False:
            return lambda a, b: b if get(b) <= get(a) else a
        case Aggregation.MAX_BY, True:
            return lambda a, b: b if get(b) > get(a) else a
        case _:
            return lambda a, b: b if get(b) >= get(a) else a


def _access(cls: type, field: Field) -> _Access | None:
    """None: there is no such field."""
    if issubclass(cls, Number | Decimal | Fraction):
        return _Access(lambda record: record, lambda _, value: value) if field == 0 else None
    names = _field_names(cls)
    if names:
        name = names[field] if isinstance(field, int) and field < len(names) else field
        return _attribute(cls, name) if name in names else None
    if cls is Row:
        return _Access(lambda row: row[field], lambda row, value: _copied(row, field, value))
    if issubclass(cls, dict) and isinstance(field, str):
        return _Access(lambda record: record[field], lambda record, value: {**record, field: value})
    if issubclass(cls, list) and isinstance(field, int):
        return _Access(lambda record: record[field], lambda record, value: _copied(record, field, value))
    if issubclass(cls, tuple) and isinstance(field, int):
        after = field + 1
        return _Access(
            lambda record: record[field], lambda record, value: (*record[:field], value, *record[after:])
        )
    return None


def _field_names(cls: type) -> tuple[str, ...]:
    """Of a class with declared fields, in their order; empty for all others."""
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    names: tuple[str, ...] = getattr(cls, "_fields", ()) if issubclass(cls, tuple) else ()
    return names


def _attribute(cls: type, name: Field) -> _Access:
    assert isinstance(name, str)

    def get(record: Any) -> Any:
        return getattr(record, name)

    if dataclasses.is_dataclass(cls):

        def replaced(record: Any, value: Any) -> Any:
            changed = copy.copy(
                record
            )  # not dataclasses.replace, which would run the user's __post_init__ again
            object.__setattr__(changed, name, value)
            return changed

        return _Access(get, replaced)
    if issubclass(cls, msgspec.Struct):
        return _Access(get, lambda record, value: msgspec.structs.replace(record, **{name: value}))
    return _Access(get, lambda record, value: record._replace(**{name: value}))


def _copied(record: Any, field: Field, value: Any) -> Any:
    changed = copy.copy(record)
    changed[field] = value
    return changed
