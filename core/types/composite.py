"""Composite types: tuples, lists, maps, sets, rows and optional values of other types.

A batch is checked column by column: all first fields, all second fields, all elements of all lists, so that the loops run
inside the interpreter's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

from .basic import found_kind
from .exact import TUPLES
from .info import PickledBytesTypeInfo, TypeInformation
from .row import Row, RowKind, make_row

E = TypeVar("E")

_TUPLES = frozenset({tuple})
_DICTS = frozenset({dict})
_ROWS = frozenset({Row})


@dataclass(frozen=True, repr=False)
class TupleTypeInfo(TypeInformation[tuple[Any, ...]]):
    """Exact tuples with a type for each field."""

    types: tuple[TypeInformation[Any], ...]

    @property
    def name(self) -> str:
        return f"TUPLE({', '.join(t.name for t in self.types)})"

    @property
    def immutable(self) -> bool:
        return all(t.immutable for t in self.types)

    def get_field_types(self) -> list[TypeInformation[Any]]:
        """The types of the fields."""
        return list(self.types)

    @property
    def native_form(self) -> bytes | None:
        return TUPLES if all(t.native_form == TUPLES for t in self.types) else None

    def mismatch(self, values: Sequence[Any]) -> str | None:
        if not _TUPLES.issuperset(map(type, values)):
            return found_kind(values, _TUPLES)
        if not {len(self.types)}.issuperset(map(len, values)):
            return f"it does not have {len(self.types)} fields"
        return _mismatch_of_columns(self.types, values, lambda i: f"field {i}")

    @property
    def is_plain(self) -> bool:
        return all(t.is_plain for t in self.types)

    def coerce(self, value: Any) -> Any:
        if self.is_plain or type(value) is not tuple or len(value) != len(self.types):
            return value
        return tuple(t.coerce(item) for t, item in zip(self.types, value, strict=True))

    def to_wire(self, value: Any) -> Any:
        return tuple(t.to_wire(item) for t, item in zip(self.types, value, strict=True))

    def from_wire(self, data: Any) -> Any:
        return tuple(t.from_wire(item) for t, item in zip(self.types, data, strict=True))


@dataclass(frozen=True, repr=False)
class CollectionTypeInfo(TypeInformation[Any]):
    """Lists, sets or tuples of any length, with one type for all elements.

    Attributes:
        label: the type's name without the element.
        kind: the exact Python type.
        element: the type of the elements.
        nullable: elements may be None, as in Flink's arrays of objects.
    """

    label: str
    kind: Any
    element: TypeInformation[Any]
    nullable: bool = False

    @property
    def name(self) -> str:
        return f"{self.label}({self.element.name})"

    @property
    def immutable(self) -> bool:
        return self.kind in {tuple, frozenset} and self.element.immutable

    def mismatch(self, values: Sequence[Any]) -> str | None:
        kinds = frozenset({self.kind})
        if not kinds.issuperset(map(type, values)):
            return found_kind(values, kinds)
        reason = self._item.mismatch(list(chain.from_iterable(values)))
        return None if reason is None else f"an element is not a {self.element.name}: {reason}"

    @property
    def is_plain(self) -> bool:
        return self.element.is_plain

    def coerce(self, value: Any) -> Any:
        if self.is_plain or type(value) is not self.kind:
            return value
        return self.kind(map(self._item.coerce, value))

    def to_wire(self, value: Any) -> Any:
        return list(map(self._item.to_wire, value))

    def from_wire(self, data: Any) -> Any:
        return self.kind(map(self._item.from_wire, data))

    @cached_property
    def _item(self) -> TypeInformation[Any]:
        return OptionalTypeInfo(self.element) if self.nullable else self.element


@dataclass(frozen=True, repr=False)
class MapTypeInfo(TypeInformation[dict[Any, Any]]):
    """Exact dicts with a type for keys and one for values."""

    key: TypeInformation[Any]
    value: TypeInformation[Any]

    @property
    def name(self) -> str:
        return f"MAP({self.key.name}, {self.value.name})"

    @property
    def immutable(self) -> bool:
        return False

    def mismatch(self, values: Sequence[Any]) -> str | None:
        if not _DICTS.issuperset(map(type, values)):
            return found_kind(values, _DICTS)
        reason = self.key.mismatch(list(chain.from_iterable(values)))
        if reason is not None:
            return f"a key is not a {self.key.name}: {reason}"
        reason = self.value.mismatch(list(chain.from_iterable(map(dict.values, values))))
        return None if reason is None else f"a value is not a {self.value.name}: {reason}"

    @property
    def is_plain(self) -> bool:
        return self.key.is_plain and self.value.is_plain

    def coerce(self, value: Any) -> Any:
        if self.is_plain or type(value) is not dict:
            return value
        return {self.key.coerce(k): self.value.coerce(v) for k, v in value.items()}

    def to_wire(self, value: Any) -> Any:
        return [(self.key.to_wire(k), self.value.to_wire(v)) for k, v in value.items()]

    def from_wire(self, data: Any) -> Any:
        return {self.key.from_wire(k): self.value.from_wire(v) for k, v in data}


@dataclass(frozen=True, repr=False)
class OptionalTypeInfo(TypeInformation[E | None]):
    """Values of another type, or None."""

    inner: TypeInformation[E]

    @property
    def name(self) -> str:
        return f"OPTIONAL({self.inner.name})"

    @property
    def immutable(self) -> bool:
        return self.inner.immutable

    @property
    def native_form(self) -> bytes | None:
        return self.inner.native_form

    def mismatch(self, values: Sequence[Any]) -> str | None:
        return self.inner.mismatch([value for value in values if value is not None])

    @property
    def is_plain(self) -> bool:
        return self.inner.is_plain

    def coerce(self, value: Any) -> Any:
        return None if value is None else self.inner.coerce(value)

    def to_wire(self, value: Any) -> Any:
        return None if value is None else self.inner.to_wire(value)

    def from_wire(self, data: Any) -> Any:
        return None if data is None else self.inner.from_wire(data)


@dataclass(frozen=True, repr=False)
class RowTypeInfo(TypeInformation[Row]):
    """Rows; a field may be None.

    As in PyFlink a tuple, a list or (with names) a dict of field values is taken for a row too, and rows get the declared
    names: `coerce` does it where values are encoded.
    """

    types: tuple[TypeInformation[Any], ...]
    field_names: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        names = self.field_names or ("",) * len(self.types)
        return f"ROW({', '.join(f'{n} {t.name}'.strip() for n, t in zip(names, self.types, strict=True))})"

    @property
    def immutable(self) -> bool:
        return False

    def get_field_names(self) -> list[str]:
        """The names; f0, f1, ... when none were given."""
        return list(self.field_names or (f"f{i}" for i in range(len(self.types))))

    def get_field_types(self) -> list[TypeInformation[Any]]:
        """The types of the fields."""
        return list(self.types)

    def get_field_index(self, field_name: str) -> int:
        """The position of a field, -1 when there is none of that name."""
        names = self.get_field_names()
        return names.index(field_name) if field_name in names else -1

    def mismatch(self, values: Sequence[Any]) -> str | None:
        if not _ROWS.issuperset(map(type, values)):
            return found_kind(values, _ROWS)
        if not {len(self.types)}.issuperset(map(len, values)):
            return f"it does not have {len(self.types)} fields"
        if self.field_names is not None and {row._fields for row in values} - {self.field_names}:
            return f"its fields are not named {', '.join(self.field_names)}"
        types = tuple(OptionalTypeInfo(t) for t in self.types)
        names = self.get_field_names()
        return _mismatch_of_columns(types, values, lambda i: f"field {i} ({names[i]})")

    @property
    def is_plain(self) -> bool:
        return False

    def coerce(self, value: Any) -> Any:
        names, kind = self.field_names, RowKind.INSERT
        if self._has_plain_fields and type(value) is Row and names in (None, value._fields):
            return value
        match value:
            case Row():
                own, kind = value._fields, value.get_row_kind()
                if names is not None and own is not None and set(own) == set(names):
                    items = [value[name] for name in names]
                elif names is None or own is None:
                    items, names = list(value), names or own
                else:
                    return value  # other names: `mismatch` says so
            case dict() if names is not None and set(value) <= set(names):
                items = [value.get(name) for name in names]
            case tuple() | list():
                items = list(value)
            case _:
                return value
        if len(items) != len(self.types):
            return value
        coerced = [
            None if item is None else t.coerce(item) for t, item in zip(self.types, items, strict=True)
        ]
        return Row.of_fields(names, coerced, kind)

    def to_wire(self, value: Any) -> Any:
        own_names = value._fields if self.field_names is None else None
        kind = 0 if value._row_kind is RowKind.INSERT else value._row_kind.value
        if self._has_plain_fields:
            return (kind, own_names, *value._values)
        pairs = zip(self.types, value._values, strict=True)
        return (kind, own_names, *(None if item is None else t.to_wire(item) for t, item in pairs))

    def from_wire(self, data: Any) -> Any:
        kind, own_names, *values = data
        if not self._has_plain_fields:
            pairs = zip(self.types, values, strict=True)
            values = [None if item is None else t.from_wire(item) for t, item in pairs]
        names = tuple(own_names) if own_names is not None else self.field_names
        return make_row(names, values, RowKind.INSERT if kind == 0 else RowKind(kind))

    @cached_property
    def _has_plain_fields(self) -> bool:
        return all(t.is_plain for t in self.types)


def holds_pickled(type_info: TypeInformation[Any]) -> bool:
    """Whether values of the type, or parts of them, are declared to travel by pickle.

    >>> holds_pickled(TupleTypeInfo((PickledBytesTypeInfo(),)))
    True
    """
    match type_info:
        case PickledBytesTypeInfo():
            return True
        case TupleTypeInfo(types=types) | RowTypeInfo(types=types):
            return any(map(holds_pickled, types))
        case CollectionTypeInfo(element=inner) | OptionalTypeInfo(inner=inner):
            return holds_pickled(inner)
        case MapTypeInfo(key=key, value=value):
            return holds_pickled(key) or holds_pickled(value)
    return False


def coercion_of(type_info: TypeInformation[Any]) -> Callable[[Any], Any] | None:
    """`coerce` of a type that has rows in it; None for any other, which takes values as they are.

    >>> coercion_of(TupleTypeInfo((RowTypeInfo((PickledBytesTypeInfo(),)),)))(((1,),))
    (<Row(1)>,)
    """
    return type_info.coerce if _holds_rows(type_info) else None


def _holds_rows(type_info: TypeInformation[Any]) -> bool:
    match type_info:
        case RowTypeInfo():
            return True
        case TupleTypeInfo(types=types):
            return any(map(_holds_rows, types))
        case CollectionTypeInfo(element=inner) | OptionalTypeInfo(inner=inner):
            return _holds_rows(inner)
        case MapTypeInfo(key=key, value=value):
            return _holds_rows(key) or _holds_rows(value)
    return False


def _mismatch_of_columns(
    types: Sequence[TypeInformation[Any]], values: Sequence[Any], label: Any
) -> str | None:
    for i, (type_info, column) in enumerate(zip(types, zip(*values, strict=True), strict=False)):
        reason = type_info.mismatch(column)
        if reason is not None:
            return f"{label(i)} is not a {type_info.name}: {reason}"
    return None
