"""The general form of values: a tree in which scalars stand bare and everything else is `[tag, ...]`.

Exact: a value comes back equal and of the same type. Every array of the tree is tagged, so no value can be mistaken for
another, and nothing but msgpack's plain types is on the wire. Classes are named once in a table before the tree.
A tag's number is part of the format of checkpoints: it is never given a new meaning.

Not kept: that two places of a value refer to the same object.
"""

from __future__ import annotations

import enum
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from ..errors import RecordSerializationError
from .classes import enum_member, findable_name, is_enum_class, record_builder, record_shape
from .excerpt import excerpt
from .row import Row, RowKind

SCALARS: Final = frozenset({int, float, str, bytes, bool, type(None)})
"""Exact types that msgpack keeps as they are (but for integers beyond 64 bits and strings that are not UTF-8)."""

MAX_DEPTH: Final = 128
"""Deeper values are refused: a value that contains itself has no end. Far below what msgpack and Python can nest."""

_INT64: Final = range(-(2**63), 2**63)
_EPOCH: Final = datetime(1, 1, 1)  # noqa: DTZ001 - the origin of naive times
_MICROSECOND: Final = timedelta(microseconds=1)
_FACTORIES: Final[dict[str, type | None]] = {
    "None": None,
    **{cls.__name__: cls for cls in (int, float, str, bytes, bool, list, dict, set, tuple, frozenset)},
    **{cls.__name__: cls for cls in (Counter, OrderedDict, deque)},
}
_FACTORY_NAMES: Final = {factory: name for name, factory in _FACTORIES.items()}


class TreeEncoder:
    """Turns values into trees. One per call of the packer: it collects the classes that the values use.

    Args:
        careful: look at every integer and string for those that msgpack cannot hold; otherwise msgpack is the one to
            complain (OverflowError, UnicodeEncodeError), and the caller tries again carefully.
    """

    __slots__ = ("_careful", "_indexes", "classes")

    def __init__(self, *, careful: bool) -> None:
        self._careful = careful
        self._indexes: dict[type, int] = {}
        self.classes: list[tuple[str, tuple[str, ...]]] = []

    def node(self, value: Any, depth: int = 0) -> Any:
        """The tree of one value.

        Raises:
            RecordSerializationError: it, or something in it, has no exact encoding.
        """
        kind = type(value)
        if kind in SCALARS:
            return _careful_scalar(value) if self._careful else value
        if depth > MAX_DEPTH:
            raise RecordSerializationError(
                f"a value of type {kind.__name__} is nested more than {MAX_DEPTH} deep, or contains itself",
                fix="flatten it, or declare output_type=Types.PICKLED_BYTE_ARRAY()",
            )
        encode = _ENCODERS.get(kind)
        return _encode_other(self, value, depth) if encode is None else encode(self, value, depth)

    def nodes(self, values: Any, depth: int) -> tuple[bool, Any]:
        """The trees of the items of a list or tuple, and whether they are all bare scalars."""
        if not self._careful and SCALARS.issuperset(map(type, values)):
            return True, values
        node = self.node
        return False, [node(value, depth) for value in values]

    def class_index(self, cls: type, name: str, fields: tuple[str, ...]) -> int:
        """The place of a class in the table."""
        index = self._indexes.get(cls)
        if index is None:
            index = self._indexes[cls] = len(self.classes)
            self.classes.append((name, fields))
        return index


def decode_tree(classes: list[Any], tree: Any) -> Any:
    """The value of a tree; the inverse of `TreeEncoder.node`.

    Raises:
        RecordSerializationError: a class or member is not there any more.
    """
    return _Decoder([(name, tuple(fields)) for name, fields in classes]).value(tree)


class _Decoder:
    __slots__ = ("classes",)

    def __init__(self, classes: list[tuple[str, tuple[str, ...]]]) -> None:
        self.classes = classes

    def value(self, tree: Any) -> Any:
        return _DECODERS[tree[0]](self, tree) if type(tree) is list else tree

    def values(self, trees: list[Any]) -> list[Any]:
        value = self.value
        return [value(tree) if type(tree) is list else tree for tree in trees]


def no_encoding(value: Any) -> RecordSerializationError:
    """The error for a value that only pickle could carry."""
    cls = type(value)
    return RecordSerializationError(
        f"{excerpt(value)} of type '{cls.__module__}.{cls.__qualname__}' has no exact encoding",
        fix="make it a dataclass or NamedTuple (records are plain data), or declare output_type=Types.PICKLED_BYTE_ARRAY()",
    )


