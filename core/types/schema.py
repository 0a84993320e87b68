"""Schemas: what a type looked like when something was written with it, as plain data that checkpoints keep.

The name of a type says which class records are of, not what fields the class has; the schema says both, so that a later
program, whose class of that name has other fields, can tell whether it may read them (`evolution.py`).
"""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Any, Final, TypeAlias

import msgspec

from .basic import EnumTypeInfo, RecordTypeInfo
from .classes import class_name, record_fields
from .composite import CollectionTypeInfo, MapTypeInfo, OptionalTypeInfo, RowTypeInfo, TupleTypeInfo
from .inference import infer_type
from .info import GENERIC, PickledBytesTypeInfo, TypeInformation
from .tagged_union import TaggedUnionTypeInfo

OPTIONAL: Final = "OPTIONAL"
"""`Composite.label` of values that may be None."""


class _Node(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """A place in a schema."""


class Basic(_Node, frozen=True, tag="basic"):
    """A type without parts, by its name."""

    name: str

    def __str__(self) -> str:
        return self.name


class Composite(_Node, frozen=True, tag="composite"):
    """Tuples, collections, maps, optional values, unions, rows without names: types by position."""

    label: str
    parts: tuple[Node, ...]

    def __str__(self) -> str:
        return f"{self.label}({', '.join(map(str, self.parts))})"


class NamedRow(_Node, frozen=True, tag="row"):
    """Rows with names: (name, type) by position."""

    fields: tuple[tuple[str, Node], ...]

    def __str__(self) -> str:
        return f"ROW({', '.join(f'{name} {node}' for name, node in self.fields)})"


class Named(_Node, frozen=True, tag="named"):
    """A user's class, described in `TypeSchema.records` or `TypeSchema.enums`."""

    kind: str
    cls: str

    def __str__(self) -> str:
        return f"{self.kind}({self.cls})"


class Unknown(_Node, frozen=True, tag="unknown"):
    """The type of a field whose hint could not be resolved, or that has none. Nothing is known of it, so it fits everything."""

    hint: str = ""

    def __str__(self) -> str:
        return f"of an unknown type ({self.hint or 'no type hint'})"


Node: TypeAlias = Basic | Composite | NamedRow | Named | Unknown


class TypeSchema(msgspec.Struct, frozen=True, omit_defaults=True):
    """A type as it was when something was written.

    Attributes:
        root: the type.
        records: of each record class in it, (field, type) in the order of the fields.
        enums: of each Enum in it, the names of the members.
    """

    root: Node
    records: dict[str, tuple[tuple[str, Node], ...]] = {}
    enums: dict[str, tuple[str, ...]] = {}

    def __str__(self) -> str:
        return str(self.root)


def schema_of(type_info: TypeInformation[Any]) -> TypeSchema:
    """The schema of a type as it is now.

    >>> from millstream.core.types import Types
    >>> str(schema_of(Types.LIST(Types.ROW_NAMED(["a"], [Types.LONG()]))))
    'LIST(ROW(a LONG))'
    """
    made = TypeSchema(Unknown(), {}, {})
    return msgspec.structs.replace(made, root=_node(type_info, made))


def reading_type(node: Node) -> TypeInformation[Any]:
    """A type that decodes what a type of this schema has encoded. It checks nothing: what was written had been checked."""
    match node:
        case NamedRow(fields=fields):
            return RowTypeInfo(
                tuple(reading_type(part) for _, part in fields), tuple(name for name, _ in fields)
            )
        case Composite(label="MAP", parts=(key, value)):
            return MapTypeInfo(reading_type(key), reading_type(value))
        case Composite(label="OPTIONAL", parts=(inner,)):
            return OptionalTypeInfo(reading_type(inner))
        case Composite(label="TAGGED_UNION", parts=(first, second)):
            return TaggedUnionTypeInfo(reading_type(first), reading_type(second))
        case Composite(label="ROW", parts=parts):
            return RowTypeInfo(tuple(map(reading_type, parts)))
        case Composite(label=label, parts=(element,)) if label in _KINDS:
            return CollectionTypeInfo(
                label, _KINDS[label], reading_type(element), nullable=label in _NULLABLE
            )
        case Composite(parts=parts):
            return TupleTypeInfo(tuple(map(reading_type, parts)))
        case Basic(name="PICKLED_BYTE_ARRAY"):
            return PickledBytesTypeInfo()
        case _:
            return GENERIC


_KINDS: Final[dict[str, type]] = {
    "LIST": list,
    "SET": set,
    "FROZENSET": frozenset,
    "TUPLE_OF": tuple,
    "PRIMITIVE_ARRAY": list,
    "BASIC_ARRAY": list,
    "OBJECT_ARRAY": list,
}
_NULLABLE: Final = frozenset({"BASIC_ARRAY", "OBJECT_ARRAY"})


def _node(info: TypeInformation[Any], found: TypeSchema) -> Node:
    """The node of a type; users' classes in it are added to what was found."""
    match info:
        case RowTypeInfo(types=types, field_names=names) if names is not None:
            return NamedRow(tuple((name, _node(t, found)) for name, t in zip(names, types, strict=True)))
        case TupleTypeInfo(types=types) | RowTypeInfo(types=types):
            return _composite(info, types, found)
        case CollectionTypeInfo(label=label, element=element):
            return Composite(label, (_node(element, found),))
        case MapTypeInfo(key=key, value=value):
            return _composite(info, (key, value), found)
        case OptionalTypeInfo(inner=inner):
            return _composite(info, (inner,), found)
        case TaggedUnionTypeInfo(first=first, second=second):
            return _composite(info, (first, second), found)
        case RecordTypeInfo(cls=cls):
            _describe_record(cls, found)
            return Named("RECORD", class_name(cls))
        case EnumTypeInfo(cls=cls):
            found.enums[class_name(cls)] = tuple(cls.__members__)
            return Named("ENUM", class_name(cls))
        case _:
            return Basic(info.name)


def _composite(
    info: TypeInformation[Any], types: tuple[TypeInformation[Any], ...], found: TypeSchema
) -> Composite:
    label = info.name.partition("(")[0]  # also of types that derive from tuples, under a name of their own
    return Composite(label, tuple(_node(t, found) for t in types))


def _describe_record(cls: type, found: TypeSchema) -> None:
    name = class_name(cls)
    if name not in found.records:
        found.records[name] = ()  # what a class that contains itself meets on the way round
        hints = _hints(cls)
        fields = tuple((field, _node_of_hint(hints.get(field), found)) for field in record_fields(cls))
        found.records[name] = fields


def _node_of_hint(hint: Any, found: TypeSchema) -> Node:
    if hint is None or isinstance(hint, str | typing.ForwardRef | typing.TypeVar):
        return Unknown(str(getattr(hint, "__forward_arg__", hint or "")))
    info = infer_type(hint)
    return Unknown(str(hint)) if info is None else _node(info, found)


def _hints(cls: type) -> dict[str, Any]:
    """The hints of the fields; one that cannot be resolved stays text, and does not stand in the way of the others.

    Names in hints are looked up where the class is imported from; a class that travelled with the job may have left some behind.
    """
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return {
            name: _resolved(hint, base)
            for base in reversed(cls.__mro__)
            for name, hint in inspect.get_annotations(base).items()
        }


def _resolved(hint: Any, cls: type) -> Any:
    def holder() -> None: ...

    holder.__annotations__ = {"field": hint}
    module = sys.modules.get(cls.__module__)
    try:
        return typing.get_type_hints(holder, vars(module) if module else {}, dict(vars(cls)))["field"]
    except (NameError, TypeError, AttributeError):
        return hint
