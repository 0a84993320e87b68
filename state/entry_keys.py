r"""Where an entry stands in a store: key group, table, namespace, key, so that each of them is one contiguous range.

    u16 key group, u16 table id, u32 length of the namespace, namespace, canonical bytes of the key

A namespace is empty for None, `\x01` and eight bytes that sort like the number for an integer of 64 bits, or `\x02` and the
canonical bytes of anything else. All numbers are big endian.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from ..core.errors import MillstreamError
from ..core.types import KeyEncoder
from .backend import BackendContext, TableDescriptor
from .routing import foreign_group

_PREFIX: Final = Struct(">HH")
PREFIX_BYTES: Final = _PREFIX.size
_LENGTH: Final = Struct(">I")
_INTEGER: Final = Struct(">Q")
_SIGN: Final = 1 << 63
_INTEGER_TAG: Final = b"\x01"
_OTHER_TAG: Final = b"\x02"
_ANY_KEY: Final = KeyEncoder()


class KeyLayout:
    """Encodes the keys of one table.

    Attributes:
        prefixes: key group -> the first four bytes; another subtask's group raises `ProtocolViolation`.
        encode: canonical bytes of a key (the table's, not the stream's, where the namespace decides the group).
        decode: its inverse.
        operator: name for error messages.
        by_key: whether the key decides the key group; otherwise the namespace does.
    """

    def __init__(self, context: BackendContext, descriptor: TableDescriptor, table_id: int) -> None:
        keys = KeyEncoder(descriptor.key_type)
        self.encode: Final[Callable[[Any], bytes]] = keys.encode
        self.decode: Final[Callable[[bytes], Any]] = keys.decode
        self.prefixes: Final = _Prefixes(context, table_id)
        self.operator: Final = context.operator
        self.by_key: Final = descriptor.routed_by == "key"
        self.max_parallelism: Final = context.max_parallelism
        namespace_type = descriptor.namespace_type
        self._namespaces = None if namespace_type is None else KeyEncoder(namespace_type)
        self._integers = self._namespaces is not None and _keeps_integers(self._namespaces)

    def routing_bytes(self, namespace: Any) -> bytes:
        """The bytes that a namespace is hashed by."""
        assert self._namespaces is not None, "a table routed by its namespace has a namespace type"
        return self._namespaces.encode(namespace)

    def namespace_part(self, namespace: Any) -> bytes:
        """Length and bytes of a namespace: no such part is the beginning of another."""
        if namespace is None:
            return _LENGTH.pack(0)
        if self._integers and type(namespace) is int and -_SIGN <= namespace < _SIGN:
            return _LENGTH.pack(9) + _INTEGER_TAG + _INTEGER.pack(namespace + _SIGN)
        assert self._namespaces is not None, "only tables with a namespace type have namespaces"
        encoded = self._namespaces.encode(namespace)
        if self._integers and type(namespace) is not int:
            # A bool or an integral float is the integer it equals.
            canonical = self._namespaces.decode(encoded)
            if type(canonical) is int:
                return self.namespace_part(canonical)
        return _LENGTH.pack(len(encoded) + 1) + _OTHER_TAG + encoded

    def namespace_of(self, part: bytes) -> Any:
        """The inverse of `namespace_part`."""
        return _decode_namespace(part, (self._namespaces or _ANY_KEY).decode)


class _Prefixes(dict[int, bytes]):
    def __init__(self, context: BackendContext, table_id: int) -> None:
        first, last = context.key_groups
        super().__init__((group, _PREFIX.pack(group, table_id)) for group in range(first, last + 1))
        self._context = context

    def __missing__(self, group: int) -> bytes:
        raise foreign_group(self._context.operator, group, self._context.key_groups)


def prefix_of(group: int, table_id: int) -> bytes:
    """The first four bytes of every entry of a table in a key group."""
    return _PREFIX.pack(group, table_id)


def split_prefix(db_key: bytes) -> tuple[int, int]:
    """Key group and table id of an entry."""
    group, table_id = _PREFIX.unpack_from(db_key)
    return group, table_id


def namespace_slice(db_key: bytes) -> bytes:
    """The namespace part of an entry, with its length."""
    (length,) = _LENGTH.unpack_from(db_key, PREFIX_BYTES)
    return db_key[PREFIX_BYTES : PREFIX_BYTES + _LENGTH.size + length]


def entry_of(db_key: bytes) -> tuple[Any, Any]:
    """Namespace and key of an entry: as canonical as the bytes are, whatever types were declared."""
    part = namespace_slice(db_key)
    decode = _ANY_KEY.decode
    return _decode_namespace(part, decode), decode(db_key[PREFIX_BYTES + len(part) :])


def successor(prefix: bytes) -> bytes:
    r"""The smallest key after all that begin with `prefix`.

    >>> successor(b"a\xff")
    b'b'
    """
    trimmed = prefix.rstrip(b"\xff")
    assert trimmed, "a table id of 65535 is never given out"
    return trimmed[:-1] + bytes((trimmed[-1] + 1,))


def _decode_namespace(part: bytes, decode: Callable[[bytes], Any]) -> Any:
    tag, body = part[_LENGTH.size : _LENGTH.size + 1], part[_LENGTH.size + 1 :]
    if not tag:
        return None
    return _INTEGER.unpack(body)[0] - _SIGN if tag == _INTEGER_TAG else decode(body)


def _keeps_integers(encoder: KeyEncoder) -> bool:
    """Whether integers of this type stay integers, so that they may stand as such and sort as such."""
    try:
        return type(encoder.decode(encoder.encode(1))) is int
    except MillstreamError:  # not a type that integers belong to
        return False
