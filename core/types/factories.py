"""`Types`: how users write types down, with PyFlink's names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeVar
from uuid import UUID

from ..arguments import check_instance, check_text, checked_list
from ..errors import JobDefinitionError
from ..time import Instant
from .basic import BasicTypeInfo, CharTypeInfo, EnumTypeInfo, floating, integer
from .classes import is_enum_class
from .composite import CollectionTypeInfo, MapTypeInfo, RowTypeInfo, TupleTypeInfo
from .info import GENERIC, PickledBytesTypeInfo, TypeInformation

E = TypeVar("E", bound=Enum)
K = TypeVar("K")
T = TypeVar("T")

_STRING: Final = BasicTypeInfo[str]("STRING", frozenset({str}))
_BYTES: Final = BasicTypeInfo[bytes]("PRIMITIVE_ARRAY(BYTE)", frozenset({bytes}))
_BOOLEAN: Final = BasicTypeInfo[bool]("BOOLEAN", frozenset({bool}))
_BYTE: Final = integer("BYTE", 8)
_SHORT: Final = integer("SHORT", 16)
_INT: Final = integer("INT", 32)
_LONG: Final = integer("LONG", 64)
_BIG_INT: Final = integer("BIG_INT", None)
_FLOAT: Final = floating("FLOAT")
_DOUBLE: Final = floating("DOUBLE")
_CHAR: Final = CharTypeInfo()
_BIG_DEC: Final = BasicTypeInfo[Decimal]("BIG_DEC", frozenset({Decimal}))
_INSTANT: Final = BasicTypeInfo[Instant]("INSTANT", frozenset({Instant}))
_SQL_DATE: Final = BasicTypeInfo[date]("SQL_DATE", frozenset({date}))
_SQL_TIME: Final = BasicTypeInfo[time]("SQL_TIME", frozenset({time}))
_SQL_TIMESTAMP: Final = BasicTypeInfo[datetime]("SQL_TIMESTAMP", frozenset({datetime}))
_PICKLED: Final = PickledBytesTypeInfo()

TIMEDELTA: Final = BasicTypeInfo[timedelta]("TIMEDELTA", frozenset({timedelta}))
"""For type hints; PyFlink has no name for it."""

UUID_TYPE: Final = BasicTypeInfo[UUID]("UUID", frozenset({UUID}))
"""As TIMEDELTA."""

_PRIMITIVES: Final = (_BOOLEAN, _BYTE, _SHORT, _INT, _LONG, _FLOAT, _DOUBLE, _CHAR)


class Types:
    """The types that a program can declare.

    Values are checked where they are encoded (between workers and in state), not at every step: an integer that is too large
    or a string in a LONG stream is an error there.

    >>> Types.TUPLE([Types.STRING(), Types.LONG()])
    TUPLE(STRING, LONG)
    """

    @staticmethod
    def STRING() -> TypeInformation[str]:
        """Strings."""
        return _STRING

    @staticmethod
    def BOOLEAN() -> TypeInformation[bool]:
        """True and False."""
        return _BOOLEAN

    @staticmethod
    def BYTE() -> TypeInformation[int]:
        """Integers of 8 bits, signed."""
        return _BYTE

    @staticmethod
    def SHORT() -> TypeInformation[int]:
        """Integers of 16 bits, signed."""
        return _SHORT

    @staticmethod
    def INT() -> TypeInformation[int]:
        """Integers of 32 bits, signed."""
        return _INT

    @staticmethod
    def LONG() -> TypeInformation[int]:
        """Integers of 64 bits, signed. What the type hint `int` stands for."""
        return _LONG

    @staticmethod
    def FLOAT() -> TypeInformation[float]:
        """Floating-point numbers. They keep double precision: nothing is rounded on the way."""
        return _FLOAT

    @staticmethod
    def DOUBLE() -> TypeInformation[float]:
        """Floating-point numbers of double precision. An `int` stays an `int`."""
        return _DOUBLE

    @staticmethod
    def CHAR() -> TypeInformation[str]:
        """Strings of one character."""
        return _CHAR

    @staticmethod
    def BIG_INT() -> TypeInformation[int]:
        """Integers of any size."""
        return _BIG_INT

    @staticmethod
    def BIG_DEC() -> TypeInformation[Decimal]:
        """`decimal.Decimal`."""
        return _BIG_DEC

    @staticmethod
    def INSTANT() -> TypeInformation[Instant]:
        """Moments: `Instant`."""
        return _INSTANT

    @staticmethod
    def SQL_DATE() -> TypeInformation[date]:
        """`datetime.date`."""
        return _SQL_DATE

    @staticmethod
    def SQL_TIME() -> TypeInformation[time]:
        """`datetime.time`."""
        return _SQL_TIME

    @staticmethod
    def SQL_TIMESTAMP() -> TypeInformation[datetime]:
        """`datetime.datetime`, with its time zone."""
        return _SQL_TIMESTAMP

    @staticmethod
    def PICKLED_BYTE_ARRAY() -> TypeInformation[Any]:
        """Anything cloudpickle can carry: slower, bound to the program's code, and reading it can run any code."""
        return _PICKLED

    @staticmethod
    def PRIMITIVE_ARRAY(element_type: TypeInformation[Any]) -> TypeInformation[Any]:
        """Lists of numbers or booleans; of BYTE: `bytes`.

        Raises:
            JobDefinitionError: another element type.
        """
        _check_type("PRIMITIVE_ARRAY", element_type)
        if element_type == _BYTE:
            return _BYTES
        return _array("PRIMITIVE_ARRAY", element_type, _PRIMITIVES)

    @staticmethod
    def BASIC_ARRAY(element_type: TypeInformation[T]) -> TypeInformation[list[T]]:
        """Lists of numbers, booleans or strings; an element may be None.

        Raises:
            JobDefinitionError: another element type.
        """
        return _array("BASIC_ARRAY", element_type, (*_PRIMITIVES, _STRING), nullable=True)

    @staticmethod
    def OBJECT_ARRAY(element_type: TypeInformation[T]) -> TypeInformation[list[T]]:
        """Lists of anything; an element may be None."""
        _check_type("OBJECT_ARRAY", element_type)
        return CollectionTypeInfo("OBJECT_ARRAY", list, element_type, nullable=True)

    @staticmethod
    def TUPLE(field_types: Sequence[TypeInformation[Any]]) -> TypeInformation[tuple[Any, ...]]:
        """Tuples with a type for each field."""
        return TupleTypeInfo(_checked_types("TUPLE", field_types))

    @staticmethod
    def ENUM(enum_class: type[E]) -> TypeInformation[E]:
        """Members of an Enum.

        Raises:
            JobDefinitionError: not an Enum class.
        """
        if not is_enum_class(enum_class):
            raise JobDefinitionError(
                f"ENUM was given {enum_class!r}, which is no Enum class", fix="pass a subclass of enum.Enum"
            )
        return EnumTypeInfo(enum_class)

    @staticmethod
    def LIST(element_type_info: TypeInformation[T]) -> TypeInformation[list[T]]:
        """Lists with one type for all elements."""
        _check_type("LIST", element_type_info)
        return CollectionTypeInfo("LIST", list, element_type_info)

    @staticmethod
    def MAP(
        key_type_info: TypeInformation[K], value_type_info: TypeInformation[T]
    ) -> TypeInformation[dict[K, T]]:
        """Dicts with one type for all keys and one for all values."""
        _check_type("MAP", key_type_info)
        _check_type("MAP", value_type_info)
        return MapTypeInfo(key_type_info, value_type_info)

    @staticmethod
    def ROW(field_types: Sequence[TypeInformation[Any]]) -> RowTypeInfo:
        """`Row`s with a type for each field; a field may be None."""
        return RowTypeInfo(_checked_types("ROW", field_types))

    @staticmethod
    def ROW_NAMED(field_names: Sequence[str], field_types: Sequence[TypeInformation[Any]]) -> RowTypeInfo:
        """`Row`s with a name and a type for each field; a field may be None.

        Raises:
            JobDefinitionError: not one name for each type.
        """
        names = checked_list("field names of ROW_NAMED", field_names, fix="give a list of strings")
        types = _checked_types("ROW_NAMED", field_types)
        for name in names:
            check_text("name of a field", name, fix="give a list of strings")
        if len(names) != len(types):
            raise JobDefinitionError(
                f"ROW_NAMED has {len(names)} field names and {len(types)} field types",
                fix="give one name for each type",
            )
        if len(set(names)) < len(names):
            raise JobDefinitionError(f"ROW_NAMED has a name twice: {', '.join(names)}", fix="rename one")
        return RowTypeInfo(types, tuple(names))

    @staticmethod
    def GENERIC() -> TypeInformation[Any]:
        """Any plain data, kept exactly: what a stream has that declares nothing."""
        return GENERIC


def _check_type(label: str, element: Any) -> None:
    check_instance(f"element type of {label}", element, TypeInformation, fix="give for example Types.LONG()")


def _checked_types(label: str, types: Any) -> tuple[TypeInformation[Any], ...]:
    listed = checked_list(
        f"field types of {label}", types, fix="give for example [Types.STRING(), Types.LONG()]"
    )
    for element in listed:
        _check_type(label, element)
    return tuple(listed)


def _array(
    label: str,
    element: TypeInformation[Any],
    allowed: tuple[TypeInformation[Any], ...],
    *,
    nullable: bool = False,
) -> TypeInformation[Any]:
    _check_type(label, element)
    if element not in allowed:
        raise JobDefinitionError(
            f"{label} cannot hold {element.name}",
            fix=f"use Types.OBJECT_ARRAY or one of {', '.join(t.name for t in allowed)}",
        )
    return CollectionTypeInfo(label, list, element, nullable)
