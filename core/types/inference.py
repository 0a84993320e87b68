"""From Python's type hints to type information."""

from __future__ import annotations

import types
import typing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar, Union, get_args, get_origin, overload
from uuid import UUID

from ..errors import JobDefinitionError
from ..time import Instant
from .basic import EnumTypeInfo, RecordTypeInfo, is_frozen_class
from .classes import is_enum_class, is_record_class, record_fields
from .composite import CollectionTypeInfo, MapTypeInfo, OptionalTypeInfo, TupleTypeInfo
from .factories import TIMEDELTA, UUID_TYPE, Types
from .info import GENERIC, TypeInformation

T = TypeVar("T")

_PLAIN: Final[dict[Any, TypeInformation[Any]]] = {
    Any: GENERIC,
    object: GENERIC,
    None: GENERIC,
    type(None): GENERIC,
    int: Types.LONG(),
    str: Types.STRING(),
    float: Types.DOUBLE(),
    bool: Types.BOOLEAN(),
    bytes: Types.PRIMITIVE_ARRAY(Types.BYTE()),
    Decimal: Types.BIG_DEC(),
    date: Types.SQL_DATE(),
    time: Types.SQL_TIME(),
    datetime: Types.SQL_TIMESTAMP(),
    timedelta: TIMEDELTA,
    Instant: Types.INSTANT(),
    UUID: UUID_TYPE,
    **dict.fromkeys((tuple, list, dict, set, frozenset, complex, bytearray), GENERIC),
}
_DEEPLY_FROZEN: Final[dict[type, bool]] = {}
_COLLECTIONS: Final = {list: "LIST", set: "SET", frozenset: "FROZENSET"}


def infer_type(hint: Any) -> TypeInformation[Any] | None:
    """The type that a hint promises; GENERIC for hints that leave it open (`Any`, unions, bare `list`).

    None when the hint says nothing that could be used: a missing or unresolved one, or a class that is no plain data.

    >>> infer_type(tuple[str, int]), infer_type(dict[str, list[float]]), infer_type(int | None)
    (TUPLE(STRING, LONG), MAP(STRING, LIST(DOUBLE)), OPTIONAL(LONG))
    """
    if isinstance(hint, TypeInformation):
        return hint
    origin = get_origin(hint)
    if origin is not None:
        return _infer_generic(origin, get_args(hint))
    try:
        known = _PLAIN.get(hint)
    except TypeError:  # unhashable: no hint
        return None
    if known is not None:
        return known
    if is_enum_class(hint):
        return EnumTypeInfo(hint)
    if is_record_class(hint):
        return RecordTypeInfo(hint, frozen=_is_deeply_frozen(hint))
    if typing.is_typeddict(hint):
        return GENERIC  # its values are plain dicts
    if isinstance(hint, typing.NewType):
        return infer_type(hint.__supertype__)
    return None


@overload
def as_type(declared: TypeInformation[T]) -> TypeInformation[T]: ...
@overload
def as_type(declared: type[T]) -> TypeInformation[T]: ...
@overload
def as_type(declared: None) -> TypeInformation[Any]: ...
def as_type(declared: Any) -> TypeInformation[Any]:
    """The type that a program declares as type information, as a Python type or hint, or not at all.

    >>> as_type(int), as_type(None)
    (LONG, GENERIC)

    Raises:
        JobDefinitionError: it says nothing that could be used.
    """
    if declared is None:
        return GENERIC
    inferred = infer_type(declared)
    if inferred is None:
        raise JobDefinitionError(
            f"{declared!r} is not a type that records can be declared as",
            fix="give a factory of Types, such as Types.LONG(), a dataclass, or a hint such as tuple[str, int]; for other objects Types.PICKLED_BYTE_ARRAY()",
        )
    return inferred


def _infer_generic(origin: Any, args: tuple[Any, ...]) -> TypeInformation[Any] | None:
    if origin is typing.Annotated:
        return infer_type(args[0])
    if origin is Union or origin is types.UnionType:
        return _infer_union(args)
    if origin is typing.Literal:
        kinds = {type(arg) for arg in args}
        return infer_type(kinds.pop()) if len(kinds) == 1 else GENERIC
    if is_record_class(origin):  # a generic dataclass or Struct
        return infer_type(origin)
    if origin is tuple:
        return _infer_tuple(args)
    if origin in _COLLECTIONS:
        return CollectionTypeInfo(_COLLECTIONS[origin], origin, infer_type(args[0]) or GENERIC)
    if origin is dict:
        return MapTypeInfo(infer_type(args[0]) or GENERIC, infer_type(args[1]) or GENERIC)
    return None


def _infer_tuple(args: tuple[Any, ...]) -> TypeInformation[Any]:
    if len(args) == 2 and args[1] is Ellipsis:
        return CollectionTypeInfo("TUPLE_OF", tuple, infer_type(args[0]) or GENERIC)
    return TupleTypeInfo(tuple(infer_type(arg) or GENERIC for arg in args))


def _infer_union(args: tuple[Any, ...]) -> TypeInformation[Any]:
    others = [arg for arg in args if arg is not type(None)]
    if len(others) == 1 and len(args) == 2:
        inner = infer_type(others[0]) or GENERIC
        return inner if inner == GENERIC else OptionalTypeInfo(inner)
    return GENERIC


def _is_deeply_frozen(cls: type) -> bool:
    """Whether instances cannot be changed at all: the fields are frozen, and so is what their hints let them hold."""
    known = _DEEPLY_FROZEN.get(cls)
    if known is None:
        _DEEPLY_FROZEN[cls] = (
            False  # what a class that contains itself meets on the way round: the cautious answer
        )
        known = _DEEPLY_FROZEN[cls] = is_frozen_class(cls) and _has_frozen_fields(cls)
    return known


def _has_frozen_fields(cls: type) -> bool:
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError):  # hints that cannot be resolved promise nothing
        return False
    fields = record_fields(cls)
    if not set(fields) <= set(hints):
        return False  # collections.namedtuple says nothing about its fields
    inferred = (infer_type(hints[name]) for name in fields)
    return all(info is not None and info.immutable for info in inferred)
