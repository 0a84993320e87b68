"""The log of a snapshot, `redis-1`: all changes since the checkpoint that Redis is known to hold.

    header    b"MSREDIS", u16 version
    names     msgpack {table number: state}, of tables that the handle does not name any more: all that the log does is remove their entries
    changes   msgpack [prefix, namespace, dropped, keys, values], one for each namespace, a value None where the entry is deleted

Prefixes carry the table numbers of the handle. Version 1 has no names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgpack

from ..core.errors import CheckpointError, CheckpointFailureReason
from .entry_keys import PREFIX_BYTES, prefix_of, split_prefix
from .overlay import Layer, Place
from .table_registry import RESERVED_TABLE

FORMAT = "redis-1"
"""`KeyedStateHandle.format` of state in Redis and a log."""

LOG = "log"
"""The local name of the log's file; absent where nothing has changed."""

_MAGIC = b"MSREDIS"
_HEADERS = (_MAGIC + b"\x00\x01", _MAGIC + b"\x00\x02")


def write_log(layer: Layer, gone: Mapping[int, bytes]) -> Iterator[bytes]:
    """The file in chunks; `gone`: the names in keys of tables that the handle does not have."""
    yield _HEADERS[-1]
    yield msgpack.packb(dict(gone), use_bin_type=True)
    for place, delta in layer.changes():
        entries = delta.entries
        change = (place.prefix, place.part, delta.dropped, list(entries), list(entries.values()))
        yield msgpack.packb(change, use_bin_type=True)


def read_log(
    content: bytes, key_groups: tuple[int, int], numbers: Mapping[int, int], where: str
) -> tuple[Layer, dict[int, bytes]]:
    """The changes in the key groups from the first to the last, with tables renumbered; and what tables that are in no handle any more
    are called in keys, by numbers that no other table has.

    Raises:
        CheckpointError: CORRUPT, when it is no log, or of a later version.
    """
    header = content[: len(_HEADERS[0])]
    if header not in _HEADERS:
        raise CheckpointError(
            CheckpointFailureReason.CORRUPT,
            f"not a readable log of state: its header is {header!r}, not {_HEADERS[-1]!r}",
            where=where,
            fix="resume from another checkpoint, or with the release that wrote this one",
        )
    layer = Layer()
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=len(content) + 1)
    unpacker.feed(content[len(header) :])
    names: dict[int, bytes] = {} if header == _HEADERS[0] else unpacker.unpack()
    gone = {number: RESERVED_TABLE - 1 - place for place, number in enumerate(names)}
    numbers = {**gone, **numbers}
    first, last = key_groups
    for prefix, part, dropped, keys, values in unpacker:
        group, table_id = split_prefix(prefix[:PREFIX_BYTES])
        if first <= group <= last:
            place = Place(prefix_of(group, numbers[table_id]), part)
            if dropped:
                layer.drop(place)
            for key, value in zip(keys, values, strict=True):
                layer.set(place, key, value)
    return layer, {gone[number]: name for number, name in names.items()}
