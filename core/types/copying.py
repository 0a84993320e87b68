"""Copies of values for whoever must not share them."""

from __future__ import annotations

import copy
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec

from .classes import is_namedtuple_class
from .row import Row
from .tagged import SCALARS

IMMUTABLE: Final = SCALARS | {complex, Decimal, date, time, datetime, timedelta, UUID}
"""Exact types whose values cannot be changed."""


def copy_value(value: Any) -> Any:
    """A copy that shares no mutable part with `value`; what cannot be changed is returned as it is.

    Cheap for plain data; other objects go through `copy.deepcopy`.

    >>> copy_value(key := ("a", 1)) is key
    True
    >>> rows = [[1]]
    >>> copy_value(rows) == rows, copy_value(rows)[0] is rows[0]
    (True, False)
    """
    kind = type(value)
    if kind in IMMUTABLE:
        return value
    if kind is tuple or kind is frozenset:
        if IMMUTABLE.issuperset(map(type, value)):
            return value
        copied = tuple(map(copy_value, value))
        unchanged = all(new is old for new, old in zip(copied, value, strict=True))
        return value if unchanged else kind(copied)
    if kind is list:
        return value[:] if IMMUTABLE.issuperset(map(type, value)) else list(map(copy_value, value))
    if kind is dict:
        if IMMUTABLE.issuperset(map(type, value.values())) and IMMUTABLE.issuperset(map(type, value)):
            return value.copy()
        return {copy_value(key): copy_value(item) for key, item in value.items()}
    if kind is set:  # elements are hashable, and may still hold something mutable
        return value.copy() if IMMUTABLE.issuperset(map(type, value)) else set(map(copy_value, value))
    if isinstance(value, Enum):
        return value
    if kind is Row:
        return Row.of_fields(value.get_field_names(), list(map(copy_value, value)), value.get_row_kind())
    return _copy_record(kind, value)


def _copy_record(kind: type, value: Any) -> Any:
    if hasattr(kind, "__deepcopy__"):
        return copy.deepcopy(value)
    if is_namedtuple_class(kind):
        return tuple.__new__(kind, map(copy_value, value))
    if issubclass(kind, msgspec.Struct):
        copied = copy.copy(value)
        for field in kind.__struct_fields__:
            msgspec.structs.force_setattr(copied, field, copy_value(getattr(value, field)))
        return copied
    if "__dataclass_fields__" in kind.__dict__ and kind.__dictoffset__ and kind.__base__ is object:
        copied = object.__new__(kind)
        copied.__dict__.update({name: copy_value(item) for name, item in value.__dict__.items()})
        return copied
    return copy.deepcopy(value)
