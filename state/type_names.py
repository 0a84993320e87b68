"""From the names of types, as checkpoints hold them, back to types that can read what was written.

Names were made for comparing; this is their grammar:

    type  = NAME | LABEL "(" type ")" | "TUPLE(" types ")" | "MAP(" type ", " type ")" | "ROW(" [name " "] type ... ")"
          | "TTL(" type ")" | "RECORD(" class ")" | "ENUM(" class ")" | "TAGGED_UNION(" type ", " type ")"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..core.errors import StateError
from ..core.types import (
    GENERIC,
    CollectionTypeInfo,
    EnumTypeInfo,
    MapTypeInfo,
    OptionalTypeInfo,
    RecordTypeInfo,
    RowTypeInfo,
    TaggedUnionTypeInfo,
    TupleTypeInfo,
    TypeInformation,
    Types,
    infer_type,
)
from ..core.types.factories import TIMEDELTA, UUID_TYPE
from .expiry import TimedTypeInfo

_PLAIN: Final[dict[str, TypeInformation[Any]]] = {
    info.name: info
    for info in (
        Types.STRING(),
        Types.BOOLEAN(),
        Types.BYTE(),
        Types.SHORT(),
        Types.INT(),
        Types.LONG(),
        Types.FLOAT(),
        Types.DOUBLE(),
        Types.CHAR(),
        Types.BIG_INT(),
        Types.BIG_DEC(),
        Types.INSTANT(),
        Types.SQL_DATE(),
        Types.SQL_TIME(),
        Types.SQL_TIMESTAMP(),
        Types.PRIMITIVE_ARRAY(Types.BYTE()),
        TIMEDELTA,
        UUID_TYPE,
        GENERIC,
    )
}
_COLLECTIONS: Final[dict[str, tuple[Any, bool]]] = {
    "LIST": (list, False),
    "SET": (set, False),
    "FROZENSET": (frozenset, False),
    "TUPLE_OF": (tuple, False),
    "PRIMITIVE_ARRAY": (list, False),
    "BASIC_ARRAY": (list, True),
    "OBJECT_ARRAY": (list, True),
}
_PICKLED: Final = Types.PICKLED_BYTE_ARRAY().name


@dataclass(frozen=True, slots=True)
class Pickled:
    """A pickled value that was not unpickled: reading it could run any code.

    Attributes:
        data: the pickle.
    """

    data: bytes

    def __repr__(self) -> str:
        return f"<pickled, {len(self.data)} bytes>"


@dataclass(frozen=True, repr=False)
class UnreadPickleTypeInfo(TypeInformation[Pickled]):
    """Pickled values, which stay what they are."""

    @property
    def name(self) -> str:
        return _PICKLED

    @property
    def immutable(self) -> bool:
        return True

    def mismatch(self, values: Sequence[Any]) -> str | None:
        return None if all(type(value) is Pickled for value in values) else "it is no pickled value"

    @property
    def is_plain(self) -> bool:
        return False

    def to_wire(self, value: Pickled) -> bytes:
        return value.data

    def from_wire(self, data: Any) -> Pickled:
        return Pickled(data)


@dataclass(frozen=True, repr=False)
class StandInTypeInfo(TypeInformation[Any]):
    """Values of a class that is not there: records as named rows, members of an Enum as their names."""

    type_name: str

    @property
    def name(self) -> str:
        return self.type_name

    @property
    def immutable(self) -> bool:
        return True

    def mismatch(self, values: Sequence[Any]) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class TypeReader:
    """Makes types of names.

    Args:
        classes: users' classes by name ("module:qualname"); for others there are stand-ins.
        unpickle: read pickled values, which can run any code; otherwise they come as `Pickled`.
    """

    classes: Mapping[str, type]
    unpickle: bool

    def read(self, name: str) -> TypeInformation[Any]:
        """The type of a name.

        >>> TypeReader({}, unpickle=False).read("TUPLE(STRING, LIST(LONG))")
        TUPLE(STRING, LIST(LONG))

        Raises:
            StateError: it is of no known form.
        """
        known = _PLAIN.get(name)
        if known is not None:
            return known
        label, opened, rest = name.partition("(")
        if opened and rest.endswith(")"):
            body = rest[:-1]
            if label in {"RECORD", "ENUM"}:
                return self._of_class(label, body, name)
            made = self._composite(label, _split(body))
            if made is not None:
                return made
        if name == _PICKLED:
            return Types.PICKLED_BYTE_ARRAY() if self.unpickle else UnreadPickleTypeInfo()
        raise StateError(
            f"the type name '{name}' in a checkpoint is of no known form",
            fix="read it with the release that wrote it; field names of rows that hold parentheses or commas are not supported",
        )

    def _composite(self, label: str, parts: list[str]) -> TypeInformation[Any] | None:
        if label == "ROW":
            return self._row(parts)
        if label in _COLLECTIONS and len(parts) == 1:
            kind, nullable = _COLLECTIONS[label]
            return CollectionTypeInfo(label, kind, self.read(parts[0]), nullable)
        make = _COMPOSITES.get(label)
        if make is None or (make[0] is not None and make[0] != len(parts)):
            return None
        return make[1]([self.read(part) for part in parts])

    def _row(self, parts: list[str]) -> TypeInformation[Any]:
        named = [_field(part) for part in parts]
        types = tuple(self.read(type_name) for _, type_name in named)
        names = tuple(name for name, _ in named)
        return RowTypeInfo(types, names if any(names) else None)

    def _of_class(self, label: str, class_name: str, name: str) -> TypeInformation[Any]:
        cls = self.classes.get(class_name)
        if cls is None:
            return StandInTypeInfo(name)
        if label == "ENUM":
            return EnumTypeInfo(cls)
        inferred = infer_type(cls)
        return inferred if inferred is not None else RecordTypeInfo(cls, frozen=False)


_COMPOSITES: Final[
    dict[str, tuple[int | None, Callable[[list[TypeInformation[Any]]], TypeInformation[Any]]]]
] = {
    "TUPLE": (None, lambda types: TupleTypeInfo(tuple(types))),
    "MAP": (2, lambda types: MapTypeInfo(types[0], types[1])),
    "OPTIONAL": (1, lambda types: OptionalTypeInfo(types[0])),
    "TAGGED_UNION": (2, lambda types: TaggedUnionTypeInfo(types[0], types[1])),
    "TTL": (1, lambda types: TimedTypeInfo((Types.LONG(), types[0]))),
}
"""What makes a type of the types within, and how many there must be."""


def _split(body: str) -> list[str]:
    """At the commas that stand in no parentheses.

    >>> _split("STRING, MAP(LONG, LONG)")
    ['STRING', 'MAP(LONG, LONG)']
    """
    if not body:
        return []
    parts, depth, start = [], 0, 0
    for index, char in enumerate(body):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(body[start:index])
            start = index + 2  # ", "
    return [*parts, body[start:]]


def _field(part: str) -> tuple[str, str]:
    """Name and type of a field of a row; an empty name where it has none."""
    outside = part.partition("(")[0]
    name, space, _ = outside.rpartition(" ")
    return (name, part[len(name) + 1 :]) if space else ("", part)