# The numbers of the tags. Flat means that all items are bare scalars.
_BIG_INT: Final = 0
_STR: Final = 1
_TUPLE: Final = 2
_FLAT_TUPLE: Final = 3
LIST_TAG: Final = 4
_FLAT_LIST: Final = 5
_DICT: Final = 6
_SET: Final = 7
_FROZENSET: Final = 8
_BYTEARRAY: Final = 9
_COMPLEX: Final = 10
_DECIMAL: Final = 11
_DATE: Final = 12
_TIME: Final = 13
_DATETIME: Final = 14
_TIMEDELTA: Final = 15
_UUID: Final = 16
_RECORD: Final = 17
_ENUM: Final = 18
_ROW: Final = 19
_DEQUE: Final = 20
_DEFAULTDICT: Final = 21
_ORDERED_DICT: Final = 22
_COUNTER: Final = 23
_NUMPY_SCALAR: Final = 24
_NUMPY_ARRAY: Final = 25


def _careful_scalar(value: Any) -> Any:
    match value:
        case int() if value not in _INT64:
            return [_BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)]
        case str() if not value.isascii():
            data = value.encode("utf-8", "surrogatepass")
            return [_STR, data]
        case _:
            return value


def _encode_tuple(encoder: TreeEncoder, value: Any, depth: int) -> Any:
    flat, nodes = encoder.nodes(value, depth + 1)
    return [_FLAT_TUPLE if flat else _TUPLE, nodes]


def _encode_list(encoder: TreeEncoder, value: Any, depth: int) -> Any:
    flat, nodes = encoder.nodes(value, depth + 1)
    return [_FLAT_LIST if flat else LIST_TAG, nodes]


def _items(encoder: TreeEncoder, value: Any, depth: int) -> tuple[Any, Any]:
    return encoder.nodes(list(value), depth + 1)[1], encoder.nodes(list(value.values()), depth + 1)[1]


def _decode_items(decoder: _Decoder, keys: list[Any], values: list[Any]) -> Any:
    return zip(decoder.values(keys), decoder.values(values), strict=True)


def _encode_defaultdict(encoder: TreeEncoder, value: Any, depth: int) -> Any:
    factory = _FACTORY_NAMES.get(value.default_factory)
    if factory is None:
        raise RecordSerializationError(
            f"the default_factory {value.default_factory!r} of a defaultdict has no exact encoding",
            fix="use a built-in type (int, list, dict ...) as default_factory, or a plain dict",
        )
    return [_DEFAULTDICT, factory, *_items(encoder, value, depth)]


