"""Exact bytes for values and batches of any plain data, in one msgpack call wherever the batch allows it.

The first byte names the form. Whether a form fits is decided for the whole batch, by checks that run at C speed; the form
of choice for anything unusual is the tagged tree (`tagged.py`). Everything that reads, reads every form, so the decision
may change between releases, while the meaning of a form may not.

Forms of a batch (of a value the same, with the value in place of the list):

    0x01  msgpack array; every array in it is a tuple
    0x02  msgpack array; every array in it is a list
    0x03  msgpack array of tuples; every array in them is a list
    0x04  records of one class: header (length as u32, then msgpack [name, fields]), then a batch of their rows in any form
    0x10  msgpack [classes, trees]
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

import msgpack  # type: ignore[import-untyped,unused-ignore]
import msgspec

from ..errors import RecordSerializationError
from .classes import record_builder, record_shape
from .excerpt import excerpt
from .tagged import LIST_TAG, SCALARS, TreeEncoder, decode_tree

TUPLES: Final = b"\x01"
"""The form of scalars, and of tuples of scalars or of such tuples."""

_LISTS: Final = b"\x02"
_ROWS: Final = b"\x03"
_RECORDS: Final = b"\x04"
_TREES: Final = b"\x10"

_CONTAINERS: Final = frozenset({tuple, list, dict})
_NATIVE: Final = SCALARS | _CONTAINERS
_ONLY_TUPLES: Final = {tuple}
_MAX_LEVELS: Final = 24
"""Deeper values go to the tagged tree, which knows how deep is too deep."""

_encode: Final = msgspec.msgpack.Encoder().encode  # 34 M rows/s on (str, int, int); msgpack's packer 8 M


def dumps(value: Any) -> bytes:
    """The bytes of one value.

    Raises:
        RecordSerializationError: it, or something in it, has no exact encoding.
    """
    kind = type(value)
    if kind in SCALARS:
        form: bytes | None = TUPLES
    elif (kind is tuple or kind is list) and SCALARS.issuperset(map(type, value)):
        form = TUPLES if kind is tuple else _LISTS
    elif kind in _CONTAINERS:
        form = _native_form((value,))
    else:
        form = None
    if form is not None:
        try:
            return form + _encode(value)
        except (OverflowError, UnicodeEncodeError):
            return _dump_trees(value, single=True, careful=True)
    return _dump_trees(value, single=True)


def dumps_each(values: list[Any]) -> list[bytes]:
    """`dumps` of many values of a table: the form is decided once where all are scalars, or tuples of them. Raises as `dumps`."""
    kinds = set(map(type, values))
    if kinds == _ONLY_TUPLES:
        plain = SCALARS.issuperset(map(type, chain.from_iterable(values)))
    else:
        plain = kinds <= SCALARS
    return dumps_each_as(TUPLES, values) if plain else list(map(dumps, values))


def dumps_each_as(form: bytes, values: list[Any]) -> list[bytes]:
    """`dumps` of many values that are known to fit a form. HOT: checkpoints of RocksDB. Raises as `dumps`."""
    try:
        return [form + encoded for encoded in map(_encode, values)]
    except (OverflowError, UnicodeEncodeError):
        return list(map(dumps, values))  # one of them has no native encoding: each finds its own


def loads(data: bytes | memoryview) -> Any:
    """The value of `dumps`.

    Raises:
        RecordSerializationError: these are not bytes of a value, or a class is not there any more.
    """
    form = data[0] if data else -1
    body = memoryview(data)[1:]
    if form == 0x01:
        return _unpack(body, use_list=False)
    if form == 0x02:
        return _unpack(body, use_list=True)
    if form == 0x03:
        return tuple(_unpack(body, use_list=True))
    if form == 0x10:
        return _load_trees(body, single=True)
    raise _unknown_form(data)


def dumps_batch_as(form: bytes, values: list[Any]) -> bytes:
    """The bytes of values that are known to fit a form. HOT: benchmarks/exchange. Raises as `dumps_batch`."""
    try:
        return form + _encode(values)
    except (OverflowError, UnicodeEncodeError):
        return _dump_trees(values, careful=True)


def dumps_batch(values: list[Any]) -> bytes:
    """The bytes of a list of values. HOT: benchmarks/exchange.

    Raises:
        RecordSerializationError: a value has no exact encoding; the message shows it.
    """
    kinds = set(map(type, values))
    if kinds == _ONLY_TUPLES and SCALARS.issuperset(map(type, chain.from_iterable(values))):
        form: bytes | None = TUPLES  # what most streams are: nothing is materialised to find out
    else:
        form = _native_form(values) if kinds <= _NATIVE else None
    if form is not None:
        return dumps_batch_as(form, values)
    if len(kinds) == 1:
        cls = kinds.pop()
        shape = None if cls in _CONTAINERS else record_shape(cls)
        if shape is not None:
            return _dump_records(shape.name, shape.fields, shape.to_row, values)
    return _dump_trees(values)


def loads_batch(data: bytes | memoryview) -> list[Any]:
    """The values of `dumps_batch`. HOT: benchmarks/exchange. Raises as `loads`."""
    form = data[0] if data else -1
    body = memoryview(data)[1:]
    if form == 0x01:
        return list(_unpack(body, use_list=False))
    if form == 0x02:
        return _unpack(body, use_list=True)  # type: ignore[no-any-return]  # an array, by the form
    if form == 0x03:
        return list(map(tuple, _unpack(body, use_list=True)))
    if form == 0x04:
        start = 4 + int.from_bytes(body[:4], "big")
        name, fields = _unpack(body[4:start], use_list=False)
        return list(record_builder(name, fields)(loads_batch(body[start:])))
    if form == 0x10:
        return _load_trees(body, single=False)  # type: ignore[no-any-return]  # a list, by the tag
    raise _unknown_form(data)


def _native_form(values: Iterable[Any]) -> bytes | None:
    """Which form lets msgpack alone keep every type, or None.

    Goes through the batch level by level. Arrays are either all tuples or all lists below the rows, so that one setting of
    the unpacker gives them back.
    """
    level: Any = values
    outer: set[type] = set()
    inner: set[type] = set()
    for depth in range(_MAX_LEVELS):
        kinds = set(map(type, level))
        found = kinds - SCALARS
        if not found:
            return _form_of(outer, inner)
        if not found <= _CONTAINERS:
            return None
        if depth:
            inner |= found
        else:
            outer = kinds
        if tuple in inner and (list in inner or list in outer):
            return None
        level = _next_level(level, kinds)
    return None


def _form_of(outer: set[type], inner: set[type]) -> bytes | None:
    if list not in inner:
        if list not in outer:
            return TUPLES
        return _LISTS if tuple not in outer else None
    if tuple not in outer:
        return _LISTS
    return _ROWS if outer == {tuple} else None


def _next_level(level: Iterable[Any], kinds: set[type]) -> Any:
    """The items of all containers of a level."""
    if kinds in ({tuple}, {list}):
        return list(chain.from_iterable(level))
    dicts = [value for value in level if type(value) is dict]
    items = chain.from_iterable(value for value in level if type(value) is tuple or type(value) is list)
    return [*items, *chain.from_iterable(dicts), *chain.from_iterable(map(dict.values, dicts))]


def _dump_trees(value: Any, *, single: bool = False, careful: bool = False) -> bytes:
    encoder = TreeEncoder(careful=careful)
    try:
        trees = encoder.node(value) if single else [encoder.node(item) for item in value]
        return _TREES + _encode([encoder.classes, trees])
    except (OverflowError, UnicodeEncodeError):
        if careful:
            raise
        return _dump_trees(value, single=single, careful=True)


def _load_trees(body: memoryview, *, single: bool) -> Any:
    unpacked = _unpack(body, use_list=True)
    try:
        classes, trees = unpacked
        return decode_tree(classes, trees if single else [LIST_TAG, trees])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _unreadable(error) from error


def _dump_records(name: str, fields: tuple[str, ...], to_row: Any, values: list[Any]) -> bytes:
    header = _encode([name, fields])
    try:
        rows = list(map(to_row, values))
    except AttributeError as error:
        raise RecordSerializationError(
            f"a record of class '{name}' has no value in a field ({error})",
            fix="set every field before the record is handed on",
        ) from error
    return b"".join((_RECORDS, len(header).to_bytes(4, "big"), header, dumps_batch(rows)))


def _unpack(data: memoryview, *, use_list: bool) -> Any:
    try:
        return msgpack.unpackb(data, use_list=use_list, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> RecordSerializationError:
    return RecordSerializationError(
        f"bytes of a record cannot be read ({type(error).__name__}: {error})",
        fix="they were cut or altered on their way, or written by a later release; restore from another checkpoint",
    )


def _unknown_form(data: bytes | memoryview) -> RecordSerializationError:
    return RecordSerializationError(
        f"bytes of a record begin with an unknown form: {excerpt(bytes(data[:16]))}",
        fix="they are not a record, or were written by a later release of Millstream",
    )
