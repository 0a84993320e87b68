"""Users' own classes in records: found by name, taken apart into rows of fields, and put together again.

A class travels as its name, "module:qualname", and is looked up on the other side in the registry (the job's own classes),
then among the loaded modules, then by importing its module. Only dataclasses, NamedTuples, msgspec Structs and Enums are
ever accepted, so that data can name no other thing. Declared fields travel (no other attributes), by name: a class may gain fields that have defaults, and
lose fields, between the writing and the reading of a checkpoint.

INVARIANT: reading a record runs no constructor of the user's and no `__post_init__` with other values than those written;
fields come back as they were. Kept by: tests/core/test_types_classes.py::test_post_init_does_not_change_what_was_written
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from itertools import starmap
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgspec

from ..errors import RecordSerializationError
from .offline import offline_classes

Builder: TypeAlias = Callable[[Iterable[tuple[Any, ...]]], Iterable[Any]]
"""Makes instances of one class out of rows of field values."""

_REGISTERED: Final[dict[str, type]] = {}
_SHAPES: Final[dict[type, RecordShape]] = {}
_BUILDERS: Final[dict[tuple[str, tuple[str, ...]], Builder]] = {}
_NAMES: Final[dict[type, str]] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class RecordShape:
    """How instances of one class are taken apart.

    Attributes:
        name: "module:qualname".
        fields: names, in the order of the row.
        to_row: the exact tuple of an instance's field values.
    """

    name: str
    fields: tuple[str, ...]
    to_row: Callable[[Any], tuple[Any, ...]]


def register_classes(classes: Iterable[type]) -> None:
    """Make classes known by name to this process, before what can be imported; a later one replaces an earlier one.

    For classes that cannot be imported under their name in a worker: those of `__main__` and those made in functions.

    Raises:
        RecordSerializationError: a class that is neither a dataclass, a NamedTuple, a Struct nor an Enum.
    """
    for cls in classes:
        if not (is_record_class(cls) or is_enum_class(cls)):
            raise _wrong_kind(class_name(cls))
        _REGISTERED[class_name(cls)] = cls
    _BUILDERS.clear()
    _NAMES.clear()
    _SHAPES.clear()


def class_name(cls: type) -> str:
    """The name a class has in records and type names.

    >>> class_name(RecordShape).endswith("core.types.classes:RecordShape")
    True
    """
    return f"{cls.__module__}:{cls.__qualname__}"


def is_record_class(cls: Any) -> bool:
    """Whether instances have named fields of which they consist: a dataclass, a NamedTuple or a msgspec Struct."""
    return is_namedtuple_class(cls) or (
        isinstance(cls, type) and ("__dataclass_fields__" in cls.__dict__ or issubclass(cls, msgspec.Struct))
    )


def is_namedtuple_class(cls: Any) -> bool:
    """Whether `cls` was made by `typing.NamedTuple` or `collections.namedtuple`, or derives from such a class."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_enum_class(cls: Any) -> bool:
    """Whether `cls` is an Enum with members."""
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def record_fields(cls: type) -> tuple[str, ...]:
    """The names of the fields of a record class."""
    if is_namedtuple_class(cls):
        return tuple(cls._fields)  # type: ignore[attr-defined]
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    return tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]  # a dataclass, by is_record_class


def record_shape(cls: type) -> RecordShape | None:
    """How to take instances of `cls` apart, or None when it is not a record class.

    Raises:
        RecordSerializationError: the class could not be found again by its name.
    """
    shape = _SHAPES.get(cls)
    if shape is None and is_record_class(cls):
        fields = record_fields(cls)
        shape = _SHAPES[cls] = RecordShape(findable_name(cls), fields, _row_getter(cls, fields))
    return shape


def findable_name(cls: type) -> str:
    """The name of a class, once it is certain that the name leads back to this very class.

    Raises:
        RecordSerializationError: it does not.
    """
    name = _NAMES.get(cls)
    if name is None:
        name = class_name(cls)
        if find_class(name) is not cls:
            raise RecordSerializationError(
                f"records of class '{name}' cannot be written: the name leads to another class of the same name",
                fix="give the two classes different names, or do not define one of them twice",
            )
        _NAMES[cls] = name
    return name


def find_class(name: str) -> type:
    """The record or Enum class of that name.

    Raises:
        RecordSerializationError: there is none, or the name stands for something else.
    """
    found: Any = _REGISTERED.get(name)
    if found is None:
        module_name, _, qualname = name.partition(":")
        try:
            found = sys.modules.get(module_name) or import_module(module_name)
            for part in qualname.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError) as error:
            raise RecordSerializationError(
                f"the class '{name}' of a record cannot be found by its name ({error})",
                fix="define it at the top level of a module that the workers can import; a class inside a function has no name to be found by",
            ) from error
    if not (is_record_class(found) or is_enum_class(found)):
        raise _wrong_kind(name)
    return found  # type: ignore[no-any-return]  # both checks take classes only


