"""The log of a snapshot, `redis-1`: all changes since the checkpoint that Redis is known to hold.

    header    b"MSREDIS", u16 version
    changes   msgpack [prefix, namespace, dropped, keys, values], one for each namespace, a value None where the entry is deleted

Prefixes carry the table numbers of the handle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgpack

from ..core.errors import CheckpointError, CheckpointFailureReason
from .entry_keys import PREFIX_BYTES, prefix_of, split_prefix
from .overlay import Layer, Place

FORMAT = "redis-1"
"""`KeyedStateHandle.format` of state in Redis and a log."""

LOG = "log"
"""The local name of the log's file; absent where nothing has changed."""

_HEADER = b"MSREDIS\x00\x01"


def write_log(layer: Layer) -> Iterator[bytes]:
    """The file in chunks."""
    yield _HEADER
    for place, delta in layer.changes():
        entries = delta.entries
        change = (place.prefix, place.part, delta.dropped, list(entries), list(entries.values()))
        yield msgpack.packb(change, use_bin_type=True)


def read_log(content: bytes, key_groups: tuple[int, int], numbers: Mapping[int, int], where: str) -> Layer:
    """The changes in the key groups from the first to the last, with tables renumbered.

    Raises:
        CheckpointError: CORRUPT, when it is no log, or of a later version.
    """
    if not content.startswith(_HEADER):
        raise CheckpointError(
            CheckpointFailureReason.CORRUPT,
            f"not a readable log of state: its header is {content[: len(_HEADER)]!r}, not {_HEADER!r}",
            where=where,
            fix="resume from another checkpoint, or with the release that wrote this one",
        )
    layer = Layer()
    unpacker = msgpack.Unpacker(raw=False, max_buffer_size=len(content) + 1)
    unpacker.feed(content[len(_HEADER) :])
    first, last = key_groups
    for prefix, part, dropped, keys, values in unpacker:
        group, table_id = split_prefix(prefix[:PREFIX_BYTES])
        if first <= group <= last:
            place = Place(prefix_of(group, numbers[table_id]), part)
            if dropped:
                layer.drop(place)
            for key, value in zip(keys, values, strict=True):
                layer.set(place, key, value)
    return layer