def encode_tz(zone: tzinfo | None) -> Any:
    """A time zone as plain data: None, `[offset in us, name or None]`, or the key of a ZoneInfo."""
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]  # (offset,) or (offset, name)
        return [offset // _MICROSECOND, name[0] if name else None]
    if zone is None:
        return None
    raise RecordSerializationError(
        f"the time zone {excerpt(zone)} has no exact encoding",
        fix="use datetime.timezone or zoneinfo.ZoneInfo",
    )


def decode_tz(data: Any) -> tzinfo | None:
    """The inverse of `encode_tz`."""
    match data:
        case None:
            return None
        case [0, None]:
            return UTC
        case [offset, None]:
            return timezone(timedelta(microseconds=offset))
        case [offset, name]:
            return timezone(timedelta(microseconds=offset), name)
        case _:
            return ZoneInfo(data)


def naive_micros(value: datetime) -> int:
    """The wall-clock time of a datetime, in us since the beginning of the year 1."""
    return (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND


def from_naive_micros(micros: int) -> datetime:
    """The inverse of `naive_micros`: a naive datetime."""
    return _EPOCH + timedelta(microseconds=micros)


def time_micros(value: time) -> int:
    """The wall-clock time of day in us."""
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond


def from_time_micros(micros: int) -> time:
    """The inverse of `time_micros`: a naive time."""
    return (_EPOCH + timedelta(microseconds=micros)).time()


def _encode_row(encoder: TreeEncoder, value: Row, depth: int) -> Any:
    names = value.get_field_names()
    return [_ROW, value.get_row_kind().value, names, encoder.nodes(list(value), depth + 1)[1]]


def _encode_other(encoder: TreeEncoder, value: Any, depth: int) -> Any:
    """Users' classes and numpy: types that are not known beforehand."""
    cls = type(value)
    shape = record_shape(cls)
    if shape is not None:
        index = encoder.class_index(cls, shape.name, shape.fields)
        try:
            row = shape.to_row(value)
        except AttributeError as error:
            raise RecordSerializationError(
                f"a record of class '{shape.name}' has no value in a field ({error})",
                fix="set every field before the record is handed on",
            ) from error
        return [_RECORD, index, encoder.nodes(row, depth + 1)[1]]
    if is_enum_class(cls):
        index = encoder.class_index(cls, findable_name(cls), ())
        if isinstance(value, enum.Flag):  # combinations of flags have no name of their own
            return [_ENUM, index, None, encoder.node(value.value, depth + 1)]
        return [_ENUM, index, value.name, None]
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, numpy.generic | numpy.ndarray):
        return _encode_numpy(numpy, value)
    raise no_encoding(value)


def _encode_numpy(numpy: Any, value: Any) -> Any:
    if value.dtype.kind not in "biufcSUMm" or type(value) not in {value.dtype.type, numpy.ndarray}:
        raise no_encoding(value)
    if isinstance(value, numpy.ndarray):
        return [_NUMPY_ARRAY, value.dtype.str, list(value.shape), value.tobytes()]
    return [_NUMPY_SCALAR, value.dtype.str, value.tobytes()]


def _decode_numpy_scalar(_: _Decoder, tree: Any) -> Any:
    import numpy as np  # type: ignore[import-not-found,unused-ignore]

    return np.frombuffer(tree[2], dtype=tree[1])[0] if tree[2] else np.zeros(1, dtype=tree[1])[0]


def _decode_numpy_array(_: _Decoder, tree: Any) -> Any:
    import numpy as np

    return np.frombuffer(bytearray(tree[3]), dtype=tree[1]).reshape(tree[2])


def _decode_record(decoder: _Decoder, tree: Any) -> Any:
    name, fields = decoder.classes[tree[1]]
    (record,) = record_builder(name, fields)([tuple(decoder.values(tree[2]))])
    return record


def _decode_time(_: _Decoder, tree: Any) -> time:
    return from_time_micros(tree[1]).replace(fold=tree[2], tzinfo=decode_tz(tree[3]))


def _decode_datetime(_: _Decoder, tree: Any) -> datetime:
    return from_naive_micros(tree[1]).replace(fold=tree[2], tzinfo=decode_tz(tree[3]))


_ENCODERS: Final[dict[type, Callable[[TreeEncoder, Any, int], Any]]] = {
    tuple: _encode_tuple,
    list: _encode_list,
    dict: lambda e, v, d: [_DICT, *_items(e, v, d)],
    set: lambda e, v, d: [_SET, e.nodes(list(v), d + 1)[1]],
    frozenset: lambda e, v, d: [_FROZENSET, e.nodes(list(v), d + 1)[1]],
    bytearray: lambda _e, v, _d: [_BYTEARRAY, bytes(v)],
    complex: lambda _e, v, _d: [_COMPLEX, v.real, v.imag],
    Decimal: lambda _e, v, _d: [_DECIMAL, str(v)],
    date: lambda _e, v, _d: [_DATE, v.toordinal()],
    time: lambda _e, v, _d: [_TIME, time_micros(v), v.fold, encode_tz(v.tzinfo)],
    datetime: lambda _e, v, _d: [_DATETIME, naive_micros(v), v.fold, encode_tz(v.tzinfo)],
    timedelta: lambda _e, v, _d: [_TIMEDELTA, v.days, v.seconds, v.microseconds],
    UUID: lambda _e, v, _d: [_UUID, v.bytes],
    Row: _encode_row,
    deque: lambda e, v, d: [_DEQUE, v.maxlen, e.nodes(list(v), d + 1)[1]],
    defaultdict: _encode_defaultdict,
    OrderedDict: lambda e, v, d: [_ORDERED_DICT, *_items(e, v, d)],
    Counter: lambda e, v, d: [_COUNTER, *_items(e, v, d)],
}

_DECODERS: Final[dict[int, Callable[[_Decoder, Any], Any]]] = {
    _BIG_INT: lambda _, t: int.from_bytes(t[1], "big", signed=True),
    _STR: lambda _, t: t[1].decode("utf-8", "surrogatepass"),
    _TUPLE: lambda d, t: tuple(d.values(t[1])),
    _FLAT_TUPLE: lambda _, t: tuple(t[1]),
    LIST_TAG: lambda d, t: d.values(t[1]),
    _FLAT_LIST: lambda _, t: t[1],
    _DICT: lambda d, t: dict(_decode_items(d, t[1], t[2])),
    _SET: lambda d, t: set(d.values(t[1])),
    _FROZENSET: lambda d, t: frozenset(d.values(t[1])),
    _BYTEARRAY: lambda _, t: bytearray(t[1]),
    _COMPLEX: lambda _, t: complex(t[1], t[2]),
    _DECIMAL: lambda _, t: Decimal(t[1]),
    _DATE: lambda _, t: date.fromordinal(t[1]),
    _TIME: _decode_time,
    _DATETIME: _decode_datetime,
    _TIMEDELTA: lambda _, t: timedelta(t[1], t[2], t[3]),
    _UUID: lambda _, t: UUID(bytes=t[1]),
    _RECORD: _decode_record,
    _ENUM: lambda d, t: enum_member(d.classes[t[1]][0], t[2], d.value(t[3])),
    _ROW: lambda d, t: Row.of_fields(t[2], d.values(t[3]), RowKind(t[1])),
    _DEQUE: lambda d, t: deque(d.values(t[2]), t[1]),
    _DEFAULTDICT: lambda d, t: defaultdict(_FACTORIES[t[1]], _decode_items(d, t[2], t[3])),
    _ORDERED_DICT: lambda d, t: OrderedDict(_decode_items(d, t[1], t[2])),
    _COUNTER: lambda d, t: Counter(dict(_decode_items(d, t[1], t[2]))),
    _NUMPY_SCALAR: _decode_numpy_scalar,
    _NUMPY_ARRAY: _decode_numpy_array,
}
