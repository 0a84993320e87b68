"""Basic types: values without parts."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, Final, TypeVar

import msgspec

from .classes import class_name, is_namedtuple_class
from .exact import TUPLES
from .info import TypeInformation
from .tagged import SCALARS

T = TypeVar("T")

_ARRAY_CODES: Final = {array(code).itemsize * 8: code for code in "bhiq"}
"""The codes of `array` for signed integers of 8, 16, 32 and 64 bits."""


@dataclass(frozen=True, repr=False)
class BasicTypeInfo(TypeInformation[T]):
    """Values of one of a few exact types, perhaps within bounds.

    Attributes:
        type_name: Flink's name.
        kinds: exact Python types; `int` types take `bool` too, and floating types `int`, as Python's own hints do.
        bits: the size of integers in two's complement, if it is limited.
    """

    type_name: str
    kinds: frozenset[type]
    bits: int | None = None

    @property
    def name(self) -> str:
        return self.type_name

    @property
    def immutable(self) -> bool:
        return True

    @property
    def native_form(self) -> bytes | None:
        return TUPLES if self.kinds <= SCALARS else None

    def mismatch(self, values: Sequence[Any]) -> str | None:
        if not self.kinds.issuperset(map(type, values)):
            return found_kind(values, self.kinds)
        if self.bits is not None:
            try:
                array(
                    _ARRAY_CODES[self.bits], values
                )  # checks the bounds in half the time of min() and max()
            except OverflowError:
                return f"only integers of {self.bits} bits are; Types.BIG_INT() takes any"
        return None


@dataclass(frozen=True, repr=False)
class CharTypeInfo(TypeInformation[str]):
    """Strings of one character."""

    @property
    def name(self) -> str:
        return "CHAR"

    @property
    def native_form(self) -> bytes | None:
        return TUPLES

    @property
    def immutable(self) -> bool:
        return True

    def mismatch(self, values: Sequence[Any]) -> str | None:
        if not {str}.issuperset(map(type, values)):
            return found_kind(values, frozenset({str}))
        return None if {1}.issuperset(map(len, values)) else "a CHAR has exactly one character"


@dataclass(frozen=True, repr=False)
class RecordTypeInfo(TypeInformation[T]):
    """Instances of a user's dataclass, NamedTuple or Struct, or of subclasses of it.

    Attributes:
        cls: the class; the name of the type is its module and qualified name, so its fields may evolve.
        frozen: nothing in an instance can be changed in place.
    """

    cls: type[T]
    frozen: bool

    @property
    def name(self) -> str:
        return f"RECORD({class_name(self.cls)})"

    @property
    def immutable(self) -> bool:
        return self.frozen

    def mismatch(self, values: Sequence[Any]) -> str | None:
        kinds = set(map(type, values))
        if all(issubclass(kind, self.cls) for kind in kinds):
            return None
        return found_kind(
            values, frozenset(kind for kind in kinds if issubclass(kind, self.cls)) | {self.cls}
        )


@dataclass(frozen=True, repr=False)
class EnumTypeInfo(TypeInformation[T]):
    """Members of a user's Enum."""

    cls: type[T]

    @property
    def name(self) -> str:
        return f"ENUM({class_name(self.cls)})"

    @property
    def immutable(self) -> bool:
        return True

    def mismatch(self, values: Sequence[Any]) -> str | None:
        return None if {self.cls}.issuperset(map(type, values)) else found_kind(values, frozenset({self.cls}))


def is_frozen_class(cls: type) -> bool:
    """Whether the fields of a record class cannot be assigned again (what they hold may still be mutable)."""
    if is_namedtuple_class(cls):
        return True
    if issubclass(cls, msgspec.Struct):
        return bool(cls.__struct_config__.frozen)
    return is_dataclass(cls) and bool(cls.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def integer(name: str, bits: int | None) -> BasicTypeInfo[int]:
    """Integers of `bits` bits in two's complement, or of any size."""
    return BasicTypeInfo(name, frozenset({int, bool}), bits)


def floating(name: str) -> BasicTypeInfo[float]:
    """Floating-point numbers, always of double precision; an integer stays one."""
    return BasicTypeInfo(name, frozenset({float, int, bool}))


def found_kind(values: Sequence[Any], kinds: frozenset[type]) -> str:
    """What is there instead of one of `kinds`: the reason of a mismatch."""
    stranger = next(value for value in values if type(value) not in kinds)
    cls = type(stranger)
    if stranger is None:
        return "it is None; Python's Optional[...] as a type hint allows that"
    said = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    article = "an" if said[0] in "aeiou" else "a"
    hint = "; convert numpy values with .item()" if cls.__module__ == "numpy" else ""
    enumerated = " (an Enum member; use its .value)" if isinstance(stranger, enum.Enum) else ""
    return f"it is {article} {said}{enumerated}{hint}"
