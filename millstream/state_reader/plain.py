"""Values as plain data, for tables, JSON and Arrow: records, rows and members of Enums become what they consist of."""

from __future__ import annotations

import enum
from collections import deque
from typing import Any
from uuid import UUID

import msgspec

from ..core.types import Row
from ..core.types.classes import record_shape
from ..core.types.tagged import SCALARS
from ..state.type_names import Pickled


def plain(value: Any) -> Any:
    """A value made of dicts, lists and scalars alone.

    Records and rows become dicts by field (f0, f1, ... where fields have no names), tuples and sets lists, members of Enums their
    names, dicts whose keys are no strings lists of `{"key": ..., "value": ...}`, pickled values their bytes.

    >>> plain((1, Row(a=(2, 3)), {4: 5}))
    [1, {'a': [2, 3]}, [{'key': 4, 'value': 5}]]
    """
    if type(value) in SCALARS:
        return value
    match value:
        case enum.Enum():
            name: str | None = value.name  # none of combined flags, whatever the stubs say
            return plain(value.value) if name is None else name
        case Row():
            names = value.get_field_names() or [f"f{index}" for index in range(len(value))]
            return {name: plain(item) for name, item in zip(names, value, strict=True)}
        case UUID():
            return str(value)
        case Pickled():
            return value.data
        case bytearray():
            return bytes(value)
        case dict():
            return _mapping(value)
    shape = record_shape(type(value))
    if shape is not None:
        return {n: plain(item) for n, item in zip(shape.fields, shape.to_row(value), strict=True)}
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value  # numpy's scalars and arrays


def _mapping(value: dict[Any, Any]) -> Any:
    if all(type(key) is str for key in value):
        return {key: plain(item) for key, item in value.items()}
    return [{"key": plain(key), "value": plain(item)} for key, item in value.items()]


def to_json(value: Any) -> str:
    """A value as one line of JSON; bytes in base64, times in ISO 8601, what JSON has no form for as text.

    >>> to_json({"at": (1, None)})
    '{"at":[1,null]}'
    """
    return msgspec.json.encode(plain(value), enc_hook=str).decode()
