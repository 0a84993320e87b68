"""Columns: what a state holds as Arrow batches, or as a frame of polars or pandas. Each needs its extra."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any, Final, TypeAlias

from ..core.errors import MillstreamError, MissingDependencyError, StateError
from ..core.types import (
    CollectionTypeInfo,
    MapTypeInfo,
    OptionalTypeInfo,
    Row,
    RowTypeInfo,
    TupleTypeInfo,
    TypeInformation,
)
from ..state.type_names import TypeReader, UnreadPickleTypeInfo
from .plain import plain

Columns: TypeAlias = Mapping[str, str]
"""Name of each column and of the type its values were declared with; an empty name where nobody declared one."""

_BATCH_ROWS: Final = 4096


class Columnar(ABC):
    """What can be had as columns. The packages are optional: extras `arrow`, `polars` and `pandas`."""

    @property
    @abstractmethod
    def columns(self) -> Columns:
        """The columns and their types."""

    @abstractmethod
    def rows(self) -> Iterator[dict[str, Any]]:
        """Everything, a dict by column each."""

    @abstractmethod
    def _type_reader(self) -> TypeReader: ...

    def to_batches(self, batch_rows: int = _BATCH_ROWS) -> Iterator[Any]:
        """`pyarrow.RecordBatch`es of one schema; one batch is in memory at a time.

        A column whose declared type says all about its values has that type; others are looked at first, in a pass of their
        own. Tuples become structs, maps whose keys are no strings lists of keys and values.

        Raises:
            MissingDependencyError: pyarrow is not installed.
            StateError: values of a column have no common Arrow type.
            CheckpointError: as where entries are read.
        """
        arrow = _require("pyarrow", "arrow")
        yield from self._batches(arrow, self._schema(arrow, batch_rows), batch_rows)

    def to_arrow(self) -> Any:
        """All of it as one `pyarrow.Table`. Raises as `to_batches`."""
        arrow = _require("pyarrow", "arrow")
        schema = self._schema(arrow, _BATCH_ROWS)
        return arrow.Table.from_batches(self._batches(arrow, schema, _BATCH_ROWS), schema=schema)

    def to_polars(self) -> Any:
        """All of it as a `polars.DataFrame`. Raises as `to_batches`; polars is needed, too."""
        polars = _require("polars", "polars")
        return polars.from_arrow(self.to_arrow())

    def to_pandas(self) -> Any:
        """All of it as a `pandas.DataFrame`. Raises as `to_batches`; pandas is needed, too."""
        _require("pandas", "pandas")
        return self.to_arrow().to_pandas()

    def _batches(self, arrow: Any, schema: Any, batch_rows: int) -> Iterator[Any]:
        for chunk in _chunks(self.rows(), batch_rows):
            arrays = [_array(arrow, chunk, field.name, field.type) for field in schema]
            yield arrow.RecordBatch.from_arrays(arrays, schema=schema)

    def _schema(self, arrow: Any, batch_rows: int) -> Any:
        types = self._type_reader()
        known = {name: _declared(arrow, type_name, types) for name, type_name in self.columns.items()}
        found = {name: arrow.null() for name, declared in known.items() if declared is None}
        for chunk in _chunks(self.rows(), batch_rows) if found else ():
            for name, so_far in found.items():
                found[name] = _common(arrow, name, so_far, _array(arrow, chunk, name, None).type)
        return arrow.schema([(name, found.get(name, known[name])) for name in self.columns])


def _require(package: str, extra: str) -> Any:
    """An optional package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise MissingDependencyError(package, extra, needed_for="reading state as columns") from None


def _declared(arrow: Any, type_name: str, types: TypeReader) -> Any:
    """The Arrow type of a declared one; None where the values must be looked at."""
    try:
        return _arrow_type(arrow, types.read(type_name)) if type_name else None
    except MillstreamError:  # of no known form: the values will tell
        return None


def _arrow_type(arrow: Any, info: TypeInformation[Any]) -> Any:
    match info:
        case OptionalTypeInfo(inner=inner):
            return _arrow_type(arrow, inner)
        case CollectionTypeInfo(element=element):
            found = _arrow_type(arrow, element)
            return None if found is None else arrow.list_(found)
        case RowTypeInfo(types=parts):
            return _struct(arrow, info.get_field_names(), parts)
        case TupleTypeInfo(types=parts):
            return _struct(arrow, [f"f{index}" for index in range(len(parts))], parts)
        case MapTypeInfo(key=key, value=value):
            found = [_arrow_type(arrow, key), _arrow_type(arrow, value)]
            return None if None in found else arrow.map_(*found)
        case UnreadPickleTypeInfo():
            return arrow.binary()
    make = _SCALARS.get(info.name)
    return None if make is None else getattr(arrow, make[0])(*make[1:])


def _struct(arrow: Any, names: list[str], parts: tuple[TypeInformation[Any], ...]) -> Any:
    found = [_arrow_type(arrow, part) for part in parts]
    if not found or any(one is None for one in found):
        return None
    return arrow.struct(list(zip(names, found, strict=True)))


def _array(arrow: Any, chunk: list[dict[str, Any]], name: str, wanted: Any) -> Any:
    convert = _structured if wanted is None else partial(_columnar, arrow, wanted)
    values = [convert(row[name]) for row in chunk]
    try:
        return arrow.array(values, type=wanted)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, arrow.ArrowNotImplementedError, OverflowError) as error:
        raise _no_common_type(name, str(error)) from error


def _common(arrow: Any, name: str, one: Any, other: Any) -> Any:
    schemas = [arrow.schema([(name, found)]) for found in (one, other)]
    try:
        return arrow.unify_schemas(schemas, promote_options="permissive").field(name).type
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        raise _no_common_type(name, f"{one} and {other}") from error


def _no_common_type(name: str, why: str) -> StateError:
    return StateError(
        f"values of the column '{name}' have no common Arrow type: {why}",
        fix="read them with entries(), or declare the state with a type",
    )


def _columnar(arrow: Any, wanted: Any, value: Any) -> Any:
    """A value in the form that Arrow takes for the type."""
    if value is None:
        return None
    inner = partial(_columnar, arrow)
    if arrow.types.is_map(wanted) and isinstance(value, dict):
        return [(inner(wanted.key_type, k), inner(wanted.item_type, v)) for k, v in value.items()]
    if arrow.types.is_list(wanted) and isinstance(value, list | tuple | set | frozenset):
        return [inner(wanted.value_type, item) for item in value]
    if arrow.types.is_struct(wanted) and isinstance(value, tuple | Row):
        return {field.name: inner(field.type, item) for field, item in zip(wanted, value, strict=True)}
    return _structured(value)


def _structured(value: Any) -> Any:
    """Plain data, with tuples as structs: their fields have types of their own."""
    if type(value) is tuple:
        return {f"f{index}": _structured(item) for index, item in enumerate(value)}
    return plain(value)


def _chunks(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk


_SCALARS: Final[dict[str, tuple[Any, ...]]] = {
    "STRING": ("string",),
    "CHAR": ("string",),
    "BOOLEAN": ("bool_",),
    "BYTE": ("int8",),
    "SHORT": ("int16",),
    "INT": ("int32",),
    "LONG": ("int64",),
    "FLOAT": ("float64",),
    "DOUBLE": ("float64",),
    "PRIMITIVE_ARRAY(BYTE)": ("binary",),
    "SQL_DATE": ("date32",),
    "TIMEDELTA": ("duration", "us"),
}
"""What makes the Arrow type of a basic one, and with which arguments; those that are not here depend on the values."""