def record_builder(name: str, fields: tuple[str, ...]) -> Builder:
    """What puts instances of the class `name` together out of rows written with `fields`; named `Row`s where data is read
    without its classes (`offline.py`).

    Raises:
        RecordSerializationError: the class is not found, or it has a field without a default that was not written.
    """
    offline = offline_classes.get()
    if offline is not None:
        return offline.builder(name, fields, _make_builder)
    builder = _BUILDERS.get((name, fields))
    if builder is None:
        cls = find_class(name)
        if not is_record_class(cls):
            raise _wrong_kind(name)
        builder = _BUILDERS[name, fields] = _make_builder(cls, fields)
    return builder


def enum_member(name: str, member: str | None, value: Any) -> Any:
    """The member of an Enum class, by name, or for combined flags by value.

    Where data is read without its classes (`offline.py`): the name or the value itself.

    Raises:
        RecordSerializationError: the class or the member does not exist.
    """
    offline = offline_classes.get()
    if offline is not None and name not in offline.classes:
        return member if member is not None else value
    cls = find_class(name) if offline is None else offline.classes[name]
    if not issubclass(cls, enum.Enum):
        raise _wrong_kind(name)
    try:
        return cls(value) if member is None else cls[member]
    except (KeyError, ValueError) as error:
        raise RecordSerializationError(
            f"the Enum '{name}' has no member {member or value!r} that was written earlier",
            fix="keep members that are in state or records, or start without the old state",
        ) from error


def _wrong_kind(name: str) -> RecordSerializationError:
    return RecordSerializationError(
        f"'{name}' is neither a dataclass, a NamedTuple, a msgspec.Struct nor an Enum",
        fix="make it a dataclass (each subclass too), or declare output_type=Types.PICKLED_BYTE_ARRAY()",
    )


def _row_getter(cls: type, fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if is_namedtuple_class(cls):
        return tuple
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda record: tuple(getattr(record, field) for field in fields)


def _make_builder(cls: type, written: tuple[str, ...]) -> Builder:
    fields = record_fields(cls)
    build = _plain_builder(cls, fields)
    if written == fields:
        return build
    defaults = field_defaults(cls)
    steps: list[tuple[int, Callable[[], Any]]] = []
    for field in fields:
        if field in written:
            steps.append((written.index(field), tuple))
        elif field in defaults:
            steps.append((-1, defaults[field]))
        else:
            raise RecordSerializationError(
                f"the field '{field}' of class '{class_name(cls)}' was not written and has no default",
                fix="give fields that are added to a record class a default",
            )

    def evolve(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(default() if index < 0 else row[index] for index, default in steps)

    return lambda rows: build(map(evolve, rows))


def _plain_builder(cls: type, fields: tuple[str, ...]) -> Builder:
    if is_namedtuple_class(cls):
        return partial(map, partial(tuple.__new__, cls))
    if _constructor_only_assigns(cls, fields):
        return partial(starmap, cls)
    if issubclass(cls, msgspec.Struct):
        return lambda rows: (_build_struct(cls, fields, row) for row in rows)
    return lambda rows: (_build_dataclass(cls, fields, row) for row in rows)


def _constructor_only_assigns(cls: type, fields: tuple[str, ...]) -> bool:
    """Whether `cls(*row)` does nothing but assign the fields, so that it may stand in for doing just that."""
    if hasattr(cls, "__post_init__"):
        return False
    if not issubclass(cls, msgspec.Struct):
        params = cls.__dataclass_params__  # type: ignore[attr-defined]
        if not params.init or cls.__new__ is not object.__new__:
            return False
        if not params.frozen and cls.__setattr__ is not object.__setattr__:
            return False
    parameters = inspect.signature(cls).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD) == fields and len(
        parameters
    ) == len(fields)


def _build_struct(cls: type[msgspec.Struct], fields: tuple[str, ...], row: tuple[Any, ...]) -> Any:
    record = cls(**dict(zip(fields, row, strict=True)))
    for field, value in zip(fields, row, strict=True):
        msgspec.structs.force_setattr(record, field, value)  # undoes what __post_init__ changed
    return record


def _build_dataclass(cls: type, fields: tuple[str, ...], row: tuple[Any, ...]) -> Any:
    record: Any = object.__new__(cls)
    for field, value in zip(fields, row, strict=True):
        object.__setattr__(record, field, value)
    return record


def field_defaults(cls: type) -> dict[str, Callable[[], Any]]:
    """What makes the default of each field that has one."""
    if is_namedtuple_class(cls):
        return {name: partial(_same, value) for name, value in cls._field_defaults.items()}  # type: ignore[attr-defined]
    fields: Iterable[Any] = (
        msgspec.structs.fields(cls) if issubclass(cls, msgspec.Struct) else cls.__dataclass_fields__.values()  # type: ignore[attr-defined]
    )
    # By type: a class that travelled by value has brought markers of its own along.
    missing = (type(dataclasses.MISSING), type(msgspec.NODEFAULT))
    found: dict[str, Callable[[], Any]] = {}
    for field in fields:
        if not isinstance(field.default_factory, missing):
            found[field.name] = field.default_factory
        elif not isinstance(field.default, missing):
            found[field.name] = partial(_same, field.default)
    return found


def _same(value: Any) -> Any:
    return value
