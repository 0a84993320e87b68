"""Values of declared types from and to text, and from and to what JSON can hold.

A converter is made once for a type, so that no type is looked at per record. Converters raise ValueError or TypeError with what
does not fit.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from ...core.errors import JobDefinitionError
from ...core.types import GENERIC, Row, TypeInformation, Types
from ...core.types.basic import BasicTypeInfo, CharTypeInfo
from ...core.types.composite import (
    CollectionTypeInfo,
    MapTypeInfo,
    OptionalTypeInfo,
    RowTypeInfo,
    TupleTypeInfo,
)

Converter = Callable[[Any], Any]

_BYTES: Final = Types.PRIMITIVE_ARRAY(Types.BYTE())
_TRUTH: Final = {"true": True, "false": False}


def _bad(value: object, wanted: str) -> NoReturn:
    raise ValueError(f"{value!r:.100} is no {wanted}")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else _bad(value, "text")


def _as_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    truth = _TRUTH.get(value.strip().lower()) if isinstance(value, str) else None
    return _bad(value, "boolean") if truth is None else truth


def _integer(bits: int | None) -> Converter:
    bound = None if bits is None else 1 << (bits - 1)

    def as_integer(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            _bad(value, "integer")
        number = int(value)
        if bound is not None and not -bound <= number < bound:
            _bad(value, f"integer of {bits} bits")
        return number

    return as_integer


def _as_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        _bad(value, "number")
    return float(value)


def _as_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        _bad(value, "number")
    try:
        return Decimal(str(value))
    except InvalidOperation:
        _bad(value, "number")


def _as_bytes(value: Any) -> bytes:
    return base64.b64decode(_as_text(value), validate=True)


_SCALARS: Final[Mapping[str, tuple[Converter, Converter]]] = {
    # Flink's name of the type: from what the format holds, to what it can hold.
    "STRING": (_as_text, str),
    "CHAR": (_as_text, str),
    "BOOLEAN": (_as_boolean, bool),
    "BYTE": (_integer(8), int),
    "SHORT": (_integer(16), int),
    "INT": (_integer(32), int),
    "LONG": (_integer(64), int),
    "BIG_INT": (_integer(None), int),
    "FLOAT": (_as_float, float),
    "DOUBLE": (_as_float, float),
    "BIG_DEC": (_as_decimal, lambda value: value),
    "SQL_DATE": (lambda value: date.fromisoformat(_as_text(value)), date.isoformat),
    "SQL_TIME": (lambda value: time.fromisoformat(_as_text(value)), time.isoformat),
    "SQL_TIMESTAMP": (lambda value: datetime.fromisoformat(_as_text(value)), datetime.isoformat),
    _BYTES.name: (_as_bytes, lambda value: base64.b64encode(value).decode()),
}


def scalar(type_info: TypeInformation[Any]) -> tuple[Converter, Converter] | None:
    """From and to text of a type without parts; None for other types."""
    if isinstance(type_info, BasicTypeInfo | CharTypeInfo):
        return _SCALARS.get(type_info.name)
    return None


def from_json(type_info: TypeInformation[Any], *, missing_fails: bool) -> Converter:
    """From what a JSON decoder gives to a value of the type.

    Args:
        missing_fails: a row without one of its fields is an error; otherwise the field is None.

    Raises:
        JobDefinitionError: JSON cannot hold the type.
    """

    def of(inner: TypeInformation[Any]) -> Converter:
        return from_json(inner, missing_fails=missing_fails)

    if type_info == GENERIC:
        return lambda value: value
    found = scalar(type_info)
    if found is not None:
        return found[0]
    match type_info:
        case OptionalTypeInfo(inner=inner):
            return _optional(of(inner))
        case RowTypeInfo():
            converters = [_optional(of(field)) for field in type_info.get_field_types()]
            return _row_reader(type_info.get_field_names(), converters, missing_fails=missing_fails)
        case TupleTypeInfo(types=types):
            return _tuple_reader([of(field) for field in types])
        case CollectionTypeInfo(kind=kind, element=element):
            return _collection_reader(kind, of(element))
        case MapTypeInfo(key=key, value=value) if key == Types.STRING():
            return _map_reader(of(value))
    raise _no_json(type_info)


def to_json(type_info: TypeInformation[Any]) -> Converter:
    """From a value of the type to what a JSON encoder takes.

    Raises:
        JobDefinitionError: JSON cannot hold the type.
    """
    if type_info == GENERIC:
        return lambda value: value
    found = scalar(type_info)
    if found is not None:
        return found[1]
    match type_info:
        case OptionalTypeInfo(inner=inner):
            return _optional(to_json(inner))
        case RowTypeInfo():
            names = type_info.get_field_names()
            converters = [_optional(to_json(field)) for field in type_info.get_field_types()]
            return lambda row: {
                name: convert(value) for name, convert, value in zip(names, converters, row, strict=True)
            }
        case TupleTypeInfo(types=types):
            fields = [to_json(field) for field in types]
            return lambda value: [convert(item) for convert, item in zip(fields, value, strict=True)]
        case CollectionTypeInfo(element=element):
            convert_element = to_json(element)
            return lambda value: [convert_element(item) for item in value]
        case MapTypeInfo(key=key, value=value_type) if key == Types.STRING():
            convert_value = to_json(value_type)
            return lambda value: {name: convert_value(item) for name, item in value.items()}
    raise _no_json(type_info)


def _optional(convert: Converter) -> Converter:
    return lambda value: None if value is None else convert(value)


def _row_reader(names: list[str], converters: list[Converter], *, missing_fails: bool) -> Converter:
    fields = tuple(names)

    def read(value: Any) -> Row:
        if not isinstance(value, dict):
            _bad(value, "object")
        if missing_fails:
            lacking = [name for name in fields if name not in value]
            if lacking:
                raise ValueError(f"the field {lacking[0]!r} is missing")
        items = []
        for name, convert in zip(fields, converters, strict=True):
            try:
                items.append(convert(value.get(name)))
            except (ValueError, TypeError) as error:
                raise ValueError(f"field {name!r}: {error}") from error
        return Row.of_fields(fields, items)

    return read


def _tuple_reader(converters: list[Converter]) -> Converter:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(converters):
            _bad(value, f"array of {len(converters)}")
        return tuple(convert(item) for convert, item in zip(converters, value, strict=True))

    return read


def _collection_reader(kind: Callable[[Any], Any], convert: Converter) -> Converter:
    return lambda value: kind(map(convert, value)) if isinstance(value, list) else _bad(value, "array")


def _map_reader(convert: Converter) -> Converter:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            _bad(value, "object")
        return {name: convert(item) for name, item in value.items()}

    return read


def _no_json(type_info: TypeInformation[Any]) -> JobDefinitionError:
    return JobDefinitionError(
        f"JSON cannot hold values of the type {type_info.name}",
        fix="use numbers, strings, booleans, dates, rows, tuples, lists, and maps with string keys",
    )
