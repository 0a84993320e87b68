"""`KeyEncoder`: canonical bytes of keys under a declared type.

A declared type decides between equal keys of different types before `keys.py` writes them: DOUBLE makes 1 into 1.0, LONG makes
`True` and 1.0 into 1 and refuses 1.5, BOOLEAN keeps `True`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from ..errors import RecordSerializationError
from .basic import BasicTypeInfo
from .composite import CollectionTypeInfo, OptionalTypeInfo, TupleTypeInfo
from .info import GENERIC, PickledBytesTypeInfo, TypeInformation
from .keys import (
    InvalidKeyError,
    decode_key,
    encode_bool,
    encode_decimal,
    encode_float,
    encode_int,
    encode_items,
    encode_key,
    encode_part,
    refuse,
)

_FIX: Final = "declare the type that the key selector really returns (key_type=), or convert the key in it"


class KeyEncoder:
    """Canonical bytes for the keys of one stream, and back. Costs about 0.2 us for a `str` or an `int`; callers cache.

    >>> from millstream.core.types import Types
    >>> KeyEncoder(Types.DOUBLE()).encode(1) == KeyEncoder(Types.DOUBLE()).encode(1.0)
    True

    Attributes:
        encode: the canonical bytes of a key. Raises InvalidKeyError: None, NaN, unhashable, or not of the type.
    """

    __slots__ = ("encode", "type_info")

    encode: Callable[[Any], bytes]

    def __init__(self, type_info: TypeInformation[Any] = GENERIC) -> None:
        self.type_info = type_info
        part = _part_encoder(type_info)
        if part is encode_part or type_info == _STRING:
            self.encode = encode_key if part is encode_part else self._encode_str
        else:
            self.encode = _whole(type_info, part)

    def decode(self, data: bytes) -> Any:
        """The key of canonical bytes, equal to the one they were made from: see `canonical`.

        Raises:
            RecordSerializationError: these are not bytes of a key, or a class is not there any more.
        """
        return decode_key(data)

    def canonical(self, key: Any) -> Any:
        """The key that stands for all keys equal to `key`: what `decode` gives back.

        Raises:
            InvalidKeyError: as `encode`.
        """
        return decode_key(self.encode(key))

    def _encode_str(self, key: Any) -> bytes:
        if type(key) is not str:
            raise InvalidKeyError(key, f"it is no {self.type_info.name}, as declared", fix=_FIX)
        return b"s" + key.encode("utf-8", "surrogatepass")


_STRING: Final = BasicTypeInfo[str]("STRING", frozenset({str}))


def _whole(type_info: TypeInformation[Any], part: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encode(key: Any) -> bytes:
        if key is None:
            return encode_key(key)  # refuses it
        try:
            return part(key)
        except RecordSerializationError as error:
            reason = f"{error.what} (declared as {type_info.name})"
            raise InvalidKeyError(key, reason, fix=error.fix or _FIX) from None

    return encode


def _part_encoder(type_info: TypeInformation[Any]) -> Callable[[Any], bytes]:
    """What writes keys, or items of keys, of a type."""
    match type_info:
        case PickledBytesTypeInfo():
            return encode_part  # what pickle writes is not canonical
        case TupleTypeInfo(types=types):
            return _tuple_encoder(type_info, [_part_encoder(t) for t in types])
        case CollectionTypeInfo(kind=kind, element=element) if kind in {tuple, frozenset}:
            return _collection_encoder(type_info, kind, _part_encoder(element))
        case OptionalTypeInfo(inner=inner):
            encode_inner = _part_encoder(inner)
            return lambda key: encode_part(None) if key is None else encode_inner(key)
        case BasicTypeInfo() if type_info.kinds == {bool}:
            return _checked(type_info, encode_bool)
        case BasicTypeInfo() if type_info.kinds == {Decimal}:
            return _checked(type_info, encode_decimal)
        case BasicTypeInfo() if float in type_info.kinds:
            return lambda key: encode_float(_as_float(type_info, key))
        case BasicTypeInfo() if int in type_info.kinds:
            return _int_encoder(type_info)
        case _ if type_info == GENERIC:
            return encode_part
        case _:
            return _checked(type_info, _hashable_part)


def _hashable_part(key: Any) -> bytes:
    try:
        hash(key)
    except TypeError:
        refuse(
            "it is not hashable", "return a tuple, a str, an int or a frozen dataclass from the key selector"
        )
    return encode_part(key)


def _check(type_info: TypeInformation[Any], key: Any) -> None:
    reason = type_info.mismatch((key,))
    if reason is not None:
        refuse(reason, _FIX)


def _checked(type_info: TypeInformation[Any], encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def checked(key: Any) -> bytes:
        _check(type_info, key)
        return encode(key)

    return checked


def _as_float(type_info: TypeInformation[Any], key: Any) -> float:
    _check(type_info, key)
    try:
        return float(key)
    except OverflowError:
        refuse("it is too large for a floating-point number", _FIX)


def _int_encoder(type_info: BasicTypeInfo[Any]) -> Callable[[Any], bytes]:
    limit = 1 << ((type_info.bits or 64) - 1)

    def encode(key: Any) -> bytes:
        if type(key) is int and -limit <= key < limit:
            return encode_int(key)
        whole = int(key) if type(key) is float and key.is_integer() else key
        _check(type_info, whole)
        return encode_int(int(whole))

    return encode


def _tuple_encoder(
    type_info: TypeInformation[Any], encoders: list[Callable[[Any], bytes]]
) -> Callable[[Any], bytes]:
    def encode(key: Any) -> bytes:
        if type(key) is not tuple or len(key) != len(encoders):
            _check(type_info, key)
        return encode_items(b"(", (item(part) for item, part in zip(encoders, key, strict=True)))

    return encode


def _collection_encoder(
    type_info: TypeInformation[Any], kind: type, element: Callable[[Any], bytes]
) -> Callable[[Any], bytes]:
    tag = b"(" if kind is tuple else b"{"

    def encode(key: Any) -> bytes:
        if type(key) is not kind:
            _check(type_info, key)
        parts = map(element, key)
        return encode_items(tag, parts if kind is tuple else sorted(parts))

    return encode
