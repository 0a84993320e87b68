"""Keys as canonical bytes: the same for equal keys on every machine, in every process and Python version.

Key groups, and the order and identity of entries on disk, rest on these bytes, so a byte's meaning is never changed.

Equal means equal to Python, as in a dict: `1`, `1.0`, `True` and `Decimal(1)` are one key of an undeclared type, also inside
tuples. `decode` therefore gives the plainest of the equal keys: `True` comes back as 1, unless the type is declared as BOOLEAN,
and an aware datetime comes back in UTC. Two deliberate exceptions: the class of a NamedTuple and of an Enum member belongs to
the key, although Python calls `Point(1, 2)` and `(1, 2)`, or `Color.RED` and 1, equal: a key must come back with its
attributes. Do not mix such keys in one stream.

Layout: one byte for the kind, then the value; items inside a key are each preceded by their length.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NoReturn
from uuid import UUID

from ..errors import MillstreamError, RecordSerializationError
from .classes import (
    enum_member,
    findable_name,
    is_enum_class,
    is_namedtuple_class,
    record_builder,
    record_shape,
)
from .excerpt import excerpt
from .row import Row, RowKind
from .tagged import from_naive_micros, from_time_micros, naive_micros, time_micros

_INT64_MIN: Final = -(1 << 63)
_INT64_MAX: Final = (1 << 63) - 1
_MAX_DECIMAL_EXPONENT: Final = 5_000
_FIX: Final = "return a tuple, a str, an int or a frozen dataclass from the key selector"
_MICROSECOND: Final = timedelta(microseconds=1)
_pack_int: Final = struct.Struct(">cq").pack
_pack_float: Final = struct.Struct(">cd").pack


class InvalidKeyError(MillstreamError):
    """A key that cannot be a key.

    Attributes:
        key: its repr, cut.
        reason: why.
    """

    def __init__(self, key: Any, reason: str, *, fix: str) -> None:
        self.key = excerpt(key)
        self.reason = reason
        super().__init__(f"{self.key} cannot be a key: {reason}", fix=fix)


def encode_key(key: Any) -> bytes:
    """The canonical bytes of a key of undeclared type.

    >>> encode_key(1) == encode_key(1.0) == encode_key(True)
    True

    Raises:
        InvalidKeyError: None, NaN, something unhashable, or something without an exact encoding.
    """
    kind = type(key)
    if kind is str:
        return b"s" + key.encode("utf-8", "surrogatepass")  # type: ignore[no-any-return]  # a str
    if kind is int and _INT64_MIN <= key <= _INT64_MAX:
        return _pack_int(b"i", key)
    if key is None:
        raise InvalidKeyError(
            key,
            "None is no key",
            fix="filter such records out before key_by, or give them a key of their own",
        )
    try:
        hash(key)
    except TypeError:
        raise InvalidKeyError(
            key,
            f"it is not hashable ({type(key).__name__} or something in it can change)",
            fix=_FIX,
        ) from None
    try:
        return encode_part(key)
    except RecordSerializationError as error:
        raise InvalidKeyError(key, error.what, fix=error.fix or _FIX) from error


def decode_key(data: bytes) -> Any:
    """The key of canonical bytes: equal to the one they were made from.

    Raises:
        RecordSerializationError: these are not bytes of a key, or a class is not there any more.
    """
    decode = _DECODERS.get(data[:1])
    if decode is None:
        raise RecordSerializationError(
            f"bytes of a key begin with an unknown kind: {excerpt(data[:16])}",
            fix="they were altered, or written by a later release of Millstream",
        )
    return decode(data[1:])


def encode_part(key: Any) -> bytes:
    """The canonical bytes of a key or of an item of one, which may be None.

    Raises:
        RecordSerializationError: it has no exact encoding, or is refused as a key (NaN and the like).
    """
    kind = type(key)
    encode = _ENCODERS.get(kind)
    return _encode_other(kind, key) if encode is None else encode(key)


def refuse(reason: str, fix: str) -> NoReturn:
    """Refuse a part of a key; who encodes the whole key makes an InvalidKeyError of it that shows the key.

    Raises:
        RecordSerializationError: always.
    """
    raise RecordSerializationError(reason, fix=fix)


def encode_int(value: int) -> bytes:
    """An integer of any size."""
    if _INT64_MIN <= value <= _INT64_MAX:
        return _pack_int(b"i", value)
    return b"I" + value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def encode_float(value: float) -> bytes:
    """A floating-point number as one, whether integral or not; -0.0 as 0.0, which it equals."""
    if math.isnan(value):
        refuse("NaN is not equal to itself", "filter NaN out before key_by, or map it to a key of its own")
    return _pack_float(b"f", value + 0.0)


def encode_bool(value: bool) -> bytes:
    """A truth value as one, for keys declared as BOOLEAN."""
    return b"T" if value else b"F"


def encode_items(kind: bytes, parts: Iterable[bytes]) -> bytes:
    """Items one after the other, each preceded by its length."""
    pieces = [kind]
    for part in parts:
        pieces.append(len(part).to_bytes(4, "big"))
        pieces.append(part)
    return b"".join(pieces)


def encode_record(key: Any, item: Callable[[Any], bytes] = encode_part) -> bytes:
    """A NamedTuple, a frozen dataclass or a frozen Struct: its class and its fields, by name."""
    cls = type(key)
    shape = record_shape(cls)
    if shape is None:
        raise RecordSerializationError(
            f"'{cls.__qualname__}' is no dataclass", fix="make it a frozen dataclass"
        )
    if not is_namedtuple_class(cls):
        _check_equality(cls)
    names = "\0".join((shape.name, *shape.fields)).encode()
    return encode_items(b"r", (names, *map(item, shape.to_row(key))))


def _check_equality(cls: type) -> None:
    if "__eq__" not in chain.from_iterable(base.__dict__ for base in cls.__mro__[:-1]):
        refuse(
            f"every '{cls.__qualname__}' is equal to itself alone", "declare it with @dataclass(frozen=True)"
        )
    if is_dataclass(cls) and not all(field.compare for field in dataclass_fields(cls)):
        refuse(f"'{cls.__qualname__}' has fields with compare=False", "use a tuple of the fields that count")


def _encode_real(value: float) -> bytes:
    return encode_int(int(value)) if value.is_integer() else encode_float(value)


def _encode_complex(value: complex) -> bytes:
    if value.imag == 0:
        return _encode_real(value.real)
    return b"c" + encode_float(value.real)[1:] + encode_float(value.imag)[1:]


def encode_decimal(value: Decimal) -> bytes:
    """A decimal number as one, for keys declared as BIG_DEC: by its digits without trailing zeros."""
    if value.is_nan():
        refuse("NaN is not equal to itself", "filter NaN out before key_by, or map it to a key of its own")
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return b"d-Infinity" if sign else b"dInfinity"
    number = "".join(map(str, digits)).lstrip("0")
    if not number:
        return b"d0"
    stripped = number.rstrip("0")
    return b"d" + f"{'-' if sign else ''}{stripped}e{exponent + len(number) - len(stripped)}".encode()


def _encode_any_decimal(value: Decimal) -> bytes:
    """As the int or float that it equals, if there is one."""
    if value.is_infinite():
        return encode_float(float(value))
    if value and abs(value.adjusted()) > _MAX_DECIMAL_EXPONENT:
        refuse("its exponent is too large", f"keep exponents within {_MAX_DECIMAL_EXPONENT}")
    data = encode_decimal(value)
    if value == value.to_integral_value():
        return encode_int(int(value))
    try:
        return encode_float(as_float) if (as_float := float(value)) == value else data
    except OverflowError:
        return data  # beyond every float


def _encode_datetime(value: datetime) -> bytes:
    if value.tzinfo is None or value.utcoffset() is None:
        return _pack_int(b"n", naive_micros(value))
    return _pack_int(b"u", naive_micros(value) - (value.utcoffset() or timedelta()) // _MICROSECOND)


def _encode_time(value: time) -> bytes:
    if value.tzinfo is not None:
        refuse("a time of day with a time zone", "use a datetime, or drop the time zone")
    return _pack_int(b"o", time_micros(value))


def _encode_enum(value: Any) -> bytes:
    name = findable_name(type(value))
    if value.name is None or "|" in value.name:  # combined flags
        return encode_items(b"e", (name.encode(), b"", encode_part(value.value)))
    return encode_items(b"e", (name.encode(), value.name.encode(), b""))


def _encode_row(value: Row) -> bytes:
    names = encode_part(None if value._fields is None else value._fields)
    return encode_items(b"w", (bytes([value._row_kind.value]), names, *map(encode_part, value)))


def _encode_other(kind: type, key: Any) -> bytes:
    if is_enum_class(kind):
        return _encode_enum(key)
    if record_shape(kind) is not None:
        return encode_record(key)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.generic) and key.dtype.kind in "biufcSU":
        return encode_part(key.item())
    refuse(
        f"'{kind.__module__}.{kind.__qualname__}' has no canonical form",
        _FIX,
    )


def _decode_items(data: bytes) -> list[bytes]:
    parts, position = [], 0
    while position < len(data):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "big")
        parts.append(data[start:position])
    return parts


def _decode_record(data: bytes) -> Any:
    names, *parts = _decode_items(data)
    name, *fields = names.decode().split("\0")
    (record,) = record_builder(name, tuple(fields))([tuple(map(decode_key, parts))])
    return record


def _decode_enum(data: bytes) -> Any:
    name, member, value = _decode_items(data)
    return enum_member(name.decode(), member.decode() or None, decode_key(value) if value else None)


def _decode_row(data: bytes) -> Row:
    kind, names, *parts = _decode_items(data)
    return Row.of_fields(decode_key(names), list(map(decode_key, parts)), RowKind(kind[0]))


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _decode_float(data: bytes) -> float:
    return float(struct.unpack(">d", data)[0])


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: lambda v: b"s" + v.encode("utf-8", "surrogatepass"),
    int: encode_int,
    bool: lambda v: encode_int(int(v)),
    float: _encode_real,
    bytes: lambda v: b"b" + v,
    type(None): lambda _: b"0",
    tuple: lambda v: encode_items(b"(", map(encode_part, v)),
    frozenset: lambda v: encode_items(b"{", sorted(map(encode_part, v))),
    complex: _encode_complex,
    Decimal: _encode_any_decimal,
    date: lambda v: _pack_int(b"y", v.toordinal()),
    datetime: _encode_datetime,
    time: _encode_time,
    timedelta: lambda v: b"t" + (v // _MICROSECOND).to_bytes(12, "big", signed=True),
    UUID: lambda v: b"g" + v.bytes,
    Row: _encode_row,
}

_DECODERS: Final[dict[bytes, Callable[[bytes], Any]]] = {
    b"s": lambda d: d.decode("utf-8", "surrogatepass"),
    b"i": _signed,
    b"I": _signed,
    b"T": lambda _: True,
    b"F": lambda _: False,
    b"f": _decode_float,
    b"b": bytes,
    b"0": lambda _: None,
    b"(": lambda d: tuple(map(decode_key, _decode_items(d))),
    b"{": lambda d: frozenset(map(decode_key, _decode_items(d))),
    b"c": lambda d: complex(_decode_float(d[:8]), _decode_float(d[8:])),
    b"d": lambda d: Decimal(d.decode()),
    b"y": lambda d: date.fromordinal(_signed(d)),
    b"n": lambda d: from_naive_micros(_signed(d)),
    b"u": lambda d: from_naive_micros(_signed(d)).replace(tzinfo=UTC),
    b"o": lambda d: from_time_micros(_signed(d)),
    b"t": lambda d: timedelta(microseconds=_signed(d)),
    b"g": lambda d: UUID(bytes=d),
    b"r": _decode_record,
    b"e": _decode_enum,
    b"w": _decode_row,
}
